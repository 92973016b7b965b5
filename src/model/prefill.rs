//! A chunk of a prompt: many tokens, bound by tensor cores. It has the bits that steps would give.

use super::{Forward, Keep, Model};
use crate::{
    config::Config,
    device::Result,
    kernel::Half,
    kernels::{
        Embed, NO_WINDOW, Norm, PrefillAttention, PrefillGateUp, PrefillQkv, PrefillResidual, RingWrite,
        max_step_tokens,
    },
};

impl<W: Half> Model<W> {
    /// Takes the first `n_tokens` of the tokens through all layers and into the ring: as a step, if they are so few, for a
    /// step is made to read weights and keys fast.
    pub(super) fn run_prefill(&mut self, n_tokens: u32) -> Result<()> {
        if n_tokens > max_step_tokens(self.config.n_heads, self.config.n_kv_heads) {
            return self.run_chunk(n_tokens);
        }
        self.run_step(0..n_tokens, Keep::Staged)?;
        self.commit(n_tokens)
    }

    /// Attention reads [ring ++ chunk], and only then does the
    /// chunk go into the ring, layer by layer: it replaces keys that its own first tokens still see.
    fn run_chunk(&mut self, n_tokens: u32) -> Result<()> {
        let Self { device, config, n_slots, embedding, layers, cache: c, scratch: s, .. } = self;
        let Config { dim, hidden_dim, head_dim, n_heads, n_kv_heads, norm_eps: eps, window, .. } = *config;
        let (n_slots, window, q_dim) = (*n_slots, window.unwrap_or(NO_WINDOW), config.q_dim());

        Embed { tokens: &s.tokens, table: embedding, x: &mut s.x, squares: &mut s.squares, n_tokens, dim }
            .launch(device)?;
        for (layer, w) in (0..).zip(layers) {
            Norm { x: &s.x, squares: &s.squares, norm: &w.attention_norm, h: &mut s.h, n_tokens, dim, eps }
                .launch(device)?;
            PrefillQkv {
                weight: &w.qkv,
                h: &s.h,
                turn_per_position: &s.rope_turns,
                position: &s.position,
                q: &mut s.q,
                k_chunk: &mut s.k_chunk,
                v_chunk: &mut s.v_chunk,
                n_tokens,
                dim,
                n_heads,
                n_kv_heads,
                head_dim,
            }
            .launch(device)?;
            PrefillAttention {
                q: &s.q,
                k_ring: &c.k_ring,
                v_ring: &c.v_ring,
                k_chunk: &s.k_chunk,
                v_chunk: &s.v_chunk,
                position: &s.position,
                out: &mut s.attended,
                states: &mut s.states,
                tickets: &mut s.tile_tickets,
                n_tokens,
                n_heads,
                n_kv_heads,
                head_dim,
                n_slots,
                window,
                layer,
            }
            .launch(device)?;
            RingWrite {
                k_chunk: &s.k_chunk,
                v_chunk: &s.v_chunk,
                position: &s.position,
                k_ring: &mut c.k_ring,
                v_ring: &mut c.v_ring,
                n_tokens,
                n_kv_heads,
                head_dim,
                n_slots,
                layer,
            }
            .launch(device)?;
            let (x, squares) = (&mut s.x, &mut s.squares);
            PrefillResidual {
                weight: &w.o,
                h: &s.attended,
                x,
                squares,
                segment_sums: &mut s.segment_sums,
                part_tickets: &mut s.part_tickets,
                n_tokens,
                n_in: q_dim,
                n_out: dim,
            }
            .launch(device)?;
            Norm { x, squares, norm: &w.ffn_norm, h: &mut s.h, n_tokens, dim, eps }.launch(device)?;
            PrefillGateUp { weight: &w.gate_up, h: &s.h, act: &mut s.act, n_tokens, dim, hidden_dim }.launch(device)?;
            PrefillResidual {
                weight: &w.down,
                h: &s.act,
                x,
                squares,
                segment_sums: &mut s.segment_sums,
                part_tickets: &mut s.part_tickets,
                n_tokens,
                n_in: hidden_dim,
                n_out: dim,
            }
            .launch(device)?;
        }
        Ok(())
    }
}
