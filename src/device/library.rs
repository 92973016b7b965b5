//! Which libcuda cudarc will find: NVIDIA's, or the emulator's put before it.
//!
//! cudarc opens the first of a list of names and keeps it for the life of the process. So the choice has to be
//! made before its first call, and can be made once. The emulator's library has the SONAME `libcuda.so`, the
//! first of those names: once it is loaded by its path, the dynamic linker answers cudarc's `dlopen` with it.

use super::{Counters, DeviceChoice, DeviceError, Result};
use cuda_emulator::driver::tools::Totals;
use cudarc::driver::sys;
use cudarc::get_lib_name_candidates;
use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_LOCAL, RTLD_NOW};
use std::env;
use std::error::Error;
use std::ffi::{CStr, CString, OsStr, c_char, c_int, c_uint};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The oldest CUDA whose driver has every one of [`ENTRY_POINTS`].
const MINIMUM_CUDA: &str = "11.4";

/// Every driver function that `src/device` reaches, through cudarc or directly.
const ENTRY_POINTS: [&str; 43] = [
    "cuCtxGetCurrent",
    "cuCtxSetCurrent",
    "cuDeviceGet",
    "cuDeviceGetAttribute",
    "cuDeviceGetCount",
    "cuDeviceGetName",
    "cuDeviceGetPCIBusId",
    "cuDevicePrimaryCtxRelease_v2",
    "cuDevicePrimaryCtxRetain",
    "cuDriverGetVersion",
    "cuEventCreate",
    "cuEventDestroy_v2",
    "cuEventElapsedTime",
    "cuEventRecord",
    "cuEventSynchronize",
    "cuFuncGetAttribute",
    "cuFuncSetAttribute",
    "cuGetErrorName",
    "cuGetErrorString",
    "cuGraphDestroy",
    "cuGraphExecDestroy",
    "cuGraphInstantiateWithFlags",
    "cuGraphLaunch",
    "cuInit",
    "cuLaunchKernel",
    "cuMemAlloc_v2",
    "cuMemFreeHost",
    "cuMemFree_v2",
    "cuMemGetInfo_v2",
    "cuMemHostAlloc",
    "cuMemHostGetDevicePointer_v2",
    "cuMemcpyDtoHAsync_v2",
    "cuMemcpyHtoDAsync_v2",
    "cuMemsetD8Async",
    "cuModuleGetFunction",
    "cuModuleLoadDataEx",
    "cuProfilerStart",
    "cuProfilerStop",
    "cuStreamBeginCapture_v2",
    "cuStreamCreate",
    "cuStreamDestroy_v2",
    "cuStreamEndCapture",
    "cuStreamSynchronize",
];

/// What was loaded for a choice.
pub(super) struct Loaded {
    pub is_emulator: bool,
    /// The GPU's number.
    pub ordinal: u32,
}

/// Makes cudarc find the library that `choice` asks for; if it is the emulator, by default with its checks.
pub(super) fn load(choice: DeviceChoice, is_checked: bool) -> Result<Loaded> {
    let loaded = match choice {
        DeviceChoice::Emulator => load_emulator()?,
        DeviceChoice::Cuda(ordinal) => {
            let n_gpus = count_gpus().map_err(|reason| DeviceError::NoGpu { reason })?;
            if ordinal >= n_gpus {
                return Err(DeviceError::NoSuchGpu { ordinal, n_gpus });
            }
            Loaded { is_emulator: false, ordinal }
        }
        DeviceChoice::Auto => match count_gpus() {
            Ok(_) => Loaded { is_emulator: false, ordinal: 0 },
            Err(reason) => {
                let loaded = load_emulator()?;
                // A notice that cannot be written is not worth failing for.
                let _ = writeln!(io::stderr(), "gale: running on the CPU, in the emulator: {reason}");
                loaded
            }
        },
    };
    check_entry_points(if loaded.is_emulator { "emulator" } else { "CUDA driver" })?;
    if loaded.is_emulator && is_checked {
        // SAFETY: this is the type that the emulator exports, and it takes nothing.
        let code = unsafe { emulator::<unsafe extern "C" fn() -> sys::CUresult>(b"cuda_emulator_check_by_default")() };
        code.result().map_err(DeviceError::call("turning the emulator's checks on"))?;
    }
    Ok(loaded)
}

