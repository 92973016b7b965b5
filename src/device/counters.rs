//! What the emulator counts: exact, and the same on every machine, so that tests can hold a kernel to it.

use super::{Device, Result, library};
pub use cuda_emulator::perf::class::Class;
pub use cuda_emulator::perf::{Counters, Counts};

impl Device {
    /// Makes the emulator count everything from here on, from zero. The counters are the process's: they have the
    /// launches of every stream and thread. On a GPU nothing happens.
    pub fn reset_counters(&self) -> Result<()> {
        if !self.is_emulator() {
            return Ok(());
        }
        self.bind()?;
        library::count_from_zero()
    }

    /// From here on, DRAM bytes are what moves between memory and an L2 of the card's size, which is empty now and stays as
    /// launches leave it; or no longer, and each launch finds it empty. On a GPU nothing happens.
    pub fn keep_l2(&self, is_kept: bool) -> Result<()> {
        if !self.is_emulator() {
            return Ok(());
        }
        self.bind()?;
        library::keep_l2(is_kept)
    }

    /// What the launches of a kernel did since [`Device::reset_counters`], once they are done. `None` on a GPU, and for a
    /// kernel that was not launched.
    pub fn counters(&self, kernel: &str) -> Result<Option<Counters>> {
        if !self.is_emulator() {
            return Ok(None);
        }
        self.synchronize()?;
        library::counters(kernel)
    }
}
