//! Many threads, and many rounds.

use crate::{common::*, kernel::*};
use cuda_emulator::driver::{Handle, context::*, copy::*, device::*, event::*, graph::*, memory::*, stream::*};
use std::{
    env, fs,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

const ADD: &str = ".visible .entry add(.param .u64 at, .param .u32 n) {
    .reg .b64 %rd1; .reg .b32 %r<3>;
    ld.param.u64 %rd1, [at]; ld.param.u32 %r1, [n];
    ld.global.u32 %r2, [%rd1]; add.u32 %r2, %r2, %r1; st.global.u32 [%rd1], %r2; ret;
}";

/// A context with a module, a stream, an event, memory and two launches, and nothing left.
fn round() {
    let _context = Context::new();
    let (add, stream, event) = (Kernel::new(ADD, "add"), blocking_stream(), event());
    let word = upload(&[1]);
    ok(add.launch([1; 3], [1; 3], 0, stream, &[word, 2]));
    ok(unsafe { cuEventRecord(event, stream) });
    ok(add.launch([1; 3], [1; 3], 0, NULL, &[word, 3]));
    assert_eq!(read(word, NULL), 6);
    ok(unsafe { cuMemFree_v2(word) });
}

#[test]
fn threads_with_contexts_of_their_own_do_not_meet() {
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..10).for_each(|_| round()));
        }
    });
}

/// A thread that retains the primary context just when another releases it has one that works.
#[test]
fn threads_share_the_primary_context() {
    succeeds("threads::child_retains", &[]);
}

/// Alone in its process, whose primary context it ends.
#[test]
#[ignore = "run by another test"]
fn child_retains() {
    ok(unsafe { cuInit(0) });
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..2000 {
                    let context = handle(|out| unsafe { cuDevicePrimaryCtxRetain(out, 0) });
                    ok(unsafe { cuCtxSetCurrent(context) });
                    ok(unsafe { cuStreamDestroy_v2(blocking_stream()) });
                    ok(unsafe { cuDevicePrimaryCtxRelease_v2(0) });
                }
            });
        }
    });
}

/// Threads use and destroy the same objects: there are errors, and no crashes.
#[test]
fn threads_may_destroy_what_others_use() {
    succeeds("threads::child_destroys", &[]);
}

/// Alone in its process: it frees addresses that may have become another test's.
#[test]
#[ignore = "run by another test"]
fn child_destroys() {
    let context = Context::new();
    let add = Kernel::new(ADD, "add");
    let (current, handles) = (context.0 as usize, Mutex::new(Vec::<usize>::new()));
    let (module, function, word) = (add.module as usize, add.function as usize, upload(&[0]));
    thread::scope(|scope| {
        for seed in 0..6usize {
            let handles = &handles;
            scope.spawn(move || {
                ok(unsafe { cuCtxSetCurrent(current as Handle) });
                let mut random = seed as u64 + 1;
                let mut next = |n: usize| {
                    random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                    (random >> 33) as usize % n
                };
                for step in 0..200 {
                    if step % 4 == 0 {
                        let (mut stream, mut event, mut memory) = (NULL, NULL, 0);
                        unsafe {
                            cuStreamCreate(&mut stream, 0);
                            cuEventCreate(&mut event, 0);
                            cuMemAlloc_v2(&mut memory, 64);
                        }
                        handles.lock().unwrap().extend([stream as usize, event as usize, memory as usize]);
                    }
                    let known = handles.lock().unwrap().clone();
                    let [a, b] = [(); 2].map(|()| known[next(known.len())] as Handle);
                    let kernel = Kernel { module: module as Handle, function: function as Handle };
                    // Each may fail, since another thread may have destroyed `a` or `b`, or they are of the wrong kind.
                    let _ = match next(10) {
                        0 => unsafe { cuStreamDestroy_v2(a) },
                        1 => unsafe { cuEventDestroy_v2(a) },
                        2 => unsafe { cuMemFree_v2(a as u64) },
                        3 => unsafe { cuEventRecord(a, b) },
                        4 => unsafe { cuStreamWaitEvent(a, b, 0) },
                        5 => unsafe { cuMemsetD32Async(a as u64, 1, 16, b) },
                        6 => unsafe { cuStreamSynchronize(a) },
                        7 => unsafe { cuMemFreeAsync(a as u64, b) },
                        8 => unsafe { cuEventSynchronize(a) },
                        _ => kernel.launch([1; 3], [1; 3], 0, a, &[word, 1]),
                    };
                }
            });
        }
    });
    // A memset of memory that another thread freed is a fault: the context may be lost, and the process is not.
    unsafe { cuCtxSynchronize() };
    drop(context);
    round();
}

/// Queueing does not wait for a kernel that runs.
#[test]
fn a_running_piece_of_work_keeps_nobody_from_queueing() {
    let context = Context::new();
    let (busy, free, add, word) = (non_blocking_stream(), non_blocking_stream(), Kernel::new(ADD, "add"), upload(&[0]));
    let gate = Gate::close(busy);
    gate.wait_until_reached();
    let queued = AtomicBool::new(false);
    let (current, function, module) = (context.0 as usize, add.function as usize, add.module as usize);
    let free_handle = free as usize;
    thread::scope(|scope| {
        scope.spawn(|| {
            ok(unsafe { cuCtxSetCurrent(current as Handle) });
            let add = Kernel { module: module as Handle, function: function as Handle };
            for _ in 0..100 {
                ok(add.launch([1; 3], [1; 3], 0, free_handle as Handle, &[word, 1]));
            }
            let other = made(|out| unsafe { cuMemAllocAsync(out, 100, free_handle as Handle) });
            ok(unsafe { cuMemFreeAsync(other, free_handle as Handle) });
            let graph = handle(|out| unsafe { cuGraphCreate(out, 0) });
            ok(unsafe { cuGraphDestroy(graph) });
            queued.store(true, SeqCst);
        });
        let start = Instant::now();
        while !queued.load(SeqCst) {
            assert!(start.elapsed() < Duration::from_secs(15), "queueing waits for work that runs");
            thread::yield_now();
        }
        gate.open();
    });
    assert_eq!(read(word, free), 100);
}

#[test]
fn rounds_leave_nothing_behind() {
    for mode in ["fast", "check"] {
        succeeds("threads::child_rounds", &[("MODE", mode)]);
    }
}

/// `DRIVER_ROUNDS` says how many; a third of them come before the first measurement. What is allowed does not grow with
/// their number: so many blocks are freed before that addresses are used again also in check mode.
#[test]
#[ignore = "run by another test"]
fn child_rounds() {
    let n: usize = env::var("DRIVER_ROUNDS").map_or(300, |it| it.parse().unwrap());
    let resident_kib = || {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<i64>().unwrap()
    };
    let blocks = |n_blocks: usize| {
        let _context = Context::new();
        for _ in 0..n_blocks {
            let address = device_memory(4096);
            ok(unsafe { cuMemsetD8_v2(address, 1, 4096) });
            ok(unsafe { cuCtxSynchronize() });
            ok(unsafe { cuMemFree_v2(address) });
        }
    };
    let measured = |what: &str, work: &dyn Fn()| {
        let before = resident_kib();
        work();
        let grown = resident_kib() - before;
        println!("{what}: {before} KiB, then {grown} KiB more");
        assert!(grown < 2048, "{what}: {grown} KiB more");
    };
    blocks(6000);
    (0..n / 3).for_each(|_| round());
    measured("rounds", &|| (n / 3..n).for_each(|_| round()));
    measured("blocks", &|| blocks(12_000));
}
