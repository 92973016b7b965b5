//! Planted once, and seen to fail here: the second half of a piece read as the first.

use super::product::squares;
use crate::common::oracle::{Exact, assert_rounds_to, exactly};
use crate::common::tiles::tiles_of;
use crate::common::*;
use crate::for_both_types;
use gale::kernels::Embed;

/// Widening is exact, so the rows are equal; their squares are rounded some 20 times on either side.
fn looks_rows_up<W: Weight>(case: &mut Case) {
    let (n_tokens, vocab_size, dim) = (case.int(1..=9), case.int(1..=50), 8 * case.int(1..=300));
    let table: Vec<W> = case.halves([vocab_size, dim]);
    let tokens: Vec<u32> = (0..n_tokens).map(|_| case.int(0..=vocab_size - 1)).collect();

    let (mut x, mut got_squares) = (case.alloc([n_tokens, dim]), case.alloc([n_tokens, dim.div_ceil(16)]));
    let grid = case.grid();
    let (tokens_there, table_there) = (case.upload(&tokens), case.upload(&tiles_of(&table, dim, 0)));
    Embed { tokens: &tokens_there, table: &table_there, x: &mut x, squares: &mut got_squares, n_tokens, dim }
        .launch_grid(case.device, grid)
        .unwrap();

    let row = |token: &u32| &table[(token * dim) as usize..][..dim as usize];
    let want: Vec<f32> = tokens.iter().flat_map(row).map(|it| it.f64() as f32).collect();
    assert_same_bits(&x.to_vec().unwrap(), &want);
    let squares: Vec<Exact> = squares(&want, dim).iter().map(|&it| exactly(it.into())).collect();
    assert_rounds_to(&got_squares.to_vec().unwrap(), &squares, 40);
}

#[test]
fn embed_looks_rows_up() {
    for_both_types!(looks_rows_up);
}
