//! Global memory: what was never written, what races, what is read past a cache that does not see it.
//!
//! Two accesses race when one of them writes, nothing orders them ([`order`]), and they are not both strong (volatile,
//! relaxed or atomic). That two CTAs store the same value to one word is a race too: the memory model makes no exception
//! for it, and neither do compilers. Bytes count, not words: neighbours written by different CTAs are fine.
//!
//! Accesses of one launch come before those of the next, and host memory (pinned, registered) is not tracked.

mod clock;
mod history;
mod order;

use crate::{
    check::fault::FaultKind,
    exec::{
        observe::{At, Event, Kind, Places, Touch},
        trouble::{Other, Outcome, Trouble},
    },
    isa::Op,
    lower::program::{Inst, Program, flag},
    mem::{
        allocations::DEVICE_BASE,
        shadow::{Records, Shadow},
    },
};
use history::{Access, History, Meeting, Run};
use order::{Order, Runner};
use std::sync::Arc;

/// The checks of one launch's global memory.
#[derive(Debug)]
pub struct GlobalChecks {
    shadow: Arc<Shadow>,
    /// `None` once they are on their way back to the shadow.
    history: Option<History>,
    order: Order,
    /// By instruction.
    semantics: Vec<Semantics>,
}

/// What an instruction orders besides its access.
#[derive(Clone, Copy, Debug)]
struct Semantics {
    is_acquire: bool,
    is_release: bool,
    /// A fence or strong access for the threads of its CTA only.
    is_narrow: bool,
}

impl Semantics {
    fn of(inst: &Inst) -> Semantics {
        let is_access = !matches!(inst.op, Op::BarSync | Op::BarArrive | Op::BarRed | Op::LdParam);
        let has = |flag| is_access && inst.flags & flag != 0;
        Semantics { is_acquire: has(flag::ACQUIRE), is_release: has(flag::RELEASE), is_narrow: has(flag::NARROW) }
    }
}

impl Drop for GlobalChecks {
    fn drop(&mut self) {
        if let Some(history) = self.history.take() {
            self.shadow.give_back(history.into_records());
        }
    }
}

impl GlobalChecks {
    /// For a launch of `program` in CTAs of `n_warps` warps.
    pub fn new(shadow: Arc<Shadow>, program: &Program, n_warps: u32) -> GlobalChecks {
        let records: Records = shadow.take_records();
        let history = History::new(records, program.global_unit_bytes(), n_warps, program.code.len());
        let semantics = program.code.iter().map(Semantics::of).collect();
        GlobalChecks { shadow, history: Some(history), order: Order::new(n_warps), semantics }
    }

    fn history(&mut self) -> &mut History {
        self.history.as_mut().expect("the records leave with the checks")
    }

    /// A CTA has ended.
    pub fn end(&mut self, cta: u64) {
        self.order.end(cta as usize);
    }

    pub fn event(&mut self, at: At, event: Event) {
        let now = self.history().last();
        let is_narrow = self.semantics.get(at.pc as usize).is_some_and(|it| it.is_narrow);
        self.order.event(runner(at), event, is_narrow, now);
    }

    /// A strong access to shared memory, which may order what the CTA's warps do to global memory.
    pub fn signal_through_shared(&mut self, at: At) {
        let Semantics { is_acquire, is_release, .. } = self.semantics[at.pc as usize];
        self.order.signal_within(at.cta as usize, is_acquire || is_release);
    }

    pub fn touch(&mut self, at: At, touch: &Touch<u64>) -> Outcome {
        self.order.enter(at.cta as usize);
        if self.reads_fresh(at, touch) { Ok(()) } else { self.touch_any(at, touch) }
    }

