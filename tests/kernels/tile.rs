//! Planted once each, and seen to fail here: the halves of a pair swapped, `first_row` left out, a warp's next pieces a
//! tile too near, in either loop, runs of pairs not counted.

use crate::common::tiles::tiles_of;
use crate::common::*;
use crate::for_both_types;
use gale::kernels::{Tile, n_tiled};

/// Bits are moved, so they are compared; a matrix comes in pieces of some rows, in any order, on any grid.
fn puts_every_row_in_its_place<W: Weight>(case: &mut Case) {
    let pair_distance = case.pick(&[0, 0, 1, 3, 4, 8, 32, 40]);
    let n_out = if pair_distance == 0 { case.int(1..=70) } else { 2 * pair_distance * case.int(1..=3) };
    let n_in = 8 * case.int(1..=300);
    let matrix: Vec<W> = case.halves([n_out, n_in]);

    let mut tiles = case.upload(&vec![W::from_f32(0.0); n_tiled([n_out, n_in]) as usize]);
    let rows_per_piece = case.int(1..=n_out);
    let mut first_rows: Vec<u32> = (0..n_out).step_by(rows_per_piece as usize).collect();
    if case.pick(&[false, true]) {
        first_rows.reverse();
    }
    for first_row in first_rows {
        let n_rows = rows_per_piece.min(n_out - first_row);
        let rows = case.upload(&matrix[(first_row * n_in) as usize..][..(n_rows * n_in) as usize]);
        let grid = case.grid();
        Tile { rows: &rows, tiles: &mut tiles, n_rows, n_in, first_row, pair_distance }
            .launch_grid(case.device, grid)
            .unwrap();
    }
    assert_same_bits(&tiles.to_vec().unwrap(), &tiles_of(&matrix, n_in, pair_distance));
}

#[test]
fn tile_puts_every_row_in_its_place() {
    for_both_types!(puts_every_row_in_its_place);
}

/// The launcher's own grid, and rows in memory of the host.
#[test]
fn tile_reads_memory_of_the_host() {
    for_all(|case| {
        let (n_rows, n_in) = (16, 8 * case.int(1..=200));
        let matrix: Vec<half::bf16> = case.halves([n_rows, n_in]);
        let mut rows = case.device.alloc_pinned(matrix.len()).unwrap();
        matrix.iter().enumerate().for_each(|(i, it)| rows.write(i, *it));
        let mut tiles = case.upload(&vec![half::bf16::ZERO; n_tiled([n_rows, n_in]) as usize]);
        Tile { rows: rows.buffer(), tiles: &mut tiles, n_rows, n_in, first_row: 0, pair_distance: 4 }
            .launch(case.device)
            .unwrap();
        assert_same_bits(&tiles.to_vec().unwrap(), &tiles_of(&matrix, n_in, 4));
    });
}
