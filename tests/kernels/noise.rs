//! Planted once each, and seen to fail here: rows twice as far apart, runs of pairs taken for eight, rows past the last one.

use crate::common::tiles::tiles_of;
use crate::common::*;
use gale::kernels::{Noise, n_tiled};
use gale::noise::fill_row;
use gale::workload::noise_bytes;
use half::bf16;

/// The device makes what the host makes, in its place, and zeros around it.
#[test]
fn noise_is_that_of_the_host() {
    for_all(|case| {
        let pair_distance = case.pick(&[0, 0, 1, 3, 4, 8, 32, 40]);
        let n_out = if pair_distance == 0 { case.int(1..=70) } else { 2 * pair_distance * case.int(1..=3) };
        let (n_in, seed) = (8 * case.int(1..=90), case.int(0..=u32::MAX));
        let mut matrix = vec![bf16::ZERO; (n_out * n_in) as usize];
        matrix.chunks_mut(n_in as usize).enumerate().for_each(|(row, to)| fill_row(seed, row, to));

        let mut tiles = case.alloc([n_tiled([n_out, n_in]) as u32]);
        let grid = case.grid();
        Noise { tiles: &mut tiles, n_out, n_in, pair_distance, seed }.launch_grid(case.device, grid).unwrap();
        assert_same_bits(&tiles.to_vec().unwrap(), &tiles_of(&matrix, n_in, pair_distance));
    });
}

/// A card reads zeros faster than weights, so what bandwidth is measured on has none.
#[test]
fn memory_to_read_is_noise() {
    for_all(|case| {
        let bytes = noise_bytes(case.device, 1024 * case.int(1..=20) as usize).unwrap().to_vec().unwrap();
        assert!(bytes.chunks(2).all(|it| it[0] | it[1] & 0x7f != 0), "{bytes:?}");
        assert!(bytes.chunks(2).any(|it| it != &bytes[..2]), "all alike");
    });
}
