//! Planted once, and seen to fail here: each of the six shapes of kernels/chunk.cuh left out; a segment that ends one group
//! late.

use super::chunk::{CHUNKS, normed, steps};
use super::gate_up::{decode, swiglu};
use super::product::{DIMS, Stream, n_normed_roundings, upload_tiles};
use crate::common::oracle::assert_rounds_to;
use crate::common::*;
use crate::for_both_types;
use gale::kernels::PrefillGateUp;

fn run<W: Weight>(case: &mut Case, stream: &Stream<W>, weight: &[W]) -> Vec<W> {
    let dim = stream.dim();
    let (n_tokens, hidden_dim) = (stream.x.len() as u32 / dim, weight.len() as u32 / dim / 2);
    let (weight, h) = (upload_tiles(case, weight, dim, hidden_dim), normed(case, stream));
    let mut act = case.alloc([n_tokens, hidden_dim]);
    let grid = case.grid();
    PrefillGateUp { weight: &weight, h: &h, act: &mut act, n_tokens, dim, hidden_dim }
        .launch_grid(case.device, grid)
        .unwrap();
    act.to_vec().unwrap()
}

fn matches_oracle<W: Weight>(case: &mut Case) {
    let (n_tokens, dim, hidden_dim) = (case.pick(&CHUNKS), case.pick(&DIMS), case.int(1..=80));
    let stream = Stream::<W>::random(case, n_tokens, dim);
    let weight = case.halves([2 * hidden_dim, dim]);

    let act = run(case, &stream, &weight);

    assert_rounds_to(&act, &swiglu(&stream, &weight), n_normed_roundings::<W>(dim) + 8);
}

fn has_the_bits_of_decoding<W: Weight>(case: &mut Case) {
    let (n_tokens, dim, hidden_dim) = (case.pick(&CHUNKS), case.pick(&DIMS), case.int(1..=150));
    let stream = Stream::<W>::random(case, n_tokens, dim);
    let weight = case.halves([2 * hidden_dim, dim]);

    let act = run(case, &stream, &weight);

    for step in steps(n_tokens) {
        let decoded = decode(case, &stream.tokens(step.clone()), &weight, step.end - step.start);
        assert_same_bits(super::chunk::rows(&act, step, hidden_dim), &decoded);
    }
}

#[test]
fn prefill_gate_up_matches_oracle() {
    for_both_types!(matches_oracle);
}

#[test]
fn prefill_gate_up_has_the_bits_of_decoding() {
    for_both_types!(has_the_bits_of_decoding);
}
