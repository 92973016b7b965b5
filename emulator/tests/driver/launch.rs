//! What a kernel sees: its parameters, its place in the grid, the state spaces, functions that it calls.

use crate::{common::*, kernel::*};
use cuda_emulator::driver::{copy::*, module::*, stream::*};
use std::ptr;

const VECTOR_ADD: &str = "
.visible .entry vector_add(.param .u64 a, .param .u64 b, .param .u64 c, .param .u32 n) {
    .reg .b64 %rd<8>; .reg .b32 %r<6>; .reg .f32 %f<4>; .reg .pred %p<2>;
    ld.param.u64 %rd1, [a];
    ld.param.u64 %rd2, [b];
    ld.param.u64 %rd3, [c];
    ld.param.u32 %r1, [n];
    mov.u32 %r2, %ctaid.x;
    mov.u32 %r3, %ntid.x;
    mov.u32 %r4, %tid.x;
    mad.lo.u32 %r5, %r2, %r3, %r4;
    setp.ge.u32 %p1, %r5, %r1;
    @%p1 bra DONE;
    mul.wide.u32 %rd4, %r5, 4;
    add.u64 %rd5, %rd1, %rd4;
    add.u64 %rd6, %rd2, %rd4;
    add.u64 %rd7, %rd3, %rd4;
    ld.global.f32 %f1, [%rd5];
    ld.global.f32 %f2, [%rd6];
    add.rn.f32 %f3, %f1, %f2;
    st.global.f32 [%rd7], %f3;
DONE:
    ret;
}";

#[test]
fn a_vector_add_adds_and_its_counters_are_exact() {
    for n_threads in ["1", "2"] {
        succeeds("launch::child_vector_add", &[("MODE", "check"), ("THREADS", n_threads)]);
    }
}

/// Memory is counted in check mode.
#[test]
#[ignore = "run by another test"]
fn child_vector_add() {
    let _context = Context::new();
    let n = 1000;
    let values = |scale: f32| (0..n).map(|i| (i as f32 * scale).to_bits()).collect::<Vec<_>>();
    let (a, b, c) = (upload(&values(1.0)), upload(&values(0.5)), device_memory(4 * n));
    let kernel = Kernel::new(VECTOR_ADD, "vector_add");
    for n_launches in 1..=2 {
        ok(kernel.run(4, 256, &[a, b, c, n as u64]));
        assert_eq!(download(c, n), values(1.5));
        let totals = counters(c"vector_add");
        assert_eq!(totals.n_launches, n_launches);
        // 32 warps run every line but the three that only name a special register; 1000 of 1024 lanes run the body.
        let counts = totals.counters.counts;
        assert_eq!(counts.warp_instructions, n_launches * 32 * 16);
        assert_eq!(counts.lane_instructions, n_launches * (1024 * 8 + 1000 * 8));
        // Three arrays of 1000 words are 375 sectors, and each warp's part starts at one.
        assert_eq!(
            (counts.global_load_sectors, counts.global_load_sectors_ideal),
            (n_launches * 250, n_launches * 250)
        );
        assert_eq!(
            (counts.global_store_sectors, counts.global_store_sectors_ideal),
            (n_launches * 125, n_launches * 125)
        );
        assert_eq!((counts.global_load_bytes, counts.global_store_bytes), (n_launches * 8000, n_launches * 4000));
        assert_eq!((counts.dram_read_bytes, counts.dram_write_bytes), (n_launches * 8000, n_launches * 4000));
    }
}

#[test]
fn grids_and_blocks_have_three_dimensions() {
    let _context = Context::new();
    // The linear index of each thread, at that index, and the product of all dimensions.
    let kernel = Kernel::new(
        "
.visible .entry places(.param .u64 out) {
    .reg .b64 %rd<3>; .reg .b32 %r<20>;
    mov.u32 %r1, %ctaid.x; mov.u32 %r2, %ctaid.y; mov.u32 %r3, %ctaid.z;
    mov.u32 %r4, %nctaid.x; mov.u32 %r5, %nctaid.y; mov.u32 %r6, %nctaid.z;
    mov.u32 %r7, %tid.x; mov.u32 %r8, %tid.y; mov.u32 %r9, %tid.z;
    mov.u32 %r10, %ntid.x; mov.u32 %r11, %ntid.y; mov.u32 %r12, %ntid.z;
    mad.lo.u32 %r13, %r3, %r5, %r2;
    mad.lo.u32 %r13, %r13, %r4, %r1;
    mad.lo.u32 %r13, %r13, %r12, %r9;
    mad.lo.u32 %r13, %r13, %r11, %r8;
    mad.lo.u32 %r13, %r13, %r10, %r7;
    mul.lo.u32 %r14, %r4, %r5; mul.lo.u32 %r14, %r14, %r6;
    mul.lo.u32 %r14, %r14, %r10; mul.lo.u32 %r14, %r14, %r11; mul.lo.u32 %r14, %r14, %r12;
    mad.lo.u32 %r14, %r13, 1000, %r14;
    ld.param.u64 %rd1, [out];
    mad.wide.u32 %rd1, %r13, 4, %rd1;
    st.global.u32 [%rd1], %r14;
    ret;
}",
        "places",
    );
    let n = 2 * 3 * 4 * 5 * 3 * 7;
    let out = upload(&vec![0; n]);
    ok(kernel.launch([2, 3, 4], [5, 3, 7], 0, NULL, &[out]));
    let expected: Vec<u32> = (0..n as u32).map(|i| i * 1000 + n as u32).collect();
    assert_eq!(download(out, n), expected);
}

