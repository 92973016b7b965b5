use crate::device::{Cost, Device, Grid, Result};
use crate::kernel;
use crate::kernel::{In, Out};

kernel! {
    /// Copies a buffer, as fast as memory goes.
    pub struct Copy<'a> = copy {
        from: In<'a, u8>,   // [n]
        to:   Out<'a, u8>,  // [n]
        n:    u64,
    }
}

impl Copy<'_> {
    /// Eight blocks a multiprocessor: all the threads that it can hold.
    pub fn launch(&self, device: &Device) -> Result<()> {
        device.note(|_| Cost { bytes: self.bytes(), flops: 0 });
        self.launch_grid(device, Grid::x(8 * device.n_multiprocessors()))
    }

    /// On any grid.
    pub fn launch_grid(&self, device: &Device, grid: Grid) -> Result<()> {
        let n = self.n as usize;
        assert!(n.is_multiple_of(16), "bytes are copied by 16, not {n}");
        assert!(
            self.from.len() == n && self.to.len() == n,
            "{} bytes are copied to {}",
            self.from.len(),
            self.to.len()
        );
        self.launch_on(device, grid)
    }

    /// Bytes read and written.
    pub fn bytes(&self) -> u64 {
        2 * self.n
    }
}
