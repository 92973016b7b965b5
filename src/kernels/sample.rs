use super::bytes_of;
use crate::device::{Cost, Device, Grid, Result};
use crate::kernel;
use crate::kernel::{In, Out};

kernel! {
    /// Chooses the next token, and moves the sequence on to it: the last kernel of a step.
    pub struct Sample<'a> = sample {
        params:     In<'a, u32>,   // [SAMPLE_PARAMS], see sampler::Params
        logits:     In<'a, f32>,   // [n_rows, vocab_size]
        bias:       In<'a, f32>,   // [vocab_size]
        scores:     Out<'a, f32>,  // [vocab_size]
        counts:     Out<'a, u32>,  // [vocab_size]
        best:       Out<'a, u64>,  // [n_rows]
        tokens:     Out<'a, u32>,  // [n_rows]
        position:   Out<'a, u64>,  // [1]
        stop:       Out<'a, u32>,  // [1]
        records:    Out<'a, u64>,  // [n_records, SAMPLE_RECORD], the host's, see sampler::Records
        row:        u32,
        vocab_size: u32,
        n_records:  u32,
    }
}

/// Stands for no token, where no logit leaves anything to choose.
pub const NO_TOKEN: u32 = u32::MAX;
/// The words of `params`.
pub const SAMPLE_PARAMS: u32 = 30;
/// The words of a record.
pub const SAMPLE_RECORD: u32 = 32;
/// The longest row whose tokens have a bin each for 128 of them, see kernels/sample.cuh.
pub const SAMPLE_MAX_VOCAB: u32 = 1 << 18;

impl Sample<'_> {
    /// One block.
    pub fn launch(&self, device: &Device) -> Result<()> {
        device.note(|_| Cost { bytes: self.bytes(), flops: 0 });
        self.launch_grid(device, Grid::x(1))
    }

    /// On any grid.
    pub fn launch_grid(&self, device: &Device, grid: Grid) -> Result<()> {
        let Self { row, vocab_size, n_records, .. } = *self;
        assert!(
            (1..=SAMPLE_MAX_VOCAB).contains(&vocab_size),
            "a row has 1 to {SAMPLE_MAX_VOCAB} logits, not {vocab_size}"
        );
        self.params.assert_shape([SAMPLE_PARAMS]);
        self.logits.assert_holds([row + 1, vocab_size]);
        self.bias.assert_shape([vocab_size]);
        self.scores.assert_shape([vocab_size]);
        self.counts.assert_shape([vocab_size]);
        self.best.assert_holds([row + 1]);
        self.tokens.assert_holds([1]);
        self.position.assert_shape([1]);
        self.stop.assert_shape([1]);
        self.records.assert_shape([n_records, SAMPLE_RECORD]);
        self.launch_on(device, grid)
    }

    /// The row of logits, which greedy decoding without bias and penalties does not need.
    pub fn bytes(&self) -> u64 {
        bytes_of::<f32>(&[self.vocab_size])
    }
}