#[test]
fn module_variables_are_initialised_and_relocated() {
    let _context = Context::new();
    let kernel = Kernel::new(
        "
.visible .global .align 4 .u32 table[4] = {11, 22, 33, 44};
.visible .global .align 8 .u64 pointer = table+4;
.visible .global .align 8 .u64 generic_pointer = generic(table)+8;
.visible .global .align 4 .f32 zero[2];
.visible .const .align 4 .u32 weights[3] = {5, 6, 7};
.visible .entry variables(.param .u64 out) {
    .reg .b64 %rd<6>; .reg .b32 %r<8>;
    ld.param.u64 %rd1, [out];
    ld.global.u64 %rd2, [pointer];
    ld.global.u32 %r1, [%rd2];
    ld.global.u64 %rd3, [generic_pointer];
    ld.u32 %r2, [%rd3];
    ld.global.u32 %r3, [table+12];
    mov.u64 %rd4, weights;
    ld.const.u32 %r4, [%rd4+4];
    ld.const.u32 %r5, [weights+8];
    ld.global.u32 %r6, [zero+4];
    st.global.u32 [%rd1], %r1;
    st.global.u32 [%rd1+4], %r2;
    st.global.u32 [%rd1+8], %r3;
    st.global.u32 [%rd1+12], %r4;
    st.global.u32 [%rd1+16], %r5;
    st.global.u32 [%rd1+20], %r6;
    ret;
}",
        "variables",
    );
    let out = device_memory(24);
    ok(kernel.run(1, 1, &[out]));
    assert_eq!(download(out, 6), [22, 33, 44, 6, 7, 0]);

    let (mut address, mut bytes) = (0, 0);
    ok(unsafe { cuModuleGetGlobal_v2(&mut address, &mut bytes, kernel.module, c"table".as_ptr()) });
    assert_eq!((bytes, download(address, 4)), (16, vec![11, 22, 33, 44]));
    ok(unsafe { cuMemsetD32_v2(address, 9, 4) });
    ok(kernel.run(1, 1, &[out]));
    assert_eq!(download(out, 3), [9; 3]);
    let missing = unsafe { cuModuleGetGlobal_v2(&mut address, ptr::null_mut(), kernel.module, c"no".as_ptr()) };
    assert_eq!(missing, NOT_FOUND);
}

#[test]
fn shared_memory_is_static_and_dynamic() {
    let _context = Context::new();
    // Reverses a block's words by way of dynamic memory behind a static word.
    let kernel = Kernel::new(
        "
.extern .shared .align 16 .b8 dynamic[];
.visible .entry reverse(.param .u64 at) {
    .reg .b64 %rd<4>; .reg .b32 %r<12>; .reg .pred %p;
    .shared .align 4 .u32 added;
    ld.param.u64 %rd1, [at];
    mov.u32 %r1, %tid.x; mov.u32 %r2, %ntid.x; mov.u32 %r3, %ctaid.x;
    mad.lo.u32 %r4, %r3, %r2, %r1;
    mad.wide.u32 %rd2, %r4, 4, %rd1;
    ld.global.u32 %r5, [%rd2];
    mov.u32 %r6, dynamic;
    mad.lo.u32 %r7, %r1, 4, %r6;
    st.shared.u32 [%r7], %r5;
    setp.ne.u32 %p, %r1, 0;
    @!%p st.shared.u32 [added], %r2;
    bar.sync 0;
    sub.u32 %r8, %r2, %r1;
    mad.lo.u32 %r9, %r8, 4, %r6;
    ld.shared.u32 %r10, [%r9+-4];
    ld.shared.u32 %r11, [added];
    add.u32 %r10, %r10, %r11;
    st.global.u32 [%rd2], %r10;
    ret;
}",
        "reverse",
    );
    let words: Vec<u32> = (0..3 * 96).map(|i| i * 7).collect();
    let at = upload(&words);
    ok(kernel.launch([3, 1, 1], [96, 1, 1], 96 * 4, NULL, &[at]));
    let expected: Vec<u32> = words.chunks(96).flat_map(|it| it.iter().rev().map(|word| word + 96)).collect();
    assert_eq!(download(at, words.len()), expected);
    assert_eq!(kernel.launch([3, 1, 1], [96, 1, 1], 48 << 10, NULL, &[at]), INVALID_VALUE, "one word too much");
}

