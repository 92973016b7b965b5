use super::{assert_eights, bytes_of, squares_shape, tiles_shape};
use crate::device::{Cost, Device, Grid, Result};
use crate::kernel;
use crate::kernel::{Half, In, Out};

kernel! {
    /// Looks up each token's row of the embedding table.
    pub struct Embed<'a, W: Half> = { bf16: embed_bf16, f16: embed_f16 } {
        tokens:   In<'a, u32>,   // [n_tokens], below vocab_size
        table:    In<'a, W>,     // tiles_shape([vocab_size, dim])
        x:        Out<'a, f32>,  // [n_tokens, dim]
        squares:  Out<'a, f32>,  // [n_tokens, ceil(dim / 16)] of x
        n_tokens: u32,
        dim:      u32,
    }
}

impl<W: Half> Embed<'_, W> {
    /// One thread for four elements.
    pub fn launch(&self, device: &Device) -> Result<()> {
        device.note(|_| Cost { bytes: self.bytes(), flops: self.flops() });
        self.launch_grid(device, Grid::x((self.n_tokens * self.dim / 4).div_ceil(256)))
    }

    /// On any grid.
    pub fn launch_grid(&self, device: &Device, grid: Grid) -> Result<()> {
        let Self { n_tokens, dim, .. } = *self;
        assert_eights("dim", dim);
        self.tokens.assert_holds([n_tokens]);
        self.table.assert_rows_of(tiles_shape([16, dim]));
        self.x.assert_holds([n_tokens, dim]);
        self.squares.assert_holds(squares_shape(n_tokens, dim));
        self.launch_on(device, grid)
    }

    /// The tokens, their rows, x and its squares.
    pub fn bytes(&self) -> u64 {
        let Self { n_tokens, dim, .. } = *self;
        bytes_of::<u32>(&[n_tokens])
            + bytes_of::<W>(&[n_tokens, dim])
            + bytes_of::<f32>(&[n_tokens, dim])
            + bytes_of::<f32>(&squares_shape(n_tokens, dim))
    }

    /// None: the rows are only widened.
    pub fn flops(&self) -> u64 {
        0
    }
}
