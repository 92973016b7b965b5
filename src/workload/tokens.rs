//! Kernels on the tokens themselves: their vectors, and the choice of the next.

use super::products::Stream;
use super::{EPS, Sizes, Work, output, weights};
use crate::device::{Device, Result};
use crate::kernels::{Advance, Embed, Norm, Sample};
use crate::sampler::{Limits, Records, Sampling};

pub fn embed(device: &Device, Sizes { m, n, k, .. }: Sizes) -> Result<Work> {
    let sets = weights(device, n, k)?;
    let Stream { mut x, mut squares, .. } = Stream::new(device, m, k)?;
    let tokens = device.upload(&(0..m).map(|i| i.wrapping_mul(7919) % n).collect::<Vec<_>>())?;
    Ok(Work::new(sets.len(), move |device, set| {
        let (table, x, squares) = (&sets[set], &mut x, &mut squares);
        Embed { tokens: &tokens, table, x, squares, n_tokens: m, dim: k }.launch(device)
    }))
}

pub fn norm(device: &Device, Sizes { m, k, .. }: Sizes) -> Result<Work> {
    let Stream { x, squares, norm } = Stream::new(device, m, k)?;
    let mut h = output(device, &[m, k])?;
    Ok(Work::new(1, move |device, _| {
        let (x, squares, norm, h) = (&x, &squares, &norm, &mut h);
        Norm { x, squares, norm, h, n_tokens: m, dim: k, eps: EPS }.launch(device)
    }))
}

/// At temperature 0.8 with top-p 0.95, from logits as words go (Zipf): the r-th likeliest token is 1 / r^1.2 as likely as
/// the first.
pub fn sample(device: &Device, Sizes { n, .. }: Sizes) -> Result<Work> {
    let sampling = Sampling { temperature: 0.8, top_p: 0.95, ..Sampling::default() };
    let params = sampling.params(&Limits::endless()).expect("the options are in their ranges");
    let params = device.upload(params.words())?;
    let logit = |i: u64| 12.0 - 1.2 * ((i * 12345 % u64::from(n) + 1) as f32).ln();
    let logits = device.upload(&(0..n.into()).map(logit).collect::<Vec<_>>())?;
    let (bias, mut scores, mut counts) = (output(device, &[n])?, output(device, &[n])?, output(device, &[n])?);
    let (mut best, mut tokens) = (output(device, &[1])?, output(device, &[1])?);
    let (mut position, mut stop) = (output(device, &[1])?, output(device, &[1])?);
    let mut records = Records::new(device, 1)?;
    Ok(Work::new(1, move |device, _| {
        Sample {
            params: &params,
            logits: &logits,
            bias: &bias,
            scores: &mut scores,
            counts: &mut counts,
            best: &mut best,
            tokens: &mut tokens,
            position: &mut position,
            stop: &mut stop,
            records: records.buffer_mut(),
            row: 0,
            vocab_size: n,
            n_records: 1,
        }
        .launch(device)
    }))
}

/// One thread reads and writes one number: what any launch takes.
pub fn advance(device: &Device, _: Sizes) -> Result<Work> {
    let mut position = output(device, &[1])?;
    Ok(Work::new(1, move |device, _| Advance { position: &mut position, n_tokens: 1 }.launch(device)))
}
