//! `sample` on a row as long as Mistral's, with each kind of pass.

use crate::common::open;
use crate::limits::{Limits as Most, NO_WASTE, hold};
use gale::device::Device;
use gale::kernels::{SAMPLE_PARAMS, Sample};
use gale::ring::Position;
use gale::sampler::{Limits, Records, Sampling};

const VOCAB_SIZE: u32 = 32768;

fn hold_sample(sampling: &Sampling, n_logprobs: u32, most: Most, n_rows_read: u64) {
    let device: Device = open();
    let n = VOCAB_SIZE as usize;
    // As words go (Zipf), in no order: the r-th likeliest token is 1 / r^1.2 as likely as the first.
    let logits: Vec<f32> = (0..VOCAB_SIZE).map(|it| 12.0 - 1.2 * ((it * 12345 % VOCAB_SIZE + 1) as f32).ln()).collect();
    let best = u64::from(12f32.to_bits() | 1 << 31) << 32 | u64::from(!0u32);
    let limits = Limits { eos_ids: vec![], ignore_eos: false, end: Position(u64::MAX), n_logprobs };
    let mut params = device.alloc(&[SAMPLE_PARAMS as usize]).unwrap();
    params.copy_from(sampling.params(&limits).unwrap().words()).unwrap();
    let bias = device.upload(&sampling.bias_row(VOCAB_SIZE).unwrap().unwrap_or(vec![0.0; n])).unwrap();
    let mut records = Records::new(&device, 1).unwrap();
    let it = Sample {
        params: &params,
        logits: &device.upload(&logits).unwrap(),
        bias: &bias,
        scores: &mut device.alloc(&[n]).unwrap(),
        counts: &mut device.zeroed(&[n]).unwrap(),
        best: &mut device.upload(&[best]).unwrap(),
        tokens: &mut device.zeroed(&[1]).unwrap(),
        position: &mut device.zeroed(&[1]).unwrap(),
        stop: &mut device.zeroed(&[1]).unwrap(),
        records: records.buffer_mut(),
        row: 0,
        vocab_size: VOCAB_SIZE,
        n_records: 1,
    };
    hold(&device, "sample", most, n_rows_read * it.bytes(), || it.launch(&device).unwrap());
}

fn hot() -> Sampling {
    Sampling { temperature: 1.0, ..Sampling::default() }
}

#[test]
fn sample_without_filters() {
    hold_sample(&hot(), 0, NO_WASTE, 1);
}

/// The likeliest tokens are put into a list by atomics at one address.
const LIST: Most = Most { wavefronts: 1.02, ..NO_WASTE };

#[test]
fn sample_with_filters() {
    let sampling = Sampling { top_k: 50, top_p: 0.9, min_p: 0.01, ..hot() };
    hold_sample(&sampling, 0, NO_WASTE, 1);
}

#[test]
fn sample_with_top_p() {
    hold_sample(&Sampling { temperature: 0.8, top_p: 0.95, ..hot() }, 0, NO_WASTE, 1);
}

#[test]
fn sample_with_probabilities() {
    hold_sample(&Sampling::default(), 20, LIST, 1);
}

/// Bias and counts are as long as the logits, and the scores, written and read.
#[test]
fn sample_with_bias_and_penalties() {
    let sampling = Sampling { logit_bias: vec![(3, 1.0)], frequency_penalty: 0.5, ..hot() };
    hold_sample(&sampling, 0, NO_WASTE, 5);
}
