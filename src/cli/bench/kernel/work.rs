//! The kernels that can be measured alone, each on several sets of buffers.

use gale::device::{Buffer, Device, Result};
use gale::kernels::*;
use half::bf16;

use super::Shape;

/// More than twice what any L2 cache holds.
const COLD_BYTES: usize = 256 << 20;
/// Of the norms.
const EPS: f32 = 1e-5;

/// A kernel's buffers.
pub struct Work {
    pub n_sets: usize,
    /// On one of the sets.
    pub launch: Launch,
}

type Launch = Box<dyn FnMut(&Device, usize) -> Result<()>>;

/// Makes a kernel's buffers for a shape.
pub type Prepare = fn(&Device, Shape) -> Result<Work>;

pub const KERNELS: [(&str, Prepare); 9] = [
    ("copy", copy),
    ("read", read),
    ("noise", noise),
    ("residual", residual),
    ("gate_up", gate_up),
    ("lm_head", lm_head),
    ("embed", embed),
    ("prefill_residual", prefill_residual),
    ("prefill_gate_up", prefill_gate_up),
];

/// The most tokens of a launch: of a step, or of a chunk.
pub fn max_tokens(kernel: &str) -> u32 {
    if kernel.starts_with("prefill_") { 4096 } else { MAX_TOKENS }
}

/// As many sets as it takes that none is in a cache when its turn comes; `bytes` is what a launch touches of one.
fn cold<T>(device: &Device, bytes: usize, make: impl Fn() -> Result<T>) -> Result<Vec<T>> {
    let n_sets = if device.is_emulator() { 1 } else { COLD_BYTES / bytes + 2 };
    (0..n_sets).map(|_| make()).collect()
}

/// The same weight as often as it takes to have it cold.
fn weights(device: &Device, n_out: u32, n_in: u32) -> Result<Vec<Buffer<bf16>>> {
    let n_elements = n_tiled([n_out, n_in]) as usize;
    cold(device, n_elements * size_of::<bf16>(), || {
        let mut tiles = device.alloc(&[n_elements])?;
        Noise { tiles: &mut tiles, n_out, n_in, pair_distance: 0, seed: 1 }.launch(device)?;
        Ok(tiles)
    })
}

/// Some tokens of the residual stream, and the weight of a norm.
struct Stream {
    x: Buffer<f32>,       // [m, dim]
    squares: Buffer<f32>, // [m, ceil(dim / 16)]
    norm: Buffer<bf16>,   // [dim]
}

impl Stream {
    fn new(device: &Device, m: u32, dim: u32) -> Result<Stream> {
        let x: Vec<f32> = (0..m * dim).map(|i| (i % 17) as f32 / 8.0 - 1.0).collect();
        let squares: Vec<f32> = x.chunks(16).map(|it| it.iter().map(|x| x * x).sum()).collect();
        let norm = vec![bf16::ONE; dim as usize];
        Ok(Stream { x: device.upload(&x)?, squares: device.upload(&squares)?, norm: device.upload(&norm)? })
    }
}

fn copy(device: &Device, Shape { n, k, .. }: Shape) -> Result<Work> {
    let bytes = 2 * n as usize * k as usize;
    let alloc = || device.zeroed::<u8>(&[bytes]);
    let mut sets = cold(device, 2 * bytes, || Ok((alloc()?, alloc()?)))?;
    Ok(Work {
        n_sets: sets.len(),
        launch: Box::new(move |device, set| {
            let (from, to) = &mut sets[set];
            Copy { from, to, n: bytes as u64 }.launch(device)
        }),
    })
}

fn read(device: &Device, Shape { n, k, .. }: Shape) -> Result<Work> {
    let bytes = 2 * n as usize * k as usize;
    let sets = cold(device, bytes, || device.zeroed::<u8>(&[bytes]))?;
    let mut sum = device.zeroed(&[1])?;
    Ok(Work {
        n_sets: sets.len(),
        launch: Box::new(move |device, set| Read { from: &sets[set], sum: &mut sum, n: bytes as u64 }.launch(device)),
    })
}

fn noise(device: &Device, Shape { n, k, .. }: Shape) -> Result<Work> {
    let mut sets = weights(device, n, k)?;
    Ok(Work {
        n_sets: sets.len(),
        launch: Box::new(move |device, set| {
            Noise { tiles: &mut sets[set], n_out: n, n_in: k, pair_distance: 0, seed: 1 }.launch(device)
        }),
    })
}

