//! What depends on the environment or on the whole process: each test runs one of the `child_` tests in a new process.

use crate::{common::*, kernel::*};
use cuda_emulator::driver::{context::*, copy::*, device::*, event::*, host_memory::*, memory::*, stream::*, tools::*};
use std::{env, fs, ptr, thread, time::Duration};

#[test]
fn a_bad_setting_fails_cu_init_and_says_what_is_allowed() {
    for (name, value, choice) in [("MODE", "quick", "fast, check or stress"), ("THREADS", "0", "a number from 1")] {
        let output = succeeds("environment::child_init_fails", &[(name, value)]);
        let text = stderr(&output);
        let expected = format!("cuda-emulator: CUDA_EMULATOR_{name} is `{value}`, expected {choice}");
        assert!(text.contains(&expected), "{text}");
    }
}

#[test]
#[ignore = "run by another test"]
fn child_init_fails() {
    assert_eq!(unsafe { cuInit(0) }, INVALID_VALUE);
    assert_eq!(unsafe { cuDeviceGetCount(&mut 0) }, NOT_INITIALIZED);
}

#[test]
fn before_init_everything_says_so() {
    succeeds("environment::child_before_init", &[]);
}

#[test]
#[ignore = "run by another test"]
fn child_before_init() {
    unsafe {
        assert_eq!(cuDeviceGetCount(&mut 0), NOT_INITIALIZED);
        assert_eq!(cuCtxGetCurrent(&mut ptr::null_mut()), NOT_INITIALIZED);
        assert_eq!(cuMemAlloc_v2(&mut 0, 1), NOT_INITIALIZED);
        assert_eq!(cuStreamSynchronize(NULL), NOT_INITIALIZED);
        assert_eq!(cuEventQuery(NULL), NOT_INITIALIZED);
        assert_eq!(cuMemcpyDtoD_v2(1, 2, 3), NOT_INITIALIZED);
        ok(cuDriverGetVersion(&mut 0));
    }
}

#[test]
fn a_launch_fails_when_it_is_asked_to() {
    let output = succeeds("environment::child_fail_launch", &[("FAIL_LAUNCH", "2")]);
    let text = stderr(&output);
    assert!(text.contains("cuda-emulator: launch 2, of k, fails because CUDA_EMULATOR_FAIL_LAUNCH is set"), "{text}");
}

#[test]
#[ignore = "run by another test"]
fn child_fail_launch() {
    const ECC_UNCORRECTABLE: u32 = 214;
    let _context = Context::new();
    let kernel = Kernel::new(&per_thread("mov.u32 %r0, 7;"), "k");
    let out = upload(&[0; 1]);
    let runs: Vec<u32> = (0..4).map(|_| kernel.run(1, 1, &[out])).collect();
    assert_eq!(runs, [0, 0, ECC_UNCORRECTABLE, ECC_UNCORRECTABLE], "and the context stays broken");
}

#[test]
fn another_card_has_other_numbers() {
    succeeds("environment::child_rtx4090", &[("GPU", "rtx4090")]);
}

#[test]
#[ignore = "run by another test"]
fn child_rtx4090() {
    ok(unsafe { cuInit(0) });
    let attribute = |id| made::<i32>(|out| unsafe { cuDeviceGetAttribute(out, id, 0) });
    assert_eq!((attribute(16), attribute(75), attribute(76), attribute(97)), (128, 8, 9, 99 << 10));
}

#[test]
fn memory_is_exact_and_ends_where_it_says() {
    for mode in ["fast", "check", "stress"] {
        succeeds("environment::child_memory_info", &[("MODE", mode)]);
    }
}

#[test]
#[ignore = "run by another test"]
fn child_memory_info() {
    let _context = Context::new();
    let info = || {
        let (mut free, mut total) = (0, 0);
        ok(unsafe { cuMemGetInfo_v2(&mut free, &mut total) });
        (free, total)
    };
    let (free, total) = info();
    assert_eq!(free, total);
    assert_eq!(made::<usize>(|out| unsafe { cuDeviceTotalMem_v2(out, 0) }), total);
    let [a, b] = [device_memory(1), device_memory(12_345)];
    assert_eq!(info().0, total - 12_346, "every byte counts, and nothing else");
    let mut out = 0;
    assert_eq!(unsafe { cuMemAlloc_v2(&mut out, total - 12_345) }, OUT_OF_MEMORY);
    let rest = device_memory(total - 12_346);
    assert_eq!((info().0, unsafe { cuMemAlloc_v2(&mut out, 1) }), (0, OUT_OF_MEMORY));
    ok(unsafe { cuMemFreeAsync(rest, NULL) });
    assert_eq!(info().0, total - 12_346, "freed in the order of the program");
    // More addresses than there are, so that they have to be used again, waiting for the stream if need be.
    for _ in 0..50 {
        let address = made(|out| unsafe { cuMemAllocAsync(out, total / 2, NULL) });
        ok(unsafe { cuMemFreeAsync(address, NULL) });
    }
    for address in [a, b] {
        ok(unsafe { cuMemFree_v2(address) });
    }
    assert_eq!(info().0, total);
}

#[test]
fn freed_memory_is_seen_in_check_mode() {
    succeeds("environment::child_no_reuse", &[("MODE", "check")]);
}

#[test]
#[ignore = "run by another test"]
fn child_no_reuse() {
    assert!(!is_used_again(), "a stale pointer would hit new memory");
}

