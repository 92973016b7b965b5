//! What each kernel needs of the memory on a full-size shape. Those that are held to more than `NO_WASTE` say why.

use crate::common::open;
use crate::limits::{Limits, NO_WASTE, hold};
use gale::device::{Buffer, Device, Element};
use gale::kernels::*;
use half::bf16;

const DIM: u32 = 4096;
const HIDDEN_DIM: u32 = 14336;
const N_HEADS: u32 = 32;
const N_KV_HEADS: u32 = 8;
const HEAD_DIM: u32 = 128;

/// Every input and output: what is in it makes no difference here.
fn zeros<T: Element, const N: usize>(device: &Device, shape: [u32; N]) -> Buffer<T> {
    device.zeroed(&shape.map(|it| it as usize)).unwrap()
}

#[test]
fn embed() {
    let (device, n_tokens, vocab_size) = (open(), 16, 64);
    let tokens = device.upload(&(0..n_tokens).map(|it| it * 3).collect::<Vec<u32>>()).unwrap();
    let table = zeros::<bf16, _>(&device, [vocab_size, DIM]);
    let mut x = zeros(&device, [n_tokens, DIM]);
    let it = Embed { tokens: &tokens, table: &table, x: &mut x, n_tokens, dim: DIM };
    // A lane widens eight elements and stores them as two float4, each a half of a sector.
    let limits = Limits { stored_sectors: 2.0, ..NO_WASTE };
    hold(&device, "embed_bf16", limits, it.bytes(), || it.launch(&device).unwrap());
}

#[test]
fn embed_tiled() {
    let (device, n_tokens, vocab_size) = (open(), 16, 64);
    let tokens = device.upload(&(0..n_tokens).map(|it| it * 3).collect::<Vec<u32>>()).unwrap();
    let table = zeros::<bf16, _>(&device, tiles_shape(vocab_size, DIM));
    let (mut x, mut squares) = (zeros(&device, [n_tokens, DIM]), zeros(&device, squares_shape(n_tokens, DIM)));
    let it = EmbedTiled { tokens: &tokens, table: &table, x: &mut x, squares: &mut squares, n_tokens, dim: DIM };
    hold(&device, "embed_tiled_bf16", NO_WASTE, it.bytes(), || it.launch(&device).unwrap());
}

#[test]
fn tile() {
    let (device, n_rows) = (open(), 256);
    let rows = zeros::<bf16, _>(&device, [n_rows, DIM]);
    let mut tiles = zeros(&device, tiles_shape(n_rows, DIM));
    let it = Tile { rows: &rows, tiles: &mut tiles, n_rows, n_in: DIM, first_row: 0, pair_distance: HEAD_DIM / 2 };
    hold(&device, "tile_bf16", NO_WASTE, it.bytes(), || it.launch(&device).unwrap());
}

#[test]
fn rms_norm() {
    let (device, n_tokens) = (open(), 8);
    let (x, weight) = (zeros(&device, [n_tokens, DIM]), zeros::<bf16, _>(&device, [DIM]));
    let mut y = zeros(&device, [n_tokens, DIM]);
    let it = RmsNorm { x: &x, weight: &weight, y: &mut y, n_tokens, dim: DIM, eps: 1e-5 };
    // A lane loads eight floats as two float4, each a half of a sector, whose other half then comes from L1; the weight,
    // of 16 bits, is loaded whole.
    let limits = Limits { loaded_sectors: 1.8, ..NO_WASTE };
    hold(&device, "rms_norm_bf16", limits, it.bytes(), || it.launch(&device).unwrap());
}

#[test]
fn matvec() {
    let (device, n_out) = (open(), 1024);
    let (weight, x) = (zeros::<bf16, _>(&device, [n_out, DIM]), zeros(&device, [DIM]));
    let mut y = zeros(&device, [n_out]);
    let it = Matvec { weight: &weight, x: &x, y: &mut y, n_in: DIM, n_out, accumulate: 0 };
    hold(&device, "matvec_bf16", NO_WASTE, it.bytes(), || it.launch(&device).unwrap());
}

#[test]
fn matmul() {
    let (device, n_out, n_tokens) = (open(), 256, 16);
    let (weight, x) = (zeros::<bf16, _>(&device, [n_out, DIM]), zeros(&device, [n_tokens, DIM]));
    let mut y = zeros(&device, [n_tokens, n_out]);
    let it = Matmul { weight: &weight, x: &x, y: &mut y, n_tokens, n_in: DIM, n_out, accumulate: 0 };
    hold(&device, "matmul_bf16", NO_WASTE, it.bytes(), || it.launch(&device).unwrap());
}

