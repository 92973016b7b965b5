use super::product::{norm_bytes, squares_shape};
use super::{assert_eights, bytes_of, count};
use crate::device::{Cost, Device, Grid, Result};
use crate::kernel;
use crate::kernel::{Half, In, Out};

kernel! {
    /// RMSNorm of a chunk: the input of its products.
    pub struct Norm<'a, W: Half> = { bf16: norm_bf16, f16: norm_f16 } {
        x:        In<'a, f32>, // [n_tokens, dim]
        squares:  In<'a, f32>, // [n_tokens, ceil(dim / 16)] of x
        norm:     In<'a, W>,   // [dim]
        h:        Out<'a, W>,  // [n_tokens, dim]
        n_tokens: u32,
        dim:      u32,
        eps:      f32,
    }
}

/// Columns of a token that a warp takes: kernels/norm.cu, n_item_columns.
const WARP_COLUMNS: u32 = 512;

impl<W: Half> Norm<'_, W> {
    /// A warp for every 512 columns of a token.
    pub fn launch(&self, device: &Device) -> Result<()> {
        device.note(|_| Cost { bytes: self.bytes(), flops: self.flops() });
        self.launch_grid(device, Grid::x((self.n_tokens * self.dim.div_ceil(WARP_COLUMNS)).div_ceil(8)))
    }

    /// On any grid.
    pub fn launch_grid(&self, device: &Device, grid: Grid) -> Result<()> {
        let Self { n_tokens, dim, .. } = *self;
        assert_eights("dim", dim);
        self.x.assert_holds([n_tokens, dim]);
        self.squares.assert_holds(squares_shape(n_tokens, dim));
        self.norm.assert_shape([dim]);
        self.h.assert_holds([n_tokens, dim]);
        self.launch_on(device, grid)
    }

    /// x, its squares, the norm's weight, and h.
    pub fn bytes(&self) -> u64 {
        let Self { n_tokens, dim, .. } = *self;
        norm_bytes::<W>(n_tokens, dim) + bytes_of::<W>(&[n_tokens, dim])
    }

    /// Two products an element, and those of the squares' sums, which are few.
    pub fn flops(&self) -> u64 {
        2 * count(&[self.n_tokens, self.dim])
    }
}
