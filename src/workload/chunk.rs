//! The products of a chunk: m vectors of k, which are warm, and a weight [n, k], which is cold.

use super::products::{Stream, turns};
use super::{Sizes, Work, inputs, output, weights};
use crate::device::{Device, Result};
use crate::kernels::{PrefillGateUp, PrefillQkv, PrefillResidual, part_tickets_shape, segment_sums_shape};

pub fn prefill_qkv(device: &Device, sizes: Sizes) -> Result<Work> {
    let Sizes { m, k, n_heads, n_kv_heads, head_dim, .. } = sizes;
    let sets = weights(device, sizes.n_qkv(), k)?;
    let h = inputs(device, &[m, k])?;
    let turn_per_position = turns(device, head_dim)?;
    let position = output(device, &[1])?;
    let rows = |n_heads| output(device, &[m, n_heads, head_dim]);
    let (mut q, mut k_chunk, mut v_chunk) = (rows(n_heads)?, rows(n_kv_heads)?, rows(n_kv_heads)?);
    Ok(Work::new(sets.len(), move |device, set| {
        PrefillQkv {
            weight: &sets[set],
            h: &h,
            turn_per_position: &turn_per_position,
            position: &position,
            q: &mut q,
            k_chunk: &mut k_chunk,
            v_chunk: &mut v_chunk,
            n_tokens: m,
            dim: k,
            n_heads,
            n_kv_heads,
            head_dim,
        }
        .launch(device)
    }))
}

pub fn prefill_residual(device: &Device, Sizes { m, n, k, .. }: Sizes) -> Result<Work> {
    let sets = weights(device, n, k)?;
    let Stream { mut x, mut squares, .. } = Stream::new(device, m, n)?;
    let h = inputs(device, &[m, k])?;
    let mut segment_sums = output(device, &segment_sums_shape(m, n))?;
    let mut part_tickets = output(device, &part_tickets_shape(m, n))?;
    Ok(Work::new(sets.len(), move |device, set| {
        let (weight, x, squares) = (&sets[set], &mut x, &mut squares);
        let (segment_sums, part_tickets) = (&mut segment_sums, &mut part_tickets);
        PrefillResidual { weight, h: &h, x, squares, segment_sums, part_tickets, n_tokens: m, n_in: k, n_out: n }
            .launch(device)
    }))
}

pub fn prefill_gate_up(device: &Device, Sizes { m, n, k, .. }: Sizes) -> Result<Work> {
    let sets = weights(device, n, k)?;
    let h = inputs(device, &[m, k])?;
    let hidden_dim = n / 2;
    let mut act = output(device, &[m, hidden_dim])?;
    Ok(Work::new(sets.len(), move |device, set| {
        let (weight, h, act) = (&sets[set], &h, &mut act);
        PrefillGateUp { weight, h, act, n_tokens: m, dim: k, hidden_dim }.launch(device)
    }))
}
