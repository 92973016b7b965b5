//! What the tests of the kernels that multiply share: random inputs, what exact arithmetic makes of them, and how far a
//! sum may be off.

use crate::common::oracle::{Exact, F32_ROUNDING, rms_norm, sum};
use crate::common::tiles::tiles_of;
use crate::common::*;
use gale::device::Buffer;
use std::ops::Range;

/// Inputs of two, four and eight segments, which fill segments and groups of columns and which don't.
pub const DIMS: [u32; 12] = [8, 24, 32, 72, 256, 264, 344, 576, 1024, 1544, 2048, 2264];

pub const EPS: f32 = 1e-5;

/// Roundings on the way of a product to the sum: its segment's columns, then the segments, two to eight. PTX promises sums of
/// at least single precision within mma, not how they round, and truncation loses up to twice as much.
pub fn n_roundings(n_in: u32) -> u32 {
    let n_segments = [2, 4, 8][usize::from(n_in >= 1024) + usize::from(n_in >= 2048)];
    2 * n_in.div_ceil(32).div_ceil(n_segments) * 32 + n_segments
}

/// The same, behind a norm: its result is rounded to W, after a few roundings in f32.
pub fn n_normed_roundings<W: Weight>(n_in: u32) -> u32 {
    n_roundings(n_in) + (W::ROUNDING / F32_ROUNDING) as u32 + n_in.div_ceil(32) + 24
}

pub fn upload_tiles<W: Weight>(case: &Case, rows: &[W], n_in: u32, pair_distance: u32) -> Buffer<W> {
    case.upload(&tiles_of(rows, n_in, pair_distance))
}

/// The sums of squares of x: [n_tokens, ceil(dim / 16)].
pub fn squares(x: &[f32], dim: u32) -> Vec<f32> {
    let of = |it: &[f32]| it.iter().fold(0.0f32, |sum, it| it.mul_add(*it, sum));
    x.chunks(dim as usize).flat_map(|row| row.chunks(16).map(of)).collect()
}

/// A residual stream, and the norm that reads it.
pub struct Stream<W> {
    pub x: Vec<f32>, // [n_tokens, dim]
    norm: Vec<W>,    // [dim]
}

/// The same on the device.
pub struct Uploaded<W> {
    pub x: Buffer<f32>,
    pub squares: Buffer<f32>,
    pub norm: Buffer<W>,
}

impl<W: Weight> Stream<W> {
    pub fn random(case: &mut Case, n_tokens: u32, dim: u32) -> Stream<W> {
        Stream { x: case.floats([n_tokens, dim]), norm: case.halves([dim]) }
    }

    pub fn dim(&self) -> u32 {
        self.norm.len() as u32
    }

    pub fn norm(&self) -> &[W] {
        &self.norm
    }

    /// Token t alone.
    pub fn token(&self, t: u32) -> Stream<W> {
        self.tokens(t..t + 1)
    }

    /// Some of the tokens.
    pub fn tokens(&self, tokens: Range<u32>) -> Stream<W> {
        let dim = self.norm.len();
        let x = self.x[tokens.start as usize * dim..tokens.end as usize * dim].to_vec();
        Stream { x, norm: self.norm.clone() }
    }

    pub fn upload(&self, case: &Case) -> Uploaded<W> {
        let squares = case.upload(&squares(&self.x, self.dim()));
        Uploaded { x: case.upload(&self.x), squares, norm: case.upload(&self.norm) }
    }

    /// `weight` [n_out, dim] times each normed token: [n_tokens, n_out].
    pub fn times(&self, weight: &[W]) -> Vec<Vec<Exact>> {
        let dim = self.norm.len();
        let of_token = |x: &[f32]| {
            let h = rms_norm(x, &self.norm, EPS);
            let product = |row: &[W]| sum(row.iter().zip(&h).map(|(w, h)| w.f64() * h.value));
            weight.chunks(dim).map(product).collect()
        };
        self.x.chunks(dim).map(of_token).collect()
    }
}
