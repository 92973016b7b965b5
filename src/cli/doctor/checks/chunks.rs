//! The same products for chunks, and their norm: what is expected is what decoding gives.

use anyhow::Result;
use gale::device::{Buffer, Device};
use gale::kernels::*;

use super::products::{
    DIM, HEAD_DIM, HIDDEN_DIM, N_OUT, N_TOKENS, Stream, activations, gating_weight, normed_tokens, sums, turned,
    weight, weight_of,
};
use super::{Number, expect, numbers, small};

pub fn norms<W: Number>(device: &Device) -> Result<()> {
    let Stream { x, squares, norm } = Stream::<W>::new(device)?;
    let mut h = device.alloc::<W>(&[N_TOKENS, DIM])?;
    let (n_tokens, dim) = (N_TOKENS as u32, DIM as u32);
    Norm { x: &x, squares: &squares, norm: &norm, h: &mut h, n_tokens, dim, eps: 0.0 }.launch(device)?;
    expect("h", &h.to_vec()?, &normed_tokens::<W>())
}

pub fn adds<W: Number>(device: &Device) -> Result<()> {
    let (weight, h) = (weight::<W>(device, N_OUT, 0)?, device.upload(&normed_tokens::<W>())?);
    expect("x", &added(device, &weight, &h, [N_TOKENS, DIM, N_OUT])?, &sums())?;
    adds_shared::<W>(device)
}

/// A product of few rows and long columns, which blocks share. Sums of small whole numbers are exact.
fn adds_shared<W: Number>(device: &Device) -> Result<()> {
    const N_TOKENS: usize = 12;
    const N_IN: usize = 2048;
    const N_OUT: usize = 16;
    let (weight, h) = (weight_of(device, [N_OUT, N_IN], 0)?, device.upload(&numbers::<W>(N_TOKENS * N_IN))?);
    let product =
        |token: usize, row: usize| -> f32 { (0..N_IN).map(|i| small(row * N_IN + i) * small(token * N_IN + i)).sum() };
    let expected = (0..N_TOKENS * N_OUT).map(|i| 1.0 + product(i / N_OUT, i % N_OUT)).collect::<Vec<_>>();
    expect("x of shared parts", &added(device, &weight, &h, [N_TOKENS, N_IN, N_OUT])?, &expected)
}

/// x += weight h, from x = 1 on.
fn added<W: Number>(device: &Device, weight: &Buffer<W>, h: &Buffer<W>, sizes: [usize; 3]) -> Result<Vec<f32>> {
    let [n_tokens, n_in, n_out] = sizes.map(|it| it as u32);
    let mut x = device.upload(&vec![1f32; sizes[0] * sizes[2]])?;
    PrefillResidual {
        weight,
        h,
        x: &mut x,
        squares: &mut device.alloc(&squares_shape(n_tokens, n_out).map(|it| it as usize))?,
        segment_sums: &mut device.alloc(&segment_sums_shape(n_tokens, n_out).map(|it| it as usize))?,
        part_tickets: &mut device.zeroed(&part_tickets_shape(n_tokens, n_out).map(|it| it as usize))?,
        n_tokens,
        n_in,
        n_out,
    }
    .launch(device)?;
    Ok(x.to_vec()?)
}

pub fn projects_and_turns<W: Number>(device: &Device) -> Result<()> {
    let weight = weight::<W>(device, 4 * HEAD_DIM, HEAD_DIM as u32 / 2)?;
    let mut q = device.alloc(&[N_TOKENS, 2, HEAD_DIM])?;
    let [mut k_chunk, mut v_chunk] = [device.alloc(&[N_TOKENS, HEAD_DIM])?, device.alloc(&[N_TOKENS, HEAD_DIM])?];
    PrefillQkv {
        weight: &weight,
        h: &device.upload(&normed_tokens::<W>())?,
        turn_per_position: &device.upload(&[1u64 << 62; HEAD_DIM / 2])?,
        position: &device.upload(&[5u64])?,
        q: &mut q,
        k_chunk: &mut k_chunk,
        v_chunk: &mut v_chunk,
        n_tokens: N_TOKENS as u32,
        dim: DIM as u32,
        n_heads: 2,
        n_kv_heads: 1,
        head_dim: HEAD_DIM as u32,
    }
    .launch(device)?;
    let [want_q, want_k, want_v] = turned();
    expect("q", &q.to_vec()?, &want_q)?;
    expect("k_chunk", &k_chunk.to_vec()?, &want_k)?;
    expect("v_chunk", &v_chunk.to_vec()?, &want_v)
}

pub fn gates<W: Number>(device: &Device) -> Result<()> {
    let weight = gating_weight::<W>(device)?;
    let (h, mut act) = (device.upload(&normed_tokens::<W>())?, device.alloc::<W>(&[N_TOKENS, HIDDEN_DIM])?);
    let (n_tokens, dim, hidden_dim) = (N_TOKENS as u32, DIM as u32, HIDDEN_DIM as u32);
    PrefillGateUp { weight: &weight, h: &h, act: &mut act, n_tokens, dim, hidden_dim }.launch(device)?;
    expect("act", &act.to_vec()?, &activations::<W>())
}
