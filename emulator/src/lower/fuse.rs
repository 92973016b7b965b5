//! Fusion: chains of `fma` in straight code run as one operation a few links long.
//!
//! A row of arithmetic costs the interpreter mostly loads, stores and calls, and a dot product is a chain of `fma` whose
//! sums nobody else wants. So up to three links run at once, and pairs of links that multiply the halves of two registers
//! of bf16 (`shl 16`, `and 0xffff0000`) take the registers as they are. The program stays as it is, instruction by
//! instruction, for counts and reports; the fused operations run in the place of a straight row of it.

use super::{
    copies::count_writes,
    micro::{Content, Draft, Fused, Fusion, Micro, Reg},
    slots,
};
use crate::isa::Op;
use std::{collections::HashMap, ops::Range};

/// Links that one operation takes, and pairs of links on halves: as many as have room in an instruction.
const MAX_LINKS: usize = 3;
const FMAS: [Op; MAX_LINKS] = [Op::FmaF32, Op::Fma2F32, Op::Fma3F32];
const DOTS: [Op; MAX_LINKS] = [Op::Dot2Bf16, Op::Dot4Bf16, Op::Dot6Bf16];

/// Decides what runs in the place of each operation: fills [`Draft::fused`].
pub fn fuse(draft: &mut Draft) {
    let mut n_reads = vec![0; draft.registers.len()];
    draft.ops.iter().flat_map(slots::reads).for_each(|reg| n_reads[reg.0 as usize] += 1);
    let n_writes = count_writes(draft);
    let mut fused = vec![Fused::Itself; draft.ops.len()];
    for row in rows(draft) {
        Row::new(draft, row, &n_writes, &n_reads).fuse(&mut fused);
    }
    draft.fused = fused;
}

/// Operations that run one behind the other whatever happens.
pub fn rows(draft: &Draft) -> Vec<Range<usize>> {
    let mut rows: Vec<Range<usize>> = Vec::new();
    for (at, is_start) in slots::block_starts(draft).into_iter().enumerate() {
        match rows.last_mut() {
            _ if !draft.ops[at].is_plain() => {}
            Some(row) if row.end == at && !is_start => row.end += 1,
            _ => rows.push(at..at + 1),
        }
    }
    rows
}

/// A register's half as f32.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Half {
    is_high: bool,
    of: Reg,
    /// The operation that takes it out.
    by: usize,
}

/// Links that run at once, by the positions of their `fma`.
#[derive(Default)]
struct Group {
    links: Vec<usize>,
    /// The factors' low halves, where each two links multiply the halves of two registers; otherwise none.
    halves: Vec<Half>,
}

impl Group {
    fn has_room(&self, for_halves: bool) -> bool {
        let n_links_each = if for_halves { 2 } else { 1 };
        self.halves.is_empty() != for_halves && self.links.len() < MAX_LINKS * n_links_each
    }
}

struct Row<'d> {
    draft: &'d Draft,
    row: Range<usize>,
    n_writes: &'d [u32],
    n_reads: &'d [u32],
    /// Where each register is written in the row.
    writes: HashMap<Reg, Vec<usize>>,
    /// Reads that fused operations don't need any more.
    n_spared: HashMap<Reg, u32>,
}

impl<'d> Row<'d> {
    fn new(draft: &'d Draft, row: Range<usize>, n_writes: &'d [u32], n_reads: &'d [u32]) -> Self {
        let mut writes: HashMap<Reg, Vec<usize>> = HashMap::new();
        for at in row.clone() {
            slots::writes(&draft.ops[at]).iter().for_each(|&reg| writes.entry(reg).or_default().push(at));
        }
        Row { draft, row, n_writes, n_reads, writes, n_spared: HashMap::new() }
    }

    fn fuse(mut self, fused: &mut [Fused]) {
        for chain in self.chains() {
            for group in self.groups(&chain) {
                self.replace(group, fused);
            }
        }
        // A half that only fused operations wanted.
        for at in self.row.clone() {
            let op = &self.draft.ops[at];
            if self.half(op, at).is_some()
                && self.n_writes[op.dst[0].0 as usize] == 1
                && self.n_spared.get(&op.dst[0]) == Some(&self.n_reads[op.dst[0].0 as usize])
            {
                fused[at] = Fused::Nothing;
            }
        }
    }

