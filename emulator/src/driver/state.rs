//! The driver of this process: made by `cuInit`, never taken down.

use super::{
    DevicePtr,
    capture::Captures,
    error::{Error, Result},
    objects::Objects,
    profile::Profile,
    queue::Queue,
    report,
};
use crate::{
    exec::{engine::Engine, printf},
    mem::{allocations::Allocations, map::host_memory_bytes},
    settings::{Mode, Profile as Output, Settings},
};
use std::{
    collections::BTreeSet,
    fs,
    io::{self, Write},
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
};

pub struct Driver {
    pub settings: Settings,
    pub queue: Queue,
    pub profile: Profile,
    objects: Mutex<Objects>,
    memory: Mutex<Allocations>,
    captures: Mutex<Captures>,
    graph_memory: Mutex<BTreeSet<DevicePtr>>,
}

static DRIVER: OnceLock<Driver> = OnceLock::new();

/// The driver, if `cuInit` was called.
pub fn driver() -> Result<&'static Driver> {
    DRIVER.get().ok_or(Error::NOT_INITIALIZED)
}

/// The mode where the environment names none; it is locked while the driver is made.
static DEFAULT_MODE: Mutex<Mode> = Mutex::new(Mode::Fast);

/// Before the driver is made.
pub fn check_by_default() -> Result {
    let mut mode = DEFAULT_MODE.lock().unwrap_or_else(PoisonError::into_inner);
    if DRIVER.get().is_some() {
        return Err(Error::ILLEGAL_STATE);
    }
    *mode = Mode::Check;
    Ok(())
}

/// Makes the driver, once.
pub fn init() -> Result {
    let default_mode = DEFAULT_MODE.lock().unwrap_or_else(PoisonError::into_inner);
    if DRIVER.get().is_some() {
        return Ok(());
    }
    let settings = Settings::from_env(*default_mode).map_err(|error| {
        say!("{error}");
        Error::INVALID_VALUE
    })?;
    let made = Driver::new(settings)?;
    if DRIVER.get_or_init(|| made).settings.profile.is_some() {
        // SAFETY: the function may be called at any time, and takes locks that nobody holds for long.
        unsafe { libc::atexit(report_at_exit) };
    }
    Ok(())
}

extern "C" fn report_at_exit() {
    if let Ok(driver) = driver() {
        driver.write_profile();
        if driver.settings.profile == Some(Output::Table) {
            // Like every report: nobody may be listening.
            let _ = io::stderr().write_all(report::table(&driver.profile.kernels()).as_bytes());
        }
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
        let profile = Profile::new(settings.profile.is_some() || settings.mode != Mode::Fast);
        let seed = (settings.mode == Mode::Stress).then_some(settings.seed);
        crate::exec::approx::perturb(seed);
        Engine::choose(settings.cpu);
        Ok(Self {
            settings,
            queue: Queue::new(seed),
            profile,
            objects: Mutex::default(),
            memory: Mutex::new(memory),
            captures: Mutex::default(),
            graph_memory: Mutex::default(),
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

    /// Addresses that belong to graphs. Taken inside any other lock, and nothing is taken inside it.
    pub fn graph_memory(&self) -> MutexGuard<'_, BTreeSet<DevicePtr>> {
        self.graph_memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns when the work that is queued now, of one context (by its serial) or of all, is done.
    pub fn wait_for_all(&self, context: Option<u64>) {
        for ticket in self.queue.last_of_all(context) {
            self.queue.wait(ticket);
        }
        printf::flush();
    }

    /// Writes the counters to the file that `CUDA_EMULATOR_PROFILE` names.
    pub fn write_profile(&self) {
        if let Some(Output::Json(file)) = &self.settings.profile
            && let Err(error) = fs::write(file, report::json(&self.profile.kernels()))
        {
            say!("cannot write the counters to {}: {error}", file.display());
        }
    }
}
