use crate::common::*;
use cuda_emulator::driver::{copy::*, host_memory::*, memory::*, pointer::*, stream::*};
use std::{ffi::c_void, ptr};

#[test]
fn device_memory_is_aligned_and_no_host_memory() {
    let _context = Context::new();
    let addresses: Vec<u64> = (1..100).map(device_memory).collect();
    for address in &addresses {
        assert_eq!(address % 256, 0);
        assert!(*address >= 1 << 47, "no x86-64 process maps {address:#x}");
    }
    assert!(addresses.iter().any(|address| address % 512 != 0), "nobody may count on more than 256");
    for address in addresses {
        ok(unsafe { cuMemFree_v2(address) });
    }
}

#[test]
fn wrong_sizes_and_pointers_are_errors() {
    let _context = Context::new();
    let mut out = 0;
    assert_eq!(unsafe { cuMemAlloc_v2(&mut out, 0) }, INVALID_VALUE);
    assert_eq!(unsafe { cuMemAlloc_v2(ptr::null_mut(), 1) }, INVALID_VALUE);
    for bytes in [usize::MAX, 1 << 46] {
        assert_eq!(unsafe { cuMemAlloc_v2(&mut out, bytes) }, OUT_OF_MEMORY);
        assert_eq!(unsafe { cuMemAllocAsync(&mut out, bytes, NULL) }, OUT_OF_MEMORY);
    }
    let address = device_memory(100);
    let on_host = ptr::from_mut(&mut out) as u64;
    for wrong in [address + 1, address + 256, on_host, 1, u64::MAX] {
        assert_eq!(unsafe { cuMemFree_v2(wrong) }, INVALID_VALUE);
        assert_eq!(unsafe { cuMemFreeAsync(wrong, NULL) }, INVALID_VALUE);
    }
    assert_eq!(unsafe { cuMemFreeHost(address as *mut c_void) }, INVALID_VALUE);
    ok(unsafe { cuMemFree_v2(address) });
    ok(unsafe { cuMemFree_v2(0) });
    ok(unsafe { cuMemFreeHost(ptr::null_mut()) });
}

#[test]
fn memory_is_freed_once_and_asynchronous_memory_is_usable_at_once() {
    succeeds("memory::child_freed_once", &[]);
}

/// Alone in its process: another test could be given the address.
#[test]
#[ignore = "run by another test"]
fn child_freed_once() {
    let _context = Context::new();
    let address = device_memory(100);
    ok(unsafe { cuMemFree_v2(address) });
    assert_eq!(unsafe { cuMemFree_v2(address) }, INVALID_VALUE, "freed twice");
    let stream = non_blocking_stream();
    let address: u64 = made(|out| unsafe { cuMemAllocAsync(out, 64, stream) });
    ok(unsafe { cuMemsetD32Async(address, 5, 16, stream) });
    assert_eq!(read(address + 60, stream), 5);
    ok(unsafe { cuMemFreeAsync(address, stream) });
    assert_eq!(unsafe { cuMemFreeAsync(address, stream) }, INVALID_VALUE, "freed twice");
    assert_eq!(unsafe { cuMemFree_v2(address) }, INVALID_VALUE, "freed twice");
    ok(unsafe { cuStreamSynchronize(stream) });
    assert_eq!(unsafe { cuMemsetD8_v2(address, 0, 64) }, INVALID_VALUE, "it is gone");
    // No bytes are null, as CUDA's allocator gives.
    assert_eq!(made::<u64>(|out| unsafe { cuMemAllocAsync(out, 0, stream) }), 0);
    ok(unsafe { cuMemFreeAsync(0, stream) });
}

