//! Everything on the device that `sample` works on.

use gale::device::{Buffer, Device, Grid};
use gale::kernels::{SAMPLE_PARAMS, Sample};
use gale::ring::Position;
use gale::sampler::{Limits, Record, Records, Sampling};

pub const N_RECORDS: u32 = 4;
const N_ROWS: u32 = 8;

pub struct Machine {
    pub device: Device,
    pub vocab_size: u32,
    pub params: Buffer<u32>,
    pub bias: Buffer<f32>,     // [vocab_size]
    pub scores: Buffer<f32>,   // [vocab_size]
    pub counts: Buffer<u32>,   // [vocab_size]
    pub best: Buffer<u64>,     // [8]
    pub tokens: Buffer<u32>,   // [8]
    pub position: Buffer<u64>, // [1]
    pub stop: Buffer<u32>,     // [1]
    pub records: Records,
}

/// Neither an end nor probabilities.
pub fn endless() -> Limits {
    Limits { eos_ids: vec![], ignore_eos: false, end: Position(u64::MAX), n_logprobs: 0 }
}

impl Machine {
    pub fn new(device: &Device, vocab_size: u32) -> Machine {
        let n = vocab_size as usize;
        Machine {
            device: device.clone(),
            vocab_size,
            params: device.alloc(&[SAMPLE_PARAMS as usize]).unwrap(),
            bias: device.alloc(&[n]).unwrap(), // nothing is written to it until a request has a bias
            scores: device.alloc(&[n]).unwrap(),
            counts: device.zeroed(&[n]).unwrap(),
            best: device.zeroed(&[N_ROWS as usize]).unwrap(),
            tokens: device.zeroed(&[N_ROWS as usize]).unwrap(),
            position: device.zeroed(&[1]).unwrap(),
            stop: device.zeroed(&[1]).unwrap(),
            records: Records::new(device, N_RECORDS).unwrap(),
        }
    }

    /// Begins a request at `position`, which is that of the last token so far.
    pub fn begin(&mut self, sampling: &Sampling, limits: &Limits, position: u64) {
        self.params.copy_from(sampling.params(limits).unwrap().words()).unwrap();
        if let Some(bias) = sampling.bias_row(self.vocab_size).unwrap() {
            self.bias.copy_from(&bias).unwrap();
        }
        self.position.copy_from(&[position]).unwrap();
        self.stop.fill_zero().unwrap();
        self.device.synchronize().unwrap();
        self.records.clear();
    }

    /// What lm_head leaves of the logits, [n_rows, vocab_size], for each row.
    pub fn set_best(&mut self, logits: &[f32]) {
        let best: Vec<u64> = logits.chunks(self.vocab_size as usize).map(best_of).collect();
        self.best.copy_from_at(0, &best).unwrap();
    }

    pub fn launch(&mut self, logits: &Buffer<f32>, row: u32, grid: Grid) {
        let device = self.device.clone();
        self.launcher(logits, row).launch_grid(&device, grid).unwrap();
    }

    pub fn launcher<'a>(&'a mut self, logits: &'a Buffer<f32>, row: u32) -> Sample<'a> {
        Sample {
            params: &self.params,
            logits,
            bias: &self.bias,
            scores: &mut self.scores,
            counts: &mut self.counts,
            best: &mut self.best,
            tokens: &mut self.tokens,
            position: &mut self.position,
            stop: &mut self.stop,
            records: self.records.buffer_mut(),
            row,
            vocab_size: self.vocab_size,
            n_records: N_RECORDS,
        }
    }

    /// One step of one row, and its record.
    pub fn step(&mut self, logits: &[f32]) -> Record {
        self.set_best(logits);
        let position = self.position();
        self.launch(&self.device.upload(logits).unwrap(), 0, Grid::x(1));
        self.device.synchronize().unwrap();
        self.records.poll(Position(position + 1)).expect("a record of the step")
    }

    pub fn position(&self) -> u64 {
        self.position.to_vec().unwrap()[0]
    }
}

fn best_of(logits: &[f32]) -> u64 {
    let packed = |(token, logit): (u32, &f32)| {
        let bits = (logit + 0.0).to_bits();
        let ordered = if bits >> 31 == 1 { !bits } else { bits | 1 << 31 };
        u64::from(ordered) << 32 | u64::from(!token)
    };
    (0..).zip(logits).filter(|(_, logit)| !logit.is_nan()).map(packed).max().unwrap_or(0)
}
