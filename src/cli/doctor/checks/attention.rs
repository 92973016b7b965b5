//! Attention, of a step and of a chunk, and the rings that it reads.

use anyhow::Result;
use gale::device::Device;
use gale::kernels::*;
use half::bf16;

use super::{Number, expect, small};

const HEAD_DIM: usize = 16;
/// The position in each slot, position % 4, before the tokens.
const IN_RING: [usize; 4] = [4, 5, 2, 3];

fn row(value: f32) -> [bf16; HEAD_DIM] {
    [bf16::from_f32(value); HEAD_DIM]
}

fn key(position: usize) -> [bf16; HEAD_DIM] {
    row(if position == 5 { 32.0 } else { 0.0 })
}

fn value(position: usize) -> [bf16; HEAD_DIM] {
    row(position as f32 + 1.0)
}

/// Tokens 6 and 7 with a window of 4, and 2 to 5 in the ring. Query head 0 looks at all it sees alike, head 1 at the
/// key of 5 alone. The value of position p is p + 1, so that their means are exact.
pub fn attends<W: Number>(device: &Device) -> Result<()> {
    let staged = [6, 7, 0, 0, 0, 0, 0, 0];
    let n_ranges = N_RANGES as usize;
    let (mut partials, mut softmaxes) = (device.alloc(&[2, 2, n_ranges, HEAD_DIM])?, device.alloc(&[n_ranges, 2, 2])?);
    let mut out = device.alloc::<W>(&[2, 2, HEAD_DIM])?;
    DecodeAttention {
        q: &device.upload(&[row(0.0), row(32.0), row(0.0), row(32.0)].concat())?,
        k_ring: &device.upload(&IN_RING.map(key).concat())?,
        v_ring: &device.upload(&IN_RING.map(value).concat())?,
        k_staged: &device.upload(&staged.map(key).concat())?,
        v_staged: &device.upload(&staged.map(value).concat())?,
        position: &device.upload(&[6u64])?,
        partials: &mut partials,
        softmaxes: &mut softmaxes,
        tickets: &mut device.zeroed(&[3])?,
        out: &mut out,
        n_tokens: 2,
        n_heads: 2,
        n_kv_heads: 1,
        head_dim: HEAD_DIM as u32,
        n_slots: 4,
        window: 4,
        layer: 0,
        n_staged: 2,
    }
    .launch(device)?;
    // 6 sees 3, 4, 5 and itself; 7 sees 4, 5, 6 and itself.
    let expected = [5.5, 6.0, 6.5, 6.0].map(|mean| [W::of(mean); HEAD_DIM]).concat();
    expect("out", &out.to_vec()?, &expected)
}

/// Positions 6, 7 and 8 go to slots 2, 3 and 0 of 4; slot 1 stays.
pub fn commits(device: &Device) -> Result<()> {
    let (old, new) =
        ([10.0, 11.0, 12.0, 13.0].map(row).concat(), [6.0, 7.0, 8.0, 9.0, 0.0, 0.0, 0.0, 0.0].map(row).concat());
    let (mut k_ring, mut v_ring) = (device.upload(&old)?, device.upload(&old)?);
    Commit {
        k_staged: &device.upload(&new)?,
        v_staged: &device.upload(&new)?,
        position: &device.upload(&[6u64])?,
        k_ring: &mut k_ring,
        v_ring: &mut v_ring,
        n_tokens: 3,
        n_layers: 1,
        n_kv_heads: 1,
        head_dim: HEAD_DIM as u32,
        n_slots: 4,
    }
    .launch(device)?;
    let expected = [8.0, 11.0, 6.0, 7.0].map(row).concat();
    expect("k_ring", &k_ring.to_vec()?, &expected)?;
    expect("v_ring", &v_ring.to_vec()?, &expected)
}

