use super::bytes_of;
use crate::device::{Cost, Device, Grid, Result};
use crate::kernel;
use crate::kernel::Out;

kernel! {
    /// Moves the position past the tokens of a step.
    pub struct Advance<'a> = advance {
        position: Out<'a, u64>,  // [1]
        n_tokens: u32,
    }
}

impl Advance<'_> {
    /// One block: one thread does it.
    pub fn launch(&self, device: &Device) -> Result<()> {
        device.note(|_| Cost { bytes: self.bytes(), flops: 0 });
        self.launch_grid(device, Grid::x(1))
    }

    /// On any grid.
    pub fn launch_grid(&self, device: &Device, grid: Grid) -> Result<()> {
        self.position.assert_shape([1]);
        self.launch_on(device, grid)
    }

    /// The position, read and written.
    pub fn bytes(&self) -> u64 {
        2 * bytes_of::<u64>(&[1])
    }
}
