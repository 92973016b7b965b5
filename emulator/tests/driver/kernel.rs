//! Kernels for the tests: PTX text to a function, and a launch of it.

use crate::common::*;
use cuda_emulator::driver::{Handle, copy::*, launch::*, module::*, stream::*, tools::*};
use std::{
    ffi::{CStr, CString, c_void},
    ptr,
};

/// The directives that every module begins with.
pub const HEADER: &str = ".version 8.0\n.target sm_80\n.address_size 64\n";

/// One kernel, or a whole module with it, ready to launch.
#[derive(Clone, Copy)]
pub struct Kernel {
    pub module: Handle,
    pub function: Handle,
}

impl Kernel {
    /// Loads [`HEADER`] and `body`.
    #[track_caller]
    pub fn new(body: &str, name: &str) -> Self {
        Self::of_module(&format!("{HEADER}{body}"), name)
    }

    /// Loads a whole module.
    #[track_caller]
    pub fn of_module(text: &str, name: &str) -> Self {
        let text = CString::new(text).unwrap();
        let module = handle(|out| unsafe { cuModuleLoadData(out, text.as_ptr().cast()) });
        let name = CString::new(name).unwrap();
        Self { module, function: handle(|out| unsafe { cuModuleGetFunction(out, module, name.as_ptr()) }) }
    }

    /// Queues a launch. Each parameter is 8 bytes, of which the kernel takes as many low ones as it declares.
    pub fn launch(self, grid: [u32; 3], block: [u32; 3], shared_bytes: u32, stream: Handle, params: &[u64]) -> u32 {
        let mut params = params.to_vec();
        let mut pointers: Vec<*mut c_void> = params.iter_mut().map(|it| ptr::from_mut(it).cast()).collect();
        let ([gx, gy, gz], [bx, by, bz]) = (grid, block);
        let pointers = pointers.as_mut_ptr();
        unsafe {
            cuLaunchKernel(self.function, gx, gy, gz, bx, by, bz, shared_bytes, stream, pointers, ptr::null_mut())
        }
    }

    /// Launches and waits: the code of the whole.
    pub fn run(self, grid: u32, block: u32, params: &[u64]) -> u32 {
        match self.launch([grid, 1, 1], [block, 1, 1], 0, NULL, params) {
            0 => unsafe { cuStreamSynchronize(NULL) },
            code => code,
        }
    }
}

/// Runs a kernel of `out` alone, on `n_threads` threads of one block, and returns the word that each wrote.
#[track_caller]
pub fn words(body: &str, n_threads: u32) -> Vec<u32> {
    let out = upload(&vec![0xdead_beef; n_threads as usize]);
    ok(Kernel::new(body, "k").run(1, n_threads, &[out]));
    download(out, n_threads as usize)
}

/// A kernel `k` of `out` [n_threads]: `body` leaves in `%r0` what each thread writes. There are registers %r0-15, %rd0-7,
/// %p0-7; `%me` holds the thread's index.
pub fn per_thread(body: &str) -> String {
    format!(
        ".visible .entry k(.param .u64 out) {{
            .reg .b32 %r<16>; .reg .b32 %me; .reg .b64 %rd<8>; .reg .pred %p<8>; .reg .b64 %at;
            mov.u32 %me, %tid.x;
            {body}
            ld.param.u64 %at, [out];
            mad.wide.u32 %at, %me, 4, %at;
            st.global.u32 [%at], %r0;
            ret;
        }}"
    )
}

#[track_caller]
pub fn upload(words: &[u32]) -> u64 {
    let address = device_memory(words.len() * 4);
    ok(unsafe { cuMemcpyHtoD_v2(address, words.as_ptr().cast(), words.len() * 4) });
    address
}

#[track_caller]
pub fn download(address: u64, n: usize) -> Vec<u32> {
    let mut words = vec![0; n];
    ok(unsafe { cuMemcpyDtoH_v2(words.as_mut_ptr().cast(), address, n * 4) });
    words
}

/// Totals of a kernel since the process began: its name should be the test's own.
#[track_caller]
pub fn counters(kernel: &CStr) -> Totals {
    made(|out| unsafe { cuda_emulator_counters(kernel.as_ptr(), size_of::<Totals>(), out) })
}
