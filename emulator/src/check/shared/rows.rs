//! Loops over the state of a run of units, a row that a whole warp accesses: they compile to vector code, so the common
//! access, to memory whose accesses so far are all ordered, costs a few instructions.

use crate::check::clocks::Stamp;

/// Whether all stamps are in `first..=last`.
#[inline(always)]
pub fn all_in(stamps: &[u32], first: Stamp, last: Stamp) -> bool {
    let (mut least, mut most) = (u32::MAX, 0);
    for &stamp in stamps {
        least = least.min(stamp);
        most = most.max(stamp);
    }
    least >= first.0 && most <= last.0
}

/// Whether all stamps are `last` or earlier.
#[inline(always)]
pub fn all_until(stamps: &[u32], last: Stamp) -> bool {
    all_in(stamps, Stamp(0), last)
}

/// Notes the lane that accesses each unit: `stamp` is lane 0's, and a lane accesses `1 << shift` units.
#[inline(always)]
pub fn note_all(stamps: &mut [u32], stamp: Stamp, shift: u32) {
    for (unit, noted) in (0u32..).zip(stamps) {
        *noted = stamp.0 + (unit >> shift);
    }
}

/// Units that [`note_readers`] works on at once.
const BLOCK: usize = 64;

/// A unit has two readers: the thread that read it first since the last time that all was ordered, and the one that read
/// it last of the others.
#[inline(always)]
pub fn note_readers(first: &mut [u32], last: &mut [u32], stamp: Stamp, shift: u32, floor: Stamp) {
    for (block, (first, last)) in first.chunks_mut(BLOCK).zip(last.chunks_mut(BLOCK)).enumerate() {
        let now = |unit: usize| stamp.0 + ((block * BLOCK + unit) as u32 >> shift);
        // All ones if it was another thread that read it first. The masks go through memory: if the compiler saw that
        // they are conditions, it would write `last` with masked stores, which take AMD's Zen 3 twenty cycles each.
        let mut others = [0; BLOCK];
        for (unit, (other, first)) in others.iter_mut().zip(first.iter_mut()).enumerate() {
            let is_other = (*first > floor.0) & (Stamp(*first ^ now(unit)).thread() != 0);
            *other = 0u32.wrapping_sub(u32::from(is_other));
            *first = if is_other { *first } else { now(unit) };
        }
        for (unit, (last, other)) in last.iter_mut().zip(&others).enumerate() {
            *last = now(unit) & other | *last & !other;
        }
    }
}

/// A run of units that lanes access, one lane behind the other.
#[derive(Clone, Copy)]
pub struct Row {
    /// Of the first lane; the next lane's is one larger.
    pub stamp: Stamp,
    /// log2 of the units that each lane accesses.
    pub shift: u32,
    /// Stamps of this CTA begin here.
    pub begin: Stamp,
    /// Stamps up to here are ordered before everything to come.
    pub floor: Stamp,
}

/// The state of a run of units, stamps each.
pub struct State<'s> {
    pub writer: &'s mut [u32],
    pub first_reader: &'s mut [u32],
    pub last_reader: &'s mut [u32],
    /// Empty when nothing is in flight.
    pub copier: &'s mut [u32],
}

impl State<'_> {
    /// No `cp.async` of this CTA is writing any.
    #[inline(always)]
    fn is_landed(&self, row: Row) -> bool {
        all_until(self.copier, Stamp(row.begin.0 - 1))
    }

    /// Whoever touched them is ordered before the row.
    #[inline(always)]
    fn is_free(&self, row: Row) -> bool {
        all_until(self.writer, row.floor)
            && all_until(self.first_reader, row.floor)
            && all_until(self.last_reader, row.floor)
            && self.is_landed(row)
    }
}

/// Notes a read of initialised units that no unordered write touched; false, and nothing noted, if there are others.
/// The engine calls it, which is built for the host's vector unit.
#[inline(always)]
pub fn read(row: Row, state: State) -> bool {
    let is_clean = row.begin <= row.floor && all_in(state.writer, row.begin, row.floor) && state.is_landed(row);
    let State { first_reader: first, last_reader: last, .. } = state;
    if !is_clean {
        return false;
    }
    // Mostly the units have one history, and one of their readers changes.
    if all_until(first, row.floor) {
        note_all(first, row.stamp, row.shift);
    } else if all_read_by_others(first, row) {
        note_all(last, row.stamp, row.shift);
    } else {
        note_readers(first, last, row.stamp, row.shift, row.floor);
    }
    true
}

/// Units that [`read_few`] is for.
pub const FEW: usize = 4;

/// [`read`] of a few units, where calls and vectors don't pay: each is noted as long as all are clean.
#[inline]
pub fn read_few(row: Row, state: State) -> bool {
    for (unit, first) in state.first_reader.iter_mut().enumerate() {
        let now = Stamp(row.stamp.0 + (unit as u32 >> row.shift));
        let is_landed = state.copier.get(unit).is_none_or(|it| *it < row.begin.0);
        if !(row.begin.0..=row.floor.0).contains(&state.writer[unit]) || !is_landed {
            return false;
        }
        let is_other = *first > row.floor.0 && Stamp(*first ^ now.0).thread() != 0;
        *(if is_other { &mut state.last_reader[unit] } else { first }) = now.0;
    }
    true
}

/// Whether other threads than those of the row read all units first since the floor.
#[inline(always)]
fn all_read_by_others(first: &[u32], row: Row) -> bool {
    let mut is_own = 0;
    for (unit, first) in (0u32..).zip(first) {
        let now = row.stamp.0 + (unit >> row.shift);
        is_own |= u32::from(*first <= row.floor.0) | u32::from(Stamp(*first ^ now).thread() == 0);
    }
    is_own == 0
}

/// Notes a write of units that no unordered access touched; false, and nothing noted, if there are others.
/// The engine calls it too.
#[inline(always)]
pub fn write(row: Row, state: State) -> bool {
    let is_clean = state.is_free(row);
    if is_clean {
        note_all(state.writer, row.stamp, row.shift);
    }
    is_clean
}

/// Notes that a `cp.async` began to write such units; false, and nothing noted, if there are others.
pub fn begin_copy(row: Row, state: State) -> bool {
    let is_clean = state.is_free(row);
    if is_clean {
        note_all(state.copier, row.stamp, row.shift);
    }
    is_clean
}

/// Notes that it landed, and counts the units that were in flight.
pub fn land_copy(row: Row, state: State) -> usize {
    let mut n = 0;
    for copier in state.copier {
        n += u32::from(*copier >= row.begin.0);
        *copier = 0;
    }
    note_all(state.writer, row.stamp, row.shift);
    n as usize
}
