//! The model: a step of up to eight tokens as a list of launches that reads like the paper.
//!
//! Mistral 7B (arXiv 2310.06825) is a decoder of equal layers on a residual stream x (f32):
//!
//! ```text
//!   x = embedding[tokens]
//!   each layer:   q, k, v = rope(W_qkv norm(x))                   Qkv        k, v go into the ring or to staging
//!                 a = attention(q, [ring ++ k], [ring ++ v])      Attention
//!                 x += W_o a                                      Residual
//!                 act = silu(W_gate norm(x)) * W_up norm(x)       GateUp
//!                 x += W_down act                                 Residual
//!   logits = W_head norm(x)                                       LmHead
//!   tokens[0] = choice(logits), position += 1                     Sample
//! ```
//!
//! The chosen token, and the position, stay on the device: the next step begins with them.
//!
//! Decoding is a step of one token, whose key and value replace in the ring the one that just left the window. The
//! tokens of a longer step are staged: in a ring of exactly `window` slots, a row written first would replace a key
//! that an earlier row of the step still sees. [`Forward::commit`] then puts those that stay into the ring. A prompt
//! is a row of such steps. A token's bits don't depend on the step it came in.

use crate::{
    config::Config,
    device::{Buffer, Device, Element, Result},
    kernel::Half,
    kernels::{
        Advance, Commit, DecodeAttention, Embed, GateUp, LmHead, MAX_TOKENS, NO_WINDOW, Qkv, Residual, Sample,
        best_token, squares_shape,
    },
    plan::{Plan, PlannedBuffer},
    ring::Position,
    rope,
    sampler::{Params, Record, Records},
};
use half::bf16;
use std::{collections::BTreeMap, ops::Range};

/// A layer's weights, as tiles (kernels/tiles.cuh).
struct Layer<W> {
    attention_norm: Buffer<W>, // [dim]
    qkv: Buffer<W>,            // [(n_heads + 2*n_kv_heads) * head_dim, dim], pairs of a head
    o: Buffer<W>,              // [dim, n_heads * head_dim]
    ffn_norm: Buffer<W>,       // [dim]
    gate_up: Buffer<W>,        // [2 * hidden_dim, dim], pairs of gate and up
    down: Buffer<W>,           // [dim, hidden_dim]
}

/// Keys and values: of the tokens in the window, and of a step's that may not stay.
struct Cache {
    k_ring: Buffer<bf16>,   // [n_layers, n_slots, n_kv_heads, head_dim]
    v_ring: Buffer<bf16>,   // [n_layers, n_slots, n_kv_heads, head_dim]
    k_staged: Buffer<bf16>, // [n_layers, MAX_TOKENS, n_kv_heads, head_dim]
    v_staged: Buffer<bf16>, // [n_layers, MAX_TOKENS, n_kv_heads, head_dim]
}

/// What flows from kernel to kernel; MAX_TOKENS rows, of which a launch uses the first.
struct Scratch<W> {
    tokens: Buffer<u32>,         // [chunk]
    position: Buffer<u64>,       // [1], of the step's first token
    rope_turns: Buffer<u64>,     // [head_dim/2]
    x: Buffer<f32>,              // [MAX_TOKENS, dim]
    squares: Buffer<f32>,        // [MAX_TOKENS, ceil(dim / 16)]
    q: Buffer<bf16>,             // [MAX_TOKENS, n_heads, head_dim]
    attended: Buffer<W>,         // [MAX_TOKENS, n_heads, head_dim]
    partials: Buffer<f32>,       // [MAX_TOKENS, n_heads, N_RANGES, head_dim]
    softmaxes: Buffer<[f32; 2]>, // [N_RANGES, MAX_TOKENS, n_heads]
    tickets: Buffer<u32>,        // [n_heads + n_kv_heads], zeros at rest
    act: Buffer<W>,              // [MAX_TOKENS, hidden_dim]
    logits: Buffer<f32>,         // [MAX_TOKENS, vocab_size]
    best: Buffer<u64>,           // [MAX_TOKENS]
}

/// How the next token is chosen, see [`crate::sampler`].
struct Choice {
    params: Buffer<u32>, // [SAMPLE_PARAMS]
    bias: Buffer<f32>,   // [vocab_size]
    scores: Buffer<f32>, // [vocab_size], scratch
    counts: Buffer<u32>, // [vocab_size]
    stop: Buffer<u32>,   // [1]
    records: Records,    // the host's
}

