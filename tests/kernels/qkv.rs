//! Planted once, and seen to fail here: values turned like keys.

use super::product::{DIMS, EPS, Stream, n_normed_roundings, upload_tiles};
use crate::common::oracle::{Exact, assert_rounds_to};
use crate::common::*;
use crate::for_both_types;
use gale::kernels::{MAX_TOKENS, Qkv};
use gale::rope::turns_per_position;
use half::bf16;

const N_LAYERS: u32 = 3;

/// The sizes of a layer's attention.
#[derive(Clone, Copy)]
pub struct Heads {
    pub n_heads: u32,
    pub n_kv_heads: u32,
    pub head_dim: u32,
    n_slots: u32,
}

impl Heads {
    pub fn random(case: &mut Case) -> Heads {
        let n_kv_heads = case.int(1..=3);
        Heads {
            n_heads: n_kv_heads * case.int(1..=3),
            n_kv_heads,
            head_dim: case.pick(&[2, 8, 24, 64]),
            n_slots: case.int(8..=20),
        }
    }

    pub fn n_out(&self) -> u32 {
        (self.n_heads + 2 * self.n_kv_heads) * self.head_dim
    }

    fn kv_dim(&self) -> usize {
        (self.n_kv_heads * self.head_dim) as usize
    }
}

/// What a launch wrote, for each token [q, k, v], and nothing else: that it left the rest of the caches alone is asserted.
pub fn decode<W: Weight>(
    case: &mut Case,
    stream: &Stream<W>,
    weight: &[W],
    heads: Heads,
    (position, n_tokens, n_staged): (u64, u32, u32),
) -> Vec<Vec<bf16>> {
    let (dim, Heads { n_heads, n_kv_heads, head_dim, n_slots }) = (stream.dim(), heads);
    let layer = case.int(0..=N_LAYERS - 1);
    let (weight, it) = (upload_tiles(case, weight, dim, head_dim / 2), stream.upload(case));
    let untouched = bf16::from_f32(-7.75);
    let cache = |n_rows: u32| case.upload(&vec![untouched; (N_LAYERS * n_rows) as usize * heads.kv_dim()]);
    let (mut k_ring, mut v_ring, mut k_staged, mut v_staged) =
        (cache(n_slots), cache(n_slots), cache(MAX_TOKENS), cache(MAX_TOKENS));
    let mut q = case.alloc([n_tokens, n_heads, head_dim]);
    let turn_per_position = case.upload(&turns_per_position(head_dim, 1e4));
    let position_there = case.upload(&[position]);
    let grid = case.grid();
    Qkv {
        weight: &weight,
        x: &it.x,
        squares: &it.squares,
        norm: &it.norm,
        turn_per_position: &turn_per_position,
        position: &position_there,
        q: &mut q,
        k_ring: &mut k_ring,
        v_ring: &mut v_ring,
        k_staged: &mut k_staged,
        v_staged: &mut v_staged,
        n_tokens,
        n_staged,
        layer,
        dim,
        n_heads,
        n_kv_heads,
        head_dim,
        n_slots,
        eps: EPS,
    }
    .launch_grid(case.device, grid)
    .unwrap();

    let (n_rows, first) = match n_staged {
        0 => (n_slots, (position % u64::from(n_slots)) as u32),
        _ => (MAX_TOKENS, 0),
    };
    let (k, v, others) = match n_staged {
        0 => (k_ring, v_ring, [k_staged, v_staged]),
        _ => (k_staged, v_staged, [k_ring, v_ring]),
    };
    for other in others {
        assert!(other.to_vec().unwrap().iter().all(|it| *it == untouched));
    }
    let take = |cache: &mut Vec<bf16>, token: u32| {
        let at = ((layer * n_rows + first + token) as usize) * heads.kv_dim();
        let row = cache[at..at + heads.kv_dim()].to_vec();
        cache[at..at + heads.kv_dim()].fill(untouched);
        row
    };
    let (mut k, mut v, q) = (k.to_vec().unwrap(), v.to_vec().unwrap(), q.to_vec().unwrap());
    let q_dim = (n_heads * head_dim) as usize;
    let rows = (0..n_tokens)
        .map(|t| [q[t as usize * q_dim..][..q_dim].to_vec(), take(&mut k, t), take(&mut v, t)].concat())
        .collect();
    assert!(k.iter().chain(&v).all(|it| *it == untouched));
    rows
}

