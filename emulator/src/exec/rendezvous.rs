//! Where lanes of a warp wait for each other: `.sync` instructions, `.aligned` ones, and barriers.

use super::{
    control::{self, Gathering},
    lane::Lane,
    run::{Arrival, Flow, Stop},
    trouble::{Outcome, Trouble},
    warp::Warp,
    warp_ops,
};
use crate::{
    check::fault::FaultKind,
    isa::Op,
    lower::program::{Inst, Program, flag},
};

/// Runs a `.sync` instruction once all its members are here. Its member mask is source `mask_at`; lanes may have
/// different masks, as the tiles of a warp do. `all` are the lanes that ran before the guard.
///
/// Members that exited are not waited for (#data-movement-and-conversion-instructions-shfl-sync).
pub fn synced(
    program: &Program,
    warp: &mut Warp,
    inst: &Inst,
    mask_at: usize,
    all: u32,
    mut run: impl FnMut(&mut Warp) -> Outcome,
) -> Flow {
    let slot = inst.s[mask_at];
    let members = warp_ops::members(&warp.registers, &warp.mask, slot);
    if members & warp.live == warp.mask.bits && warp_ops::is_one_group(&warp.registers, &warp.mask, slot) {
        return run(warp).into();
    }
    control::leave_behind(warp, all & !warp.mask.bits);
    control::join(warp);
    let here = warp.mask.bits;
    let mut waiting = 0;
    for (lanes, members) in warp_ops::groups(&warp.registers, &warp.mask, slot) {
        warp.mask.set(lanes);
        let outcome = match warp_ops::check_members(&warp.mask, members) {
            Ok(()) if members & warp.live & !lanes == 0 => run(warp),
            Ok(()) => {
                waiting |= lanes;
                Ok(())
            }
            wrong => wrong,
        };
        if let Err(trouble) = outcome {
            return Flow::Stop(Stop::Trouble(trouble));
        }
    }
    warp.mask.set(here);
    if waiting == 0 {
        warp.pc += 1;
        return Flow::Jumped;
    }
    control::leave_behind(warp, here & !waiting);
    match control::park(warp) {
        Gathering::Stuck => meet_elsewhere(program, warp, inst, &mut run),
        _ => Flow::Jumped,
    }
}

/// All groups of the warp are parked. `bar.warp.sync` may be executed in several places, if its mask is the same
/// (#parallel-synchronization-and-communication-instructions-bar-warp-sync); nothing else can go on.
fn meet_elsewhere(program: &Program, warp: &mut Warp, inst: &Inst, run: &mut impl FnMut(&mut Warp) -> Outcome) -> Flow {
    let members = |warp: &Warp, mask: u32, slot: u16| u32::plane(&warp.registers, slot)[mask.trailing_zeros() as usize];
    let last = warp.splits.last().map_or(0, |it| it.mask);
    let wanted = members(warp, last, inst.s[0]);
    let is_there = |warp: &Warp, it: usize| {
        let (split, inst) = (&warp.splits[it], &program.code[warp.splits[it].pc as usize]);
        inst.op == Op::BarWarpSync && members(warp, split.mask, inst.s[0]) == wanted
    };
    let there: Vec<usize> = (0..warp.splits.len()).filter(|&it| is_there(warp, it)).collect();
    let lanes = there.iter().fold(0, |lanes, &it| lanes | warp.splits[it].mask);
    if inst.op != Op::BarWarpSync || wanted & warp.live != lanes {
        return Flow::Stop(Stop::Trouble(stuck(program, warp)));
    }
    for it in there {
        warp.splits[it].pc += 1;
        warp.splits[it].is_parked = false;
    }
    warp.mask.set(lanes);
    let outcome = run(warp);
    warp.take_next();
    match outcome {
        Ok(()) => Flow::Jumped,
        wrong => wrong.into(),
    }
}

/// All groups of the warp wait for lanes that wait elsewhere. A mask that names lanes that don't come is wrong; without
/// one, it is a barrier that not all lanes reach. The group with the lowest lane, which becomes the running one, has the
/// fault.
#[cold]
fn stuck(program: &Program, warp: &mut Warp) -> Box<Trouble> {
    let is_barrier = |pc: u32| matches!(program.code[pc as usize].op, Op::BarSync | Op::BarArrive | Op::BarRed);
    let mut places: Vec<(u32, u32)> = warp.splits.iter().map(|it| (it.pc, it.mask)).collect();
    places.sort_by_key(|it| it.1.trailing_zeros());
    let waits: Vec<String> =
        places.iter().map(|(pc, lanes)| format!("lanes {lanes:#010x} wait {}", program.sites[*pc as usize])).collect();
    let note = format!("no lane of the warp can go on:\n    {}", waits.join("\n    "));
    let culprit = places.iter().find(|it| !is_barrier(it.0)).or(places.first());
    let Some(&(pc, lanes)) = culprit else { unreachable!("the group that got stuck is parked") };
    let kind = if is_barrier(pc) { FaultKind::BarrierDivergence } else { FaultKind::SyncMaskMismatch };
    (warp.pc, warp.stack) = (pc, Vec::new());
    warp.mask.set(lanes);
    Trouble::because(kind, lanes.trailing_zeros() as usize, note)
}

