//! One CTA: its warps take turns on one host thread, and meet at barriers.

use super::{
    Shape,
    barrier::{Barrier, N_BARRIERS, N_NAMED_BARRIERS},
    turns::Turns,
};
use crate::{
    check::{fault::FaultKind, shared::SharedChecks},
    exec::{
        lane::{Lane, Mask},
        observe::Event,
        run::{self, Arrival, Context, Stop},
        trouble::Trouble,
        warp::{Place, Warp},
    },
    isa::Op,
    lower::{
        Kernel,
        program::{Program, Reduction, flag},
    },
};

/// What a warp is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    Ready,
    /// At the barrier whose instruction is at `pc`.
    Waiting {
        id: usize,
        pc: u32,
    },
    Done,
}

/// A CTA that runs or is suspended.
pub struct Cta {
    pub index: [u32; 3],
    linear_index: u64,
    warps: Vec<Warp>,
    status: Vec<Status>,
    barriers: [Barrier; N_BARRIERS],
    shared: Vec<u8>,
    /// When they are wanted.
    checks: Option<Box<SharedChecks>>,
}

/// How far a CTA got.
pub enum Progress {
    Done,
    /// It had its turns; others may go on.
    Suspended,
    /// A warp's lane did wrong: (warp, instruction, what).
    Trouble(u32, u32, Box<Trouble>),
}

impl Cta {
    pub fn new(kernel: &Kernel, shape: &Shape, is_checked: bool) -> Cta {
        let n_warps = shape.block.iter().product::<u32>().div_ceil(32);
        let warps: Vec<Warp> = (0..n_warps).map(|it| Warp::new(&kernel.program, kernel.local_bytes, it)).collect();
        let n_shared = kernel.program.shared_bytes(kernel.static_shared_bytes + shape.dynamic_shared_bytes);
        let shared = vec![0; n_shared as usize];
        let unit_bytes = kernel.program.shared_unit_bytes();
        let checks = is_checked.then(|| Box::new(SharedChecks::new(n_warps, n_shared, unit_bytes)));
        let status = vec![Status::Ready; warps.len()];
        Cta { index: [0; 3], linear_index: 0, warps, status, barriers: Default::default(), shared, checks }
    }

    /// Makes it the CTA at `place.block_index`, whose linear index in the grid is `index`.
    pub fn start(&mut self, context: &mut Context, index: u64, place: &Place) {
        let program = context.program;
        (self.index, self.linear_index) = (place.block_index, index);
        self.warps.iter_mut().for_each(|it| it.start(program, place));
        self.status.fill(Status::Ready);
        self.barriers = Default::default();
        self.swap_in(context);
        context.observe(Event::Start);
        self.swap_out(context);
    }

    fn swap_in(&mut self, context: &mut Context) {
        context.at.cta = self.linear_index;
        std::mem::swap(&mut context.shared, &mut self.shared);
        std::mem::swap(&mut context.shared_checks, &mut self.checks);
    }

    fn swap_out(&mut self, context: &mut Context) {
        std::mem::swap(&mut context.shared, &mut self.shared);
        std::mem::swap(&mut context.shared_checks, &mut self.checks);
    }

    /// Runs until the CTA ends, does wrong, or had its turns.
    pub fn run(&mut self, context: &mut Context, turns: &mut Turns) -> Progress {
        self.swap_in(context);
        let progress = self.run_warps(context, turns);
        self.swap_out(context);
        progress
    }

    fn run_warps(&mut self, context: &mut Context, turns: &mut Turns) -> Progress {
        for _ in 0..turns.n_turns() {
            let mut any_ran = false;
            for warp in turns.warps(self.warps.len()) {
                if self.status[warp] != Status::Ready {
                    continue;
                }
                any_ran = true;
                let fuel = turns.fuel();
                if fuel == 0 {
                    return self.step_limit(warp);
                }
                let n_before = context.n_warp_instructions;
                let stop = run::run(context, &mut self.warps[warp], fuel);
                turns.spend(context.n_warp_instructions - n_before);
                let outcome = match stop {
                    Stop::Yield => Ok(()),
                    Stop::Barrier(arrival) => self.arrive(context, warp, arrival),
                    Stop::Done => {
                        self.status[warp] = Status::Done;
                        context.observe(Event::Exit);
                        // A thread that exits no longer counts for the barriers of the others.
                        (0..N_BARRIERS).for_each(|id| self.complete_if_all_arrived(context, id));
                        Ok(())
                    }
                    Stop::Trouble(trouble) => Err((self.warps[warp].pc, trouble)),
                };
                if let Err((pc, trouble)) = outcome {
                    return Progress::Trouble(warp as u32, pc, trouble);
                }
            }
            if self.status.iter().all(|it| *it == Status::Done) {
                return Progress::Done;
            }
            if !any_ran {
                return self.deadlock(context.program);
            }
        }
        Progress::Suspended
    }

