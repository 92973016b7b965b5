//! What attention of a chunk takes on the shape of Mistral 7B: tensor cores as its tiling says, each key and value of a
//! tile once a block, and 0.44 and 0.24 of full attention's work in a prompt of 16K and 32K tokens.

use crate::common::open;
use crate::limits::{NO_WASTE, count, hold, hold_flops};
use gale::device::{Buffer, Class, Counters, Device, Element};
use gale::kernels::{NO_WINDOW, PrefillAttention, RingWrite, attention_states_shape, attention_tickets_shape};
use half::bf16;

const N_SHARED: u32 = 4;
const HEAD_DIM: u32 = 128;
const WINDOW: u32 = 4096;
const KERNEL: &str = "prefill_attention_bf16";

/// Every input and output: what is in it makes no difference here.
fn zeros<T: Element, const N: usize>(device: &Device, shape: [u32; N]) -> Buffer<T> {
    device.zeroed(&shape.map(|it| it as usize)).unwrap()
}

/// A chunk of zeros, and the ring before it.
struct Chunk {
    q: Buffer<bf16>,
    rings: [Buffer<bf16>; 2],
    rows: [Buffer<bf16>; 2],
    position: Buffer<u64>,
    out: Buffer<bf16>,
    states: Buffer<f32>,
    tickets: Buffer<u32>,
    n_tokens: u32,
    n_kv_heads: u32,
    n_slots: u32,
    window: u32,
}

impl Chunk {
    /// Without a window, the ring has no more slots than the chunk needs.
    fn new(device: &Device, n_kv_heads: u32, n_tokens: u32, position: u64, window: u32) -> Chunk {
        let n_slots = if window == NO_WINDOW { position as u32 + n_tokens } else { window };
        Chunk {
            q: zeros(device, [n_tokens, n_kv_heads * N_SHARED, HEAD_DIM]),
            rings: [(); 2].map(|()| zeros(device, [n_slots, n_kv_heads, HEAD_DIM])),
            rows: [(); 2].map(|()| zeros(device, [n_tokens, n_kv_heads, HEAD_DIM])),
            position: device.upload(&[position]).unwrap(),
            out: zeros(device, [n_tokens, n_kv_heads * N_SHARED, HEAD_DIM]),
            states: zeros(device, attention_states_shape(n_tokens, n_kv_heads * N_SHARED, n_kv_heads, HEAD_DIM)),
            tickets: zeros(device, attention_tickets_shape(n_tokens, n_kv_heads * N_SHARED, n_kv_heads)),
            n_tokens,
            n_kv_heads,
            n_slots,
            window,
        }
    }

    fn attention(&mut self) -> PrefillAttention<'_, bf16> {
        PrefillAttention {
            q: &self.q,
            k_ring: &self.rings[0],
            v_ring: &self.rings[1],
            k_chunk: &self.rows[0],
            v_chunk: &self.rows[1],
            position: &self.position,
            out: &mut self.out,
            states: &mut self.states,
            tickets: &mut self.tickets,
            n_tokens: self.n_tokens,
            n_heads: self.n_kv_heads * N_SHARED,
            n_kv_heads: self.n_kv_heads,
            head_dim: HEAD_DIM,
            n_slots: self.n_slots,
            window: self.window,
            layer: 0,
        }
    }
}

/// Launches it, and holds what is counted to what the launcher says of it.
#[track_caller]
fn counted(device: &Device, it: &PrefillAttention<bf16>, position: u64) -> Option<Counters> {
    let counters = count(device, KERNEL, || it.launch(device).unwrap())?;
    assert_eq!(counters.mma(), it.mma(position), "position {position}, window {}", it.window);
    for class in [Class::Local, Class::Generic] {
        assert_eq!(counters.of_class(class).warp_instructions, 0, "{class:?}");
    }
    Some(counters)
}

/// A chunk deep in a text: most keys come from a ring that is full, the last ones from the chunk.
#[test]
fn prefill_attention_of_a_full_window() {
    let (device, position) = (open(), 100_000);
    let mut chunk = Chunk::new(&device, 8, 64, position, WINDOW);
    let it = chunk.attention();
    // What blocks tell each other is for L2, but counts as DRAM, too.
    let bytes = it.bytes(position) + 2 * it.states_bytes(position);
    let counters = hold(&device, KERNEL, NO_WASTE, bytes, || it.launch(&device).unwrap());
    hold_flops(counters, 8.0 * 2.0 / 3.0, it.flops(position)); // weights are two numbers, so values take two mma for one
    let Some(counters) = counted(&device, &it, position) else { return };
    let (loaded, needed) = (32 * counters.counts.global_load_sectors, it.loaded_bytes(position));
    assert!(loaded as f64 <= 1.02 * needed as f64, "{loaded} bytes loaded, {needed} needed by the tiling");
}

/// In chunks of a window, what the launcher says adds up to the work of a whole prompt. Chunks at the prompt's beginning,
/// across the end of its first window and far behind that are counted.
#[test]
fn prefill_attention_skips_what_the_window_hides() {
    let device = open();
    for window in [WINDOW, NO_WINDOW] {
        for (position, n_tokens) in [(0, 130), (WINDOW - 7, 24), (3 * WINDOW, 40)] {
            let mut chunk = Chunk::new(&device, 1, n_tokens, position.into(), window);
            counted(&device, &chunk.attention(), position.into());
        }
    }
    let mma = |window: u32, n_tokens: u32| -> u64 {
        let mut chunk = Chunk::new(&device, 1, WINDOW, u64::from(n_tokens - WINDOW), window);
        let it = chunk.attention();
        (0..n_tokens / WINDOW).map(|i| it.mma(u64::from(i * WINDOW))).sum()
    };
    for (n_tokens, most) in [(16 << 10, 0.46), (32 << 10, 0.25)] {
        let (windowed, full) = (mma(WINDOW, n_tokens), mma(NO_WINDOW, n_tokens));
        let ratio = windowed as f64 / full as f64;
        println!("{n_tokens} tokens: {windowed} mma with a window, {full} without, {ratio:.4}");
        assert!(ratio <= most, "{ratio} at {n_tokens}, at most {most} allowed");
    }
}

#[test]
fn ring_write() {
    let (device, n_tokens, n_kv_heads) = (open(), 500, 8);
    let rows = || zeros::<bf16, _>(&device, [n_tokens, n_kv_heads, HEAD_DIM]);
    let ring = || zeros::<bf16, _>(&device, [2, WINDOW, n_kv_heads, HEAD_DIM]);
    let it = RingWrite {
        k_chunk: &rows(),
        v_chunk: &rows(),
        position: &device.upload(&[100_000u64]).unwrap(),
        k_ring: &mut ring(),
        v_ring: &mut ring(),
        n_tokens,
        n_kv_heads,
        head_dim: HEAD_DIM,
        n_slots: WINDOW,
        layer: 1,
    };
    hold(&device, "ring_write", NO_WASTE, it.bytes(), || it.launch(&device).unwrap());
}
