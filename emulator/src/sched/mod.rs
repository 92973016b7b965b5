//! Runs a grid: CTAs over threads. Placeholder until the interpreter lands.

use crate::{check::fault::Fault, lower::Kernel, mem::region::Regions, perf::Counters};

/// The shape of a launch.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub grid: [u32; 3],
    pub block: [u32; 3],
    pub dynamic_shared_bytes: u32,
}

/// How to run: the part of the environment's settings that the scheduler needs.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Host threads that run CTAs.
    pub n_threads: usize,
    pub n_sms: u32,
    pub compute_capability: (u32, u32),
}

/// Runs the whole grid and returns when it is done. `params` is the parameter block, `kernel.param_bytes` long. The
/// launch was checked against the card's limits by the caller.
///
/// # Errors
/// The first fault; other CTAs are stopped.
pub fn launch(
    _kernel: &Kernel,
    _shape: Shape,
    _params: &[u8],
    _memory: &Regions,
    _options: Options,
) -> Result<Counters, Box<Fault>> {
    Ok(Counters::default())
}
