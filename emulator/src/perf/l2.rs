//! An L2 cache that stays as launches leave it, so that DRAM bytes are counted across them: what one kernel writes and the
//! next reads need not have been to memory.
//!
//! It is a model, not a card's: fully associative, and of lines that are equally wanted the least recently used goes first.
//! A card's is divided into sets and slices by a function that is not published, and its blocks run at the same time, not
//! one after the other as here. Two things are as on a card: lines have four sectors, of which only those that are asked
//! for are fetched; and `createpolicy` with `evict_first` makes lines go before all others.

use super::access::SECTOR_BYTES;
use std::collections::HashMap;

const LINE_BYTES: u64 = 4 * SECTOR_BYTES;

/// No line.
const NONE: usize = usize::MAX;

/// The cache.
#[derive(Debug)]
pub struct L2 {
    n_lines_max: usize,
    lines: Vec<Line>,
    /// Where in `lines` the line with an address is, counted in lines.
    places: HashMap<u64, usize>,
    /// By [`Priority`].
    ages: [Ages; 2],
}

/// Who goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    First = 0,
    Normal = 1,
}

/// Lines of one priority: the latest and the oldest that was used.
#[derive(Debug)]
struct Ages {
    latest: usize,
    oldest: usize,
}

#[derive(Debug)]
struct Line {
    address: u64,
    priority: Priority,
    /// Sectors that are there, and those that memory does not have yet: a bit each.
    valid: u8,
    dirty: u8,
    newer: usize,
    older: usize,
}

/// Bytes that moved between the cache and memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    pub read: u64,
    pub written: u64,
}

impl L2 {
    /// Empty.
    pub fn new(bytes: u64) -> L2 {
        let ages = || Ages { latest: NONE, oldest: NONE };
        let n_lines_max = (bytes / LINE_BYTES).max(1) as usize;
        L2 { n_lines_max, lines: Vec::new(), places: HashMap::new(), ages: [ages(), ages()] }
    }

    /// Bytes are read or written. A sector that is written need not be fetched.
    pub fn touch(&mut self, start: u64, end: u64, is_write: bool, priority: Priority) -> Moved {
        let mut moved = Moved::default();
        for address in start / LINE_BYTES..=(end - 1) / LINE_BYTES {
            let first = start.max(address * LINE_BYTES) / SECTOR_BYTES % 4;
            let last = (end - 1).min(address * LINE_BYTES + LINE_BYTES - 1) / SECTOR_BYTES % 4;
            let sectors = 0b1111 >> (3 - (last - first)) << first;
            let place = self.bring(address, priority, &mut moved);
            let line = &mut self.lines[place];
            if is_write {
                line.dirty |= sectors;
            } else {
                moved.read += bytes_of(sectors & !line.valid);
            }
            line.valid |= sectors;
        }
        moved
    }

    /// Makes a line the latest that was used. It may have no sectors yet.
    fn bring(&mut self, address: u64, priority: Priority, moved: &mut Moved) -> usize {
        let found = self.places.get(&address).copied();
        let place = match found {
            Some(place) => {
                self.unlink(place);
                place
            }
            None if self.lines.len() < self.n_lines_max => {
                self.lines.push(Line { address, priority, valid: 0, dirty: 0, newer: NONE, older: NONE });
                self.lines.len() - 1
            }
            None => self.evict(moved),
        };
        if found.is_none() {
            self.places.insert(address, place);
        }
        let ages = &mut self.ages[priority as usize];
        let older = std::mem::replace(&mut ages.latest, place);
        if older == NONE {
            ages.oldest = place;
        } else {
            self.lines[older].newer = place;
        }
        let line = &mut self.lines[place];
        (line.address, line.priority, line.newer, line.older) = (address, priority, NONE, older);
        place
    }

    /// Makes room: a place without sectors.
    fn evict(&mut self, moved: &mut Moved) -> usize {
        let [first, normal] = &self.ages;
        let place = if first.oldest == NONE { normal.oldest } else { first.oldest };
        self.unlink(place);
        let line = &mut self.lines[place];
        moved.written += bytes_of(line.dirty);
        (line.valid, line.dirty) = (0, 0);
        self.places.remove(&line.address);
        place
    }

