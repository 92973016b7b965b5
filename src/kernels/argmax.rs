use super::{bytes_of, count};
use crate::device::{Device, Grid, Result};
use crate::kernel;
use crate::kernel::{In, Out};

kernel! {
    /// Finds the most likely token of each row; the lowest id among equals.
    pub struct Argmax<'a> = argmax {
        logits:     In<'a, f32>,   // [n_rows, vocab_size]
        tokens:     Out<'a, u32>,  // [n_rows]
        n_rows:     u32,
        vocab_size: u32,
    }
}

/// The token of a row in which nothing can win.
pub const NO_TOKEN: u32 = u32::MAX;

impl Argmax<'_> {
    /// One block a row.
    pub fn launch(&self, device: &Device) -> Result<()> {
        self.launch_grid(device, Grid::x(self.n_rows))
    }

    /// On any grid.
    pub fn launch_grid(&self, device: &Device, grid: Grid) -> Result<()> {
        assert!(self.vocab_size > 0, "a row without logits has no best one");
        self.logits.assert_holds([self.n_rows, self.vocab_size]);
        self.tokens.assert_holds([self.n_rows]);
        self.launch_on(device, grid)
    }

    /// The logits and the tokens.
    pub fn bytes(&self) -> u64 {
        bytes_of::<f32>(&[self.n_rows, self.vocab_size]) + bytes_of::<u32>(&[self.n_rows])
    }

    /// A comparison a logit.
    pub fn flops(&self) -> u64 {
        count(&[self.n_rows, self.vocab_size])
    }
}
