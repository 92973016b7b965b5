//! Copy propagation: `mov` between registers that are written once disappears.
//!
//! nvcc's PTX is full of copies, and immediates and special registers reach their uses through one. A copy goes if it has
//! no guard, both registers are written by a single instruction each, and no path reads either before it writes it. Then
//! every use of the copy sees the value that its source still has. The use comes after the copy on every path to it; were
//! the source written again between the two, then the path that goes from the source's first write on as it goes from
//! that second one would reach the use without the copy, and would read a register that was not written yet. (The copy
//! cannot come before that first write, as it would read such a register itself.)

use super::{
    micro::{Content, Draft, Reg, Target},
    slots,
};
use crate::isa::Op;

/// Removes copies and the operations whose results nobody reads any more.
pub fn propagate(draft: &mut Draft) {
    let is_fixed = fixed(draft);
    let mut same_as: Vec<Reg> = (0..draft.registers.len() as u32).map(Reg).collect();
    let mut is_copy = vec![false; draft.ops.len()];
    for (at, op) in draft.ops.iter().enumerate() {
        if !is_move(op.op) || op.guard.is_some() {
            continue;
        }
        let (dst, src) = (op.dst[0], op.src[0]);
        // Code that nothing reaches may copy in a circle.
        if is_fixed[dst.0 as usize] && is_fixed[src.0 as usize] && origin(&mut same_as, src) != dst {
            same_as[dst.0 as usize] = src;
            is_copy[at] = true;
        }
    }
    let mut origin = |reg| origin(&mut same_as, reg);
    for op in &mut draft.ops {
        op.src.iter_mut().for_each(|reg| *reg = origin(*reg));
        if let Some((reg, _)) = &mut op.guard {
            *reg = origin(*reg);
        }
        // The values of a vector store sit among the destinations.
        if is_store(op.op) {
            op.dst.iter_mut().for_each(|reg| *reg = origin(*reg));
        }
    }
    remove(draft, &is_copy);
}

/// The result is the source.
pub fn is_move(op: Op) -> bool {
    matches!(op, Op::MovB32 | Op::MovB64 | Op::MovPred | Op::CvtU32U32 | Op::CvtU64U64)
}

/// Stores read their `dst`: see `Inst::d`.
pub fn is_store(op: Op) -> bool {
    matches!(op, Op::StGlobal | Op::StShared | Op::StLocal | Op::StGeneric | Op::StMatrix)
}

/// Where a chain of copies begins; the chain gets shorter on the way.
pub fn origin(same_as: &mut [Reg], mut reg: Reg) -> Reg {
    while same_as[reg.0 as usize] != reg {
        let next = same_as[reg.0 as usize];
        same_as[reg.0 as usize] = same_as[next.0 as usize];
        reg = next;
    }
    reg
}

/// Registers that are written by one instruction at most, and that no path reads before.
fn fixed(draft: &Draft) -> Vec<bool> {
    let n_writes = count_writes(draft);
    let is_fixed = |(&(_, content), n_writes)| content != Content::Variable || n_writes == 1;
    let mut is_fixed: Vec<bool> = draft.registers.iter().zip(n_writes).map(is_fixed).collect();
    slots::live_at_entry(draft).iter().for_each(|reg| is_fixed[reg.0 as usize] = false);
    is_fixed
}

/// How many operations write each register.
pub fn count_writes(draft: &Draft) -> Vec<u32> {
    let mut n_writes = vec![0; draft.registers.len()];
    for op in draft.ops.iter().filter(|it| !is_store(it.op)) {
        for reg in &op.dst {
            n_writes[reg.0 as usize] += 1;
        }
    }
    n_writes
}

/// Removes the marked operations and moves the branch targets along.
pub fn remove(draft: &mut Draft, is_removed: &[bool]) {
    let mut moved_to = Vec::with_capacity(draft.ops.len() + 1);
    let mut n_kept = 0;
    for removed in is_removed {
        moved_to.push(n_kept);
        n_kept += usize::from(!removed);
    }
    moved_to.push(n_kept);
    let mut at = 0;
    draft.ops.retain(|_| {
        at += 1;
        !is_removed[at - 1]
    });
    for op in &mut draft.ops {
        if let Target::Op(target) = &mut op.target {
            *target = moved_to[*target];
        }
    }
    draft.tables.iter_mut().flatten().for_each(|target| *target = moved_to[*target]);
}
