use super::chunk::{chunk_grid, with_stages};
use super::{assert_eights, bytes_of, count, tiles_shape};
use crate::device::{Cost, Device, Grid, Result};
use crate::kernel;
use crate::kernel::{Half, In, Out};
use half::bf16;

kernel! {
    /// The query, key and value projections of a chunk, and RoPE, with the bits of [`Qkv`](super::Qkv).
    pub struct PrefillQkv<'a, W: Half> = { bf16: prefill_qkv_bf16, f16: prefill_qkv_f16 } {
        weight:            In<'a, W>,     // tiles of [(n_heads + 2*n_kv_heads) * head_dim, dim], pairs of a head
        h:                 In<'a, W>,     // [n_tokens, dim], what Norm made
        turn_per_position: In<'a, u64>,   // [head_dim/2], see rope::turns_per_position
        position:          In<'a, u64>,   // [1], of token 0
        q:                 Out<'a, bf16>, // [n_tokens, n_heads, head_dim]
        k_chunk:           Out<'a, bf16>, // [n_tokens, n_kv_heads, head_dim]
        v_chunk:           Out<'a, bf16>, // [n_tokens, n_kv_heads, head_dim]
        n_tokens:          u32,
        dim:               u32,
        n_heads:           u32,
        n_kv_heads:        u32,
        head_dim:          u32,
    }
}

impl<W: Half> PrefillQkv<'_, W> {
    /// One block a multiprocessor.
    pub fn launch(&self, device: &Device) -> Result<()> {
        device.note(|_| Cost { bytes: self.bytes(), flops: self.flops() });
        self.launch_grid(device, chunk_grid(device))
    }

    /// On any grid.
    pub fn launch_grid(&self, device: &Device, grid: Grid) -> Result<()> {
        let Self { n_tokens, dim, n_heads, n_kv_heads, head_dim, .. } = *self;
        assert_eights("dim", dim);
        assert!(head_dim > 0 && head_dim.is_multiple_of(2), "RoPE turns pairs, head_dim is {head_dim}");
        self.weight.assert_shape(tiles_shape([self.n_out(), dim]));
        self.h.assert_holds([n_tokens, dim]);
        self.turn_per_position.assert_shape([head_dim / 2]);
        self.position.assert_shape([1]);
        self.q.assert_holds([n_tokens, n_heads, head_dim]);
        self.k_chunk.assert_holds([n_tokens, n_kv_heads, head_dim]);
        self.v_chunk.assert_holds([n_tokens, n_kv_heads, head_dim]);
        self.launch_on(device, with_stages(device, grid))
    }

    /// The weight, h, the turns, and the result.
    pub fn bytes(&self) -> u64 {
        let Self { n_tokens, dim, head_dim, .. } = *self;
        bytes_of::<W>(&tiles_shape([self.n_out(), dim]))
            + bytes_of::<W>(&[n_tokens, dim])
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
}
