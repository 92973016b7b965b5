use crate::device::{Cost, Device, Grid, Result};
use crate::kernel;
use crate::kernel::{In, Out};

kernel! {
    /// Reads a buffer, as fast as memory goes.
    pub struct Read<'a> = read {
        from: In<'a, u8>,    // [n]
        sum:  Out<'a, u32>,  // [1], ^= all words of `from`
        n:    u64,
    }
}

impl Read<'_> {
    /// Eight blocks a multiprocessor: all the threads that it can hold.
    pub fn launch(&self, device: &Device) -> Result<()> {
        device.note(|_| Cost { bytes: self.bytes(), flops: self.flops() });
        self.launch_grid(device, Grid::x(8 * device.n_multiprocessors()))
    }

    /// On any grid.
    pub fn launch_grid(&self, device: &Device, grid: Grid) -> Result<()> {
        let n = self.n as usize;
        assert!(n.is_multiple_of(16), "bytes are read by 16, not {n}");
        assert_eq!(self.from.len(), n);
        self.sum.assert_shape([1]);
        self.launch_on(device, grid)
    }

    /// Bytes read; the sum is not worth counting.
    pub fn bytes(&self) -> u64 {
        self.n
    }

    /// None: it reads.
    pub fn flops(&self) -> u64 {
        0
    }
}
