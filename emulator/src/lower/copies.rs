//! Copy propagation: `mov` between registers that are written once disappears.
//!
//! nvcc's PTX is full of copies, and immediates and special registers reach their uses through one. If both registers are
//! written by a single instruction each, and the copy has no guard, then every use of the copy that the copy dominates
//! sees the value that its source still has: were the source written again in between, the path to the use would have to
//! pass the copy again. A use that the copy does not dominate reads a register that was never written.

use super::micro::{Content, Draft, Reg, Target};
use crate::isa::Op;

/// Removes copies and the operations whose results nobody reads any more.
pub fn propagate(draft: &mut Draft) {
    let n_writes = count_writes(draft);
    let written_once = |reg: Reg| match draft.content(reg) {
        Content::Variable => n_writes[reg.0 as usize] == 1,
        Content::Constant(_) | Content::Special(_) => true,
    };
    let mut same_as: Vec<Reg> = (0..draft.registers.len() as u32).map(Reg).collect();
    let mut is_copy = vec![false; draft.ops.len()];
    for (at, op) in draft.ops.iter().enumerate() {
        let moves = matches!(op.op, Op::MovB32 | Op::MovB64 | Op::MovPred | Op::CvtU32U32 | Op::CvtU64U64);
        if moves && op.guard.is_none() && written_once(op.dst[0]) && written_once(op.src[0]) {
            same_as[op.dst[0].0 as usize] = op.src[0];
            is_copy[at] = true;
        }
    }
    let origin = |mut reg: Reg| {
        while same_as[reg.0 as usize] != reg {
            reg = same_as[reg.0 as usize];
        }
        reg
    };
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

/// Stores read their `dst`: see `Inst::d`.
pub fn is_store(op: Op) -> bool {
    matches!(op, Op::StGlobal | Op::StShared | Op::StLocal | Op::StGeneric | Op::StMatrix)
}

fn count_writes(draft: &Draft) -> Vec<u32> {
    let mut n_writes = vec![0; draft.registers.len()];
    for op in draft.ops.iter().filter(|it| !is_store(it.op)) {
        for reg in &op.dst {
            n_writes[reg.0 as usize] += 1;
        }
    }
    n_writes
}

/// Removes the marked operations and moves the branch targets along.
fn remove(draft: &mut Draft, is_removed: &[bool]) {
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
