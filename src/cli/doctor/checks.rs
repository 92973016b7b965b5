//! Each kernel on a small case whose answer is exact, whatever the order of its sums.
//!
//! Weights, activations and their sums are small whole numbers, which every type here holds; angles are quarter
//! turns. That a kernel is right for all shapes and values is shown by tests/kernels; this shows that it runs here.

use std::fmt::Debug;

use anyhow::{Result, bail};
use gale::device::Device;
use gale::kernel::Half;
use gale::kernels::*;
use gale::ring::Position;
use gale::sampler::{Limits, Records, Sampling};
use half::{bf16, f16};

pub struct Check {
    pub kernel: &'static str,
    check: fn(&Device) -> Result<()>,
}

impl Check {
    pub fn run(&self, device: &Device) -> Result<()> {
        (self.check)(device)
    }
}

macro_rules! checks {
    ($($kernel:ident: $check:expr,)*) => {
        &[$(Check { kernel: stringify!($kernel), check: $check },)*]
    };
}

pub const ALL: &[Check] = checks! {
    copy: copies,
    embed_bf16: embeds::<bf16>,
    embed_f16: embeds::<f16>,
    rms_norm_bf16: normalises::<bf16>,
    rms_norm_f16: normalises::<f16>,
    matvec_bf16: multiplies_one::<bf16>,
    matvec_f16: multiplies_one::<f16>,
    matmul_bf16: multiplies_many::<bf16>,
    matmul_f16: multiplies_many::<f16>,
    rope: turns,
    attention_bf16: attends::<bf16>,
    attention_f16: attends::<f16>,
    ring_write: writes_the_ring,
    swiglu_bf16: gates::<bf16>,
    swiglu_f16: gates::<f16>,
    argmax: finds_the_best,
    advance: advances,
    sample: chooses,
};

/// A type that holds small whole numbers.
trait Number: Half + PartialEq + Debug {
    fn of(value: f32) -> Self;
}

impl Number for bf16 {
    fn of(value: f32) -> Self {
        Self::from_f32(value)
    }
}

impl Number for f16 {
    fn of(value: f32) -> Self {
        Self::from_f32(value)
    }
}

/// From -3 to 3, in no order that a wrong stride would repeat.
fn small(i: usize) -> f32 {
    (i * i % 31 % 7) as f32 - 3.0
}

fn numbers<T: Number>(n: usize) -> Vec<T> {
    (0..n).map(|i| T::of(small(i))).collect()
}

fn expect<T: PartialEq + Debug>(what: &str, found: &[T], expected: &[T]) -> Result<()> {
    assert_eq!(found.len(), expected.len());
    match found.iter().zip(expected).position(|(found, expected)| found != expected) {
        Some(i) => bail!("{what}[{i}]: expected {:?}, found {:?}", expected[i], found[i]),
        None => Ok(()),
    }
}

fn copies(device: &Device) -> Result<()> {
    let bytes: Vec<u8> = (0..4096).map(|i| (i * 7 % 251) as u8).collect();
    let (from, mut to) = (device.upload(&bytes)?, device.zeroed(&[bytes.len()])?);
    Copy { from: &from, to: &mut to, n: bytes.len() as u64 }.launch(device)?;
    expect("to", &to.to_vec()?, &bytes)
}

fn embeds<W: Number>(device: &Device) -> Result<()> {
    const DIM: usize = 40;
    let tokens = [3u32, 0, 6];
    let table = numbers::<W>(7 * DIM);
    let mut x = device.alloc::<f32>(&[tokens.len(), DIM])?;
    let (tokens_there, table) = (device.upload(&tokens)?, device.upload(&table)?);
    Embed { tokens: &tokens_there, table: &table, x: &mut x, n_tokens: 3, dim: DIM as u32 }.launch(device)?;
    let row = |token: u32| (0..DIM).map(move |i| small(token as usize * DIM + i));
    expect("x", &x.to_vec()?, &tokens.into_iter().flat_map(row).collect::<Vec<_>>())
}

