//! What a launch takes on a card at the best, and what it is expected to take: the model behind every figure that gale
//! calls *predicted*. Nothing in it was measured by gale.
//!
//! ```text
//!   time = max(bytes / (reached * bandwidth), flops / (reached * tensor rate), 2 * latency) + gap
//! ```
//!
//! - `bandwidth` and the tensor rate (bf16, dense, sums in f32) are the card's data sheet's.
//! - `REACHED`: a kernel that only reads reaches 97 % of an H100's data sheet as others have measured it (3.24 of
//!   3.35 TB/s), and a copy 92 %; 90 % is assumed, of either limit, for a kernel that does its work well.
//! - `LATENCY`: from a load to its data; a kernel that has little to do still asks for its input, and then for what that
//!   leads to: two trips.
//! - `GAP`: from the end of a kernel to the start of the next in a graph, about 1.3 µs on an H100 as others have measured
//!   it; the same is assumed for the other cards.

use crate::device::Cost;
use std::time::Duration;

/// The share of a limit that a good kernel reaches.
pub const REACHED: f64 = 0.9;
/// From a load to its data, in seconds.
pub const LATENCY: f64 = 700e-9;
/// Between two kernels of a graph, in seconds.
pub const GAP: f64 = 1.3e-6;

/// A card's data sheet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Card {
    pub name: &'static str,
    pub bytes_per_s: f64,
    /// Of tensor cores: bf16, dense, f32 sums.
    pub flops_per_s: f64,
}

pub const CARDS: [Card; 4] = [
    Card { name: "H100", bytes_per_s: 3.35e12, flops_per_s: 989e12 },
    Card { name: "H200", bytes_per_s: 4.8e12, flops_per_s: 989e12 },
    Card { name: "A100", bytes_per_s: 2.039e12, flops_per_s: 312e12 },
    Card { name: "4090", bytes_per_s: 1.008e12, flops_per_s: 165e12 },
];

impl Card {
    /// The least time that the data sheet leaves for a launch.
    pub fn floor(&self, cost: Cost) -> Duration {
        let (bytes, flops) = (cost.bytes as f64, cost.flops as f64);
        Duration::from_secs_f64((bytes / self.bytes_per_s).max(flops / self.flops_per_s))
    }

    /// What a launch is expected to take, without the gap after it.
    pub fn predicted(&self, cost: Cost) -> Duration {
        let reached = self.floor(cost).as_secs_f64() / REACHED;
        Duration::from_secs_f64(reached.max(2.0 * LATENCY))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_larger_limit_counts() {
        let card = Card { name: "round", bytes_per_s: 1e12, flops_per_s: 1e14 };
        let us = |cost| (card.predicted(cost).as_secs_f64() * 1e6 * 100.0).round() / 100.0;
        assert_eq!(us(Cost { bytes: 9_000_000, flops: 9_000_000 }), 10.0, "reading");
        assert_eq!(us(Cost { bytes: 9_000_000, flops: 9_000_000_000 }), 100.0, "arithmetic");
        assert_eq!(us(Cost { bytes: 8, flops: 0 }), 1.4, "waiting");
    }
}