/// Notes the lanes that an `.aligned` barrier waits for, but for those that are about to exit.
fn await_others(program: &Program, warp: &mut Warp) {
    let is_leaving = |pc: u32| matches!(program.code[pc as usize].op, Op::Ret | Op::Exit);
    for split in &warp.splits {
        if split.pc != warp.pc && !(split.stack.is_empty() && is_leaving(split.pc)) {
            warp.awaited |= split.mask;
        }
    }
}

/// What is wrong if `lanes` exit. A barrier lets threads go that have exited; but if lanes did something else while
/// others of their warp waited at an `.aligned` barrier, then not all threads executed it, as they must
/// (#parallel-synchronization-and-communication-instructions-bar).
pub fn desert(program: &Program, warp: &mut Warp, lanes: u32) -> Outcome {
    let is_barrier = |pc: u32| {
        let inst = &program.code[pc as usize];
        matches!(inst.op, Op::BarSync | Op::BarArrive | Op::BarRed) && inst.flags & flag::ALIGNED != 0
    };
    if warp.awaited & lanes == 0 {
        return Ok(());
    }
    let Some(here) = warp.splits.iter().position(|it| it.is_parked && is_barrier(it.pc)) else { return Ok(()) };
    warp.take(here);
    let lane = warp.mask.bits.trailing_zeros() as usize;
    let note = format!("lanes {lanes:#010x} of the warp went on without it, and exit");
    Err(Trouble::because(FaultKind::BarrierDivergence, lane, note))
}

/// Runs an `.aligned` instruction once the whole warp is here.
pub fn aligned(warp: &mut Warp, all: u32, run: impl FnOnce(&mut Warp) -> Outcome) -> Flow {
    let here = if warp.mask.bits == all {
        match control::gather(warp, !0) {
            Gathering::Complete if warp.mask.bits == !0 => return run(warp).into(),
            Gathering::Complete => warp.mask.bits,
            Gathering::Switched => return Flow::Jumped,
            Gathering::Stuck => warp.splits.last().map_or(0, |it| it.mask),
        }
    } else {
        warp.mask.bits
    };
    let note = format!("the whole warp has to execute it, but lanes {:#010x} don't", !here);
    let lane = here.trailing_zeros() as usize;
    Flow::Stop(Stop::Trouble(Trouble::because(FaultKind::SyncMaskMismatch, lane, note)))
}

/// A warp arrives as a whole, so its lanes have to name one barrier and one count
/// (#parallel-synchronization-and-communication-instructions-bar).
fn check_uniform(warp: &Warp, inst: &Inst) -> Outcome {
    let first = warp.mask.bits.trailing_zeros() as usize & 31;
    let count = (inst.flags & flag::HAS_COUNT != 0).then_some(("counts", inst.s[1]));
    for (what, slot) in [("barriers", inst.s[0])].into_iter().chain(count) {
        let values = &warp.registers.words[usize::from(slot)].0;
        let others = warp.mask.bits & bool::collect(|lane| values[lane] != values[first]);
        if others != 0 {
            let lane = others.trailing_zeros() as usize;
            let note = format!(
                "lanes {first} and {lane} of one warp give the {what} {} and {}, expected one",
                values[first], values[lane]
            );
            return Err(Trouble::because(FaultKind::BarrierMisuse, lane, note));
        }
    }
    Ok(())
}

/// `bar.sync`, `bar.arrive`, `bar.red`: s = id, count, predicate. All live lanes of the warp must arrive: `.aligned` at
/// this instruction, otherwise at any barrier of the same kind, number and count.
pub fn barrier(program: &Program, warp: &mut Warp, inst: &Inst, all: u32) -> Flow {
    let lane = warp.mask.bits.trailing_zeros() as usize & 31;
    let is_aligned = inst.flags & flag::ALIGNED != 0;
    if warp.mask.bits != all {
        if is_aligned {
            let note = format!("lanes {:#010x} of the warp are elsewhere", warp.live & !warp.mask.bits);
            return Flow::Stop(Stop::Trouble(Trouble::because(FaultKind::BarrierDivergence, lane, note)));
        }
        control::leave_behind(warp, all & !warp.mask.bits);
    }
    if is_aligned {
        await_others(program, warp);
    }
    if let Err(trouble) = check_uniform(warp, inst) {
        return Flow::Stop(Stop::Trouble(trouble));
    }
    let arrival = |warp: &Warp| {
        let read = |slot: u16| u32::plane(&warp.registers, slot)[lane];
        let n_threads = (inst.flags & flag::HAS_COUNT != 0).then(|| read(inst.s[1]));
        Arrival { pc: warp.pc, id: read(inst.s[0]), n_threads }
    };
    match control::gather(warp, !0) {
        Gathering::Complete => {
            // Groups that came apart may have met here.
            if let Err(trouble) = check_uniform(warp, inst) {
                return Flow::Stop(Stop::Trouble(trouble));
            }
            let arrival = arrival(warp);
            warp.awaited = 0;
            warp.pc += 1;
            Flow::Stop(Stop::Barrier(arrival))
        }
        Gathering::Switched => Flow::Jumped,
        Gathering::Stuck => {
            if is_aligned || !control::are_at_barrier(program, warp) {
                return Flow::Stop(Stop::Trouble(stuck(program, warp)));
            }
            let arrival = Arrival { pc: warp.splits.last().map_or(warp.pc, |it| it.pc), ..arrival(warp) };
            control::pass(warp);
            Flow::Stop(Stop::Barrier(arrival))
        }
    }
}
