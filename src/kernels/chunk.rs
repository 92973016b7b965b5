//! What the products of a chunk have in common, see kernels/chunk.cuh.

use crate::device::{Device, Grid};

/// What a block has on its way: as much as every card from Ampere on gives it.
const STAGES_BYTES: u32 = 96 * 1024;
/// That, and the totals of a block of 256 rows and 128 tokens, which is the fastest where there is room: on H100 and B200.
const STAGES_AND_TOTALS_BYTES: u32 = STAGES_BYTES + 128 * 1024;

/// One block fills a multiprocessor. The kernel cuts the result into parts that suit so many blocks.
pub(super) fn chunk_grid(device: &Device) -> Grid {
    Grid::x(device.n_multiprocessors())
}

/// The grid of a product, with the shared memory that it uses.
pub(super) fn with_stages(device: &Device, grid: Grid) -> Grid {
    let has_room = device.max_shared_bytes() >= STAGES_AND_TOTALS_BYTES;
    grid.shared(if has_room { STAGES_AND_TOTALS_BYTES } else { STAGES_BYTES })
}
