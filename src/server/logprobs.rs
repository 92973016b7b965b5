//! How likely the tokens of a prompt were: from logits to logarithms of probabilities, on the host.

use crate::sampler::TokenLogprob;

/// A token of a prompt.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scored {
    /// None for the first, which nothing foretells.
    pub logprob: Option<f64>,
    /// The likeliest tokens in its place, from the likeliest on.
    pub top: Vec<TokenLogprob>,
}

/// Scores a token by the logits of the one before it, `[vocab_size]`; the `n_top` likeliest come with it, of equals the
/// lower ids first. The same token has the same bits on its own and among the likeliest. NaN counts as -inf.
pub fn score(logits: &[f32], token: u32, n_top: usize) -> Scored {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weight = |logit: f32| if logit.is_nan() { 0.0 } else { (f64::from(logit) - f64::from(max)).exp() };
    let log_sum = logits.iter().map(|&it| weight(it)).sum::<f64>().ln();
    let logprob = |logit: f32| {
        let difference = if logit == max { 0.0 } else { f64::from(logit) - f64::from(max) };
        if difference.is_nan() { f64::NEG_INFINITY } else { difference - log_sum }
    };
    let top = largest(logits, n_top).into_iter();
    Scored {
        logprob: Some(logprob(logits[token as usize])),
        top: top.map(|token| TokenLogprob { token, logprob: logprob(logits[token as usize]) }).collect(),
    }
}

/// Where the `n` largest values are, from the largest on.
fn largest(values: &[f32], n: usize) -> Vec<u32> {
    let mut found: Vec<u32> = Vec::with_capacity(n + 1);
    for (i, &value) in values.iter().enumerate() {
        let is_larger = |&other: &u32| value > values[other as usize];
        if value.is_nan() || (found.len() == n && !found.last().is_some_and(is_larger)) {
            continue;
        }
        let place = found.partition_point(|&other| values[other as usize] >= value);
        found.insert(place, i as u32);
        found.truncate(n);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_sum_to_one() {
        let logits = [0.5, -3.0, 12.25, f32::NEG_INFINITY, 11.0];
        let total: f64 = (0..5).map(|token| score(&logits, token, 0).logprob.unwrap().exp()).sum();
        assert!((total - 1.0).abs() < 1e-12, "{total}");
        let ratio = score(&logits, 2, 0).logprob.unwrap() - score(&logits, 4, 0).logprob.unwrap();
        assert!((ratio - 1.25).abs() < 1e-12, "{ratio}");
    }

    #[test]
    fn the_likeliest_come_in_order_and_with_the_same_bits() {
        let logits = [1.0, 7.0, f32::NAN, 7.0, 8.5, -2.0];
        for token in [0, 1, 3, 4, 5] {
            let Scored { logprob, top } = score(&logits, token, 4);
            assert_eq!(top.iter().map(|it| it.token).collect::<Vec<_>>(), [4, 1, 3, 0]);
            if let Some(same) = top.iter().find(|it| it.token == token) {
                assert_eq!(same.logprob.to_bits(), logprob.unwrap().to_bits());
            }
        }
        assert_eq!(score(&logits, 0, 20).top.len(), 5, "NaN is not likely");
        assert_eq!(score(&logits, 2, 0), Scored { logprob: Some(f64::NEG_INFINITY), top: vec![] });
    }
}