/// Rows of ±2 and ±4 have these as their root mean square: what is left is the sign.
fn normalises<W: Number>(device: &Device) -> Result<()> {
    const DIM: usize = 272;
    let sign = |i: usize| if i.is_multiple_of(3) { -1.0f32 } else { 1.0 };
    let x: Vec<f32> = (0..2 * DIM).map(|i| sign(i) * if i < DIM { 2.0 } else { 4.0 }).collect();
    let (x, weight) = (device.upload(&x)?, device.upload(&numbers::<W>(DIM))?);
    let mut y = device.alloc::<W>(&[2, DIM])?;
    RmsNorm { x: &x, weight: &weight, y: &mut y, n_tokens: 2, dim: DIM as u32, eps: 0.0 }.launch(device)?;
    expect("y", &y.to_vec()?, &(0..2 * DIM).map(|i| W::of(sign(i) * small(i % DIM))).collect::<Vec<_>>())
}

const N_IN: usize = 264;
const N_OUT: usize = 37;

/// What a weight of small numbers and one token of them give.
fn product(x: &[f32]) -> Vec<f32> {
    (0..N_OUT).map(|row| x.iter().enumerate().map(|(i, x)| small(row * N_IN + i) * x).sum()).collect()
}

/// y = weight x, then y += weight x.
fn multiplies_one<W: Number>(device: &Device) -> Result<()> {
    let x: Vec<f32> = (0..N_IN).map(|i| small(i + 5)).collect();
    let weight = device.upload(&numbers::<W>(N_OUT * N_IN))?;
    let x_there = device.upload(&x.iter().map(|&it| W::of(it)).collect::<Vec<_>>())?;
    let mut y = device.alloc::<f32>(&[N_OUT])?;
    for (accumulate, times) in [(0, 1.0), (1, 2.0)] {
        let (n_in, n_out) = (N_IN as u32, N_OUT as u32);
        Matvec { weight: &weight, x: &x_there, y: &mut y, n_in, n_out, accumulate }.launch(device)?;
        expect("y", &y.to_vec()?, &product(&x).iter().map(|it| it * times).collect::<Vec<_>>())?;
    }
    Ok(())
}

fn multiplies_many<W: Number>(device: &Device) -> Result<()> {
    const N_TOKENS: usize = 11;
    let x: Vec<f32> = (0..N_TOKENS * N_IN).map(|i| small(i + 5)).collect();
    let weight = device.upload(&numbers::<W>(N_OUT * N_IN))?;
    let x_there = device.upload(&x.iter().map(|&it| W::of(it)).collect::<Vec<_>>())?;
    let mut y = device.alloc::<f32>(&[N_TOKENS, N_OUT])?;
    let (n_tokens, n_in, n_out) = (N_TOKENS as u32, N_IN as u32, N_OUT as u32);
    Matmul { weight: &weight, x: &x_there, y: &mut y, n_tokens, n_in, n_out, accumulate: 0 }.launch(device)?;
    expect("y", &y.to_vec()?, &x.chunks(N_IN).flat_map(product).collect::<Vec<_>>())
}