/// The number of GPUs, at least one, that the library which cudarc would open can see; or why there is none.
fn count_gpus() -> std::result::Result<u32, String> {
    let names: Vec<String> = ["cuda", "nvcuda"].into_iter().flat_map(get_lib_name_candidates).collect();
    // SAFETY: opening a CUDA driver runs only its own initialisers, which every CUDA program runs.
    let open = |name: &String| unsafe { Library::open(Some(name), RTLD_NOW | RTLD_LOCAL) }.ok();
    let (name, library) = names
        .iter()
        .find_map(|name| Some((name, open(name)?)))
        .ok_or_else(|| format!("there is no CUDA driver ({} and its other names are not found)", names[0]))?;

    // SAFETY: these are the types that cuda.h declares.
    let (init, count) = unsafe {
        (
            library.get::<unsafe extern "C" fn(c_uint) -> c_int>(b"cuInit"),
            library.get::<unsafe extern "C" fn(*mut c_int) -> c_int>(b"cuDeviceGetCount"),
        )
    };
    let (Ok(init), Ok(count)) = (init, count) else {
        return Err(format!("{name} is no CUDA driver: it lacks cuInit or cuDeviceGetCount"));
    };
    let mut n_gpus = 0;
    // SAFETY: `n_gpus` is a valid place for the one int that is written, and cuInit comes first.
    let code = unsafe {
        match init(0) {
            0 => count(&mut n_gpus),
            code => code,
        }
    };
    match (code, u32::try_from(n_gpus)) {
        (0, Ok(1..)) => {
            std::mem::forget(library); // cudarc opens it next
            Ok(n_gpus.cast_unsigned())
        }
        (0 | 100, _) => Err(format!("the CUDA driver {name} sees no GPU")),
        (34, _) => Err(format!("{name} is the stub of a CUDA toolkit: take `stubs` off LD_LIBRARY_PATH")),
        _ => Err(format!("the CUDA driver {name} does not start, error {code}")),
    }
}

fn load_emulator() -> Result<Loaded> {
    let exe = env::current_exe().unwrap_or_default();
    let named = env::var_os("GALE_EMULATOR_LIB").filter(|it| !it.is_empty());
    let path = find_emulator(named.as_deref(), &exe)?;
    open_emulator(&path, cuda_emulator::BUILD_ID)?;
    // SAFETY: only asks whether the name is there.
    let is_ours = unsafe { sys::culib().get::<*const ()>(b"cuda_emulator_build_id") }.is_ok();
    if is_ours { Ok(Loaded { is_emulator: true, ordinal: 0 }) } else { Err(DeviceError::EmulatorShadowed) }
}

/// The first library there is: the one that `GALE_EMULATOR_LIB` names, or one of those near the executable.
///
/// Cargo leaves the library that belongs to an executable in `deps/`; a copy beside the executable may be older.
fn find_emulator(named: Option<&OsStr>, exe: &Path) -> Result<PathBuf> {
    let dir = exe.parent().unwrap_or(Path::new(""));
    let looked_for = match named {
        Some(path) => vec![PathBuf::from(path)],
        None => {
            let own_deps = dir.ends_with("deps").then(|| dir.to_owned());
            let dirs = own_deps.into_iter().chain([dir.join("deps"), dir.to_owned(), dir.join("../lib")]);
            let mut paths: Vec<PathBuf> = dirs.map(|it| it.join("libcuda_emulator.so")).collect();
            paths.dedup();
            paths
        }
    };
    match looked_for.iter().find(|it| it.is_file()) {
        Some(path) => Ok(path.clone()),
        None => Err(DeviceError::NoEmulator { looked_for }),
    }
}

