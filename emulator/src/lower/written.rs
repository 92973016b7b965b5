//! Uninitialised registers: code that notes which lanes have written a register, and looks before they read it.
//!
//! Only registers that some path reads before it writes them get a flag, a predicate that is written along with them;
//! in most kernels there are none. Plain moves carry the flag along with the value: compilers move registers around that
//! hold nothing yet.

use super::{
    copies::is_move,
    micro::{Content, Draft, Micro, Reg, Target},
    slots::{live_at_entry, reads, writes},
};
use crate::isa::{Class, Op};
use std::collections::HashMap;

/// Adds the code.
pub fn check(draft: &mut Draft) {
    let Some(first) = draft.ops.first() else { return };
    let template = Micro { guard: None, ..first.clone() };
    let flags = flags(draft);
    if flags.is_empty() {
        return;
    }
    let zero = draft.register(Class::Word, Content::Constant(0));
    let hidden = |op, dst: Reg, src: [Reg; 2], like: &Micro| Micro {
        op,
        dst: vec![dst],
        src: src[..if op == Op::MovPred { 1 } else { 2 }].to_vec(),
        target: Target::None,
        flags: 0,
        ..like.clone()
    };
    let mut ops: Vec<Micro> = Vec::with_capacity(2 * draft.ops.len());
    let mut in_order: Vec<Reg> = flags.values().copied().collect();
    in_order.sort_unstable_by_key(|it| it.0);
    ops.extend(in_order.iter().map(|&flag| hidden(Op::XorPred, flag, [flag, flag], &template)));
    let mut moved_to = Vec::with_capacity(draft.ops.len());
    for op in draft.ops.drain(..) {
        moved_to.push(ops.len());
        let source_flag = if is_move(op.op) { flags.get(&op.src[0]).copied() } else { None };
        for reg in reads(&op) {
            let is_guard = op.guard.is_some_and(|(guard, _)| guard == reg);
            if let Some(&flag) = flags.get(&reg)
                && (is_guard || source_flag.is_none())
            {
                let guard = op.guard.filter(|_| !is_guard);
                let (dst, target) = (Vec::new(), Target::None);
                ops.push(Micro { op: Op::CheckWritten, guard, dst, src: vec![flag], flags: 0, target, ..op.clone() });
            }
        }
        let written = writes(&op).iter().filter_map(|reg| flags.get(reg));
        let notes: Vec<Micro> = written
            .map(|&flag| match source_flag {
                Some(source) => hidden(Op::MovPred, flag, [source, source], &op),
                None => hidden(Op::SetEqB32, flag, [zero, zero], &op),
            })
            .collect();
        ops.push(op);
        ops.extend(notes);
    }
    for op in &mut ops {
        if let Target::Op(target) = &mut op.target {
            *target = moved_to[*target];
        }
    }
    draft.tables.iter_mut().flatten().for_each(|target| *target = moved_to[*target]);
    draft.ops = ops;
}

/// A flag for each register that some path may read before it writes it, and for those that they are moved to.
fn flags(draft: &mut Draft) -> HashMap<Reg, Reg> {
    let mut suspects = live_at_entry(draft);
    let mut is_suspect = vec![false; draft.registers.len()];
    suspects.iter().for_each(|it| is_suspect[it.0 as usize] = true);
    let mut n_known = 0;
    while n_known < suspects.len() {
        n_known = suspects.len();
        for op in draft.ops.iter().filter(|it| is_move(it.op)) {
            if is_suspect[op.src[0].0 as usize] && !is_suspect[op.dst[0].0 as usize] {
                is_suspect[op.dst[0].0 as usize] = true;
                suspects.push(op.dst[0]);
            }
        }
    }
    suspects.into_iter().map(|reg| (reg, draft.register(Class::Pred, Content::Variable))).collect()
}