    /// A row of whole blocks that are written and that nobody else has touched in this launch, as weights are read; false,
    /// and nothing noted that is not so, if the access is another.
    #[inline]
    fn reads_fresh(&mut self, at: At, touch: &Touch<u64>) -> bool {
        let Places::Row(base) = touch.places else { return false };
        let Semantics { is_release, is_narrow, .. } = self.semantics[at.pc as usize];
        let history = self.history.as_mut().expect("the records leave with the checks");
        if touch.is_write() || touch.is_strong || is_release || history.is_full() {
            return false;
        }
        let n_bytes = 32 * u64::from(touch.bytes);
        let Some(range) = self.shadow.range(base, n_bytes).filter(|it| self.shadow.all_set(it)) else { return false };
        let runner = runner(at);
        let access = access(at, touch, self.order.in_grid(runner), is_narrow);
        let number = history.number(access, self.order.closed(runner, false));
        history.read_fresh(&Run { range, first_lane: 0, bytes: touch.bytes }, number)
    }

    #[inline(never)]
    fn touch_any(&mut self, at: At, touch: &Touch<u64>) -> Outcome {
        let runner = runner(at);
        if self.history().is_full() {
            self.history().clear();
            self.order.clear();
        }
        let Semantics { is_acquire, is_release, is_narrow } = self.semantics[at.pc as usize];
        if is_release && !is_narrow {
            let now = self.history().last();
            self.order.release(runner, now);
        }
        let access = access(at, touch, self.order.in_grid(runner), is_narrow);
        let is_strong = access.is_strong;
        let closed = self.order.closed(runner, access.is_write);
        let number = self.history().number(access, closed);
        let mut check = |run: Run| self.check(runner, touch.kind, &access, number, &run);
        match touch.places {
            Places::Row(base) => check(run(base, 0, 32, touch.bytes))?,
            Places::Same(base) => check(run(base, 0, 1, touch.bytes))?,
            Places::Each(_) => each_run(touch, check)?,
        }
        if is_strong && is_narrow {
            self.order.signal_within(runner.cta, is_acquire || is_release);
        } else if is_strong {
            self.signal(runner, touch, is_acquire);
        }
        Ok(())
    }

    /// A `cp.async` of the warp has begun. Returns the latest access so far.
    pub fn copy_issued(&mut self, at: At) -> u32 {
        let now = self.history().last();
        self.order.issue(runner(at), now);
        now
    }

    /// The bytes are read that a `cp.async` at `at` copies, which began behind access `issued`. Nothing that came since
    /// is ordered with it, not even what its own thread did (#asynchronous-operations).
    pub fn copy_landed(&self, at: At, issued: u32, touch: &Touch<u64>) -> Outcome {
        let Some(history) = &self.history else { return Ok(()) };
        let access = Access {
            warp: self.order.in_grid(runner(at)),
            pc: at.pc,
            bytes: touch.bytes,
            is_write: false,
            is_strong: false,
            is_narrow: false,
            is_non_coherent: false,
        };
        each_run(touch, |run| {
            let n_bytes = run.range.end - run.range.start;
            let Some(range) = self.shadow.range(run.range.start, n_bytes) else { return Ok(()) };
            let run = Run { range, ..run };
            history.written_since(&run, issued).map_err(|meeting| {
                let mut trouble = self.race(&access, &run, &meeting);
                trouble.note = "written while cp.async read it, which it may until it was waited for".to_owned();
                trouble
            })
        })
    }

    /// Lets strong accesses order others.
    fn signal(&mut self, runner: Runner, touch: &Touch<u64>, is_acquire: bool) {
        for (_, address) in touch.each() {
            for unit in address / 4..(address + u64::from(touch.bytes)).div_ceil(4) {
                if touch.kind != Kind::Store {
                    self.order.observe(runner, unit, is_acquire);
                }
                if touch.is_write() {
                    self.order.publish(runner, unit, touch.kind == Kind::Atomic);
                }
            }
        }
    }

