//! NVIDIA's own products, where its library is there: what gale's are compared with. Nothing of gale needs it.

use super::library::linkers_words;
use super::{Buffer, Device, DeviceError};
use half::bf16;
use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
use std::ffi::{c_int, c_void};

/// Of a toolkit, and those that come with Python packages.
const LIBRARIES: [&str; 4] = ["libcublas.so", "libcublas.so.13", "libcublas.so.12", "libcublas.so.11"];

/// cublasOperation_t
const AS_IT_IS: c_int = 0;
const TRANSPOSED: c_int = 1;
/// cudaDataType_t
const BF16: c_int = 14;
/// cublasComputeType_t: sums in f32.
const COMPUTE_F32: c_int = 68;
/// cublasGemmAlgo_t: the library chooses.
const ITS_CHOICE: c_int = -1;

type Create = unsafe extern "C" fn(*mut *mut c_void) -> c_int;
type OfHandle = unsafe extern "C" fn(*mut c_void) -> c_int;
type SetStream = unsafe extern "C" fn(*mut c_void, *mut c_void) -> c_int;
type GetVersion = unsafe extern "C" fn(*mut c_void, *mut c_int) -> c_int;
#[rustfmt::skip]
type GemmEx = unsafe extern "C" fn(
    *mut c_void, c_int, c_int, c_int, c_int, c_int, *const f32,
    *const c_void, c_int, c_int, *const c_void, c_int, c_int, *const f32, *mut c_void, c_int, c_int, c_int, c_int,
) -> c_int;

/// The library, on a device's stream.
pub struct Cublas {
    device: Device,
    library: Library,
    handle: *mut c_void,
    gemm: GemmEx,
}

impl Device {
    /// cuBLAS for this device, or why there is none.
    pub fn cublas(&self) -> Result<Cublas, String> {
        Cublas::open(self, &LIBRARIES)
    }
}

impl Cublas {
    fn open(device: &Device, names: &[&str]) -> Result<Cublas, String> {
        let library = load(names)?;
        device.bind().map_err(|error| error.to_string())?;
        let mut handle = std::ptr::null_mut();
        // SAFETY: these are the types that cublas_v2.h declares; `handle` is a valid place for the one that is written,
        // and the stream lives as long as the device, of which the result holds a clone.
        unsafe {
            let create = function::<Create>(&library, "cublasCreate_v2")?;
            let set_stream = function::<SetStream>(&library, "cublasSetStream_v2")?;
            let gemm = function::<GemmEx>(&library, "cublasGemmEx")?;
            function::<OfHandle>(&library, "cublasDestroy_v2")?;
            check("it does not start", create(&mut handle))?;
            let it = Cublas { device: device.clone(), library, handle, gemm };
            check("it does not take the stream", set_stream(handle, device.stream().cast()))?;
            Ok(it)
        }
    }

    /// As in `12.4.5`.
    pub fn version(&self) -> String {
        let mut version = 0;
        // SAFETY: this is the type that cublas_v2.h declares, and `version` is a valid place for the one int.
        unsafe {
            function::<GetVersion>(&self.library, "cublasGetVersion_v2").map(|get| get(self.handle, &mut version))
        }
        .unwrap_or(0);
        format!("{}.{}.{}", version / 10_000, version / 100 % 100, version % 100)
    }

    /// `out` [m, n] = `h` [m, k] times the transposed `weight` [n, k], in bf16 with sums in f32. Returns when it is asked for.
    pub fn product(
        &self,
        weight: &Buffer<bf16>,
        h: &Buffer<bf16>,
        out: &mut Buffer<bf16>,
        [m, n, k]: [u32; 3],
    ) -> super::Result<()> {
        weight.assert_holds([n, k]);
        h.assert_holds([m, k]);
        out.assert_holds([m, n]);
        let [m, n, k] = [m, n, k].map(u32::cast_signed);
        let (one, zero) = (1.0, 0.0);
        let at = |address: u64| address as *mut c_void;
        self.device.bind()?;
        // SAFETY: the buffers hold the matrices (asserted) and outlive the work: freeing them waits for the stream. The
        // factors are read before the call returns, as the library's pointer mode is the host's unless somebody sets it.
        // Columns come first to it, so our rows are its columns.
        let code = unsafe {
            let (weight, h, out) = (at(weight.address()), at(h.address()), at(out.address()));
            (self.gemm)(
                self.handle,
                TRANSPOSED,
                AS_IT_IS,
                n,
                m,
                k,
                &one,
                weight,
                BF16,
                k,
                h,
                BF16,
                k,
                &zero,
                out,
                BF16,
                n,
                COMPUTE_F32,
                ITS_CHOICE,
            )
        };
        check("it does not multiply", code)
            .map_err(|reason| DeviceError::Call { doing: "multiplying with cuBLAS".into(), reason })
    }
}

