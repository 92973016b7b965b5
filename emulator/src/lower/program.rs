//! What the lowering makes and the interpreter runs: instructions of 32 bytes whose every operand is a register slot.
//!
//! Immediates, addresses of variables and special registers sit in slots too, filled once a warp (or once a CTA), so the
//! interpreter never asks what kind of operand it has.

use crate::{isa::Op, ptx::ast::Source};
use std::{fmt, ops::Range, sync::Arc};

/// `Inst::guard` of an instruction that always runs.
pub const NO_GUARD: u16 = u16::MAX;

/// The barrier of `barrier.cluster`, behind those that a kernel can name.
pub const CLUSTER_BARRIER: u32 = 16;

/// One instruction.
#[derive(Clone, Copy, Debug)]
pub struct Inst {
    pub op: Op,
    /// Predicate slot * 2, + 1 when negated; [`NO_GUARD`].
    pub guard: u16,
    /// Destinations; the values to store in a vector store; behind the first, the sources of a fused operation from the
    /// fifth on.
    pub d: [u16; 4],
    /// Sources; all zero when there are more than four, which are in [`Program::operands`] from `imm` on.
    pub s: [u16; 4],
    /// Address offset, branch target (index in [`Program::code`]) or branch table (index in [`Program::tables`]).
    pub imm: i32,
    /// Size of one element in memory.
    pub bytes: u8,
    /// Elements of a vector access; destinations that are wanted, otherwise.
    pub n: u8,
    /// Meaning depends on `op`: an [`AtomKind`], a [`Reduction`], two [`Factor`]s, [`EVICT_FIRST`].
    pub kind: u8,
    /// Bits of [`flag`].
    pub flags: u8,
}

/// `Inst::kind` of a load or `cp.async` whose lines may be the first to leave L2.
pub const EVICT_FIRST: u8 = 1;

impl Inst {
    /// Whether a policy says so.
    pub fn is_evicted_first(&self) -> bool {
        matches!(self.op, Op::LdGlobal | Op::LdGeneric | Op::CpAsync) && self.kind == EVICT_FIRST
    }
}

/// Bits of [`Inst::flags`]; a bit has one meaning for each operation.
pub mod flag {
    /// `.volatile`, `.relaxed`, `.acquire`, `.release`: another CTA may be looking.
    pub const STRONG: u8 = 2;
    /// `red`: the old value is not wanted.
    pub const NO_RESULT: u8 = 4;
    /// The instruction begins a basic block: splits may meet here.
    pub const BLOCK_START: u8 = 8;
    /// A barrier that all threads of a warp reach at one place; of the cluster.
    pub const ALIGNED: u8 = 2;
    pub const CLUSTER: u8 = 4;
    /// A barrier with an explicit thread count in `s[1]`.
    pub const HAS_COUNT: u8 = 16;
    /// `ld.param` with a register in the address.
    pub const INDEXED: u8 = 32;
    /// `.acquire` of a load or atomic on global, shared or generic memory.
    pub const ACQUIRE: u8 = 16;
    /// `.release` of a store or atomic on such memory.
    pub const RELEASE: u8 = 32;
    /// A fence, or a strong access to memory, among the threads of its CTA or cluster, which is one CTA.
    pub const NARROW: u8 = 128;
    /// `ld.global.nc`.
    pub const NON_COHERENT: u8 = 64;
    /// `mma` to integers that stop at the ends of their range.
    pub const SATURATE: u8 = 64;
    /// `mma` whose sums are f16.
    pub const HALVES: u8 = 128;
    /// `cp.async` that is known to read as much as it writes, or nothing.
    pub const WHOLE: u8 = 2;
    /// `ldmatrix` and `stmatrix` of columns.
    pub const TRANSPOSE: u8 = 128;
}

/// The operation of an `atom` or `red`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum AtomKind {
    Add,
    AddFloat,
    /// Of f32, subnormals flushed.
    AddFlushed,
    AddHalves,
    AddBf16Halves,
    MinHalves,
    MaxHalves,
    MinBf16Halves,
    MaxBf16Halves,
    MinUnsigned,
    MinSigned,
    MaxUnsigned,
    MaxSigned,
    And,
    Or,
    Xor,
    Exchange,
    CompareAndSwap,
    Increment,
    Decrement,
}

impl AtomKind {
    pub const ALL: [AtomKind; 20] = [
        AtomKind::Add,
        AtomKind::AddFloat,
        AtomKind::AddFlushed,
        AtomKind::AddHalves,
        AtomKind::AddBf16Halves,
        AtomKind::MinHalves,
        AtomKind::MaxHalves,
        AtomKind::MinBf16Halves,
        AtomKind::MaxBf16Halves,
        AtomKind::MinUnsigned,
        AtomKind::MinSigned,
        AtomKind::MaxUnsigned,
        AtomKind::MaxSigned,
        AtomKind::And,
        AtomKind::Or,
        AtomKind::Xor,
        AtomKind::Exchange,
        AtomKind::CompareAndSwap,
        AtomKind::Increment,
        AtomKind::Decrement,
    ];
}

/// The operation of `redux.sync` and `bar.red`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Reduction {
    Add,
    MinUnsigned,
    MinSigned,
    MaxUnsigned,
    MaxSigned,
    And,
    Or,
    Xor,
    Popc,
}

impl Reduction {
    pub const ALL: [Reduction; 9] = [
        Reduction::Add,
        Reduction::MinUnsigned,
        Reduction::MinSigned,
        Reduction::MaxUnsigned,
        Reduction::MaxSigned,
        Reduction::And,
        Reduction::Or,
        Reduction::Xor,
        Reduction::Popc,
    ];
}

