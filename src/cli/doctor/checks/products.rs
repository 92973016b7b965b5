//! The kernels that multiply. Rows of ±1 have a root mean square of 1, so that their norm is their sign times its weight.

use anyhow::Result;
use gale::device::{Buffer, Device};
use gale::kernels::*;
use half::bf16;

use super::{Number, expect, numbers, small};

pub(super) const DIM: usize = 272;
pub(super) const N_TOKENS: usize = 2;

/// A residual stream that a norm turns into small numbers.
pub(super) struct Stream<W> {
    pub x: Buffer<f32>,
    pub squares: Buffer<f32>,
    pub norm: Buffer<W>,
}

impl<W: Number> Stream<W> {
    pub fn new(device: &Device) -> Result<Stream<W>> {
        let x: Vec<f32> = (0..N_TOKENS * DIM).map(sign).collect();
        let squares = vec![16f32; N_TOKENS * DIM / 16];
        Ok(Stream {
            x: device.upload(&x)?,
            squares: device.upload(&squares)?,
            norm: device.upload(&numbers::<W>(DIM))?,
        })
    }
}

fn sign(i: usize) -> f32 {
    if i.is_multiple_of(3) { -1.0 } else { 1.0 }
}

/// Element i of a normed token.
fn normed(token: usize, i: usize) -> f32 {
    sign(token * DIM + i) * small(i)
}

/// A row of the weight times a normed token.
fn product(row: usize, token: usize) -> f32 {
    (0..DIM).map(|i| small(row * DIM + i) * normed(token, i)).sum()
}

/// What the norm makes of the stream: [N_TOKENS, DIM].
pub(super) fn normed_tokens<W: Number>() -> Vec<W> {
    (0..N_TOKENS * DIM).map(|i| W::of(normed(i / DIM, i % DIM))).collect()
}

/// A weight of small numbers in tiles.
pub(super) fn weight<W: Number>(device: &Device, n_rows: usize, pair_distance: u32) -> Result<Buffer<W>> {
    weight_of(device, [n_rows, DIM], pair_distance)
}

/// The same of any width.
pub(super) fn weight_of<W: Number>(device: &Device, shape: [usize; 2], pair_distance: u32) -> Result<Buffer<W>> {
    let [n_rows, n_in] = shape.map(|it| it as u32);
    let rows = device.upload(&numbers::<W>(shape[0] * shape[1]))?;
    let mut tiles = device.zeroed(&tiles_shape([n_rows, n_in]).map(|it| it as usize))?;
    Tile { rows: &rows, tiles: &mut tiles, n_rows, n_in, first_row: 0, pair_distance }.launch(device)?;
    Ok(tiles)
}

/// x += weight h, from x = 1 on.
pub fn adds<W: Number>(device: &Device) -> Result<()> {
    let weight = weight::<W>(device, N_OUT, 0)?;
    let (h, mut x) = (device.upload(&normed_tokens::<W>())?, device.upload(&[1f32; N_TOKENS * N_OUT])?);
    let mut squares = device.alloc(&[N_TOKENS, 3])?;
    let (n_in, n_out) = (DIM as u32, N_OUT as u32);
    Residual { weight: &weight, h: &h, x: &mut x, squares: &mut squares, n_tokens: 2, n_in, n_out }.launch(device)?;
    expect("x", &x.to_vec()?, &sums())
}

pub(super) const N_OUT: usize = 37;

/// x = 1 and a product: [N_TOKENS, N_OUT].
pub(super) fn sums() -> Vec<f32> {
    (0..N_TOKENS * N_OUT).map(|i| 1.0 + product(i % N_OUT, i / N_OUT)).collect()
}

/// With a quarter turn a position, the pair (x, y) becomes (-y, x) at position 5, and (-x, -y) at 6.
pub fn projects_and_turns<W: Number>(device: &Device) -> Result<()> {
    let (it, weight) = (Stream::<W>::new(device)?, weight::<W>(device, 4 * HEAD_DIM, HEAD_DIM as u32 / 2)?);
    let mut q = device.alloc(&[N_TOKENS, 2, HEAD_DIM])?;
    let [mut k_ring, mut v_ring] = [device.zeroed(&[8, HEAD_DIM])?, device.zeroed(&[8, HEAD_DIM])?];
    let [mut k_staged, mut v_staged] = [device.zeroed(&[8, HEAD_DIM])?, device.zeroed(&[8, HEAD_DIM])?];
    Qkv {
        weight: &weight,
        x: &it.x,
        squares: &it.squares,
        norm: &it.norm,
        turn_per_position: &device.upload(&[1u64 << 62; HEAD_DIM / 2])?,
        position: &device.upload(&[5u64])?,
        q: &mut q,
        k_ring: &mut k_ring,
        v_ring: &mut v_ring,
        k_staged: &mut k_staged,
        v_staged: &mut v_staged,
        n_tokens: 2,
        n_staged: 2,
        layer: 0,
        dim: DIM as u32,
        n_heads: 2,
        n_kv_heads: 1,
        head_dim: HEAD_DIM as u32,
        n_slots: 8,
        eps: 0.0,
    }
    .launch(device)?;

    let [want_q, want_k, want_v] = turned();
    let first_two = |staged: &Buffer<bf16>| staged.to_vec().map(|it| it[..N_TOKENS * HEAD_DIM].to_vec());
    expect("q", &q.to_vec()?, &want_q)?;
    expect("k_staged", &first_two(&k_staged)?, &want_k)?;
    expect("v_staged", &first_two(&v_staged)?, &want_v)
}