/// With a quarter turn a position, the pair (x, y) becomes (-y, x) at position 5, and (-x, -y) at 6.
fn turns(device: &Device) -> Result<()> {
    const HEAD_DIM: usize = 16;
    let (n_tokens, n_heads, n_kv_heads) = (2, 2, 1);
    let qkv: Vec<f32> = (0..2 * 4 * HEAD_DIM).map(small).collect(); // [n_tokens, n_heads + 2*n_kv_heads, HEAD_DIM]
    let [mut q, mut k, mut v] =
        [device.alloc(&[2, 2, HEAD_DIM])?, device.alloc(&[2, 1, HEAD_DIM])?, device.alloc(&[2, 1, HEAD_DIM])?];
    Rope {
        qkv: &device.upload(&qkv)?,
        turn_per_position: &device.upload(&[1u64 << 62; HEAD_DIM / 2])?,
        position: &device.upload(&[5u64])?,
        q: &mut q,
        k_chunk: &mut k,
        v_chunk: &mut v,
        n_tokens,
        n_heads,
        n_kv_heads,
        head_dim: HEAD_DIM as u32,
    }
    .launch(device)?;

    let head = |token: usize, head: usize| &qkv[(token * 4 + head) * HEAD_DIM..][..HEAD_DIM];
    let turned = |token: usize, of: usize| {
        let (x, y) = head(token, of).split_at(HEAD_DIM / 2);
        let minus = |it: &[f32]| it.iter().map(|x| -x).collect::<Vec<_>>();
        if token == 0 { [minus(y), x.to_vec()].concat() } else { [minus(x), minus(y)].concat() }
    };
    let round = |heads: [Vec<f32>; 2]| heads.concat().into_iter().map(bf16::from_f32).collect::<Vec<_>>();
    let heads_of = |token| [turned(token, 0), turned(token, 1)].concat();
    expect("q", &q.to_vec()?, &round([heads_of(0), heads_of(1)]))?;
    expect("k_chunk", &k.to_vec()?, &round([turned(0, 2), turned(1, 2)]))?;
    expect("v_chunk", &v.to_vec()?, &round([head(0, 3).to_vec(), head(1, 3).to_vec()]))
}

/// Tokens 6 and 7 with a window of 4, and 2 to 5 in the ring. Query head 0 looks at all it sees alike, head 1 at the
/// key of 5 alone. The value of position p is p + 1, so that their means are exact.
fn attends<W: Number>(device: &Device) -> Result<()> {
    const HEAD_DIM: usize = 16;
    let row = |value: f32| [bf16::from_f32(value); HEAD_DIM];
    let key = |position: usize| row(if position == 5 { 32.0 } else { 0.0 });
    let value = |position: usize| row(position as f32 + 1.0);
    let (in_ring, in_chunk) = ([4, 5, 2, 3], [6, 7]); // slot = position % 4
    let mut out = device.alloc::<W>(&[2, 2, HEAD_DIM])?;
    Attention {
        q: &device.upload(&[row(0.0), row(32.0), row(0.0), row(32.0)].concat())?,
        k_ring: &device.upload(&in_ring.map(key).concat())?,
        v_ring: &device.upload(&in_ring.map(value).concat())?,
        k_chunk: &device.upload(&in_chunk.map(key).concat())?,
        v_chunk: &device.upload(&in_chunk.map(value).concat())?,
        position: &device.upload(&[6u64])?,
        out: &mut out,
        n_tokens: 2,
        n_heads: 2,
        n_kv_heads: 1,
        head_dim: HEAD_DIM as u32,
        n_slots: 4,
        window: 4,
    }
    .launch(device)?;
    // 6 sees 3, 4, 5 and itself; 7 sees 4, 5, 6 and itself.
    let expected = [5.5, 6.0, 6.5, 6.0].map(|mean| [W::of(mean); HEAD_DIM]).concat();
    expect("out", &out.to_vec()?, &expected)
}

/// Positions 6, 7 and 8 go to slots 2, 3 and 0 of 4; slot 1 stays.
fn writes_the_ring(device: &Device) -> Result<()> {
    const DIM: usize = 8;
    let row = |value: i32| [bf16::from_f32(value as f32); DIM];
    let (old, new) = ([10, 11, 12, 13].map(row).concat(), [6, 7, 8].map(row).concat());
    let (mut k_ring, mut v_ring) = (device.upload(&old)?, device.upload(&old)?);
    RingWrite {
        k_chunk: &device.upload(&new)?,
        v_chunk: &device.upload(&new)?,
        position: &device.upload(&[6u64])?,
        k_ring: &mut k_ring,
        v_ring: &mut v_ring,
        n_tokens: 3,
        n_kv_heads: 1,
        head_dim: DIM as u32,
        n_slots: 4,
    }
    .launch(device)?;
    let expected = [8, 11, 6, 7].map(row).concat();
    expect("k_ring", &k_ring.to_vec()?, &expected)?;
    expect("v_ring", &v_ring.to_vec()?, &expected)
}

