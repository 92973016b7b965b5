//! From logits to a token.
//!
//! The kernel `sample` chooses, on the device; here is what it can be asked for ([`Sampling`]), how it is told
//! ([`Params`]) and how it answers ([`Records`]). The options apply in this order, each to what the one before it left:
//!
//! 1. `logit_bias`: is added to the logits of its tokens; -inf forbids one;
//! 2. `repetition_penalty` r: the logit of every token of the prompt or the output is divided by r where it is
//!    positive and multiplied by r where it is negative (CTRL, arXiv 1909.05858, section 4.1);
//! 3. `frequency_penalty` f and `presence_penalty` p: a token that was generated n > 0 times loses n f + p, as OpenAI
//!    has it: the prompt does not count;
//! 4. `temperature` t: logits are divided by t; 0 takes the largest one (of equals, the lowest id), and no later
//!    filter can change that;
//! 5. `top_k`: the k largest logits stay (of equals, the lower ids);
//! 6. `top_p`: the fewest tokens, from the likeliest on, whose probabilities sum to p (arXiv 1904.09751, section 3.1;
//!    of equals, the lower ids first);
//! 7. `min_p`: tokens at least p times as likely as the likeliest one (arXiv 2407.01082, section 3).
//!
//! One of those left is drawn by its probability. NaN and -inf are never chosen. Each draw is a function of seed,
//! position and logits alone: not of the draws before it, so that a sequence can be continued or replayed from anywhere.
//! The kernel counts probabilities in units of 2^-31 of the likeliest token's: one below half of that is never drawn.

mod params;
mod records;

pub use params::{Limits, Params, prompt_counts};
pub use records::{Finished, Record, Records, TokenLogprob};

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// What the user asked for. The default is greedy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sampling {
    /// 0 is greedy.
    pub temperature: f32,
    /// 0 is off.
    pub top_k: u32,
    /// 1 is off.
    pub top_p: f32,
    /// 0 is off.
    pub min_p: f32,
    /// 1 is off.
    pub repetition_penalty: f32,
    /// 0 is off.
    pub frequency_penalty: f32,
    /// 0 is off.
    pub presence_penalty: f32,
    /// Tokens and what is added to their logits.
    pub logit_bias: Vec<(u32, f32)>,
    pub seed: u64,
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            temperature: 0.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            frequency_penalty: 0.0,
            presence_penalty: 0.0,
            logit_bias: vec![],
            seed: 0,
        }
    }
}

impl Sampling {
    /// An error names the first option that is out of its range.
    pub fn validate(&self) -> Result<()> {
        let in_range = |option, value: f32, is_valid: bool, expected: &str| match is_valid {
            true => Ok(()),
            false => Err(Error::Option { option, expected: expected.into(), found: value.to_string() }),
        };
        let Self { temperature, top_p, min_p, repetition_penalty, frequency_penalty, presence_penalty, .. } = *self;
        let is_finite_from_0 = |x: f32| x.is_finite() && x >= 0.0;
        in_range("temperature", temperature, is_finite_from_0(temperature), "a finite number from 0 (greedy) up")?;
        in_range("top_p", top_p, top_p > 0.0 && top_p <= 1.0, "a number above 0, up to 1 (off)")?;
        in_range("min_p", min_p, (0.0..=1.0).contains(&min_p), "a number from 0 (off) to 1")?;
        let is_penalty = is_finite_from_0(repetition_penalty) && repetition_penalty > 0.0;
        in_range("repetition_penalty", repetition_penalty, is_penalty, "a finite number above 0 (1 is off)")?;
        for (option, value) in [("frequency_penalty", frequency_penalty), ("presence_penalty", presence_penalty)] {
            in_range(option, value, value.is_finite(), "a finite number (0 is off)")?;
        }
        let is_bias = |it: f32| it < f32::INFINITY;
        self.logit_bias.iter().try_for_each(|&(_, it)| {
            in_range("logit_bias", it, is_bias(it), "finite numbers, or -inf to forbid a token")
        })
    }

    /// Whether it matters which tokens there were before.
    pub fn has_penalties(&self) -> bool {
        self.repetition_penalty != 1.0 || self.frequency_penalty != 0.0 || self.presence_penalty != 0.0
    }
}

#[cfg(test)]
mod tests;
