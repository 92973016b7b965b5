use super::{assert_eights, bytes_of, count};
use crate::device::{Device, Grid, Result};
use crate::kernel;
use crate::kernel::{Half, In, Out};

kernel! {
    /// Gates one half of each token's row by the other.
    pub struct Swiglu<'a, W: Half> = { bf16: swiglu_bf16, f16: swiglu_f16 } {
        gate_up:    In<'a, f32>,  // [n_tokens, 2, hidden_dim]
        y:          Out<'a, W>,   // [n_tokens, hidden_dim]
        n_tokens:   u32,
        hidden_dim: u32,
    }
}

impl<W: Half> Swiglu<'_, W> {
    /// 128 threads a block, eight elements a thread.
    pub fn launch(&self, device: &Device) -> Result<()> {
        self.launch_grid(device, Grid::xy(self.n_tokens, self.hidden_dim.div_ceil(128 * 8)))
    }

    /// On any grid.
    pub fn launch_grid(&self, device: &Device, grid: Grid) -> Result<()> {
        let Self { n_tokens, hidden_dim, .. } = *self;
        assert_eights("hidden_dim", hidden_dim);
        self.gate_up.assert_holds([n_tokens, 2, hidden_dim]);
        self.y.assert_holds([n_tokens, hidden_dim]);
        self.launch_on(device, grid)
    }

    /// Both halves, and y.
    pub fn bytes(&self) -> u64 {
        let Self { n_tokens, hidden_dim, .. } = *self;
        bytes_of::<f32>(&[n_tokens, 2, hidden_dim]) + bytes_of::<W>(&[n_tokens, hidden_dim])
    }

    /// An exponential, a sum, a quotient and a product an element.
    pub fn flops(&self) -> u64 {
        4 * count(&[self.n_tokens, self.hidden_dim])
    }
}
