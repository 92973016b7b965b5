//! Executes a program, a warp at a time.
//!
//! Every register is a plane of 32 lanes, so an instruction is one loop over a plane that the compiler turns into vector
//! instructions. [`run`] is the loop; the work of each instruction is built three times (baseline, AVX2, AVX-512) in
//! [`engine`], and one of them is chosen once.

pub mod run;
pub mod observe;
pub mod engine;
pub mod cpu;
pub mod control;
mod rendezvous;
pub mod warp_ops;
pub mod mma;
pub mod matrix;
pub mod async_copy;
pub mod atomic;
pub mod global;
pub mod shared;
pub mod conflict;
pub mod local;
pub mod generic;
pub mod warp;
pub mod lane;
pub mod vectors;
mod strong;
pub mod deal;
pub mod trouble;
pub mod bits;
pub mod half;
pub mod fp;
pub mod exact;
pub mod modified;
pub mod approx;
pub mod printf;
pub mod system_call;
