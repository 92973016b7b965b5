//! Planted once, and seen to fail here: the last piece of a row skipped (kernels/tile.cuh).

use crate::common::oracle::{Exact, assert_rounds_to, matvec};
use crate::common::*;
use crate::for_both_types;
use gale::kernels::Matvec;

/// Inputs for which 32, 16 and 8 lanes share a row, with and without idle lanes in the last trip.
pub const N_IN: [u32; 11] = [8, 24, 56, 64, 72, 128, 256, 264, 576, 768, 1536];

/// Roundings on the way of a product to the sum: a lane's products in order, five steps over lanes, what was there.
pub fn n_roundings(n_in: u32) -> u32 {
    let n_pieces = n_in / 8;
    let n_lanes = (n_pieces & n_pieces.wrapping_neg()).clamp(8, 32);
    8 * n_pieces.div_ceil(n_lanes) + 5 + 1
}

fn matches_oracle<W: Weight>(case: &mut Case) {
    let (n_in, n_out, accumulate) = (case.pick(&N_IN), case.int(1..=70), case.int(0..=1));
    let (weight, x): (Vec<W>, Vec<W>) = (case.halves([n_out, n_in]), case.halves([n_in]));
    let before = case.floats([n_out]);

    let mut y = case.upload(&before);
    let grid = case.grid();
    Matvec { weight: &case.upload(&weight), x: &case.upload(&x), y: &mut y, n_in, n_out, accumulate }
        .launch_grid(case.device, grid)
        .unwrap();

    let before = before.iter().map(|&it| f64::from(it) * f64::from(accumulate));
    let want: Vec<Exact> = matvec(&weight, &x)
        .into_iter()
        .zip(before)
        .map(|(it, before)| Exact { value: it.value + before, magnitude: it.magnitude + before.abs() })
        .collect();
    assert_rounds_to(&y.to_vec().unwrap(), &want, n_roundings(n_in));
}

/// Every weight counts, once: with powers of two the sum says which ones were added.
fn adds_every_product_once<W: Weight>(case: &mut Case) {
    let (n_in, n_out) = (case.pick(&N_IN), case.int(1..=40));
    let one = case.int(0..=n_in - 1);
    let x: Vec<W> = (0..n_in).map(|i| W::from_f32(if i == one { 1.0 } else { 0.0 })).collect();
    let weight: Vec<W> = case.halves([n_out, n_in]);

    let mut y = case.alloc([n_out]);
    let launch = Matvec { weight: &case.upload(&weight), x: &case.upload(&x), y: &mut y, n_in, n_out, accumulate: 0 };
    launch.launch(case.device).unwrap();

    let column: Vec<f64> = weight.chunks(n_in as usize).map(|row| row[one as usize].f64()).collect();
    assert_eq!(y.to_vec().unwrap().into_iter().map(f64::from).collect::<Vec<f64>>(), column);
}

#[test]
fn matvec_matches_oracle() {
    for_both_types!(matches_oracle);
}

#[test]
fn matvec_adds_every_product_once() {
    for_both_types!(adds_every_product_once);
}
