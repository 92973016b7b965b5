//! How long launches take, by the device's own clock.

use super::Work;
use crate::device::{Buffer, Device, Event, Result};
use crate::kernels::Read;
use std::time::Duration;

/// Launches that the host asks for while the device is busy.
const RUNS_PER_HEAD_START: usize = 100;

/// Times launches one by one, each between two events.
pub struct Stopwatch {
    device: Device,
    head_start: HeadStart,
}

impl Stopwatch {
    /// Takes what a [`HeadStart`] takes.
    pub fn new(device: &Device) -> Result<Stopwatch> {
        Ok(Stopwatch { device: device.clone(), head_start: HeadStart::new(device)? })
    }

    /// The time of each of so many launches, on one set of buffers after the other. An event before and one after lie
    /// about a microsecond farther apart than the launch takes.
    pub fn time(&mut self, work: &mut Work, n_runs: usize) -> Result<Vec<Duration>> {
        let mut times = Vec::with_capacity(n_runs);
        while times.len() < n_runs {
            let n = RUNS_PER_HEAD_START.min(n_runs - times.len());
            self.head_start.give(&self.device)?;
            let events = (0..n).map(|_| self.run(work)).collect::<Result<Vec<_>>>()?;
            self.device.synchronize()?;
            for (before, after) in events {
                times.push(Duration::from_secs_f32(before.elapsed_ms(&after)?.max(0.0) / 1e3));
            }
        }
        Ok(times)
    }

    fn run(&self, work: &mut Work) -> Result<(Event, Event)> {
        let before = self.device.record()?;
        work.launch(&self.device)?;
        Ok((before, self.device.record()?))
    }
}

/// The time that a share of the times, which are sorted, does not exceed.
pub fn percentile(times: &[Duration], share: f64) -> Duration {
    let rank = (share * times.len() as f64).ceil() as usize;
    times[rank.clamp(1, times.len()) - 1]
}

/// Keeps a GPU busy while the host asks for the work that is to be timed: a launch that waits for the host would be timed
/// with its wait.
pub struct HeadStart {
    from: Buffer<u8>,
    sum: Buffer<u32>,
}

impl HeadStart {
    /// Takes an eighth of the free memory, or 1 GiB if that is less.
    pub fn new(device: &Device) -> Result<HeadStart> {
        const GPU_BYTES: usize = 1 << 30;
        const EMULATOR_BYTES: usize = 1 << 20;
        let (free, _) = device.memory_info()?;
        let wanted = if device.is_emulator() { EMULATOR_BYTES } else { GPU_BYTES };
        let n = wanted.min(free / 8) / 16 * 16;
        Ok(HeadStart { from: device.zeroed(&[n])?, sum: device.zeroed(&[1])? })
    }

    /// Some milliseconds on a GPU: hundreds of launches are asked for meanwhile. The emulator, which is the host, needs none.
    pub fn give(&mut self, device: &Device) -> Result<()> {
        const N_READS: usize = 8;
        let n_reads = if device.is_emulator() { 0 } else { N_READS };
        let n = self.from.len() as u64;
        (0..n_reads).try_for_each(|_| Read { from: &self.from, sum: &mut self.sum, n }.launch(device))
    }
}
