//! What launches are counted to have done: each case in a process of its own, since the counters are the process's.
//!
//! Planted once, and seen to fail here: the footprint's bits kept per worker instead of per launch.

use crate::{common::*, kernel::*};
use cuda_emulator::{
    driver::{Handle, context::*, device::*, tools::*},
    perf::{Counts, class::Class},
};
use std::{
    ffi::{CStr, c_void},
    ptr,
};

/// A source line: (kernel, file, line, counters).
type Line = (String, Option<String>, u32, Totals);

fn lines(kernel: &CStr) -> Vec<Line> {
    unsafe extern "C" fn push(to: *mut c_void, line: *const LineTotals, bytes: usize) {
        assert_eq!(bytes, size_of::<LineTotals>());
        let (to, line) = unsafe { (&mut *to.cast::<Vec<Line>>(), &*line) };
        let text = |it: *const _| unsafe { CStr::from_ptr(it) }.to_str().unwrap().to_owned();
        let file = (!line.file.is_null()).then(|| text(line.file));
        to.push((text(line.kernel), file, line.line, line.totals));
    }
    let mut lines = Vec::<Line>::new();
    ok(unsafe { cuda_emulator_lines(kernel.as_ptr(), Some(push), ptr::from_mut(&mut lines).cast()) });
    lines
}

fn counts(kernel: &CStr) -> Counts {
    counters(kernel).counters.counts
}

/// Runs a child in check mode, and in fast mode with counting turned on by a profile.
#[track_caller]
fn in_both_modes(child: &str) {
    succeeds(child, &[("MODE", "check")]);
    succeeds(child, &[("PROFILE", "-")]);
}

/// Copies a word per thread: `.loc` lines 10 (address), 11 (load) and, inlined at 11, line 3 of a header (store).
const COPY: &str = r#"
.file 1 "copy.cu"
.file 2 "store.cuh"
.visible .entry copied(.param .u64 from, .param .u64 to) {
    .reg .b64 %rd<6>; .reg .b32 %r<6>; .reg .pred %p;
    .loc 1 10 1
    ld.param.u64 %rd1, [from];
    ld.param.u64 %rd2, [to];
    mov.u32 %r1, %tid.x;
    mov.u32 %r2, %ctaid.x;
    mov.u32 %r3, %ntid.x;
    mad.lo.u32 %r5, %r2, %r3, %r1;
    mad.wide.u32 %rd3, %r5, 4, %rd1;
    mad.wide.u32 %rd4, %r5, 4, %rd2;
    .loc 1 11 1
    ld.global.u32 %r4, [%rd3];
    .loc 2 3 1, function_name $store, inlined_at 1 11 5
    st.global.u32 [%rd4], %r4;
    .loc 1 12 1
    ret;
}
.section .debug_str { $store: .b8 115, 116, 111, 114, 101, 0 }
"#;

#[test]
fn lines_and_classes_are_counted() {
    in_both_modes("counters::child_lines");
}

#[test]
#[ignore = "run by another test"]
fn child_lines() {
    let _context = Context::new();
    let (from, to) = (upload(&[7; 256]), device_memory(1024));
    ok(Kernel::new(COPY, "copied").run(4, 64, &[from, to]));
    let totals = counters(c"copied");
    let n_warps = 8;
    let of = |class| totals.counters.of_class(class);
    assert_eq!(of(Class::GlobalLoad).warp_instructions, n_warps);
    assert_eq!(of(Class::GlobalStore).lane_instructions, 32 * n_warps);
    assert_eq!((of(Class::Param).warp_instructions, of(Class::Integer).warp_instructions), (2 * n_warps, 3 * n_warps));
    assert_eq!(totals.counters.active_lane_ratio(), 1.0);
    let by_class: u64 = totals.counters.by_class.iter().map(|it| it.warp_instructions).sum();
    assert_eq!(by_class, totals.counters.counts.warp_instructions);
    let lines = lines(c"copied");
    let at = |file: &str, number: u32| {
        let line = lines.iter().find(|it| it.1.as_deref().is_some_and(|it| it.ends_with(file)) && it.2 == number);
        line.unwrap_or_else(|| panic!("{file}:{number} is not in {lines:?}")).3.counters.counts
    };
    assert_eq!(lines.len(), 4);
    assert_eq!(at("copy.cu", 10).warp_instructions, 5 * n_warps);
    assert_eq!((at("copy.cu", 11).global_load_sectors, at("copy.cu", 11).global_store_sectors), (32, 0));
    assert_eq!((at("store.cuh", 3).global_store_sectors, at("store.cuh", 3).global_store_bytes), (32, 1024));
    let sum: u64 = lines.iter().map(|it| it.3.counters.counts.warp_instructions).sum();
    assert_eq!(sum, totals.counters.counts.warp_instructions);
}

/// Threads of a block write shared memory `%stride` bytes apart, and add to a word that `%share` lanes have in common.
const SHARED: &str = "
.visible .entry bank(.param .u32 stride, .param .u32 share) {
    .shared .align 4 .b8 room[4224];
    .reg .b32 %r<8>;
    ld.param.u32 %r1, [stride];
    ld.param.u32 %r2, [share];
    mov.u32 %r3, %tid.x;
    mul.lo.u32 %r4, %r3, %r1;
    st.shared.u32 [%r4], %r3;
    bar.sync 0;
    div.u32 %r5, %r3, %r2;
    shl.b32 %r5, %r5, 2;
    red.shared.add.u32 [%r5], 1;
    ret;
}";

#[test]
fn bank_conflicts_are_counted() {
    // Not in check mode: the atomics begin with whatever is there.
    succeeds("counters::child_banks", &[("PROFILE", "-")]);
}

