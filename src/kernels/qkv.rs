use super::product::{MAX_TOKENS, assert_norm, norm_bytes, norm_shared_bytes, product_grid};
use super::{bytes_of, count, tiles_shape};
use crate::device::{Cost, Device, Grid, Result};
use crate::kernel;
use crate::kernel::{Half, In, Out};
use half::bf16;

kernel! {
    /// Norm, the query, key and value projections, RoPE, and the way of keys and values into the ring or to staging.
    pub struct Qkv<'a, W: Half> = { bf16: qkv_bf16, f16: qkv_f16 } {
        weight:            In<'a, W>,     // tiles of [(n_heads + 2*n_kv_heads) * head_dim, dim], pairs of a head
        x:                 In<'a, f32>,   // [n_tokens, dim]
        squares:           In<'a, f32>,   // [n_tokens, ceil(dim / 16)] of x
        norm:              In<'a, W>,     // [dim]
        turn_per_position: In<'a, u64>,   // [head_dim/2], see rope::turns_per_position
        position:          In<'a, u64>,   // [1], of token 0
        q:                 Out<'a, bf16>, // [n_tokens, n_heads, head_dim]
        k_ring:            Out<'a, bf16>, // [n_layers, n_slots, n_kv_heads, head_dim]
        v_ring:            Out<'a, bf16>, // [n_layers, n_slots, n_kv_heads, head_dim]
        k_staged:          Out<'a, bf16>, // [n_layers, MAX_TOKENS, n_kv_heads, head_dim]
        v_staged:          Out<'a, bf16>, // [n_layers, MAX_TOKENS, n_kv_heads, head_dim]
        n_tokens:          u32,           // up to MAX_TOKENS
        n_staged:          u32,           // n_tokens: keys and values go to staging; 0: one token's go into the ring
        layer:             u32,
        dim:               u32,
        n_heads:           u32,
        n_kv_heads:        u32,
        head_dim:          u32,
        n_slots:           u32,
        eps:               f32,
    }
}

impl<W: Half> Qkv<'_, W> {
    /// As many blocks as run at once.
    pub fn launch(&self, device: &Device) -> Result<()> {
        device.note(|_| Cost { bytes: self.bytes(), flops: self.flops() });
        self.launch_grid(device, product_grid(device, self.weight_shape()[0], self.dim))
    }

    /// On any grid.
    pub fn launch_grid(&self, device: &Device, grid: Grid) -> Result<()> {
        let Self { n_tokens, n_staged, layer, dim, n_heads, n_kv_heads, head_dim, n_slots, .. } = *self;
        assert_norm(self.x, self.squares, self.norm, n_tokens, dim);
        assert!(head_dim > 0 && head_dim.is_multiple_of(2), "RoPE turns pairs, head_dim is {head_dim}");
        let is_known = n_staged == n_tokens || (n_staged == 0 && n_tokens == 1);
        assert!(is_known, "all of the {n_tokens} tokens are staged, or the only one is not: n_staged is {n_staged}");
        self.weight.assert_shape(self.weight_shape());
        self.turn_per_position.assert_shape([head_dim / 2]);
        self.position.assert_shape([1]);
        self.q.assert_holds([n_tokens, n_heads, head_dim]);
        self.k_ring.assert_holds([layer + 1, n_slots, n_kv_heads, head_dim]);
        self.v_ring.assert_holds([layer + 1, n_slots, n_kv_heads, head_dim]);
        self.k_staged.assert_holds([layer + 1, MAX_TOKENS, n_kv_heads, head_dim]);
        self.v_staged.assert_holds([layer + 1, MAX_TOKENS, n_kv_heads, head_dim]);
        self.launch_on(device, grid.shared(norm_shared_bytes::<W>(n_tokens, dim)))
    }

    /// The weight, what the norm reads, the turns, and the result.
    pub fn bytes(&self) -> u64 {
        let Self { n_tokens, dim, head_dim, .. } = *self;
        bytes_of::<W>(&self.weight_shape())
            + norm_bytes::<W>(n_tokens, dim)
            + bytes_of::<u64>(&[head_dim / 2])
            + bytes_of::<bf16>(&[n_tokens, self.n_out()])
    }

    /// A product and a sum a weight and token.
    pub fn flops(&self) -> u64 {
        2 * count(&[self.n_tokens, self.n_out(), self.dim])
    }

    fn n_out(&self) -> u32 {
        (self.n_heads + 2 * self.n_kv_heads) * self.head_dim
    }

    fn weight_shape(&self) -> [u32; 5] {
        tiles_shape([self.n_out(), self.dim])
    }
}
