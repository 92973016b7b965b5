//! A step: up to eight tokens, bound by reading the weights. Decoding is a row of steps of one.

use super::{Keep, Model};
use crate::{
    config::Config,
    device::Result,
    kernel::Half,
    kernels::{DecodeAttention, Embed, GateUp, NO_WINDOW, Qkv, Residual},
};
use std::ops::Range;

impl<W: Half> Model<W> {
    /// Takes these of the tokens through all layers. (arXiv 2310.06825, section 2.)
    pub(super) fn run_step(&mut self, tokens: Range<u32>, keep: Keep) -> Result<()> {
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
}
