//! The products of chunks: no more `mma` than the result needs, and from L2 what the parts of the result need.

use crate::common::open;
use crate::kernels::{DIM, HEAD_DIM, HIDDEN_DIM, N_HEADS, N_KV_HEADS, zeros};
use crate::limits::{Limits, NO_WASTE, hold, hold_flops};
use gale::device::{Device, Grid};
use gale::kernels::*;
use half::bf16;

/// A product [n_tokens, n_out] of vectors of n_in, by parts.
#[derive(Clone, Copy)]
struct Product {
    n_tokens: u32,
    n_in: u32,
    n_out: u32,
    /// Rows, tokens, and blocks that share the columns.
    part: [u32; 3],
    n_blocks: u32,
}

/// Of the columns of a long row.
const N_SEGMENTS: u32 = 8;

/// What is written of a tile is eight numbers of 16 bits a token, half a sector, and its squares are one number. That is
/// little beside what is read.
const SMALL_STORES: Limits = Limits { sectors: 1.05, stored_sectors: 2.0, ..NO_WASTE };

impl Product {
    fn hold(self, device: &Device, kernel: &str, (bytes, flops): (u64, u64), launch: impl FnOnce()) {
        let Product { n_tokens, n_in, n_out, part: [n_rows, n_columns, n_shares], .. } = self;
        let count = |of: [u32; 3]| of.map(u64::from).iter().product::<u64>();
        // The first share leaves one sum for another block, the others one for each of their segments.
        let n_sums = if n_shares == 1 { 0 } else { 1 + N_SEGMENTS / n_shares * (n_shares - 1) };
        let sums_bytes = count([n_sums, n_out.next_multiple_of(n_rows), 4 * n_tokens.next_multiple_of(n_columns)]);
        let bytes = bytes + 2 * sums_bytes;
        let counters = hold(device, kernel, SMALL_STORES, bytes, launch);
        hold_flops(counters, 8.0, flops);
        let Some(counters) = counters else { return };

        let (n, needed) = (counters.mma(), count([n_out / 16, n_tokens.div_ceil(8), n_in / 16]));
        println!("{kernel}: {n} mma, {needed} needed");
        assert!(n as f64 <= 1.05 * needed as f64, "{n} mma, {needed} are enough");

        let n_parts = n_out.div_ceil(n_rows) * n_tokens.div_ceil(n_columns);
        let n_tokens_loaded = n_out.div_ceil(n_rows) * n_tokens; // none beyond the last
        let operands = (count([n_parts, n_rows, n_in]) + count([n_tokens_loaded, n_in, 1])) / 16;
        let loaded = counters.counts.global_load_sectors;
        let others = bytes.saturating_sub(count([n_out + n_tokens, n_in, 2])) / 32; // what is written counts, too
        println!("{kernel}: {loaded} sectors loaded, {operands} by its parts of {n_rows} x {n_columns}");
        let most = 1.05 * operands as f64 + others as f64;
        assert!(loaded as f64 <= most && loaded >= operands, "{loaded} sectors loaded, {operands} are operands");
    }

    fn residual(self) {
        let Product { n_tokens, n_in, n_out, n_blocks, .. } = self;
        let device = open();
        let (weight, h) = (zeros::<bf16, _>(&device, tiles_shape([n_out, n_in])), zeros(&device, [n_tokens, n_in]));
        let (mut x, mut squares) = (zeros(&device, [n_tokens, n_out]), zeros(&device, squares_shape(n_tokens, n_out)));
        let it = PrefillResidual {
            weight: &weight,
            h: &h,
            x: &mut x,
            squares: &mut squares,
            segment_sums: &mut zeros(&device, segment_sums_shape(n_tokens, n_out)),
            part_tickets: &mut zeros(&device, part_tickets_shape(n_tokens, n_out)),
            n_tokens,
            n_in,
            n_out,
        };
        let launch = || it.launch_grid(&device, Grid::x(n_blocks)).unwrap();
        self.hold(&device, "prefill_residual_bf16", (it.bytes(), it.flops()), launch);
    }

    fn gate_up(self) {
        let Product { n_tokens, n_in: dim, n_out, n_blocks, .. } = self;
        let (device, hidden_dim) = (open(), n_out / 2);
        let (weight, h) = (zeros::<bf16, _>(&device, tiles_shape([n_out, dim])), zeros(&device, [n_tokens, dim]));
        let mut act = zeros(&device, [n_tokens, hidden_dim]);
        let it = PrefillGateUp { weight: &weight, h: &h, act: &mut act, n_tokens, dim, hidden_dim };
        let launch = || it.launch_grid(&device, Grid::x(n_blocks)).unwrap();
        self.hold(&device, "prefill_gate_up_bf16", (it.bytes(), it.flops()), launch);
    }

