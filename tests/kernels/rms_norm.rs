//! Planted once, and seen to fail here: `eps` left out.

use crate::common::oracle::{assert_rounds_to, rms_norm};
use crate::common::*;
use crate::for_both_types;
use gale::device::Grid;
use gale::kernels::RmsNorm;

fn normalise<W: Weight>(case: &Case, grid: Option<Grid>, x: &[f32], weight: &[W], eps: f32) -> Vec<W> {
    let dim = weight.len() as u32;
    let n_tokens = x.len() as u32 / dim;
    let mut y = case.alloc([n_tokens, dim]);
    let it = RmsNorm { x: &case.upload(x), weight: &case.upload(weight), y: &mut y, n_tokens, dim, eps };
    match grid {
        Some(grid) => it.launch_grid(case.device, grid).unwrap(),
        None => it.launch(case.device).unwrap(),
    }
    y.to_vec().unwrap()
}

/// A thread squares and adds eight numbers a trip, then come five steps over lanes and eight over warps, mean, eps,
/// root, quotient and two products.
fn n_roundings(dim: u32) -> u32 {
    8 * dim.div_ceil(256 * 8) + 5 + 8 + 6
}

fn matches_oracle<W: Weight>(case: &mut Case) {
    let (n_tokens, dim) = (case.int(1..=5), 8 * case.pick(&[1, 2, 31, 32, 33, 72, 255, 256, 257, 512]));
    let scale = case.pick(&[1e-4, 1.0, 300.0]);
    let x: Vec<f32> = case.floats([n_tokens, dim]).iter().map(|it| it * scale).collect();
    let weight: Vec<W> = case.halves([dim]);
    let (eps, grid) = (1e-5, case.grid());

    let y = normalise(case, Some(grid), &x, &weight, eps);

    for (y, x) in y.chunks(dim as usize).zip(x.chunks(dim as usize)) {
        assert_rounds_to(y, &rms_norm(x, &weight, eps), n_roundings(dim));
    }
}

/// A token's bits are those that it has by itself.
fn ignores_other_tokens<W: Weight>(case: &mut Case) {
    let (n_tokens, dim) = (case.int(1..=5), 8 * case.int(1..=300));
    let x = case.floats([n_tokens, dim]);
    let weight: Vec<W> = case.halves([dim]);
    let grid = case.grid();

    let together = normalise(case, Some(grid), &x, &weight, 1e-5);

    let alone = x.chunks(dim as usize).flat_map(|x| normalise(case, None, x, &weight, 1e-5));
    assert_same_bits(&together, &alone.collect::<Vec<W>>());
}

/// What f16 cannot hold becomes its largest number, and stays finite.
#[test]
fn rms_norm_saturates_in_f16() {
    for_all(|case| {
        let x: Vec<f32> = (0..64).map(|i| if i == 0 { -1e4 } else { 0.0 }).collect(); // normalised: -8, 0, 0, ...
        let weight = [half::f16::from_f32(60000.0); 64];
        let y = normalise(case, None, &x, &weight, 0.0);
        assert_eq!((y[0], y[1].to_f32()), (half::f16::MIN, 0.0));
    });
}

#[test]
fn rms_norm_matches_oracle() {
    for_both_types!(matches_oracle);
}

#[test]
fn rms_norm_ignores_other_tokens() {
    for_both_types!(ignores_other_tokens);
}
