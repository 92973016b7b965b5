use super::product::{assert_norm, norm_bytes, norm_shared_bytes, product_grid};
use super::{bytes_of, count, tiles_shape};
use crate::device::{Cost, Device, Grid, Result};
use crate::kernel;
use crate::kernel::{Half, In, Out};

kernel! {
    /// Norm, the gate and up projections, and SwiGLU.
    pub struct GateUp<'a, W: Half> = { bf16: gate_up_bf16, f16: gate_up_f16 } {
        weight:     In<'a, W>,    // tiles of [2 * hidden_dim, dim], pairs of gate and up
        x:          In<'a, f32>,  // [n_tokens, dim]
        squares:    In<'a, f32>,  // [n_tokens, ceil(dim / 16)] of x
        norm:       In<'a, W>,    // [dim]
        act:        Out<'a, W>,   // [n_tokens, hidden_dim]
        n_tokens:   u32,          // up to MAX_TOKENS
        dim:        u32,
        hidden_dim: u32,
        eps:        f32,
    }
}

impl<W: Half> GateUp<'_, W> {
    /// As many blocks as run at once.
    pub fn launch(&self, device: &Device) -> Result<()> {
        device.note(|_| Cost { bytes: self.bytes(), flops: self.flops() });
        self.launch_grid(device, product_grid(device, self.weight_shape()[0], self.dim))
    }

    /// On any grid.
    pub fn launch_grid(&self, device: &Device, grid: Grid) -> Result<()> {
        let Self { n_tokens, dim, hidden_dim, .. } = *self;
        assert_norm(self.x, self.squares, self.norm, n_tokens, dim);
        self.weight.assert_shape(self.weight_shape());
        self.act.assert_holds([n_tokens, hidden_dim]);
        self.launch_on(device, grid.shared(norm_shared_bytes::<W>(n_tokens, dim)))
    }

    /// The weight, what the norm reads, and the result.
    pub fn bytes(&self) -> u64 {
        let Self { n_tokens, dim, hidden_dim, .. } = *self;
        bytes_of::<W>(&self.weight_shape()) + norm_bytes::<W>(n_tokens, dim) + bytes_of::<W>(&[n_tokens, hidden_dim])
    }

    /// A product and a sum a weight and token.
    pub fn flops(&self) -> u64 {
        2 * count(&[self.n_tokens, 2 * self.hidden_dim, self.dim])
    }

    fn weight_shape(&self) -> [u32; 5] {
        tiles_shape([2 * self.hidden_dim, self.dim])
    }
}
