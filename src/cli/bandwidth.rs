//! How fast the device's memory is, measured: the roof that every kernel is under.

use gale::device::{Device, Result};
use gale::kernels::Copy;

/// Far larger than any L2 cache.
const GPU_BYTES: usize = 1 << 30;
/// Enough to see that it works.
const EMULATOR_BYTES: usize = 1 << 20;
const N_RUNS: usize = 5;

/// Bytes read and written per second by the copy kernel: the best of a few runs, timed by the device.
pub fn of_copy(device: &Device) -> Result<f64> {
    let (free, _) = device.memory_info()?;
    let wanted = if device.is_emulator() { EMULATOR_BYTES } else { GPU_BYTES };
    let n = wanted.min(free / 4).next_multiple_of(16);
    let from = device.zeroed::<u8>(&[n])?;
    let mut to = device.zeroed::<u8>(&[n])?;
    let copy = Copy { from: &from, to: &mut to, n: n as u64 };
    let mut best: f64 = 0.0;
    for _ in 0..N_RUNS {
        let start = device.record()?;
        copy.launch(device)?;
        let end = device.record()?;
        end.wait()?;
        best = best.max(copy.bytes() as f64 / (f64::from(start.elapsed_ms(&end)?) / 1e3));
    }
    Ok(best)
}
