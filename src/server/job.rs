//! What the thread of the device is asked for, and what it answers, bit by bit.

use super::error::ApiError;
use crate::sampler::{Sampling, TokenLogprob};
use serde::{Deserialize, Serialize};
use std::time::Instant;
use tokio::sync::mpsc::UnboundedSender;

/// A request on its way through the device.
pub struct Job {
    pub work: Work,
    /// The field that the prompts came in, for errors.
    pub prompt_field: &'static str,
    /// How many there can be is bounded by the number of tokens, so a slow reader keeps nobody waiting.
    pub events: UnboundedSender<Event>,
    pub arrived: Instant,
}

/// What is asked for, checked and in token ids: with a model, all that an answer depends on. Every prompt gets `n`
/// answers, one after the other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Work {
    pub prompts: Vec<Vec<u32>>,
    pub n: u32,
    pub sampling: Sampling,
    /// For each prompt.
    pub max_tokens: Vec<u32>,
    pub stop: Vec<String>,
    pub ignore_eos: bool,
    /// The likeliest tokens that are told beside each token; none tells no probabilities at all.
    pub n_logprobs: Option<u32>,
    pub begin: Begin,
}

/// How the text of an answer begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Begin {
    /// It is a text of its own.
    Fresh,
    /// It goes on from the prompt.
    After,
    /// It repeats the prompt.
    Echo,
}

/// In the order of the answers, each of which is finished before the next begins.
#[derive(Debug)]
pub enum Event {
    Piece(Piece),
    Finished {
        choice: usize,
        reason: FinishReason,
    },
    Done(Usage),
    /// Nothing comes after it.
    Failed(ApiError),
}

/// What a token adds, which may be no text: a stop string may have begun, or a character may not be complete.
#[derive(Debug)]
pub struct Piece {
    pub choice: usize,
    /// The token; none where it is a prompt that is repeated, or what was held back.
    pub id: Option<u32>,
    pub text: String,
    /// Empty unless probabilities were asked for.
    pub tokens: Vec<TokenInfo>,
}

/// A token, and how likely it was.
#[derive(Debug)]
pub struct TokenInfo {
    pub id: u32,
    /// None for the first token of a prompt, which nothing foretells.
    pub logprob: Option<f64>,
    /// From the likeliest on.
    pub top: Vec<TokenLogprob>,
    /// Characters of the text before it.
    pub offset: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinishReason {
    /// The model ended it, or a stop string.
    Stop,
    /// It has as many tokens as were asked for.
    Length,
}

impl FinishReason {
    pub fn name(self) -> &'static str {
        match self {
            FinishReason::Stop => "stop",
            FinishReason::Length => "length",
        }
    }
}

/// Tokens in all prompts and all answers; an end-of-sequence token counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub n_prompt: usize,
    pub n_completion: usize,
    /// Tokens of the prompts that were not computed again.
    pub n_cached: usize,
}

impl Job {
    /// Whether the client has left.
    pub fn is_abandoned(&self) -> bool {
        self.events.is_closed()
    }

    /// Tells the client, if it is still there.
    pub fn send(&self, event: Event) {
        let _ = self.events.send(event);
    }
}
