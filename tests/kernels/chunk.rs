//! What the tests of a chunk's products share.

use super::product::{EPS, Stream};
use crate::common::*;
use gale::device::Buffer;
use gale::kernels::{MAX_TOKENS, Norm};
use std::ops::Range;

/// Less than a block takes, as much, and more, for each of its shapes.
pub const CHUNKS: [u32; 13] = [1, 2, 7, 8, 9, 16, 31, 64, 65, 100, 128, 150, 200];

/// The chunk's tokens as decoding would take them: up to eight at a time.
pub fn steps(n_tokens: u32) -> impl Iterator<Item = Range<u32>> {
    (0..n_tokens).step_by(MAX_TOKENS as usize).map(move |first| first..(first + MAX_TOKENS).min(n_tokens))
}

/// Some rows of a tensor on the host.
pub fn rows<T>(of: &[T], rows: Range<u32>, row_dim: u32) -> &[T] {
    &of[(rows.start * row_dim) as usize..(rows.end * row_dim) as usize]
}

/// What a chunk's products multiply: [n_tokens, dim].
pub fn normed<W: Weight>(case: &mut Case, stream: &Stream<W>) -> Buffer<W> {
    let (it, dim) = (stream.upload(case), stream.dim());
    let n_tokens = stream.x.len() as u32 / dim;
    let mut h = case.alloc([n_tokens, dim]);
    let grid = case.grid();
    Norm { x: &it.x, squares: &it.squares, norm: &it.norm, h: &mut h, n_tokens, dim, eps: EPS }
        .launch_grid(case.device, grid)
        .unwrap();
    h
}
