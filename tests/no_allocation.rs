//! Reading tokens allocates nothing: one test, since it counts the allocations of the whole process. (What the emulator
//! allocates is its own; it is a library with an allocator of its own.)

use gale::{
    config::Config,
    device::{Device, DeviceChoice},
    sampler::{Limits, Sampling},
    session::{Options, Session},
    weights::Weights,
};
use std::{
    alloc::{GlobalAlloc, Layout, System},
    env,
    ops::ControlFlow,
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
};

struct Counting;

static N_ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

#[allow(unsafe_code)] // An allocator is.
// SAFETY: everything is the system allocator's.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        N_ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as this function's caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as this function's caller promises.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn a_token_allocates_nothing() {
    let device =
        Device::open(env::var("GALE_TEST_DEVICE").map_or(DeviceChoice::Auto, |it| it.parse().unwrap())).unwrap();
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/synth/mis_w8_1layer");
    let config = Config::load(&model).unwrap();
    let weights = Weights::open(&model, &config).unwrap();
    let mut session = Session::load(&device, config, &weights, Options::default(), &mut |_, _| {}).unwrap();
    let sampling = Sampling { temperature: 1.0, top_p: 0.9, repetition_penalty: 1.1, ..Sampling::default() };
    session.begin(&sampling, &Limits::endless(), &[1, 2, 3]).unwrap();
    session.prefill(&[1, 2, 3], &mut |_| ControlFlow::Continue(())).unwrap();
    session.next_token().unwrap();
    let before = N_ALLOCATIONS.load(Ordering::Relaxed);
    for _ in 0..40 {
        session.next_token().unwrap();
    }
    assert_eq!(N_ALLOCATIONS.load(Ordering::Relaxed) - before, 0);
}
