//! Attention, which reads a ring that is cold, and what puts rows into one: of one layer, but for commit.

use super::{Sizes, Work, cold, inputs, output};
use crate::device::{Buffer, Device, Result};
use crate::kernels::{
    Commit, DecodeAttention, MAX_TOKENS, N_RANGES, PrefillAttention, RingWrite, attention_states_shape,
    attention_tickets_shape,
};
use half::bf16;

/// Keys and values.
type Pair = [Buffer<bf16>; 2];

/// Of some tokens.
fn rows(device: &Device, n: u32, sizes: &Sizes) -> Result<Pair> {
    let make = || inputs(device, &[n, sizes.n_kv_heads, sizes.head_dim]);
    Ok([make()?, make()?])
}

/// All that some token sees, as often as it takes to have it cold.
fn rings(device: &Device, sizes: &Sizes) -> Result<Vec<Pair>> {
    let shape = [sizes.n_slots(), sizes.n_kv_heads, sizes.head_dim];
    let bytes = 2 * size_of::<bf16>() * shape.iter().map(|&it| it as usize).product::<usize>();
    cold(device, bytes, || rows(device, sizes.n_slots(), sizes))
}

fn position(device: &Device, sizes: &Sizes) -> Result<Buffer<u64>> {
    device.upload(&[u64::from(sizes.depth)])
}

pub fn decode_attention(device: &Device, sizes: Sizes) -> Result<Work> {
    let Sizes { m, n_heads, n_kv_heads, head_dim, .. } = sizes;
    let sets = rings(device, &sizes)?;
    let [k_staged, v_staged] = rows(device, MAX_TOKENS, &sizes)?;
    let q = inputs(device, &[m, n_heads, head_dim])?;
    let position = position(device, &sizes)?;
    let mut partials = output(device, &[m, n_heads, N_RANGES, head_dim])?;
    let mut softmaxes = output(device, &[N_RANGES, m, n_heads])?;
    let mut tickets = output(device, &[n_heads + n_kv_heads])?;
    let mut out = output::<bf16>(device, &[m, n_heads, head_dim])?;
    Ok(Work::new(sets.len(), move |device, set| {
        let [k_ring, v_ring] = &sets[set];
        DecodeAttention {
            q: &q,
            k_ring,
            v_ring,
            k_staged: &k_staged,
            v_staged: &v_staged,
            position: &position,
            partials: &mut partials,
            softmaxes: &mut softmaxes,
            tickets: &mut tickets,
            out: &mut out,
            n_tokens: m,
            n_heads,
            n_kv_heads,
            head_dim,
            n_slots: sizes.n_slots(),
            window: sizes.n_slots(),
            layer: 0,
            n_staged: if m == 1 { 0 } else { m },
        }
        .launch(device)
    }))
}

pub fn prefill_attention(device: &Device, sizes: Sizes) -> Result<Work> {
    let Sizes { m, n_heads, n_kv_heads, head_dim, .. } = sizes;
    let sets = rings(device, &sizes)?;
    let [k_chunk, v_chunk] = rows(device, m, &sizes)?;
    let q = inputs(device, &[m, n_heads, head_dim])?;
    let position = position(device, &sizes)?;
    let mut out = output::<bf16>(device, &[m, n_heads, head_dim])?;
    let mut states = output(device, &attention_states_shape(m, n_heads, n_kv_heads, head_dim))?;
    let mut tickets = output(device, &attention_tickets_shape(m, n_heads, n_kv_heads))?;
    Ok(Work::new(sets.len(), move |device, set| {
        let [k_ring, v_ring] = &sets[set];
        PrefillAttention {
            q: &q,
            k_ring,
            v_ring,
            k_chunk: &k_chunk,
            v_chunk: &v_chunk,
            position: &position,
            out: &mut out,
            states: &mut states,
            tickets: &mut tickets,
            n_tokens: m,
            n_heads,
            n_kv_heads,
            head_dim,
            n_slots: sizes.n_slots(),
            window: sizes.n_slots(),
            layer: 0,
        }
        .launch(device)
    }))
}

/// Nothing here is cold: the rows were made just before, and what is written need not be read.
pub fn ring_write(device: &Device, sizes: Sizes) -> Result<Work> {
    let Sizes { m, n_kv_heads, head_dim, .. } = sizes;
    let n_slots = sizes.n_slots();
    let ring = || output(device, &[n_slots, n_kv_heads, head_dim]);
    let (mut k_ring, mut v_ring) = (ring()?, ring()?);
    let [k_chunk, v_chunk] = rows(device, m, &sizes)?;
    let position = position(device, &sizes)?;
    Ok(Work::new(1, move |device, _| {
        RingWrite {
            k_chunk: &k_chunk,
            v_chunk: &v_chunk,
            position: &position,
            k_ring: &mut k_ring,
            v_ring: &mut v_ring,
            n_tokens: m,
            n_kv_heads,
            head_dim,
            n_slots,
            layer: 0,
        }
        .launch(device)
    }))
}

/// Of all 32 layers of Mistral 7B.
pub fn commit(device: &Device, sizes: Sizes) -> Result<Work> {
    const N_LAYERS: u32 = 32;
    let Sizes { m, n_kv_heads, head_dim, .. } = sizes;
    let n_slots = sizes.n_slots();
    let ring = || output(device, &[N_LAYERS, n_slots, n_kv_heads, head_dim]);
    let (mut k_ring, mut v_ring) = (ring()?, ring()?);
    let [k_staged, v_staged] = rows(device, N_LAYERS * MAX_TOKENS, &sizes)?;
    let position = position(device, &sizes)?;
    Ok(Work::new(1, move |device, _| {
        Commit {
            k_staged: &k_staged,
            v_staged: &v_staged,
            position: &position,
            k_ring: &mut k_ring,
            v_ring: &mut v_ring,
            n_tokens: m,
            n_layers: N_LAYERS,
            n_kv_heads,
            head_dim,
            n_slots,
        }
        .launch(device)
    }))
}
