//! What each kernel needs of the memory on a full-size shape. Those that are held to more than `NO_WASTE` say why.

use crate::common::open;
use crate::limits::{Limits, NO_WASTE, hold, hold_flops};
use gale::device::{Buffer, Device, Element};
use gale::kernels::*;
use half::bf16;

pub const DIM: u32 = 4096;
pub const HIDDEN_DIM: u32 = 14336;
pub const N_HEADS: u32 = 32;
pub const N_KV_HEADS: u32 = 8;
pub const HEAD_DIM: u32 = 128;

/// Every input and output: what is in it makes no difference here.
pub fn zeros<T: Element, const N: usize>(device: &Device, shape: [u32; N]) -> Buffer<T> {
    device.zeroed(&shape.map(|it| it as usize)).unwrap()
}

#[test]
fn embed() {
    let (device, n_tokens, vocab_size) = (open(), 8, 64);
    let tokens = device.upload(&(0..n_tokens).map(|it| it * 3).collect::<Vec<u32>>()).unwrap();
    let table = zeros::<bf16, _>(&device, tiles_shape([vocab_size, DIM]));
    let (mut x, mut squares) = (zeros(&device, [n_tokens, DIM]), zeros(&device, squares_shape(n_tokens, DIM)));
    let it = Embed { tokens: &tokens, table: &table, x: &mut x, squares: &mut squares, n_tokens, dim: DIM };
    hold(&device, "embed_bf16", NO_WASTE, it.bytes(), || it.launch(&device).unwrap());
}

#[test]
fn tile() {
    let (device, n_rows) = (open(), 256);
    let rows = zeros::<bf16, _>(&device, [n_rows, DIM]);
    let mut tiles = zeros(&device, tiles_shape([n_rows, DIM]));
    let it = Tile { rows: &rows, tiles: &mut tiles, n_rows, n_in: DIM, first_row: 0, pair_distance: HEAD_DIM / 2 };
    hold(&device, "tile_bf16", NO_WASTE, it.bytes(), || it.launch(&device).unwrap());
}

/// The residual stream and a norm.
struct Stream {
    x: Buffer<f32>,
    squares: Buffer<f32>,
    norm: Buffer<bf16>,
}

impl Stream {
    fn new(device: &Device, n_tokens: u32) -> Stream {
        Stream {
            x: zeros(device, [n_tokens, DIM]),
            squares: zeros(device, squares_shape(n_tokens, DIM)),
            norm: zeros(device, [DIM]),
        }
    }
}

fn hold_qkv(n_tokens: u32) {
    let (device, n_slots) = (open(), 8);
    let weight = zeros(&device, tiles_shape([(N_HEADS + 2 * N_KV_HEADS) * HEAD_DIM, DIM]));
    let stream = Stream::new(&device, n_tokens);
    let turns = device.upload(&gale::rope::turns_per_position(HEAD_DIM, 1e6)).unwrap();
    let position = device.upload(&[1000u64]).unwrap();
    let mut q = zeros(&device, [n_tokens, N_HEADS, HEAD_DIM]);
    let cache = || zeros(&device, [n_slots, N_KV_HEADS, HEAD_DIM]);
    let (mut k_ring, mut v_ring, mut k_staged, mut v_staged) = (cache(), cache(), cache(), cache());
    let it = Qkv {
        weight: &weight,
        x: &stream.x,
        squares: &stream.squares,
        norm: &stream.norm,
        turn_per_position: &turns,
        position: &position,
        q: &mut q,
        k_ring: &mut k_ring,
        v_ring: &mut v_ring,
        k_staged: &mut k_staged,
        v_staged: &mut v_staged,
        n_tokens,
        n_staged: if n_tokens == 1 { 0 } else { n_tokens },
        layer: 0,
        dim: DIM,
        n_heads: N_HEADS,
        n_kv_heads: N_KV_HEADS,
        head_dim: HEAD_DIM,
        n_slots,
        eps: 1e-5,
    };
    let counters = hold(&device, "qkv_bf16", HALF_SECTORS, it.bytes(), || it.launch(&device).unwrap());
    hold_flops(counters, n_tokens.into(), it.flops());
}

/// A tile makes eight results of 16 bits for a token, each half of a pair apart: 16 bytes, half a sector. They are a
/// thousandth of what the kernel moves.
const HALF_SECTORS: Limits = Limits { stored_sectors: 2.0, ..NO_WASTE };