/// Loads the emulator for good, if it is of the build that `expected` names.
fn open_emulator(path: &Path, expected: &str) -> Result<()> {
    let bad = |reason: String| DeviceError::BadEmulator { path: path.to_owned(), reason };
    // A name without a slash would be searched for, not opened.
    let absolute = path.canonicalize().map_err(|e| bad(e.to_string()))?;
    // SAFETY: the emulator has no initialisers beyond Rust's own; that it is the emulator is checked next.
    let library =
        unsafe { Library::open(Some(&absolute), RTLD_NOW | RTLD_GLOBAL) }.map_err(|e| bad(linkers_words(&e)))?;
    // SAFETY: this is the type that the emulator exports under this name.
    let build_id = unsafe { library.get::<unsafe extern "C" fn() -> *const c_char>(b"cuda_emulator_build_id") }
        .map_err(|_| bad("it is not the emulator: `cuda_emulator_build_id` is missing".into()))?;
    // SAFETY: the emulator returns a static, NUL-terminated string.
    let found = unsafe { CStr::from_ptr(build_id()) }.to_string_lossy().into_owned();
    if found != expected {
        return Err(DeviceError::StaleEmulator { path: path.to_owned(), expected: expected.to_owned(), found });
    }
    std::mem::forget(library); // it stays for the life of the process
    Ok(())
}

/// Why a library does not load. libloading's own words are only which call failed.
pub(super) fn linkers_words(error: &libloading::Error) -> String {
    error.source().map_or(error.to_string(), ToString::to_string)
}

/// cudarc panics at the first call of a function that the library lacks; this makes it an error before that.
fn check_entry_points(library: &'static str) -> Result<()> {
    for symbol in ENTRY_POINTS {
        // SAFETY: only asks whether the name is there. `load` has seen the library, so culib() does not panic.
        if unsafe { sys::culib().get::<*const ()>(symbol.as_bytes()) }.is_err() {
            return Err(DeviceError::MissingSymbol { library, symbol, minimum: MINIMUM_CUDA });
        }
    }
    Ok(())
}

/// Makes the emulator count everything, with all totals at zero.
pub(super) fn count_from_zero() -> Result<()> {
    // SAFETY: these are the types that the emulator exports, and neither function takes a pointer.
    let codes = unsafe {
        let count = emulator::<unsafe extern "C" fn(c_int) -> sys::CUresult>(b"cuda_emulator_count");
        let reset = emulator::<unsafe extern "C" fn() -> sys::CUresult>(b"cuda_emulator_reset_counters");
        [count(1), reset()]
    };
    codes.iter().try_for_each(|code| code.result()).map_err(DeviceError::call("turning the emulator's counters on"))
}

/// Makes the emulator's DRAM bytes those of an L2 that outlives launches, empty now, or of an empty one for each.
pub(super) fn keep_l2(is_kept: bool) -> Result<()> {
    type Keep = unsafe extern "C" fn(c_int) -> sys::CUresult;
    // SAFETY: this is the type that the emulator exports, and it takes no pointer.
    let code = unsafe { emulator::<Keep>(b"cuda_emulator_keep_l2")(is_kept.into()) };
    code.result().map_err(DeviceError::call("keeping the emulator's L2"))
}

/// The emulator's counters of a kernel, if it was launched.
pub(super) fn counters(kernel: &str) -> Result<Option<Counters>> {
    type Read = unsafe extern "C" fn(*const c_char, usize, *mut Totals) -> sys::CUresult;
    let kernel = CString::new(kernel).expect("an identifier has no NUL");
    let mut totals = Totals::default();
    // SAFETY: this is the type that the emulator exports, the name is a C string, and `totals` has room for its size.
    let code =
        unsafe { emulator::<Read>(b"cuda_emulator_counters")(kernel.as_ptr(), size_of::<Totals>(), &mut totals) };
    match code {
        sys::CUresult::CUDA_ERROR_NOT_FOUND => Ok(None),
        code => code.result().map(|()| Some(totals.counters)).map_err(DeviceError::call("reading the counters")),
    }
}

