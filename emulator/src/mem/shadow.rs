//! What is known about each byte of device memory besides its value: whether it was ever written, and who touched it last
//! in the launch that runs. It lies beside device memory and takes memory only where something happened.

use super::{
    allocations::DEVICE_BASE,
    map::PAGE,
    table::{Plain, Table},
};
use std::{
    ops::Range,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

/// The shadow of all device memory. Places are offsets from [`DEVICE_BASE`].
#[derive(Debug)]
pub struct Shadow {
    bytes: u64,
    /// A bit a byte: it was written since it was allocated.
    written: Table<AtomicU64>,
    /// At home, while no launch has them.
    records: Mutex<Option<Records>>,
}

/// Who touched what. Each record is the number of an access with the lane in its low five bits; 0 is nobody.
#[derive(Debug)]
pub struct Records {
    /// [`BLOCK_BYTES`] each: enough for what is only ever read in whole blocks, as weights are.
    pub blocks: Table<Block>,
    /// By unit, whose size each launch chooses, down to a byte.
    pub writers: Table<u32>,
    pub readers: Table<u32>,
    /// The latest reader that is another than the one in `readers`.
    pub others: Table<u32>,
    /// Accesses are numbered on from launch to launch, so that nothing needs to be cleared between them.
    pub last_access: u32,
}

/// Bytes that one [`Block`] stands for.
pub const BLOCK_BYTES: u64 = 128;

/// Bytes whose bits fill a page.
const PAGE_OF_BITS: u64 = 8 * PAGE;

/// The accesses of a block as a whole.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(16))]
pub struct Block {
    /// The latest write of any part; what was written by whom is in `writers`.
    pub written: u32,
    /// The latest reader of the whole, and the latest that is another.
    pub reader: u32,
    pub other: u32,
    /// The latest read of a part; what was read by whom is in `readers` and `others`.
    pub read_in_part: u32,
}

// SAFETY: four integers.
#[allow(unsafe_code)]
unsafe impl Plain for Block {}

impl Records {
    fn reserve(bytes: u64) -> Option<Self> {
        let units = || Table::reserve(bytes);
        Some(Self {
            blocks: Table::reserve(bytes / BLOCK_BYTES + 1)?,
            writers: units()?,
            readers: units()?,
            others: units()?,
            last_access: 0,
        })
    }

    /// Forgets every access and counts from 1 again.
    pub fn clear(&mut self) {
        self.blocks.clear();
        [&mut self.writers, &mut self.readers, &mut self.others].into_iter().for_each(Table::clear);
        self.last_access = 0;
    }
}

/// The part of word `word` of `written` that lies in a range of bytes.
#[inline(always)]
fn mask(word: u64, range: &Range<u64>) -> u64 {
    let first = word * 64;
    let from = range.start.saturating_sub(first);
    let n_behind = (first + 64).saturating_sub(range.end);
    (!0 << from) & (!0 >> n_behind)
}

impl Shadow {
    /// For device memory of `bytes` bytes. `None` when the system has no address space for it.
    pub fn reserve(bytes: u64) -> Option<Self> {
        let written = Table::reserve(bytes / 64 + 1)?;
        Some(Self { bytes, written, records: Mutex::new(Some(Records::reserve(bytes)?)) })
    }

    /// The offsets of `bytes` bytes at an address, unless it is host memory, which has no shadow.
    #[inline(always)]
    pub fn range(&self, address: u64, bytes: u64) -> Option<Range<u64>> {
        let start = address.checked_sub(DEVICE_BASE)?;
        (start < self.bytes).then_some(start..start + bytes)
    }

    /// Takes the records for a launch, which gives them back.
    pub fn take_records(&self) -> Records {
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        records.take().expect("one launch runs at a time")
    }

    pub fn give_back(&self, records: Records) {
        *self.records.lock().unwrap_or_else(PoisonError::into_inner) = Some(records);
    }

    #[inline(always)]
    fn words(&self, range: &Range<u64>) -> (u64, &[AtomicU64]) {
        let (first, end) = (range.start / 64, range.end.div_ceil(64));
        (first, self.written.slice(first as usize..end as usize))
    }

    /// Notes that a range was written.
    #[inline(always)]
    pub fn set(&self, range: Range<u64>) {
        let (first, words) = self.words(&range);
        for (word, bits) in (first..).zip(words) {
            // No two threads work in one word: allocations lie further apart.
            bits.store(bits.load(Relaxed) | mask(word, &range), Relaxed);
        }
    }

    /// Whether every byte of a range was written, and what surrounds it too: nearly always so.
    #[inline(always)]
    pub fn all_set(&self, range: &Range<u64>) -> bool {
        self.words(range).1.iter().fold(!0, |all, bits| all & bits.load(Relaxed)) == !0
    }

    /// The first byte of a range that nobody has written.
    #[inline(always)]
    pub fn first_unset(&self, range: Range<u64>) -> Option<u64> {
        let (first, words) = self.words(&range);
        for (word, bits) in (first..).zip(words) {
            let missing = !bits.load(Relaxed) & mask(word, &range);
            if missing != 0 {
                return Some(word * 64 + u64::from(missing.trailing_zeros()));
            }
        }
        None
    }

    fn clear(&self, range: Range<u64>) {
        let (first, words) = self.words(&range);
        for (word, bits) in (first..).zip(words) {
            bits.store(bits.load(Relaxed) & !mask(word, &range), Relaxed);
        }
    }

    /// Notes that a range was freed: who gets it next finds it unwritten.
    pub fn forget(&self, range: Range<u64>) {
        // Whole pages of bits go back to the system unread: the range may be most of the card's memory.
        let pages = range.start.next_multiple_of(PAGE_OF_BITS)..range.end / PAGE_OF_BITS * PAGE_OF_BITS;
        if pages.is_empty() {
            self.clear(range.clone());
        } else {
            self.written.discard_pages_shared(pages.start / 64..pages.end / 64);
            self.clear(range.start..pages.start);
            self.clear(pages.end..range.end);
        }
        // A launch that has the records now keeps some that mean nothing any more.
        if let Some(records) = &mut *self.records.lock().unwrap_or_else(PoisonError::into_inner) {
            for units in [&mut records.writers, &mut records.readers, &mut records.others] {
                // Whichever units launches chose.
                for unit in [1, 2, 4] {
                    units.discard_pages(range.start.div_ceil(unit)..range.end / unit);
                }
            }
        }
    }

    /// Notes that `from` was copied to `to`.
    pub fn copy(&self, from: Range<u64>, to: Range<u64>) {
        let mut at = 0;
        let n = from.end - from.start;
        // The ranges may overlap: all is read before anything is written.
        let mut copied = Vec::with_capacity(n.div_ceil(64) as usize);
        while at < n {
            copied.push(self.bits_at(from.start + at));
            at += 64;
        }
        for (k, bits) in (0..).zip(copied) {
            self.put_bits(to.start + 64 * k, bits, (n - 64 * k).min(64));
        }
    }

    /// 64 bits from a byte on, which may be any.
    fn bits_at(&self, start: u64) -> u64 {
        let (word, shift) = (start as usize / 64, start % 64);
        let load = |word: usize| self.written.slice(word..word + 1)[0].load(Relaxed);
        match shift {
            0 => load(word),
            // The table ends a word behind the last byte.
            _ => load(word) >> shift | load(word + 1) << (64 - shift),
        }
    }

    fn put_bits(&self, start: u64, bits: u64, n: u64) {
        let range = start..start + n;
        let (first, words) = self.words(&range);
        for (word, old) in (first..).zip(words) {
            let mask = mask(word, &range);
            let placed = if word * 64 >= start { bits >> (word * 64 - start) } else { bits << (start - word * 64) };
            old.store(old.load(Relaxed) & !mask | placed & mask, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unset(shadow: &Shadow, range: Range<u64>) -> Vec<u64> {
        range.filter(|at| shadow.first_unset(*at..at + 1).is_some()).collect()
    }

    #[test]
    fn bytes_are_set_and_forgotten_one_by_one() {
        let shadow = Shadow::reserve(1 << 30).unwrap();
        assert_eq!(shadow.first_unset(5..6), Some(5));
        shadow.set(60..200);
        assert_eq!((shadow.first_unset(60..200), shadow.first_unset(59..61)), (None, Some(59)));
        assert_eq!(shadow.first_unset(100..201), Some(200));
        shadow.forget(64..130);
        assert_eq!(unset(&shadow, 55..205), (55..60).chain(64..130).chain(200..205).collect::<Vec<_>>());
    }

    #[test]
    fn large_ranges_are_forgotten() {
        let shadow = Shadow::reserve(1 << 30).unwrap();
        shadow.set(1000..9_000_000);
        shadow.forget(2000..8_000_001);
        let edges = [1999, 2000, 5_000_000, 8_000_000, 8_000_001].map(|at| shadow.first_unset(at..at + 1).is_some());
        assert_eq!(edges, [false, true, true, true, false]);
        assert_eq!(shadow.first_unset(8_000_001..9_000_000), None);
    }

    #[test]
    fn copies_take_the_bits_along() {
        let shadow = Shadow::reserve(1 << 20).unwrap();
        for (from, to, n) in [(0, 1000, 300), (7, 2001, 129), (3001, 3003, 200), (4003, 4001, 77), (5000, 5064, 1)] {
            (from..from + n).filter(|at| at % 3 == 0 || at % 70 < 9).for_each(|at| shadow.set(at..at + 1));
            let before: Vec<bool> = (from..from + n).map(|at| shadow.first_unset(at..at + 1).is_some()).collect();
            let edges = [to - 1, to + n].map(|at| shadow.first_unset(at..at + 1));
            shadow.copy(from..from + n, to..to + n);
            let after: Vec<bool> = (to..to + n).map(|at| shadow.first_unset(at..at + 1).is_some()).collect();
            assert_eq!(before, after, "{from} to {to}");
            assert_eq!(edges, [to - 1, to + n].map(|at| shadow.first_unset(at..at + 1)), "beside {to}");
        }
    }
}
