//! Which ids a sequence has had, so that one that begins alike need not be computed again.
//!
//! When N positions have been written to a ring of W slots, a sequence can go on after P of them, if its first P ids are
//! the same and the ring still has the W - 1 keys before position P:
//!
//! ```text
//!   N <= W   nothing was replaced yet: any P <= N
//!   N > W    the ring has positions N - W .. N, which is what position N sees, or N - 1: P >= N - 1
//! ```
//!
//! Going on at N - 1 does not bring back what position N - 1 replaced: N stays as it is.
//!
//! Ids beyond the first W are kept as a hash only: generation has no end, and must not take memory.

use std::hash::{BuildHasher, RandomState};

pub(super) struct History {
    n_slots: usize,
    /// The first ids: at most n_slots, and allocated at once.
    first: Vec<u32>,
    len: u64,
    /// Positions that have been written to the ring: `len`, or more if some were forgotten.
    n_written: u64,
    /// Of all ids but the last, if it is known, and of all.
    hashes: [Option<u64>; 2],
    state: RandomState,
}

impl History {
    pub fn new(n_slots: u32) -> History {
        let n_slots = n_slots as usize;
        let state = RandomState::new(); // so that nobody can make two texts of one hash
        History { n_slots, first: Vec::with_capacity(n_slots), len: 0, n_written: 0, hashes: [None, Some(0)], state }
    }

    pub fn push(&mut self, id: u32) {
        if self.first.len() < self.n_slots {
            self.first.push(id);
        }
        self.len += 1;
        self.n_written = self.n_written.max(self.len);
        self.hashes = [self.hashes[1], self.hashes[1].map(|it| self.state.hash_one((it, id)))];
    }

    pub fn extend(&mut self, ids: &[u32]) {
        ids.iter().for_each(|&id| self.push(id));
    }

    /// How many of a sequence's ids need not be computed again: never the last, whose logits somebody wants.
    pub fn n_reusable(&self, ids: &[u32]) -> usize {
        let max = ids.len().saturating_sub(1);
        if self.n_written <= self.n_slots as u64 {
            return self.first.iter().zip(&ids[..max]).take_while(|(a, b)| a == b).count();
        }
        let [before_last, all] = self.hashes;
        let can_follow = |n: u64, hash: Option<u64>| {
            n.saturating_add(1) >= self.n_written
                && n <= max as u64
                && hash.is_some_and(|it| it == self.hash(&ids[..n as usize]))
        };
        [(self.len, all), (self.len.saturating_sub(1), before_last)]
            .into_iter()
            .find(|&(n, hash)| can_follow(n, hash))
            .map_or(0, |(n, _)| n as usize)
    }

    /// Forgets all but the first `n`, which [`History::n_reusable`] said.
    pub fn truncate(&mut self, n: usize) {
        if n as u64 == self.len && n > 0 {
            return;
        }
        self.hashes = match n <= self.first.len() {
            true => [None, Some(self.hash(&self.first[..n]))],
            false => [None, self.hashes[0]],
        };
        self.first.truncate(n);
        self.len = n as u64;
        if n == 0 {
            self.n_written = 0;
        }
    }

    /// Forgets which ids there were, until [`History::truncate`] begins anew: nothing can be used again.
    pub fn forget(&mut self) {
        self.hashes = [None; 2];
        self.n_written = u64::MAX;
    }

    fn hash(&self, ids: &[u32]) -> u64 {
        ids.iter().fold(0, |hash, &id| self.state.hash_one((hash, id)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The histories of 1, 2, ... `n` in four slots.
    fn history(n: u32) -> History {
        let mut history = History::new(4);
        history.extend(&(1..=n).collect::<Vec<_>>());
        history
    }

    #[test]
    fn until_the_ring_is_full_any_prefix_can_be_used_again() {
        let four = history(4);
        assert_eq!(four.n_reusable(&[1, 2, 3, 4, 5]), 4);
        assert_eq!(four.n_reusable(&[1, 2, 3, 4]), 3, "somebody wants the last one's logits");
        assert_eq!(four.n_reusable(&[1, 2, 9, 4, 5]), 2);
        assert_eq!(four.n_reusable(&[9]), 0);
        assert_eq!(history(0).n_reusable(&[1, 2]), 0);
    }

    #[test]
    fn a_ring_that_has_wrapped_goes_on_where_it_ends_or_one_before() {
        let six = history(6);
        assert_eq!(six.n_reusable(&[1, 2, 3, 4, 5, 6, 7]), 6);
        assert_eq!(six.n_reusable(&[1, 2, 3, 4, 5, 6]), 5);
        assert_eq!(six.n_reusable(&[1, 2, 3, 4, 5, 9, 7]), 5);
        assert_eq!(six.n_reusable(&[1, 2, 3, 4, 5]), 0, "position 4 has lost key 1 of its window");
        assert_eq!(six.n_reusable(&[9, 2, 3, 4, 5, 6, 7]), 0, "what left the window still counts");
    }

    #[test]
    fn a_history_that_is_not_known_serves_nobody() {
        let mut three = history(3);
        three.forget();
        three.push(4);
        assert_eq!(three.n_reusable(&[1, 2, 3, 4, 5]), 0);
        three.truncate(0);
        three.extend(&[1, 2]);
        assert_eq!(three.n_reusable(&[1, 2, 3]), 2);
    }

    #[test]
    fn what_was_replaced_does_not_come_back() {
        let mut five = history(5);
        five.truncate(4);
        assert_eq!(five.n_reusable(&[1, 2, 3, 4, 6]), 4);
        assert_eq!(five.n_reusable(&[1, 2, 3, 6]), 0, "position 4 has replaced key 0");
        five.extend(&[6, 7]);
        assert_eq!(five.n_reusable(&[1, 2, 3, 4, 6, 8]), 5);
    }

    #[test]
    fn what_is_cut_is_forgotten() {
        let mut six = history(6);
        six.truncate(5);
        assert_eq!(six.n_reusable(&[1, 2, 3, 4, 5, 8]), 5);
        assert_eq!(six.n_reusable(&[1, 2, 3, 4, 5]), 0, "the hash of four ids is not known");
        six.extend(&[8, 9]);
        assert_eq!(six.n_reusable(&[1, 2, 3, 4, 5, 8, 9, 10]), 7);
        assert_eq!(six.n_reusable(&[1, 2, 3, 4, 5, 6, 9, 10]), 0);

        let mut four = history(4);
        four.truncate(2);
        four.extend(&[8, 9, 10]);
        assert_eq!(four.n_reusable(&[1, 2, 8, 9, 10, 11]), 5);
        four.truncate(0);
        assert_eq!(four.n_reusable(&[1, 2, 8]), 0);
    }
}
