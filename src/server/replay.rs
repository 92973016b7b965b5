//! Answers that can be repeated: what an answer is told to carry for it, and a model that answers once more.
//!
//! The prompts are kept as token ids, since a chat template may ask for the date; the rest is what the device was asked for.

mod compare;
mod saved;

pub use compare::Difference;
pub use saved::Saved;

use super::engine::Engine;
use super::fingerprint::Fingerprint;
use super::job::{Job, Work};
use super::limits::{MAX_LOGPROBS, MAX_N};
use super::metrics::Metrics;
use super::wire::{Collected, Kind, Wire};
use crate::config::Config;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::session::{Options, Session};
use crate::tokenizer::Tokenizer;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;
use tokio::sync::mpsc::unbounded_channel;

/// All that an answer depends on, and its tokens.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Replay {
    pub kind: Kind,
    pub fingerprint: Fingerprint,
    pub work: Work,
    /// Of each answer; a token that ends one is there, too.
    pub tokens: Vec<Vec<u32>>,
}

impl Replay {
    pub fn new(fingerprint: &Fingerprint, kind: Kind, work: &Work) -> Replay {
        let tokens = vec![vec![]; work.prompts.len() * work.n as usize];
        Replay { kind, fingerprint: fingerprint.clone(), work: work.clone(), tokens }
    }

    /// Takes a token of an answer.
    pub fn push(&mut self, choice: usize, id: u32) {
        self.tokens[choice].push(id);
    }
}

impl Saved {
    pub fn fingerprint(&self) -> &Fingerprint {
        &self.replay.fingerprint
    }

    pub fn n_tokens(&self) -> usize {
        self.replay.tokens.iter().map(Vec::len).sum()
    }

    /// With which a model has room for the answers, once it is known that it can give them. No bit depends on the room.
    ///
    /// # Errors
    /// What a server would not have said.
    pub fn options(&self, config: &Config) -> Result<Options> {
        let Work { prompts, n, sampling, max_tokens, stop, n_logprobs, .. } = &self.replay.work;
        let n_answers = prompts.len() * *n as usize;
        let is_whole = n_answers > 0
            && n_answers == self.replay.tokens.len()
            && prompts.len() == max_tokens.len()
            && *n <= MAX_N
            && n_logprobs.is_none_or(|it| it <= MAX_LOGPROBS)
            && stop.iter().all(|it| !it.is_empty());
        if !is_whole {
            return Err(self.damaged("its numbers of prompts, answers and tokens are none that a server gives"));
        }
        // The last token is chosen and never taken, so it needs no place.
        let places = |(prompt, n): (&Vec<u32>, &u32)| prompt.len() as u64 + u64::from(n.saturating_sub(1));
        let needed = prompts.iter().zip(max_tokens).map(places).max().unwrap_or(0);
        let context = u32::try_from(needed).map_err(|_| self.damaged(format!("no context holds {needed} tokens")))?;
        let options = Options { context: config.window.is_none().then_some(context), ..Options::default() };
        prompts.iter().try_for_each(|ids| Session::check_prompt(config, &options, ids))?;
        sampling.validate()?;
        sampling.bias_row(config.vocab_size)?;
        Ok(options)
    }

    /// Answers again. None if all is the same, bit for bit: tokens, texts, reasons and, where there are any, probabilities.
    ///
    /// # Errors
    /// The driver's, and those that the server would have answered with.
    pub fn repeat(&self, device: Device, session: Session, tokenizer: Tokenizer) -> anyhow::Result<Option<Difference>> {
        let Replay { kind, work, tokens, .. } = &self.replay;
        let (tokenizer, metrics, give_up) = (Arc::new(tokenizer), Metrics::new(""), AtomicBool::new(false));
        let (events, mut receiver) = unbounded_channel();
        let job = Job { work: work.clone(), prompt_field: "prompts", events, arrived: Instant::now() };
        Engine { device, session, tokenizer: &tokenizer, metrics: &metrics, give_up: &give_up, reuses: false }
            .run(&job)?;
        let mut collected = Collected::default();
        while let Ok(event) = receiver.try_recv() {
            if let Some(Err(error)) = collected.push(event) {
                anyhow::bail!("{}", error.message);
            }
        }
        let wire = Wire::new(*kind, String::new(), String::new(), tokenizer.clone(), work.n_logprobs.is_some());
        let found: Vec<Value> = wire.choices(&collected.0);
        let found_tokens: Vec<Vec<u32>> = collected.0.into_iter().map(|it| it.ids).collect();
        Ok(compare::tokens(tokens, &found_tokens, &tokenizer).or_else(|| compare::choices(&self.choices, &found)))
    }

    fn damaged(&self, problem: impl std::fmt::Display) -> Error {
        Error::malformed(&self.path, format!("key \"replay\": {problem}"))
    }
}
