//! Short prompts through a layer of Mistral 7B, with a model of an H100's L2: what moves to and from DRAM is the weights,
//! once. What kernels tell each other stays in L2, since weights leave it first.
//!
//! Planted once, and seen to fail here: weights that L2 keeps like all else.

use crate::common::open;
use crate::limits::COUNTING;
use crate::step::{mistral, model};
use gale::{
    config::{Config, WeightType},
    device::Device,
    model::Forward,
    plan::{Plan, Sizes},
};
use std::sync::PoisonError;

const KERNELS: [&str; 7] = [
    "embed_bf16",
    "norm_bf16",
    "prefill_qkv_bf16",
    "prefill_attention_bf16",
    "ring_write",
    "prefill_residual_bf16",
    "prefill_gate_up_bf16",
];

/// An L2 that outlives launches: until the test ends, however it ends, since it is the process's.
struct Kept<'a>(&'a Device);

impl Kept<'_> {
    fn new(device: &Device) -> Kept<'_> {
        device.keep_l2(true).unwrap();
        Kept(device)
    }
}

impl Drop for Kept<'_> {
    fn drop(&mut self) {
        self.0.keep_l2(false).unwrap();
    }
}

/// At most 1.02 times the weights of the layers.
#[test]
fn short_prompts_read_weights_once() {
    let _counting = COUNTING.lock().unwrap_or_else(PoisonError::into_inner);
    let device = open();
    if !device.is_emulator() {
        return;
    }
    let config = Config { vocab_size: 32, ..mistral() };
    let plan = Plan::new(&config, WeightType::Bf16, Sizes { n_slots: 4096, max_chunk: 128 });
    let mut model = model(&device, &config, &plan);
    let weights: u64 = plan.weights().filter(|it| it.name.starts_with("layers.")).map(|it| it.bytes()).sum();
    let _kept = Kept::new(&device);
    for n_tokens in [16, 64, 128] {
        model.set_tokens(&vec![1; n_tokens as usize]).unwrap();
        // The first time, L2 has what another prompt left.
        for is_counted in [false, true] {
            model.set_position(0).unwrap();
            device.reset_counters().unwrap();
            model.prefill(n_tokens).unwrap();
            if !is_counted {
                continue;
            }
            let counts = KERNELS.map(|it| device.counters(it).unwrap().unwrap_or_else(|| panic!("no {it}")).counts);
            let moved: u64 = counts.iter().map(|it| it.dram_read_bytes + it.dram_write_bytes).sum();
            let ratio = moved as f64 / weights as f64;
            println!("{n_tokens} tokens: {moved} bytes of DRAM for {weights} of weights, {ratio:.4}");
            assert!(ratio <= 1.02, "{n_tokens} tokens: {moved} bytes of DRAM for {weights} of weights");
        }
    }
}
