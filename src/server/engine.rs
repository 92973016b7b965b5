//! The thread that owns the device: one request after the other, from the queue to the model and back to the client.

use super::answer::Answer;
use super::error::ApiError;
use super::job::{Begin, Event, FinishReason, Job, TokenInfo, Usage};
use super::logprobs::{self, Scored};
use super::metrics::{Clock, Metrics};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::ring::Position;
use crate::sampler::{Finished, Limits, Record, Sampling};
use crate::session::Session;
use crate::tokenizer::Tokenizer;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A session, and what it shares with the threads that talk to clients.
pub struct Engine<'a> {
    pub device: Device,
    pub session: Session,
    pub tokenizer: &'a Tokenizer,
    pub metrics: &'a Metrics,
    /// What runs is to be given up.
    pub give_up: &'a AtomicBool,
    /// Whether a request may find its prompt in the cache where another one left it.
    pub reuses: bool,
}

/// One answer to one prompt.
struct Turn<'a> {
    job: &'a Job,
    prompt: &'a [u32],
    max_tokens: u32,
    sampling: Sampling,
    choice: usize,
}

impl Engine<'_> {
    /// Takes a prompt and two tokens, so that the first request finds nothing left to be done once. Gives the time to
    /// the first token.
    ///
    /// # Errors
    /// The driver's.
    pub fn warm_up(&mut self) -> Result<Duration> {
        let started = Instant::now();
        let limits = Limits { end: Position(3), ..Limits::endless() };
        self.session.reset()?;
        self.session.begin(&Sampling { temperature: 1.0, ..Sampling::default() }, &limits, &[0])?;
        self.session.prefill(&[0], &mut |_| ControlFlow::Continue(()))?;
        self.session.next_token()?;
        let to_first = started.elapsed();
        self.session.next_token()?;
        self.session.reset()?;
        Ok(to_first)
    }

    /// Answers a request and tells its client how it ended, unless the device failed. Gives a line about it if it was
    /// answered to the end.
    ///
    /// # Errors
    /// The driver's, after which there are no more answers.
    pub fn run(&mut self, job: &Job) -> Result<Option<String>> {
        let mut clock = self.metrics.start(job.arrived);
        let done = self.answers(job, &mut clock);
        self.metrics.allocated_bytes.set(self.device.allocated_bytes() as f64);
        self.metrics.idle();
        match done {
            Ok(usage) => {
                self.metrics.finish(&clock, usage);
                job.send(Event::Done(usage));
                Ok(Some(clock.line(usage)))
            }
            Err(Error::Interrupted) => {
                self.metrics.cancelled.add(1);
                job.send(Event::Failed(ApiError::shutting_down())); // nobody hears it if the client has left
                Ok(None)
            }
            Err(error) => {
                self.metrics.failed.add(1);
                if let Error::Device(_) = error {
                    return Err(error);
                }
                job.send(Event::Failed(blame(&error, job)));
                Ok(None)
            }
        }
    }

    fn answers(&mut self, job: &Job, clock: &mut Clock) -> Result<Usage> {
        let work = &job.work;
        if !self.reuses {
            self.session.reset()?;
        }
        let mut usage = Usage::default();
        let mut choice = 0;
        for (prompt, &max_tokens) in work.prompts.iter().zip(&work.max_tokens) {
            usage.n_prompt += prompt.len();
            for k in 0..work.n {
                // Each answer has a seed of its own, and the first that of the request.
                let seed = work.sampling.seed.wrapping_add(u64::from(k));
                let sampling = Sampling { seed, ..work.sampling.clone() };
                let turn = Turn { job, prompt, max_tokens, sampling, choice };
                let reason = self.answer(&turn, clock, &mut usage)?;
                self.metrics.finished(reason).add(1);
                job.send(Event::Finished { choice, reason });
                choice += 1;
            }
        }
        Ok(usage)
    }

    fn answer(&mut self, turn: &Turn, clock: &mut Clock, usage: &mut Usage) -> Result<FinishReason> {
        let Turn { job, prompt, max_tokens, choice, .. } = *turn;
        let work = &job.work;
        let mut answer = Answer::new(self.tokenizer, work, prompt)?;
        let mut n_taken = 0;
        if work.begin == Begin::Echo {
            let scores = work.n_logprobs.map(|n_top| self.score(turn, n_top)).transpose()?;
            n_taken = scores.as_ref().map_or(0, Vec::len);
            job.send(Event::Piece(answer.echo(choice, prompt, scores)?));
        }
        if max_tokens == 0 {
            job.send(Event::Piece(answer.finish(choice)?.0));
            return Ok(FinishReason::Length);
        }
        let n_cached = self.take_prompt(turn, n_taken)?;
        if choice % work.n as usize == 0 {
            usage.n_cached += n_cached; // other answers to a prompt find all of it there
        }
        for _ in 0..max_tokens {
            self.check_interrupted(job)?;
            let Record { token, finished, logprob, mut top } = self.session.next_token()?;
            let id = token.ok_or_else(|| self.session.no_choice())?;
            clock.token(self.metrics, choice);
            self.show_fill();
            usage.n_completion += 1;
            top.truncate(work.n_logprobs.unwrap_or(0) as usize);
            let info = work.n_logprobs.map(|_| TokenInfo { id, logprob, top, offset: answer.n_chars() });
            let is_eos = finished == Some(Finished::Eos);
            let (mut piece, is_stopped) = if is_eos { answer.finish(choice)? } else { answer.push(choice, id)? };
            piece.id = Some(id);
            piece.tokens.extend(info);
            job.send(Event::Piece(piece));
            if is_eos || is_stopped {
                return Ok(FinishReason::Stop);
            }
        }
        let (piece, is_stopped) = answer.finish(choice)?;
        job.send(Event::Piece(piece));
        Ok(if is_stopped { FinishReason::Stop } else { FinishReason::Length })
    }

    /// Hands a prompt to the session, which chooses the first token after it; its first `n_taken` tokens are there
    /// already. Gives the number of tokens that were not computed again because the cache still held them.
    fn take_prompt(&mut self, turn: &Turn, n_taken: usize) -> Result<usize> {
        let Turn { job, prompt, max_tokens, sampling, .. } = turn;
        let limits = Limits {
            eos_ids: self.session.config().eos_ids.clone(),
            ignore_eos: job.work.ignore_eos,
            end: Position(prompt.len() as u64 + u64::from(*max_tokens)),
            // The kernel tells the chosen token's probability only beside others.
            n_logprobs: job.work.n_logprobs.map_or(0, |n| n.max(1)),
        };
        self.session.begin(sampling, &limits, prompt)?;
        let give_up = self.give_up;
        let go_on = &mut |_| match is_interrupted(give_up, job) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        };
        let n_cached = match n_taken {
            0 => self.session.start(prompt, go_on)?,
            _ => self.session.prefill(&prompt[n_taken..], go_on).map(|()| 0)?,
        };
        self.check_interrupted(job)?;
        Ok(n_cached)
    }

    /// How likely each token of a prompt was, but the first; all but the last are taken then.
    fn score(&mut self, turn: &Turn, n_top: u32) -> Result<Vec<Scored>> {
        let Turn { job, prompt, .. } = turn;
        let n_rows = prompt.len() - 1;
        let mut scores = Vec::with_capacity(n_rows);
        if n_rows > 0 {
            let give_up = self.give_up;
            self.session.score(&prompt[..n_rows], n_rows, &mut |row| {
                if is_interrupted(give_up, job) {
                    return Err(Error::Interrupted);
                }
                scores.push(logprobs::score(row, prompt[scores.len() + 1], n_top as usize));
                Ok(())
            })?;
        }
        Ok(scores)
    }

    fn check_interrupted(&self, job: &Job) -> Result<()> {
        if is_interrupted(self.give_up, job) { Err(Error::Interrupted) } else { Ok(()) }
    }

    fn show_fill(&self) {
        let n_slots = f64::from(self.session.memory().n_slots());
        self.metrics.cache_usage.set((self.session.position().0 as f64 / n_slots).min(1.0));
    }
}

/// What the client is told: biases can take every token away, else it is the model that left nothing to choose from.
fn blame(error: &Error, job: &Job) -> ApiError {
    match error {
        Error::Logits { .. } if !job.work.sampling.logit_bias.is_empty() => {
            ApiError::field("logit_bias", "expected a token that can still be chosen, found none")
        }
        _ => ApiError::of(error, job.prompt_field),
    }
}

fn is_interrupted(give_up: &AtomicBool, job: &Job) -> bool {
    give_up.load(Ordering::Relaxed) || job.is_abandoned()
}
