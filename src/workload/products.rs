//! The products of a step: m tokens, whose vectors are warm, and a weight [n, k], which is cold.

use super::{EPS, Sizes, Work, inputs, numbers, output, weights};
use crate::device::{Buffer, Device, Result};
use crate::kernels::{GateUp, LmHead, MAX_TOKENS, Qkv, Residual};
use crate::rope;
use half::bf16;

/// Some tokens of the residual stream, and the weight of a norm.
pub struct Stream {
    pub x: Buffer<f32>,       // [m, dim]
    pub squares: Buffer<f32>, // [m, ceil(dim / 16)]
    pub norm: Buffer<bf16>,   // [dim]
}

impl Stream {
    pub fn new(device: &Device, m: u32, dim: u32) -> Result<Stream> {
        let x: Vec<f32> = numbers(&[m, dim]).collect();
        let squares: Vec<f32> =
            x.chunks(dim as usize).flat_map(|row| row.chunks(16).map(|it| it.iter().map(|x| x * x).sum())).collect();
        let norm = vec![bf16::ONE; dim as usize];
        Ok(Stream { x: device.upload(&x)?, squares: device.upload(&squares)?, norm: device.upload(&norm)? })
    }
}

/// The angles' base makes no difference to the time.
pub fn turns(device: &Device, head_dim: u32) -> Result<Buffer<u64>> {
    device.upload(&rope::turns_per_position(head_dim, 1e4))
}

pub fn qkv(device: &Device, sizes: Sizes) -> Result<Work> {
    let Sizes { m, k, n_heads, n_kv_heads, head_dim, .. } = sizes;
    let sets = weights(device, sizes.n_qkv(), k)?;
    let Stream { x, squares, norm } = Stream::new(device, m, k)?;
    let turn_per_position = turns(device, head_dim)?;
    let position = output(device, &[1])?;
    let mut q = output(device, &[m, n_heads, head_dim])?;
    let rows = |n| output(device, &[n, n_kv_heads, head_dim]);
    let (mut k_ring, mut v_ring) = (rows(1)?, rows(1)?);
    let (mut k_staged, mut v_staged) = (rows(MAX_TOKENS)?, rows(MAX_TOKENS)?);
    Ok(Work::new(sets.len(), move |device, set| {
        Qkv {
            weight: &sets[set],
            x: &x,
            squares: &squares,
            norm: &norm,
            turn_per_position: &turn_per_position,
            position: &position,
            q: &mut q,
            k_ring: &mut k_ring,
            v_ring: &mut v_ring,
            k_staged: &mut k_staged,
            v_staged: &mut v_staged,
            n_tokens: m,
            n_staged: if m == 1 { 0 } else { m },
            layer: 0,
            dim: k,
            n_heads,
            n_kv_heads,
            head_dim,
            n_slots: 1,
            eps: EPS,
        }
        .launch(device)
    }))
}

pub fn residual(device: &Device, Sizes { m, n, k, .. }: Sizes) -> Result<Work> {
    let sets = weights(device, n, k)?;
    let Stream { mut x, mut squares, .. } = Stream::new(device, m, n)?;
    let h = inputs(device, &[m, k])?;
    Ok(Work::new(sets.len(), move |device, set| {
        let (weight, x, squares) = (&sets[set], &mut x, &mut squares);
        Residual { weight, h: &h, x, squares, n_tokens: m, n_in: k, n_out: n }.launch(device)
    }))
}

pub fn gate_up(device: &Device, Sizes { m, n, k, .. }: Sizes) -> Result<Work> {
    let sets = weights(device, n, k)?;
    let Stream { x, squares, norm } = Stream::new(device, m, k)?;
    let hidden_dim = n / 2;
    let mut act = output(device, &[m, hidden_dim])?;
    Ok(Work::new(sets.len(), move |device, set| {
        let (weight, x, squares, norm, act) = (&sets[set], &x, &squares, &norm, &mut act);
        GateUp { weight, x, squares, norm, act, n_tokens: m, dim: k, hidden_dim, eps: EPS }.launch(device)
    }))
}

pub fn lm_head(device: &Device, Sizes { m, n, k, .. }: Sizes) -> Result<Work> {
    let sets = weights(device, n, k)?;
    let Stream { x, squares, norm } = Stream::new(device, m, k)?;
    let (mut logits, mut best) = (output(device, &[m, n])?, output(device, &[m])?);
    Ok(Work::new(sets.len(), move |device, set| {
        let (weight, x, squares, norm) = (&sets[set], &x, &squares, &norm);
        let (logits, best) = (&mut logits, &mut best);
        LmHead { weight, x, squares, norm, logits, best, n_tokens: m, dim: k, vocab_size: n, eps: EPS }.launch(device)
    }))
}