impl Drop for Cublas {
    /// Waits for what was asked for.
    fn drop(&mut self) {
        let _ = self.device.synchronize(); // its error comes out at the next call
        // SAFETY: this is the type that cublas_v2.h declares; nobody else has the handle, and nothing uses it any more.
        let _ = unsafe { function::<OfHandle>(&self.library, "cublasDestroy_v2").map(|destroy| destroy(self.handle)) };
    }
}

/// The first of the libraries that is there.
fn load(names: &[&str]) -> Result<Library, String> {
    let mut failed = None;
    for name in names {
        // SAFETY: opening cuBLAS runs only its own initialisers, which every program with cuBLAS runs.
        match unsafe { Library::open(Some(*name), RTLD_NOW | RTLD_LOCAL) } {
            Ok(library) => return Ok(library),
            Err(error) => {
                let reason = linkers_words(&error);
                // What is there and does not load is of more interest than what is not there.
                if !reason.starts_with(&format!("{name}: cannot open shared object file")) {
                    failed.get_or_insert(reason);
                }
            }
        }
    }
    Err(failed.unwrap_or_else(|| format!("none of {} is there; LD_LIBRARY_PATH says where to look", names.join(", "))))
}

/// # Safety
/// `F` is the type that the library has under this name.
unsafe fn function<F: Copy>(library: &Library, name: &str) -> Result<F, String> {
    // SAFETY: the caller says so.
    unsafe { library.get::<F>(name.as_bytes()) }.map(|it| *it).map_err(|_| format!("it has no {name}"))
}

fn check(what: &str, status: c_int) -> Result<(), String> {
    let name = match status {
        0 => return Ok(()),
        1 => "not initialized",
        3 => "allocation failed",
        7 => "invalid value",
        8 => "architecture mismatch",
        13 => "execution failed",
        14 => "internal error",
        15 => "not supported",
        _ => "unknown",
    };
    Err(format!("{what}: cuBLAS status {status}, {name}"))
}

#[cfg(test)]
mod tests {
    use super::super::DeviceChoice;
    use super::*;
    use std::path::Path;
    use std::process::Command;

    /// One in C that multiplies on the host.
    fn library(dir: &Path) -> String {
        let library = dir.join("cublas.so").to_str().unwrap().to_owned();
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/cublas.c");
        let made = Command::new("gcc").args(["-shared", "-fPIC", "-O1", "-o", &library, source]).status();
        assert!(made.unwrap().success());
        library
    }

    /// Small whole numbers, whose sums are exact in bf16 or nearly so.
    fn numbers(n: u32, step: u32) -> Vec<bf16> {
        (0..n).map(|i| bf16::from_f32((i * step % 7) as f32 - 3.0)).collect()
    }

    #[test]
    fn a_product_is_that_of_rows() {
        let dir = tempfile::tempdir().unwrap();
        let device = Device::open(DeviceChoice::Emulator).unwrap();
        let cublas = Cublas::open(&device, &["libno-such-cublas.so", &library(dir.path())]).unwrap();
        assert_eq!(cublas.version(), "12.9.3");

        let [m, n, k] = [3, 16, 32];
        let (weight, h) = (numbers(n * k, 3), numbers(m * k, 5));
        let mut out = device.zeroed(&[(m * n) as usize]).unwrap();
        cublas.product(&device.upload(&weight).unwrap(), &device.upload(&h).unwrap(), &mut out, [m, n, k]).unwrap();
        let expected = h.chunks(k as usize).flat_map(|h| {
            let dot = |row: &[bf16]| row.iter().zip(h).map(|(a, b)| a.to_f32() * b.to_f32()).sum::<f32>();
            weight.chunks(k as usize).map(dot).map(bf16::from_f32).collect::<Vec<_>>()
        });
        assert_eq!(out.to_vec().unwrap(), expected.collect::<Vec<_>>());
    }

    #[test]
    fn what_is_missing_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let device = Device::open(DeviceChoice::Emulator).unwrap();
        let open = |name: &str| Cublas::open(&device, &[name]).err().unwrap();
        let none = open("libno-such-cublas.so");
        assert_eq!(none, "none of libno-such-cublas.so is there; LD_LIBRARY_PATH says where to look");
        let broken = dir.path().join("broken.so");
        std::fs::write(&broken, "no library").unwrap();
        let error = open(broken.to_str().unwrap());
        assert!(error.contains("broken.so") && !error.contains("LD_LIBRARY_PATH"), "{error}");
        assert_eq!(open("libm.so.6"), "it has no cublasCreate_v2");
    }

    #[test]
    fn a_status_has_a_name() {
        assert_eq!(check("it does not start", 0), Ok(()));
        assert_eq!(check("it does not start", 1).unwrap_err(), "it does not start: cuBLAS status 1, not initialized");
    }
}