#[test]
fn rope() {
    let (device, n_tokens) = (open(), 8);
    let qkv = zeros(&device, [n_tokens, N_HEADS + 2 * N_KV_HEADS, HEAD_DIM]);
    let turns = device.upload(&gale::rope::turns_per_position(HEAD_DIM, 1e6)).unwrap();
    let position = device.upload(&[1000u64]).unwrap();
    let mut q = zeros(&device, [n_tokens, N_HEADS, HEAD_DIM]);
    let mut k_chunk = zeros(&device, [n_tokens, N_KV_HEADS, HEAD_DIM]);
    let mut v_chunk = zeros(&device, [n_tokens, N_KV_HEADS, HEAD_DIM]);
    let it = Rope {
        qkv: &qkv,
        turn_per_position: &turns,
        position: &position,
        q: &mut q,
        k_chunk: &mut k_chunk,
        v_chunk: &mut v_chunk,
        n_tokens,
        n_heads: N_HEADS,
        n_kv_heads: N_KV_HEADS,
        head_dim: HEAD_DIM,
    };
    hold(&device, "rope", NO_WASTE, it.bytes(), || it.launch(&device).unwrap());
}

fn hold_attention(n_tokens: u32, position: u64) {
    let (device, n_slots) = (open(), 1024);
    let (ring, chunk) = ([n_slots, N_KV_HEADS, HEAD_DIM], [n_tokens, N_KV_HEADS, HEAD_DIM]);
    let (q, at) = (zeros(&device, [n_tokens, N_HEADS, HEAD_DIM]), device.upload(&[position]).unwrap());
    let (k_ring, v_ring, k_chunk, v_chunk) =
        (zeros(&device, ring), zeros(&device, ring), zeros(&device, chunk), zeros(&device, chunk));
    let mut out = zeros::<bf16, _>(&device, [n_tokens, N_HEADS, HEAD_DIM]);
    let it = Attention {
        q: &q,
        k_ring: &k_ring,
        v_ring: &v_ring,
        k_chunk: &k_chunk,
        v_chunk: &v_chunk,
        position: &at,
        out: &mut out,
        n_tokens,
        n_heads: N_HEADS,
        n_kv_heads: N_KV_HEADS,
        head_dim: HEAD_DIM,
        n_slots,
        window: n_slots,
    };
    hold(&device, "attention_bf16", ATTENTION, it.bytes(position), || it.launch(&device).unwrap());
}

/// When a block adds the results of its warps, a lane stores eight values as two float4, 32 bytes from its neighbour's: a
/// quarter-warp needs two wavefronts instead of one.
const ATTENTION: Limits = Limits { wavefronts: 11.0 / 9.0, ..NO_WASTE };

#[test]
fn attention_of_one_token() {
    hold_attention(1, 1000);
}

#[test]
fn attention_of_a_chunk() {
    hold_attention(16, 256);
}

#[test]
fn ring_write() {
    let (device, n_tokens, n_slots) = (open(), 16, 64);
    let chunk = [n_tokens, N_KV_HEADS, HEAD_DIM];
    let (k, v) = (zeros(&device, chunk), zeros(&device, chunk));
    let position = device.upload(&[1000u64]).unwrap();
    let mut k_ring = zeros(&device, [n_slots, N_KV_HEADS, HEAD_DIM]);
    let mut v_ring = zeros(&device, [n_slots, N_KV_HEADS, HEAD_DIM]);
    let it = RingWrite {
        k_chunk: &k,
        v_chunk: &v,
        position: &position,
        k_ring: &mut k_ring,
        v_ring: &mut v_ring,
        n_tokens,
        n_kv_heads: N_KV_HEADS,
        head_dim: HEAD_DIM,
        n_slots,
    };
    hold(&device, "ring_write", NO_WASTE, it.bytes(), || it.launch(&device).unwrap());
}

#[test]
fn swiglu() {
    let (device, n_tokens) = (open(), 4);
    let gate_up = zeros(&device, [n_tokens, 2, HIDDEN_DIM]);
    let mut y = zeros::<bf16, _>(&device, [n_tokens, HIDDEN_DIM]);
    let it = Swiglu { gate_up: &gate_up, y: &mut y, n_tokens, hidden_dim: HIDDEN_DIM };
    // As for rms_norm: two float4 of a lane, each a half of a sector.
    let limits = Limits { loaded_sectors: 2.0, ..NO_WASTE };
    hold(&device, "swiglu_bf16", limits, it.bytes(), || it.launch(&device).unwrap());
}

#[test]
fn argmax() {
    let (device, n_rows, vocab_size) = (open(), 2, 32768);
    let logits = zeros(&device, [n_rows, vocab_size]);
    let mut tokens = zeros(&device, [n_rows]);
    let it = Argmax { logits: &logits, tokens: &mut tokens, n_rows, vocab_size };
    // The warps' best are pairs of words, of which warp 0 loads one after the other: every other bank twice.
    let limits = Limits { wavefronts: 34.0 / 33.0, ..NO_WASTE };
    hold(&device, "argmax", limits, it.bytes(), || it.launch(&device).unwrap());
}

#[test]
fn copy() {
    let (device, n) = (open(), 1u32 << 22);
    let from = zeros(&device, [n]);
    let mut to = zeros(&device, [n]);
    let it = Copy { from: &from, to: &mut to, n: n.into() };
    hold(&device, "copy", NO_WASTE, it.bytes(), || it.launch(&device).unwrap());
}
