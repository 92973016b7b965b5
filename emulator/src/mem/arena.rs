//! Which parts of the device's address space are taken: first fit over a sorted list of free blocks, neighbours joined.

use super::map::PAGE;
use std::collections::{BTreeMap, VecDeque};

/// A part of the address space, in bytes from its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    pub start: u64,
    /// What was asked for, up to whole pages, and one page of guard.
    pub bytes: u64,
}

/// How many blocks wait before the oldest is used again. What is kept about each, beside its pages, is small but not
/// nothing.
const N_RETIRED: usize = 4096;

/// The address space. It holds no memory and knows no addresses, only offsets.
#[derive(Debug)]
pub struct Arena {
    /// Free blocks: start to length. No two touch.
    free: BTreeMap<u64, u64>,
    /// Blocks that were given back but wait, the oldest first, so that a stale pointer is seen to be stale.
    retired: VecDeque<Block>,
    reuses_at_once: bool,
}

impl Arena {
    /// An address space of `bytes`. When `reuses_at_once` is false, what is given back stays unused until
    /// [`N_RETIRED`] others were given back, or there is no other space.
    pub fn new(bytes: u64, reuses_at_once: bool) -> Self {
        Self { free: BTreeMap::from([(0, bytes)]), retired: VecDeque::new(), reuses_at_once }
    }

    /// The first block with `bytes` and a guard behind them.
    pub fn take(&mut self, bytes: u64) -> Option<Block> {
        let wanted = bytes.checked_next_multiple_of(PAGE)?.checked_add(PAGE)?;
        self.take_free(wanted).or_else(|| {
            for block in std::mem::take(&mut self.retired) {
                self.join(block);
            }
            self.take_free(wanted)
        })
    }

    /// Returns a block that [`take`](Self::take) gave out.
    pub fn give_back(&mut self, block: Block) {
        if self.reuses_at_once {
            self.join(block);
        } else {
            self.retired.push_back(block);
            if self.retired.len() > N_RETIRED {
                let oldest = self.retired.pop_front().expect("there are more than none");
                self.join(oldest);
            }
        }
    }

    fn take_free(&mut self, wanted: u64) -> Option<Block> {
        let (&start, &bytes) = self.free.iter().find(|(_, bytes)| **bytes >= wanted)?;
        self.free.remove(&start);
        if bytes > wanted {
            self.free.insert(start + wanted, bytes - wanted);
        }
        Some(Block { start, bytes: wanted })
    }

    /// Puts a block into the free list, as one with the free blocks that touch it.
    fn join(&mut self, Block { mut start, mut bytes }: Block) {
        if let Some((&before, &before_bytes)) = self.free.range(..start).next_back() {
            assert!(before + before_bytes <= start, "block {start:#x} is given back twice");
            if before + before_bytes == start {
                self.free.remove(&before);
                (start, bytes) = (before, before_bytes + bytes);
            }
        }
        if let Some(after_bytes) = self.free.remove(&(start + bytes)) {
            bytes += after_bytes;
        }
        let replaced = self.free.insert(start, bytes);
        assert!(replaced.is_none(), "block {start:#x} is given back twice");
    }
}
