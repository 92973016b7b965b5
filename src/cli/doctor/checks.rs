//! Each kernel on a small case whose answer is exact, whatever the order of its sums.
//!
//! Weights, activations and their sums are small whole numbers, which every type here holds; angles are quarter
//! turns. That a kernel is right for all shapes and values is shown by tests/kernels; this shows that it runs here.

mod attention;
mod products;

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
    tile_bf16: tiles::<bf16>,
    tile_f16: tiles::<f16>,
    embed_bf16: embeds::<bf16>,
    embed_f16: embeds::<f16>,
    qkv_bf16: products::projects_and_turns::<bf16>,
    qkv_f16: products::projects_and_turns::<f16>,
    decode_attention_bf16: attention::attends::<bf16>,
    decode_attention_f16: attention::attends::<f16>,
    commit: attention::commits,
    prefill_attention_bf16: attention::attends_chunk::<bf16>,
    prefill_attention_f16: attention::attends_chunk::<f16>,
    ring_write: attention::writes_rings,
    residual_bf16: products::adds::<bf16>,
    residual_f16: products::adds::<f16>,
    gate_up_bf16: products::gates::<bf16>,
    gate_up_f16: products::gates::<f16>,
    lm_head_bf16: products::finds_the_best::<bf16>,
    lm_head_f16: products::finds_the_best::<f16>,
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

/// One tile of eight pairs, rows r and r + 8, and its first eight columns only.
fn tiles<W: Number>(device: &Device) -> Result<()> {
    let rows = device.upload(&numbers::<W>(16 * 8))?;
    let mut tiles = device.zeroed::<W>(&[512])?;
    Tile { rows: &rows, tiles: &mut tiles, n_rows: 16, n_in: 8, first_row: 0, pair_distance: 8 }.launch(device)?;
    let place = |i: usize| if i % 32 < 8 { small(i / 32 * 8 + i % 8) } else { 0.0 };
    expect("tiles", &tiles.to_vec()?, &(0..512).map(|i| W::of(place(i))).collect::<Vec<_>>())
}

/// What was put into tiles is found there.
fn embeds<W: Number>(device: &Device) -> Result<()> {
    const DIM: u32 = 40;
    let tokens = [3u32, 0, 17];
    let rows = device.upload(&numbers::<W>(18 * DIM as usize))?;
    let mut table = device.zeroed::<W>(&tiles_shape([18, DIM]).map(|it| it as usize))?;
    Tile { rows: &rows, tiles: &mut table, n_rows: 18, n_in: DIM, first_row: 0, pair_distance: 0 }.launch(device)?;
    let (tokens_there, mut x) = (device.upload(&tokens)?, device.alloc::<f32>(&[tokens.len(), DIM as usize])?);
    let mut squares = device.alloc::<f32>(&[tokens.len(), 3])?;
    Embed { tokens: &tokens_there, table: &table, x: &mut x, squares: &mut squares, n_tokens: 3, dim: DIM }
        .launch(device)?;
    let row = |token: u32| (0..DIM).map(move |i| small((token * DIM + i) as usize));
    expect("x", &x.to_vec()?, &tokens.into_iter().flat_map(row).collect::<Vec<_>>())
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
