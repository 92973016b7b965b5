//! How fast the device's memory is, measured: the roofs that every kernel is under.

use std::fmt::{self, Display, Formatter};

use gale::device::{Device, Result};
use gale::kernels::{Copy, Read};
use gale::workload::noise_bytes;

/// Far larger than any L2 cache.
const GPU_BYTES: usize = 1 << 30;
/// Enough to see that it works.
const EMULATOR_BYTES: usize = 1 << 20;
const N_RUNS: usize = 5;

/// Bytes a second, the best of a few runs, timed by the device.
#[derive(Clone, Copy, Debug)]
pub struct Bandwidth {
    /// Read and written by a copy.
    pub copy: f64,
    /// Read by a kernel that only reads, as those of a step nearly do.
    pub read: f64,
}

impl Bandwidth {
    /// Takes a quarter of the free memory for each of two buffers, or 1 GiB if that is less, and gives it back.
    pub fn measure(device: &Device) -> Result<Bandwidth> {
        let (free, _) = device.memory_info()?;
        let wanted = if device.is_emulator() { EMULATOR_BYTES } else { GPU_BYTES };
        let n = wanted.min(free / 4) / 1024 * 1024;
        let from = noise_bytes(device, n)?; // on zeros a card takes less power, and runs faster
        let mut to = device.zeroed::<u8>(&[n])?;
        let mut sum = device.zeroed::<u32>(&[1])?;
        let copy = Copy { from: &from, to: &mut to, n: n as u64 };
        let read = Read { from: &from, sum: &mut sum, n: n as u64 };
        Ok(Bandwidth {
            copy: best_rate(device, copy.bytes(), || copy.launch(device))?,
            read: best_rate(device, read.bytes(), || read.launch(device))?,
        })
    }
}

/// As in `a copy moves 1.0 GB/s, a kernel that only reads 2.0`.
impl Display for Bandwidth {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        write!(f, "a copy moves {:.1} GB/s, a kernel that only reads {:.1}", self.copy / 1e9, self.read / 1e9)
    }
}

fn best_rate(device: &Device, bytes: u64, launch: impl Fn() -> Result<()>) -> Result<f64> {
    let mut best: f64 = 0.0;
    for _ in 0..N_RUNS {
        launch()?; // so that the device is busy until the one that counts is there
        let start = device.record()?;
        launch()?;
        let end = device.record()?;
        end.wait()?;
        best = best.max(bytes as f64 / (f64::from(start.elapsed_ms(&end)?) / 1e3));
    }
    Ok(best)
}