#[test]
fn qkv_of_one_token() {
    hold_qkv(1);
}

#[test]
fn qkv_of_eight_tokens() {
    hold_qkv(8);
}

fn hold_residual(n_tokens: u32, n_in: u32) {
    let device = open();
    let (weight, h) = (zeros::<bf16, _>(&device, tiles_shape([DIM, n_in])), zeros(&device, [n_tokens, n_in]));
    let Stream { mut x, mut squares, .. } = Stream::new(&device, n_tokens);
    let (x, squares) = (&mut x, &mut squares);
    let it = Residual { weight: &weight, h: &h, x, squares, n_tokens, n_in, n_out: DIM };
    // The squares of a tile are one number, an eighth of a sector.
    let limits = Limits { stored_sectors: 1.5, ..NO_WASTE };
    let counters = hold(&device, "residual_bf16", limits, it.bytes(), || it.launch(&device).unwrap());
    hold_flops(counters, n_tokens.into(), it.flops());
}

#[test]
fn o_of_one_token() {
    hold_residual(1, N_HEADS * HEAD_DIM);
}

#[test]
fn o_of_eight_tokens() {
    hold_residual(8, N_HEADS * HEAD_DIM);
}

#[test]
fn down_of_one_token() {
    hold_residual(1, HIDDEN_DIM);
}

#[test]
fn gate_up_of_one_token() {
    let (device, n_tokens) = (open(), 1);
    let weight = zeros(&device, tiles_shape([2 * HIDDEN_DIM, DIM]));
    let Stream { x, squares, norm } = Stream::new(&device, n_tokens);
    let mut act = zeros::<bf16, _>(&device, [n_tokens, HIDDEN_DIM]);
    let (dim, hidden_dim, eps) = (DIM, HIDDEN_DIM, 1e-5);
    let (x, squares, norm, act) = (&x, &squares, &norm, &mut act);
    let it = GateUp { weight: &weight, x, squares, norm, act, n_tokens, dim, hidden_dim, eps };
    let counters = hold(&device, "gate_up_bf16", HALF_SECTORS, it.bytes(), || it.launch(&device).unwrap());
    hold_flops(counters, n_tokens.into(), it.flops());
}

#[test]
fn lm_head_of_one_token() {
    let (device, n_tokens, vocab_size) = (open(), 1, 32000);
    let weight = zeros(&device, tiles_shape([vocab_size, DIM]));
    let Stream { x, squares, norm } = Stream::new(&device, n_tokens);
    let (mut logits, mut best) = (zeros(&device, [n_tokens, vocab_size]), zeros(&device, [n_tokens]));
    let (x, squares, norm, logits, best) = (&x, &squares, &norm, &mut logits, &mut best);
    let it = LmHead { weight: &weight, x, squares, norm, logits, best, n_tokens, dim: DIM, vocab_size, eps: 1e-5 };
    let counters = hold(&device, "lm_head_bf16", NO_WASTE, it.bytes(), || it.launch(&device).unwrap());
    hold_flops(counters, n_tokens.into(), it.flops());
}

#[test]
fn copy() {
    let (device, n) = (open(), 1u32 << 22);
    let from = zeros(&device, [n]);
    let mut to = zeros(&device, [n]);
    let it = Copy { from: &from, to: &mut to, n: n.into() };
    hold(&device, "copy", NO_WASTE, it.bytes(), || it.launch(&device).unwrap());
}

#[test]
fn read() {
    let (device, n) = (open(), 1u32 << 24);
    let (from, mut sum) = (zeros(&device, [n]), zeros(&device, [1]));
    let it = Read { from: &from, sum: &mut sum, n: n.into() };
    hold(&device, "read", NO_WASTE, it.bytes(), || it.launch(&device).unwrap());
}

#[test]
fn noise() {
    let (device, n_out) = (open(), 256);
    let mut tiles = zeros(&device, tiles_shape([n_out, DIM]));
    let it = Noise { tiles: &mut tiles, n_out, n_in: DIM, pair_distance: HEAD_DIM / 2, seed: 1 };
    hold(&device, "noise", NO_WASTE, it.bytes(), || it.launch(&device).unwrap());
}
