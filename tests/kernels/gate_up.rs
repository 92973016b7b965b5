//! Planted once, and seen to fail here: the gate and what it gates exchanged.

use super::product::{DIMS, EPS, Stream, n_normed_roundings, upload_tiles};
use crate::common::oracle::{Exact, assert_rounds_to};
use crate::common::*;
use crate::for_both_types;
use gale::kernels::GateUp;

pub fn decode<W: Weight>(case: &mut Case, stream: &Stream<W>, weight: &[W], n_tokens: u32) -> Vec<W> {
    let dim = stream.dim();
    let hidden_dim = weight.len() as u32 / dim / 2;
    let (weight, it) = (upload_tiles(case, weight, dim, hidden_dim), stream.upload(case));
    let mut act = case.alloc([n_tokens, hidden_dim]);
    let grid = case.grid();
    GateUp {
        weight: &weight,
        x: &it.x,
        squares: &it.squares,
        norm: &it.norm,
        act: &mut act,
        n_tokens,
        dim,
        hidden_dim,
        eps: EPS,
    }
    .launch_grid(case.device, grid)
    .unwrap();
    act.to_vec().unwrap()
}

/// silu(gate) * up of each token: [n_tokens, hidden_dim]. An error of the gate moves silu by at most 1.1 times as much.
pub fn swiglu<W: Weight>(stream: &Stream<W>, weight: &[W]) -> Vec<Exact> {
    let gated = |gate: &Exact, up: &Exact| {
        let silu = gate.value / (1.0 + (-gate.value).exp());
        let of_up = silu.abs() * up.magnitude + gate.magnitude * up.magnitude;
        Exact { value: silu * up.value, magnitude: 1.1 * gate.magnitude * up.value.abs() + of_up }
    };
    let of_token = |products: Vec<Exact>| {
        let (gates, ups) = products.split_at(products.len() / 2);
        gates.iter().zip(ups).map(|(gate, up)| gated(gate, up)).collect::<Vec<_>>()
    };
    stream.times(weight).into_iter().flat_map(of_token).collect()
}

fn matches_oracle<W: Weight>(case: &mut Case) {
    let (n_tokens, dim, hidden_dim) = (case.int(1..=8), case.pick(&DIMS), case.int(1..=40));
    let stream = Stream::<W>::random(case, n_tokens, dim);
    let weight = case.halves([2 * hidden_dim, dim]);

    let act = decode(case, &stream, &weight, n_tokens);

    assert_rounds_to(&act, &swiglu(&stream, &weight), n_normed_roundings::<W>(dim) + 8);
}

fn ignores_other_tokens<W: Weight>(case: &mut Case) {
    let (n_tokens, dim, hidden_dim) = (case.int(2..=8), case.pick(&DIMS), case.int(1..=40));
    let stream = Stream::<W>::random(case, n_tokens, dim);
    let weight = case.halves([2 * hidden_dim, dim]);
    let act = decode(case, &stream, &weight, n_tokens);
    for (t, row) in (0..).zip(act.chunks(hidden_dim as usize)) {
        assert_same_bits(&decode(case, &stream.token(t), &weight, 1), row);
    }
}

#[test]
fn gate_up_matches_oracle() {
    for_both_types!(matches_oracle);
}

#[test]
fn gate_up_ignores_other_tokens() {
    for_both_types!(ignores_other_tokens);
}
