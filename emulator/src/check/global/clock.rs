//! What happened before something: a vector clock over the warps of a grid.

/// For each warp of the grid, the last of its accesses that is known to come before. Accesses are numbered in the order in
/// which they run, so one number says it for all before. Warps outside of `first..first + known.len()` have none: the
/// clock of a CTA that never waited for another is as short as the CTA.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Clock {
    first: usize,
    known: Vec<u32>,
}

impl Clock {
    /// The last access of a warp that comes before, 0 for none.
    #[inline]
    pub fn last_of(&self, warp: usize) -> u32 {
        warp.checked_sub(self.first).and_then(|at| self.known.get(at)).copied().unwrap_or(0)
    }

    /// Everything that a warp did up to `access` comes before.
    pub fn add(&mut self, warp: usize, access: u32) {
        self.cover(warp, warp + 1);
        let last = &mut self.known[warp - self.first];
        *last = access.max(*last);
    }

    /// What comes before `other` comes before this.
    pub fn join(&mut self, other: &Clock) {
        self.cover(other.first, other.first + other.known.len());
        let known = &mut self.known[other.first.saturating_sub(self.first)..];
        known.iter_mut().zip(&other.known).for_each(|(mine, theirs)| *mine = (*mine).max(*theirs));
    }

    /// Makes room for warps `first..end`.
    fn cover(&mut self, first: usize, end: usize) {
        if first == end {
            return;
        }
        if self.known.is_empty() {
            self.first = first;
        }
        if first < self.first {
            self.known.splice(..0, std::iter::repeat_n(0, self.first - first));
            self.first = first;
        }
        if end > self.first + self.known.len() {
            self.known.resize(end - self.first, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_grow_to_both_sides_and_keep_the_later() {
        let mut clock = Clock::default();
        assert_eq!(clock.last_of(5), 0);
        clock.join(&Clock::default());
        assert_eq!(clock, Clock::default());
        clock.add(5, 10);
        clock.add(5, 8);
        clock.add(2, 3);
        clock.add(7, 9);
        let seen = |clock: &Clock| (0..9).map(|warp| clock.last_of(warp)).collect::<Vec<_>>();
        assert_eq!(seen(&clock), [0, 0, 3, 0, 0, 10, 0, 9, 0]);
        let mut other = Clock::default();
        other.add(0, 1);
        other.add(5, 12);
        other.join(&clock);
        assert_eq!(seen(&other), [1, 0, 3, 0, 0, 12, 0, 9, 0]);
        clock.join(&other);
        assert_eq!(seen(&clock), seen(&other));
        clock.join(&Clock::default());
        assert_eq!(seen(&clock), seen(&other));
    }
}
