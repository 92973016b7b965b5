//! Planted once, and seen to fail here: the highest id among equals (kernels/lm_head.cu, `code`).

use super::product::{DIMS, EPS, Stream, n_normed_roundings, upload_tiles};
use crate::common::oracle::{argmax, assert_rounds_to};
use crate::common::*;
use crate::for_both_types;
use gale::kernels::{LmHead, best_token};

fn run<W: Weight>(case: &mut Case, stream: &Stream<W>, weight: &[W], n_tokens: u32) -> (Vec<f32>, Vec<Option<u32>>) {
    let dim = stream.dim();
    let vocab_size = weight.len() as u32 / dim;
    let (weight, it) = (upload_tiles(case, weight, dim, 0), stream.upload(case));
    let (mut logits, mut best) = (case.alloc([n_tokens, vocab_size]), case.upload(&vec![0; n_tokens as usize]));
    let grid = case.grid();
    LmHead {
        weight: &weight,
        x: &it.x,
        squares: &it.squares,
        norm: &it.norm,
        logits: &mut logits,
        best: &mut best,
        n_tokens,
        dim,
        vocab_size,
        eps: EPS,
    }
    .launch_grid(case.device, grid)
    .unwrap();
    (logits.to_vec().unwrap(), best.to_vec().unwrap().into_iter().map(best_token).collect())
}

fn matches_oracle<W: Weight>(case: &mut Case) {
    let (n_tokens, dim, vocab_size) = (case.int(1..=8), case.pick(&DIMS), case.int(1..=300));
    let stream = Stream::<W>::random(case, n_tokens, dim);
    let weight = case.halves([vocab_size, dim]);

    let (logits, best) = run(case, &stream, &weight, n_tokens);

    let want: Vec<_> = stream.times(&weight).into_iter().flatten().collect();
    assert_rounds_to(&logits, &want, n_normed_roundings::<W>(dim));
    let want: Vec<_> = logits.chunks(vocab_size as usize).map(|it| Some(argmax(it))).collect();
    assert_eq!(best, want);
}

/// A few different rows, many times over: the best has many equals. A row of NaN and one of infinities cannot win.
fn takes_the_lowest_of_equals<W: Weight>(case: &mut Case) {
    let (dim, n_rows, vocab_size) = (case.pick(&DIMS), case.int(1..=3), case.int(4..=300));
    let rows: Vec<W> = case.halves([n_rows, dim]);
    let row = |it: usize| &rows[it * dim as usize..][..dim as usize];
    let mut weight: Vec<W> = (0..vocab_size as usize).flat_map(|it| row(it % n_rows as usize).to_vec()).collect();
    let stream = Stream::<W>::random(case, 1, dim);
    let (logits, _) = run(case, &stream, &weight, 1);
    let first = argmax(&logits);
    let loser = case.int(0..=vocab_size - 1);
    weight[(loser * dim) as usize] = W::from_f32(f32::NAN);

    let (logits, best) = run(case, &stream, &weight, 1);

    assert!(logits[loser as usize].is_nan());
    let want = if first == loser { argmax(&logits) } else { first };
    assert_eq!(best, [Some(want)]);
}

fn ignores_other_tokens<W: Weight>(case: &mut Case) {
    let (n_tokens, dim, vocab_size) = (case.int(2..=8), case.pick(&DIMS), case.int(1..=100));
    let stream = Stream::<W>::random(case, n_tokens, dim);
    let weight = case.halves([vocab_size, dim]);
    let (logits, best) = run(case, &stream, &weight, n_tokens);
    for (t, row) in (0..).zip(logits.chunks(vocab_size as usize)) {
        let (alone, best_alone) = run(case, &stream.token(t), &weight, 1);
        assert_same_bits(&alone, row);
        assert_eq!(best_alone[0], best[t as usize]);
    }
}

#[test]
fn lm_head_matches_oracle() {
    for_both_types!(matches_oracle);
}

#[test]
fn lm_head_takes_the_lowest_of_equals() {
    for_both_types!(takes_the_lowest_of_equals);
}

#[test]
fn lm_head_ignores_other_tokens() {
    for_both_types!(ignores_other_tokens);
}

#[test]
fn nothing_wins_where_nothing_can() {
    assert_eq!(best_token(0), None);
    for_all(|case| {
        let (dim, vocab_size) = (case.pick(&DIMS), case.int(1..=40));
        let stream = Stream::<half::bf16>::random(case, 1, dim);
        let weight = vec![half::bf16::NAN; (vocab_size * dim) as usize];
        assert_eq!(run(case, &stream, &weight, 1).1, [None]);
    });
}
