//! One sequence on a model: prompts go in by chunks, tokens one by one.

mod costs;
mod history;
mod load;
mod options;
mod prompt;
mod tries;

pub use options::Options;

use crate::{
    config::{Config, WeightType},
    device::{Device, Graph, Launched},
    error::{Error, Result},
    loader::LoadTimes,
    model::{Forward, Keep},
    plan::{Plan, Sizes},
    ring::{Position, Ring},
    sampler::{Limits, Record, Sampling, prompt_counts},
};
use history::History;
use std::{
    thread,
    time::{Duration, Instant},
};

/// No position is the last.
const ENDLESS: Position = Position(u64::MAX);
/// Between two looks for a token: a sixteenth of the time waited so far, within these limits. The device has the next step
/// to do meanwhile, so a late look costs it nothing; a look costs the host, which is the device where there is no GPU.
const POLL_INTERVALS: [Duration; 2] = [Duration::from_micros(20), Duration::from_millis(2)];

/// A model with one sequence.
///
/// Tokens are chosen on the device, which goes on with them at once: [`Session::next_token`] gives a token when the step that
/// takes it is already under way.
pub struct Session {
    device: Device,
    config: Config,
    plan: Plan,
    ring: Ring,
    sizes: Sizes,
    model: Box<dyn Forward>,
    /// Of the next token that the model takes.
    position: Position,
    /// The ids before it.
    history: History,
    /// Whether the device has chosen that token, or will have when it is done.
    has_choice: bool,
    /// Of the next token that the host reads: `position`, or one after it if that one is read and not taken.
    unread: Position,
    /// There is no token at this position, whatever the device chooses.
    end: Position,
    /// The decode step, unless it is to run launch by launch.
    step: Option<Graph>,
    /// Row of the logits buffer that belongs to the last token.
    last_row: usize,
    /// The tokens of the last step, if it is not known yet whether they stay.
    staged: Vec<u32>,
    load_times: LoadTimes,
}

impl Session {
    /// The device memory that a session takes, before anything is loaded.
    ///
    /// # Errors
    /// Options that the model cannot follow.
    pub fn plan(config: &Config, weight_type: WeightType, options: &Options) -> Result<Plan> {
        let (_, sizes) = options.sizes(config)?;
        Ok(Plan::new(config, weight_type, sizes))
    }