pub(super) const HEAD_DIM: usize = 16;

/// Queries [N_TOKENS, 2, HEAD_DIM], keys and values [N_TOKENS, 1, HEAD_DIM] of positions 5 and 6.
pub(super) fn turned() -> [Vec<bf16>; 3] {
    let head =
        |token: usize, head: usize| (0..HEAD_DIM).map(|i| product(head * HEAD_DIM + i, token)).collect::<Vec<_>>();
    let turned = |token: usize, of: usize| {
        let (head, minus) = (head(token, of), |it: &[f32]| it.iter().map(|x| -x).collect::<Vec<_>>());
        let (x, y) = head.split_at(HEAD_DIM / 2);
        if token == 0 { [minus(y), x.to_vec()].concat() } else { [minus(x), minus(y)].concat() }
    };
    let round = |heads: &[Vec<f32>]| heads.concat().into_iter().map(bf16::from_f32).collect::<Vec<_>>();
    [
        round(&[turned(0, 0), turned(0, 1), turned(1, 0), turned(1, 1)]),
        round(&[turned(0, 2), turned(1, 2)]),
        round(&[head(0, 3), head(1, 3)]),
    ]
}

/// Gates that let all or nothing through are far from 0: what is gated is one element, and its gate 128 times that.
pub(super) fn gating_weight<W: Number>(device: &Device) -> Result<Buffer<W>> {
    let rows = |value: f32| (0..HIDDEN_DIM * DIM).map(move |i| if i % DIM == gated(i / DIM) { value } else { 0.0 });
    let rows: Vec<W> = rows(128.0).chain(rows(1.0)).map(W::of).collect();
    let rows = device.upload(&rows)?;
    let (n_in, hidden_dim) = (DIM as u32, HIDDEN_DIM as u32);
    let mut weight = device.zeroed(&tiles_shape([2 * hidden_dim, n_in]).map(|it| it as usize))?;
    Tile { rows: &rows, tiles: &mut weight, n_rows: 2 * hidden_dim, n_in, first_row: 0, pair_distance: hidden_dim }
        .launch(device)?;
    Ok(weight)
}

pub(super) const HIDDEN_DIM: usize = 8;

/// The column of the one weight in a row that is not 0.
fn gated(row: usize) -> usize {
    row * 37 % DIM
}

/// [N_TOKENS, HIDDEN_DIM].
pub(super) fn activations<W: Number>() -> Vec<W> {
    let of = |i: usize| {
        let up = normed(i / HIDDEN_DIM, gated(i % HIDDEN_DIM));
        W::of((128.0 * up).max(0.0) * up)
    };
    (0..N_TOKENS * HIDDEN_DIM).map(of).collect()
}

pub fn gates<W: Number>(device: &Device) -> Result<()> {
    let (it, weight) = (Stream::<W>::new(device)?, gating_weight::<W>(device)?);
    let mut act = device.alloc::<W>(&[N_TOKENS, HIDDEN_DIM])?;
    GateUp {
        weight: &weight,
        x: &it.x,
        squares: &it.squares,
        norm: &it.norm,
        act: &mut act,
        n_tokens: 2,
        dim: DIM as u32,
        hidden_dim: HIDDEN_DIM as u32,
        eps: 0.0,
    }
    .launch(device)?;
    expect("act", &act.to_vec()?, &activations::<W>())
}

pub fn finds_the_best<W: Number>(device: &Device) -> Result<()> {
    const VOCAB_SIZE: usize = 150;
    let (it, weight) = (Stream::<W>::new(device)?, weight::<W>(device, VOCAB_SIZE, 0)?);
    let (mut logits, mut best) = (device.alloc::<f32>(&[N_TOKENS, VOCAB_SIZE])?, device.zeroed::<u64>(&[N_TOKENS])?);
    let (x, squares, norm) = (&it.x, &it.squares, &it.norm);
    let (dim, vocab_size) = (DIM as u32, VOCAB_SIZE as u32);
    LmHead {
        weight: &weight,
        x,
        squares,
        norm,
        logits: &mut logits,
        best: &mut best,
        n_tokens: 2,
        dim,
        vocab_size,
        eps: 0.0,
    }
    .launch(device)?;
    let want: Vec<f32> = (0..N_TOKENS * VOCAB_SIZE).map(|i| product(i % VOCAB_SIZE, i / VOCAB_SIZE)).collect();
    expect("logits", &logits.to_vec()?, &want)?;
    let first_of_greatest = |row: &[f32]| {
        let greatest = row.iter().fold(f32::MIN, |a, &b| a.max(b));
        row.iter().position(|it| *it == greatest).map(|it| it as u32)
    };
    let found: Vec<_> = best.to_vec()?.into_iter().map(best_token).collect();
    expect("best", &found, &want.chunks(VOCAB_SIZE).map(first_of_greatest).collect::<Vec<_>>())
}