/// Any layer, short sequences and endless ones.
fn place(case: &mut Case, n_tokens: u32) -> (u64, u32, u32) {
    let position = case.pick(&[0, 1, 5, 4095, 4096, 1_000_003, 1 << 33]);
    let n_staged = if n_tokens == 1 { case.int(0..=1) } else { n_tokens };
    (position, n_tokens, n_staged)
}

fn matches_oracle<W: Weight>(case: &mut Case) {
    let (n_tokens, dim, heads) = (case.int(1..=8), case.pick(&DIMS), Heads::random(case));
    let stream = Stream::<W>::random(case, n_tokens, dim);
    let weight = case.halves([heads.n_out(), dim]);
    let place = place(case, n_tokens);

    let rows = decode(case, &stream, &weight, heads, place);

    for (row, want) in rows.iter().zip(turned(&stream, &weight, heads, place.0)) {
        assert_rounds_to(row, &want, n_normed_roundings::<W>(dim) + 8);
    }
}

/// [q, k, v] of each token, from `position` on.
pub fn turned<W: Weight>(stream: &Stream<W>, weight: &[W], heads: Heads, position: u64) -> Vec<Vec<Exact>> {
    let turns = turns_per_position(heads.head_dim, 1e4);
    let of_token = |(position, products): (u64, Vec<Exact>)| {
        let angle = |turn: &u64| turn.wrapping_mul(position) as f64 * 2f64.powi(-64) * std::f64::consts::TAU;
        let angles: Vec<f64> = turns.iter().map(angle).collect();
        let (to_turn, values) = products.split_at(products.len() - heads.kv_dim());
        let heads = to_turn.chunks(heads.head_dim as usize);
        heads.flat_map(|it| turn(it, &angles)).chain(values.iter().copied()).collect()
    };
    (position..).zip(stream.times(weight)).map(of_token).collect()
}

/// One head, each of its pairs turned by an angle.
fn turn(head: &[Exact], angles: &[f64]) -> Vec<Exact> {
    let (x, y) = head.split_at(head.len() / 2);
    let pairs = || x.iter().zip(y).zip(angles).map(|((x, y), angle)| (x, y, angle.sin_cos()));
    let exact = |value, x: &Exact, y: &Exact| Exact { value, magnitude: x.magnitude + y.magnitude };
    let low = pairs().map(|(x, y, (sin, cos))| exact(x.value * cos - y.value * sin, x, y));
    let high = pairs().map(|(x, y, (sin, cos))| exact(x.value * sin + y.value * cos, x, y));
    low.chain(high).collect()
}

/// A token has the same bits alone and among others, in the ring and in staging, on every grid.
fn ignores_other_tokens<W: Weight>(case: &mut Case) {
    let (n_tokens, dim, heads) = (case.int(2..=8), case.pick(&DIMS), Heads::random(case));
    let stream = Stream::<W>::random(case, n_tokens, dim);
    let weight = case.halves([heads.n_out(), dim]);
    let place = place(case, n_tokens);
    let rows = decode(case, &stream, &weight, heads, place);
    for (t, row) in (0..).zip(&rows) {
        let n_staged = case.int(0..=1);
        let alone = decode(case, &stream.token(t), &weight, heads, (place.0 + u64::from(t), 1, n_staged));
        assert_same_bits(&alone[0], row);
    }
}

#[test]
fn qkv_matches_oracle() {
    for_both_types!(matches_oracle);
}

#[test]
fn qkv_ignores_other_tokens() {
    for_both_types!(ignores_other_tokens);
}
