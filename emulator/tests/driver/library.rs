//! Modules in other ways: libraries, the linker, fat binaries, and the logs of what goes wrong.

use crate::{common::*, kernel::*};
use cuda_emulator::driver::{
    Handle, context::*, copy::*, function::*, launch::*, library::*, link::*, module::*, stream::*,
};
use std::{
    ffi::{CStr, CString, c_void},
    ptr,
};

const INVALID_PTX: u32 = 218;
const UNSUPPORTED_PTX_VERSION: u32 = 222;

const SET: &str = ".visible .global .align 4 .u32 word;
.visible .entry set(.param .u32 n) {
    .reg .b32 %r1; .reg .b64 %rd1;
    ld.param.u32 %r1, [n];
    mov.u64 %rd1, word;
    st.global.u32 [%rd1], %r1;
    ret;
}";

fn text(body: &str) -> CString {
    CString::new(format!("{HEADER}{body}")).unwrap()
}

#[track_caller]
fn load_library(text: &CStr) -> Handle {
    let (code, none, nothing) = (text.as_ptr().cast(), ptr::null_mut(), ptr::null_mut());
    handle(|out| unsafe { cuLibraryLoadData(out, code, none, nothing, 0, ptr::null_mut(), ptr::null_mut(), 0) })
}

fn launch(kernel: Handle, n: u32) -> u32 {
    let mut n = n;
    let mut params = [(&raw mut n).cast::<c_void>()];
    unsafe { cuLaunchKernel(kernel, 1, 1, 1, 1, 1, 1, 0, NULL, params.as_mut_ptr(), ptr::null_mut()) }
}

#[test]
fn a_library_has_a_module_in_every_context() {
    let first = Context::new();
    let library = load_library(&text(SET));
    let kernel = handle(|out| unsafe { cuLibraryGetKernel(out, library, c"set".as_ptr()) });
    let word = || made::<u64>(|out| unsafe { cuLibraryGetGlobal(out, ptr::null_mut(), library, c"word".as_ptr()) });
    ok(launch(kernel, 5));
    assert_eq!(read(word(), NULL), 5);
    let of_first = word();
    {
        let _second = Context::new();
        assert_ne!(word(), of_first);
        ok(launch(kernel, 6));
        assert_eq!(read(word(), NULL), 6);
    }
    ok(unsafe { cuCtxSetCurrent(first.0) });
    assert_eq!(read(of_first, NULL), 5);
    let function = handle(|out| unsafe { cuKernelGetFunction(out, kernel) });
    ok(launch(function, 8));
    assert_eq!(made::<usize>(|out| unsafe { cuKernelGetParamCount(kernel, out) }), 1);
    assert_eq!(made::<u32>(|out| unsafe { cuFuncIsLoaded(out, function) }), 1);
    let name: Handle = handle(|out| unsafe { cuKernelGetName(out.cast(), kernel) });
    assert_eq!(unsafe { CStr::from_ptr(name.cast()) }, c"set");
    assert_eq!(unsafe { cuLibraryGetKernel(&mut ptr::null_mut(), library, c"other".as_ptr()) }, NOT_FOUND);
    ok(unsafe { cuLibraryUnload(library) });
    assert_eq!(launch(kernel, 1), INVALID_HANDLE);
    assert_eq!(unsafe { cuLibraryUnload(library) }, INVALID_HANDLE);
}

#[test]
fn the_linker_makes_an_image_of_one_input() {
    let _context = Context::new();
    let link = handle(|out| unsafe { cuLinkCreate_v2(0, ptr::null_mut(), ptr::null_mut(), out) });
    let text = text(SET);
    let add = |bytes: &[u8]| unsafe {
        let data = bytes.as_ptr().cast_mut().cast();
        cuLinkAddData_v2(link, 1, data, bytes.len(), ptr::null(), 0, ptr::null_mut(), ptr::null_mut())
    };
    assert_eq!(add(b"no PTX"), INVALID_PTX);
    ok(add(text.as_bytes_with_nul()));
    assert_eq!(add(text.as_bytes()), NOT_SUPPORTED);
    let image = handle(|out| unsafe { cuLinkComplete(link, out, ptr::null_mut()) });
    let module = handle(|out| unsafe { cuModuleLoadData(out, image) });
    ok(unsafe { cuLinkDestroy(link) });
    assert_eq!(made::<u32>(|out| unsafe { cuModuleGetFunctionCount(out, module) }), 1);
    let function = handle(|out| unsafe { cuModuleEnumerateFunctions(out, 1, module) });
    ok(launch(function, 3));
    ok(unsafe { cuStreamSynchronize(NULL) });
}

