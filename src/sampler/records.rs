//! What the kernel chose, in memory of the host that the device writes: read without a copy and without waiting.

use crate::device::{Buffer, Device, PinnedBuffer, Result};
use crate::kernels::{NO_TOKEN, SAMPLE_RECORD};
use crate::ring::Position;
use std::sync::atomic::{Ordering, fence};

const RECORD: usize = SAMPLE_RECORD as usize;
/// The words of `struct Record` in kernels/sample.cu.
const POSITION: usize = 0;
const TOKEN_FINISHED: usize = 1;
const LOGIT_MAX: usize = 2;
const SUM: usize = 3;
const N_TOP: usize = 4;
const TOP: usize = 8;

/// The weight of the likeliest token.
const CERTAIN: f64 = (1u64 << 31) as f64;

/// A ring of records: the token at position p is in record `p % n`.
#[derive(Debug)]
pub struct Records {
    ring: PinnedBuffer<u64>, // [n, SAMPLE_RECORD]
    n: u32,
}

/// What the kernel wrote about one token.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// None if no logit leaves anything to choose.
    pub token: Option<u32>,
    /// Why it is the last one, if it is.
    pub finished: Option<Finished>,
    /// Of the token, if logprobs were asked for.
    pub logprob: Option<f64>,
    /// The likeliest tokens, from the likeliest on.
    pub top: Vec<TokenLogprob>,
}

/// A token and the logarithm of its probability, as the model gave it: before any option applies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TokenLogprob {
    pub token: u32,
    pub logprob: f64,
}

/// Why a sequence has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finished {
    /// The token is one that ends it.
    Eos,
    /// There is no position after the token's.
    End,
    /// No logit leaves anything to choose.
    Nothing,
}

impl Records {
    /// Room for the last `n` tokens: the host may be that many steps late.
    ///
    /// # Errors
    /// The driver's.
    pub fn new(device: &Device, n: u32) -> Result<Records> {
        Ok(Records { ring: device.alloc_pinned((n * SAMPLE_RECORD) as usize)?, n })
    }

    /// How many there are.
    pub fn n(&self) -> u32 {
        self.n
    }

    /// For the kernel.
    pub fn buffer_mut(&mut self) -> &mut Buffer<u64> {
        self.ring.buffer_mut()
    }

    /// Forgets all, so that another sequence can have the same positions. The device must be done with them.
    pub fn clear(&mut self) {
        (0..self.n as usize).for_each(|record| self.ring.write(record * RECORD + POSITION, 0));
    }

    /// The record of the token at `position`, which is never 0, once the device has written it.
    pub fn poll(&self, position: Position) -> Option<Record> {
        let first = (position.0 % u64::from(self.n)) as usize * RECORD;
        let word = |index| self.ring.read(first + index);
        if word(POSITION) != position.0 {
            return None;
        }
        fence(Ordering::Acquire); // the kernel writes the position last, with release: the rest is there
        Some(record(word))
    }
}

fn record(word: impl Fn(usize) -> u64) -> Record {
    let (token, finished) = halves(word(TOKEN_FINISHED));
    let (logit, max) = halves(word(LOGIT_MAX));
    let max = f32::from_bits(max);
    let sum = word(SUM);
    let logprob = |logit: u32| {
        let logit = f32::from_bits(logit);
        let difference = if logit == max { 0.0 } else { f64::from(logit) - f64::from(max) };
        difference - (sum as f64 / CERTAIN).ln()
    };
    let n_top = if sum == 0 { 0 } else { word(N_TOP) as usize };
    let top = (0..n_top).map(|i| halves(word(TOP + i)));
    Record {
        token: (token != NO_TOKEN).then_some(token),
        finished: match finished {
            0 => None,
            1 => Some(Finished::Eos),
            2 => Some(Finished::End),
            3 => Some(Finished::Nothing),
            other => panic!("the kernel has no {other}th way to finish"),
        },
        logprob: (sum != 0 && token != NO_TOKEN).then(|| logprob(logit)),
        top: top.map(|(token, logit)| TokenLogprob { token, logprob: logprob(logit) }).collect(),
    }
}

/// The lower one first, as the device stores them.
fn halves(word: u64) -> (u32, u32) {
    (word as u32, (word >> 32) as u32)
}
