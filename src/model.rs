//! The model: one chunk of tokens as a list of launches that reads like the paper.
//!
//! Mistral 7B (arXiv 2310.06825) is a decoder of equal layers on a residual stream x (f32):
//!
//! ```text
//!   x = embedding[tokens]
//!   each layer:   q, k, v = rope(W_qkv norm(x))
//!                 x += W_o attention(q, [ring ++ k], [ring ++ v]);  ring <- k, v
//!                 x += W_down (silu(W_gate norm(x)) * W_up norm(x))
//!   logits = W_head norm(x)
//! ```
//!
//! A chunk's queries attend to the ring and to the chunk itself, and only then is the chunk written into the ring: in a
//! ring of exactly `window` slots, a row written first would replace a key that an earlier row of the chunk still sees.
//!
//! Decoding is a chunk of one token. A row's bits don't depend on the chunk it came in.

use crate::{
    config::Config,
    device::{Buffer, Device, Element, Result},
    kernel::Half,
    kernels::{Advance, Argmax, Attention, Embed, Matmul, Matvec, NO_WINDOW, RingWrite, RmsNorm, Rope, Swiglu},
    plan::{Plan, PlannedBuffer},
    rope,
};
use half::bf16;
use std::{collections::BTreeMap, ops::Range};

/// A layer's weights, and its keys and values.
struct Layer<W> {
    attention_norm: Buffer<W>, // [dim]
    qkv: Buffer<W>,            // [(n_heads + 2*n_kv_heads) * head_dim, dim]
    o: Buffer<W>,              // [dim, n_heads * head_dim]
    ffn_norm: Buffer<W>,       // [dim]
    gate_up: Buffer<W>,        // [2 * hidden_dim, dim]
    down: Buffer<W>,           // [dim, hidden_dim]
    k_ring: Buffer<bf16>,      // [n_slots, n_kv_heads, head_dim]
    v_ring: Buffer<bf16>,      // [n_slots, n_kv_heads, head_dim]
}

/// What flows from kernel to kernel; `chunk` rows, of which a launch uses the first.
struct Scratch<W> {
    tokens: Buffer<u32>,     // [chunk]
    position: Buffer<u64>,   // [1], of the chunk's first token
    rope_turns: Buffer<u64>, // [head_dim/2]
    x: Buffer<f32>,          // [chunk, dim]
    h: Buffer<W>,            // [chunk, dim]
    qkv: Buffer<f32>,        // [chunk, n_heads + 2*n_kv_heads, head_dim]
    q: Buffer<bf16>,         // [chunk, n_heads, head_dim]
    k_chunk: Buffer<bf16>,   // [chunk, n_kv_heads, head_dim]
    v_chunk: Buffer<bf16>,   // [chunk, n_kv_heads, head_dim]
    attention: Buffer<W>,    // [chunk, n_heads, head_dim]
    gate_up: Buffer<f32>,    // [chunk, 2, hidden_dim]
    act: Buffer<W>,          // [chunk, hidden_dim]
    logits: Buffer<f32>,     // [n_logit_rows, vocab_size]
    argmax: Buffer<u32>,     // [n_logit_rows]
}

/// A model on the device, for one sequence.
pub struct Model<W> {
    device: Device,
    config: Config,
    n_slots: u32,
    embedding: Buffer<W>, // [vocab_size, dim]
    layers: Vec<Layer<W>>,
    norm: Buffer<W>,            // [dim]
    lm_head: Option<Buffer<W>>, // [vocab_size, dim]; the embedding when absent
    scratch: Scratch<W>,
}

/// A model of either weight type. Launches only: nothing is allocated, and nothing waits unless it says so.
pub trait Forward {
    /// Sets the next chunk's tokens. Waits.
    fn set_tokens(&mut self, tokens: &[u32]) -> Result<()>;
    /// Takes the first `n_tokens` tokens through all layers and moves the position past them.
    fn chunk(&mut self, n_tokens: u32) -> Result<()>;
    /// The logits of these rows of the last chunk, at most `n_logit_rows`, and the best token of each.
    fn head(&mut self, rows: Range<u32>) -> Result<()>;
    /// Sets the position of the next token. Waits.
    fn set_position(&mut self, position: u64) -> Result<()>;
    /// What [`Forward::head`] made: [n_logit_rows, vocab_size].
    fn logits(&self) -> &Buffer<f32>;
    /// The best token of each row of the logits.
    fn argmax(&self) -> &Buffer<u32>;
}

