//! Branches, calls, returns, and the meeting of a warp's groups.
//!
//! When lanes disagree on a branch, the warp splits into groups that run one after the other. The group at the lowest
//! address runs first, so groups meet where their paths join. A group that reaches a `.sync` instruction whose other
//! members are elsewhere parks there until they arrive.

use super::{
    lane::Lane,
    trouble::{Outcome, Trouble},
    warp::{Split, Warp},
};
use crate::{
    check::fault::FaultKind,
    isa::Op,
    lower::program::{Inst, Program, flag},
};

/// Consecutive backward branches of one group, while others wait, before another gets its turn: without it,
/// `while (atomicCAS(...))` would spin for ever when the lock's holder waits at a higher address.
const TURN_BRANCHES: u32 = 1000;

/// How a `.sync` instruction goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gathering {
    /// All that must be here are.
    Complete,
    /// The group parked; another runs now.
    Switched,
    /// The group parked, and no other can run.
    Stuck,
}

/// `bra`: `taken` of the running lanes go to `target`, the others on.
#[inline(always)]
pub fn branch_or_fall(warp: &mut Warp, taken: u32, target: u32) {
    let is_backward = target <= warp.pc;
    if taken == 0 {
        warp.pc += 1;
        return;
    }
    if taken == warp.mask.bits {
        warp.pc = target;
    } else {
        split(warp, taken, target);
    }
    if is_backward && !warp.splits.is_empty() {
        take_turns(warp);
    }
}

#[inline(never)]
fn split(warp: &mut Warp, taken: u32, target: u32) {
    let rest = warp.mask.bits & !taken;
    warp.pc += 1;
    warp.mask.set(rest);
    let stack = warp.stack.clone();
    warp.put_back(false);
    warp.stack = stack;
    warp.pc = target;
    warp.mask.set(taken);
    warp.put_back(false);
    warp.take_next();
}

/// `brx.idx` of `lanes`: s = index in the branch table, which has to be inside.
pub fn branch_indexed(program: &Program, warp: &mut Warp, inst: &Inst, lanes: u32) -> Outcome {
    let targets = &program.tables[inst.imm as usize];
    let index = *u32::plane(&warp.registers, inst.s[0]);
    let wrong = (0..32).find(|&lane| lanes >> lane & 1 == 1 && index[lane] as usize >= targets.len());
    if let Some(lane) = wrong {
        let note = format!("index {} in a table of {} targets", index[lane], targets.len());
        return Err(Trouble::because(FaultKind::OutOfBounds, lane, note));
    }
    branch_apart(warp, lanes, |lane| targets[index[lane] as usize]);
    Ok(())
}

/// Each of `lanes` goes to its target, the other running lanes on.
fn branch_apart(warp: &mut Warp, lanes: u32, target: impl Fn(usize) -> u32) {
    let from = warp.pc;
    leave_behind(warp, warp.mask.bits & !lanes);
    let mut rest = warp.mask.bits;
    let mut is_backward = false;
    while rest != 0 {
        let pc = target(rest.trailing_zeros() as usize);
        let together =
            (0..32).filter(|&lane| rest >> lane & 1 == 1 && target(lane) == pc).fold(0, |all, it| all | 1 << it);
        let stack = warp.stack.clone();
        warp.pc = pc;
        warp.mask.set(together);
        warp.put_back(false);
        warp.stack = stack;
        rest &= !together;
        is_backward |= pc <= from;
    }
    warp.take_next();
    if is_backward && !warp.splits.is_empty() {
        take_turns(warp);
    }
}

/// Some of the running lanes don't execute the instruction at hand: they wait behind it while the others do.
pub fn leave_behind(warp: &mut Warp, lanes: u32) {
    if lanes == 0 {
        return;
    }
    let (here, rest, stack) = (warp.pc, warp.mask.bits & !lanes, warp.stack.clone());
    warp.pc = here + 1;
    warp.mask.set(lanes);
    warp.put_back(false);
    (warp.pc, warp.stack) = (here, stack);
    warp.mask.set(rest);
}

