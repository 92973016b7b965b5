//! Loading: all that is done once, so that the first token finds nothing of it left.

use super::{ENDLESS, History, Options, Session, decode_step};
use crate::{
    config::{Config, WeightType},
    device::{Device, DeviceError},
    error::Result,
    kernel::Half,
    kernels::MAX_TOKENS,
    loader::{LoadTimes, Loaded, Loader, noise_weights},
    model::{Forward, Model},
    plan::Plan,
    ring::Position,
    sampler::{Limits, Sampling},
    weights::Weights,
};
use half::{bf16, f16};
use std::time::Instant;

impl Session {
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

    /// Runs a chunk, and runs and captures the decode step, so that the first token finds nothing left to be done once.
    /// What they leave in the ring lies at the position where the sequence begins.
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
