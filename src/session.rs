//! One sequence on a model: prompts go in by chunks, tokens one by one.

mod costs;
mod history;
mod options;
mod prompt;
mod tries;

pub use options::Options;

use crate::{
    config::{Config, WeightType},
    device::{Device, DeviceError, Graph, Launched},
    error::{Error, Result},
    kernel::Half,
    kernels::MAX_TOKENS,
    loader::{LoadTimes, Loaded, Loader, noise_weights},
    model::{Forward, Keep, Model},
    plan::{Plan, Sizes},
    ring::{Position, Ring},
    sampler::{Limits, Record, Sampling, prompt_counts},
    weights::Weights,
};
use half::{bf16, f16};
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

    /// Allocates everything and uploads the weights; `progress` hears of the bytes done and of all bytes.
    ///
    /// # Errors
    /// Options that the model cannot follow, too little device memory, weight files that change while they are read.
    pub fn load(
        device: &Device,
        config: Config,
        weights: &Weights,
        options: Options,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Session> {
        let weight_type = weights.weight_type();
        Session::build(device, config, weight_type, options, |config, plan| match weight_type {
            WeightType::Bf16 => load::<bf16>(device, config, plan, weights, progress),
            WeightType::F16 => load::<f16>(device, config, plan, weights, progress),
        })
    }

    /// The same with weights that nobody trained, in bf16: a shape to be measured, see [`crate::noise`].
    ///
    /// # Errors
    /// Options that the model cannot follow, too little device memory.
    pub fn load_noise(device: &Device, config: Config, options: Options) -> Result<Session> {
        Session::build(device, config, WeightType::Bf16, options, |config, plan| {
            let Loaded { buffers, times } = noise_weights(device, config, plan)?;
            Ok((Box::new(Model::new(device, config.clone(), plan, buffers)?), times))
        })
    }

    /// Allocates everything; `load` makes the model, with its weights.
    fn build(
        device: &Device,
        config: Config,
        weight_type: WeightType,
        options: Options,
        load: impl FnOnce(&Config, &Plan) -> Result<(Box<dyn Forward>, LoadTimes)>,
    ) -> Result<Session> {
        let (ring, sizes) = options.sizes(&config)?;
        let plan = Plan::new(&config, weight_type, sizes);
        // Better now than after the upload of the weights.
        let (free, total) = device.memory_info()?;
        let requested = plan.total_bytes() as usize;
        if requested > free {
            return Err(DeviceError::OutOfMemory { requested, free, total }.into());
        }
        let allocated_before = device.allocated_bytes();
        let (model, load_times) = load(&config, &plan)?;
        let allocated = (device.allocated_bytes() - allocated_before) as u64;
        assert_eq!(allocated, plan.total_bytes(), "the plan is what is allocated");
        let mut session = Session {
            device: device.clone(),
            config,
            plan,
            ring,
            sizes,
            model,
            position: Position(0),
            history: History::new(ring.n_slots()),
            has_choice: false,
            unread: Position(0),
            end: ENDLESS,
            step: None,
            last_row: 0,
            staged: Vec::with_capacity(MAX_TOKENS as usize),
            load_times,
        };
        session.warm_up(options.graph)?;
        Ok(session)
    }

    /// Runs a chunk, and runs and captures the decode step, so that the first token finds nothing left to be done once. What
    /// they leave in the ring lies at the position where the sequence begins.
    fn warm_up(&mut self, use_graph: bool) -> Result<()> {
        let started = Instant::now();
        self.begin(&Sampling::default(), &Limits::endless(), &[])?;
        // A chunk that is no step, if there is room for one.
        let n_tokens = self.sizes.max_chunk.min(MAX_TOKENS + 1);
        self.model.set_tokens(&vec![0; n_tokens as usize])?;
        self.model.prefill(n_tokens)?;
        decode_step(&mut *self.model)?;
        if use_graph {
            let model = &mut *self.model;
            let step = self.device.capture(|| decode_step(model))?;
            let n_nodes = 5 * self.config.n_layers as usize + 3; // embed, lm_head and sample
            assert_eq!(step.n_nodes()?, n_nodes, "five kernels a layer, and three");
            self.step = Some(step);
        }
        self.model.set_position(0)?;
        self.load_times.warm_up_and_capture = started.elapsed();
        Ok(())
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

/// What a chunk of a prompt takes. After the last one, a token is chosen; its position is left to that.
fn launch_chunk(model: &mut dyn Forward, n_tokens: u32, is_last: bool) -> Result<()> {
    model.prefill(n_tokens)?;
    match n_tokens - u32::from(is_last) {
        0 => {}
        n_positions => model.advance(n_positions)?,
    }
    if is_last {
        model.head(n_tokens - 1..n_tokens)?;
        model.sample()?;
    }
    Ok(())
}

/// Allocates a model and loads its weights.
fn load<W: Half>(
    device: &Device,
    config: &Config,
    plan: &Plan,
    weights: &Weights,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<(Box<dyn Forward>, LoadTimes)> {
    let Loaded { buffers, times } = Loader::default().load::<W>(device, weights, plan, progress)?;
    Ok((Box::new(Model::new(device, config.clone(), plan, buffers)?), times))
}
