//! Register slots: liveness over basic blocks, then a linear scan, so that a warp's registers stay in the first-level
//! cache (a GEMV's 48 KB of virtual registers become 7 KB).
//!
//! Lanes on different paths may keep different values in one slot at a time: a write touches active lanes only, and each
//! lane's own path never needs two values of a slot at once. So liveness of one thread is enough. 32-bit, 64-bit and
//! predicate slots are separate.

use super::{
    copies::is_store,
    micro::{Content, Draft, Fused, Micro, Reg},
};
use crate::isa::Class;
use std::{cmp::Reverse, collections::BinaryHeap};

/// The slot of every register, and how many slots of each class there are.
pub struct Slots {
    /// By register; `None` for one that nothing touches.
    pub of: Vec<Option<u16>>,
    /// By [`class_index`].
    pub counts: [usize; 3],
}

/// Which of the counts belongs to a class.
pub fn class_index(class: Class) -> usize {
    match class {
        Class::Word => 0,
        Class::Double => 1,
        Class::Pred => 2,
    }
}

/// Registers that an operation reads.
pub fn reads(op: &Micro) -> impl Iterator<Item = Reg> {
    let stored: &[Reg] = if is_store(op.op) { &op.dst } else { &[] };
    op.src.iter().copied().chain(stored.iter().copied()).chain(op.guard.map(|(reg, _)| reg))
}

/// Registers that an operation writes.
pub fn writes(op: &Micro) -> &[Reg] {
    if is_store(op.op) { &[] } else { &op.dst }
}

/// Blocks times registers of a function: [`live_out`] keeps four sets of so many bits, here 2 GiB.
const MAX_LIVENESS_BITS: usize = 1 << 32;

/// Refuses a function whose liveness would take more memory than a host can be expected to have.
pub fn check_size(draft: &Draft) -> Result<(), String> {
    let (n_blocks, n_registers) = (blocks(draft).len(), draft.registers.len());
    if n_blocks.saturating_mul(n_registers) <= MAX_LIVENESS_BITS {
        return Ok(());
    }
    Err(format!(
        "{n_registers} registers in {n_blocks} basic blocks are too many to find slots for: expected a product of at \
         most {MAX_LIVENESS_BITS}"
    ))
}

/// Gives every register a slot.
pub fn allocate(draft: &Draft) -> Slots {
    let intervals = live_intervals(draft);
    let mut slots = Slots { of: vec![None; draft.registers.len()], counts: [0; 3] };
    let mut order: Vec<usize> = (0..intervals.len()).filter(|&reg| intervals[reg].is_some()).collect();
    order.sort_by_key(|&reg| intervals[reg].map(|(start, _)| start));
    let mut free: [BinaryHeap<Reverse<u16>>; 3] = Default::default();
    let mut active: BinaryHeap<Reverse<(usize, usize)>> = BinaryHeap::new(); // (end, register)
    for reg in order {
        let Some((start, end)) = intervals[reg] else { continue };
        while let Some(&Reverse((_, done))) = active.peek().filter(|it| it.0.0 < start) {
            active.pop();
            let class = class_index(draft.registers[done].0);
            free[class].extend(slots.of[done].map(Reverse));
        }
        let class = class_index(draft.registers[reg].0);
        let slot = free[class].pop().map_or_else(
            || {
                slots.counts[class] += 1;
                slots.counts[class] as u16 - 1
            },
            |Reverse(slot)| slot,
        );
        slots.of[reg] = Some(slot);
        active.push(Reverse((end, reg)));
    }
    slots
}

/// First and last operation at which each register holds something, in the order of the code; constants and special
/// registers hold theirs throughout.
fn live_intervals(draft: &Draft) -> Vec<Option<(usize, usize)>> {
    let n_ops = draft.ops.len();
    let mut intervals: Vec<Option<(usize, usize)>> = vec![None; draft.registers.len()];
    let mut extend = |reg: usize, at: usize| {
        let interval = intervals[reg].get_or_insert((at, at));
        *interval = (interval.0.min(at), interval.1.max(at));
    };
    let blocks = blocks(draft);
    let live_out = live_out(draft, &blocks);
    for (block, range) in blocks.iter().enumerate() {
        let mut live = live_out[block].clone();
        live.for_each(|reg| extend(reg, range.end - 1));
        for at in range.clone().rev() {
            let op = &draft.ops[at];
            for reg in writes(op) {
                extend(reg.0 as usize, at);
                if op.guard.is_none() {
                    live.remove(reg.0 as usize);
                }
            }
            for reg in reads(op) {
                extend(reg.0 as usize, at);
                live.insert(reg.0 as usize);
            }
        }
        // What is live at the block's start came from elsewhere.
        live.for_each(|reg| extend(reg, range.start));
    }
    // A fused operation reads late what those did that it stands for.
    for (at, fused) in draft.fused.iter().enumerate() {
        if let Fused::Into(fusion) = fused {
            fusion.src.iter().for_each(|reg| extend(reg.0 as usize, at));
        }
    }
    for (reg, (_, content)) in draft.registers.iter().enumerate() {
        if *content != Content::Variable && intervals[reg].is_some() {
            intervals[reg] = Some((0, n_ops));
        }
    }
    intervals
}

