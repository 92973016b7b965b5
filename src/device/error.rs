//! What can go wrong between us and the driver.

use cudarc::driver::DriverError;
use std::path::PathBuf;

/// `Result` with a [`DeviceError`].
pub type Result<T> = std::result::Result<T, DeviceError>;

/// What the driver, the card or the machine did to us.
#[derive(Clone, Debug, thiserror::Error)]
pub enum DeviceError {
    #[error("unknown device `{found}`: expected auto, cuda, cuda:N (N counts from 0) or emulator")]
    UnknownChoice { found: String },

    #[error("this process already uses device `{first}`, and cannot use `{second}` as well")]
    AlreadyChosen { first: String, second: String },

    #[error("no usable CUDA GPU: {reason}; `--device emulator` runs on the CPU")]
    NoGpu { reason: String },

    #[error("no CUDA GPU {ordinal}: this machine has {n_gpus}, counted from 0")]
    NoSuchGpu { ordinal: u32, n_gpus: u32 },

    #[error(
        "the emulator's library is not there, looked for {}: \
         build it with `cargo build -p cuda-emulator`, or name the file in GALE_EMULATOR_LIB",
        list(looked_for)
    )]
    NoEmulator { looked_for: Vec<PathBuf> },

    #[error("cannot load the emulator {}: {reason}", path.display())]
    BadEmulator { path: PathBuf, reason: String },

    #[error(
        "the emulator {} is of another build than gale (expected {expected}, found {found}): build both again",
        path.display()
    )]
    StaleEmulator { path: PathBuf, expected: String, found: String },

    #[error(
        "cannot use the emulator: a CUDA library without a GPU was loaded before it and stays; \
         choose `--device emulator`, which does not look for one"
    )]
    EmulatorShadowed,

    #[error("the {library} has no `{symbol}`: gale needs a driver for CUDA {minimum} or newer")]
    MissingSymbol { library: &'static str, symbol: &'static str, minimum: &'static str },

    #[error("{device} has compute capability {}.{}, gale's kernels need {}.{} or higher", found.0, found.1, needed.0, needed.1)]
    TooOldCard { device: String, found: (u32, u32), needed: (u32, u32) },

    #[error(
        "kernels/{module}.cu is PTX {}.{}, which needs a driver for CUDA {}.{} or newer; \
         this driver is for CUDA {}.{}: update the NVIDIA driver",
        ptx.0, ptx.1, needed.0, needed.1, found.0, found.1
    )]
    TooOldDriver { module: &'static str, ptx: (u32, u32), needed: (u32, u32), found: (u32, u32) },

    #[error("the driver cannot load kernels/{module}.cu: {reason}{}", indented(log))]
    Module { module: &'static str, reason: String, log: String },

    #[error("out of device memory: asked for {requested} bytes, {free} of {total} bytes are free")]
    OutOfMemory { requested: usize, free: usize, total: usize },

    #[error(
        "cannot pin {bytes} bytes of the host's memory: {reason}; free some, or raise the limit that the system \
         or a container sets (ulimit -l)"
    )]
    Pinned { bytes: usize, reason: String },

    #[error("{doing}: {reason}")]
    Call { doing: String, reason: String },
}

impl DeviceError {
    /// Of a driver call that failed while `doing` something.
    pub(super) fn call(doing: impl Into<String>) -> impl FnOnce(DriverError) -> DeviceError {
        move |error| DeviceError::Call { doing: doing.into(), reason: reason(error) }
    }
}

/// The driver's own name and words for an error.
pub(super) fn reason(error: DriverError) -> String {
    let name = error.error_name().map(|it| it.to_string_lossy()).unwrap_or("an unknown CUDA error".into());
    let text = error.error_string().map(|it| it.to_string_lossy()).unwrap_or_default();
    format!("{name} ({}): {text}", error.0 as u32)
}

fn list(paths: &[PathBuf]) -> String {
    paths.iter().map(|it| it.display().to_string()).collect::<Vec<_>>().join(", ")
}

fn indented(log: &str) -> String {
    log.lines().map(|line| format!("\n    {line}")).collect()
}
