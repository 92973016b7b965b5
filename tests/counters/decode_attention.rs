//! What attention of a step, and the commit of its rows, need of the memory on the shape of Mistral 7B.

use crate::common::open;
use crate::limits::{NO_WASTE, hold, hold_flops};
use gale::device::{Buffer, Device, Element};
use gale::kernels::{Commit, DecodeAttention, N_RANGES};
use half::bf16;

const N_LAYERS: u32 = 2;
const N_HEADS: u32 = 32;
const N_KV_HEADS: u32 = 8;
const HEAD_DIM: u32 = 128;
const N_SLOTS: u32 = 4096;

/// Every input and output: what is in it makes no difference here.
fn zeros<T: Element, const N: usize>(device: &Device, shape: [u32; N]) -> Buffer<T> {
    device.zeroed(&shape.map(|it| it as usize)).unwrap()
}

#[track_caller]
fn hold_step(n_tokens: u32, position: u64) {
    let device = open();
    let (ring, staging) = ([N_LAYERS, N_SLOTS, N_KV_HEADS, HEAD_DIM], [N_LAYERS, 8, N_KV_HEADS, HEAD_DIM]);
    let [k_ring, v_ring] = [(); 2].map(|()| zeros(&device, ring));
    let [k_staged, v_staged] = [(); 2].map(|()| zeros(&device, staging));
    let mut out = zeros::<bf16, _>(&device, [n_tokens, N_HEADS, HEAD_DIM]);
    let it = DecodeAttention {
        q: &zeros(&device, [n_tokens, N_HEADS, HEAD_DIM]),
        k_ring: &k_ring,
        v_ring: &v_ring,
        k_staged: &k_staged,
        v_staged: &v_staged,
        position: &device.upload(&[position]).unwrap(),
        partials: &mut zeros(&device, [n_tokens, N_HEADS, N_RANGES, HEAD_DIM]),
        softmaxes: &mut zeros(&device, [N_RANGES, n_tokens, N_HEADS]),
        tickets: &mut zeros(&device, [N_HEADS + N_KV_HEADS]),
        out: &mut out,
        n_tokens,
        n_heads: N_HEADS,
        n_kv_heads: N_KV_HEADS,
        head_dim: HEAD_DIM,
        n_slots: N_SLOTS,
        window: N_SLOTS,
        layer: 1,
        n_staged: if n_tokens == 1 { 0 } else { n_tokens },
    };
    let bytes = it.bytes(position) + it.scratch_bytes(position);
    let counters = hold(&device, "decode_attention_bf16", NO_WASTE, bytes, || it.launch(&device).unwrap());
    if position >= u64::from(N_SLOTS) {
        // A column for each query row of a kv head, but keys come 16 at a time: only long ranges are nearly full of them.
        // The values are multiplied by two halves of each weight, and count once.
        let n_columns = f64::from(n_tokens.min(2) * N_HEADS / N_KV_HEADS);
        hold_flops(counters, n_columns * 2.0 / 3.0, it.flops(position));
    }
}

#[test]
fn decode_attention_of_the_first_token() {
    hold_step(1, 0);
}

#[test]
fn decode_attention_of_a_token() {
    hold_step(1, 1000);
}

#[test]
fn decode_attention_of_a_full_window() {
    hold_step(1, 100_000);
}

#[test]
fn decode_attention_of_eight_tokens() {
    hold_step(8, 100_000);
}

#[test]
fn commit() {
    let (device, n_tokens) = (open(), 5);
    let (ring, staging) = ([N_LAYERS, N_SLOTS, N_KV_HEADS, HEAD_DIM], [N_LAYERS, 8, N_KV_HEADS, HEAD_DIM]);
    let it = Commit {
        k_staged: &zeros(&device, staging),
        v_staged: &zeros(&device, staging),
        position: &device.upload(&[100_000u64]).unwrap(),
        k_ring: &mut zeros(&device, ring),
        v_ring: &mut zeros(&device, ring),
        n_tokens,
        n_layers: N_LAYERS,
        n_kv_heads: N_KV_HEADS,
        head_dim: HEAD_DIM,
        n_slots: N_SLOTS,
    };
    hold(&device, "commit", NO_WASTE, it.bytes(), || it.launch(&device).unwrap());
}
