//! Who runs next and for how long: in a fixed order, or in one that a seed draws; and how long the launch may run at all.

use super::random::Random;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Instructions that a warp runs before the next has its turn: a warp may wait for another through memory.
const WARP_FUEL: u64 = 1 << 18;
/// Turns that a CTA runs before another has its own, for grids whose CTAs wait for each other.
const CTA_TURNS: u64 = 64;
/// Warp instructions that a worker takes from the launch's budget at a time.
const PORTION: u64 = 1 << 20;
/// Under a seed: the most instructions of a turn, as a power of two, and the most turns and CTAs at a time.
const SEEDED_FUEL_BITS: u64 = 12;
const SEEDED_TURNS: u64 = 4;
const SEEDED_SEATS: u64 = 12;
/// Turns of each CTA without one that ends, before one more CTA starts: they may wait for one that has not.
const PATIENCE: usize = 256;

/// Warp instructions that a launch may still run.
#[derive(Debug)]
pub struct Budget {
    left: AtomicU64,
    portion: u64,
}

impl Budget {
    pub fn new(limit: u64, n_workers: usize) -> Budget {
        let portion = (limit / (4 * n_workers as u64)).clamp(1, PORTION);
        Budget { left: AtomicU64::new(limit), portion }
    }

    /// Takes a portion, or what is left.
    fn take(&self) -> u64 {
        let taken = self.left.fetch_update(Relaxed, Relaxed, |left| Some(left - left.min(self.portion)));
        taken.unwrap_or_else(|left| left).min(self.portion)
    }
}

/// The choices of one worker.
#[derive(Debug)]
pub struct Turns<'a> {
    random: Option<Random>,
    budget: &'a Budget,
    /// Of the portion at hand.
    left: u64,
    /// Under a seed: CTAs that run at a time, the turns they had since one ended, and the step and start that make the
    /// order in which they begin.
    n_seats: usize,
    n_idle_turns: usize,
    stride: (u64, u64),
}

impl<'a> Turns<'a> {
    /// For a grid of `n_ctas`.
    pub fn new(seed: Option<u64>, n_ctas: u64, budget: &'a Budget) -> Turns<'a> {
        let mut random = seed.map(Random);
        let (mut n_seats, mut stride) = (1, (1, 0));
        if let Some(random) = &mut random {
            n_seats = 1 + random.below(SEEDED_SEATS) as usize;
            stride = (random.coprime(n_ctas), random.below(n_ctas));
        }
        Turns { random, budget, left: 0, n_seats, n_idle_turns: 0, stride }
    }

    /// The CTA that begins as the `k`th of `n`.
    pub fn cta(&self, k: u64, n: u64) -> u64 {
        let (step, start) = self.stride;
        ((u128::from(k) * u128::from(step) + u128::from(start)) % u128::from(n.max(1))) as u64
    }

    /// Whether another CTA should begin, if there is one, while `n_running` are suspended.
    pub fn starts_another(&mut self, n_running: usize) -> bool {
        if self.random.is_none() || n_running < self.n_seats {
            return true;
        }
        self.n_idle_turns += 1;
        if self.n_idle_turns > PATIENCE * n_running {
            self.n_idle_turns = 0;
            self.n_seats += 1;
        }
        false
    }

    /// A CTA ended.
    pub fn ended(&mut self) {
        self.n_idle_turns = 0;
    }

    /// Which of the `n` suspended CTAs, the first of which waits longest, goes on.
    pub fn suspended(&mut self, n: usize) -> usize {
        self.random.as_mut().map_or(0, |it| it.below(n as u64) as usize)
    }

    /// Turns that a CTA runs now.
    pub fn n_turns(&mut self) -> u64 {
        self.random.as_mut().map_or(CTA_TURNS, |it| 1 + it.below(SEEDED_TURNS))
    }

    /// The order in which `n` warps have their turns.
    pub fn warps(&mut self, n: usize) -> impl Iterator<Item = usize> + use<> {
        let (step, start) = match &mut self.random {
            Some(random) => (random.coprime(n as u64) as usize, random.below(n as u64) as usize),
            None => (1, 0),
        };
        (0..n).map(move |k| (k * step + start) % n)
    }

    /// Instructions of a warp's turn; 0 when the launch has run all it may.
    pub fn fuel(&mut self) -> u64 {
        if self.left == 0 {
            self.left = self.budget.take();
        }
        let fuel = match &mut self.random {
            Some(random) => {
                let bits = random.below(SEEDED_FUEL_BITS + 1);
                1 + random.below(1 << bits)
            }
            None => WARP_FUEL,
        };
        fuel.min(self.left)
    }

    /// A warp ran this many instructions.
    pub fn spend(&mut self, n: u64) {
        self.left = self.left.saturating_sub(n);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cta_and_every_warp_has_its_turn() {
        let budget = Budget::new(1, 1);
        let mut orders = Vec::new();
        for seed in [None, Some(0), Some(1), Some(2)] {
            for n in [1, 2, 6, 97, 128] {
                let mut turns = Turns::new(seed, n, &budget);
                let order: Vec<u64> = (0..n).map(|k| turns.cta(k, n)).collect();
                let mut sorted = order.clone();
                sorted.sort_unstable();
                assert_eq!(sorted, (0..n).collect::<Vec<_>>(), "{seed:?}");
                let mut warps: Vec<usize> = turns.warps(n as usize).collect();
                warps.sort_unstable();
                assert_eq!(warps, (0..n as usize).collect::<Vec<_>>());
                orders.push(order);
            }
        }
        assert_eq!(orders[3], (0..97).collect::<Vec<_>>(), "without a seed");
        assert!(orders[8] != orders[3] && orders[13] != orders[8], "seeds differ");
    }

    #[test]
    fn the_same_seed_makes_the_same_choices() {
        let budget = Budget::new(u64::MAX, 1);
        let choices = |seed| {
            let mut turns = Turns::new(Some(seed), 50, &budget);
            let mut all: Vec<u64> = (0..50).map(|k| turns.cta(k, 50)).collect();
            (0..20).for_each(|_| all.extend([turns.n_turns(), turns.fuel(), turns.suspended(9) as u64]));
            all
        };
        assert_eq!(choices(7), choices(7));
        assert_ne!(choices(7), choices(8));
    }

    #[test]
    fn a_budget_is_spent_in_portions() {
        let budget = Budget::new(1000, 1);
        let mut turns = Turns::new(None, 1, &budget);
        let mut total = 0;
        loop {
            let fuel = turns.fuel();
            if fuel == 0 {
                break;
            }
            turns.spend(fuel);
            total += fuel;
        }
        assert_eq!(total, 1000);
    }

    #[test]
    fn who_waits_for_a_cta_that_has_not_begun_sees_it_begin() {
        let budget = Budget::new(1, 1);
        let mut turns = Turns::new(Some(3), 100, &budget);
        let n_running = turns.n_seats;
        assert!(!turns.starts_another(n_running));
        assert!((0..PATIENCE * n_running + 1).any(|_| turns.starts_another(n_running)));
    }
}
