//! What the suites share: kernels of `.ptx` files that lie beside their `.cu`, and tests that run in a process of their own.
#![allow(dead_code)] // Each suite takes what it needs.

use cuda_emulator::driver::{Handle, context::*, copy::*, device::*, launch::*, memory::*, module::*, stream::*};
use std::{
    env,
    ffi::{CString, c_void},
    fs,
    process::{self, Command, Output},
    ptr, thread,
    time::Duration,
};

/// Calls that have to succeed.
#[track_caller]
pub fn ok(code: u32) {
    assert_eq!(code, 0, "CUresult");
}

/// Calls `make` with room for its result.
#[track_caller]
pub fn made<T>(nothing: T, make: impl FnOnce(*mut T) -> u32) -> T {
    let mut value = nothing;
    ok(make(&mut value));
    value
}

#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub grid: u32,
    pub block: u32,
    pub shared_bytes: u32,
    pub is_cooperative: bool,
}

pub fn shape(grid: u32, block: u32) -> Shape {
    Shape { grid, block, shared_bytes: 0, is_cooperative: false }
}

/// A context with one module, current on the calling thread.
pub struct Gpu {
    pub context: Handle,
    pub module: Handle,
}

impl Gpu {
    /// Loads `tests/FOLDER/FILE.ptx`.
    #[track_caller]
    pub fn with(folder: &str, file: &str) -> Self {
        ok(unsafe { cuInit(0) });
        let context = made(ptr::null_mut(), |out| unsafe { cuCtxCreate_v2(out, 0, 0) });
        let text = CString::new(read_file(folder, &format!("{file}.ptx"))).expect("PTX is text");
        let module = made(ptr::null_mut(), |out| unsafe { cuModuleLoadData(out, text.as_ptr().cast()) });
        Self { context, module }
    }

    /// Device memory as it comes.
    #[track_caller]
    pub fn fresh(&self, n_bytes: usize) -> u64 {
        made(0, |out| unsafe { cuMemAlloc_v2(out, n_bytes) })
    }

    #[track_caller]
    pub fn upload<T: Copy>(&self, values: &[T]) -> u64 {
        let address = self.fresh(size_of_val(values));
        self.write(address, values);
        address
    }

    #[track_caller]
    pub fn write<T: Copy>(&self, address: u64, values: &[T]) {
        ok(unsafe { cuMemcpyHtoD_v2(address, values.as_ptr().cast(), size_of_val(values)) });
    }

    #[track_caller]
    pub fn zeros(&self, n_words: usize) -> u64 {
        self.upload(&vec![0u32; n_words])
    }

    #[track_caller]
    pub fn download<T: Copy + Default>(&self, address: u64, n: usize) -> Vec<T> {
        let mut values = vec![T::default(); n];
        ok(unsafe { cuMemcpyDtoH_v2(values.as_mut_ptr().cast(), address, n * size_of::<T>()) });
        values
    }

    #[track_caller]
    pub fn function(&self, kernel: &str) -> Handle {
        let name = CString::new(kernel).expect("a name");
        made(ptr::null_mut(), |out| unsafe { cuModuleGetFunction(out, self.module, name.as_ptr()) })
    }

    /// Queues a launch. Each argument is 8 bytes, of which the kernel takes as many low ones as it declares.
    #[track_caller]
    pub fn launch(&self, kernel: &str, shape: Shape, arguments: &[u64]) -> u32 {
        self.launch_on(ptr::null_mut(), kernel, shape, arguments)
    }

    #[track_caller]
    pub fn launch_on(&self, stream: Handle, kernel: &str, shape: Shape, arguments: &[u64]) -> u32 {
        let mut pointers: Vec<*const c_void> = arguments.iter().map(|it| ptr::from_ref(it).cast()).collect();
        self.launch_with(stream, kernel, shape, &mut pointers)
    }

    /// Queues a launch with pointers to the arguments.
    #[track_caller]
    pub fn launch_with(&self, stream: Handle, kernel: &str, shape: Shape, arguments: &mut [*const c_void]) -> u32 {
        let function = self.function(kernel);
        let Shape { grid, block, shared_bytes, is_cooperative } = shape;
        let arguments = arguments.as_mut_ptr().cast();
        unsafe {
            if is_cooperative {
                cuLaunchCooperativeKernel(function, grid, 1, 1, block, 1, 1, shared_bytes, stream, arguments)
            } else {
                let none = ptr::null_mut();
                cuLaunchKernel(function, grid, 1, 1, block, 1, 1, shared_bytes, stream, arguments, none)
            }
        }
    }

    pub fn finish(&self) -> u32 {
        unsafe { cuStreamSynchronize(ptr::null_mut()) }
    }

    /// Launches and waits; all has to go well.
    #[track_caller]
    pub fn run(&self, kernel: &str, shape: Shape, arguments: &[u64]) {
        ok(self.launch(kernel, shape, arguments));
        ok(self.finish());
    }
}

/// The text of a file of these tests.
pub fn read_file(folder: &str, file: &str) -> String {
    let path = format!("{}/tests/{folder}/{file}", env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

const CHILD: &str = "CUDA_EMULATOR_TEST_CHILD";

/// Whether this process was started by [`alone`]. From then on it has half a minute to live.
pub fn is_child() -> bool {
    let is_child = env::var_os(CHILD).is_some();
    if is_child {
        thread::spawn(|| {
            thread::sleep(Duration::from_secs(30));
            eprintln!("no end after half a minute");
            process::exit(3);
        });
    }
    is_child
}

/// Runs a test again, in a process of its own where [`is_child`], with these variables `CUDA_EMULATOR_*`.
pub fn alone(test: &str, variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env::current_exe().expect("a test knows its file"));
    command.args([test, "--exact", "--nocapture", "--test-threads=1"]).env(CHILD, "1");
    for (name, value) in variables {
        command.env(format!("CUDA_EMULATOR_{name}"), value);
    }
    command.output().expect("the file of the test starts")
}

/// What it wrote, both ways.
pub fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
