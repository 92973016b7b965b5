//! One sequence on a model: prompts go in by chunks, tokens one by one.

use crate::{
    config::{Config, WeightType},
    device::{Buffer, Device, DeviceError, Graph},
    error::{Error, Result},
    kernel::Half,
    kernels::NO_TOKEN,
    loader::{LoadTimes, Moved},
    model::{Forward, Model},
    plan::{Group, Plan, Sizes},
    ring::{Position, Ring},
    weights::{TensorView, Weights},
};
use half::{bf16, f16};
use std::{collections::BTreeMap, ops::ControlFlow, time::Instant};

/// Tokens of a prompt that go through the model at once, unless the window or the context is smaller. More would gain
/// nothing, since the product takes eight at a time; fewer show progress sooner, and any number gives the same bits.
const DEFAULT_CHUNK: u32 = 64;
/// What the attention kernel counts in 32 bits, see its launcher: slots, and elements of a layer's keys.
const MAX_SLOTS: u32 = (1 << 30) - 1;
const MAX_RING_ELEMENTS: u64 = 1 << 32;
/// Rows whose logits are made at once when a prompt is scored.
const LOGIT_ROWS: u32 = 16;
/// Weights go to the device in pieces of this many rows' bytes, so that progress shows.
const UPLOAD_BYTES: usize = 32 << 20;

/// What the user can choose.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Tokens of a prompt that go through the model at once; at most the window.
    pub chunk: Option<u32>,
    /// Slots of the cache of a model without a window; the longest the model was trained for, unless given.
    pub context: Option<u32>,
    /// Replay the decode step as one CUDA graph.
    pub graph: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options { chunk: None, context: None, graph: true }
    }
}

impl Options {
    /// The cache and the scratch that these options ask for.
    fn sizes(&self, config: &Config) -> Result<(Ring, Sizes)> {
        if let (Some(window), Some(context)) = (config.window, self.context) {
            return Err(Error::Option {
                option: "--ctx",
                expected: format!("no value, as the model has a sliding window of {window} and no end"),
                found: context.to_string(),
            });
        }
        let context = self.context.unwrap_or(config.max_position);
        let max_slots = MAX_SLOTS.min((MAX_RING_ELEMENTS / u64::from(config.kv_dim())) as u32);
        if config.window.unwrap_or(context) > max_slots {
            return Err(Error::Option {
                option: "--ctx",
                expected: format!("at most {max_slots}, which is what the attention kernel can count"),
                found: config.window.unwrap_or(context).to_string(),
            });
        }
        let ring = Ring::new(config.window, context);
        let n_slots = ring.n_slots();
        let max_chunk = self.chunk.unwrap_or(DEFAULT_CHUNK.min(n_slots));
        if max_chunk == 0 || max_chunk > n_slots {
            return Err(Error::Option {
                option: "--chunk",
                expected: format!("1 to {n_slots}, the slots of the cache"),
                found: max_chunk.to_string(),
            });
        }
        Ok((ring, Sizes { n_slots, max_chunk, n_logit_rows: LOGIT_ROWS.min(max_chunk) }))
    }
}