/// Tokens 6 to 8 with a window of 4, and 2 to 5 in the ring, as above.
pub fn attends_chunk<W: Number>(device: &Device) -> Result<()> {
    let chunk = [6, 7, 8];
    let mut out = device.alloc::<W>(&[3, 2, HEAD_DIM])?;
    PrefillAttention {
        q: &device.upload(&[row(0.0), row(32.0)].concat().repeat(3))?,
        k_ring: &device.upload(&IN_RING.map(key).concat())?,
        v_ring: &device.upload(&IN_RING.map(value).concat())?,
        k_chunk: &device.upload(&chunk.map(key).concat())?,
        v_chunk: &device.upload(&chunk.map(value).concat())?,
        position: &device.upload(&[6u64])?,
        out: &mut out,
        states: &mut device.alloc(&attention_states_shape(3, 2, 1, HEAD_DIM as u32).map(|it| it as usize))?,
        tickets: &mut device.zeroed(&attention_tickets_shape(3, 2, 1).map(|it| it as usize))?,
        n_tokens: 3,
        n_heads: 2,
        n_kv_heads: 1,
        head_dim: HEAD_DIM as u32,
        n_slots: 4,
        window: 4,
        layer: 0,
    }
    .launch(device)?;
    // 6 sees 3, 4, 5 and itself; 7 sees 4 to 7, and 8 sees 5 to 8.
    let expected = [5.5, 6.0, 6.5, 6.0, 7.5, 6.0].map(|mean| [W::of(mean); HEAD_DIM]).concat();
    expect("out", &out.to_vec()?, &expected)?;
    attends_chunk_shared::<W>(device)
}

/// Three tokens that see 2048 keys each, which blocks share, and look at all of them alike. Means are exact until they are
/// rounded.
fn attends_chunk_shared<W: Number>(device: &Device) -> Result<()> {
    const WINDOW: usize = 2048;
    const POSITION: usize = 5000;
    const N_TOKENS: usize = 3;
    let value = |position: usize| row(small(position));
    let slots: Vec<usize> = (0..WINDOW).map(|slot| POSITION - 1 - (POSITION - 1 - slot) % WINDOW).collect();
    let zeros = |n: usize| device.zeroed::<bf16>(&[n, 1, HEAD_DIM]);
    let mut out = device.alloc::<W>(&[N_TOKENS, 1, HEAD_DIM])?;
    PrefillAttention {
        q: &zeros(N_TOKENS)?,
        k_ring: &zeros(WINDOW)?,
        v_ring: &device.upload(&slots.iter().flat_map(|&it| value(it)).collect::<Vec<_>>())?,
        k_chunk: &zeros(N_TOKENS)?,
        v_chunk: &device.upload(&(POSITION..POSITION + N_TOKENS).flat_map(value).collect::<Vec<_>>())?,
        position: &device.upload(&[POSITION as u64])?,
        out: &mut out,
        states: &mut device
            .alloc(&attention_states_shape(N_TOKENS as u32, 1, 1, HEAD_DIM as u32).map(|it| it as usize))?,
        tickets: &mut device.zeroed(&attention_tickets_shape(N_TOKENS as u32, 1, 1).map(|it| it as usize))?,
        n_tokens: N_TOKENS as u32,
        n_heads: 1,
        n_kv_heads: 1,
        head_dim: HEAD_DIM as u32,
        n_slots: WINDOW as u32,
        window: WINDOW as u32,
        layer: 0,
    }
    .launch(device)?;
    let mean = |own: usize| (own + 1 - WINDOW..=own).map(small).sum::<f32>() / WINDOW as f32;
    let expected = (POSITION..POSITION + N_TOKENS).flat_map(|own| [W::of(mean(own)); HEAD_DIM]).collect::<Vec<_>>();
    expect("out of shared keys", &out.to_vec()?, &expected)
}

/// Positions 6, 7 and 8 go to slots 2, 3 and 0 of 4, in the second layer; slot 1 and the first layer stay.
pub fn writes_rings(device: &Device) -> Result<()> {
    let (old, new) =
        ([10.0, 11.0, 12.0, 13.0, 20.0, 21.0, 22.0, 23.0].map(row).concat(), [6.0, 7.0, 8.0].map(row).concat());
    let (mut k_ring, mut v_ring) = (device.upload(&old)?, device.upload(&old)?);
    RingWrite {
        k_chunk: &device.upload(&new)?,
        v_chunk: &device.upload(&new)?,
        position: &device.upload(&[6u64])?,
        k_ring: &mut k_ring,
        v_ring: &mut v_ring,
        n_tokens: 3,
        n_kv_heads: 1,
        head_dim: HEAD_DIM as u32,
        n_slots: 4,
        layer: 1,
    }
    .launch(device)?;
    let expected = [10.0, 11.0, 12.0, 13.0, 8.0, 21.0, 6.0, 7.0].map(row).concat();
    expect("k_ring", &k_ring.to_vec()?, &expected)?;
    expect("v_ring", &v_ring.to_vec()?, &expected)
}
