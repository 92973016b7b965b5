//! Who touched which bytes of device memory in this launch, and whether what touches them now comes after.

use crate::mem::shadow::{BLOCK_BYTES, Records};
use std::ops::Range;

/// Bits of a record that name the lane.
const LANE_BITS: u32 = 5;
/// Accesses that a record can tell apart.
const MAX_ACCESS: u32 = u32::MAX >> LANE_BITS;
/// Accesses of a launch that are remembered at a time: 96 MiB of them.
const MAX_LISTED: usize = 1 << 22;

/// Accesses of one instruction by one warp, between two events that order them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// The warp's index in the grid.
    pub warp: usize,
    pub pc: u32,
    /// Of each lane.
    pub bytes: u32,
    pub is_write: bool,
    pub is_strong: bool,
    /// Strong for its own CTA only.
    pub is_narrow: bool,
    pub is_non_coherent: bool,
}

/// Bytes in a row: `bytes` of each lane from `first_lane` on, or of that lane alone. Offsets in device memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    pub range: Range<u64>,
    pub first_lane: u32,
    /// Of a lane: any number, as a short `cp.async` reads what it wants.
    pub bytes: u32,
}

impl Run {
    fn lane(&self, at: u64) -> u32 {
        // A place before the run is in the same unit as its first byte.
        self.first_lane + n_lanes(at.saturating_sub(self.range.start), self.bytes)
    }
}

/// How many lanes of `bytes` bytes each are wholly within `n` bytes.
#[inline(always)]
fn n_lanes(n: u64, bytes: u32) -> u32 {
    // Nearly all sizes are powers of two, and divisions are slow.
    if bytes.is_power_of_two() { (n >> bytes.trailing_zeros()) as u32 } else { (n / u64::from(bytes)) as u32 }
}

/// Another access, and where it meets the one at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meeting {
    pub at: u64,
    pub with: Access,
    pub lane: u32,
}

/// The records of one launch.
#[derive(Debug)]
pub struct History {
    records: Records,
    /// A unit has `1 << unit_shift` bytes.
    unit_shift: u32,
    accesses: Accesses,
    /// By instruction: the access it made last.
    latest: Vec<u32>,
}

/// The accesses of this launch by their numbers.
#[derive(Debug)]
struct Accesses {
    /// The last access of earlier launches, which all come before.
    base: u32,
    /// From `base + 1` on.
    list: Vec<Access>,
    /// Of a CTA.
    n_warps: usize,
}

impl Accesses {
    #[inline(always)]
    fn last(&self) -> u32 {
        self.base + self.list.len() as u32
    }

    #[inline(always)]
    fn get(&self, number: u32) -> &Access {
        &self.list[(number - self.base - 1) as usize]
    }

    /// Records up to this one are of earlier launches.
    #[inline(always)]
    fn stale(&self) -> u32 {
        self.base << LANE_BITS | ((1 << LANE_BITS) - 1)
    }

    /// Whether the reader so far should become the other one when access `number` becomes the reader: a reader of
    /// another CTA is worth more than one of the same, and one that went past the coherent cache is worth the most.
    #[inline(always)]
    fn is_worth_keeping(&self, reader: u32, other: u32, number: u32) -> bool {
        reader > self.stale() && reader >> LANE_BITS != number && self.is_worth_more(reader, other, number)
    }

    #[inline(never)]
    fn is_worth_more(&self, reader: u32, other: u32, number: u32) -> bool {
        let (reader, new) = (self.get(reader >> LANE_BITS), self.get(number));
        let other = (other > self.stale()).then(|| self.get(other >> LANE_BITS));
        if reader.is_non_coherent || other.is_some_and(|it| it.is_non_coherent) {
            return !other.is_some_and(|it| it.is_non_coherent);
        }
        let is_of_another_cta = reader.warp / self.n_warps != new.warp / self.n_warps;
        is_of_another_cta || reader.warp != new.warp && other.is_none()
    }
}

impl History {
    /// For a launch of CTAs of `n_warps` warps; `unit_bytes` is the smallest access that the kernel makes.
    pub fn new(records: Records, unit_bytes: u32, n_warps: u32, n_instructions: usize) -> History {
        let accesses = Accesses { base: records.last_access, list: Vec::new(), n_warps: n_warps as usize };
        History { records, unit_shift: unit_bytes.trailing_zeros(), accesses, latest: vec![0; n_instructions] }
    }

    pub fn into_records(mut self) -> Records {
        self.records.last_access = self.last();
        self.records
    }

