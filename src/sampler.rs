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
//! The kernel counts probabilities in units of 2^-40 of the likeliest token's: one below half of that is never drawn.

mod params;
mod philox;
mod records;

pub use params::{Limits, Params, prompt_counts};
pub use records::{Finished, Record, Records, TokenLogprob};

use crate::error::{Error, Result};
use crate::ring::Position;

/// What the user asked for. The default is greedy.
#[derive(Clone, Debug, PartialEq)]
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

    /// Whether the token is simply the largest logit as the model gave it.
    pub fn is_argmax(&self) -> bool {
        self.temperature == 0.0 && !self.has_penalties() && self.logit_bias.is_empty()
    }

    /// Whether it matters which tokens there were before.
    pub fn has_penalties(&self) -> bool {
        self.repetition_penalty != 1.0 || self.frequency_penalty != 0.0 || self.presence_penalty != 0.0
    }
}

/// Applies a [`Sampling`] on the host, but for bias, frequency and presence, keeping its working memory between tokens.
pub struct Sampler {
    sampling: Sampling,
    candidates: Vec<Candidate>,
    /// `[vocab_size]` whether the token is in the history.
    is_seen: Vec<bool>,
}

#[derive(Clone, Copy)]
struct Candidate {
    id: u32,
    logit: f32,
    /// exp((logit - max) / temperature): 1 for the likeliest.
    weight: f64,
}

impl Sampler {
    pub fn new(sampling: Sampling) -> Result<Self> {
        sampling.validate()?;
        let is_for_the_kernel =
            sampling.frequency_penalty != 0.0 || sampling.presence_penalty != 0.0 || !sampling.logit_bias.is_empty();
        assert!(!is_for_the_kernel, "bias, frequency and presence are the kernel's");
        Ok(Self { sampling, candidates: vec![], is_seen: vec![] })
    }

    pub fn sampling(&self) -> &Sampling {
        &self.sampling
    }

    /// Chooses the token at `position`.
    ///
    /// - `logits` `[vocab_size]`: of the token before it; the penalty is applied in place
    /// - `history`: every id so far, prompt included, each below `vocab_size`
    pub fn sample(&mut self, logits: &mut [f32], history: &[u32], position: Position) -> Result<u32> {
        self.penalize(logits, history);
        let best = argmax(logits).ok_or(Error::Logits { position: position.0, n_logits: logits.len() })?;
        if self.sampling.temperature == 0.0 {
            return Ok(best);
        }
        self.filter(logits, logits[best as usize]);
        Ok(draw(&mut self.candidates, philox::uniform(self.sampling.seed, position.0)))
    }

    /// Once per token, however often it occurred.
    fn penalize(&mut self, logits: &mut [f32], history: &[u32]) {
        let penalty = self.sampling.repetition_penalty;
        if penalty == 1.0 {
            return;
        }
        self.is_seen.clear();
        self.is_seen.resize(logits.len(), false);
        for &id in history {
            if !std::mem::replace(&mut self.is_seen[id as usize], true) {
                let logit = &mut logits[id as usize];
                *logit = if *logit > 0.0 { *logit / penalty } else { *logit * penalty };
            }
        }
    }

    /// Leaves in `candidates` the tokens that may be drawn, with their weights.
    fn filter(&mut self, logits: &[f32], max: f32) {
        let Self { sampling: Sampling { temperature, top_k, top_p, min_p, .. }, candidates, .. } = self;
        candidates.clear();
        candidates.extend(
            (0..).zip(logits).filter(|(_, logit)| **logit > f32::NEG_INFINITY).map(|(id, &logit)| Candidate {
                id,
                logit,
                weight: weight(logit, max, *temperature),
            }),
        );

        let top_k = *top_k as usize;
        if 0 < top_k && top_k < candidates.len() {
            candidates.select_nth_unstable_by(top_k - 1, likelier_first);
            candidates.truncate(top_k);
        }
        if *top_p < 1.0 {
            candidates.sort_unstable_by(likelier_first);
            candidates.truncate(nucleus(candidates, f64::from(*top_p)));
        }
        // The likeliest has weight 1 and always stays.
        candidates.retain(|it| it.weight >= f64::from(*min_p));
    }
}

/// The largest logit; the lowest id among equals; `None` if every one is NaN or -inf.
pub fn argmax(logits: &[f32]) -> Option<u32> {
    let mut best = (None, f32::NEG_INFINITY);
    for (id, &logit) in (0..).zip(logits) {
        if logit > best.1 {
            best = (Some(id), logit);
        }
    }
    best.0
}

fn weight(logit: f32, max: f32, temperature: f32) -> f64 {
    if logit == max {
        return 1.0; // also where max is +inf, and the difference would be NaN
    }
    ((f64::from(logit) - f64::from(max)) / f64::from(temperature)).exp()
}

/// A total order: NaN never gets this far.
fn likelier_first(a: &Candidate, b: &Candidate) -> std::cmp::Ordering {
    b.logit.total_cmp(&a.logit).then(a.id.cmp(&b.id))
}

/// How many of the candidates, likeliest first, it takes to reach the share `top_p` of all weight.
fn nucleus(candidates: &[Candidate], top_p: f64) -> usize {
    let enough = top_p * candidates.iter().map(|it| it.weight).sum::<f64>();
    let mut sum = 0.0;
    let n_short = candidates.iter().take_while(|it| {
        sum += it.weight;
        sum < enough
    });
    n_short.count() + 1
}

/// The candidate at the share `uniform` (in [0, 1)) of all weight, counted in the order of ids, so that it
/// does not matter how the filters left them.
fn draw(candidates: &mut [Candidate], uniform: f64) -> u32 {
    candidates.sort_unstable_by_key(|it| it.id);
    let target = uniform * candidates.iter().map(|it| it.weight).sum::<f64>();
    let mut sum = 0.0;
    let drawn = candidates.iter().find(|it| {
        sum += it.weight;
        target < sum
    });
    drawn.expect("target < total: uniform < 1, and the same sum in the same order").id
}

#[cfg(test)]
mod tests;
