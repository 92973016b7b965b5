//! What kernels should give, computed in f64, and how far rounding may take them from it.

use half::{bf16, f16};

/// What exact arithmetic gives, and the magnitudes that were added up to get it.
#[derive(Clone, Copy)]
pub struct Exact {
    pub value: f64,
    pub magnitude: f64,
}

/// A floating-point type of the device.
pub trait Float: Copy {
    /// Half an ulp of 1, relative to what is rounded.
    const ROUNDING: f64;
    /// What a result may be off by however small it is, for want of smaller numbers.
    const TINY: f64;
    /// The largest number: kernels clamp to it where they store f16.
    const MAX: f64;

    fn f64(self) -> f64;
}

impl Float for f32 {
    const ROUNDING: f64 = F32_ROUNDING;
    const TINY: f64 = f32::MIN_POSITIVE as f64;
    const MAX: f64 = f64::INFINITY;

    fn f64(self) -> f64 {
        self.into()
    }
}

impl Float for bf16 {
    const ROUNDING: f64 = 1.0 / (1 << 8) as f64;
    const TINY: f64 = f32::MIN_POSITIVE as f64;
    const MAX: f64 = f64::INFINITY;

    fn f64(self) -> f64 {
        self.to_f64()
    }
}

impl Float for f16 {
    const ROUNDING: f64 = 1.0 / (1 << 11) as f64;
    const TINY: f64 = 1.0 / (1 << 25) as f64;
    const MAX: f64 = 65504.0;

    fn f64(self) -> f64 {
        self.to_f64()
    }
}

/// The largest relative error of one operation in f32.
pub const F32_ROUNDING: f64 = 1.0 / (1 << 24) as f64;

/// A value by itself.
pub fn exactly(value: f64) -> Exact {
    Exact { value, magnitude: value.abs() }
}

pub fn sum(terms: impl Iterator<Item = f64> + Clone) -> Exact {
    Exact { value: terms.clone().sum(), magnitude: terms.map(f64::abs).sum() }
}

pub fn dot<A: Float, B: Float>(a: &[A], b: &[B]) -> Exact {
    sum(a.iter().zip(b).map(|(a, b)| a.f64() * b.f64()))
}

/// One token.
pub fn rms_norm<W: Float>(x: &[f32], weight: &[W], eps: f32) -> Vec<Exact> {
    let mean = dot(x, x).value / x.len() as f64;
    let scale = 1.0 / (mean + eps.f64()).sqrt();
    x.iter().zip(weight).map(|(x, w)| exactly(x.f64() * scale * w.f64())).collect()
}

/// One token; the weight's rows are as long as x.
pub fn matvec<W: Float>(weight: &[W], x: &[W]) -> Vec<Exact> {
    weight.chunks(x.len()).map(|row| dot(row, x)).collect()
}

/// One query head over the keys that it sees. The magnitude counts the weights' errors too: `n_roundings` is
/// for the rest, relative to the weighted values.
pub fn attention(q: &[bf16], keys: &[&[bf16]], values: &[&[bf16]], n_roundings: u32) -> Vec<Exact> {
    let scale = 1.0 / (q.len() as f64).sqrt();
    let scores: Vec<Exact> = keys.iter().map(|k| dot(q, k)).collect();
    let max = scores.iter().map(|it| it.value).fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = scores.iter().map(|it| ((it.value - max) * scale).exp()).collect();
    let total: f64 = weights.iter().sum();
    // A score is off by its magnitude times its roundings (two for the scale, eight products, five sums, and two
    // more below the maximum), and a weight by as much, relatively. That counts twice: the total is off as well.
    let score_magnitude = scores.iter().map(|it| it.magnitude * scale).fold(0.0, f64::max);
    let n_roundings = 2.0 * (f64::from(n_roundings) + 17.0 * score_magnitude);
    (0..q.len())
        .map(|dim| {
            let it = sum(values.iter().zip(&weights).map(|(v, weight)| v[dim].f64() * weight / total));
            Exact { value: it.value, magnitude: it.magnitude * n_roundings }
        })
        .collect()
}

/// The lowest id among the greatest logits, 0 if all are NaN.
pub fn argmax(logits: &[f32]) -> u32 {
    let mut best: Option<usize> = None;
    for (token, logit) in logits.iter().enumerate() {
        if !logit.is_nan() && best.is_none_or(|it| *logit > logits[it]) {
            best = Some(token);
        }
    }
    best.unwrap_or(0) as u32
}

/// The kernel rounded `n_roundings` times in f32 on the way to each number, and once to the result's type.
#[track_caller]
pub fn assert_rounds_to<T: Float>(got: &[T], want: &[Exact], n_roundings: u32) {
    assert_eq!(got.len(), want.len());
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        let (got, value) = (got.f64(), want.value.clamp(-T::MAX, T::MAX));
        let before = want.magnitude * f64::from(n_roundings) * F32_ROUNDING;
        let bound = before + (value.abs() + before) * T::ROUNDING + T::TINY;
        assert!((got - value).abs() <= bound, "[{i}]: got {got:e}, want {value:e} ± {bound:.1e}");
    }
}