/// Whether freed memory is, soon.
fn is_used_again() -> bool {
    let _context = Context::new();
    let first = device_memory(1000);
    ok(unsafe { cuMemFree_v2(first) });
    (0..1000).any(|_| {
        let other = device_memory(1000);
        ok(unsafe { cuMemFree_v2(other) });
        other.abs_diff(first) < 1000
    })
}

#[test]
fn a_program_can_ask_for_checks_and_the_environment_overrides_it() {
    succeeds("environment::child_checked", &[("MODE", "")]);
    succeeds("environment::child_checked_or_fast", &[("MODE", "fast")]);
}

#[test]
#[ignore = "run by another test"]
fn child_checked() {
    ok(cuda_emulator_check_by_default());
    assert!(!is_used_again());
    assert_eq!(cuda_emulator_check_by_default(), ILLEGAL_STATE);
}

#[test]
#[ignore = "run by another test"]
fn child_checked_or_fast() {
    ok(cuda_emulator_check_by_default());
    assert!(is_used_again());
}

#[test]
fn orders_hold_under_seeds_and_a_forgotten_one_shows() {
    let n_reversed = (0..12).filter(|seed| {
        let output = succeeds("environment::child_orders", &[("MODE", "stress"), ("SEED", &seed.to_string())]);
        String::from_utf8_lossy(&output.stdout).contains("reversed")
    });
    assert!(n_reversed.count() > 0, "two streams without an event between them never changed places");
}

/// A sum that is right only if copies, memsets and events keep their order, and a race that some seed has to reverse.
#[test]
#[ignore = "run by another test"]
fn child_orders() {
    let _context = Context::new();
    let [a, b] = [non_blocking_stream(), non_blocking_stream()];
    let [x, y] = [device_memory(4), device_memory(4)];
    let done = event();
    for round in 0..50 {
        ok(unsafe { cuMemsetD32Async(x, round, 1, a) });
        ok(unsafe { cuMemcpyDtoDAsync_v2(y, x, 4, a) });
        ok(unsafe { cuEventRecord(done, a) });
        ok(unsafe { cuStreamWaitEvent(b, done, 0) });
        ok(unsafe { cuMemsetD32Async(x, 1000 + round, 1, b) });
        ok(unsafe { cuEventRecord(done, b) });
        ok(unsafe { cuStreamWaitEvent(a, done, 0) });
        ok(unsafe { cuMemcpyDtoDAsync_v2(x, y, 4, a) });
        assert_eq!((read(x, a), read(y, a)), (round, round));
    }
    ok(unsafe { cuMemsetD32Async(x, 1, 1, a) });
    ok(unsafe { cuMemsetD32Async(x, 2, 1, b) });
    ok(unsafe { cuCtxSynchronize() });
    if read(x, NULL) == 1 {
        println!("reversed");
    }
}

#[test]
fn counters_are_written_when_the_process_ends() {
    let file = env::temp_dir().join(format!("cuda-emulator-profile-{}.json", std::process::id()));
    succeeds("environment::child_profile", &[("PROFILE", file.to_str().unwrap())]);
    let text = fs::read_to_string(&file).unwrap();
    fs::remove_file(&file).unwrap();
    assert!(text.starts_with('{') && text.trim_end().ends_with('}'), "{text}");
}

#[test]
#[ignore = "run by another test"]
fn child_profile() {
    ok(unsafe { cuInit(0) });
    // Work that is queued when the process ends keeps it from nothing.
    std::mem::forget(Context::new());
    let _gate = Gate::close(NULL);
    thread::sleep(Duration::from_millis(5));
}

/// The order of CTAs is drawn, and pinned addresses among the parameters, which differ between processes, do not matter.
#[test]
fn a_seed_reproduces_its_orders() {
    let order = |seed: u64| {
        let output = succeeds("environment::child_order", &[("MODE", "stress"), ("SEED", &seed.to_string())]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.lines().filter(|line| line.starts_with("order")).map(str::to_owned).collect::<Vec<_>>()
    };
    let orders: Vec<_> = (1..4).map(order).collect();
    assert_eq!(orders, (1..4).map(order).collect::<Vec<_>>());
    assert!(orders[0].len() == 4 && orders[0] != orders[1], "{orders:?}");
    assert_ne!(orders[0][0], orders[0][1], "each launch has an order of its own");
}

/// Each CTA takes the next number from pinned memory, and writes its own index there.
#[test]
#[ignore = "run by another test"]
fn child_order() {
    let _context = Context::new();
    let kernel = Kernel::new(
        ".visible .entry k(.param .u64 words) {
            .reg .b64 %rd<3>; .reg .b32 %r<3>;
            ld.param.u64 %rd1, [words];
            mov.u32 %r1, %ctaid.x;
            atom.global.add.u32 %r2, [%rd1], 1;
            mad.wide.u32 %rd2, %r2, 4, %rd1;
            st.global.u32 [%rd2+4], %r1;
            ret;
        }",
        "k",
    );
    const N: usize = 24;
    for _ in 0..4 {
        let pinned = handle(|out| unsafe { cuMemHostAlloc(out, 4 * (N + 1), 0) }).cast::<u32>();
        unsafe { ptr::write_bytes(pinned, 0, N + 1) };
        ok(kernel.run(N as u32, 1, &[pinned as u64]));
        println!("\norder {:?}", unsafe { std::slice::from_raw_parts(pinned.add(1), N) });
        ok(unsafe { cuMemFreeHost(pinned.cast()) });
    }
}
