//! A whole step of decoding, on one layer of Mistral 7B and its head: nothing but weights and visible keys on the wire.

use crate::common::open;
use crate::limits::COUNTING;
use gale::{
    config::{Config, WeightType, shapes::shape},
    device::Device,
    kernels::tiles_shape,
    model::{Forward, Keep, Model},
    plan::{Group, Plan, Sizes},
    sampler::{Limits, Sampling},
};
use half::bf16;
use std::{collections::BTreeMap, sync::PoisonError};

const KERNELS: [&str; 7] =
    ["embed_bf16", "qkv_bf16", "decode_attention_bf16", "residual_bf16", "gate_up_bf16", "lm_head_bf16", "sample"];
const N_SLOTS: u32 = 4096;

pub fn mistral() -> Config {
    Config { n_layers: 1, tie_embeddings: true, ..shape("mistral-7b").unwrap() }
}

/// The model with weights of zeros: what is in them makes no difference here.
pub fn model(device: &Device, config: &Config, plan: &Plan) -> Model<bf16> {
    let weights = plan.weights().map(|planned| {
        let shape = match planned.shape[..] {
            [n_out, n_in] => tiles_shape([n_out as u32, n_in as u32]).map(|it| it as usize).to_vec(),
            _ => planned.shape.clone(),
        };
        (planned.name.clone(), device.zeroed(&shape).unwrap())
    });
    let weights = weights.collect::<BTreeMap<_, _>>();
    let mut model = Model::new(device, config.clone(), plan, weights).unwrap();
    let params = Sampling::default().params(&Limits::endless()).unwrap();
    model.set_choice(&params, None, &vec![0; config.vocab_size as usize]).unwrap();
    model
}

/// At most 1.01 times weights, visible keys and values, and 1 MB.
#[test]
fn a_step_moves_weights_and_visible_keys() {
    let _counting = COUNTING.lock().unwrap_or_else(PoisonError::into_inner);
    let (device, config) = (open(), mistral());
    if !device.is_emulator() {
        return;
    }
    let plan = Plan::new(&config, WeightType::Bf16, Sizes { n_slots: N_SLOTS, max_chunk: 8 });
    let mut model = model(&device, &config, &plan);
    for position in [0, 1000, 4095, 100_000] {
        model.set_position(position).unwrap();
        device.synchronize().unwrap();
        device.reset_counters().unwrap();
        model.step(0..1, Keep::Ring).unwrap();
        model.head(0..1).unwrap();
        model.sample().unwrap();
        let counts = KERNELS.map(|it| device.counters(it).unwrap().unwrap_or_else(|| panic!("{it} was not launched")));
        let moved: u64 = counts.iter().map(|it| it.counts.dram_read_bytes + it.counts.dram_write_bytes).sum();
        let n_visible = (position + 1).min(N_SLOTS.into());
        let visible = n_visible * plan.group_bytes(Group::Cache) / u64::from(N_SLOTS);
        let needed = plan.group_bytes(Group::Weights) + visible + 1_000_000;
        println!("position {position}: {moved} bytes of DRAM for {needed}");
        assert!(moved as f64 <= 1.01 * needed as f64, "position {position}: {moved} bytes for {needed}");
    }
}