    /// A sixth of the rows is keys, and a sixth values.
    fn qkv(self) {
        let Product { n_tokens, n_in: dim, n_out, n_blocks, .. } = self;
        let (device, n_kv_heads) = (open(), n_out / HEAD_DIM / 6);
        let n_heads = n_out / HEAD_DIM - 2 * n_kv_heads;
        let (weight, h) = (zeros::<bf16, _>(&device, tiles_shape([n_out, dim])), zeros(&device, [n_tokens, dim]));
        let turns = device.upload(&gale::rope::turns_per_position(HEAD_DIM, 1e6)).unwrap();
        let mut q = zeros(&device, [n_tokens, n_heads, HEAD_DIM]);
        let cache = || zeros(&device, [n_tokens, n_kv_heads, HEAD_DIM]);
        let (mut k_chunk, mut v_chunk) = (cache(), cache());
        let it = PrefillQkv {
            weight: &weight,
            h: &h,
            turn_per_position: &turns,
            position: &device.upload(&[1000u64]).unwrap(),
            q: &mut q,
            k_chunk: &mut k_chunk,
            v_chunk: &mut v_chunk,
            n_tokens,
            dim,
            n_heads,
            n_kv_heads,
            head_dim: HEAD_DIM,
        };
        let launch = || it.launch_grid(&device, Grid::x(n_blocks)).unwrap();
        self.hold(&device, "prefill_qkv_bf16", (it.bytes(), it.flops()), launch);
    }
}

const N_QKV: u32 = (N_HEADS + 2 * N_KV_HEADS) * HEAD_DIM;

/// The multiprocessors of an H100.
const ALL: u32 = 132;
/// An eighth of them, for an eighth of the rows.
const EIGHTH: u32 = 16;

#[test]
fn chunk_norm() {
    let (device, n_tokens) = (open(), 128);
    let (x, squares) = (zeros(&device, [n_tokens, DIM]), zeros(&device, squares_shape(n_tokens, DIM)));
    let (norm, mut h) = (zeros::<bf16, _>(&device, [DIM]), zeros(&device, [n_tokens, DIM]));
    let it = Norm { x: &x, squares: &squares, norm: &norm, h: &mut h, n_tokens, dim: DIM, eps: 1e-5 };
    hold(&device, "norm_bf16", NO_WASTE, it.bytes(), || it.launch(&device).unwrap());
}

#[test]
fn o_of_512_tokens() {
    Product { n_tokens: 512, n_in: DIM, n_out: DIM, part: [128, 128, 1], n_blocks: ALL }.residual();
}

#[test]
fn down_of_512_tokens() {
    Product { n_tokens: 512, n_in: HIDDEN_DIM, n_out: DIM / 8, part: [128, 128, 1], n_blocks: EIGHTH }.residual();
}

#[test]
fn down_of_2048_tokens() {
    Product { n_tokens: 2048, n_in: HIDDEN_DIM, n_out: DIM / 16, part: [256, 128, 1], n_blocks: EIGHTH / 2 }.residual();
}

#[test]
fn gate_up_of_512_tokens() {
    Product { n_tokens: 512, n_in: DIM, n_out: HIDDEN_DIM / 8, part: [256, 128, 1], n_blocks: EIGHTH / 2 }.gate_up();
}

#[test]
fn gate_up_of_2048_tokens() {
    Product { n_tokens: 2048, n_in: DIM, n_out: HIDDEN_DIM / 28, part: [256, 128, 1], n_blocks: EIGHTH / 4 }.gate_up();
}

#[test]
fn qkv_of_512_tokens() {
    Product { n_tokens: 512, n_in: DIM, n_out: N_QKV / 4, part: [256, 128, 1], n_blocks: ALL / 4 }.qkv();
}

#[test]
fn qkv_of_2048_tokens() {
    Product { n_tokens: 2048, n_in: DIM, n_out: N_QKV / 8, part: [256, 128, 1], n_blocks: EIGHTH }.qkv();
}

// Short prompts: weights are read once.

#[test]
fn products_of_16_tokens() {
    let n_tokens = 16;
    Product { n_tokens, n_in: DIM, n_out: N_QKV, part: [64, 16, 1], n_blocks: ALL }.qkv();
    Product { n_tokens, n_in: DIM, n_out: DIM, part: [64, 16, 2], n_blocks: ALL }.residual();
    Product { n_tokens, n_in: DIM, n_out: HIDDEN_DIM, part: [64, 16, 1], n_blocks: ALL / 2 }.gate_up();
    Product { n_tokens, n_in: HIDDEN_DIM, n_out: DIM, part: [64, 16, 2], n_blocks: ALL }.residual();
}

#[test]
fn products_of_64_tokens() {
    let n_tokens = 64;
    Product { n_tokens, n_in: DIM, n_out: N_QKV, part: [64, 64, 1], n_blocks: ALL }.qkv();
    Product { n_tokens, n_in: DIM, n_out: DIM, part: [64, 32, 1], n_blocks: ALL }.residual();
    Product { n_tokens, n_in: DIM, n_out: HIDDEN_DIM, part: [128, 64, 1], n_blocks: ALL / 2 }.gate_up();
    Product { n_tokens, n_in: HIDDEN_DIM, n_out: DIM / 2, part: [128, 64, 4], n_blocks: ALL / 2 }.residual();
}

#[test]
fn products_of_128_tokens() {
    let n_tokens = 128;
    Product { n_tokens, n_in: DIM, n_out: N_QKV, part: [128, 64, 1], n_blocks: ALL }.qkv();
    Product { n_tokens, n_in: DIM, n_out: DIM, part: [64, 64, 1], n_blocks: ALL }.residual();
    Product { n_tokens, n_in: DIM, n_out: HIDDEN_DIM / 2, part: [256, 128, 1], n_blocks: ALL / 4 }.gate_up();
    Product { n_tokens, n_in: HIDDEN_DIM, n_out: DIM / 2, part: [128, 128, 4], n_blocks: ALL / 2 }.residual();
}