impl<W: Half> Model<W> {
    /// Allocates every buffer of the plan. `fill` writes each weight, by its name in the plan.
    pub fn new<E: From<crate::device::DeviceError>>(
        device: &Device,
        config: Config,
        plan: &Plan,
        mut fill: impl FnMut(&str, &mut Buffer<W>) -> std::result::Result<(), E>,
    ) -> std::result::Result<Model<W>, E> {
        let mut weights = BTreeMap::new();
        for PlannedBuffer { name, shape, .. } in plan.weights() {
            let mut buffer = device.alloc::<W>(shape)?;
            fill(name, &mut buffer)?;
            weights.insert(name.as_str(), buffer);
        }
        let mut weight = |name: &str| weights.remove(name).unwrap_or_else(|| panic!("the plan has no weight {name}"));
        let mut layers = Vec::new();
        for layer in 0..config.n_layers {
            let name = |part: &str| format!("layers.{layer}.{part}");
            layers.push(Layer {
                attention_norm: weight(&name("attention_norm")),
                qkv: weight(&name("qkv")),
                o: weight(&name("o")),
                ffn_norm: weight(&name("ffn_norm")),
                gate_up: weight(&name("gate_up")),
                down: weight(&name("down")),
                k_ring: zeroed(device, plan, &name("k_ring"))?,
                v_ring: zeroed(device, plan, &name("v_ring"))?,
            });
        }
        let mut scratch = Scratch {
            tokens: zeroed(device, plan, "tokens")?,
            position: zeroed(device, plan, "position")?,
            rope_turns: zeroed(device, plan, "rope_turns")?,
            x: zeroed(device, plan, "x")?,
            h: zeroed(device, plan, "h")?,
            qkv: zeroed(device, plan, "qkv")?,
            q: zeroed(device, plan, "q")?,
            k_chunk: zeroed(device, plan, "k_chunk")?,
            v_chunk: zeroed(device, plan, "v_chunk")?,
            attention: zeroed(device, plan, "attention")?,
            gate_up: zeroed(device, plan, "gate_up")?,
            act: zeroed(device, plan, "act")?,
            logits: zeroed(device, plan, "logits")?,
            argmax: zeroed(device, plan, "argmax")?,
        };
        scratch.rope_turns.copy_from(&rope::turns_per_position(config.head_dim, config.rope_theta))?;
        Ok(Model {
            device: device.clone(),
            n_slots: plan.buffer("layers.0.k_ring").shape[0] as u32,
            embedding: weight("embedding"),
            layers,
            norm: weight("norm"),
            lm_head: if config.tie_embeddings { None } else { Some(weight("lm_head")) },
            scratch,
            config,
        })
    }
}

/// A buffer of the plan, zeroed.
fn zeroed<T: Element>(device: &Device, plan: &Plan, name: &str) -> Result<Buffer<T>> {
    device.zeroed(&plan.buffer(name).shape)
}

impl<W: Half> Forward for Model<W> {
    fn set_tokens(&mut self, tokens: &[u32]) -> Result<()> {
        self.scratch.tokens.copy_from_at(0, tokens)
    }

    fn set_position(&mut self, position: u64) -> Result<()> {
        self.scratch.position.copy_from(&[position])
    }

