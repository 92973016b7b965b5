//! What the products of a chunk have in common, see kernels/chunk.cuh.

use crate::device::{Device, Grid};
use crate::kernels::product::MAX_SEGMENTS;

/// What a block has on its way: as much as every card from Ampere on gives it.
const STAGES_BYTES: u32 = 96 * 1024;
/// That, and the totals of a block of 256 rows and 128 tokens, which is the fastest where there is room: on H100 and B200.
const STAGES_AND_TOTALS_BYTES: u32 = STAGES_BYTES + 128 * 1024;

/// The most tokens with which blocks share the columns of a part of the result.
const SHARED_PART_TOKENS: u32 = 256;

/// What [`PrefillResidual`](super::PrefillResidual) needs for the sums of segments, with up to so many tokens: for whole
/// parts of the result.
pub fn segment_sums_shape(n_tokens: u32, n_out: u32) -> [u32; 3] {
    [n_tokens.min(SHARED_PART_TOKENS).next_multiple_of(128), MAX_SEGMENTS, n_out.next_multiple_of(256)]
}

/// A ticket for each part of the result, the smallest being of 16 tokens and 64 rows.
pub fn part_tickets_shape(n_tokens: u32, n_out: u32) -> [u32; 2] {
    [n_tokens.min(SHARED_PART_TOKENS).div_ceil(16), n_out.div_ceil(64)]
}

/// One block fills a multiprocessor. The kernel cuts the result into parts that suit so many blocks.
pub(super) fn chunk_grid(device: &Device) -> Grid {
    Grid::x(device.n_multiprocessors())
}

/// The grid of a product, with the shared memory that it uses.
pub(super) fn with_stages(device: &Device, grid: Grid) -> Grid {
    let has_room = device.max_shared_bytes() >= STAGES_AND_TOTALS_BYTES;
    grid.shared(if has_room { STAGES_AND_TOTALS_BYTES } else { STAGES_BYTES })
}
