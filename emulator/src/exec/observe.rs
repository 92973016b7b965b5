//! What checks and counters see of a kernel: every access to memory, and every event that orders accesses.
//!
//! The interpreter reports them only when somebody listens, so that a launch without checks pays one test an access.

use super::{run::Context, trouble::Outcome};
use crate::lower::program::flag;

/// Where the interpreter is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct At {
    /// The CTA's linear index in the grid.
    pub cta: u64,
    /// Index of the warp in its CTA.
    pub warp: u32,
    /// Index of the instruction in the program.
    pub pc: u32,
}

impl At {
    /// The linear index in the CTA of one of the warp's threads.
    pub fn thread(self, lane: usize) -> u32 {
        self.warp * 32 + lane as u32
    }
}

/// What an access does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Load,
    /// `ld.global.nc`: the hardware may serve it from a cache that does not see the launch's own stores.
    LoadNonCoherent,
    Store,
    /// `atom` and `red`.
    Atomic,
}

/// The places that a warp's lanes access: device addresses, or offsets in shared memory.
#[derive(Clone, Copy, Debug)]
pub enum Places<'a, A> {
    /// All 32 lanes take part, each one access behind the lane before it.
    Row(A),
    /// All 32 lanes take part, at one address.
    Same(A),
    /// Each lane that takes part has its own.
    Each(&'a [A; 32]),
}

/// One memory instruction of a warp. Bounds and alignment are already checked.
#[derive(Clone, Copy, Debug)]
pub struct Touch<'a, A> {
    pub kind: Kind,
    /// `.volatile`, `.relaxed` and stronger: ordered against other strong accesses. Atomics always are.
    pub is_strong: bool,
    /// The lanes that take part.
    pub lanes: u32,
    /// What each of them accesses.
    pub bytes: u32,
    pub places: Places<'a, A>,
}

impl<A: Copy + Into<u64>> Touch<'_, A> {
    pub fn is_write(&self) -> bool {
        matches!(self.kind, Kind::Store | Kind::Atomic)
    }

    /// The address of a lane that takes part.
    pub fn address(&self, lane: usize) -> u64 {
        match self.places {
            Places::Row(base) => base.into() + lane as u64 * u64::from(self.bytes),
            Places::Same(address) => address.into(),
            Places::Each(addresses) => addresses[lane].into(),
        }
    }

    /// The rows that lanes make which are neighbours and access neighbours: the first lane, its address, how many.
    pub fn rows(&self) -> impl Iterator<Item = (usize, u64, u32)> {
        let mut rest = self.lanes;
        std::iter::from_fn(move || {
            let first = rest.trailing_zeros() as usize;
            if first == 32 {
                return None;
            }
            let (start, mut n) = (self.address(first), 1);
            let is_next = |n: u32| {
                let lane = first + n as usize;
                lane < 32 && rest >> lane & 1 == 1 && self.address(lane) == start + u64::from(n * self.bytes)
            };
            while is_next(n) {
                n += 1;
            }
            rest &= (!0u64 << (first + n as usize)) as u32;
            Some((first, start, n))
        })
    }

    /// The lanes that take part, with their addresses.
    pub fn each(&self) -> impl Iterator<Item = (usize, u64)> {
        (0..32).filter(|lane| self.lanes >> lane & 1 == 1).map(|lane| (lane, self.address(lane)))
    }
}

/// What orders accesses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A CTA begins.
    Start,
    /// `bar.warp.sync` of these lanes of the running warp.
    WarpSync { lanes: u32 },
    /// `membar`, `fence` by these lanes of the running warp.
    Fence { lanes: u32 },
    /// The running warp arrives at a barrier.
    Arrive { id: usize },
    /// The last threads of the running warp exited.
    Exit,
    /// A barrier completes: the warps that arrived, and those of them that waited and go on now. A bit a warp.
    Complete { id: usize, arrived: u32, waiting: u32 },
}

impl Context<'_> {
    /// An access to global memory.
    #[inline(never)]
    pub fn observe_global(&mut self, touch: &Touch<u64>) -> Outcome {
        if let Some(meter) = &mut self.meter {
            meter.global(self.at, touch);
        }
        match &mut self.global_checks {
            Some(checks) => checks.touch(self.at, touch),
            None => Ok(()),
        }
    }

    /// An access to shared memory.
    #[inline(never)]
    pub fn observe_shared(&mut self, touch: &Touch<u32>) -> Outcome {
        if let Some(meter) = &mut self.meter {
            meter.shared(self.at, touch);
        }
        if let Some(checks) = &mut self.global_checks
            && (touch.is_strong || touch.kind == Kind::Atomic)
        {
            checks.signal_through_shared(self.at);
        }
        let Some(checks) = &mut self.shared_checks else { return Ok(()) };
        if !touch.is_strong && touch.kind != Kind::Atomic {
            return checks.touch(self.at, touch);
        }
        // A release is an access behind a fence, an acquire is one before a fence.
        let (flags, fence) = (self.program.code[self.at.pc as usize].flags, Event::Fence { lanes: touch.lanes });
        if flags & flag::RELEASE != 0 {
            checks.event(self.at, fence);
        }
        checks.touch(self.at, touch)?;
        if flags & flag::ACQUIRE != 0 {
            checks.event(self.at, fence);
        }
        Ok(())
    }

    /// `cp.async` began to write shared memory: until it lands, nobody may touch it.
    pub fn observe_copy_issued(&mut self, touch: &Touch<u32>) -> Outcome {
        if let Some(meter) = &mut self.meter {
            meter.shared(self.at, touch);
        }
        match &mut self.shared_checks {
            Some(checks) => checks.copy_issued(self.at, touch),
            None => Ok(()),
        }
    }

    /// What a `cp.async` at `issued_at` wrote is there, for the threads that waited.
    pub fn observe_copy_landed(&mut self, issued_at: u32, touch: &Touch<u32>) {
        if let Some(checks) = &mut self.shared_checks {
            checks.copy_landed(At { pc: issued_at, ..self.at }, touch);
        }
    }

    /// Something that orders accesses.
    pub fn observe(&mut self, event: Event) {
        if let Some(checks) = &mut self.shared_checks {
            checks.event(self.at, event);
        }
        if let Some(checks) = &mut self.global_checks {
            checks.event(self.at, event);
        }
    }
}
