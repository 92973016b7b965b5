//! The device, on the emulator or, with `GALE_DEVICE=cuda`, on a GPU.

use gale::device::{Device, DeviceChoice, DeviceError, Grid};
use gale::kernels::Copy;

fn device() -> Device {
    let choice = std::env::var("GALE_DEVICE").unwrap_or("emulator".to_owned());
    Device::open(choice.parse().unwrap()).unwrap()
}

fn bytes(n: usize) -> Vec<u8> {
    (0..n).map(|i| (i * 7 + i / 251) as u8).collect()
}

#[test]
fn the_device_says_what_it_is() {
    let device = device();
    assert!(!device.name().is_empty());
    assert!(device.compute_capability() >= (8, 0));
    assert!(device.driver_version() >= (11, 4));
    assert!(device.n_multiprocessors() > 0);
    let (free, total) = device.memory_info().unwrap();
    assert!(0 < free && free <= total);
}

#[test]
fn what_is_uploaded_comes_back() {
    let device = device();
    let mut buffer = device.upload(&[1.5f32, -2.0, 3.25]).unwrap();
    assert_eq!(buffer.to_vec().unwrap(), [1.5, -2.0, 3.25]);
    buffer.copy_from_at(1, &[7.0]).unwrap();
    assert_eq!(buffer.to_vec().unwrap(), [1.5, 7.0, 3.25]);
    let mut tail = [0.0; 2];
    buffer.read_into(1, &mut tail).unwrap();
    assert_eq!(tail, [7.0, 3.25]);
    buffer.fill_zero().unwrap();
    assert_eq!(buffer.to_vec().unwrap(), [0.0; 3]);
    assert_eq!(device.zeroed::<u64>(&[2, 3]).unwrap().to_vec().unwrap(), [0; 6]);
}

#[test]
#[should_panic(expected = "2 elements from 2 on are not in 3")]
fn a_copy_past_the_end_is_our_bug() {
    let _ = device().upload(&[1u32, 2, 3]).unwrap().copy_from_at(2, &[4, 5]);
}

/// Fewer bytes than threads, and more, with a step of the loop only partly filled; on the fast grid and on others.
#[test]
fn the_copy_kernel_copies() {
    let device = device();
    for n in [16, 48, 256 * 16, 1024 * 1024 + 16] {
        let from = device.upload(&bytes(n)).unwrap();
        for grid in [None, Some(Grid::x(1)), Some(Grid::x(7))] {
            let mut to = device.zeroed(&[n]).unwrap();
            let copy = Copy { from: &from, to: &mut to, n: n as u64 };
            match grid {
                Some(grid) => copy.launch_grid(&device, grid).unwrap(),
                None => copy.launch(&device).unwrap(),
            }
            assert!(to.to_vec().unwrap() == bytes(n), "{n} bytes on {grid:?}");
        }
    }
}

#[test]
fn a_graph_replays_its_launches_and_owns_its_memory() {
    let device = device();
    let mut from = device.upload(&bytes(64)).unwrap();
    let mut to = device.zeroed(&[64]).unwrap();
    let mut end = device.zeroed(&[64]).unwrap();
    let graph = device
        .capture::<DeviceError>(|| {
            Copy { from: &from, to: &mut to, n: 64 }.launch(&device)?;
            Copy { from: &to, to: &mut end, n: 64 }.launch(&device)
        })
        .unwrap();
    assert_eq!(end.to_vec().unwrap(), [0; 64], "a capture does not run");
    let before = device.allocated_bytes();
    drop(to);
    assert_eq!(device.allocated_bytes(), before, "the graph still uses it");
    for fill in [3, 4] {
        from.copy_from(&[fill; 64]).unwrap();
        graph.launch().unwrap();
        assert_eq!(end.to_vec().unwrap(), [fill; 64]);
    }
    drop(graph);
    assert_eq!(device.allocated_bytes(), before - 64);
}

/// An error inside a capture comes out, and the stream is usable after it.
#[test]
fn a_failed_capture_leaves_the_device_usable() {
    let device = device();
    let failed = device.capture(|| Err(DeviceError::NoGpu { reason: "ours".to_owned() }));
    assert!(matches!(failed, Err(DeviceError::NoGpu { .. })));
    assert_eq!(device.upload(&[5u32]).unwrap().to_vec().unwrap(), [5]);
}

