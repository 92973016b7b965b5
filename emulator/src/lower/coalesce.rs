//! Coalescing: registers that a `mov` joins and that never hold different values at once become one, and the `mov` goes.
//!
//! nvcc writes each loop-carried register and each merge of branches as copies at the ends of the blocks before it, which
//! [`copies`] cannot remove as their destinations are written more than once. Two registers interfere if one is
//! written while the other is live, unless that write is the copy of the one to the other: then both hold the same until
//! one is written again (Chaitin's rule). As with slots, the liveness of one thread is enough: lanes on other paths have
//! values of their own. A write behind a guard does not end what its destination holds.
//!
//! Copies in the innermost loops come first: what is merged for them may stand in the way of others.

use super::{
    copies::{self, is_move},
    micro::{Content, Draft, Micro, Reg},
    slots::{self, BitSet},
};

/// Registers of copies times all registers: as many bits has the table of what interferes, here 128 MiB. A function that
/// needs more keeps its copies.
const MAX_INTERFERENCE_BITS: usize = 1 << 30;

/// Merges registers and removes the copies between them.
pub fn coalesce(draft: &mut Draft) {
    let copies = copies_inside_out(draft);
    let mut is_copied = vec![false; draft.registers.len()];
    for &(dst, src) in &copies {
        is_copied[dst.0 as usize] = true;
        is_copied[src.0 as usize] = true;
    }
    let n_copied = is_copied.iter().filter(|it| **it).count();
    if n_copied == 0 || n_copied.saturating_mul(draft.registers.len()) > MAX_INTERFERENCE_BITS {
        return;
    }
    let mut classes = Classes::new(interference(draft, &is_copied), &is_copied);
    copies.iter().for_each(|&(dst, src)| classes.merge(dst, src));
    draft.ops.iter_mut().flat_map(Micro::registers_mut).for_each(|reg| *reg = classes.of(*reg));
    let is_removed: Vec<bool> = draft.ops.iter().map(|op| is_move(op.op) && op.dst[0] == op.src[0]).collect();
    copies::remove(draft, &is_removed);
}

/// (to, from) of the copies that could go, those in the most loops first.
fn copies_inside_out(draft: &Draft) -> Vec<(Reg, Reg)> {
    let depths = loop_depths(draft);
    let mut copies: Vec<(u32, Reg, Reg)> = Vec::new();
    for (op, depth) in draft.ops.iter().zip(depths).filter(|(op, _)| is_move(op.op) && op.guard.is_none()) {
        let (dst, src) = (op.dst[0], op.src[0]);
        let is_alike = draft.class(dst) == draft.class(src);
        if is_alike && [dst, src].iter().all(|&reg| draft.content(reg) == Content::Variable) {
            copies.push((depth, dst, src));
        }
    }
    copies.sort_by_key(|it| std::cmp::Reverse(it.0));
    copies.into_iter().map(|(_, dst, src)| (dst, src)).collect()
}

/// How many branches back enclose each operation.
fn loop_depths(draft: &Draft) -> Vec<u32> {
    let mut changes = vec![0i32; draft.ops.len() + 1];
    for (at, op) in draft.ops.iter().enumerate() {
        for &target in draft.targets(op).iter().filter(|&&target| target <= at) {
            changes[target] += 1;
            changes[at + 1] -= 1;
        }
    }
    let mut depth = 0;
    let depths = changes[..draft.ops.len()].iter().map(|change| {
        depth += change;
        depth as u32
    });
    depths.collect()
}

/// For each register that `is_copied`, those that are live where it is written; nothing for the others.
fn interference(draft: &Draft, is_copied: &[bool]) -> Vec<BitSet> {
    let n = draft.registers.len();
    let mut conflicts: Vec<BitSet> = is_copied.iter().map(|&it| BitSet::new(if it { n } else { 0 })).collect();
    let blocks = slots::blocks(draft);
    let mut live_out = slots::live_out(draft, &blocks);
    for (block, live) in blocks.iter().zip(&mut live_out) {
        for op in draft.ops[block.clone()].iter().rev() {
            let written = slots::writes(op);
            for dst in written {
                let conflicts = &mut conflicts[dst.0 as usize];
                if !is_copied[dst.0 as usize] {
                    continue;
                }
                let source = copied_from(op).filter(|src| !conflicts.contains(src.0 as usize));
                conflicts.union(live);
                written.iter().for_each(|other| conflicts.insert(other.0 as usize));
                source.iter().for_each(|src| conflicts.remove(src.0 as usize));
            }
            if op.guard.is_none() {
                written.iter().for_each(|reg| live.remove(reg.0 as usize));
            }
            slots::reads(op).for_each(|reg| live.insert(reg.0 as usize));
        }
    }
    conflicts
}

/// The register that an operation's only result has the value of.
fn copied_from(op: &Micro) -> Option<Reg> {
    (is_move(op.op) && op.guard.is_none()).then(|| op.src[0])
}

/// Registers that have become one, and what each class of them interferes with.
struct Classes {
    same_as: Vec<Reg>,
    /// By the register that stands for a class.
    members: Vec<Vec<Reg>>,
    conflicts: Vec<BitSet>,
}

impl Classes {
    fn new(conflicts: Vec<BitSet>, is_copied: &[bool]) -> Classes {
        let all = 0..conflicts.len() as u32;
        let members = all.clone().map(|it| if is_copied[it as usize] { vec![Reg(it)] } else { Vec::new() }).collect();
        Classes { same_as: all.map(Reg).collect(), members, conflicts }
    }

    /// The register that stands for a register's class.
    fn of(&mut self, reg: Reg) -> Reg {
        copies::origin(&mut self.same_as, reg)
    }

    fn merge(&mut self, a: Reg, b: Reg) {
        let (a, b) = (self.of(a), self.of(b));
        if a == b || self.interfere(a, b) || self.interfere(b, a) {
            return;
        }
        self.same_as[b.0 as usize] = a;
        let members = std::mem::take(&mut self.members[b.0 as usize]);
        self.members[a.0 as usize].extend(members);
        let conflicts = std::mem::replace(&mut self.conflicts[b.0 as usize], BitSet::new(0));
        self.conflicts[a.0 as usize].union(&conflicts);
    }

    fn interfere(&self, a: Reg, b: Reg) -> bool {
        self.members[b.0 as usize].iter().any(|it| self.conflicts[a.0 as usize].contains(it.0 as usize))
    }
}

#[cfg(test)]
mod tests;
