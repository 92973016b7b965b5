//! Runs a grid: CTAs over threads.

mod barrier;
pub mod cta;
pub mod grid;
mod pool;
pub mod random;
mod turns;

pub use grid::launch;

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
    /// The address of a cooperative launch's workspace; 0 for other launches.
    pub grid_workspace: u64,
    /// Count memory accesses too.
    pub counts: bool,
    /// Look for races, uninitialised reads and the like: the launch runs on one thread. Needs `counts`.
    pub checks: bool,
    /// Draws the order of CTAs and warps, of which every one is allowed: the launch runs on one thread.
    pub seed: Option<u64>,
    /// Warp instructions that a launch may run.
    pub step_limit: u64,
}