#[test]
fn dynamic_shared_memory_is_aligned_as_it_asks() {
    let _context = Context::new();
    let kernel = Kernel::new(
        "
.extern .shared .align 512 .b8 dynamic[];
.visible .entry where(.param .u64 at) {
    .reg .b64 %rd1; .reg .b32 %r<3>;
    .shared .align 4 .u32 before;
    ld.param.u64 %rd1, [at];
    mov.u32 %r1, dynamic;
    st.shared.u32 [before], %r1;
    mov.u32 %r2, %total_smem_size;
    st.global.v2.u32 [%rd1], {%r1, %r2};
    ret;
}",
        "where",
    );
    let at = upload(&[0u32; 2]);
    ok(kernel.launch([1, 1, 1], [1, 1, 1], 64, NULL, &[at]));
    assert_eq!(download(at, 2), [512, 576]);
}

#[test]
fn functions_take_and_return_parameters() {
    let _context = Context::new();
    let function = "
.func (.param .b64 result) weigh(.param .b32 x, .param .align 8 .b8 pair[16]) {
    .reg .b64 %rd<4>; .reg .b32 %r<3>;
    ld.param.u32 %r1, [x];
    ld.param.u64 %rd1, [pair];
    ld.param.u32 %r2, [pair+8];
    add.u32 %r1, %r1, %r2;
    mul.wide.u32 %rd2, %r1, 10;
    add.u64 %rd3, %rd1, %rd2;
    st.param.b64 [result], %rd3;
    ret;
}
.func bump(.param .b64 at) {
    .reg .b64 %rd1; .reg .b32 %r<2>;
    ld.param.u64 %rd1, [at];
    atom.global.add.u32 %r1, [%rd1], 1;
    ret;
}";
    // Only odd threads call, the others wait for them behind it.
    let kernel = "
.visible .entry calls(.param .u64 out) {
    .reg .b64 %rd<8>; .reg .b32 %r<6>; .reg .pred %p;
    ld.param.u64 %rd1, [out];
    mov.u32 %r1, %tid.x;
    and.b32 %r2, %r1, 1;
    setp.eq.u32 %p, %r2, 0;
    mov.u64 %rd4, 77;
    @%p bra AFTER;
    {
        .param .b32 p0; .param .align 8 .b8 p1[16]; .param .b64 r0;
        cvt.u64.u32 %rd2, %r1;
        st.param.b32 [p0], %r1;
        st.param.b64 [p1], %rd2;
        st.param.b32 [p1+8], 1000;
        call.uni (r0), weigh, (p0, p1);
        ld.param.b64 %rd4, [r0];
    }
    {
        .param .b64 p0;
        st.param.b64 [p0], %rd1;
        call.uni bump, (p0);
    }
AFTER:
    bar.warp.sync -1;
    mad.wide.u32 %rd5, %r1, 4, %rd1;
    cvt.u32.u64 %r3, %rd4;
    st.global.u32 [%rd5+4], %r3;
    ret;
}";
    let kernel = Kernel::new(&format!("{function}{kernel}"), "calls");
    let out = upload(&[0; 33]);
    ok(kernel.run(1, 32, &[out]));
    let words = download(out, 33);
    assert_eq!(words[0], 16);
    let expected: Vec<u32> = (0..32).map(|i| if i % 2 == 0 { 77 } else { i + (i + 1000) * 10 }).collect();
    assert_eq!(words[1..], expected);
}

