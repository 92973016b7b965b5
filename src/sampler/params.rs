//! How the kernel is told what to do: one buffer of words, replaced before a request.

use super::Sampling;
use crate::error::{Error, Result};
use crate::kernels::SAMPLE_PARAMS;
use crate::ring::Position;
use bytemuck::{Pod, Zeroable};

/// Ids that the kernel compares a token with.
const MAX_EOS: usize = 16;
/// Tokens of which a record can give the probability.
const MAX_LOGPROBS: u32 = 20;

const IGNORE_EOS: u32 = 1;
const HAS_BIAS: u32 = 2;
const HAS_PENALTIES: u32 = 4;

/// Bit 31 of a count: the token is in the prompt.
const IN_PROMPT: u32 = 1 << 31;

/// `struct Params` of kernels/sample.cu.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
pub struct Params {
    temperature: f32,
    top_k: u32,
    top_p: f32,
    min_p: f32,
    repetition_penalty: f32,
    frequency_penalty: f32,
    presence_penalty: f32,
    n_top: u32,
    seed: u64,
    end: u64,
    flags: u32,
    n_eos: u32,
    eos: [u32; MAX_EOS],
}

const _: () = assert!(size_of::<Params>() == SAMPLE_PARAMS as usize * size_of::<u32>());

/// What ends a sequence, and what its records hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Tokens that end it.
    pub eos_ids: Vec<u32>,
    /// They do not.
    pub ignore_eos: bool,
    /// The position at which there is no token any more: the last one chosen is at the position before it.
    pub end: Position,
    /// The likeliest tokens to record, with the logarithms of their probabilities; 0 records none, not even that of the
    /// chosen token.
    pub n_logprobs: u32,
}

impl Limits {
    /// Nothing ends the sequence, and no probabilities are recorded.
    pub fn endless() -> Limits {
        Limits { eos_ids: vec![], ignore_eos: false, end: Position(u64::MAX), n_logprobs: 0 }
    }
}

impl Sampling {
    /// What the kernel's buffer of parameters must hold.
    ///
    /// # Errors
    /// An option out of its range, too many end-of-sequence ids or probabilities.
    pub fn params(&self, limits: &Limits) -> Result<Params> {
        self.validate()?;
        let Limits { eos_ids, ignore_eos, end, n_logprobs } = limits;
        let at_most = |option, max: usize, found: usize| match found <= max {
            true => Ok(()),
            false => Err(Error::Option { option, expected: format!("at most {max}"), found: found.to_string() }),
        };
        at_most("n_logprobs", MAX_LOGPROBS as usize, *n_logprobs as usize)?;
        at_most("eos_token_id", MAX_EOS, eos_ids.len())?;
        let mut eos = [0; MAX_EOS];
        eos[..eos_ids.len()].copy_from_slice(eos_ids);
        let flag = |is_set, flag| if is_set { flag } else { 0 };
        Ok(Params {
            temperature: self.temperature,
            top_k: self.top_k,
            top_p: self.top_p,
            min_p: self.min_p,
            repetition_penalty: self.repetition_penalty,
            frequency_penalty: self.frequency_penalty,
            presence_penalty: self.presence_penalty,
            n_top: *n_logprobs,
            seed: self.seed,
            end: end.0,
            flags: flag(*ignore_eos, IGNORE_EOS)
                | flag(!self.logit_bias.is_empty(), HAS_BIAS)
                | flag(self.has_penalties(), HAS_PENALTIES),
            n_eos: eos_ids.len() as u32,
            eos,
        })
    }

    /// The row that is added to the logits, `[vocab_size]`; none if there is no bias, and the kernel then reads none.
    ///
    /// # Errors
    /// A token outside the vocabulary.
    pub fn bias_row(&self, vocab_size: u32) -> Result<Option<Vec<f32>>> {
        if self.logit_bias.is_empty() {
            return Ok(None);
        }
        let mut row = vec![0.0; vocab_size as usize];
        for &(token, bias) in &self.logit_bias {
            *row.get_mut(token as usize).ok_or_else(|| Error::Option {
                option: "logit_bias",
                expected: format!("tokens below {vocab_size}, the size of the vocabulary"),
                found: token.to_string(),
            })? += bias;
        }
        Ok(Some(row))
    }
}

impl Params {
    /// As the buffer takes them.
    pub fn words(&self) -> &[u32] {
        bytemuck::cast_slice(std::slice::from_ref(self))
    }
}

/// The kernel's counts, `[vocab_size]`, when nothing but the prompt was seen. Only penalties need the prompt in them.
pub fn prompt_counts(prompt: &[u32], vocab_size: u32) -> Vec<u32> {
    let mut counts = vec![0; vocab_size as usize];
    prompt.iter().for_each(|&token| counts[token as usize] = IN_PROMPT);
    counts
}
