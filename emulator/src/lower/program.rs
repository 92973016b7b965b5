//! What the lowering makes and the interpreter runs: instructions of 32 bytes whose every operand is a register slot.
//!
//! Immediates, addresses of variables and special registers sit in slots too, filled once a warp (or once a CTA), so the
//! interpreter never asks what kind of operand it has.

use crate::{isa::Op, ptx::ast::Source};
use std::sync::Arc;

/// `Inst::guard` of an instruction that always runs.
pub const NO_GUARD: u16 = u16::MAX;

/// One instruction.
#[derive(Clone, Copy, Debug)]
pub struct Inst {
    pub op: Op,
    /// Predicate slot * 2, + 1 when negated; [`NO_GUARD`].
    pub guard: u16,
    /// Destinations; the values to store in a vector store.
    pub d: [u16; 4],
    /// Sources.
    pub s: [u16; 4],
    /// Address offset, or branch target (index in [`Program::code`]).
    pub imm: i32,
    /// Size of one element in memory.
    pub bytes: u8,
    /// Elements of a vector access; destinations that are wanted, otherwise.
    pub n: u8,
    /// Meaning depends on `op`: an [`AtomKind`], a [`Reduction`].
    pub kind: u8,
    /// Bits of [`flag`].
    pub flags: u8,
}

/// Bits of [`Inst::flags`].
pub mod flag {
    /// `.volatile`, `.relaxed`, `.acquire`, `.release`: another CTA may be looking.
    pub const STRONG: u8 = 2;
    /// `red`: the old value is not wanted.
    pub const NO_RESULT: u8 = 4;
    /// The instruction begins a basic block: splits may meet here.
    pub const BLOCK_START: u8 = 8;
    /// A barrier with an explicit thread count in `s[1]`.
    pub const HAS_COUNT: u8 = 16;
    /// `ld.param` with a register in the address.
    pub const INDEXED: u8 = 32;
    /// `.acquire` of a load or atomic on global, shared or generic memory.
    pub const ACQUIRE: u8 = 16;
    /// `.release` of a store or atomic on such memory.
    pub const RELEASE: u8 = 32;
    /// A fence among the threads of its CTA.
    pub const NARROW: u8 = 16;
    /// `ld.global.nc`.
    pub const NON_COHERENT: u8 = 64;
}

/// The operation of an `atom` or `red`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum AtomKind {
    Add,
    AddFloat,
    AddHalves,
    AddBf16Halves,
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
    pub const ALL: [AtomKind; 15] = [
        AtomKind::Add,
        AtomKind::AddFloat,
        AtomKind::AddHalves,
        AtomKind::AddBf16Halves,
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

/// A kernel's code with the functions it calls behind it.
#[derive(Debug, Default)]
pub struct Program {
    pub code: Vec<Inst>,
    /// For each instruction: how many from it on are arithmetic without a guard and in the same basic block.
    pub straight: Vec<u16>,
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

impl Program {
    /// The size of the smallest access to global memory, up to a word: the unit in which races are found.
    pub fn global_unit_bytes(&self) -> u32 {
        use Op::{AtomGeneric, AtomGlobal, LdGeneric, LdGlobal, StGeneric, StGlobal};
        let is_global =
            |inst: &&Inst| matches!(inst.op, LdGlobal | StGlobal | LdGeneric | StGeneric | AtomGlobal | AtomGeneric);
        self.code.iter().filter(is_global).map(|it| u32::from(it.bytes)).min().unwrap_or(4).min(4)
    }

    /// The size of the smallest access to shared memory, up to a word: the unit in which its state is tracked.
    pub fn shared_unit_bytes(&self) -> u32 {
        let is_shared = |inst: &&Inst| {
            use Op::{LdGeneric, LdShared, StGeneric, StShared};
            matches!(inst.op, LdShared | StShared | LdGeneric | StGeneric)
        };
        self.code.iter().filter(is_shared).map(|it| u32::from(it.bytes)).min().unwrap_or(4).min(4)
    }
}
