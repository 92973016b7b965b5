//! The launchers: shape asserts, grid and cost of each kernel, one file an operation.
//!
//! Each has `launch`, on the grid that is fast, and `launch_grid`, on any row of blocks (or plane, if its own grid is
//! one): the result is the same, bit for bit.
//! `bytes` and `flops` are what the launch needs at the least: every input read once, every output written once,
//! and the arithmetic of the formula, so that time can be judged against the card's limits.

mod copy;
mod embed;
mod rms_norm;
mod matvec;
mod matmul;
mod rope;
mod attention;
mod ring_write;
mod swiglu;
mod argmax;
mod advance;
mod sample;

pub use advance::Advance;
pub use argmax::{Argmax, NO_TOKEN};
pub use attention::{Attention, NO_WINDOW};
pub use copy::Copy;
pub use embed::Embed;
pub use matmul::Matmul;
pub use matvec::Matvec;
pub use ring_write::RingWrite;
pub use rms_norm::RmsNorm;
pub use rope::Rope;
pub use sample::{SAMPLE_MAX_VOCAB, SAMPLE_PARAMS, SAMPLE_RECORD, Sample};
pub use swiglu::Swiglu;

/// The bytes of a tensor.
fn bytes_of<T>(shape: &[u32]) -> u64 {
    count(shape) * size_of::<T>() as u64
}

/// The elements of a tensor.
fn count(shape: &[u32]) -> u64 {
    shape.iter().map(|&it| u64::from(it)).product()
}

/// The rows of a weight that a warp of matvec and matmul takes at once, see kernels/tile.cuh.
fn rows_per_warp(n_in: u32) -> u32 {
    let n_pieces = n_in / 8;
    let lanes_per_row = (n_pieces & n_pieces.wrapping_neg()).clamp(8, 32);
    8 * 32 / lanes_per_row
}

/// Kernels move eight 16-bit elements at a time.
#[track_caller]
fn assert_eights(what: &str, n: u32) {
    assert!(n > 0 && n.is_multiple_of(8), "{what} must be a multiple of 8, it is {n}");
}
