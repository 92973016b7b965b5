use crate::common::*;
use cuda_emulator::driver::{Handle, function::*, launch::*, module::*, tools::*};
use std::{
    ffi::{CStr, CString, c_char, c_void},
    ptr,
};

const INVALID_PTX: u32 = 218;
const UNSUPPORTED_PTX_VERSION: u32 = 222;
const NO_BINARY_FOR_GPU: u32 = 209;

/// Loads PTX with a log of `room` bytes: the code, and the log.
fn load(ptx: &str, room: usize) -> (u32, String) {
    const ERROR_LOG: [u32; 2] = [5, 6];
    let ptx = CString::new(ptx).unwrap();
    let mut log = vec![b'?' as c_char; room + 1];
    let mut options = ERROR_LOG;
    let mut values = [log.as_mut_ptr().cast::<c_void>(), room as *mut c_void];
    let mut module = ptr::null_mut();
    let code =
        unsafe { cuModuleLoadDataEx(&mut module, ptx.as_ptr().cast(), 2, options.as_mut_ptr(), values.as_mut_ptr()) };
    assert_eq!(log[room], b'?' as c_char, "the log ends where it was said to");
    let text = unsafe { CStr::from_ptr(log.as_ptr()) }.to_str().unwrap().to_owned();
    assert_eq!(values[1] as usize, text.len() + 1, "the size is now the length");
    (code, text)
}

#[test]
fn what_the_card_cannot_run_is_refused_with_a_reason() {
    let _context = Context::new();
    for (ptx, expected, reason) in [
        ("this is no PTX", INVALID_PTX, ""),
        (".version 9.1\n.target sm_80\n.address_size 64\n", UNSUPPORTED_PTX_VERSION, ".version 9.1"),
        (".version 9.0\n.target sm_100\n.address_size 64\n", NO_BINARY_FOR_GPU, "sm_100, the card is sm_90"),
        (".version 9.0\n.target sm_80a\n.address_size 64\n", NO_BINARY_FOR_GPU, "sm_80a"),
        ("\x7fELF and more", NO_BINARY_FOR_GPU, "machine code"),
    ] {
        let (code, log) = load(ptx, 500);
        assert_eq!(code, expected, "{ptx}: {log}");
        assert!(!log.is_empty() && log.contains(reason), "{log}");
        let (_, short) = load(ptx, 10);
        assert_eq!(short, log[..9], "a short log is cut");
    }
}

#[test]
fn an_unsupported_instruction_is_named_when_the_module_is_loaded() {
    let _context = Context::new();
    let ptx = ".version 8.0\n.target sm_80\n.address_size 64\n.visible .entry width(.param .u64 at) {
    .reg .b64 %rd1; .reg .b32 %r1;
    ld.param.u64 %rd1, [at];
    suq.width.b32 %r1, [%rd1];
    ret;
}\n";
    let (code, log) = load(ptx, 500);
    assert_eq!(code, INVALID_PTX);
    for part in ["kernel width", "ptx line 7", "`suq.width.b32 %r1, [%rd1];`", "is not supported"] {
        assert!(log.contains(part), "`{part}` is not in: {log}");
    }
}

#[test]
fn wrong_pointers_and_handles_are_errors() {
    let _context = Context::new();
    let mut out = ptr::null_mut();
    unsafe {
        assert_eq!(cuModuleLoadData(&mut out, ptr::null()), INVALID_VALUE);
        assert_eq!(cuModuleLoadData(ptr::null_mut(), c"".as_ptr().cast()), INVALID_VALUE);
        assert_eq!(
            cuModuleLoadDataEx(&mut out, c"".as_ptr().cast(), 1, ptr::null_mut(), ptr::null_mut()),
            INVALID_VALUE
        );
        assert_eq!(cuModuleLoad(&mut out, c"/nowhere/at/all.ptx".as_ptr()), 301);
        for bad in BAD_HANDLES.into_iter().chain([NULL]) {
            let (mut value, mut bytes) = (0, 0);
            assert_eq!(cuModuleUnload(bad), INVALID_HANDLE);
            assert_eq!(cuModuleGetFunction(&mut out, bad, c"f".as_ptr()), INVALID_HANDLE);
            assert_eq!(cuModuleGetGlobal_v2(ptr::null_mut(), &mut bytes, bad, c"g".as_ptr()), INVALID_HANDLE);
            assert_eq!(cuFuncGetAttribute(&mut value, 0, bad), INVALID_HANDLE);
            assert_eq!(cuFuncSetAttribute(bad, 8, 0), INVALID_HANDLE);
            assert_eq!(launch(bad), INVALID_HANDLE);
        }
        assert_eq!(cuLaunchKernelEx(ptr::null(), NULL, ptr::null_mut(), ptr::null_mut()), INVALID_VALUE);
    }
}

fn launch(function: Handle) -> u32 {
    unsafe { cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, NULL, ptr::null_mut(), ptr::null_mut()) }
}

#[test]
fn counters_of_a_kernel_that_never_ran_are_not_found() {
    let _context = Context::new();
    let mut totals = Totals::default();
    assert_eq!(unsafe { cuda_emulator_counters(c"nothing".as_ptr(), size_of::<Totals>(), &mut totals) }, NOT_FOUND);
    ok(unsafe { cuda_emulator_counters(ptr::null(), size_of::<Totals>(), &mut totals) });
    assert_eq!(unsafe { cuda_emulator_counters(ptr::null(), 8, ptr::null_mut()) }, INVALID_VALUE);
}
