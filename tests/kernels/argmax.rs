//! Planted once, and seen to fail here: the highest id among equals.

use crate::common::*;
use gale::kernels::{Argmax, NO_TOKEN};

fn best(case: &mut Case, logits: &[Vec<f32>]) -> Vec<u32> {
    let (n_rows, vocab_size) = (logits.len() as u32, logits[0].len() as u32);
    let mut tokens = case.alloc([n_rows]);
    let grid = case.grid();
    Argmax { logits: &case.upload(&logits.concat()), tokens: &mut tokens, n_rows, vocab_size }
        .launch_grid(case.device, grid)
        .unwrap();
    tokens.to_vec().unwrap()
}

#[test]
fn argmax_finds_the_lowest_best() {
    for_all(|case| {
        let (n_rows, vocab_size) = (case.int(1..=3), case.pick(&[1, 2, 31, 32, 33, 1023, 1024, 1025, 3003]));
        let n_values = case.pick(&[1, 2, 50, 1 << 20]) as f32; // few values: many ties
        let logits: Vec<Vec<f32>> = (0..n_rows)
            .map(|_| case.floats([vocab_size]).iter().map(|it| (it * n_values).round() / n_values).collect())
            .collect();
        let want: Vec<u32> = logits.iter().map(|it| oracle::argmax(it)).collect();
        assert_eq!(best(case, &logits), want);
    });
}

/// NaN never wins, infinities and zeros of either sign compare as numbers do.
#[test]
fn argmax_orders_special_values() {
    let (nan, inf) = (f32::NAN, f32::INFINITY);
    let rows: [(&[f32], u32); 8] = [
        (&[nan, nan, nan], NO_TOKEN),
        (&[nan, -inf, nan], 1),
        (&[-inf, -inf, -inf], 0),
        (&[nan, -1.0, -inf], 1),
        (&[1.0, inf, inf], 1),
        (&[-0.0, 0.0, -0.0], 0),
        (&[-1.0, 0.0, -0.0], 1),
        (&[-inf, -nan, f32::MIN], 2),
    ];
    for_all(|case| {
        let n_before = case.int(0..=2000); // tokens that cannot win
        let padded = |it: &[f32]| [vec![nan; n_before as usize], it.to_vec()].concat();
        let logits: Vec<Vec<f32>> = rows.iter().map(|(it, _)| padded(it)).collect();
        let want = rows.map(|(it, token)| if it.iter().all(|it| it.is_nan()) { NO_TOKEN } else { n_before + token });
        assert_eq!(best(case, &logits), want);
    });
}
