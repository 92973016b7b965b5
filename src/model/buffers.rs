//! What a model has on the device, allocated by the plan when it is loaded and never again.

use super::Model;
use crate::{
    config::Config,
    device::{Buffer, Device, Element, Result},
    kernel::Half,
    plan::{Plan, PlannedBuffer},
    rope,
    sampler::Records,
};
use half::bf16;
use std::collections::BTreeMap;

/// Tokens that the host may be late, and one more: while it reads a token, the next is on its way.
const N_RECORDS: u32 = 4;

/// A layer's weights, as tiles (kernels/tiles.cuh).
pub(super) struct Layer<W> {
    pub attention_norm: Buffer<W>, // [dim]
    pub qkv: Buffer<W>,            // [(n_heads + 2*n_kv_heads) * head_dim, dim], pairs of a head
    pub o: Buffer<W>,              // [dim, n_heads * head_dim]
    pub ffn_norm: Buffer<W>,       // [dim]
    pub gate_up: Buffer<W>,        // [2 * hidden_dim, dim], pairs of gate and up
    pub down: Buffer<W>,           // [dim, hidden_dim]
}

/// Keys and values: of the tokens in the window, and of a step's that may not stay.
pub(super) struct Cache {
    pub k_ring: Buffer<bf16>,   // [n_layers, n_slots, n_kv_heads, head_dim]
    pub v_ring: Buffer<bf16>,   // [n_layers, n_slots, n_kv_heads, head_dim]
    pub k_staged: Buffer<bf16>, // [n_layers, MAX_TOKENS, n_kv_heads, head_dim]
    pub v_staged: Buffer<bf16>, // [n_layers, MAX_TOKENS, n_kv_heads, head_dim]
}

/// What flows from kernel to kernel. `n_rows` is the greatest chunk, or MAX_TOKENS if that is more; a launch uses the first.
pub(super) struct Scratch<W> {
    pub tokens: Buffer<u32>,         // [n_rows]
    pub position: Buffer<u64>,       // [1], of the first token of the step or chunk
    pub rope_turns: Buffer<u64>,     // [head_dim/2]
    pub x: Buffer<f32>,              // [n_rows, dim]
    pub squares: Buffer<f32>,        // [n_rows, ceil(dim / 16)]
    pub h: Buffer<W>,                // [n_rows, dim], x after a norm; a step keeps it to itself
    pub q: Buffer<bf16>,             // [n_rows, n_heads, head_dim]
    pub k_chunk: Buffer<bf16>,       // [n_rows, n_kv_heads, head_dim], of a layer at a time
    pub v_chunk: Buffer<bf16>,       // [n_rows, n_kv_heads, head_dim]
    pub attended: Buffer<W>,         // [n_rows, n_heads, head_dim]
    pub partials: Buffer<f32>,       // [MAX_TOKENS, n_heads, N_RANGES, head_dim]
    pub softmaxes: Buffer<[f32; 2]>, // [N_RANGES, MAX_TOKENS, n_heads]
    pub tickets: Buffer<u32>,        // [n_heads + n_kv_heads], zeros at rest
    pub states: Buffer<f32>,         // attention_states_shape
    pub tile_tickets: Buffer<u32>,   // attention_tickets_shape, zeros at rest
    pub segment_sums: Buffer<f32>,   // segment_sums_shape(n_rows, dim)
    pub part_tickets: Buffer<u32>,   // part_tickets_shape(n_rows, dim), zeros at rest
    pub act: Buffer<W>,              // [n_rows, hidden_dim]
    pub logits: Buffer<f32>,         // [MAX_TOKENS, vocab_size]
    pub best: Buffer<u64>,           // [MAX_TOKENS]
}

/// How the next token is chosen, see [`crate::sampler`].
pub(super) struct Choice {
    pub params: Buffer<u32>, // [SAMPLE_PARAMS]
    pub bias: Buffer<f32>,   // [vocab_size]
    pub scores: Buffer<f32>, // [vocab_size], scratch
    pub counts: Buffer<u32>, // [vocab_size]
    pub stop: Buffer<u32>,   // [1]
    pub records: Records,    // the host's
}

impl<W: Half> Model<W> {
    /// A model with these weights, by their names in the plan; the plan's other buffers are allocated.
    pub fn new(
        device: &Device,
        config: Config,
        plan: &Plan,
        mut weights: BTreeMap<String, Buffer<W>>,
    ) -> Result<Model<W>> {
        let mut weight = |name: &str| weights.remove(name).unwrap_or_else(|| panic!("the plan has no weight {name}"));
        let layers = (0..config.n_layers)
            .map(|layer| {
                let mut part = |part: &str| weight(&format!("layers.{layer}.{part}"));
                Layer {
                    attention_norm: part("attention_norm"),
                    qkv: part("qkv"),
                    o: part("o"),
                    ffn_norm: part("ffn_norm"),
                    gate_up: part("gate_up"),
                    down: part("down"),
                }
            })
            .collect();
        let cache = Cache {
            k_ring: zeroed(device, plan, "k_ring")?,
            v_ring: zeroed(device, plan, "v_ring")?,
            k_staged: zeroed(device, plan, "k_staged")?,
            v_staged: zeroed(device, plan, "v_staged")?,
        };
        let mut scratch = Scratch {
            tokens: zeroed(device, plan, "tokens")?,
            position: zeroed(device, plan, "position")?,
            rope_turns: zeroed(device, plan, "rope_turns")?,
            x: zeroed(device, plan, "x")?,
            squares: zeroed(device, plan, "squares")?,
            h: zeroed(device, plan, "h")?,
            q: zeroed(device, plan, "q")?,
            k_chunk: zeroed(device, plan, "k_chunk")?,
            v_chunk: zeroed(device, plan, "v_chunk")?,
            attended: zeroed(device, plan, "attended")?,
            partials: zeroed(device, plan, "partials")?,
            softmaxes: zeroed(device, plan, "softmaxes")?,
            tickets: zeroed(device, plan, "tickets")?,
            states: zeroed(device, plan, "states")?,
            tile_tickets: zeroed(device, plan, "tile_tickets")?,
            segment_sums: zeroed(device, plan, "segment_sums")?,
            part_tickets: zeroed(device, plan, "part_tickets")?,
            act: zeroed(device, plan, "act")?,
            logits: zeroed(device, plan, "logits")?,
            best: zeroed(device, plan, "best")?,
        };
        let choice = Choice {
            params: zeroed(device, plan, "params")?,
            bias: zeroed(device, plan, "bias")?,
            scores: zeroed(device, plan, "scores")?,
            counts: zeroed(device, plan, "counts")?,
            stop: zeroed(device, plan, "stop")?,
            records: Records::new(device, N_RECORDS)?,
        };
        scratch.rope_turns.copy_from(&rope::turns_per_position(config.head_dim, config.rope_theta))?;
        Ok(Model {
            device: device.clone(),
            n_slots: plan.n_slots(),
            embedding: weight("embedding"),
            layers,
            norm: weight("norm"),
            lm_head: if config.tie_embeddings { None } else { Some(weight("lm_head")) },
            cache,
            scratch,
            choice,
            config,
        })
    }
}

/// A buffer of the plan, zeroed.
fn zeroed<T: Element>(device: &Device, plan: &Plan, name: &str) -> Result<Buffer<T>> {
    let PlannedBuffer { shape, .. } = plan.buffer(name);
    device.zeroed(shape)
}
