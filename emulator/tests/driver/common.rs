//! What the tests share: a context each, and Rust around the pointers.

use cuda_emulator::driver::{
    Handle, context::*, copy::*, device::*, event::*, host_memory::*, memory::*, stream::*, work::HostFunction,
};
use std::{
    env,
    ffi::c_void,
    process::{Command, Output},
    ptr,
    sync::{
        Mutex, MutexGuard, PoisonError,
        mpsc::{Receiver, Sender, channel},
    },
    time::Duration,
};

pub const INVALID_VALUE: u32 = 1;
pub const OUT_OF_MEMORY: u32 = 2;
pub const NOT_INITIALIZED: u32 = 3;
pub const INVALID_DEVICE: u32 = 101;
pub const INVALID_CONTEXT: u32 = 201;
pub const INVALID_HANDLE: u32 = 400;
pub const ILLEGAL_STATE: u32 = 401;
pub const NOT_FOUND: u32 = 500;
pub const NOT_READY: u32 = 600;
pub const ILLEGAL_ADDRESS: u32 = 700;
pub const CONTEXT_IS_DESTROYED: u32 = 709;
pub const NOT_PERMITTED: u32 = 800;
pub const NOT_SUPPORTED: u32 = 801;

pub const NULL: Handle = ptr::null_mut();

/// Handles that are none: null, not made yet, unaligned, the largest.
pub const BAD_HANDLES: [Handle; 4] = [3 as Handle, 0xdead_beef as Handle, 0x1001 as Handle, usize::MAX as Handle];

#[track_caller]
pub fn ok(code: u32) {
    assert_eq!(code, 0, "CUresult");
}

/// Calls `make` with room for its result.
#[track_caller]
pub fn made<T: Default>(make: impl FnOnce(*mut T) -> u32) -> T {
    let mut value = T::default();
    ok(make(&mut value));
    value
}

/// Like [`made`], for pointers.
#[track_caller]
pub fn handle(make: impl FnOnce(*mut Handle) -> u32) -> Handle {
    let mut value = ptr::null_mut();
    ok(make(&mut value));
    value
}

/// A context of the test's own, current on the test's thread; a fault in it breaks no other test.
pub struct Context(pub Handle);

impl Context {
    #[track_caller]
    pub fn new() -> Self {
        ok(unsafe { cuInit(0) });
        Self(handle(|out| unsafe { cuCtxCreate_v2(out, 0, 0) }))
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // A test may have destroyed it itself.
        unsafe { cuCtxDestroy_v2(self.0) };
    }
}

#[track_caller]
pub fn device_memory(bytes: usize) -> u64 {
    made(|out| unsafe { cuMemAlloc_v2(out, bytes) })
}

/// Pinned memory of one `u32`, with what is in it.
pub struct PinnedWord(pub *mut u32);

impl PinnedWord {
    #[track_caller]
    pub fn new(value: u32) -> Self {
        let pointer = handle(|out| unsafe { cuMemHostAlloc(out, 4, 0) }).cast();
        unsafe { ptr::write_volatile(pointer, value) };
        Self(pointer)
    }

    pub fn get(&self) -> u32 {
        unsafe { ptr::read_volatile(self.0) }
    }
}

pub fn blocking_stream() -> Handle {
    handle(|out| unsafe { cuStreamCreate(out, 0) })
}

pub fn non_blocking_stream() -> Handle {
    handle(|out| unsafe { cuStreamCreate(out, 1) })
}

pub fn event() -> Handle {
    handle(|out| unsafe { cuEventCreate(out, 0) })
}

/// The word at a device address, after all work of `stream`.
#[track_caller]
pub fn read(address: u64, stream: Handle) -> u32 {
    made(|out: *mut u32| unsafe { cuMemcpyDtoHAsync_v2(out.cast(), address, 4, stream) })
}

/// Queues a closure as a host function.
#[track_caller]
pub fn call(stream: Handle, function: impl FnOnce() + Send + 'static) {
    type Boxed = Box<dyn FnOnce() + Send>;
    unsafe extern "C" fn run(argument: *mut c_void) {
        let function = unsafe { Box::from_raw(argument.cast::<Boxed>()) };
        function();
    }
    let boxed: Boxed = Box::new(function);
    let argument = Box::into_raw(Box::new(boxed));
    ok(unsafe { cuLaunchHostFunc(stream, Some(run as HostFunction), argument.cast()) });
}

/// Held by tests that read the last fault, which is one for the process.
pub fn faults() -> MutexGuard<'static, ()> {
    static FAULTS: Mutex<()> = Mutex::new(());
    FAULTS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Work that holds its stream until it is released.
pub struct Gate {
    open: Sender<()>,
    reached: Receiver<()>,
}

impl Gate {
    #[track_caller]
    pub fn close(stream: Handle) -> Self {
        let (open, is_open) = channel::<()>();
        let (reach, reached) = channel();
        call(stream, move || {
            // The test may be over.
            let _ = reach.send(());
            let _ = is_open.recv_timeout(Duration::from_secs(20));
        });
        Self { open, reached }
    }

    /// Returns when the stream stands at the gate.
    pub fn wait_until_reached(&self) {
        self.reached.recv_timeout(Duration::from_secs(60)).expect("the worker runs what nobody waits for");
    }

    pub fn open(self) {
        self.open.send(()).expect("the gate waits");
    }
}

/// Runs the ignored test `child` alone in a new process, with these variables.
fn run(child: &str, variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args([child, "--exact", "--ignored", "--nocapture", "--test-threads=1"]);
    for (name, value) in variables {
        command.env(format!("CUDA_EMULATOR_{name}"), value);
    }
    command.output().unwrap()
}

/// Runs it and says what it wrote; it has to succeed.
#[track_caller]
pub fn succeeds(child: &str, variables: &[(&str, &str)]) -> Output {
    let output = run(child, variables);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{variables:?}: {text}{}", stderr(&output));
    output
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