#[test]
fn pinned_memory_has_one_address_and_its_flags() {
    let _context = Context::new();
    let pointer = handle(|out| unsafe { cuMemHostAlloc(out, 100, 1) });
    assert_eq!(made::<u64>(|out| unsafe { cuMemHostGetDevicePointer_v2(out, pointer, 0) }), pointer as u64);
    assert_eq!(made::<u32>(|out| unsafe { cuMemHostGetFlags(out, pointer) }), 3);
    assert_eq!(made::<u32>(|out: *mut u32| unsafe { cuPointerGetAttribute(out.cast(), 2, pointer as u64) }), 1);
    let device = device_memory(16);
    let mut out = 0;
    assert_eq!(made::<u32>(|out: *mut u32| unsafe { cuPointerGetAttribute(out.cast(), 2, device + 3) }), 2);
    assert_eq!(made::<u64>(|out: *mut u64| unsafe { cuPointerGetAttribute(out.cast(), 11, device + 3) }), device);
    assert_eq!(unsafe { cuMemHostGetDevicePointer_v2(&mut out, device as *mut c_void, 0) }, INVALID_VALUE);
    assert_eq!(unsafe { cuMemHostAlloc(ptr::null_mut(), 1, 0) }, INVALID_VALUE);
    let mut other = ptr::null_mut();
    assert_eq!(unsafe { cuMemHostAlloc(&mut other, 1, 8) }, INVALID_VALUE);
    assert_eq!(unsafe { cuMemHostAlloc(&mut other, 0, 0) }, INVALID_VALUE);
    assert_eq!(unsafe { cuMemFree_v2(pointer as u64) }, INVALID_VALUE);
    ok(unsafe { cuMemFreeHost(pointer) });
    assert_eq!(unsafe { cuMemFreeHost(pointer) }, INVALID_VALUE);
}

#[test]
fn registered_memory_is_pinned_until_it_is_not() {
    let _context = Context::new();
    let mut own = vec![1u8; 10_000];
    let pointer: *mut c_void = own.as_mut_ptr().cast();
    ok(unsafe { cuMemHostRegister_v2(pointer, 10_000, 2) });
    assert_eq!(unsafe { cuMemHostRegister_v2(pointer, 1, 0) }, 712);
    ok(unsafe { cuMemsetD8_v2(pointer as u64, 9, 10_000) });
    assert_eq!(own, vec![9; 10_000]);
    assert_eq!(unsafe { cuMemFreeHost(pointer) }, INVALID_VALUE);
    ok(unsafe { cuMemHostUnregister(pointer) });
    assert_eq!(unsafe { cuMemHostUnregister(pointer) }, 713);
    assert_eq!(unsafe { cuMemsetD8_v2(pointer as u64, 9, 1) }, INVALID_VALUE, "no device address any more");
    for (pointer, bytes) in [(ptr::null_mut(), 1), (pointer, 0), (pointer, usize::MAX)] {
        assert_eq!(unsafe { cuMemHostRegister_v2(pointer, bytes, 0) }, INVALID_VALUE);
    }
}

#[test]
fn only_memory_of_the_program_is_registered() {
    let _context = Context::new();
    let register = |address: u64, bytes, flags| unsafe { cuMemHostRegister_v2(address as *mut c_void, bytes, flags) };
    let device = device_memory(4096);
    for address in [device, device + (1 << 30), 1 << 48, (1 << 48) - 4096, 4096] {
        assert_eq!(register(address, 8192, 0), INVALID_VALUE, "{address:#x}");
    }
    // Two pages of the program, of which the second goes away, and then the right to write the first.
    let map = |rights| unsafe {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        libc::mmap(ptr::null_mut(), 8192, rights, flags, -1, 0) as u64
    };
    let own = map(libc::PROT_READ | libc::PROT_WRITE);
    assert_eq!(unsafe { libc::mprotect((own + 4096) as *mut c_void, 4096, libc::PROT_NONE) }, 0);
    assert_eq!((register(own, 8192, 0), register(own, 4096, 0)), (INVALID_VALUE, 0));
    ok(unsafe { cuMemHostUnregister(own as *mut c_void) });
    let constant = map(libc::PROT_READ);
    assert_eq!((register(constant, 8192, 0), register(constant, 8192, 8)), (INVALID_VALUE, 0));
    ok(unsafe { cuMemHostUnregister(constant as *mut c_void) });
}

#[test]
fn an_address_range_is_its_allocation() {
    let _context = Context::new();
    let address = device_memory(1000);
    let (mut base, mut bytes) = (0, 0);
    ok(unsafe { cuMemGetAddressRange_v2(&mut base, &mut bytes, address + 999) });
    assert_eq!((base, bytes), (address, 1000));
    assert_eq!(unsafe { cuMemGetAddressRange_v2(&mut base, &mut bytes, address + 1000) }, NOT_FOUND);
}