    fn chunk(&mut self, n_tokens: u32) -> Result<()> {
        let Self { device, config, n_slots, embedding, layers, scratch: s, .. } = self;
        let Config { dim, hidden_dim, head_dim, n_heads, n_kv_heads, norm_eps: eps, window, .. } = *config;
        let (n_slots, window) = (*n_slots, window.unwrap_or(NO_WINDOW));
        let qkv_dim = config.q_dim() + 2 * config.kv_dim();

        Embed { tokens: &s.tokens, table: embedding, x: &mut s.x, n_tokens, dim }.launch(device)?;
        for layer in layers {
            RmsNorm { x: &s.x, weight: &layer.attention_norm, y: &mut s.h, n_tokens, dim, eps }.launch(device)?;
            product(device, &layer.qkv, &s.h, &mut s.qkv, [n_tokens, qkv_dim, dim], Destination::Replace)?;
            Rope {
                qkv: &s.qkv,
                turn_per_position: &s.rope_turns,
                position: &s.position,
                q: &mut s.q,
                k_chunk: &mut s.k_chunk,
                v_chunk: &mut s.v_chunk,
                n_tokens,
                n_heads,
                n_kv_heads,
                head_dim,
            }
            .launch(device)?;
            Attention {
                q: &s.q,
                k_ring: &layer.k_ring,
                v_ring: &layer.v_ring,
                k_chunk: &s.k_chunk,
                v_chunk: &s.v_chunk,
                position: &s.position,
                out: &mut s.attention,
                n_tokens,
                n_heads,
                n_kv_heads,
                head_dim,
                n_slots,
                window,
            }
            .launch(device)?;
            RingWrite {
                k_chunk: &s.k_chunk,
                v_chunk: &s.v_chunk,
                position: &s.position,
                k_ring: &mut layer.k_ring,
                v_ring: &mut layer.v_ring,
                n_tokens,
                n_kv_heads,
                head_dim,
                n_slots,
            }
            .launch(device)?;
            product(device, &layer.o, &s.attention, &mut s.x, [n_tokens, dim, config.q_dim()], Destination::Add)?;

            RmsNorm { x: &s.x, weight: &layer.ffn_norm, y: &mut s.h, n_tokens, dim, eps }.launch(device)?;
            product(
                device,
                &layer.gate_up,
                &s.h,
                &mut s.gate_up,
                [n_tokens, 2 * hidden_dim, dim],
                Destination::Replace,
            )?;
            Swiglu { gate_up: &s.gate_up, y: &mut s.act, n_tokens, hidden_dim }.launch(device)?;
            product(device, &layer.down, &s.act, &mut s.x, [n_tokens, dim, hidden_dim], Destination::Add)?;
        }
        Advance { position: &mut s.position, n_tokens }.launch(device)
    }

    fn head(&mut self, rows: Range<u32>) -> Result<()> {
        let Self { device, config, embedding, norm, lm_head, scratch: s, .. } = self;
        let Config { dim, vocab_size, norm_eps: eps, .. } = *config;
        let n_rows = rows.len() as u32;
        let x = s.x.rows(rows.start as usize..rows.end as usize, dim as usize);
        RmsNorm { x: &x, weight: norm, y: &mut s.h, n_tokens: n_rows, dim, eps }.launch(device)?;
        let weight = lm_head.as_ref().unwrap_or(embedding);
        product(device, weight, &s.h, &mut s.logits, [n_rows, vocab_size, dim], Destination::Replace)?;
        Argmax { logits: &s.logits, tokens: &mut s.argmax, n_rows, vocab_size }.launch(device)
    }

    fn logits(&self) -> &Buffer<f32> {
        &self.scratch.logits
    }

    fn argmax(&self) -> &Buffer<u32> {
        &self.scratch.argmax
    }
}

/// What a product does with its destination.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Destination {
    Replace,
    /// The residual addition.
    Add,
}

/// y [n_tokens, n_out] = (or +=) x [n_tokens, n_in] times weight [n_out, n_in], transposed.
fn product<W: Half>(
    device: &Device,
    weight: &Buffer<W>,
    x: &Buffer<W>,
    y: &mut Buffer<f32>,
    [n_tokens, n_out, n_in]: [u32; 3],
    destination: Destination,
) -> Result<()> {
    let accumulate = u32::from(destination == Destination::Add);
    match n_tokens {
        1 => Matvec { weight, x, y, n_in, n_out, accumulate }.launch(device),
        _ => Matmul { weight, x, y, n_tokens, n_in, n_out, accumulate }.launch(device),
    }
}