/// A model with one sequence.
pub struct Session {
    device: Device,
    config: Config,
    plan: Plan,
    ring: Ring,
    sizes: Sizes,
    model: Box<dyn Forward>,
    /// Of the next token.
    position: Position,
    use_graph: bool,
    /// The decode step, once it was captured.
    step: Option<Graph>,
    /// Row of the logits buffer that belongs to the last token.
    last_row: usize,
    has_warmed_up: bool,
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
        let started = Instant::now();
        let (ring, sizes) = options.sizes(&config)?;
        let plan = Plan::new(&config, weights.weight_type(), sizes);
        // Better now than after the upload of the weights.
        let (free, total) = device.memory_info()?;
        let requested = plan.total_bytes() as usize;
        if requested > free {
            return Err(DeviceError::OutOfMemory { requested, free, total }.into());
        }
        let allocated_before = device.allocated_bytes();
        let model: Box<dyn Forward> = match weights.weight_type() {
            WeightType::Bf16 => Box::new(load::<bf16>(device, &config, &plan, weights, progress)?),
            WeightType::F16 => Box::new(load::<f16>(device, &config, &plan, weights, progress)?),
        };
        weights.check_unchanged()?;
        let allocated = (device.allocated_bytes() - allocated_before) as u64;
        assert_eq!(allocated, plan.total_bytes(), "the plan is what is allocated");
        let upload = Moved { bytes: plan.group_bytes(Group::Weights), busy: started.elapsed() };
        let jit = device.load_kernels()?;
        let load = started.elapsed();
        let load_times = LoadTimes { open: device.opened_in(), upload, jit, load, ..LoadTimes::default() };
        Ok(Session {
            device: device.clone(),
            config,
            plan,
            ring,
            sizes,
            model,
            position: Position(0),
            use_graph: options.graph,
            step: None,
            last_row: 0,
            has_warmed_up: false,
            load_times,
        })
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
        Ok(self.model.set_position(0)?)
    }

    /// Takes a prompt, or more of the sequence, in chunks; then [`Session::logits`] are those of its last token.
    /// `progress` hears of the tokens done and may stop between chunks.
    ///
    /// # Errors
    /// No ids, an id outside the vocabulary, more than a model without a window has slots for; nothing was run then.
    pub fn prefill(&mut self, ids: &[u32], progress: &mut dyn FnMut(usize) -> ControlFlow<()>) -> Result<()> {
        self.check(ids)?;
        let mut n_done = 0;
        for chunk in ids.chunks(self.sizes.max_chunk as usize) {
            self.run_chunk(chunk)?;
            n_done += chunk.len();
            if n_done == ids.len() {
                let last = chunk.len() as u32 - 1;
                self.model.head(last..last + 1)?;
                self.last_row = 0;
            }
            // Launches return at once: wait, so that progress means done.
            self.device.synchronize()?;
            if progress(n_done).is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Takes one token; then [`Session::logits`] are its.
    ///
    /// # Errors
    /// An id outside the vocabulary, or a context that is full.
    pub fn decode(&mut self, id: u32) -> Result<()> {
        self.check(&[id])?;
        self.model.set_tokens(&[id])?;
        match &self.step {
            Some(step) => step.launch()?,
            // The first step runs launch by launch: lazy work of the driver must not fall into a capture.
            None if self.use_graph && self.has_warmed_up => {
                let (device, model) = (&self.device, &mut self.model);
                let step = device.capture(|| step(&mut **model))?;
                step.launch()?;
                self.step = Some(step);
            }
            None => {
                step(&mut *self.model)?;
                self.has_warmed_up = true;
            }
        }
        self.position.0 += 1;
        self.last_row = 0;
        Ok(())
    }

    /// The logits of the last token: [vocab_size].
    ///
    /// # Errors
    /// The driver's, from any work since the last wait.
    pub fn logits(&self) -> Result<Vec<f32>> {
        let vocab_size = self.config.vocab_size as usize;
        let mut row = vec![0.0; vocab_size];
        self.model.logits().read_into(self.last_row * vocab_size, &mut row)?;
        Ok(row)
    }

    /// The most likely token after the last, found on the device; the lowest id among equals.
    ///
    /// # Errors
    /// Logits that are all NaN, and the driver's errors from any work since the last wait.
    pub fn greedy(&self) -> Result<u32> {
        let mut best = [0];
        self.model.argmax().read_into(self.last_row, &mut best)?;
        match best {
            [NO_TOKEN] => Err(Error::Logits {
                position: self.position.0.saturating_sub(1),
                n_logits: self.config.vocab_size as usize,
            }),
            [token] => Ok(token),
        }
    }

    /// Takes a sequence from its beginning and gives `row` the logits of each of its last `n_last` positions, in order.
    ///
    /// # Errors
    /// As [`Session::prefill`], and those of `row`.
    pub fn score(&mut self, ids: &[u32], n_last: usize, row: &mut dyn FnMut(&[f32]) -> Result<()>) -> Result<()> {
        self.reset()?;
        self.check(ids)?;
        let vocab_size = self.config.vocab_size as usize;
        let first_wanted = ids.len().saturating_sub(n_last);
        let mut n_done = 0;
        for chunk in ids.chunks(self.sizes.max_chunk as usize) {
            self.run_chunk(chunk)?;
            let mut next = first_wanted.saturating_sub(n_done).min(chunk.len());
            while next < chunk.len() {
                let end = chunk.len().min(next + self.sizes.n_logit_rows as usize);
                self.model.head(next as u32..end as u32)?;
                let mut rows = vec![0.0; (end - next) * vocab_size];
                self.model.logits().read_into(0, &mut rows)?;
                rows.chunks(vocab_size).try_for_each(&mut *row)?;
                self.last_row = end - next - 1;
                next = end;
            }
            n_done += chunk.len();
        }
        Ok(())
    }

    fn run_chunk(&mut self, ids: &[u32]) -> Result<()> {
        self.model.set_tokens(ids)?;
        self.model.chunk(ids.len() as u32)?;
        self.position.0 += ids.len() as u64;
        Ok(())
    }

    /// Ids that can be run from here.
    fn check(&self, ids: &[u32]) -> Result<()> {
        check(&self.config, self.ring, self.position, ids)
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
fn step(model: &mut dyn Forward) -> Result<(), DeviceError> {
    model.chunk(1)?;
    model.head(0..1)
}

/// Allocates a model and uploads its weights.
fn load<W: Half>(
    device: &Device,
    config: &Config,
    plan: &Plan,
    weights: &Weights,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Model<W>> {
    let total = plan.group_bytes(Group::Weights);
    let mut n_done = 0;
    // A buffer holds the rows of one tensor or of several.
    let mut parts: BTreeMap<&str, Vec<(usize, TensorView)>> = BTreeMap::new();
    for (spec, tensor) in weights.tensors() {
        parts.entry(&spec.buffer).or_default().push((spec.first_row, tensor));
    }
    Model::new(device, config.clone(), plan, |name, buffer| {
        for (first_row, tensor) in parts.get(name).into_iter().flatten() {
            upload(buffer, *first_row, tensor, weights.weight_type(), &mut |bytes| {
                n_done += bytes;
                progress(n_done, total);
            })?;
        }
        Ok(())
    })
}

/// Copies a tensor to `first_row` of its buffer, some rows at a time.
fn upload<W: Half>(
    buffer: &mut Buffer<W>,
    first_row: usize,
    tensor: &TensorView,
    weight_type: WeightType,
    done: &mut dyn FnMut(u64),
) -> Result<()> {
    let n_rows = tensor.shape[0];
    let row_len: usize = tensor.shape[1..].iter().product();
    let step = (UPLOAD_BYTES / (row_len * size_of::<W>())).clamp(1, n_rows);
    for start in (0..n_rows).step_by(step) {
        let bytes = tensor.rows(start..n_rows.min(start + step)).to(weight_type)?;
        let offset = (first_row + start) * row_len;
        // Files may begin a tensor at an odd address.
        match bytemuck::try_cast_slice::<u8, W>(&bytes) {
            Ok(elements) => buffer.copy_from_at(offset, elements)?,
            Err(_) => buffer.copy_from_at(offset, &bytemuck::pod_collect_to_vec::<u8, W>(&bytes))?,
        }
        done(bytes.len() as u64);
    }
    Ok(())
}
