//! Planted once, and seen to fail here: a segment that leaves out its last group of columns (kernels/product.cuh).

use super::product::{DIMS, n_roundings, squares, upload_tiles};
use crate::common::oracle::{Exact, assert_rounds_to, exactly, matvec};
use crate::common::*;
use crate::for_both_types;
use gale::kernels::Residual;

/// x + weight h, and the squares of it.
fn run<W: Weight>(case: &mut Case, weight: &[W], h: &[W], x: &[f32], n_tokens: u32) -> (Vec<f32>, Vec<f32>) {
    let (n_in, n_out) = (h.len() as u32 / n_tokens, x.len() as u32 / n_tokens);
    let (weight, h, mut x) = (upload_tiles(case, weight, n_in, 0), case.upload(h), case.upload(x));
    let mut squares = case.alloc([n_tokens, n_out.div_ceil(16)]);
    let grid = case.grid();
    Residual { weight: &weight, h: &h, x: &mut x, squares: &mut squares, n_tokens, n_in, n_out }
        .launch_grid(case.device, grid)
        .unwrap();
    (x.to_vec().unwrap(), squares.to_vec().unwrap())
}

fn matches_oracle<W: Weight>(case: &mut Case) {
    let (n_tokens, n_in, n_out) = (case.int(1..=8), case.pick(&DIMS), case.int(1..=70));
    let (weight, h): (Vec<W>, Vec<W>) = (case.halves([n_out, n_in]), case.halves([n_tokens, n_in]));
    let before = case.floats([n_tokens, n_out]);

    let (x, got_squares) = run(case, &weight, &h, &before, n_tokens);

    let products = h.chunks(n_in as usize).flat_map(|h| matvec(&weight, h));
    let add = |(it, before): (Exact, &f32)| Exact {
        value: it.value + f64::from(*before),
        magnitude: it.magnitude + f64::from(before.abs()),
    };
    assert_rounds_to(&x, &products.zip(&before).map(add).collect::<Vec<_>>(), n_roundings(n_in) + 1);
    let want: Vec<Exact> = squares(&x, n_out).iter().map(|&it| exactly(it.into())).collect();
    assert_rounds_to(&got_squares, &want, 20);
}

/// Every weight counts, once.
fn adds_every_product_once<W: Weight>(case: &mut Case) {
    let (n_in, n_out) = (case.pick(&DIMS), case.int(1..=40));
    let one = case.int(0..=n_in - 1);
    let h: Vec<W> = (0..n_in).map(|i| W::from_f32(if i == one { 1.0 } else { 0.0 })).collect();
    let weight: Vec<W> = case.halves([n_out, n_in]);

    let (x, _) = run(case, &weight, &h, &vec![0.0; n_out as usize], 1);

    let column: Vec<f64> = weight.chunks(n_in as usize).map(|row| row[one as usize].f64()).collect();
    assert_eq!(x.into_iter().map(f64::from).collect::<Vec<f64>>(), column);
}

/// A token has the same bits alone and among others, on every grid.
fn ignores_other_tokens<W: Weight>(case: &mut Case) {
    let (n_tokens, n_in, n_out) = (case.int(2..=8), case.pick(&DIMS), case.int(1..=70));
    let (weight, h): (Vec<W>, Vec<W>) = (case.halves([n_out, n_in]), case.halves([n_tokens, n_in]));
    let before = case.floats([n_tokens, n_out]);

    let (x, squares) = run(case, &weight, &h, &before, n_tokens);

    for (t, h) in h.chunks(n_in as usize).enumerate() {
        let row = |of: &[f32]| of.chunks(of.len() / n_tokens as usize).nth(t).unwrap().to_vec();
        let (alone, squares_alone) = run(case, &weight, h, &row(&before), 1);
        assert_same_bits(&alone, &row(&x));
        assert_same_bits(&squares_alone, &row(&squares));
    }
}

#[test]
fn residual_matches_oracle() {
    for_both_types!(matches_oracle);
}

#[test]
fn residual_adds_every_product_once() {
    for_both_types!(adds_every_product_once);
}

#[test]
fn residual_ignores_other_tokens() {
    for_both_types!(ignores_other_tokens);
}