#[test]
fn vectors_load_and_store_in_one_instruction() {
    let _context = Context::new();
    let kernel = Kernel::new(
        "
.visible .entry vectors(.param .u64 from, .param .u64 to) {
    .reg .b64 %rd<6>; .reg .b32 %r<8>; .reg .b16 %h<3>;
    mov.u32 %r1, %tid.x;
    ld.param.u64 %rd1, [from];
    ld.param.u64 %rd2, [to];
    mad.wide.u32 %rd1, %r1, 16, %rd1;
    mad.wide.u32 %rd2, %r1, 32, %rd2;
    ld.global.nc.v4.u32 {%r2, %r3, %r4, %r5}, [%rd1];
    st.global.v4.u32 [%rd2], {%r5, %r4, %r3, %r2};
    ld.global.v2.u64 {%rd3, %rd4}, [%rd1];
    st.global.v2.u64 [%rd2+16], {%rd4, %rd3};
    ld.global.v2.u16 {%h1, %h2}, [%rd1];
    st.global.v2.u16 [%rd2+16], {%h2, %h1};
    ret;
}",
        "vectors",
    );
    let words: Vec<u32> = (0..4 * 40).map(|i| 0x1234_0000 + i * 0x10_003).collect();
    let (from, to) = (upload(&words), upload(&[0; 8 * 40]));
    ok(kernel.run(1, 40, &[from, to]));
    let expected: Vec<u32> = words
        .chunks(4)
        .flat_map(|it| [it[3], it[2], it[1], it[0], it[0].rotate_left(16), it[3], it[0], it[1]])
        .collect();
    assert_eq!(download(to, expected.len()), expected);
}

#[test]
fn local_memory_is_indexed_by_registers() {
    let _context = Context::new();
    // Thread t fills slots 0 to 7 with t*8+i, and reads slot t%8 through a generic address.
    let body = per_thread(
        "
    .local .align 4 .b8 slots[32];
    mov.u32 %r1, 0;
    mov.u64 %rd1, slots;
FILL:
    mad.wide.u32 %rd2, %r1, 4, %rd1;
    mad.lo.u32 %r2, %me, 8, %r1;
    st.local.u32 [%rd2], %r2;
    add.u32 %r1, %r1, 1;
    setp.lt.u32 %p1, %r1, 8;
    @%p1 bra FILL;
    and.b32 %r3, %me, 7;
    cvta.local.u64 %rd3, %rd1;
    mad.wide.u32 %rd3, %r3, 4, %rd3;
    ld.u32 %r0, [%rd3];",
    );
    assert_eq!(words(&body, 70), (0..70).map(|t| t * 8 + t % 8).collect::<Vec<_>>());
}

#[test]
fn results_and_counters_do_not_depend_on_the_number_of_host_threads() {
    let outputs = ["1", "2", "5"].map(|n_threads| {
        let output = succeeds("launch::child_fingerprint", &[("MODE", "check"), ("THREADS", n_threads)]);
        let text = String::from_utf8_lossy(&output.stdout);
        text.lines().find(|line| line.contains("fingerprint")).unwrap().to_owned()
    });
    assert_eq!((&outputs[1], &outputs[2]), (&outputs[0], &outputs[0]));
}

/// Loops of different lengths, gathers, shuffles: prints everything that came out of it.
#[test]
#[ignore = "run by another test"]
fn child_fingerprint() {
    let _context = Context::new();
    let kernel = Kernel::new(
        "
.visible .entry fingerprint(.param .u64 at, .param .u32 n) {
    .reg .b64 %rd<4>; .reg .b32 %r<12>; .reg .pred %p<3>;
    ld.param.u64 %rd1, [at];
    ld.param.u32 %r1, [n];
    mov.u32 %r2, %tid.x; mov.u32 %r3, %ntid.x; mov.u32 %r4, %ctaid.x;
    mad.lo.u32 %r5, %r4, %r3, %r2;
    rem.u32 %r6, %r5, 13;
    mov.u32 %r7, %r5;
NEXT:
    mad.lo.u32 %r7, %r7, 1664525, 1013904223;
    rem.u32 %r8, %r7, %r1;
    mad.wide.u32 %rd2, %r8, 4, %rd1;
    ld.global.u32 %r9, [%rd2];
    xor.b32 %r7, %r7, %r9;
    sub.u32 %r6, %r6, 1;
    setp.gt.s32 %p1, %r6, 0;
    @%p1 bra NEXT;
    shfl.sync.bfly.b32 %r10, %r7, 5, 31, -1;
    add.u32 %r7, %r7, %r10;
    add.u32 %r11, %r5, %r1;
    mad.wide.u32 %rd3, %r11, 4, %rd1;
    st.global.u32 [%rd3], %r7;
    ret;
}",
        "fingerprint",
    );
    let n = 512;
    let at = upload(&(0..n).map(|i| i * i).chain((0..37 * 96).map(|_| 0)).collect::<Vec<_>>());
    ok(kernel.run(37, 96, &[at, n.into()]));
    let words = download(at, n as usize + 37 * 96);
    let hash = words.iter().fold(0u64, |hash, word| (hash ^ u64::from(*word)).wrapping_mul(0x100_0000_01b3));
    println!("fingerprint {hash:x} {:?}", counters(c"fingerprint"));
    ok(unsafe { cuStreamSynchronize(NULL) });
}
