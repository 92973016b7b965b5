//! Planted once, and seen to fail here: the gate and what it gates exchanged.

use super::product::{DIMS, EPS, Stream, n_normed_roundings, upload_tiles};
use crate::common::oracle::{Exact, assert_rounds_to};
use crate::common::*;
use crate::for_both_types;
use gale::kernels::GateUp;

fn run<W: Weight>(case: &mut Case, stream: &Stream<W>, weight: &[W], n_tokens: u32) -> Vec<W> {
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

/// silu(gate) * up. An error of the gate moves silu by at most 1.1 times as much.
fn swiglu(gate: &Exact, up: &Exact) -> Exact {
    let silu = gate.value / (1.0 + (-gate.value).exp());
    let magnitude = 1.1 * gate.magnitude * up.value.abs() + silu.abs() * up.magnitude + gate.magnitude * up.magnitude;
    Exact { value: silu * up.value, magnitude }
}

fn matches_oracle<W: Weight>(case: &mut Case) {
    let (n_tokens, dim, hidden_dim) = (case.int(1..=8), case.pick(&DIMS), case.int(1..=40));
    let stream = Stream::<W>::random(case, n_tokens, dim);
    let weight = case.halves([2 * hidden_dim, dim]);

    let act = run(case, &stream, &weight, n_tokens);

    let want: Vec<Exact> = stream
        .times(&weight)
        .iter()
        .flat_map(|it| {
            let (gates, ups) = it.split_at(hidden_dim as usize);
            gates.iter().zip(ups).map(|(gate, up)| swiglu(gate, up)).collect::<Vec<_>>()
        })
        .collect();
    assert_rounds_to(&act, &want, n_normed_roundings::<W>(dim) + 8);
}

fn ignores_other_tokens<W: Weight>(case: &mut Case) {
    let (n_tokens, dim, hidden_dim) = (case.int(2..=8), case.pick(&DIMS), case.int(1..=40));
    let stream = Stream::<W>::random(case, n_tokens, dim);
    let weight = case.halves([2 * hidden_dim, dim]);
    let act = run(case, &stream, &weight, n_tokens);
    for (t, row) in (0..).zip(act.chunks(hidden_dim as usize)) {
        assert_same_bits(&run(case, &stream.token(t), &weight, 1), row);
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