fn residual(device: &Device, Shape { m, n, k }: Shape) -> Result<Work> {
    let sets = weights(device, n, k)?;
    let Stream { mut x, mut squares, .. } = Stream::new(device, m, n)?;
    let h = device.zeroed(&[m as usize, k as usize])?;
    Ok(Work {
        n_sets: sets.len(),
        launch: Box::new(move |device, set| {
            let (weight, x, squares) = (&sets[set], &mut x, &mut squares);
            Residual { weight, h: &h, x, squares, n_tokens: m, n_in: k, n_out: n }.launch(device)
        }),
    })
}

fn gate_up(device: &Device, Shape { m, n, k }: Shape) -> Result<Work> {
    let sets = weights(device, n, k)?;
    let Stream { x, squares, norm } = Stream::new(device, m, k)?;
    let hidden_dim = n / 2;
    let mut act = device.zeroed(&[m as usize, hidden_dim as usize])?;
    Ok(Work {
        n_sets: sets.len(),
        launch: Box::new(move |device, set| {
            let (weight, x, squares, norm, act) = (&sets[set], &x, &squares, &norm, &mut act);
            GateUp { weight, x, squares, norm, act, n_tokens: m, dim: k, hidden_dim, eps: EPS }.launch(device)
        }),
    })
}

fn prefill_residual(device: &Device, Shape { m, n, k }: Shape) -> Result<Work> {
    let sets = weights(device, n, k)?;
    let Stream { mut x, mut squares, .. } = Stream::new(device, m, n)?;
    let h = inputs(device, m, k)?;
    let mut segment_sums = device.alloc(&segment_sums_shape(m, n).map(|it| it as usize))?;
    let mut part_tickets = device.zeroed(&part_tickets_shape(m, n).map(|it| it as usize))?;
    Ok(Work {
        n_sets: sets.len(),
        launch: Box::new(move |device, set| {
            let (weight, x, squares) = (&sets[set], &mut x, &mut squares);
            let (segment_sums, part_tickets) = (&mut segment_sums, &mut part_tickets);
            PrefillResidual { weight, h: &h, x, squares, segment_sums, part_tickets, n_tokens: m, n_in: k, n_out: n }
                .launch(device)
        }),
    })
}

fn prefill_gate_up(device: &Device, Shape { m, n, k }: Shape) -> Result<Work> {
    let sets = weights(device, n, k)?;
    let h = inputs(device, m, k)?;
    let hidden_dim = n / 2;
    let mut act = device.zeroed(&[m as usize, hidden_dim as usize])?;
    Ok(Work {
        n_sets: sets.len(),
        launch: Box::new(move |device, set| {
            let (weight, h, act) = (&sets[set], &h, &mut act);
            PrefillGateUp { weight, h, act, n_tokens: m, dim: k, hidden_dim }.launch(device)
        }),
    })
}

/// Of a product, [m, k]: never zeros, on which tensor cores take less power.
fn inputs(device: &Device, m: u32, k: u32) -> Result<Buffer<bf16>> {
    let inputs: Vec<bf16> = (0..m * k).map(|i| bf16::from_f32((i % 17) as f32 / 8.0 - 1.0)).collect();
    device.upload(&inputs)
}

fn lm_head(device: &Device, Shape { m, n, k }: Shape) -> Result<Work> {
    let sets = weights(device, n, k)?;
    let Stream { x, squares, norm } = Stream::new(device, m, k)?;
    let mut logits = device.zeroed(&[m as usize, n as usize])?;
    let mut best = device.zeroed(&[m as usize])?;
    Ok(Work {
        n_sets: sets.len(),
        launch: Box::new(move |device, set| {
            let (weight, x, squares, norm) = (&sets[set], &x, &squares, &norm);
            let (logits, best) = (&mut logits, &mut best);
            LmHead { weight, x, squares, norm, logits, best, n_tokens: m, dim: k, vocab_size: n, eps: EPS }
                .launch(device)
        }),
    })
}

fn embed(device: &Device, Shape { m, n, k }: Shape) -> Result<Work> {
    let sets = weights(device, n, k)?;
    let Stream { mut x, mut squares, .. } = Stream::new(device, m, k)?;
    let tokens = device.upload(&(0..m).map(|i| i % n).collect::<Vec<u32>>())?;
    Ok(Work {
        n_sets: sets.len(),
        launch: Box::new(move |device, set| {
            let (table, x, squares) = (&sets[set], &mut x, &mut squares);
            Embed { tokens: &tokens, table, x, squares, n_tokens: m, dim: k }.launch(device)
        }),
    })
}