/// Gates so far from 0 that they let all or nothing through.
fn gates<W: Number>(device: &Device) -> Result<()> {
    const HIDDEN_DIM: usize = 48;
    let gate = |i: usize| [64.0f32, 0.0, -200.0][i % 3];
    let halves = |token: usize| {
        let up = (0..HIDDEN_DIM).map(move |i| small(token + i));
        (0..HIDDEN_DIM).map(move |i| gate(token + i)).chain(up)
    };
    let gate_up: Vec<f32> = (0..2).flat_map(halves).collect(); // [n_tokens, 2, HIDDEN_DIM]
    let mut y = device.alloc::<W>(&[2, HIDDEN_DIM])?;
    Swiglu { gate_up: &device.upload(&gate_up)?, y: &mut y, n_tokens: 2, hidden_dim: HIDDEN_DIM as u32 }
        .launch(device)?;
    let gated = |token: usize| (0..HIDDEN_DIM).map(move |i| W::of(gate(token + i).max(0.0) * small(token + i)));
    expect("y", &y.to_vec()?, &(0..2).flat_map(gated).collect::<Vec<_>>())
}

fn finds_the_best(device: &Device) -> Result<()> {
    const VOCAB_SIZE: usize = 1500;
    let mut logits = vec![-1.0f32; 2 * VOCAB_SIZE];
    logits[1400] = 7.0;
    for tie in [VOCAB_SIZE + 33, VOCAB_SIZE + 1201] {
        logits[tie] = 0.5;
    }
    let mut tokens = device.alloc::<u32>(&[2])?;
    let logits = device.upload(&logits)?;
    Argmax { logits: &logits, tokens: &mut tokens, n_rows: 2, vocab_size: VOCAB_SIZE as u32 }.launch(device)?;
    expect("tokens", &tokens.to_vec()?, &[1400, 33])
}

fn advances(device: &Device) -> Result<()> {
    let mut position = device.upload(&[u64::from(u32::MAX)])?;
    Advance { position: &mut position, n_tokens: 7 }.launch(device)?;
    expect("position", &position.to_vec()?, &[u64::from(u32::MAX) + 7])
}

/// Of two tokens, equally likely, top_k leaves the first.
fn chooses(device: &Device) -> Result<()> {
    const VOCAB_SIZE: usize = 1500;
    let mut logits = vec![-1.0f32; VOCAB_SIZE];
    (logits[200], logits[1400]) = (7.0, 7.0);
    let sampling = Sampling { temperature: 1.0, top_k: 1, ..Sampling::default() };
    let limits = Limits { eos_ids: vec![200], ignore_eos: false, end: Position(10), n_logprobs: 0 };
    let mut records = Records::new(device, 1)?;
    let best = 0xc0e0_0000 << 32 | u64::from(!200u32); // 7, as ordered bits, and the token
    let (mut position, mut stop) = (device.upload(&[4u64])?, device.zeroed(&[1])?);
    Sample {
        params: &device.upload(sampling.params(&limits)?.words())?,
        logits: &device.upload(&logits)?,
        bias: &device.zeroed(&[VOCAB_SIZE])?,
        scores: &mut device.alloc(&[VOCAB_SIZE])?,
        counts: &mut device.zeroed(&[VOCAB_SIZE])?,
        best: &mut device.upload(&[best])?,
        tokens: &mut device.zeroed(&[1])?,
        position: &mut position,
        stop: &mut stop,
        records: records.buffer_mut(),
        row: 0,
        vocab_size: VOCAB_SIZE as u32,
        n_records: 1,
    }
    .launch(device)?;
    expect("position", &position.to_vec()?, &[5])?;
    expect("stop", &stop.to_vec()?, &[1])?;
    expect("token", &[records.poll(Position(5)).and_then(|it| it.token)], &[Some(200)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use gale::device::prototypes;
    use std::collections::BTreeSet;

    #[test]
    fn no_kernel_is_left_out() {
        let checked: BTreeSet<_> = ALL.iter().map(|it| it.kernel).collect();
        assert_eq!(checked, prototypes::ALL.iter().map(|it| it.name).collect());
        assert_eq!(checked.len(), ALL.len());
    }
}
