//! The sectors that a launch touches at all, whichever thread gets there first: a bit a sector for reads and one for
//! writes, set atomically, so that each counts once with any number of threads.

use super::access::SECTOR_BYTES;
use crate::mem::{
    map::zeros,
    region::{Region, Regions},
};
use std::sync::{
    OnceLock,
    atomic::{AtomicU64, Ordering},
};

/// A bit for each sector of an allocation.
type Bits = OnceLock<Box<[AtomicU64]>>;

/// The footprint of one launch.
#[derive(Debug, Default)]
pub struct Footprint {
    /// By first address.
    allocations: Vec<Allocation>,
    /// Only one thread marks.
    is_alone: bool,
}

#[derive(Debug)]
struct Allocation {
    region: Region,
    /// Made when the first sector is touched: most launches touch few allocations.
    read: Bits,
    written: Bits,
}

impl Footprint {
    /// For so many threads.
    pub fn new(regions: &Regions, n_threads: usize) -> Footprint {
        let allocation = |&region: &Region| Allocation { region, read: Bits::new(), written: Bits::new() };
        Footprint { allocations: regions.live.iter().map(allocation).collect(), is_alone: n_threads == 1 }
    }

    /// Marks the sectors of some bytes that are all allocated, and returns how many were not marked before. `nearby` is
    /// where the last search ended.
    pub fn mark(&self, start: u64, end: u64, is_write: bool, nearby: &mut usize) -> u64 {
        let (mut n_new, mut start) = (0, start);
        while start < end {
            let is_there = |index: &usize| {
                self.allocations.get(*index).is_some_and(|it| (it.region.start..it.region.end).contains(&start))
            };
            if !is_there(nearby) {
                *nearby = self.allocations.partition_point(|it| it.region.start <= start).wrapping_sub(1);
                assert!(is_there(nearby), "{start:#x} was accessed, but is not allocated");
            }
            let allocation = &self.allocations[*nearby];
            let stop = end.min(allocation.region.end);
            n_new += allocation.mark(start, stop, is_write, self.is_alone);
            start = stop;
        }
        n_new
    }
}

impl Allocation {
    fn mark(&self, start: u64, end: u64, is_write: bool, is_alone: bool) -> u64 {
        let sector = |address: u64| (address / SECTOR_BYTES - self.region.start / SECTOR_BYTES) as usize;
        let bits = if is_write { &self.written } else { &self.read };
        let bits = bits.get_or_init(|| zeros(sector(self.region.end - 1) / 64 + 1));
        let (first, last) = (sector(start), sector(end - 1));
        let mut n_new = 0;
        for (word, bits) in (first / 64..).zip(&bits[first / 64..=last / 64]) {
            let from = if word == first / 64 { first % 64 } else { 0 };
            let to = if word == last / 64 { last % 64 } else { 63 };
            let mask = !0 >> (63 - (to - from)) << from;
            let mut before = bits.load(Ordering::Relaxed);
            if before & mask == mask {
                continue;
            }
            if is_alone {
                // An atomic change would wait for all stores that are under way.
                bits.store(before | mask, Ordering::Relaxed);
            } else {
                before = bits.fetch_or(mask, Ordering::Relaxed);
            }
            n_new += u64::from((mask & !before).count_ones());
        }
        n_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    fn footprint(n_threads: usize) -> Footprint {
        let region = |start: u64, end: u64| Region { start, end, host: 0, id: 0, is_constant: false };
        // The second begins inside a sector, and the third follows it directly.
        let live = vec![region(0x1000, 0x9000), region(0xa010, 0xa100), region(0xa100, 0xa200)];
        Footprint::new(&Regions { live, freed: Vec::new() }, n_threads)
    }

    #[test]
    fn a_sector_counts_once_for_reads_and_once_for_writes() {
        let (it, nearby) = (footprint(1), &mut 9);
        assert_eq!(it.mark(0x1000, 0x1200, false, nearby), 16);
        assert_eq!(it.mark(0x1100, 0x1400, false, nearby), 16);
        assert_eq!(it.mark(0x1104, 0x1108, false, nearby), 0);
        assert_eq!(it.mark(0x1104, 0x1108, true, nearby), 1);
        assert_eq!(it.mark(0x1000, 0x9000, false, nearby), 0x8000 / 32 - 32);
        assert_eq!(it.mark(0xa010, 0xa014, false, nearby), 1);
        assert_eq!(it.mark(0xa010, 0xa200, false, nearby), 7 + 8, "over the end of an allocation into the next");
    }

    #[test]
    fn threads_share_the_count() {
        let it = footprint(4);
        let n: u64 = thread::scope(|scope| {
            let mark = |shift: u64| {
                let it = &it;
                move || {
                    (0..0x7000)
                        .step_by(32)
                        .map(|at| it.mark(0x1000 + at + shift, 0x1044 + at, true, &mut 0))
                        .sum::<u64>()
                }
            };
            let threads: Vec<_> = (0..4).map(|i| scope.spawn(mark(4 * i))).collect();
            threads.into_iter().map(|it| it.join().unwrap()).sum()
        });
        assert_eq!(n, 0x7000 / 32 + 2);
    }
}
