use super::chunk::{chunk_grid, with_stages};
use super::{assert_eights, bytes_of, count, tiles_shape};
use crate::device::{Cost, Device, Grid, Result};
use crate::kernel;
use crate::kernel::{Half, In, Out};

kernel! {
    /// The gate and up projections of a chunk, and SwiGLU, with the bits of [`GateUp`](super::GateUp).
    pub struct PrefillGateUp<'a, W: Half> = { bf16: prefill_gate_up_bf16, f16: prefill_gate_up_f16 } {
        weight:     In<'a, W>,    // tiles of [2 * hidden_dim, dim], pairs of gate and up
        h:          In<'a, W>,    // [n_tokens, dim], what Norm made
        act:        Out<'a, W>,   // [n_tokens, hidden_dim]
        n_tokens:   u32,
        dim:        u32,
        hidden_dim: u32,
    }
}

impl<W: Half> PrefillGateUp<'_, W> {
    /// One block a multiprocessor.
    pub fn launch(&self, device: &Device) -> Result<()> {
        device.note(|_| Cost { bytes: self.bytes(), flops: self.flops() });
        self.launch_grid(device, chunk_grid(device))
    }

    /// On any grid.
    pub fn launch_grid(&self, device: &Device, grid: Grid) -> Result<()> {
        let Self { n_tokens, dim, hidden_dim, .. } = *self;
        assert_eights("dim", dim);
        self.weight.assert_shape(tiles_shape([2 * hidden_dim, dim]));
        self.h.assert_holds([n_tokens, dim]);
        self.act.assert_holds([n_tokens, hidden_dim]);
        self.launch_on(device, with_stages(device, grid))
    }

    /// The weight, h, and the result.
    pub fn bytes(&self) -> u64 {
        let Self { n_tokens, dim, hidden_dim, .. } = *self;
        bytes_of::<W>(&tiles_shape([2 * hidden_dim, dim]))
            + bytes_of::<W>(&[n_tokens, dim])
            + bytes_of::<W>(&[n_tokens, hidden_dim])
    }

    /// A product and a sum a weight and token.
    pub fn flops(&self) -> u64 {
        2 * count(&[self.n_tokens, 2 * self.hidden_dim, self.dim])
    }
}
