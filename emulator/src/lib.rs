//! A CUDA driver that runs on the CPU: it executes the PTX that `nvcc` emits, warp by warp, with the checks of
//! compute-sanitizer and exact counters. Built as `cdylib` it is a drop-in `libcuda.so`.
//!
//! Modules in reading order; imports go down only.

pub mod sched;
pub mod lower;
pub mod perf;
pub mod check;
pub mod mem;
pub mod ptx;

/// Stand-in until the emulator has its own.
pub const BUILD_ID: &str = "none";