    /// The latest access.
    #[inline(always)]
    pub fn last(&self) -> u32 {
        self.accesses.last()
    }

    /// No further access can be told apart: [`History::clear`] it.
    #[inline(always)]
    pub fn is_full(&self) -> bool {
        self.last() == MAX_ACCESS || self.accesses.list.len() >= MAX_LISTED
    }

    /// Forgets all accesses, which misses races with them but finds none that are none.
    pub fn clear(&mut self) {
        self.records.clear();
        self.accesses.base = 0;
        self.accesses.list.clear();
        self.latest.fill(0);
    }

    /// The number of an access, which is that of an earlier one like it since `closed`.
    #[inline(always)]
    pub fn number(&mut self, access: Access, closed: u32) -> u32 {
        let latest = self.latest[access.pc as usize];
        let is_like = |it: &Access| it.warp == access.warp && it.bytes == access.bytes;
        if latest > closed && is_like(self.accesses.get(latest)) {
            return latest;
        }
        self.accesses.list.push(access);
        self.latest[access.pc as usize] = self.last();
        self.last()
    }

    fn units(&self, range: &Range<u64>) -> Range<usize> {
        (range.start >> self.unit_shift) as usize..((range.end - 1) >> self.unit_shift) as usize + 1
    }

    /// A read, by access `number`. `Err` is the write that `is_fine` (other access, its number) says it must not meet.
    #[inline(always)]
    pub fn read(&mut self, run: &Run, number: u32, is_fine: impl Fn(&Access, u32) -> bool) -> Result<(), Meeting> {
        let stale = self.accesses.stale();
        for block in run.range.start / BLOCK_BYTES..run.range.end.div_ceil(BLOCK_BYTES) {
            let part = run.range.start.max(block * BLOCK_BYTES)..run.range.end.min((block + 1) * BLOCK_BYTES);
            let state = self.records.blocks.slice(block as usize..block as usize + 1)[0];
            if state.written > stale {
                self.check(self.records.writers.slice(self.units(&part)), &part, &is_fine)?;
            }
            let record = number << LANE_BITS | run.lane(part.start);
            let mut state = state;
            if part.end - part.start == BLOCK_BYTES {
                if self.accesses.is_worth_keeping(state.reader, state.other, number) {
                    state.other = state.reader;
                }
                state.reader = record;
            } else {
                self.record_readers(run, &part, number, state.read_in_part <= stale);
                state.read_in_part = record;
            }
            self.records.blocks.slice_mut(block as usize..block as usize + 1)[0] = state;
        }
        Ok(())
    }

    /// A read of whole blocks that nobody else has touched in this launch; false, and nothing noted, if they are not.
    #[inline(always)]
    pub fn read_fresh(&mut self, run: &Run, number: u32) -> bool {
        let Range { start, end } = run.range;
        if (start | end) % BLOCK_BYTES != 0 {
            return false;
        }
        let stale = self.accesses.stale();
        let blocks = self.records.blocks.slice_mut((start / BLOCK_BYTES) as usize..(end / BLOCK_BYTES) as usize);
        if blocks.iter().any(|it| it.written > stale || it.reader > stale && it.reader >> LANE_BITS != number) {
            return false;
        }
        for (block, at) in blocks.iter_mut().zip((start..).step_by(BLOCK_BYTES as usize)) {
            block.reader = number << LANE_BITS | run.lane(at);
        }
        true
    }

    /// `Err` is a write of the bytes of `run` behind access `number`.
    pub fn written_since(&self, run: &Run, number: u32) -> Result<(), Meeting> {
        let Range { start, end } = run.range;
        let blocks = (start / BLOCK_BYTES) as usize..end.div_ceil(BLOCK_BYTES) as usize;
        if self.records.blocks.slice(blocks).iter().all(|it| it.written >> LANE_BITS <= number) {
            return Ok(());
        }
        self.check(self.records.writers.slice(self.units(&run.range)), &run.range, &|_, its_number| {
            its_number <= number
        })
    }

