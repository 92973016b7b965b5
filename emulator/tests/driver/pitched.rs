//! Copies and memsets of rows and slices.

use crate::{common::*, kernel::*};
use cuda_emulator::driver::{copy_pitched::*, stream::*};
use std::mem::MaybeUninit;

const HOST: u32 = 1;
const DEVICE: u32 = 2;

fn zeroed<T>() -> T {
    unsafe { MaybeUninit::zeroed().assume_init() }
}

#[test]
fn a_rectangle_moves_between_pitches() {
    let _context = Context::new();
    // 3 rows of 2 words at column 1, row 1 of a 5-word-wide source.
    let source: Vec<u32> = (0..25).collect();
    let device = upload(&[99; 12]);
    let mut params: Copy2D = zeroed();
    params.from =
        End2D { x_bytes: 4, y: 1, memory_type: HOST, host: source.as_ptr().cast_mut().cast(), pitch: 20, ..zeroed() };
    params.to = End2D { memory_type: DEVICE, device, pitch: 16, ..zeroed() };
    (params.width_bytes, params.height) = (8, 3);
    ok(unsafe { cuMemcpy2D_v2(&params) });
    assert_eq!(download(device, 12), [6, 7, 99, 99, 11, 12, 99, 99, 16, 17, 99, 99]);
    // Back into an image without gaps.
    let mut back = [0u32; 6];
    params.to = End2D { memory_type: HOST, host: back.as_mut_ptr().cast(), pitch: 8, ..zeroed() };
    params.from = End2D { memory_type: DEVICE, device, pitch: 16, ..zeroed() };
    ok(unsafe { cuMemcpy2DAsync_v2(&params, NULL) });
    assert_eq!(back, [6, 7, 11, 12, 16, 17]);
}

#[test]
fn a_box_moves_slice_by_slice() {
    let _context = Context::new();
    let source: Vec<u32> = (0..24).collect(); // 2 slices of 3 rows of 4
    let (from, to) = (upload(&source), upload(&[0; 8]));
    let mut params: Copy3D = zeroed();
    params.from = End3D { x_bytes: 8, y: 1, memory_type: DEVICE, device: from, pitch: 16, height: 3, ..zeroed() };
    params.to = End3D { memory_type: DEVICE, device: to, pitch: 8, height: 2, ..zeroed() };
    (params.width_bytes, params.height, params.depth) = (8, 2, 2);
    ok(unsafe { cuMemcpy3D_v2(&params) });
    assert_eq!(download(to, 8), [6, 7, 10, 11, 18, 19, 22, 23]);
}

#[test]
fn rows_beyond_an_allocation_and_arrays_are_refused() {
    let _context = Context::new();
    let device = device_memory(64);
    let mut params: Copy2D = zeroed();
    params.from = End2D { memory_type: DEVICE, device, pitch: 32, ..zeroed() };
    params.to = params.from;
    (params.width_bytes, params.height) = (32, 3);
    assert_eq!(unsafe { cuMemcpy2D_v2(&params) }, INVALID_VALUE);
    params.height = usize::MAX;
    assert_eq!(unsafe { cuMemcpy2D_v2(&params) }, INVALID_VALUE);
    params.height = 2;
    ok(unsafe { cuMemcpy2D_v2(&params) });
    params.to.memory_type = 3;
    assert_eq!(unsafe { cuMemcpy2D_v2(&params) }, NOT_SUPPORTED);
}

#[test]
fn a_memset_leaves_the_gaps_between_rows() {
    let _context = Context::new();
    let device = upload(&[1; 8]);
    ok(unsafe { cuMemsetD2D32_v2(device, 16, 7, 2, 2) });
    assert_eq!(download(device, 8), [7, 7, 1, 1, 7, 7, 1, 1]);
    ok(unsafe { cuMemsetD2D16Async(device, 16, 5, 2, 2, NULL) });
    ok(unsafe { cuStreamSynchronize(NULL) });
    assert_eq!(download(device, 8), [0x5_0005, 7, 1, 1, 0x5_0005, 7, 1, 1]);
    assert_eq!(unsafe { cuMemsetD2D32_v2(device, 6, 7, 1, 2) }, INVALID_VALUE, "rows that are not aligned");
}
