use super::{assert_eights, bytes_of, count};
use crate::device::{Cost, Device, Grid, Result};
use crate::kernel;
use crate::kernel::{Half, In, Out};

kernel! {
    /// Puts rows of a matrix where the products read them.
    pub struct Tile<'a, W: Half> = { bf16: tile_bf16, f16: tile_f16 } {
        rows:          In<'a, W>,   // [n_rows, n_in], rows first_row.. of the matrix
        tiles:         Out<'a, W>,  // tiles_shape([n_out, n_in])
        n_rows:        u32,
        n_in:          u32,
        first_row:     u32,
        pair_distance: u32,
    }
}

/// The shape of a matrix [n_out, n_in] in tiles, with the padding: [n_row_tiles, n_groups, 2, 32, 8], see
/// kernels/tiles.cuh.
pub const fn tiles_shape([n_out, n_in]: [u32; 2]) -> [u32; 5] {
    [n_out.div_ceil(16), n_in.div_ceil(32), 2, 32, 8]
}

/// The elements of a matrix [n_out, n_in] in tiles, with the padding.
pub fn n_tiled(shape: [u32; 2]) -> u64 {
    count(&tiles_shape(shape))
}

impl<W: Half> Tile<'_, W> {
    /// Four rows a warp, and one block a multiprocessor at the most.
    pub fn launch(&self, device: &Device) -> Result<()> {
        device.note(|_| Cost { bytes: self.bytes(), flops: self.flops() });
        self.launch_grid(device, Grid::x(self.n_rows.div_ceil(32).min(device.n_multiprocessors())))
    }

    /// On any grid.
    pub fn launch_grid(&self, device: &Device, grid: Grid) -> Result<()> {
        let Self { n_rows, n_in, first_row, pair_distance, .. } = *self;
        assert_eights("n_in", n_in);
        self.rows.assert_holds([n_rows, n_in]);
        self.tiles.assert_rows_of(tiles_shape([16, n_in]));
        // Where a run of pairs has begun, its last row may be written.
        let end = (first_row + n_rows).next_multiple_of((2 * pair_distance).max(1));
        self.tiles.assert_holds(tiles_shape([end, n_in]));
        self.launch_on(device, grid)
    }

    /// The rows, read and written.
    pub fn bytes(&self) -> u64 {
        2 * bytes_of::<W>(&[self.n_rows, self.n_in])
    }

    /// None: the bits stay as they are.
    pub fn flops(&self) -> u64 {
        0
    }
}
