use super::{bytes_of, count};
use crate::device::{Device, Grid, Result};
use crate::kernel;
use crate::kernel::{In, Out};
use half::bf16;

kernel! {
    /// Turns queries and keys by their positions; rounds them and the values to bf16.
    pub struct Rope<'a> = rope {
        qkv:               In<'a, f32>,    // [n_tokens, n_heads + 2*n_kv_heads, head_dim]
        turn_per_position: In<'a, u64>,    // [head_dim/2], see rope::turns_per_position
        position:          In<'a, u64>,    // [1], of token 0
        q:                 Out<'a, bf16>,  // [n_tokens, n_heads, head_dim]
        k_chunk:           Out<'a, bf16>,  // [n_tokens, n_kv_heads, head_dim]
        v_chunk:           Out<'a, bf16>,  // [n_tokens, n_kv_heads, head_dim]
        n_tokens:          u32,
        n_heads:           u32,
        n_kv_heads:        u32,
        head_dim:          u32,
    }
}

/// Heads of a block: they share the sines of their token.
const BLOCK_HEADS: u32 = 8;

impl Rope<'_> {
    /// One block a token and eight heads.
    pub fn launch(&self, device: &Device) -> Result<()> {
        self.launch_grid(device, Grid::xy(self.n_tokens, self.n_all_heads().div_ceil(BLOCK_HEADS)))
    }

    /// On any grid.
    pub fn launch_grid(&self, device: &Device, grid: Grid) -> Result<()> {
        let Self { n_tokens, n_heads, n_kv_heads, head_dim, .. } = *self;
        assert!(head_dim > 0 && head_dim.is_multiple_of(2), "RoPE turns pairs, head_dim is {head_dim}");
        self.qkv.assert_holds([n_tokens, self.n_all_heads(), head_dim]);
        self.turn_per_position.assert_shape([head_dim / 2]);
        self.position.assert_shape([1]);
        self.q.assert_holds([n_tokens, n_heads, head_dim]);
        self.k_chunk.assert_holds([n_tokens, n_kv_heads, head_dim]);
        self.v_chunk.assert_holds([n_tokens, n_kv_heads, head_dim]);
        self.launch_on(device, grid)
    }

    /// The projection and what becomes of it, and the turns.
    pub fn bytes(&self) -> u64 {
        let all = [self.n_tokens, self.n_all_heads(), self.head_dim];
        bytes_of::<f32>(&all) + bytes_of::<bf16>(&all) + bytes_of::<u64>(&[self.head_dim / 2])
    }

    /// Two products and a sum an element of a query or key.
    pub fn flops(&self) -> u64 {
        3 * count(&[self.n_tokens, self.n_heads + self.n_kv_heads, self.head_dim])
    }

    fn n_all_heads(&self) -> u32 {
        self.n_heads + 2 * self.n_kv_heads
    }
}
