//! The launchers: shape asserts, grid and cost of each kernel, one file an operation.
//!
//! Each has `launch`, on the grid that is fast, and `launch_grid`, on any row of blocks (or plane, if its own grid is
//! one): the result is the same, bit for bit.
//! `bytes` and `flops` are what the launch needs at the least: every input read once, every output written once,
//! and the arithmetic of the formula, so that time can be judged against the card's limits.

mod copy;
mod read;
mod tile;
mod noise;
mod product;
mod embed;
mod qkv;
mod decode_attention;
mod commit;
mod prefill_attention;
mod ring_write;
mod residual;
mod gate_up;
mod lm_head;
mod advance;
mod sample;
mod norm;
mod chunk;
mod prefill_qkv;
mod prefill_residual;
mod prefill_gate_up;

pub use advance::Advance;
pub use chunk::{part_tickets_shape, segment_sums_shape};
pub use commit::Commit;
pub use copy::Copy;
pub use decode_attention::{DecodeAttention, N_PARTS, N_RANGES, NO_WINDOW, max_step_tokens};
pub use embed::Embed;
pub use gate_up::GateUp;
pub use lm_head::{LmHead, best_token};
pub use noise::Noise;
pub use norm::Norm;
pub use prefill_attention::{PrefillAttention, attention_states_shape, attention_tickets_shape};
pub use prefill_gate_up::PrefillGateUp;
pub use prefill_qkv::PrefillQkv;
pub use prefill_residual::PrefillResidual;
pub use product::{MAX_TOKENS, norm_shared_bytes, squares_shape};
pub use qkv::Qkv;
pub use read::Read;
pub use residual::Residual;
pub use ring_write::RingWrite;
pub use sample::{NO_TOKEN, SAMPLE_MAX_VOCAB, SAMPLE_PARAMS, SAMPLE_RECORD, Sample};
pub use tile::{Tile, n_tiled, tiles_shape};

/// The bytes of a tensor.
fn bytes_of<T>(shape: &[u32]) -> u64 {
    count(shape) * size_of::<T>() as u64
}

/// The elements of a tensor.
fn count(shape: &[u32]) -> u64 {
    shape.iter().map(|&it| u64::from(it)).product()
}

/// Kernels move eight 16-bit elements at a time.
#[track_caller]
fn assert_eights(what: &str, n: u32) {
    assert!(n > 0 && n.is_multiple_of(8), "{what} must be a multiple of 8, it is {n}");
}