    fn arrive(&mut self, context: &mut Context, warp: usize, arrival: Arrival) -> Result<(), (u32, Box<Trouble>)> {
        let Arrival { pc, id, .. } = arrival;
        let inst = &context.program.code[pc as usize];
        let Warp { mask, live, .. } = self.warps[warp];
        let lane = mask.bits.trailing_zeros() as usize & 31;
        let id = id as usize;
        if id >= N_NAMED_BARRIERS && inst.flags & flag::CLUSTER == 0 {
            let note = format!("barrier {id}, but a CTA has barriers 0 to 15");
            return Err((pc, Trouble::because(FaultKind::BarrierMisuse, lane, note)));
        }
        let (n_warps, is_reduction) = (self.warps.len() as u32, inst.op == Op::BarRed);
        let barrier = &mut self.barriers[id];
        barrier.arrive(warp, n_warps, lane, &arrival, is_reduction).map_err(|trouble| (pc, trouble))?;
        if is_reduction {
            let votes = self.warps[warp].registers.preds[usize::from(inst.s[2])] & live;
            barrier.n_true += votes.count_ones();
            barrier.n_votes += live.count_ones();
        }
        if inst.op != Op::BarArrive {
            self.status[warp] = Status::Waiting { id, pc };
        }
        context.observe(Event::Arrive { id });
        self.complete_if_all_arrived(context, id);
        Ok(())
    }

    /// Lets the warps at a barrier go on once the last has arrived.
    fn complete_if_all_arrived(&mut self, context: &mut Context, id: usize) {
        let barrier = self.barriers[id];
        // Most barriers are never used, and are asked for whenever a warp exits.
        if barrier.arrived == 0 || !barrier.is_complete(self.live()) {
            return;
        }
        self.barriers[id] = Barrier::default();
        let mut waiting = 0;
        for (status, warp) in self.status.iter_mut().zip(&mut self.warps) {
            let Status::Waiting { id: waits_at, pc } = *status else { continue };
            if waits_at != id {
                continue;
            }
            *status = Status::Ready;
            waiting |= 1 << warp.index;
            let inst = &context.program.code[pc as usize];
            if inst.op == Op::BarRed {
                let mut mask = Mask::ALL;
                mask.set(warp.live);
                let (n_true, n_votes) = (barrier.n_true, barrier.n_votes);
                let truth = |holds: bool| if holds { !0 } else { 0 };
                match Reduction::ALL[usize::from(inst.kind)] {
                    Reduction::Popc => u32::write(&mut warp.registers, inst.d[0], [n_true; 32], &mask),
                    Reduction::And => bool::write(&mut warp.registers, inst.d[0], truth(n_true == n_votes), &mask),
                    _ => bool::write(&mut warp.registers, inst.d[0], truth(n_true > 0), &mask),
                }
            }
        }
        context.observe(Event::Complete { id, arrived: barrier.arrived, waiting });
    }

    /// Warps that have not exited, a bit each.
    fn live(&self) -> u32 {
        let is_live = |warp: &usize| self.status[*warp] != Status::Done;
        (0..self.status.len()).filter(is_live).fold(0, |live, warp| live | 1 << warp)
    }

    /// The launch has run all it may, when this warp was to go on.
    fn step_limit(&self, warp: usize) -> Progress {
        let Warp { pc, mask, .. } = &self.warps[warp];
        let lane = mask.bits.trailing_zeros() as usize & 31;
        Progress::Trouble(warp as u32, *pc, Trouble::because(FaultKind::StepLimit, lane, ""))
    }

    /// The warps that have not ended, and the instructions they are at.
    pub fn unfinished(&self) -> impl Iterator<Item = (u32, u32)> {
        self.status.iter().zip(&self.warps).filter_map(|(status, warp)| match status {
            Status::Ready => Some((warp.index, warp.pc)),
            Status::Waiting { pc, .. } => Some((warp.index, *pc)),
            Status::Done => None,
        })
    }

    /// Every warp waits at a barrier that will not complete.
    fn deadlock(&self, program: &Program) -> Progress {
        let mut first = None;
        let mut waits = Vec::new();
        for (warp, status) in self.status.iter().enumerate() {
            let Status::Waiting { id, pc } = *status else { continue };
            first = first.or(Some((warp, pc)));
            let barrier = &self.barriers[id];
            let (n_arrived, n_needed) = (barrier.arrived.count_ones(), barrier.n_needed(self.live()));
            let site = &program.sites[pc as usize];
            waits.push(format!(
                "warp {warp} at barrier {id}, where {n_arrived} of {n_needed} warps have arrived, {site}"
            ));
        }
        let (warp, pc) = first.expect("a CTA without ready warps that is not done has waiting ones");
        let n_exited = self.status.len() - self.live().count_ones() as usize;
        if n_exited > 0 {
            waits.push(format!("{n_exited} warps have exited"));
        }
        let lane = self.warps[warp].live.trailing_zeros() as usize & 31;
        let note = format!("no warp can go on:\n    {}", waits.join("\n    "));
        Progress::Trouble(warp as u32, pc, Trouble::because(FaultKind::Deadlock, lane, note))
    }
}