    /// A write, like [`History::read`].
    #[inline(always)]
    pub fn write(&mut self, run: &Run, number: u32, is_fine: impl Fn(&Access, u32) -> bool) -> Result<(), Meeting> {
        let stale = self.accesses.stale();
        for block in run.range.start / BLOCK_BYTES..run.range.end.div_ceil(BLOCK_BYTES) {
            let part = run.range.start.max(block * BLOCK_BYTES)..run.range.end.min((block + 1) * BLOCK_BYTES);
            let units = self.units(&part);
            let state = self.records.blocks.slice(block as usize..block as usize + 1)[0];
            if state.written > stale {
                self.check(self.records.writers.slice(units.clone()), &part, &is_fine)?;
            }
            for reader in [state.reader, state.other] {
                self.check_whole(reader, &part, block * BLOCK_BYTES, &is_fine)?;
            }
            if state.read_in_part > stale {
                self.check(self.records.readers.slice(units.clone()), &part, &is_fine)?;
                self.check(self.records.others.slice(units.clone()), &part, &is_fine)?;
            }
            let is_first = state.written <= stale;
            self.record_writers(run, &part, number, is_first);
            self.records.blocks.slice_mut(block as usize..block as usize + 1)[0].written = number << LANE_BITS;
        }
        Ok(())
    }

    /// Finds the first of a part's records that is not fine.
    fn check(
        &self,
        records: &[u32],
        part: &Range<u64>,
        is_fine: &impl Fn(&Access, u32) -> bool,
    ) -> Result<(), Meeting> {
        let stale = self.accesses.stale();
        let mut settled = 0;
        for (&record, unit) in records.iter().zip(part.start >> self.unit_shift..) {
            let number = record >> LANE_BITS;
            if record <= stale || number == settled {
                continue;
            }
            let with = *self.accesses.get(number);
            if !is_fine(&with, number) {
                let at = part.start.max(unit << self.unit_shift);
                return Err(Meeting { at, with, lane: record & ((1 << LANE_BITS) - 1) });
            }
            settled = number;
        }
        Ok(())
    }

    /// The same for a reader of the whole block from `start` on.
    fn check_whole(
        &self,
        record: u32,
        part: &Range<u64>,
        start: u64,
        is_fine: &impl Fn(&Access, u32) -> bool,
    ) -> Result<(), Meeting> {
        if record <= self.accesses.stale() {
            return Ok(());
        }
        let number = record >> LANE_BITS;
        let with = *self.accesses.get(number);
        if is_fine(&with, number) {
            return Ok(());
        }
        let lane = (record & ((1 << LANE_BITS) - 1)) + n_lanes(part.start - start, with.bytes);
        Err(Meeting { at: part.start, with, lane })
    }

    /// A strong write behind a weak one leaves the weak one where it is, with which more can race, and is recorded as a
    /// reader beside it.
    #[inline(always)]
    fn record_writers(&mut self, run: &Run, part: &Range<u64>, number: u32, is_first: bool) {
        if !is_first && self.accesses.get(number).is_strong {
            return self.record_strong_writers(run, part, number);
        }
        let (units, shift) = (self.units(part), self.unit_shift);
        let writers = self.records.writers.slice_mut(units.clone());
        for (unit, writer) in units.zip(writers) {
            *writer = number << LANE_BITS | run.lane((unit as u64) << shift);
        }
    }

    #[inline(never)]
    fn record_strong_writers(&mut self, run: &Run, part: &Range<u64>, number: u32) {
        let (units, shift, stale) = (self.units(part), self.unit_shift, self.accesses.stale());
        let writers = self.records.writers.slice_mut(units.clone());
        let readers = self.records.readers.slice_mut(units.clone());
        for ((unit, writer), reader) in units.zip(writers).zip(readers) {
            let record = number << LANE_BITS | run.lane((unit as u64) << shift);
            let is_behind_weak = *writer > stale && !self.accesses.get(*writer >> LANE_BITS).is_strong;
            *if is_behind_weak { reader } else { writer } = record;
        }
        let block = (part.start / BLOCK_BYTES) as usize;
        self.records.blocks.slice_mut(block..block + 1)[0].read_in_part = number << LANE_BITS;
    }

    #[inline(always)]
    fn record_readers(&mut self, run: &Run, part: &Range<u64>, number: u32, is_first: bool) {
        let units = self.units(part);
        let shift = self.unit_shift;
        let readers = self.records.readers.slice_mut(units.clone());
        if !is_first {
            let others = self.records.others.slice_mut(units.clone());
            // Mostly all units have the same two.
            let (mut pair, mut is_kept) = ((0, 0), false);
            for (reader, other) in readers.iter().zip(others) {
                let its_pair = (*reader >> LANE_BITS, *other >> LANE_BITS);
                if its_pair != pair {
                    (pair, is_kept) = (its_pair, self.accesses.is_worth_keeping(*reader, *other, number));
                }
                *other = if is_kept { *reader } else { *other };
            }
        }
        for (unit, reader) in units.zip(readers) {
            *reader = number << LANE_BITS | run.lane((unit as u64) << shift);
        }
    }
}