/// Whether every group of the warp stands at a barrier without `.aligned`, and all at the same: one kind, number and
/// count. Not so for `bar.red`, whose result has one place.
pub fn are_at_barrier(program: &Program, warp: &Warp) -> bool {
    let at = |split: &Split| {
        let inst = &program.code[split.pc as usize];
        let lane = split.mask.trailing_zeros() as usize;
        let read = |slot: u16| warp.registers.words[usize::from(slot)].0[lane];
        let count = (inst.flags & flag::HAS_COUNT != 0).then(|| read(inst.s[1]));
        let is_loose = matches!(inst.op, Op::BarSync | Op::BarArrive) && inst.flags & flag::ALIGNED == 0;
        is_loose.then(|| (inst.op, read(inst.s[0]), count))
    };
    let first = warp.splits.first().and_then(at);
    first.is_some() && warp.splits.iter().all(|it| at(it) == first)
}

/// Lets every group go on behind the instruction where it parked.
pub fn pass(warp: &mut Warp) {
    for split in &mut warp.splits {
        split.pc += 1;
        split.is_parked = false;
    }
    warp.take_next();
}

#[inline(never)]
fn take_turns(warp: &mut Warp) {
    warp.n_backward += 1;
    if warp.n_backward < TURN_BRANCHES {
        return;
    }
    // The oldest waiting group runs, and keeps its turn for as many backward branches or until it stops.
    let Some(next) = warp.splits.iter().position(|it| !it.is_parked) else { return };
    warp.put_back(false);
    warp.take(next);
    warp.n_backward = 0;
    warp.holds_turn = true;
}

/// At the start of a basic block, while the warp is split: lets groups meet and the right one run.
#[inline(never)]
pub fn meet(warp: &mut Warp) {
    if warp.holds_turn {
        warp.n_backward += 1;
        warp.holds_turn = warp.n_backward < TURN_BRANCHES;
        return;
    }
    // Mostly nobody waits here, and nobody else runs first.
    let place = (usize::MAX - warp.stack.len(), warp.pc);
    let runs_later = |it: &Split| it.is_parked || (usize::MAX - it.stack.len(), it.pc) > place;
    if warp.splits.iter().all(|it| it.pc != warp.pc && runs_later(it)) {
        return;
    }
    warp.put_back(false);
    warp.take_next();
}

/// Waits until the lanes of `required` that are still alive are all here.
#[inline(always)]
pub fn gather(warp: &mut Warp, required: u32) -> Gathering {
    if required & warp.live & !warp.mask.bits == 0 { Gathering::Complete } else { gather_slowly(warp, required) }
}

#[inline(never)]
fn gather_slowly(warp: &mut Warp, required: u32) -> Gathering {
    join(warp);
    if required & warp.live & !warp.mask.bits == 0 { Gathering::Complete } else { park(warp) }
}

/// The groups at the place of the running one join it.
pub fn join(warp: &mut Warp) {
    warp.put_back(true);
    let here = warp.splits.len() - 1;
    warp.take(here);
}

/// The running group waits for others, which run.
pub fn park(warp: &mut Warp) -> Gathering {
    warp.put_back(true);
    warp.holds_turn = false;
    if warp.take_next() { Gathering::Switched } else { Gathering::Stuck }
}

/// `exit`, or `ret` from the kernel: false when no lane is left.
pub fn exit(warp: &mut Warp, lanes: u32) -> bool {
    warp.live &= !lanes;
    warp.holds_turn = false;
    // Lanes that parked for one that has just exited may go on: they try again.
    for split in &mut warp.splits {
        split.is_parked = false;
    }
    let rest = warp.mask.bits & !lanes;
    if rest != 0 {
        warp.pc += 1;
        warp.mask.set(rest);
        return true;
    }
    warp.take_next()
}

/// `call`: `lanes` of the running lanes go to `target` and come back behind the call.
pub fn call(warp: &mut Warp, lanes: u32, target: u32) {
    let rest = warp.mask.bits & !lanes;
    let back = warp.pc + 1;
    if rest != 0 {
        let stack = warp.stack.clone();
        (warp.pc, warp.stack) = (back, stack.clone());
        warp.mask.set(rest);
        warp.put_back(false);
        warp.stack = stack;
    }
    warp.mask.set(lanes);
    warp.stack.push(back);
    warp.pc = target;
}

/// `ret` inside a call: `lanes` of the running lanes go back.
pub fn return_from_call(warp: &mut Warp, lanes: u32) {
    let rest = warp.mask.bits & !lanes;
    if rest != 0 {
        let stack = warp.stack.clone();
        warp.pc += 1;
        warp.mask.set(rest);
        warp.put_back(false);
        warp.stack = stack;
    }
    warp.mask.set(lanes);
    warp.pc = warp.stack.pop().expect("ret inside a call has a return address");
}
