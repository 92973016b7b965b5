//! Planted once, and seen to fail here: a tile that begins one row late.

use super::matvec::{N_IN, n_roundings};
use crate::common::oracle::{assert_rounds_to, matvec};
use crate::common::*;
use crate::for_both_types;
use gale::kernels::{Matmul, Matvec};

fn matches_oracle<W: Weight>(case: &mut Case) {
    let (n_tokens, n_in, n_out) = (case.int(1..=19), case.pick(&N_IN), case.int(1..=40));
    let (weight, x): (Vec<W>, Vec<W>) = (case.halves([n_out, n_in]), case.halves([n_tokens, n_in]));

    let mut y = case.alloc([n_tokens, n_out]);
    let grid = case.grid();
    let (weight_there, x_there) = (case.upload(&weight), case.upload(&x));
    Matmul { weight: &weight_there, x: &x_there, y: &mut y, n_tokens, n_in, n_out, accumulate: 0 }
        .launch_grid(case.device, grid)
        .unwrap();

    for (y, x) in y.to_vec().unwrap().chunks(n_out as usize).zip(x.chunks(n_in as usize)) {
        assert_rounds_to(y, &matvec(&weight, x), n_roundings(n_in));
    }
}

/// Each token has the bits that `matvec` gives it, with whatever others it rides.
fn gives_the_bits_of_matvec<W: Weight>(case: &mut Case) {
    let (n_tokens, n_in, n_out) = (case.int(1..=19), case.pick(&N_IN), case.int(1..=40));
    let accumulate = case.int(0..=1);
    let weight = case.halves::<W, _>([n_out, n_in]);
    let (weight, x) = (case.upload(&weight), case.halves::<W, _>([n_tokens, n_in]));
    let before = case.floats([n_tokens, n_out]);

    let mut y = case.upload(&before);
    let grid = case.grid();
    Matmul { weight: &weight, x: &case.upload(&x), y: &mut y, n_tokens, n_in, n_out, accumulate }
        .launch_grid(case.device, grid)
        .unwrap();

    for (t, y) in y.to_vec().unwrap().chunks(n_out as usize).enumerate() {
        let x = case.upload(&x[t * n_in as usize..][..n_in as usize]);
        let mut alone = case.upload(&before[t * n_out as usize..][..n_out as usize]);
        Matvec { weight: &weight, x: &x, y: &mut alone, n_in, n_out, accumulate }.launch(case.device).unwrap();
        assert_same_bits(y, &alone.to_vec().unwrap());
    }
}

#[test]
fn matmul_matches_oracle() {
    for_both_types!(matches_oracle);
}

#[test]
fn matmul_gives_the_bits_of_matvec() {
    for_both_types!(gives_the_bits_of_matvec);
}