/// What the elements of an `mma`'s A or B are; two of them share `Inst::kind`, A in the low four bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Factor {
    /// Single bits, multiplied with AND or with XOR.
    BitsAnd,
    BitsXor,
    U4,
    S4,
    U8,
    S8,
    E4m3,
    E5m2,
    F16,
    Bf16,
    Tf32,
    F64,
}

impl Factor {
    pub const ALL: [Factor; 12] = [
        Factor::BitsAnd,
        Factor::BitsXor,
        Factor::U4,
        Factor::S4,
        Factor::U8,
        Factor::S8,
        Factor::E4m3,
        Factor::E5m2,
        Factor::F16,
        Factor::Bf16,
        Factor::Tf32,
        Factor::F64,
    ];

    /// A's and B's, from `Inst::kind`.
    pub fn pair(kind: u8) -> (Factor, Factor) {
        (Factor::ALL[usize::from(kind & 15)], Factor::ALL[usize::from(kind >> 4)])
    }
}

/// A special register whose value is fixed for a CTA.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Special {
    Tid(usize),
    Ntid(usize),
    Ctaid(usize),
    Nctaid(usize),
    LaneId,
    WarpId,
    WarpCount,
    SmId,
    SmCount,
    GridId,
    LaneMaskEq,
    LaneMaskLt,
    LaneMaskLe,
    LaneMaskGt,
    LaneMaskGe,
    /// The halves of the address of a cooperative launch's workspace.
    WorkspaceHigh,
    WorkspaceLow,
    /// Shared memory that the system reserves, here behind the kernel's own.
    ReservedSharedStart,
    ReservedSharedEnd,
    DynamicSharedBytes,
    TotalSharedBytes,
}

/// Where an instruction came from, for fault reports.
#[derive(Clone, Debug, Default)]
pub struct Site {
    /// Line in the PTX text, from 1.
    pub line: u32,
    pub source: Option<Arc<Source>>,
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Some(source) => write!(f, "at {source} (ptx line {})", self.line),
            None => write!(f, "at ptx line {}", self.line),
        }
    }
}

/// A kernel's code with the functions it calls behind it.
#[derive(Debug, Default)]
pub struct Program {
    pub code: Vec<Inst>,
    /// For each instruction: how many from it on are arithmetic without a guard and in the same basic block.
    pub straight: Vec<u16>,
    /// For each instruction: what runs in the place of those `straight` ones, as a range of `fused`, if it is not empty.
    pub fused_at: Vec<Range<u32>>,
    pub fused: Vec<Inst>,
    /// The sources of instructions that have more than four.
    pub operands: Vec<u16>,
    /// The targets of each `brx.idx`, as indexes in `code`.
    pub tables: Vec<Vec<u32>>,
    /// Beside `code`, out of its way.
    pub sites: Vec<Site>,
    pub n_words: usize,
    pub n_doubles: usize,
    pub n_preds: usize,
    /// (slot, value)
    pub word_constants: Vec<(u16, u32)>,
    pub double_constants: Vec<(u16, u64)>,
    /// (slot, what); all are 32 bits wide.
    pub specials: Vec<(u16, Special)>,
}

/// What the system reserves of a CTA's shared memory since sm_80; cooperative_groups keeps its own variables there.
pub const RESERVED_SHARED_BYTES: u32 = 1024;

/// Where that begins, behind `own_bytes` of the kernel's.
pub fn reserved_shared_start(own_bytes: u32) -> u32 {
    own_bytes.next_multiple_of(128)
}

impl Program {
    /// All of a CTA's shared memory when the kernel itself has `own_bytes`.
    pub fn shared_bytes(&self, own_bytes: u32) -> u32 {
        let is_reserved = |special| matches!(special, Special::ReservedSharedStart | Special::ReservedSharedEnd);
        if self.specials.iter().any(|it| is_reserved(it.1)) {
            reserved_shared_start(own_bytes) + RESERVED_SHARED_BYTES
        } else {
            own_bytes
        }
    }

    /// The size of the smallest access to global memory, up to a word: the unit in which races are found.
    pub fn global_unit_bytes(&self) -> u32 {
        use Op::{AtomGeneric, AtomGlobal, LdGeneric, LdGlobal, StGeneric, StGlobal};
        let is_global =
            |inst: &&Inst| matches!(inst.op, LdGlobal | StGlobal | LdGeneric | StGeneric | AtomGlobal | AtomGeneric);
        if self.code.iter().any(|it| it.op == Op::CpAsync && it.flags & flag::WHOLE == 0) {
            return 1;
        }
        self.code.iter().filter(is_global).map(|it| u32::from(it.bytes)).min().unwrap_or(4).min(4)
    }

    /// The size of the smallest access to shared memory: the unit in which its state is tracked. Every access is aligned
    /// to its size.
    pub fn shared_unit_bytes(&self) -> u32 {
        use Op::{AtomGeneric, AtomShared, CpAsync, LdGeneric, LdShared, StGeneric, StShared};
        let bytes = |inst: &Inst| match inst.op {
            LdShared | StShared | LdGeneric | StGeneric => Some(u32::from(inst.bytes) * u32::from(inst.n)),
            AtomShared | AtomGeneric | CpAsync => Some(u32::from(inst.bytes)),
            _ => None,
        };
        // The rows of `ldmatrix` and `stmatrix`.
        const MOST: u32 = 16;
        self.code.iter().filter_map(bytes).min().unwrap_or(MOST).min(MOST)
    }
}