    /// Whether a session would take these ids as its first, before anything is loaded.
    ///
    /// # Errors
    /// As [`Session::prefill`], and options that the model cannot follow.
    pub fn check_prompt(config: &Config, options: &Options, ids: &[u32]) -> Result<()> {
        let (ring, _) = options.sizes(config)?;
        check(config, ring, Position(0), ids)
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    /// What was allocated.
    pub fn memory(&self) -> &Plan {
        &self.plan
    }

    /// What loading took, step by step.
    pub fn load_times(&self) -> &LoadTimes {
        &self.load_times
    }

    /// Of the next token.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Tokens of a prompt that go through the model at once.
    pub fn chunk(&self) -> u32 {
        self.sizes.max_chunk
    }

    /// Begins a new sequence. What is left in the cache is never read: its positions lie before the first.
    ///
    /// # Errors
    /// The driver's.
    pub fn reset(&mut self) -> Result<()> {
        self.position = Position(0);
        self.history.truncate(0);
        self.settle()
    }

    /// Says how tokens are chosen from here on; greedily and without end, unless this was called. The penalties count the
    /// tokens of `prompt`.
    ///
    /// # Errors
    /// Options out of their range, and the driver's.
    pub fn begin(&mut self, sampling: &Sampling, limits: &Limits, prompt: &[u32]) -> Result<()> {
        let vocab_size = self.config.vocab_size;
        let params = sampling.params(limits)?;
        let bias = sampling.bias_row(vocab_size)?;
        self.model.set_choice(&params, bias.as_deref(), &prompt_counts(prompt, vocab_size))?;
        self.end = limits.end;
        Ok(())
    }

    /// Has the device do nothing but what it was asked for, and stand where the host does.
    fn settle(&mut self) -> Result<()> {
        self.model.set_position(self.position.0)?;
        self.model.forget_best()?;
        self.has_choice = false;
        self.staged.clear();
        Ok(())
    }

    /// Takes one token; then [`Session::logits`] are its.
    ///
    /// # Errors
    /// An id outside the vocabulary, or a context that is full.
    pub fn decode(&mut self, id: u32) -> Result<()> {
        self.check(&[id])?;
        if !self.has_choice {
            self.settle()?;
        }
        self.model.set_tokens(&[id])?;
        self.launch_step()?;
        self.history.push(id);
        self.unread = self.position;
        Ok(())
    }

    /// The token that the device has chosen after the last one. The step that takes it is under way when this returns,
    /// unless [`Session::begin`] was told that it ends there.
    ///
    /// # Errors
    /// A context that is full, and the driver's, from any work since the last wait.
    pub fn next_token(&mut self) -> Result<Record> {
        assert!(self.has_choice, "a token is chosen after those of a prompt, or after decoding one");
        let position = self.unread;
        if position > self.position {
            let max = self.ring.max_positions().expect("more tokens were asked for than `begin` was told");
            return Err(Error::Context { max, needed: max + 1 });
        }
        self.unread.0 += 1;
        let is_taken = self.unread < self.end && self.ring.max_positions().is_none_or(|max| position.0 < max);
        if is_taken {
            self.launch_step()?;
        }
        let record = self.wait_for(position)?;
        match record.token {
            Some(id) if is_taken => self.history.push(id),
            None => self.history.forget(),
            Some(_) => {}
        }
        Ok(record)
    }

    /// Takes the token that is chosen, and chooses another.
    fn launch_step(&mut self) -> Result<()> {
        match &self.step {
            Some(step) => step.launch()?,
            None => decode_step(&mut *self.model)?,
        }
        self.position.0 += 1;
        self.has_choice = true;
        self.last_row = 0;
        self.staged.clear();
        Ok(())
    }

    /// Takes the token that is chosen, launch by launch, and says what each took.
    ///
    /// # Errors
    /// As [`Session::choice`], and a context that is full.
    pub fn trace_step(&mut self) -> Result<Vec<Launched>> {
        let (id, position) = (self.choice()?, self.position.0);
        if let Some(max) = self.ring.max_positions().filter(|max| position >= *max) {
            return Err(Error::Context { max, needed: position + 1 });
        }
        let model = &mut *self.model;
        let launches = self.device.trace(position, || decode_step(model))?;
        self.history.push(id);
        self.position.0 += 1;
        self.unread = self.position;
        Ok(launches)
    }

    /// The record of a position's token, which is on its way.
    fn wait_for(&self, position: Position) -> Result<Record> {
        let started = Instant::now();
        loop {
            let is_done = self.device.is_done()?; // asked first: what is done has left its record
            if let Some(record) = self.model.record(position) {
                return Ok(record);
            }
            assert!(!is_done, "the device is done, and has left no record of position {}", position.0);
            let [least, most] = POLL_INTERVALS;
            thread::sleep((started.elapsed() / 16).clamp(least, most));
        }
    }

    /// The logits of the last token: [vocab_size].
    ///
    /// # Errors
    /// The driver's, from any work since the last wait.
    pub fn logits(&self) -> Result<Vec<f32>> {
        self.row_logits(self.last_row)
    }

    fn row_logits(&self, row: usize) -> Result<Vec<f32>> {
        let vocab_size = self.config.vocab_size as usize;
        let mut logits = vec![0.0; vocab_size];
        self.model.logits().read_into(row * vocab_size, &mut logits)?;
        Ok(logits)
    }

    /// The token that the device has chosen after the last of [`Session::prefill`] or [`Session::decode`]: the most likely
    /// one, unless [`Session::begin`] asked for another choice.
    ///
    /// # Errors
    /// Logits that are all NaN or -inf, and the driver's errors from any work since the last wait.
    pub fn choice(&self) -> Result<u32> {
        assert!(self.has_choice, "a token is chosen after those of a prompt, or after decoding one");
        self.wait_for(self.position)?.token.ok_or_else(|| self.no_choice())
    }

    /// The error of a record without a token.
    pub fn no_choice(&self) -> Error {
        Error::Logits { position: self.position.0, n_logits: self.config.vocab_size as usize }
    }

    /// Ids that can be run from here.
    fn check(&self, ids: &[u32]) -> Result<()> {
        self.check_from(self.position, ids)
    }

    fn check_from(&self, position: Position, ids: &[u32]) -> Result<()> {
        check(&self.config, self.ring, position, ids)
    }
}

/// Ids that a model can run from `position` on.
fn check(config: &Config, ring: Ring, position: Position, ids: &[u32]) -> Result<()> {
    let vocab_size = config.vocab_size;
    if ids.is_empty() {
        return Err(Error::Prompt { expected: "at least one token".into(), found: "none".into() });
    }
    if let Some((at, id)) = ids.iter().enumerate().find(|(_, id)| **id >= vocab_size) {
        let expected = format!("ids below {vocab_size}, the size of the vocabulary");
        return Err(Error::Prompt { expected, found: format!("id {id} at index {at}") });
    }
    let end = position.0 + ids.len() as u64;
    match ring.max_positions() {
        Some(max) if end > max => Err(Error::Context { max, needed: end }),
        _ => Ok(()),
    }
}

/// What decoding one token takes: the same launches for every token, so one graph serves all.
fn decode_step(model: &mut dyn Forward) -> Result<()> {
    model.step(0..1, Keep::Ring)?;
    model.head(0..1)?;
    Ok(model.sample()?)
}
