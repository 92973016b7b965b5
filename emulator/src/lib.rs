//! A CUDA driver that runs on the CPU: it executes the PTX that `nvcc` emits, warp by warp, checks every access for
//! bounds and alignment and every barrier for divergence, and counts exactly. Built as `cdylib` it is a drop-in
//! `libcuda.so`.
//!
//! Modules in reading order; imports go down only.

pub mod driver;
pub mod sched;
pub mod exec;
pub mod lower;
pub mod isa;
pub mod perf;
pub mod check;
pub mod mem;
pub mod ptx;
pub mod settings;

/// A hash of the emulator's sources. `cuda_emulator_build_id` of a library built from the same sources returns the same.
pub const BUILD_ID: &str = env!("CUDA_EMULATOR_BUILD_ID");
