use super::{assert_eights, bytes_of, count, tiles_shape};
use crate::device::{Cost, Device, Grid, Result};
use crate::kernel;
use crate::kernel::Out;
use half::bf16;

kernel! {
    /// Fills a weight with noise: the elements of [`crate::noise`], in tiles.
    pub struct Noise<'a> = noise {
        tiles:         Out<'a, bf16>,  // tiles_shape([n_out, n_in])
        n_out:         u32,
        n_in:          u32,
        pair_distance: u32,            // that of Tile
        seed:          u32,
    }
}

impl Noise<'_> {
    /// Eight blocks a multiprocessor: all the threads that it can hold.
    pub fn launch(&self, device: &Device) -> Result<()> {
        device.note(|_| Cost { bytes: self.bytes(), flops: self.flops() });
        self.launch_grid(device, Grid::x(8 * device.n_multiprocessors()))
    }

    /// On any grid.
    pub fn launch_grid(&self, device: &Device, grid: Grid) -> Result<()> {
        let Self { n_out, n_in, .. } = *self;
        assert_eights("n_in", n_in);
        assert!(count(&tiles_shape([n_out, n_in])) <= 1 << 33, "[{n_out}, {n_in}]: pairs are counted in 32 bits");
        self.tiles.assert_shape(tiles_shape([n_out, n_in]));
        self.launch_on(device, grid)
    }

    /// The tiles, written.
    pub fn bytes(&self) -> u64 {
        bytes_of::<bf16>(&tiles_shape([self.n_out, self.n_in]))
    }

    /// None: it hashes.
    pub fn flops(&self) -> u64 {
        0
    }
}