    /// The last write of a register in the row before `at`.
    fn written_by(&self, reg: Reg, at: usize) -> Option<usize> {
        let writes = self.writes.get(&reg)?;
        writes[..writes.partition_point(|&it| it < at)].last().copied()
    }

    /// The links of each chain, in order: nobody but the next link reads what one gives.
    fn chains(&self) -> Vec<Vec<usize>> {
        let mut chains: Vec<Vec<usize>> = Vec::new();
        let mut ends: HashMap<usize, usize> = HashMap::new(); // the last link: index in `chains`
        for at in self.row.clone().filter(|&at| self.draft.ops[at].op == Op::FmaF32) {
            let sum = self.draft.ops[at].src[2];
            let is_link = self.n_writes[sum.0 as usize] == 1 && self.n_reads[sum.0 as usize] == 1;
            let before = self.written_by(sum, at).filter(|_| is_link).and_then(|before| ends.remove(&before));
            let chain = before.unwrap_or_else(|| {
                chains.push(Vec::new());
                chains.len() - 1
            });
            chains[chain].push(at);
            ends.insert(at, chain);
        }
        chains
    }

    fn groups(&self, chain: &[usize]) -> Vec<Group> {
        let mut groups: Vec<Group> = Vec::new();
        let mut rest = chain;
        while !rest.is_empty() {
            let halves = self.halves(rest);
            let (links, behind) = rest.split_at(if halves.is_some() { 2 } else { 1 });
            if !groups.last().is_some_and(|it| it.has_room(halves.is_some())) {
                groups.push(Group::default());
            }
            let group = groups.last_mut().expect("one was just pushed");
            group.links.extend(links);
            group.halves.extend(halves.into_iter().flatten());
            rest = behind;
        }
        groups
    }

    /// The low halves that the first link multiplies, if the second multiplies the high ones of the same registers.
    fn halves(&self, links: &[usize]) -> Option<[Half; 2]> {
        let [low, high, ..] = *links else { return None };
        let factor = |link: usize, k: usize| {
            let by = self.written_by(self.draft.ops[link].src[k], link)?;
            self.half(&self.draft.ops[by], by)
        };
        let pair = |k: usize| {
            let (low, high) = (factor(low, k)?, factor(high, k)?);
            (!low.is_high && high.is_high && low.of == high.of).then_some(Half { by: low.by.min(high.by), ..low })
        };
        Some([pair(0)?, pair(1)?])
    }

    fn half(&self, op: &Micro, by: usize) -> Option<Half> {
        let is_constant = |k: usize, value: u32| match self.draft.content(op.src[k]) {
            Content::Constant(it) => it as u32 == value,
            _ => false,
        };
        match op.op {
            Op::ShlB32 if is_constant(1, 16) => Some(Half { is_high: false, of: op.src[0], by }),
            Op::AndB32 if is_constant(1, 0xffff_0000) => Some(Half { is_high: true, of: op.src[0], by }),
            _ => None,
        }
    }

    /// Runs a group at its last link, if its sources still have there what the links would have read.
    fn replace(&mut self, Group { links, halves }: Group, fused: &mut [Fused]) {
        let [first, .., last] = links[..] else { return };
        let src = |link: usize, k: usize| self.draft.ops[link].src[k];
        let mut sources = vec![(src(first, 2), first)]; // and since when they are wanted
        let op = if halves.is_empty() {
            sources.extend(links.iter().flat_map(|&link| [0, 1].map(|k| (src(link, k), link))));
            FMAS[links.len() - 1]
        } else {
            sources.extend(halves.iter().map(|half| (half.of, half.by)));
            DOTS[halves.len() / 2 - 1]
        };
        if sources.iter().any(|&(reg, since)| self.written_by(reg, last).is_some_and(|at| at >= since)) {
            return;
        }
        if !halves.is_empty() {
            for reg in links.iter().flat_map(|&link| [0, 1].map(|k| src(link, k))) {
                *self.n_spared.entry(reg).or_default() += 1;
            }
        }
        links.iter().for_each(|&link| fused[link] = Fused::Nothing);
        let (dst, src) = (self.draft.ops[last].dst[0], sources.into_iter().map(|it| it.0).collect());
        fused[last] = Fused::Into(Fusion { op, dst, src });
    }
}

#[cfg(test)]
mod tests;