    fn unlink(&mut self, place: usize) {
        let Line { priority, newer, older, .. } = self.lines[place];
        let ages = &mut self.ages[priority as usize];
        if newer == NONE {
            ages.latest = older;
        } else {
            self.lines[newer].older = older;
        }
        if older == NONE {
            ages.oldest = newer;
        } else {
            self.lines[older].newer = newer;
        }
    }
}

fn bytes_of(sectors: u8) -> u64 {
    u64::from(sectors.count_ones()) * SECTOR_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;
    use Priority::{First, Normal};

    fn read(it: &mut L2, line: u64, priority: Priority) -> Moved {
        it.touch(line * LINE_BYTES, (line + 1) * LINE_BYTES, false, priority)
    }

    const MISSED: Moved = Moved { read: LINE_BYTES, written: 0 };
    const HIT: Moved = Moved { read: 0, written: 0 };

    #[test]
    fn sectors_are_fetched_one_by_one() {
        let it = &mut L2::new(1 << 20);
        assert_eq!(it.touch(0x1000, 0x1004, false, Normal).read, 32);
        assert_eq!(it.touch(0x1000, 0x1040, false, Normal).read, 32);
        assert_eq!(it.touch(0x1010, 0x1090, false, Normal).read, 64 + 32, "over the end of a line");
        assert_eq!(it.touch(0x10a0, 0x10c0, true, Normal), HIT, "what is written is not fetched");
        assert_eq!(it.touch(0x1000, 0x1100, false, Normal).read, 64, "the last two of eight");
    }

    #[test]
    fn the_least_recently_used_goes() {
        let it = &mut L2::new(3 * LINE_BYTES);
        for line in [1, 2, 3] {
            assert_eq!(read(it, line, Normal), MISSED);
        }
        assert_eq!(read(it, 1, Normal), HIT);
        assert_eq!(read(it, 4, Normal), MISSED, "takes the place of 2");
        assert_eq!([1, 3, 4].map(|line| read(it, line, Normal)), [HIT; 3]);
        assert_eq!(read(it, 2, Normal), MISSED, "takes the place of 1");
        assert_eq!([3, 4, 2].map(|line| read(it, line, Normal)), [HIT; 3]);
    }

    #[test]
    fn what_may_go_first_does() {
        let it = &mut L2::new(3 * LINE_BYTES);
        read(it, 1, Normal);
        for line in 2..100 {
            assert_eq!(read(it, line, First), MISSED);
        }
        assert_eq!([1, 98, 99].map(|line| read(it, line, First)), [HIT; 3]);
        // The last use counts: 1 may go first now, and is not the oldest; 98 may not.
        read(it, 98, Normal);
        assert_eq!(read(it, 2, First), MISSED, "takes the place of 1");
        assert_eq!([98, 99, 2].map(|line| read(it, line, First)), [HIT; 3]);
        assert_eq!(read(it, 1, Normal), MISSED);
    }

    #[test]
    fn dirty_sectors_are_written_when_they_go() {
        let it = &mut L2::new(LINE_BYTES);
        assert_eq!(it.touch(0x1000, 0x1001, true, Normal), HIT);
        assert_eq!(it.touch(0x1000, 0x1041, true, Normal), HIT);
        assert_eq!(read(it, 1, Normal), Moved { read: LINE_BYTES, written: 3 * 32 });
        assert_eq!(read(it, 2, Normal), MISSED, "1 is clean");
    }

    /// Against a list that is searched.
    #[test]
    fn it_is_a_list_by_age() {
        let (it, n) = (&mut L2::new(20 * LINE_BYTES), 20);
        let mut list: Vec<(u64, Priority)> = Vec::new(); // the oldest first
        let mut random = 1u64;
        for _ in 0..20_000 {
            random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let (line, priority) = ((random >> 40) % 40, if random >> 60 < 9 { First } else { Normal });
            let found = list.iter().position(|entry| entry.0 == line);
            if let Some(place) = found {
                list.remove(place);
            } else if list.len() == n {
                list.remove(list.iter().position(|entry| entry.1 == First).unwrap_or(0));
            }
            list.push((line, priority));
            assert_eq!(read(it, line, priority), if found.is_some() { HIT } else { MISSED });
        }
    }
}
