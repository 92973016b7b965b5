//! How well a model predicts a text: mean negative log-likelihood a token (NLL), and its exponential, perplexity.
//!
//! A text is longer than a context, so it is cut into windows, and of each only the tokens at its end count, which have some
//! text before them:
//!
//! ```text
//!   no stride    |----: ====|----: ====|             windows side by side, the second half counts
//!   stride       |-----: ==|
//!                    |-----: ==|                     windows `stride` apart, the last `stride` tokens count
//! ```
//!
//! That, the token of BOS in place of each window's first, and the standard error are as llama.cpp's `llama-perplexity` has
//! them, so that numbers can be compared.

use std::ops::Range;

/// How a text is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Tokens of a window, at least 2.
    pub context: usize,
    /// From a window to the next, below `context`; `None`: they are side by side.
    pub stride: Option<usize>,
}

impl Cut {
    /// Where each window lies in a text of `n_tokens`. What is left at the end is not used.
    pub fn windows(&self, n_tokens: usize) -> impl ExactSizeIterator<Item = Range<usize>> + use<> {
        let Cut { context, .. } = *self;
        let step = self.stride.unwrap_or(context);
        let n_windows = if n_tokens < context { 0 } else { (n_tokens - context) / step + 1 };
        (0..n_windows).map(move |i| i * step..i * step + context)
    }

    /// The tokens of a window that count.
    pub fn counted(&self) -> Range<usize> {
        let Cut { context, stride } = *self;
        context - stride.unwrap_or((context - 1) / 2)..context
    }
}

/// The negative log-likelihood of `token` in nats, after a row of logits.
pub fn nll(logits: &[f32], token: u32) -> f64 {
    let max = f64::from(logits.iter().fold(f32::NEG_INFINITY, |a, &b| a.max(b)));
    let sum: f64 = logits.iter().map(|&it| (f64::from(it) - max).exp()).sum();
    sum.ln() - (f64::from(logits[token as usize]) - max)
}

/// Mean and spread of NLLs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Estimate {
    n: u64,
    sum: f64,
    sum_of_squares: f64,
}

impl Estimate {
    pub fn add(&mut self, nll: f64) {
        self.n += 1;
        self.sum += nll;
        self.sum_of_squares += nll * nll;
    }

    /// Tokens that were counted.
    pub fn n(&self) -> u64 {
        self.n
    }

    /// Nats a token.
    pub fn mean_nll(&self) -> f64 {
        self.sum / self.n as f64
    }

    /// The standard error of the mean, as if tokens were independent.
    pub fn nll_error(&self) -> f64 {
        let variance = self.sum_of_squares / self.n as f64 - self.mean_nll().powi(2);
        (variance.max(0.0) / (self.n.max(2) - 1) as f64).sqrt()
    }

    pub fn perplexity(&self) -> f64 {
        self.mean_nll().exp()
    }

    /// To first order.
    pub fn perplexity_error(&self) -> f64 {
        self.perplexity() * self.nll_error()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// llama-perplexity with n_ctx 512 takes the logits 256 to 510 of each window, which predict the tokens 257 to 511.
    #[test]
    fn windows_and_tokens_are_counted_as_llama_cpp_does() {
        let cut = Cut { context: 512, stride: None };
        assert_eq!(cut.counted(), 257..512);
        assert_eq!(cut.windows(1535).collect::<Vec<_>>(), [0..512, 512..1024]);
        assert_eq!(cut.windows(511).len(), 0);
        assert_eq!(Cut { context: 7, stride: None }.counted(), 4..7); // logits 3 to 5
        assert_eq!(Cut { context: 2, stride: None }.counted(), 2..2);
        let cut = Cut { context: 8, stride: Some(3) };
        assert_eq!(cut.counted(), 5..8);
        assert_eq!(cut.windows(14).collect::<Vec<_>>(), [0..8, 3..11, 6..14]);
        assert_eq!(cut.windows(13).len(), 2);
    }

    #[test]
    fn a_likelihood_is_a_share_of_exponentials() {
        assert!((nll(&[0.0, 3f32.ln()], 1) + 0.75f64.ln()).abs() < 1e-6);
    }

    #[test]
    fn a_token_that_is_one_of_four_alike_has_a_perplexity_of_four() {
        let mut estimate = Estimate::default();
        for _ in 0..3 {
            estimate.add(nll(&[2.0, 2.0, 2.0, 2.0, f32::NEG_INFINITY], 1));
        }
        assert!((estimate.perplexity() - 4.0).abs() < 1e-12);
        assert!(estimate.perplexity_error() < 1e-6);
        estimate.add(2.0);
        estimate.add(1.0);
        // By hand: five values of ln 4 (three times), 2, 1.
        let values = [4f64.ln(), 4f64.ln(), 4f64.ln(), 2.0, 1.0];
        let mean = values.iter().sum::<f64>() / 5.0;
        let variance = values.iter().map(|it| (it - mean).powi(2)).sum::<f64>() / 5.0;
        assert!((estimate.mean_nll() - mean).abs() < 1e-12);
        assert!((estimate.nll_error() - (variance / 4.0).sqrt()).abs() < 1e-9);
    }
}
