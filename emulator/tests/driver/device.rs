use crate::common::*;
use cuda_emulator::driver::{device::*, error::*, proc_address::cuGetProcAddress_v2, tools::cuda_emulator_build_id};
use std::{
    collections::BTreeSet,
    ffi::{CStr, CString, c_char},
    ptr,
};

fn attribute(attribute: u32) -> i32 {
    ok(unsafe { cuInit(0) });
    made(|out| unsafe { cuDeviceGetAttribute(out, attribute, 0) })
}

#[test]
fn one_device_says_that_it_is_an_emulator_of_a_card() {
    ok(unsafe { cuInit(0) });
    assert_eq!(unsafe { cuInit(1) }, INVALID_VALUE);
    assert_eq!(made(|out| unsafe { cuDeviceGetCount(out) }), 1);
    assert_eq!(made(|out| unsafe { cuDeviceGet(out, 0) }), 0);
    assert_eq!(made(|out| unsafe { cuDriverGetVersion(out) }), 13000);
    let mut name = [1 as c_char; 64];
    ok(unsafe { cuDeviceGetName(name.as_mut_ptr(), 64, 0) });
    assert_eq!(unsafe { CStr::from_ptr(name.as_ptr()) }, c"CUDA emulator (H100)");
    ok(unsafe { cuDeviceGetName(name.as_mut_ptr(), 5, 0) });
    assert_eq!(unsafe { CStr::from_ptr(name.as_ptr()) }, c"CUDA");
}

#[test]
fn attributes_are_those_of_an_h100() {
    let expected = [
        (1, 1024),      // threads a block
        (8, 48 << 10),  // shared memory a block
        (10, 32),       // warp
        (16, 132),      // SMs
        (37, 5120),     // bus
        (38, 50 << 20), // L2
        (39, 2048),     // threads an SM
        (75, 9),        // compute capability
        (76, 0),
        (81, 228 << 10), // shared memory an SM
        (97, 227 << 10), // shared memory a block may ask for
        (95, 1),         // cooperative launches
        (115, 1),        // cuMemAllocAsync
        (83, 1),         // managed memory
    ];
    for (id, value) in expected {
        assert_eq!(attribute(id), value, "attribute {id}");
    }
    let mut value = 0;
    for id in [0, 162, u32::MAX] {
        assert_eq!(unsafe { cuDeviceGetAttribute(&mut value, id, 0) }, INVALID_VALUE);
    }
}

#[test]
fn other_devices_and_null_pointers_are_errors() {
    ok(unsafe { cuInit(0) });
    let mut value = 0;
    for device in [-1, 1, i32::MAX] {
        assert_eq!(unsafe { cuDeviceGet(&mut value, device) }, INVALID_DEVICE);
        assert_eq!(unsafe { cuDeviceGetAttribute(&mut value, 1, device) }, INVALID_DEVICE);
        assert_eq!(unsafe { cuDeviceTotalMem_v2(ptr::null_mut(), device) }, INVALID_DEVICE);
    }
    assert_eq!(unsafe { cuDeviceGet(ptr::null_mut(), 0) }, INVALID_VALUE);
    assert_eq!(unsafe { cuDeviceGetCount(ptr::null_mut()) }, INVALID_VALUE);
    assert_eq!(unsafe { cuDeviceGetName(ptr::null_mut(), 10, 0) }, INVALID_VALUE);
    assert_eq!(unsafe { cuDeviceTotalMem_v2(ptr::null_mut(), 0) }, INVALID_VALUE);
    assert_eq!(unsafe { cuDriverGetVersion(ptr::null_mut()) }, INVALID_VALUE);
}

#[test]
fn every_code_has_a_name_and_a_text() {
    let text = |code, of: unsafe extern "C" fn(u32, *mut *const c_char) -> u32| {
        let mut out = ptr::null();
        let rc = unsafe { of(code, &mut out) };
        (rc == 0).then(|| unsafe { CStr::from_ptr(out) }.to_str().unwrap())
    };
    assert_eq!(text(0, cuGetErrorName), Some("CUDA_SUCCESS"));
    assert_eq!(text(700, cuGetErrorName), Some("CUDA_ERROR_ILLEGAL_ADDRESS"));
    assert_eq!(text(700, cuGetErrorString), Some("an illegal memory access was encountered"));
    assert_eq!(text(12345, cuGetErrorName), None);
    let names: Vec<&str> = (0..1000).filter_map(|code| text(code, cuGetErrorName)).collect();
    assert_eq!(names.len(), names.iter().collect::<BTreeSet<_>>().len());
    assert!(names.len() > 90, "{}", names.len());
    assert_eq!(unsafe { cuGetErrorName(0, ptr::null_mut()) }, INVALID_VALUE);
}

fn address(symbol: &str, version: i32) -> Option<usize> {
    let symbol = CString::new(symbol).unwrap();
    let (mut address, mut status) = (ptr::null_mut(), 9);
    let rc = unsafe { cuGetProcAddress_v2(symbol.as_ptr(), &mut address, version, 0, &mut status) };
    assert_eq!((rc == 0, rc == 0), (!address.is_null(), status == 0), "{symbol:?}");
    (rc == 0).then_some(address as usize)
}

#[test]
fn entry_points_are_found_by_name_and_version() {
    use cuda_emulator::driver::{context, graph, memory};
    let is = |found: Option<usize>, function: *const ()| assert_eq!(found, Some(function as usize));
    is(address("cuMemAlloc", 12000), memory::cuMemAlloc_v2 as *const ());
    is(address("cuCtxCreate", 12000), context::cuCtxCreate_v3 as *const ());
    is(address("cuCtxCreate", 12080), context::cuCtxCreate_v4 as *const ());
    // Version 2 of it exists and is not implemented.
    is(address("cuCtxSynchronize", 13000), context::cuCtxSynchronize as *const ());
    is(address("cuStreamGetCaptureInfo", 12000), graph::cuStreamGetCaptureInfo_v2 as *const ());
    is(address("cuStreamGetCaptureInfo", 12030), graph::cuStreamGetCaptureInfo_v3 as *const ());
    is(address("cuGraphInstantiate", 11040), graph::cuGraphInstantiate_v2 as *const ());
    is(address("cuGraphInstantiate", 12000), graph::cuGraphInstantiateWithFlags as *const ());
    assert!(address("cuGraphClone", 13000).is_some(), "it exists and is not implemented");
    assert_eq!(address("cuNothing", 13000), None);
}

#[test]
fn build_ids_of_both_crate_types_come_from_one_hash() {
    let id = unsafe { CStr::from_ptr(cuda_emulator_build_id()) };
    assert_eq!(id.to_str().unwrap(), cuda_emulator::BUILD_ID);
    assert_eq!(cuda_emulator::BUILD_ID.len(), 16);
}
