//! What stops a warp in the middle of an instruction, before the scheduler adds where and makes a `Fault` of it.

use crate::check::fault::FaultKind;

/// A fault of one lane.
#[derive(Clone, Debug)]
pub struct Trouble {
    pub kind: FaultKind,
    pub lane: usize,
    /// (space, is a write, address, bytes)
    pub access: Option<(&'static str, bool, u64, u32)>,
    pub note: String,
    /// The other side of a race.
    pub other: Option<Other>,
}

/// What a race is with.
#[derive(Clone, Copy, Debug)]
pub struct Other {
    pub is_write: bool,
    /// The CTA's linear index in the grid.
    pub cta: u64,
    /// The thread's linear index in its CTA.
    pub thread: u32,
    pub pc: u32,
}

/// What an instruction that can go wrong returns.
pub type Outcome = Result<(), Box<Trouble>>;

impl Trouble {
    #[cold]
    pub fn access(
        kind: FaultKind,
        lane: usize,
        space: &'static str,
        is_write: bool,
        address: u64,
        bytes: usize,
    ) -> Box<Trouble> {
        let access = Some((space, is_write, address, bytes as u32));
        Box::new(Trouble { kind, lane, access, note: String::new(), other: None })
    }

    #[cold]
    pub fn because(kind: FaultKind, lane: usize, note: impl Into<String>) -> Box<Trouble> {
        Box::new(Trouble { kind, lane, access: None, note: note.into(), other: None })
    }
}
