//! What the kernels that multiply have in common, see kernels/product.cuh.

use super::{bytes_of, tiles_shape};
use crate::device::{Buffer, Device, Element, Grid};

/// The most tokens that one launch takes.
pub const MAX_TOKENS: u32 = 8;
/// Pieces that the columns of a row are cut into, if it is long.
pub(super) const MAX_SEGMENTS: u32 = 8;
/// Rows of a weight that are multiplied at once.
const TILE_ROWS: u32 = 16;
/// Columns of a tile.
const GROUP_DIMS: u32 = 32;

/// Blocks of a multiplying kernel that a multiprocessor holds: 24 warps with 4 KiB of weights on the way to each.
const BLOCKS_PER_MULTIPROCESSOR: u32 = 3;

/// The shape of the sums of squares of rows [n_rows, dim], one for every 16 elements.
pub fn squares_shape(n_rows: u32, dim: u32) -> [u32; 2] {
    [n_rows, dim.div_ceil(TILE_ROWS)]
}

/// A block takes row tiles in turn, and no more blocks start than run at once: what a block prepares serves all its
/// tiles. Blocks have eight warps, of which short rows need only some for a tile.
pub(super) fn product_grid(device: &Device, n_tiles: u32, n_in: u32) -> Grid {
    let block_tiles = match n_in {
        2048.. => 1,
        1024.. => 2,
        _ => 4,
    };
    Grid::x(n_tiles.div_ceil(block_tiles).min(BLOCKS_PER_MULTIPROCESSOR * device.n_multiprocessors()))
}

/// Dynamic shared memory of a kernel that norms its tokens: kernels/norm.cuh, norm_stride.
pub fn norm_shared_bytes<W>(n_tokens: u32, dim: u32) -> u32 {
    n_tokens * (dim.div_ceil(GROUP_DIMS) | 1) * GROUP_DIMS * size_of::<W>() as u32
}

/// What the norm reads: x, its squares, and the norm's weight.
pub(super) fn norm_bytes<W>(n_tokens: u32, dim: u32) -> u64 {
    bytes_of::<f32>(&[n_tokens, dim]) + bytes_of::<f32>(&squares_shape(n_tokens, dim)) + bytes_of::<W>(&[dim])
}

/// What a product that is added to the residual stream needs: the weight, its input, the stream twice, and its squares.
pub(super) fn residual_bytes<W>(n_tokens: u32, n_in: u32, n_out: u32) -> u64 {
    bytes_of::<W>(&tiles_shape([n_out, n_in]))
        + bytes_of::<W>(&[n_tokens, n_in])
        + 2 * bytes_of::<f32>(&[n_tokens, n_out])
        + bytes_of::<f32>(&squares_shape(n_tokens, n_out))
}

#[track_caller]
pub(super) fn assert_tokens(n_tokens: u32) {
    assert!((1..=MAX_TOKENS).contains(&n_tokens), "a launch takes 1 to {MAX_TOKENS} tokens, not {n_tokens}");
}

/// The inputs of the norm.
#[track_caller]
pub(super) fn assert_norm<W: Element>(
    x: &Buffer<f32>,
    squares: &Buffer<f32>,
    norm: &Buffer<W>,
    n_tokens: u32,
    dim: u32,
) {
    super::assert_eights("dim", dim);
    assert_tokens(n_tokens);
    x.assert_holds([n_tokens, dim]);
    squares.assert_holds(squares_shape(n_tokens, dim));
    norm.assert_shape([dim]);
}