/// Registers that some path reads before it writes them.
pub fn live_at_entry(draft: &Draft) -> Vec<Reg> {
    let blocks = blocks(draft);
    let Some(first) = blocks.first() else { return Vec::new() };
    let mut live = live_out(draft, &blocks).swap_remove(0);
    for op in draft.ops[first.clone()].iter().rev() {
        if op.guard.is_none() {
            writes(op).iter().for_each(|reg| live.remove(reg.0 as usize));
        }
        reads(op).for_each(|reg| live.insert(reg.0 as usize));
    }
    let mut registers = Vec::new();
    live.for_each(|reg| registers.push(Reg(reg as u32)));
    registers.retain(|reg| draft.content(*reg) == Content::Variable);
    registers
}

/// The basic blocks as ranges of operations, in order.
pub fn blocks(draft: &Draft) -> Vec<std::ops::Range<usize>> {
    let is_start = block_starts(draft);
    let starts: Vec<usize> = (0..is_start.len()).filter(|&at| is_start[at]).collect();
    let ends = starts.iter().skip(1).copied().chain([is_start.len()]);
    starts.iter().copied().zip(ends).map(|(start, end)| start..end).collect()
}

/// Which operations begin a basic block.
pub fn block_starts(draft: &Draft) -> Vec<bool> {
    let mut is_start = vec![false; draft.ops.len()];
    if let Some(first) = is_start.first_mut() {
        *first = true;
    }
    for (at, op) in draft.ops.iter().enumerate() {
        if op.ends_block()
            && let Some(next) = is_start.get_mut(at + 1)
        {
            *next = true;
        }
        draft.targets(op).iter().for_each(|&target| is_start[target] = true);
    }
    is_start
}

/// For each block, the registers that some path after it reads.
pub fn live_out(draft: &Draft, blocks: &[std::ops::Range<usize>]) -> Vec<BitSet> {
    let n = draft.registers.len();
    let block_of = |at: usize| blocks.partition_point(|it| it.end <= at);
    let successors: Vec<Vec<usize>> = blocks
        .iter()
        .map(|range| {
            let last = &draft.ops[range.end - 1];
            let next = (!last.is_end() && range.end < draft.ops.len()).then(|| block_of(range.end));
            next.into_iter().chain(draft.targets(last).iter().map(|&it| block_of(it))).collect()
        })
        .collect();
    // Live at the start of a block: read before written in it, or live at its end and not written.
    let mut read_first = vec![BitSet::new(n); blocks.len()];
    let mut written = vec![BitSet::new(n); blocks.len()];
    for (block, range) in blocks.iter().enumerate() {
        for op in &draft.ops[range.clone()] {
            for reg in reads(op).filter(|it| !written[block].contains(it.0 as usize)).collect::<Vec<_>>() {
                read_first[block].insert(reg.0 as usize);
            }
            if op.guard.is_none() {
                writes(op).iter().for_each(|it| written[block].insert(it.0 as usize));
            }
        }
    }
    let mut live_in = read_first;
    let mut live_out = vec![BitSet::new(n); blocks.len()];
    let mut changed = true;
    while changed {
        changed = false;
        for block in (0..blocks.len()).rev() {
            for &next in &successors[block] {
                live_out[block].union(&live_in[next]);
            }
            changed |= live_in[block].union_without(&live_out[block], &written[block]);
        }
    }
    live_out
}

/// A set of small integers.
#[derive(Clone, Debug)]
pub struct BitSet(Vec<u64>);

impl BitSet {
    pub fn new(n: usize) -> BitSet {
        BitSet(vec![0; n.div_ceil(64)])
    }
    pub fn insert(&mut self, i: usize) {
        self.0[i / 64] |= 1 << (i % 64);
    }
    pub fn remove(&mut self, i: usize) {
        self.0[i / 64] &= !(1 << (i % 64));
    }
    pub fn contains(&self, i: usize) -> bool {
        self.0[i / 64] >> (i % 64) & 1 == 1
    }
    pub fn union(&mut self, other: &BitSet) {
        self.0.iter_mut().zip(&other.0).for_each(|(a, b)| *a |= b);
    }
    /// Adds `other` minus `except`; true if that changed anything.
    fn union_without(&mut self, other: &BitSet, except: &BitSet) -> bool {
        let mut changed = false;
        for ((a, b), c) in self.0.iter_mut().zip(&other.0).zip(&except.0) {
            let new = *a | (b & !c);
            changed |= new != *a;
            *a = new;
        }
        changed
    }
    fn for_each(&self, mut each: impl FnMut(usize)) {
        for (i, &word) in self.0.iter().enumerate() {
            let mut rest = word;
            while rest != 0 {
                each(i * 64 + rest.trailing_zeros() as usize);
                rest &= rest - 1;
            }
        }
    }
}
