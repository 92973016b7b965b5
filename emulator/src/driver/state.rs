//! The driver of this process: made by `cuInit`, never taken down.

use super::{
    capture::Captures,
    error::{Error, Result},
    objects::Objects,
    profile::Profile,
    queue::Queue,
};
use crate::{
    mem::{allocations::Allocations, map::host_memory_bytes},
    settings::{Mode, Settings},
};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

pub struct Driver {
    pub settings: Settings,
    pub queue: Queue,
    pub profile: Profile,
    objects: Mutex<Objects>,
    memory: Mutex<Allocations>,
    captures: Mutex<Captures>,
}

static DRIVER: OnceLock<Driver> = OnceLock::new();

/// The driver, if `cuInit` was called.
pub fn driver() -> Result<&'static Driver> {
    DRIVER.get().ok_or(Error::NOT_INITIALIZED)
}

/// Makes the driver, once.
pub fn init() -> Result {
    static ONCE: Mutex<()> = Mutex::new(());
    let _once = ONCE.lock().unwrap_or_else(PoisonError::into_inner);
    if DRIVER.get().is_some() {
        return Ok(());
    }
    let settings = Settings::from_env().map_err(|error| {
        say!("{error}");
        Error::INVALID_VALUE
    })?;
    let made = Driver::new(settings)?;
    if DRIVER.get_or_init(|| made).settings.profile.is_some() {
        // SAFETY: the function may be called at any time, and takes locks that nobody holds for long.
        unsafe { libc::atexit(write_profile_at_exit) };
    }
    Ok(())
}

extern "C" fn write_profile_at_exit() {
    if let Ok(driver) = driver() {
        driver.write_profile();
    }
}

impl Driver {
    fn new(settings: Settings) -> Result<Self> {
        // Never more than the machine has: a program that fills the card must not bring it down.
        let memory_bytes = settings.card.memory_bytes.min(host_memory_bytes() / 4 * 3);
        let memory = Allocations::new(memory_bytes, settings.mode == Mode::Fast, settings.mode != Mode::Fast)
            .ok_or_else(|| {
                eprintln!(
                    "cuda-emulator: cannot reserve the addresses of {memory_bytes} bytes of device memory (ulimit -v?)"
                );
                Error::OUT_OF_MEMORY
            })?;
        let seed = (settings.mode == Mode::Stress).then_some(settings.seed);
        crate::exec::approx::perturb(seed);
        Ok(Self {
            settings,
            queue: Queue::new(seed),
            profile: Profile::default(),
            objects: Mutex::default(),
            memory: Mutex::new(memory),
            captures: Mutex::default(),
        })
    }

    pub fn objects(&self) -> MutexGuard<'_, Objects> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn memory(&self) -> MutexGuard<'_, Allocations> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn captures(&self) -> MutexGuard<'_, Captures> {
        self.captures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns when the work that is queued now, of one context (by its serial) or of all, is done.
    pub fn wait_for_all(&self, context: Option<u64>) {
        for ticket in self.queue.last_of_all(context) {
            self.queue.wait(ticket);
        }
    }

    /// Writes the counters where `CUDA_EMULATOR_PROFILE` says.
    pub fn write_profile(&self) {
        if let Some(file) = &self.settings.profile
            && let Err(error) = self.profile.write(file)
        {
            say!("cannot write the counters to {}: {error}", file.display());
        }
    }
}