#[test]
fn a_kernel_writes_pinned_memory() {
    let device = device();
    let from = device.upload(&bytes(32)).unwrap();
    let mut to = device.alloc_pinned::<u8>(32).unwrap();
    assert_eq!(to.read(31), 0);
    Copy { from: &from, to: to.buffer_mut(), n: 32 }.launch(&device).unwrap();
    device.record().unwrap().wait().unwrap();
    assert_eq!((0..32).map(|i| to.read(i)).collect::<Vec<_>>(), bytes(32));

    let mut back = device.alloc::<u8>(&[32]).unwrap();
    to.write(0, 200);
    Copy { from: to.buffer(), to: &mut back, n: 32 }.launch(&device).unwrap();
    assert_eq!(back.to_vec().unwrap()[..2], [200, bytes(2)[1]]);
}

/// Filled again as soon as it may be, many times: a copy of what was there before, or of a mixture, would be seen.
#[test]
fn staging_is_filled_when_the_device_has_read_it() {
    let device = device();
    let mut staging = device.alloc_staging::<u8>(1 << 16).unwrap();
    let mut to: Vec<_> = (0..20).map(|_| device.alloc::<u8>(&[staging.len()]).unwrap()).collect();
    for (i, to) in to.iter_mut().enumerate() {
        staging.fill().unwrap().fill(i as u8);
        let copy = |from: &_| Copy { from, to, n: 1 << 16 }.launch_grid(&device, Grid::x(1));
        staging.read_by(&device, copy).unwrap();
    }
    for (i, to) in to.iter().enumerate() {
        assert!(to.to_vec().unwrap().iter().all(|it| *it == i as u8), "{i}");
    }
    assert!(!staging.busy().unwrap().is_zero());
}

#[test]
fn kernels_are_loaded_once() {
    let device = device();
    let took = device.load_kernels().unwrap();
    assert!(!took.is_zero() && !device.opened_in().is_zero());
    assert_eq!(device.load_kernels().unwrap(), took);
}

#[test]
fn events_measure_time() {
    let device = device();
    let before = device.record().unwrap();
    device.zeroed::<u8>(&[1 << 20]).unwrap();
    let after = device.record().unwrap();
    assert!(before.elapsed_ms(&after).unwrap() >= 0.0);
}

#[test]
fn live_buffers_are_counted() {
    let device = device();
    assert_eq!(device.allocated_bytes(), 0);
    let a = device.alloc::<f32>(&[3, 5]).unwrap();
    let b = device.alloc::<u8>(&[7]).unwrap();
    let pinned = device.alloc_pinned::<u32>(4).unwrap();
    assert_eq!(device.allocated_bytes(), 67, "pinned memory is the host's");
    drop((a, pinned));
    assert_eq!(device.allocated_bytes(), 7);
    drop(b);
    assert_eq!(device.allocated_bytes(), 0);
}

#[test]
fn running_out_of_memory_says_how_much_there_is() {
    let device = device();
    let (_, total) = device.memory_info().unwrap();
    let error = device.alloc::<u8>(&[total + 1]).unwrap_err();
    let DeviceError::OutOfMemory { requested, total: said, .. } = error else { panic!("{error}") };
    assert_eq!((requested, said), (total + 1, total));
    assert!(error.to_string().starts_with(&format!("out of device memory: asked for {requested} bytes, ")), "{error}");
}

#[test]
fn buffers_check_shapes() {
    let device = device();
    let buffer = device.alloc::<u32>(&[6]).unwrap();
    buffer.assert_shape([2, 3]);
    buffer.assert_holds([5]);
    buffer.assert_rows_of([2]);
    let panics = |check: fn(&gale::device::Buffer<u32>)| {
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(&buffer))).is_err()
    };
    assert!(panics(|it| it.assert_shape([5])));
    assert!(panics(|it| it.assert_holds([7])));
    assert!(panics(|it| it.assert_rows_of([4])));
}

#[test]
fn a_process_has_one_choice() {
    let first = device();
    assert!(first != device(), "each opening is a stream of its own");
    let error = Device::open(DeviceChoice::Cuda(99)).unwrap_err().to_string();
    assert!(error.contains("and cannot use `cuda:99` as well"), "{error}");
}
