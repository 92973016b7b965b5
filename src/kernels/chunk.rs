//! What the products of a chunk have in common, see kernels/chunk.cuh.

use crate::device::{Device, Grid};

/// Stages of weights and tokens on their way: as much as every card from Ampere on has for a block.
const SHARED_BYTES: u32 = 96 * 1024;

/// One block fills a multiprocessor. The kernel cuts the result into parts that suit so many blocks.
pub(super) fn chunk_grid(device: &Device) -> Grid {
    Grid::x(device.n_multiprocessors())
}

/// The grid of a product, with the shared memory that it uses.
pub(super) fn with_stages(grid: Grid) -> Grid {
    grid.shared(SHARED_BYTES)
}