    /// What a row of bytes is checked for. Its place is a device address yet.
    #[inline(always)]
    fn check(&mut self, runner: Runner, kind: Kind, access: &Access, number: u32, run: &Run) -> Outcome {
        let n_bytes = run.range.end - run.range.start;
        let Some(range) = self.shadow.range(run.range.start, n_bytes) else { return Ok(()) };
        let run = Run { range: range.clone(), ..run.clone() };
        if kind != Kind::Store
            && let Some(missing) = self.shadow.first_unset(range.clone())
        {
            return Err(uninitialised(&run, missing));
        }
        let history = self.history.as_mut().expect("the records leave with the checks");
        let order = &self.order;
        let met = if access.is_write {
            self.shadow.set(range);
            let is_fine = |other: &Access, its_number| {
                let are_strong = order.are_strong(access, other);
                !other.is_non_coherent && (are_strong || order.is_before((other.warp, its_number), runner))
            };
            // An atomic reads too, but what it must not meet as a reader it must not meet as a writer either.
            history.write(&run, number, is_fine)
        } else {
            let is_fine = |other: &Access, its_number| {
                let are_strong = order.are_strong(access, other);
                !access.is_non_coherent && (are_strong || order.is_before((other.warp, its_number), runner))
            };
            history.read(&run, number, is_fine)
        };
        met.map_err(|meeting| self.race(access, &run, &meeting))
    }

    #[cold]
    fn race(&self, access: &Access, run: &Run, meeting: &Meeting) -> Box<Trouble> {
        let Meeting { at, with, lane } = *meeting;
        let is_non_coherent = access.is_non_coherent || with.is_non_coherent;
        let kind = if is_non_coherent { FaultKind::NonCoherent } else { FaultKind::RaceGlobal };
        let mut trouble = trouble(kind, run, at, access.is_write);
        let (cta, warp) = self.order.in_cta(with.warp);
        trouble.other = Some(Other { is_write: with.is_write, cta, thread: warp * 32 + lane, pc: with.pc });
        trouble.note = match kind {
            FaultKind::NonCoherent => "what .nc loads must stay as it is while the kernel runs",
            _ if cta == self.order.in_cta(access.warp).0 => "no barrier orders the two",
            _ => "no release and acquire order the two: a fence and a flag or an atomic on both sides would",
        }
        .to_owned();
        trouble
    }
}

fn runner(at: At) -> Runner {
    Runner { cta: at.cta as usize, warp: at.warp as usize }
}

/// `warp` is the warp's index in the grid.
#[inline(always)]
fn access(at: At, touch: &Touch<u64>, warp: usize, is_narrow: bool) -> Access {
    Access {
        warp,
        pc: at.pc,
        bytes: touch.bytes,
        is_write: touch.is_write(),
        is_strong: touch.is_strong || touch.kind == Kind::Atomic,
        is_narrow,
        is_non_coherent: touch.kind == Kind::LoadNonCoherent,
    }
}

fn run(start: u64, first_lane: u32, n_lanes: u64, bytes: u32) -> Run {
    Run { range: start..start + n_lanes * u64::from(bytes), first_lane, bytes }
}

/// Calls `check` for the rows that neighbouring lanes make.
fn each_run(touch: &Touch<u64>, mut check: impl FnMut(Run) -> Outcome) -> Outcome {
    let bytes = u64::from(touch.bytes);
    let mut row: Option<(Run, usize)> = None;
    for (lane, address) in touch.each() {
        match &mut row {
            Some((row, last)) if lane == *last + 1 && address == row.range.end => {
                row.range.end += bytes;
                *last = lane;
            }
            Some((row, _)) if address == row.range.start && address + bytes == row.range.end => {}
            _ => {
                let next = (run(address, lane as u32, 1, touch.bytes), lane);
                if let Some((row, _)) = row.replace(next) {
                    check(row)?;
                }
            }
        }
    }
    row.map_or(Ok(()), |(row, _)| check(row))
}

/// The trouble of the lane whose access holds the byte `at`.
fn trouble(kind: FaultKind, run: &Run, at: u64, is_write: bool) -> Box<Trouble> {
    let bytes = u64::from(run.bytes);
    let k = (at - run.range.start) / bytes;
    let address = DEVICE_BASE + run.range.start + k * bytes;
    Trouble::access(kind, run.first_lane as usize + k as usize, "global", is_write, address, bytes as usize)
}

#[cold]
fn uninitialised(run: &Run, missing: u64) -> Box<Trouble> {
    let mut trouble = trouble(FaultKind::UninitGlobal, run, missing, false);
    let address = trouble.access.map_or(0, |it| it.2);
    let k = DEVICE_BASE + missing - address;
    trouble.note = format!("byte {k} of them was never written since the memory was allocated");
    trouble
}

#[cfg(test)]
mod tests;