/// A function that only the emulator has.
///
/// # Safety
/// The emulator is loaded and exports it with this type.
unsafe fn emulator<F: Copy + 'static>(symbol: &[u8]) -> F {
    // SAFETY: the caller's promise. `open_emulator` has seen that the library is of our own build.
    *unsafe { sys::culib().get::<F>(symbol) }.expect("the emulator of our own build has all of its functions")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::process::Command;

    const NAME: &str = "libcuda_emulator.so";

    fn touch(path: &Path) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }

    /// Adding places from the last to the first, each new one wins; the named one wins over all.
    #[test]
    fn nearer_places_win() {
        let root = tempfile::tempdir().unwrap();
        let exe = root.path().join("bin/gale");
        for place in ["bin/../lib", "bin", "bin/deps"] {
            let path = root.path().join(place).join(NAME);
            fs::create_dir_all(root.path().join("bin")).unwrap();
            touch(&path);
            assert_eq!(find_emulator(None, &exe).unwrap(), path);
        }
        let named = root.path().join("elsewhere.so");
        touch(&named);
        assert_eq!(find_emulator(Some(named.as_os_str()), &exe).unwrap(), named);
    }

    /// A test is in `deps` itself.
    #[test]
    fn a_test_finds_the_library_beside_it() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("deps").join(NAME);
        touch(&path);
        touch(&root.path().join("deps/deps").join(NAME));
        assert_eq!(find_emulator(None, &root.path().join("deps/device-0123")).unwrap(), path);
    }

    #[test]
    fn a_missing_library_is_reported_with_every_place() {
        let text = find_emulator(None, Path::new("/nowhere/bin/gale")).unwrap_err().to_string();
        for place in ["/nowhere/bin/deps/", "/nowhere/bin/", "/nowhere/bin/../lib/"] {
            assert!(text.contains(&format!("{place}{NAME}")), "{text}");
        }
        assert!(text.contains("cargo build -p cuda-emulator"), "{text}");
    }

    /// A library that is named is the only one that will do.
    #[test]
    fn a_named_library_that_is_missing_is_an_error() {
        let root = tempfile::tempdir().unwrap();
        touch(&root.path().join(NAME));
        let found = find_emulator(Some(OsStr::new("/nowhere/emulator.so")), &root.path().join("gale"));
        assert!(found.unwrap_err().to_string().contains("/nowhere/emulator.so"));
    }

    #[test]
    fn only_a_library_of_the_same_build_is_accepted() {
        let root = tempfile::tempdir().unwrap();
        let library = |name: &str, source: &str| {
            let (c, so) = (root.path().join(name).with_extension("c"), root.path().join(name));
            fs::write(&c, source).unwrap();
            assert!(Command::new("gcc").args(["-shared", "-fPIC", "-o"]).args([&so, &c]).status().unwrap().success());
            open_emulator(&so, "right").map_err(|it| it.to_string())
        };
        let other = library("other.so", "int other;").unwrap_err();
        assert!(other.contains("it is not the emulator"), "{other}");
        let stale = library("stale.so", "const char *cuda_emulator_build_id(void) { return \"wrong\"; }").unwrap_err();
        assert!(stale.contains("expected right, found wrong"), "{stale}");
        library("fresh.so", "const char *cuda_emulator_build_id(void) { return \"right\"; }").unwrap();

        touch(&root.path().join("empty.so"));
        let empty = open_emulator(&root.path().join("empty.so"), "right").unwrap_err().to_string();
        assert!(empty.contains("cannot load the emulator") && empty.contains("empty.so: file too short"), "{empty}");
    }
}