#[test]
fn the_ptx_of_a_fat_binary_is_loaded() {
    let _context = Context::new();
    let text = text(SET);
    let mut entry = vec![0u8; 64];
    entry[0] = 1;
    entry[4] = 64;
    entry[8..16].copy_from_slice(&(text.as_bytes().len() as u64).to_le_bytes());
    entry[28] = 80;
    entry.extend(text.as_bytes());
    let mut image = 0xba55_ed50_u32.to_le_bytes().to_vec();
    image.extend([1, 0, 16, 0]);
    image.extend((entry.len() as u64).to_le_bytes());
    image.extend(entry);
    let module = handle(|out| unsafe { cuModuleLoadFatBinary(out, image.as_ptr().cast()) });
    let function = handle(|out| unsafe { cuModuleGetFunction(out, module, c"set".as_ptr()) });
    ok(launch(function, 3));
    ok(unsafe { cuStreamSynchronize(NULL) });
}

/// Loads with an error log: the code and the log.
fn log_of(text: &str) -> (u32, String) {
    let text = CString::new(text).unwrap();
    let mut log = [0u8; 400];
    let mut names = [5, 6, 2]; // ERROR_LOG_BUFFER and its size, WALL_TIME
    let mut values = [log.as_mut_ptr().cast(), log.len() as *mut c_void, ptr::null_mut()];
    let (names, out) = (names.as_mut_ptr(), &mut ptr::null_mut());
    let code = unsafe { cuModuleLoadDataEx(out, text.as_ptr().cast(), 3, names, values.as_mut_ptr()) };
    assert!(f32::from_bits(values[2] as usize as u32) > 0.0, "the time is written");
    let n = values[1] as usize;
    assert_eq!(log[n - 1], 0, "the size counts the NUL");
    (code, String::from_utf8(log[..n - 1].to_vec()).unwrap())
}

#[test]
fn the_error_log_says_where_and_what() {
    let _context = Context::new();
    let (code, log) = log_of(&format!("{HEADER}.visible .entry k() {{\n  ret\n}}"));
    assert_eq!(code, INVALID_PTX);
    assert!(log.contains("ptx line 6, column 1: expected an operand"), "{log}");
    let (code, log) = log_of(&format!("{HEADER}.visible .entry k() {{\n  wgmma.fence.sync.aligned;\n  ret;\n}}"));
    assert_eq!(code, INVALID_PTX);
    assert!(log.contains("kernel k, ptx line 5: `wgmma.fence.sync.aligned;` is not supported"), "{log}");
    let (code, log) = log_of(".version 9.9\n.target sm_80\n.address_size 64\n");
    assert_eq!(code, UNSUPPORTED_PTX_VERSION);
    assert!(log.contains("9.9") && log.contains("9.0"), "{log}");
}

#[test]
fn wrong_options_are_refused() {
    let _context = Context::new();
    let text = text(SET);
    let load = |name: u32, value: usize| unsafe {
        let (mut name, mut value) = (name, value as *mut c_void);
        cuModuleLoadDataEx(&mut ptr::null_mut(), text.as_ptr().cast(), 1, &mut name, &mut value)
    };
    assert_eq!((load(7, 4), load(7, 5), load(12, 1), load(99, 0)), (0, INVALID_VALUE, 0, INVALID_VALUE));
    ok(unsafe { cuMemsetD8_v2(device_memory(1), 0, 1) });
}
