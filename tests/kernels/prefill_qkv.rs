//! Planted once, and seen to fail here: a segment that ends one group late.

use super::chunk::{CHUNKS, normed, rows, steps};
use super::product::{DIMS, Stream, n_normed_roundings, upload_tiles};
use super::qkv::{Heads, decode, turned};
use crate::common::oracle::assert_rounds_to;
use crate::common::*;
use crate::for_both_types;
use gale::kernels::PrefillQkv;
use gale::rope::turns_per_position;
use half::bf16;

/// What a launch wrote, for each token [q, k, v].
fn run<W: Weight>(case: &mut Case, stream: &Stream<W>, weight: &[W], heads: Heads, position: u64) -> Vec<Vec<bf16>> {
    let (dim, Heads { n_heads, n_kv_heads, head_dim, .. }) = (stream.dim(), heads);
    let n_tokens = stream.x.len() as u32 / dim;
    let (weight, h) = (upload_tiles(case, weight, dim, head_dim / 2), normed(case, stream));
    let mut q = case.alloc([n_tokens, n_heads, head_dim]);
    let mut k_chunk = case.alloc([n_tokens, n_kv_heads, head_dim]);
    let mut v_chunk = case.alloc([n_tokens, n_kv_heads, head_dim]);
    let turn_per_position = case.upload(&turns_per_position(head_dim, 1e4));
    let position = case.upload(&[position]);
    let grid = case.grid();
    PrefillQkv {
        weight: &weight,
        h: &h,
        turn_per_position: &turn_per_position,
        position: &position,
        q: &mut q,
        k_chunk: &mut k_chunk,
        v_chunk: &mut v_chunk,
        n_tokens,
        dim,
        n_heads,
        n_kv_heads,
        head_dim,
    }
    .launch_grid(case.device, grid)
    .unwrap();
    let [q, k, v] = [q, k_chunk, v_chunk].map(|it| it.to_vec().unwrap());
    let kv_dim = n_kv_heads * head_dim;
    let of_token = |t: u32| {
        [rows(&q, t..t + 1, n_heads * head_dim), rows(&k, t..t + 1, kv_dim), rows(&v, t..t + 1, kv_dim)].concat()
    };
    (0..n_tokens).map(of_token).collect()
}

/// The beginning, and far away.
const POSITIONS: [u64; 5] = [0, 5, 4095, 1_000_003, 1 << 33];

fn matches_oracle<W: Weight>(case: &mut Case) {
    let (n_tokens, dim, heads) = (case.pick(&CHUNKS), case.pick(&DIMS), Heads::random(case));
    let (stream, position) = (Stream::<W>::random(case, n_tokens, dim), case.pick(&POSITIONS));
    let weight = case.halves([heads.n_out(), dim]);

    let rows = run(case, &stream, &weight, heads, position);

    for (row, want) in rows.iter().zip(turned(&stream, &weight, heads, position)) {
        assert_rounds_to(row, &want, n_normed_roundings::<W>(dim) + 8);
    }
}

fn has_the_bits_of_decoding<W: Weight>(case: &mut Case) {
    let (n_tokens, dim, heads) = (case.pick(&CHUNKS), case.pick(&DIMS), Heads::random(case));
    let (stream, position) = (Stream::<W>::random(case, n_tokens, dim), case.pick(&POSITIONS));
    let weight = case.halves([heads.n_out(), dim]);

    let rows = run(case, &stream, &weight, heads, position);

    for step in steps(n_tokens) {
        let (n, first) = (step.end - step.start, position + u64::from(step.start));
        let decoded = decode(case, &stream.tokens(step.clone()), &weight, heads, (first, n, n));
        for (row, decoded) in rows[step.start as usize..].iter().zip(&decoded) {
            assert_same_bits(row, decoded);
        }
    }
}

#[test]
fn prefill_qkv_matches_oracle() {
    for_both_types!(matches_oracle);
}

#[test]
fn prefill_qkv_has_the_bits_of_decoding() {
    for_both_types!(has_the_bits_of_decoding);
}
