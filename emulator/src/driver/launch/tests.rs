//! What is refused, and how parameters arrive.

use super::*;

const KERNEL: Needs =
    Needs { max_threads: 1024, req_ntid: None, static_shared_bytes: 0, max_dynamic_shared_bytes: 48 << 10 };

fn verdict(needs: Needs, grid: [u32; 3], block: [u32; 3], shared: u32, is_cooperative: bool) -> Option<Error> {
    let shape = Shape { grid, block, dynamic_shared_bytes: shared };
    check(Card::ALL[0], &needs, shape, is_cooperative).err().map(|it| it.0)
}

#[test]
fn shapes_beyond_the_card_are_refused() {
    let plain = |grid, block| verdict(KERNEL, grid, block, 0, false);
    assert_eq!(plain([1, 1, 1], [1, 1, 1]), None);
    assert_eq!(plain([0x7fff_ffff, 65535, 65535], [1024, 1, 1]), None);
    for grid in [[0, 1, 1], [1, 1, 0], [0x8000_0000, 1, 1], [1, 65536, 1], [1, 1, 65536]] {
        assert_eq!(plain(grid, [1, 1, 1]), Some(Error::INVALID_VALUE), "{grid:?}");
    }
    for block in [[0, 1, 1], [1025, 1, 1], [1, 1, 65], [1024, 2, 1], [32, 32, 2], [u32::MAX; 3]] {
        assert_eq!(plain([1, 1, 1], block), Some(Error::INVALID_VALUE), "{block:?}");
    }
}

#[test]
fn blocks_that_the_kernel_excludes_are_refused() {
    let small = Needs { max_threads: 128, ..KERNEL };
    assert_eq!(verdict(small, [1; 3], [128, 1, 1], 0, false), None);
    assert_eq!(verdict(small, [1; 3], [129, 1, 1], 0, false), Some(Error::INVALID_VALUE));
    let exact = Needs { max_threads: 64, req_ntid: Some([32, 2, 1]), ..KERNEL };
    assert_eq!(verdict(exact, [1; 3], [32, 2, 1], 0, false), None);
    assert_eq!(verdict(exact, [1; 3], [64, 1, 1], 0, false), Some(Error::INVALID_VALUE));
}

#[test]
fn shared_memory_needs_to_be_asked_for_and_to_fit() {
    let block = [256, 1, 1];
    assert_eq!(verdict(KERNEL, [1; 3], block, 48 << 10, false), None);
    assert_eq!(verdict(KERNEL, [1; 3], block, (48 << 10) + 1, false), Some(Error::INVALID_VALUE));
    let raised = Needs { max_dynamic_shared_bytes: 227 << 10, ..KERNEL };
    assert_eq!(verdict(raised, [1; 3], block, 227 << 10, false), None);
    let too_much = Needs { static_shared_bytes: 1, ..raised };
    assert_eq!(verdict(too_much, [1; 3], block, 227 << 10, false), Some(Error::LAUNCH_OUT_OF_RESOURCES));
}

/// A `u32`, and a `u64` behind its padding.
const LAYOUT: [(u32, u32); 2] = [(0, 4), (8, 8)];
const BLOCK: [u8; 16] = [1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0];

fn copied(params: *mut *mut c_void, extra: *mut *mut c_void) -> Result<Box<[u8]>, Error> {
    // SAFETY: the tests pass what a program would.
    unsafe { copy_params(&LAYOUT, 16, Arguments { params, extra }) }.map_err(|it| it.0)
}

#[test]
fn parameters_come_one_by_one_or_as_a_block() {
    let (mut one, mut two) = (1u32, 2u64);
    let mut params = [(&raw mut one).cast::<c_void>(), (&raw mut two).cast()];
    assert_eq!(&*copied(params.as_mut_ptr(), ptr::null_mut()).unwrap(), BLOCK);

    let (mut block, mut bytes) = (BLOCK, 16usize);
    let [end, pointer, size] = [0, 1, 2].map(|name: usize| name as *mut c_void);
    let mut extra = [pointer, block.as_mut_ptr().cast(), size, (&raw mut bytes).cast(), end];
    assert_eq!(&*copied(ptr::null_mut(), extra.as_mut_ptr()).unwrap(), BLOCK);
}

#[test]
fn missing_or_contradicting_parameters_are_errors() {
    let mut one = 1u32;
    let mut params = [(&raw mut one).cast::<c_void>(), ptr::null_mut()];
    assert_eq!(copied(params.as_mut_ptr(), ptr::null_mut()), Err(Error::INVALID_VALUE));
    assert_eq!(copied(ptr::null_mut(), ptr::null_mut()), Err(Error::INVALID_VALUE));
    let mut end = [ptr::null_mut()];
    assert_eq!(copied(params.as_mut_ptr(), end.as_mut_ptr()), Err(Error::INVALID_VALUE), "both ways at once");
    let (mut long, mut bytes) = ([0u8; 17], 17usize);
    let [end, pointer, size] = [0, 1, 2].map(|name: usize| name as *mut c_void);
    let mut extra = [pointer, long.as_mut_ptr().cast(), size, (&raw mut bytes).cast(), end];
    assert_eq!(copied(ptr::null_mut(), extra.as_mut_ptr()), Err(Error::INVALID_VALUE), "more than the kernel has");
    let mut extra = [pointer, long.as_mut_ptr().cast(), size, ptr::null_mut(), end];
    assert_eq!(copied(ptr::null_mut(), extra.as_mut_ptr()), Err(Error::INVALID_VALUE), "the size is missing");
    let mut unknown = [9 as *mut c_void];
    assert_eq!(copied(ptr::null_mut(), unknown.as_mut_ptr()), Err(Error::INVALID_VALUE));
}

#[test]
fn launch_attributes_are_honoured_or_refused() {
    let read = |id, value: [u32; 3]| {
        let mut attribute = LaunchAttribute { id, pad: 0, value: [0; 16] };
        attribute.value[..3].copy_from_slice(&value);
        read_attribute(&attribute)
    };
    assert_eq!((read(2, [1, 0, 0]), read(2, [0, 0, 0])), (Ok(true), Ok(false)));
    assert_eq!((read(4, [1, 1, 1]), read(4, [2, 1, 1])), (Ok(false), Err(Error::NOT_SUPPORTED)));
    assert_eq!((read(6, [1, 0, 0]), read(7, [0; 3])), (Ok(false), Err(Error::NOT_SUPPORTED)));
}

#[test]
fn a_cooperative_grid_has_to_be_resident() {
    // 2048 threads an SM: two blocks of 1024 on each of 132 SMs.
    let cooperative = |n_blocks, shared| verdict(KERNEL, [n_blocks, 1, 1], [1024, 1, 1], shared, true);
    assert_eq!(cooperative(264, 0), None);
    assert_eq!(cooperative(265, 0), Some(Error::COOPERATIVE_LAUNCH_TOO_LARGE));
    assert_eq!(verdict(KERNEL, [265, 1, 1], [1024, 1, 1], 0, false), None);
    // 228 KiB an SM hold four blocks of 48 KiB, with 1 KiB for the system each.
    let with_shared = |n_blocks| verdict(KERNEL, [n_blocks, 1, 1], [32, 1, 1], 48 << 10, true);
    assert_eq!(with_shared(4 * 132), None);
    assert_eq!(with_shared(4 * 132 + 1), Some(Error::COOPERATIVE_LAUNCH_TOO_LARGE));
}
