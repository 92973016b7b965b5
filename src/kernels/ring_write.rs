use super::{assert_eights, bytes_of};
use crate::device::{Device, Grid, Result};
use crate::kernel;
use crate::kernel::{In, Out};
use half::bf16;

kernel! {
    /// Puts a chunk's keys and values into the ring, after attention has read what they replace.
    pub struct RingWrite<'a> = ring_write {
        k_chunk:    In<'a, bf16>,   // [n_tokens, n_kv_heads, head_dim]
        v_chunk:    In<'a, bf16>,   // [n_tokens, n_kv_heads, head_dim]
        position:   In<'a, u64>,    // [1], of token 0
        k_ring:     Out<'a, bf16>,  // [n_slots, n_kv_heads, head_dim]
        v_ring:     Out<'a, bf16>,  // [n_slots, n_kv_heads, head_dim]
        n_tokens:   u32,            // at most n_slots
        n_kv_heads: u32,
        head_dim:   u32,
        n_slots:    u32,
    }
}

impl RingWrite<'_> {
    /// One block a token.
    pub fn launch(&self, device: &Device) -> Result<()> {
        self.launch_grid(device, Grid::x(self.n_tokens))
    }

    /// On any grid.
    pub fn launch_grid(&self, device: &Device, grid: Grid) -> Result<()> {
        let Self { n_tokens, n_kv_heads, head_dim, n_slots, .. } = *self;
        assert_eights("n_kv_heads * head_dim", n_kv_heads * head_dim);
        assert!(n_tokens <= n_slots, "{n_tokens} tokens would overwrite each other in {n_slots} slots");
        self.k_chunk.assert_holds([n_tokens, n_kv_heads, head_dim]);
        self.v_chunk.assert_holds([n_tokens, n_kv_heads, head_dim]);
        self.position.assert_shape([1]);
        self.k_ring.assert_shape([n_slots, n_kv_heads, head_dim]);
        self.v_ring.assert_shape([n_slots, n_kv_heads, head_dim]);
        self.launch_on(device, grid)
    }

    /// Keys and values, read and written.
    pub fn bytes(&self) -> u64 {
        4 * bytes_of::<bf16>(&[self.n_tokens, self.n_kv_heads, self.head_dim])
    }

    /// None: it copies.
    pub fn flops(&self) -> u64 {
        0
    }
}
