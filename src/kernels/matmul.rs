use super::{assert_eights, bytes_of, count, rows_per_warp};
use crate::device::{Device, Grid, Result};
use crate::kernel;
use crate::kernel::{Half, In, Out};

kernel! {
    /// Multiplies a weight matrix and many tokens. Each row of y has the bits that `Matvec` gives.
    pub struct Matmul<'a, W: Half> = { bf16: matmul_bf16, f16: matmul_f16 } {
        weight:     In<'a, W>,     // [n_out, n_in]
        x:          In<'a, W>,     // [n_tokens, n_in]
        y:          Out<'a, f32>,  // [n_tokens, n_out]
        n_tokens:   u32,
        n_in:       u32,
        n_out:      u32,
        accumulate: u32,           // 0: y = weight x; else y += weight x
    }
}

impl<W: Half> Matmul<'_, W> {
    /// One warp a tile of rows and eight tokens, eight warps a block.
    pub fn launch(&self, device: &Device) -> Result<()> {
        let n_warps = self.n_out.div_ceil(rows_per_warp(self.n_in)) * self.n_tokens.div_ceil(8);
        self.launch_grid(device, Grid::x(n_warps.div_ceil(8)))
    }

    /// On any grid.
    pub fn launch_grid(&self, device: &Device, grid: Grid) -> Result<()> {
        let Self { n_tokens, n_in, n_out, .. } = *self;
        assert_eights("n_in", n_in);
        self.weight.assert_shape([n_out, n_in]);
        self.x.assert_holds([n_tokens, n_in]);
        self.y.assert_holds([n_tokens, n_out]);
        self.launch_on(device, grid)
    }

    /// The weight, x and y, which is read too if it is added to.
    pub fn bytes(&self) -> u64 {
        let Self { n_tokens, n_in, n_out, accumulate, .. } = *self;
        let y = bytes_of::<f32>(&[n_tokens, n_out]) * if accumulate == 0 { 1 } else { 2 };
        bytes_of::<W>(&[n_out, n_in]) + bytes_of::<W>(&[n_tokens, n_in]) + y
    }

    /// A product and a sum a weight and token.
    pub fn flops(&self) -> u64 {
        2 * count(&[self.n_tokens, self.n_out, self.n_in])
    }
}
