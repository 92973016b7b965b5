//! Planted once, and seen to fail here: the position cut to 32 bits.

use crate::common::oracle::{Exact, assert_rounds_to, rope};
use crate::common::*;
use gale::device::Grid;
use gale::kernels::Rope;
use gale::rope::turns_per_position;
use half::bf16;
use std::f64::consts::TAU;

/// (n_tokens, n_heads, n_kv_heads, head_dim)
type Shape = (u32, u32, u32, u32);

/// (q, k_chunk, v_chunk)
fn turn(
    case: &Case,
    grid: Grid,
    (n_tokens, n_heads, n_kv_heads, head_dim): Shape,
    qkv: &[f32],
    turns: &[u64],
    position: u64,
) -> [Vec<bf16>; 3] {
    let mut q = case.alloc([n_tokens, n_heads, head_dim]);
    let mut k = case.alloc([n_tokens, n_kv_heads, head_dim]);
    let mut v = case.alloc([n_tokens, n_kv_heads, head_dim]);
    Rope {
        qkv: &case.upload(qkv),
        turn_per_position: &case.upload(turns),
        position: &case.upload(&[position]),
        q: &mut q,
        k_chunk: &mut k,
        v_chunk: &mut v,
        n_tokens,
        n_heads,
        n_kv_heads,
        head_dim,
    }
    .launch_grid(case.device, grid)
    .unwrap();
    [q, k, v].map(|it| it.to_vec().unwrap())
}

/// Splits the projection into q, k and v, as lists of heads in the order of the outputs.
fn split(shape: Shape, qkv: &[f32]) -> [Vec<&[f32]>; 3] {
    let (_, n_heads, n_kv_heads, head_dim) = shape;
    let tokens = qkv.chunks((n_heads + 2 * n_kv_heads) as usize * head_dim as usize);
    let heads = |first: u32, n: u32| {
        tokens.clone().flat_map(move |it| it.chunks(head_dim as usize).skip(first as usize).take(n as usize)).collect()
    };
    [heads(0, n_heads), heads(n_heads, n_kv_heads), heads(n_heads + n_kv_heads, n_kv_heads)]
}

fn random_shape(case: &mut Case) -> Shape {
    (case.int(1..=5), case.int(1..=9), case.int(1..=3), 2 * case.pick(&[1, 4, 31, 32, 33, 64, 128]))
}

fn qkv_of(case: &mut Case, (n_tokens, n_heads, n_kv_heads, head_dim): Shape) -> Vec<f32> {
    case.floats([n_tokens, n_heads + 2 * n_kv_heads, head_dim])
}

/// Sines and cosines to an ulp, of an angle in f32, and two products: 12 roundings of the larger element at most.
const N_ROUNDINGS: u32 = 12;

#[test]
fn rope_matches_oracle() {
    for_all(|case| {
        let shape @ (_, n_heads, n_kv_heads, head_dim) = random_shape(case);
        let (position, grid) = (case.pick(&[0u64, 1, 77, 4095, 1_000_000]), case.plane());
        let theta = case.pick(&[1e4, 1e6]);
        let qkv = qkv_of(case, shape);

        let turns = turns_per_position(head_dim, theta);
        let [q, k, v] = turn(case, grid, shape, &qkv, &turns, position);

        let turned = |heads: &[&[f32]], n_heads: u32| -> Vec<Exact> {
            let of_token = |(token, heads): (usize, &[&[f32]])| -> Vec<Exact> {
                let position = (position + token as u64) as f64;
                let frequency = |pair: u32| theta.powf(-2.0 * f64::from(pair) / f64::from(head_dim));
                let angles: Vec<f64> = (0..head_dim / 2).map(|it| position * frequency(it) % TAU).collect();
                heads.iter().flat_map(|head| rope(head, &angles)).collect()
            };
            heads.chunks(n_heads as usize).enumerate().flat_map(of_token).collect()
        };
        let [q_in, k_in, v_in] = split(shape, &qkv);
        assert_rounds_to(&q, &turned(&q_in, n_heads), N_ROUNDINGS);
        assert_rounds_to(&k, &turned(&k_in, n_kv_heads), N_ROUNDINGS);
        assert_eq!(v, v_in.concat().into_iter().map(bf16::from_f32).collect::<Vec<bf16>>());
    });
}

/// Quarter turns swap the elements of a pair, exactly, however far the position is. A pair makes one every 2^slowness
/// positions, so that every bit of the position counts.
#[test]
fn rope_is_exact_at_any_position() {
    for_all(|case| {
        let mut shape @ (_, n_heads, n_kv_heads, head_dim) = random_shape(case);
        let slowness = case.pick(&[0, 0, 8, 30, 40]);
        if slowness > 0 {
            shape.0 = 1; // the next token would be between quarters
        }
        let n_quarters: Vec<u64> = (0..head_dim / 2).map(|_| case.int(0..=3).into()).collect();
        let turns: Vec<u64> = n_quarters.iter().map(|it| it << (62 - slowness)).collect();
        let position: u64 = case.pick(&[0, 3, 1_000_007, (1 << 20) + 1]);
        let (qkv, grid) = (qkv_of(case, shape), case.plane());

        let [q, k, _] = turn(case, grid, shape, &qkv, &turns, position << slowness);

        let turned = |heads: &[&[f32]], n_heads: u32| -> Vec<f32> {
            let of_head = |(i, head): (usize, &&[f32])| -> Vec<f32> {
                let position = position + (i / n_heads as usize) as u64;
                let (x, y) = head.split_at(head.len() / 2);
                let pairs = x.iter().zip(y).zip(&n_quarters).map(|((&x, &y), n)| match position.wrapping_mul(*n) % 4 {
                    0 => (x, y),
                    1 => (-y, x),
                    2 => (-x, -y),
                    _ => (y, -x),
                });
                let (x, y): (Vec<f32>, Vec<f32>) = pairs.unzip();
                [x, y].concat()
            };
            heads.iter().enumerate().flat_map(of_head).collect()
        };
        let rounded = |of: Vec<f32>| of.into_iter().map(bf16::from_f32).collect::<Vec<bf16>>();
        let [q_in, k_in, _] = split(shape, &qkv);
        assert_eq!(q, rounded(turned(&q_in, n_heads)));
        assert_eq!(k, rounded(turned(&k_in, n_kv_heads)));
    });
}

/// A token's bits are those that it has by itself, at its own position.
#[test]
fn rope_ignores_other_tokens() {
    for_all(|case| {
        let shape @ (n_tokens, n_heads, n_kv_heads, head_dim) = random_shape(case);
        let (qkv, grid, position) = (qkv_of(case, shape), case.plane(), u64::from(case.int(0..=9999)));
        let turns = turns_per_position(head_dim, 1e4);

        let together = turn(case, grid, shape, &qkv, &turns, position);

        let mut alone = [const { Vec::new() }; 3];
        for (token, qkv) in qkv.chunks(qkv.len() / n_tokens as usize).enumerate() {
            let shape = (1, n_heads, n_kv_heads, head_dim);
            let it = turn(case, Grid::x(1), shape, qkv, &turns, position + token as u64);
            alone.iter_mut().zip(it).for_each(|(all, one)| all.extend(one));
        }
        for (together, alone) in together.iter().zip(&alone) {
            assert_same_bits(together, alone);
        }
    });
}
