//! A fault: what device code did wrong, where, and to what.

use crate::ptx::ast::Source;
use std::{fmt, sync::Arc};

/// The kinds of wrong that a kernel can do. Each maps to the `CUresult` that a GPU would give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// An access outside every live allocation, or outside the CTA's shared or the thread's local memory.
    OutOfBounds,
    /// An address that is not a multiple of the access's size.
    Misaligned,
    /// A read of global memory that nothing has written since it was allocated.
    UninitGlobal,
    /// A read of shared memory that nothing in this CTA has written.
    UninitShared,
    /// A use of a register that no instruction on this path has written.
    UninitRegister,
    /// Two threads of a CTA touch the same shared memory, one of them writes, and nothing orders them.
    RaceShared,
    /// Two threads touch the same global memory, one of them writes, and nothing orders them.
    RaceGlobal,
    /// Lanes of one instruction store different values to one address.
    ConflictingStores,
    /// An access to shared memory that a `cp.async` has not finished writing.
    InFlight,
    /// `ld.global.nc` of memory that was written in the same launch.
    NonCoherent,
    /// `bar.sync` reached by some of a warp's threads while others of it are elsewhere.
    BarrierDivergence,
    /// A barrier used against its rules: thread counts that differ or are no multiple of 32, an id over 15, a warp that
    /// arrives twice, `bar.red` among other arrivals.
    BarrierMisuse,
    /// A `.sync` instruction executed by lanes that its member mask leaves out, or that waits for lanes which wait
    /// elsewhere, or reads from a lane that is not there.
    SyncMaskMismatch,
    /// No warp can go on.
    Deadlock,
    /// The launch ran more instructions than the limit that was set.
    StepLimit,
    /// `trap`.
    Trap,
    /// A failed device-side assertion.
    Assert,
    /// A write to `.const` memory or to a kernel's parameters.
    ReadOnly,
}

/// One access to memory.
#[derive(Clone, Debug)]
pub struct Access {
    /// `"global"`, `"shared"`, `"local"`, `"const"` or `"param"`.
    pub space: &'static str,
    pub is_write: bool,
    /// The address in its space: a device address for global, an offset for shared and local.
    pub address: u64,
    pub bytes: u32,
    /// What the address is nearest to, in words: `"16 bytes after allocation #3 (4096 bytes at 0x7f...)"`.
    pub place: String,
}

/// The other side of a race.
#[derive(Clone, Debug)]
pub struct OtherSide {
    pub is_write: bool,
    pub block: [u32; 3],
    pub thread: [u32; 3],
    pub place: Place,
}

/// An instruction in the PTX text.
#[derive(Clone, Debug)]
pub struct Place {
    /// Line in the PTX text, from 1.
    pub ptx_line: u32,
    /// The instruction as written.
    pub text: String,
    pub source: Option<Arc<Source>>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(source) = &self.source {
            writeln!(f, "  at {source}")?;
        }
        write!(f, "  ptx line {}: {}", self.ptx_line, self.text)
    }
}

/// What a kernel did wrong, where, and to what.
#[derive(Clone, Debug)]
pub struct Fault {
    pub kind: FaultKind,
    pub kernel: String,
    pub block: [u32; 3],
    pub thread: [u32; 3],
    pub place: Place,
    pub access: Option<Access>,
    /// Of a race.
    pub other: Option<OtherSide>,
    /// More about it, a sentence or more; may be empty.
    pub note: String,
}

impl Fault {
    /// The line that CUDA prints for a failed assertion: the note, with the thread in it.
    pub fn assertion(&self) -> Option<String> {
        let (place, claim) = self.note.rsplit_once(" Assertion `").filter(|_| self.kind == FaultKind::Assert)?;
        let ([bx, by, bz], [tx, ty, tz]) = (self.block, self.thread);
        Some(format!("{place} block: [{bx},{by},{bz}], thread: [{tx},{ty},{tz}] Assertion `{claim}"))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [bx, by, bz] = self.block;
        let [tx, ty, tz] = self.thread;
        let what = match self.kind {
            FaultKind::OutOfBounds => "out of bounds",
            FaultKind::Misaligned => "misaligned address",
            FaultKind::UninitGlobal => "read of uninitialised global memory",
            FaultKind::UninitShared => "read of uninitialised shared memory",
            FaultKind::UninitRegister => "use of a register that was never written",
            FaultKind::RaceShared => "race on shared memory",
            FaultKind::RaceGlobal => "race on global memory",
            FaultKind::ConflictingStores => "conflicting stores in one instruction",
            FaultKind::InFlight => "shared memory that cp.async is still writing",
            FaultKind::NonCoherent => "non-coherent load of memory written in the same launch",
            FaultKind::BarrierDivergence => "barrier in divergent code",
            FaultKind::BarrierMisuse => "barrier misuse",
            FaultKind::SyncMaskMismatch => "lanes do not match the sync mask",
            FaultKind::Deadlock => "deadlock",
            FaultKind::StepLimit => "step limit reached",
            FaultKind::Trap => "trap",
            FaultKind::Assert => "assertion failed",
            FaultKind::ReadOnly => "write to read-only memory",
        };
        writeln!(f, "{what} in kernel {}, block ({bx}, {by}, {bz}), thread ({tx}, {ty}, {tz})", self.kernel)?;
        if let Some(access) = &self.access {
            let verb = if access.is_write { "write" } else { "read" };
            let Access { space, address, bytes, place, .. } = access;
            let hazard = match &self.other {
                Some(OtherSide { is_write, .. }) => {
                    format!(" ({verb} after {})", if *is_write { "write" } else { "read" })
                }
                None => String::new(),
            };
            writeln!(f, "  {verb} of {bytes} bytes at {space} {address:#x}{hazard}, {place}")?;
        }
        if !self.note.is_empty() {
            writeln!(f, "  {}", self.note)?;
        }
        write!(f, "{}", self.place)?;
        if let Some(OtherSide { is_write, block: [bx, by, bz], thread: [tx, ty, tz], place }) = &self.other {
            let verb = if *is_write { "write" } else { "read" };
            writeln!(f, "\n  against a {verb} by block ({bx}, {by}, {bz}), thread ({tx}, {ty}, {tz})")?;
            write!(f, "{place}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Fault {}
