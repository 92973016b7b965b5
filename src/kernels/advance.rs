use crate::device::{Device, Grid, Result};
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
        self.launch_grid(device, Grid::x(1))
    }

    /// On any grid.
    pub fn launch_grid(&self, device: &Device, grid: Grid) -> Result<()> {
        self.position.assert_shape([1]);
        self.launch_on(device, grid)
    }
}
