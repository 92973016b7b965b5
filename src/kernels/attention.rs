use super::{assert_eights, bytes_of};
use crate::device::{Device, Grid, Result};
use crate::kernel;
use crate::kernel::{Half, In, Out};
use half::bf16;

kernel! {
    /// Attends from each token to the keys in its window, in the ring and in its own chunk.
    pub struct Attention<'a, W: Half> = { bf16: attention_bf16, f16: attention_f16 } {
        q:          In<'a, bf16>,  // [n_tokens, n_heads, head_dim]
        k_ring:     In<'a, bf16>,  // [n_slots, n_kv_heads, head_dim], without the chunk
        v_ring:     In<'a, bf16>,  // [n_slots, n_kv_heads, head_dim], without the chunk
        k_chunk:    In<'a, bf16>,  // [n_tokens, n_kv_heads, head_dim]
        v_chunk:    In<'a, bf16>,  // [n_tokens, n_kv_heads, head_dim]
        position:   In<'a, u64>,   // [1], of token 0; min(position, window - 1) <= n_slots
        out:        Out<'a, W>,    // [n_tokens, n_heads, head_dim]
        n_tokens:   u32,
        n_heads:    u32,
        n_kv_heads: u32,
        head_dim:   u32,
        n_slots:    u32,
        window:     u32,           // keys that a token sees, itself included, or NO_WINDOW
    }
}

/// The window of a token that sees all keys before it.
pub const NO_WINDOW: u32 = u32::MAX;

impl<W: Half> Attention<'_, W> {
    /// One block a token and head.
    pub fn launch(&self, device: &Device) -> Result<()> {
        self.launch_grid(device, Grid::x(self.n_tokens * self.n_heads))
    }

    /// On any grid.
    pub fn launch_grid(&self, device: &Device, grid: Grid) -> Result<()> {
        let Self { n_tokens, n_heads, n_kv_heads, head_dim, n_slots, window, .. } = *self;
        assert_eights("head_dim", head_dim);
        assert!(head_dim <= 256, "head_dim is at most 256, not {head_dim}");
        assert!(n_heads.is_multiple_of(n_kv_heads), "{n_heads} query heads cannot share {n_kv_heads} kv heads evenly");
        assert!(window > 0, "a token sees at least itself");
        let n_elements = u64::from(n_slots.max(n_tokens)) * u64::from(n_kv_heads * head_dim);
        assert!(n_elements <= 1 << 32, "the kernel counts a layer's keys in 32 bits, {n_elements} are too many");
        assert!(n_slots.max(n_tokens) < 1 << 30, "the kernel counts positions from the chunk's first in 32 bits");
        self.q.assert_holds([n_tokens, n_heads, head_dim]);
        self.k_ring.assert_shape([n_slots, n_kv_heads, head_dim]);
        self.v_ring.assert_shape([n_slots, n_kv_heads, head_dim]);
        self.k_chunk.assert_holds([n_tokens, n_kv_heads, head_dim]);
        self.v_chunk.assert_holds([n_tokens, n_kv_heads, head_dim]);
        self.position.assert_shape([1]);
        self.out.assert_holds([n_tokens, n_heads, head_dim]);
        self.launch_on(device, grid)
    }

    /// The queries, the keys and values that some token sees, and the output, with token 0 at `position`.
    pub fn bytes(&self, position: u64) -> u64 {
        let Self { n_tokens, n_heads, n_kv_heads, head_dim, .. } = *self;
        let n_keys = position.min(u64::from(self.window - 1)) + u64::from(n_tokens);
        let rows = [n_tokens, n_heads, head_dim];
        bytes_of::<bf16>(&rows) + bytes_of::<W>(&rows) + n_keys * 2 * bytes_of::<bf16>(&[n_kv_heads, head_dim])
    }

    /// A product and a sum an element of each key and value that a query head sees, with token 0 at `position`.
    pub fn flops(&self, position: u64) -> u64 {
        let n_seen: u64 =
            (0..self.n_tokens).map(|token| (position + u64::from(token) + 1).min(u64::from(self.window))).sum();
        n_seen * 4 * u64::from(self.n_heads) * u64::from(self.head_dim)
    }
}