/// Tokens that the host may be late, and one more: while it reads a token, the next is on its way.
const N_RECORDS: u32 = 4;

/// A model on the device, for one sequence.
pub struct Model<W> {
    device: Device,
    config: Config,
    n_slots: u32,
    embedding: Buffer<W>, // [vocab_size, dim]
    layers: Vec<Layer<W>>,
    norm: Buffer<W>,            // [dim]
    lm_head: Option<Buffer<W>>, // [vocab_size, dim]; the embedding when absent
    cache: Cache,
    scratch: Scratch<W>,
    choice: Choice,
}

/// Where a step leaves its keys and values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// In the ring: one token that stays.
    Ring,
    /// In staging, until [`Forward::commit`].
    Staged,
}

/// A model of either weight type. Launches only: nothing is allocated, and nothing waits unless it says so.
pub trait Forward {
    /// Sets the tokens of the next steps. Waits.
    fn set_tokens(&mut self, tokens: &[u32]) -> Result<()>;
    /// Takes these of the tokens, at most MAX_TOKENS, through all layers.
    fn step(&mut self, tokens: Range<u32>, keep: Keep) -> Result<()>;
    /// Puts the step's first `n_tokens` tokens into the ring, and moves the position by `n_positions`.
    fn commit(&mut self, n_tokens: u32, n_positions: u32) -> Result<()>;
    /// The logits of these rows of the last step. What is known to be the best of each is raised, so somebody must have
    /// forgotten it: [`Forward::sample`], or [`Forward::forget_best`].
    fn head(&mut self, rows: Range<u32>) -> Result<()>;
    /// Forgets the best tokens.
    fn forget_best(&mut self) -> Result<()>;
    /// Chooses the token after row 0 of the logits and moves the position to it.
    fn sample(&mut self) -> Result<()>;
    /// Sets how tokens are chosen from here on: `counts` [vocab_size] and, if it matters, `bias` [vocab_size]. Waits, and
    /// forgets all records.
    fn set_choice(&mut self, params: &Params, bias: Option<&[f32]>, counts: &[u32]) -> Result<()>;
    /// What was chosen for a position, once it is known.
    fn record(&self, position: Position) -> Option<Record>;
    /// Sets the position of the next token. Waits, and forgets all records.
    fn set_position(&mut self, position: u64) -> Result<()>;
    /// What [`Forward::head`] made: [MAX_TOKENS, vocab_size].
    fn logits(&self) -> &Buffer<f32>;
    /// The best token of a row of the logits, unless none can be. Waits.
    fn best(&self, row: usize) -> Result<Option<u32>>;
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
            q: zeroed(device, plan, "q")?,
            attended: zeroed(device, plan, "attended")?,
            partials: zeroed(device, plan, "partials")?,
            softmaxes: zeroed(device, plan, "softmaxes")?,
            tickets: zeroed(device, plan, "tickets")?,
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

impl<W: Half> Forward for Model<W> {
    fn set_tokens(&mut self, tokens: &[u32]) -> Result<()> {
        self.scratch.tokens.copy_from_at(0, tokens)
    }

    fn set_position(&mut self, position: u64) -> Result<()> {
        self.scratch.position.copy_from(&[position])?;
        self.choice.records.clear(); // they may be of the same positions in another sequence
        Ok(())
    }

