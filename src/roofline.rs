//! What a launch takes on a card at the best, and what it is expected to take: the model behind every figure that gale
//! calls *predicted*. Nothing in it was measured by gale.
//!
//! ```text
//!   time = max(bytes / (reached * bandwidth), flops / (mma share * tensor rate), 2 * latency) + gap
//! ```
//!
//! - `bandwidth`, the tensor rate (bf16, dense, sums in f32) and `memory` are the card's data sheet's.
//! - `REACHED`: a kernel that only reads reaches 97 % of an H100's data sheet as others have measured it (3.24 of
//!   3.35 TB/s), and a copy 92 %; 90 % is assumed for a kernel that does its work well.
//! - `mma_share`: what `mma.sync`, which is what the kernels use, reaches of the tensor rate. Hopper's rate is that of
//!   `wgmma`: by `mma.sync` others report up to 400 TFLOP/s of an H100's 989, 0.4 (docs/tuning.md). Ampere and Ada have no
//!   faster way, so there it is 90 % again.
//! - FLOPs are the formula's, or those of the `mma` that a launcher says it does: attention of a chunk does three for two,
//!   and all of a tile at the window's ends.
//! - `LATENCY`: from a load to its data; a kernel that has little to do still asks for its input, and then for what that
//!   leads to: two trips.
//! - `GAP`: from the end of a kernel to the start of the next in a graph, about 1.3 µs on an H100 as others have measured
//!   it; the same is assumed for the other cards.

use crate::device::Cost;
use std::time::Duration;

/// The share of its limit that a good kernel reaches.
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
    /// Of `flops_per_s`, that `mma.sync` reaches.
    pub mma_share: f64,
    pub memory_bytes: u64,
}

/// A product and a sum for each of 16 x 8 x 16.
const FLOPS_PER_MMA: u64 = 2 * 16 * 8 * 16;

/// Of a card whose rate is that of another instruction.
const HOPPER_MMA_SHARE: f64 = 0.4;

pub const CARDS: [Card; 4] = [
    Card {
        name: "H100",
        bytes_per_s: 3.35e12,
        flops_per_s: 989e12,
        mma_share: HOPPER_MMA_SHARE,
        memory_bytes: 80 << 30,
    },
    Card {
        name: "H200",
        bytes_per_s: 4.8e12,
        flops_per_s: 989e12,
        mma_share: HOPPER_MMA_SHARE,
        memory_bytes: 141 << 30,
    },
    Card { name: "A100", bytes_per_s: 2.039e12, flops_per_s: 312e12, mma_share: REACHED, memory_bytes: 80 << 30 },
    Card { name: "4090", bytes_per_s: 1.008e12, flops_per_s: 165e12, mma_share: REACHED, memory_bytes: 24 << 30 },
];

impl Card {
    /// What a launch is expected to take, without the gap after it, if it does so many `mma` or none beyond its FLOPs.
    pub fn predicted(&self, cost: Cost, mma: Option<u64>) -> Duration {
        let (bytes, flops) = (cost.bytes as f64, mma.map_or(cost.flops, |it| it * FLOPS_PER_MMA) as f64);
        let (reads, multiplies) = (bytes / (REACHED * self.bytes_per_s), flops / (self.mma_share * self.flops_per_s));
        Duration::from_secs_f64(reads.max(multiplies).max(2.0 * LATENCY))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_larger_limit_counts() {
        let card = Card { name: "round", bytes_per_s: 1e12, flops_per_s: 1e14, mma_share: 0.5, memory_bytes: 0 };
        let us = |cost| (card.predicted(cost, None).as_secs_f64() * 1e6 * 100.0).round() / 100.0;
        assert_eq!(us(Cost { bytes: 9_000_000, flops: 9_000_000 }), 10.0, "reading");
        assert_eq!(us(Cost { bytes: 9_000_000, flops: 5_000_000_000 }), 100.0, "arithmetic");
        assert_eq!(us(Cost { bytes: 8, flops: 0 }), 1.4, "waiting");
        let more = card.predicted(Cost { bytes: 0, flops: 4096 }, Some(1_000_000)).as_secs_f64();
        assert!((more * 1e6 - 81.92).abs() < 0.01, "what it does, not what it need do: {more}");
    }

    /// Nothing is predicted to multiply faster than others have seen `mma.sync` do it.
    #[test]
    fn hopper_multiplies_at_the_rate_of_mma_sync() {
        let rates = CARDS.map(|card| {
            let flops = 1 << 50;
            flops as f64 / card.predicted(Cost { bytes: 0, flops }, None).as_secs_f64() / 1e12
        });
        for (card, rate) in CARDS.iter().zip(rates) {
            let most = if ["H100", "H200"].contains(&card.name) { 400.0 } else { 0.9 * card.flops_per_s / 1e12 };
            assert!((0.98 * most..1.001 * most).contains(&rate), "{}: {rate} TFLOP/s", card.name);
        }
    }
}
