//! The model: a step of up to eight tokens, and a chunk of many, as lists of launches that read like the paper.
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
//! that an earlier row of the step still sees. [`Forward::commit`] then puts those that stay into the ring.
//!
//! A prompt goes through in chunks of many tokens ([`Forward::prefill`]), by the same formulas in kernels that are bound by
//! tensor cores instead of memory. A token's bits don't depend on the step or the chunk it came in.

mod buffers;
mod prefill;
mod step;

use crate::{
    config::Config,
    device::{Buffer, Device, Result},
    kernel::Half,
    kernels::{Advance, Commit, LmHead, MAX_TOKENS, Sample, best_token, squares_shape},
    ring::Position,
    sampler::{Params, Record},
};
use buffers::{Cache, Choice, Layer, Scratch};
use std::ops::Range;

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
    /// Sets the tokens of the next steps, or of the next chunk. Waits.
    fn set_tokens(&mut self, tokens: &[u32]) -> Result<()>;
    /// Takes the first `n_tokens` of the tokens, at most the plan's chunk, through all layers and into the ring.
    fn prefill(&mut self, n_tokens: u32) -> Result<()>;
    /// Takes these of the tokens, at most MAX_TOKENS, through all layers.
    fn step(&mut self, tokens: Range<u32>, keep: Keep) -> Result<()>;
    /// Puts the step's first `n_tokens` tokens from staging into the ring.
    fn commit(&mut self, n_tokens: u32) -> Result<()>;
    /// Moves the position past `n_tokens` tokens.
    fn advance(&mut self, n_tokens: u32) -> Result<()>;
    /// The logits of these rows, at most MAX_TOKENS, of the last step or chunk. What is known to be the best of each is
    /// raised, so somebody must have forgotten it: [`Forward::sample`], or [`Forward::forget_best`].
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

impl<W: Half> Forward for Model<W> {
    fn set_tokens(&mut self, tokens: &[u32]) -> Result<()> {
        self.scratch.tokens.copy_from_at(0, tokens)
    }

    fn set_position(&mut self, position: u64) -> Result<()> {
        self.scratch.position.copy_from(&[position])?;
        self.choice.records.clear(); // they may be of the same positions in another sequence
        Ok(())
    }

    fn prefill(&mut self, n_tokens: u32) -> Result<()> {
        self.run_prefill(n_tokens)
    }

    fn step(&mut self, tokens: Range<u32>, keep: Keep) -> Result<()> {
        self.run_step(tokens, keep)
    }

    fn commit(&mut self, n_tokens: u32) -> Result<()> {
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
        .launch(device)
    }

    fn advance(&mut self, n_tokens: u32) -> Result<()> {
        Advance { position: &mut self.scratch.position, n_tokens }.launch(&self.device)
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