    fn step(&mut self, tokens: Range<u32>, keep: Keep) -> Result<()> {
        let Self { device, config, n_slots, embedding, layers, cache: c, scratch: s, .. } = self;
        let Config { dim, hidden_dim, head_dim, n_heads, n_kv_heads, norm_eps: eps, window, .. } = *config;
        let (n_slots, window, q_dim) = (*n_slots, window.unwrap_or(NO_WINDOW), config.q_dim());
        let n_tokens = tokens.len() as u32;
        let n_staged = if keep == Keep::Staged { n_tokens } else { 0 };

        let tokens = s.tokens.rows(tokens.start as usize..tokens.end as usize, 1);
        Embed { tokens: &tokens, table: embedding, x: &mut s.x, squares: &mut s.squares, n_tokens, dim }
            .launch(device)?;
        for (layer, w) in (0..).zip(layers) {
            Qkv {
                weight: &w.qkv,
                x: &s.x,
                squares: &s.squares,
                norm: &w.attention_norm,
                turn_per_position: &s.rope_turns,
                position: &s.position,
                q: &mut s.q,
                k_ring: &mut c.k_ring,
                v_ring: &mut c.v_ring,
                k_staged: &mut c.k_staged,
                v_staged: &mut c.v_staged,
                n_tokens,
                n_staged,
                layer,
                dim,
                n_heads,
                n_kv_heads,
                head_dim,
                n_slots,
                eps,
            }
            .launch(device)?;
            DecodeAttention {
                q: &s.q,
                k_ring: &c.k_ring,
                v_ring: &c.v_ring,
                k_staged: &c.k_staged,
                v_staged: &c.v_staged,
                position: &s.position,
                partials: &mut s.partials,
                softmaxes: &mut s.softmaxes,
                tickets: &mut s.tickets,
                out: &mut s.attended,
                n_tokens,
                n_heads,
                n_kv_heads,
                head_dim,
                n_slots,
                window,
                layer,
                n_staged,
            }
            .launch(device)?;
            let (x, squares) = (&mut s.x, &mut s.squares);
            Residual { weight: &w.o, h: &s.attended, x, squares, n_tokens, n_in: q_dim, n_out: dim }.launch(device)?;
            let norm = &w.ffn_norm;
            GateUp { weight: &w.gate_up, x, squares, norm, act: &mut s.act, n_tokens, dim, hidden_dim, eps }
                .launch(device)?;
            Residual { weight: &w.down, h: &s.act, x, squares, n_tokens, n_in: hidden_dim, n_out: dim }
                .launch(device)?;
        }
        Ok(())
    }

    fn commit(&mut self, n_tokens: u32, n_positions: u32) -> Result<()> {
        let Self { device, config, n_slots, cache: c, scratch: s, .. } = self;
        let Config { n_layers, n_kv_heads, head_dim, .. } = *config;
        Commit {
            k_staged: &c.k_staged,
            v_staged: &c.v_staged,
            position: &s.position,
            k_ring: &mut c.k_ring,
            v_ring: &mut c.v_ring,
            n_tokens,
            n_layers,
            n_kv_heads,
            head_dim,
            n_slots: *n_slots,
        }
        .launch(device)?;
        match n_positions {
            0 => Ok(()),
            _ => Advance { position: &mut s.position, n_tokens: n_positions }.launch(device),
        }
    }

    fn head(&mut self, rows: Range<u32>) -> Result<()> {
        let Self { device, config, embedding, norm, lm_head, scratch: s, .. } = self;
        let Config { dim, vocab_size, norm_eps: eps, .. } = *config;
        let n_tokens = rows.len() as u32;
        let rows = rows.start as usize..rows.end as usize;
        let [_, n_sums] = squares_shape(MAX_TOKENS, dim);
        LmHead {
            weight: lm_head.as_ref().unwrap_or(embedding),
            x: &s.x.rows(rows.clone(), dim as usize),
            squares: &s.squares.rows(rows, n_sums as usize),
            norm,
            logits: &mut s.logits,
            best: &mut s.best,
            n_tokens,
            dim,
            vocab_size,
            eps,
        }
        .launch(device)
    }

    fn forget_best(&mut self) -> Result<()> {
        self.scratch.best.fill_zero()
    }

    fn sample(&mut self) -> Result<()> {
        let Self { device, config, scratch: s, choice: c, .. } = self;
        Sample {
            params: &c.params,
            logits: &s.logits,
            bias: &c.bias,
            scores: &mut c.scores,
            counts: &mut c.counts,
            best: &mut s.best,
            tokens: &mut s.tokens,
            position: &mut s.position,
            stop: &mut c.stop,
            n_records: c.records.n(),
            records: c.records.buffer_mut(),
            row: 0,
            vocab_size: config.vocab_size,
        }
        .launch(device)
    }

    fn set_choice(&mut self, params: &Params, bias: Option<&[f32]>, counts: &[u32]) -> Result<()> {
        let Self { device, choice: c, .. } = self;
        c.params.copy_from(params.words())?;
        bias.map_or(Ok(()), |bias| c.bias.copy_from(bias))?;
        c.counts.copy_from(counts)?;
        c.stop.fill_zero()?;
        device.synchronize()?;
        c.records.clear();
        Ok(())
    }

    fn record(&self, position: Position) -> Option<Record> {
        self.choice.records.poll(position)
    }

    fn logits(&self) -> &Buffer<f32> {
        &self.scratch.logits
    }

    fn best(&self, row: usize) -> Result<Option<u32>> {
        let mut code = [0];
        self.scratch.best.read_into(row, &mut code)?;
        Ok(best_token(code[0]))
    }
}
