//! The barriers of a CTA (#parallel-synchronization-and-communication-instructions-bar).

use crate::{
    check::fault::FaultKind,
    exec::{
        run::Arrival,
        trouble::{Outcome, Trouble},
    },
};

/// The barriers of a CTA that a program names by a number.
pub const N_NAMED_BARRIERS: usize = 16;
/// With the cluster's: a cluster is one CTA.
pub const N_BARRIERS: usize = N_NAMED_BARRIERS + 1;

/// A barrier that warps are arriving at.
#[derive(Clone, Copy, Debug, Default)]
pub struct Barrier {
    /// The warps that have arrived, a bit each.
    pub arrived: u32,
    /// The count that they gave, if they gave one.
    n_threads: Option<u32>,
    /// They arrived by `bar.red`.
    is_reduction: bool,
    /// Of `bar.red`: threads whose predicate holds, and threads altogether.
    pub n_true: u32,
    pub n_votes: u32,
}

impl Barrier {
    /// Warps that must arrive, where those of `live` have not exited.
    pub fn n_needed(&self, live: u32) -> u32 {
        // A thread that exited counts for a barrier of all, but stands for nobody at one with a count. A warp that
        // arrived and then exited stands for itself alone.
        self.n_threads.map_or((self.arrived | live).count_ones(), |n| n / 32)
    }

    pub fn is_complete(&self, live: u32) -> bool {
        self.arrived != 0 && self.arrived.count_ones() >= self.n_needed(live)
    }

    /// A warp arrives; `lane` stands for it in a fault. The CTA has `n_warps` warps.
    ///
    /// # Errors
    /// A barrier used against its rules.
    pub fn arrive(&mut self, warp: usize, n_warps: u32, lane: usize, arrival: &Arrival, is_reduction: bool) -> Outcome {
        let Arrival { id, n_threads, .. } = *arrival;
        let misuse = |note: String| Err(Trouble::because(FaultKind::BarrierMisuse, lane, note));
        if let Some(n) = n_threads.filter(|n| *n == 0 || !n.is_multiple_of(32)) {
            return misuse(format!("{n} threads, but a barrier waits for a multiple of 32"));
        }
        let all = 32 * n_warps;
        if let Some(n) = n_threads.filter(|n| *n > all) {
            return misuse(format!("{n} threads, but the CTA has no more than {all}"));
        }
        if self.arrived >> warp & 1 == 1 {
            return misuse(format!("warp {warp} has arrived at barrier {id} before, and it has not completed since"));
        }
        if self.arrived != 0 {
            let count = |n: Option<u32>| n.unwrap_or(all);
            let (before, now) = (count(self.n_threads), count(n_threads));
            if before != now {
                return misuse(format!("{now} threads, but those at barrier {id} wait for {before}"));
            }
            if self.is_reduction != is_reduction {
                return misuse(format!("at barrier {id}, bar.red meets bar.sync or bar.arrive"));
            }
        }
        self.n_threads = if self.arrived == 0 { n_threads } else { self.n_threads.and(n_threads) };
        self.arrived |= 1 << warp;
        self.is_reduction = is_reduction;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_arrived_and_exited_stands_for_nobody_else() {
        let mut barrier = Barrier::default();
        let mut arrive = |warp, n_threads| {
            let arrival = Arrival { pc: 0, id: 0, n_threads };
            assert!(barrier.arrive(warp, 3, 0, &arrival, false).is_ok());
            barrier
        };
        assert!(!arrive(0, Some(96)).is_complete(0b110), "two are missing");
        let two = arrive(1, None);
        assert!(!two.is_complete(0b110), "the third is missing");
        assert_eq!(two.n_needed(0b110), 3);
        assert!(two.is_complete(0b010), "the third has exited");
        assert!(arrive(2, None).is_complete(0b110));
    }
}
