//! What each kernel moves, counted by the emulator on shapes of Mistral 7B: as many sectors of global memory as its bytes
//! need, no bank conflicts, and from DRAM what its launcher says.
//!
//! A GPU counts nothing, so there every test passes.

#[allow(dead_code)] // Random cases and the oracle are for tests of results.
mod common;

#[path = "counters/limits.rs"]
mod limits;
#[path = "counters/kernels.rs"]
mod kernels;
#[path = "counters/decode_attention.rs"]
mod decode_attention;
#[path = "counters/prefill_attention.rs"]
mod prefill_attention;
#[path = "counters/sample.rs"]
mod sample;
#[path = "counters/chunk.rs"]
mod chunk;
#[path = "counters/step.rs"]
mod step;
#[path = "counters/layers.rs"]
mod layers;
