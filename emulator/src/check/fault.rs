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
    /// `bar.sync` reached by some of a warp's threads while others of it are elsewhere.
    BarrierDivergence,
    /// A barrier used against its rules: thread counts that differ or are no multiple of 32, or an id over 15.
    BarrierMisuse,
    /// A `.sync` instruction executed by lanes that its member mask leaves out, or waiting for lanes that exited.
    SyncMaskMismatch,
    /// No warp can go on.
    Deadlock,
    /// `trap`, or a failed device-side assertion.
    Trap,
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

/// What a kernel did wrong, where, and to what.
#[derive(Clone, Debug)]
pub struct Fault {
    pub kind: FaultKind,
    pub kernel: String,
    pub block: [u32; 3],
    pub thread: [u32; 3],
    /// Line in the PTX text, from 1.
    pub ptx_line: u32,
    /// The instruction as written.
    pub text: String,
    pub source: Option<Arc<Source>>,
    pub access: Option<Access>,
    /// More about it, a sentence or more; may be empty.
    pub note: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [bx, by, bz] = self.block;
        let [tx, ty, tz] = self.thread;
        let what = match self.kind {
            FaultKind::OutOfBounds => "out of bounds",
            FaultKind::Misaligned => "misaligned address",
            FaultKind::BarrierDivergence => "barrier in divergent code",
            FaultKind::BarrierMisuse => "barrier misuse",
            FaultKind::SyncMaskMismatch => "lanes do not match the sync mask",
            FaultKind::Deadlock => "deadlock",
            FaultKind::Trap => "trap",
            FaultKind::ReadOnly => "write to read-only memory",
        };
        writeln!(f, "{what} in kernel {}, block ({bx}, {by}, {bz}), thread ({tx}, {ty}, {tz})", self.kernel)?;
        if let Some(access) = &self.access {
            let verb = if access.is_write { "write" } else { "read" };
            let Access { space, address, bytes, place, .. } = access;
            writeln!(f, "  {verb} of {bytes} bytes at {space} {address:#x}, {place}")?;
        }
        if !self.note.is_empty() {
            writeln!(f, "  {}", self.note)?;
        }
        if let Some(source) = &self.source {
            writeln!(f, "  at {source}")?;
        }
        write!(f, "  ptx line {}: {}", self.ptx_line, self.text)
    }
}

impl std::error::Error for Fault {}