#[test]
#[ignore = "run by another test"]
fn child_banks() {
    let _context = Context::new();
    let kernel = Kernel::new(SHARED, "bank");
    // (stride, lanes that share a word, wavefronts of the store, of the atomics)
    for (stride, share, of_store, of_atomics) in [(4, 1, 1, 1), (128, 4, 32, 4), (132, 32, 1, 32), (8, 2, 2, 2)] {
        ok(cuda_emulator_reset_counters());
        ok(kernel.run(1, 32, &[stride, share]));
        let counts = counts(c"bank");
        assert_eq!((counts.shared_wavefronts, counts.shared_wavefronts_ideal), (of_store + of_atomics, 2), "{stride}");
        assert_eq!((counts.shared_atomics, counts.atomic_lanes_per_address_max), (32, share));
    }
}

/// Every thread of every block reads the same 64 words and adds them to one in pinned memory.
const GATHER: &str = "
.visible .entry gathered(.param .u64 from, .param .u64 to) {
    .reg .b64 %rd<6>; .reg .b32 %r<6>;
    ld.param.u64 %rd1, [from];
    ld.param.u64 %rd2, [to];
    mov.u32 %r1, %tid.x;
    mad.wide.u32 %rd3, %r1, 4, %rd1;
    ld.global.u32 %r2, [%rd3];
    red.global.add.u32 [%rd2], %r2;
    ret;
}";

#[test]
fn bytes_of_dram_count_once_with_any_number_of_threads() {
    for n_threads in ["1", "4"] {
        succeeds("counters::child_footprint", &[("PROFILE", "-"), ("THREADS", n_threads)]);
    }
    succeeds("counters::child_footprint", &[("MODE", "check")]);
}

#[test]
#[ignore = "run by another test"]
fn child_footprint() {
    let _context = Context::new();
    let (from, sum) = (upload(&[1; 64]), PinnedWord::new(0));
    ok(Kernel::new(GATHER, "gathered").run(500, 64, &[from, sum.0 as u64]));
    let counts = counts(c"gathered");
    assert_eq!((counts.global_load_sectors, counts.global_load_bytes), (500 * 8, 500 * 256));
    assert_eq!((counts.dram_read_bytes, counts.dram_write_bytes), (256, 0));
    assert_eq!((counts.host_read_bytes, counts.host_write_bytes), (32, 32));
    assert_eq!((counts.global_atomics, counts.atomic_lanes_per_address_max), (500 * 64, 32));
    assert_eq!((counts.global_store_sectors, sum.get()), (0, 500 * 64));
}

#[test]
fn counting_can_be_turned_on() {
    succeeds("counters::child_turned_on", &[]);
}

#[test]
#[ignore = "run by another test"]
fn child_turned_on() {
    assert_eq!(cuda_emulator_count(1), NOT_INITIALIZED);
    let _context = Context::new();
    let (from, to) = (upload(&[7; 256]), device_memory(1024));
    let kernel = Kernel::new(COPY, "copied");
    ok(kernel.run(4, 64, &[from, to]));
    let uncounted = counts(c"copied");
    assert!(uncounted.lane_instructions > 0 && uncounted.dram_read_bytes == 0 && lines(c"copied").is_empty());
    ok(cuda_emulator_count(1));
    ok(kernel.run(4, 64, &[from, to]));
    assert_eq!(counts(c"copied").lane_instructions, 2 * uncounted.lane_instructions);
    assert_eq!((counts(c"copied").dram_read_bytes, lines(c"copied").len()), (1024, 4));
    ok(cuda_emulator_count(0));
    ok(kernel.run(4, 64, &[from, to]));
    assert_eq!(counts(c"copied").dram_read_bytes, 1024);
    // A caller that knows less gets less, and one that knows more gets zeros.
    let mut words = [!0u64; 100];
    ok(unsafe { cuda_emulator_counters(c"copied".as_ptr(), 16, words.as_mut_ptr().cast()) });
    assert_eq!((words[0], words[1], words[2]), (3, 3 * uncounted.warp_instructions, !0));
    ok(unsafe { cuda_emulator_counters(c"copied".as_ptr(), 800, words.as_mut_ptr().cast()) });
    assert_eq!((words[2], words[99]), (3 * uncounted.lane_instructions, 0));
    assert_eq!(unsafe { cuda_emulator_lines(c"none".as_ptr(), None, ptr::null_mut()) }, INVALID_VALUE);
    let names: Vec<&CStr> = (0..)
        .map(|i| cuda_emulator_class_name(i))
        .take_while(|it| !it.is_null())
        .map(|it| unsafe { CStr::from_ptr(it) })
        .collect();
    assert_eq!((names[0], names.len()), (c"fp32", Class::ALL.len()));
}

#[test]
fn a_table_is_printed_when_the_process_ends() {
    let text = stderr(&succeeds("counters::child_table", &[("PROFILE", "-")]));
    let table = text.split_once("what each kernel did").unwrap_or_else(|| panic!("no table in {text}")).1;
    for part in ["  copied\n", "copied: integer 24, param 16, ", "store.cuh:3  copied", "sectors/ideal 1.034"] {
        assert!(table.contains(part), "{part} is not in {table}");
    }
}

#[test]
#[ignore = "run by another test"]
fn child_table() {
    let context: Handle = {
        ok(unsafe { cuInit(0) });
        handle(|out| unsafe { cuCtxCreate_v2(out, 0, 0) })
    };
    let (from, to) = (upload(&[7; 256]), device_memory(2048));
    // Four words in two sectors, and seven rows of 32 in four each.
    ok(Kernel::new(COPY, "copied").run(1, 4, &[from + 16 + 4, to]));
    ok(Kernel::new(COPY, "copied").run(7, 32, &[from, to]));
    ok(unsafe { cuCtxDestroy_v2(context) });
}
