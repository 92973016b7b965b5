use super::{assert_eights, bytes_of, count};
use crate::device::{Device, Grid, Result};
use crate::kernel;
use crate::kernel::{Half, In, Out};

kernel! {
    /// Divides each token by its root mean square and scales it.
    pub struct RmsNorm<'a, W: Half> = { bf16: rms_norm_bf16, f16: rms_norm_f16 } {
        x:        In<'a, f32>,  // [n_tokens, dim]
        weight:   In<'a, W>,    // [dim]
        y:        Out<'a, W>,   // [n_tokens, dim]
        n_tokens: u32,
        dim:      u32,
        eps:      f32,
    }
}

impl<W: Half> RmsNorm<'_, W> {
    /// One block a token.
    pub fn launch(&self, device: &Device) -> Result<()> {
        self.launch_grid(device, Grid::x(self.n_tokens))
    }

    /// On any grid.
    pub fn launch_grid(&self, device: &Device, grid: Grid) -> Result<()> {
        let Self { n_tokens, dim, .. } = *self;
        assert_eights("dim", dim);
        self.x.assert_holds([n_tokens, dim]);
        self.weight.assert_shape([dim]);
        self.y.assert_holds([n_tokens, dim]);
        self.launch_on(device, grid)
    }

    /// x, the weight, and y.
    pub fn bytes(&self) -> u64 {
        let Self { n_tokens, dim, .. } = *self;
        bytes_of::<f32>(&[n_tokens, dim]) + bytes_of::<W>(&[dim]) + bytes_of::<W>(&[n_tokens, dim])
    }

    /// A square, a sum and two products an element.
    pub fn flops(&self) -> u64 {
        4 * count(&[self.n_tokens, self.dim])
    }
}
