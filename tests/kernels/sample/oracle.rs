//! Choosing a token in f64, by sorting: what the kernel must come to without.

use gale::sampler::Sampling;

/// The ways in which a token may be chosen, up to rounding.
pub struct Choice {
    /// The tokens that top_k leaves, from the likeliest on.
    order: Vec<u32>,
    /// `[vocab_size]` 1 for the likeliest.
    weights: Vec<f64>,
    /// How far off the kernel's weight may be.
    slack: Vec<f64>,
    /// How many of `order` top_p and min_p may leave: one number, but where a sum is within rounding of p.
    n_kept: std::ops::RangeInclusive<usize>,
}

/// The logits with bias and penalties, as the kernel rounds them.
///
/// - `counts`: bit 31 where the prompt has the token, and how often it was generated
pub fn adjust(sampling: &Sampling, logits: &[f32], counts: &[u32]) -> Vec<f32> {
    let mut adjusted = logits.to_vec();
    for &(token, bias) in &sampling.logit_bias {
        adjusted[token as usize] += bias;
    }
    for (logit, &count) in adjusted.iter_mut().zip(counts) {
        let r = sampling.repetition_penalty;
        if count > 0 {
            *logit *= if *logit > 0.0 { 1.0 / r } else { r };
        }
        let n = count & !(1 << 31);
        if n > 0 {
            *logit -= n as f32 * sampling.frequency_penalty + sampling.presence_penalty;
        }
    }
    adjusted
}

/// The possible tokens from the likeliest on; of equals, the lower ids first.
pub fn by_likelihood(logits: &[f32]) -> Vec<u32> {
    let mut order: Vec<u32> = (0..logits.len() as u32).filter(|&it| logits[it as usize] > f32::NEG_INFINITY).collect();
    order.sort_by(|&a, &b| logits[b as usize].partial_cmp(&logits[a as usize]).unwrap().then(a.cmp(&b)));
    order
}

/// The weight of a logit, and how far off the kernel's may be: three roundings of the exponent, then 2^-22 for
/// ex2.approx (PTX ISA #floating-point-instructions-ex2), then half a unit of 2^-31. The likeliest weighs exactly 1.
pub fn weigh(logit: f32, max: f32, temperature: f32) -> (f64, f64) {
    if logit == max {
        return (1.0, 0.0);
    }
    let exponent = (f64::from(logit) - f64::from(max)) / f64::from(temperature);
    let (weight, relative) = (exponent.exp(), exponent.abs() * 4.0 * 2f64.powi(-24) + 2f64.powi(-21));
    (weight, if weight == 0.0 { 0.0 } else { weight * relative + 2f64.powi(-32) })
}

impl Choice {
    /// `None` if there is nothing to choose. The temperature is above 0.
    pub fn new(sampling: &Sampling, adjusted: &[f32]) -> Option<Choice> {
        let mut order = by_likelihood(adjusted);
        let max = adjusted[*order.first()? as usize];
        if sampling.top_k > 0 {
            order.truncate(sampling.top_k as usize);
        }
        let (weights, slack): (Vec<f64>, Vec<f64>) = adjusted
            .iter()
            .map(|&it| if it.is_nan() { (0.0, 0.0) } else { weigh(it, max, sampling.temperature) })
            .unzip();
        let sums: Vec<f64> = order
            .iter()
            .scan(0.0, |sum, &it| {
                *sum += weights[it as usize];
                Some(*sum)
            })
            .collect();
        let (total, off) = (*sums.last()?, order.iter().map(|&it| slack[it as usize]).sum::<f64>());
        let enough = f64::from(sampling.top_p) * total;
        let n_reaching = |enough: f64| (sums.partition_point(|&it| it < enough) + 1).min(order.len());
        let n_likely = |off: f64| {
            order.partition_point(|&it| weights[it as usize] + off * slack[it as usize] >= f64::from(sampling.min_p))
        };
        let (mut least, mut most) = (n_likely(-1.0), n_likely(1.0));
        if sampling.top_p < 1.0 {
            (least, most) = (least.min(n_reaching(enough - 2.0 * off)), most.min(n_reaching(enough + 2.0 * off)));
        }
        Some(Choice { order, weights, slack, n_kept: least.max(1)..=most })
    }

    /// Whether the token is the one at the share `random` / 2^64 of all that may be left, in the order of ids.
    pub fn allows(&self, token: u32, random: u64) -> bool {
        let share = random as f64 / 2f64.powi(64);
        self.n_kept.clone().any(|n| {
            let kept = &self.order[..n];
            let sum = |ids: &dyn Fn(u32) -> bool, of: &[f64]| -> f64 {
                kept.iter().filter(|&&it| ids(it)).map(|&it| of[it as usize]).sum()
            };
            let total = sum(&|_| true, &self.weights);
            let off = 2.0 * sum(&|_| true, &self.slack) + total * 2f64.powi(-50);
            let before = sum(&|it| it < token, &self.weights);
            kept.contains(&token)
                && before - off <= share * total
                && share * total <= before + self.weights[token as usize] + off
        })
    }

    /// How many tokens may be drawn, if that is sure.
    pub fn n_kept(&self) -> Option<usize> {
        (self.n_kept.start() == self.n_kept.end()).then_some(*self.n_kept.start())
    }
}

/// 64 random bits for each (seed, position).
pub fn random_bits(seed: u64, position: u64) -> u64 {
    let halves = |it: u64| [it as u32, (it >> 32) as u32];
    let [low, high] = halves(position);
    let [c0, c1, ..] = philox([low, high, 0, 0], halves(seed));
    u64::from(c1) << 32 | u64::from(c0)
}

/// Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
fn philox(mut c: [u32; 4], mut k: [u32; 2]) -> [u32; 4] {
    let high = |it: u64| (it >> 32) as u32;
    for _ in 0..10 {
        let (a, b) = (u64::from(c[0]) * 0xD251_1F53, u64::from(c[2]) * 0xCD9E_8D57);
        c = [high(b) ^ c[1] ^ k[0], b as u32, high(a) ^ c[3] ^ k[1], a as u32];
        k = [k[0].wrapping_add(0x9E37_79B9), k[1].wrapping_add(0xBB67_AE85)];
    }
    c
}

/// The known answers of the authors' Random123 library.
#[test]
fn philox_gives_the_known_answers() {
    assert_eq!(philox([0; 4], [0; 2]), [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]);
    assert_eq!(philox([!0; 4], [!0; 2]), [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd]);
    assert_eq!(
        philox([0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344], [0xa4093822, 0x299f31d0]),
        [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1]
    );
}
