//! What is fused gives the same bits as what it stands for, and what must not be fused is not.

use crate::{
    isa::Op,
    lower,
    mem::allocations::Allocations,
    sched::{self, Options, Shape},
};
use std::sync::Arc;

/// The operations that stand for others, and that each thread of a kernel of this body leaves in `%r0`, with and without
/// them. `%x` and `%y` hold halves that depend on the thread, some of them NaN; `%c` holds 1.5.
fn run(body: &str) -> (Vec<Op>, [Vec<u32>; 2]) {
    let text = format!(
        ".version 8.0 .target sm_80 .address_size 64 .visible .entry k(.param .u64 out) {{
            .reg .b32 %x, %y, %c, %r<9>, %l<9>, %h<9>, %t; .reg .b64 %to;
            mov.u32 %t, %tid.x;
            mul.lo.u32 %x, %t, 0x9e3779b9;
            mul.lo.u32 %y, %t, 0x85ebca6b;
            or.b32 %c, 0, 0x3fc00000;
            ld.param.u64 %to, [out];
            mad.wide.u32 %to, %t, 4, %to;
            bra.uni next;
        next:
            {body}
            st.global.u32 [%to], %r0;
            ret;
        }}"
    );
    let mut ops = Vec::new();
    let results = [true, false].map(|is_fused| {
        let mut image = lower::load(&text, false, &mut |_| None).expect("it is PTX");
        let kernel = image.kernels.get_mut("k").expect("it was loaded");
        let program = &mut Arc::get_mut(kernel).expect("nobody else has it").program;
        if is_fused {
            ops = program
                .fused
                .iter()
                .map(|it| it.op)
                .filter(|it| program.code.iter().all(|inst| inst.op != *it))
                .collect();
        } else {
            program.fused_at.fill(0..0);
        }
        let mut memory = Allocations::new(1 << 20, false, false).expect("there are addresses");
        let address = memory.allocate(4 * 4096, 0).expect("there is memory");
        let options = Options {
            n_threads: 1,
            n_sms: 1,
            counts: true,
            checks: false,
            seed: None,
            step_limit: u64::MAX,
            grid_workspace: 0,
        };
        let shape = Shape { grid: [1, 1, 1], block: [1000, 1, 1], dynamic_shared_bytes: 0 };
        let counts = sched::launch(kernel, shape, &address.to_le_bytes(), &memory.regions(), None, None, options)
            .expect("no fault");
        let n_executed = kernel.program.code.len() as u64 * 1000;
        assert_eq!(counts.launch.lane_instructions, n_executed, "every instruction counts");
        let host = memory.host(address, 4000).expect("it is there") as *const u32;
        // SAFETY: 1000 words of a live allocation, which nothing writes now.
        #[allow(unsafe_code)]
        (0..1000).map(|i| unsafe { host.add(i).read() }).collect::<Vec<u32>>()
    });
    (ops, results)
}

#[track_caller]
fn check(body: &str, expected: &[Op]) {
    let (ops, [fused, plain]) = run(body);
    assert_eq!(ops, expected, "{body}");
    assert_eq!(fused, plain, "{body}");
    assert!(plain.iter().any(|it| *it != plain[0]), "the threads differ");
}

const HALVES: &str = "shl.b32 %l1, %x, 16; and.b32 %h1, %x, -65536; shl.b32 %l2, %y, 16; and.b32 %h2, %y, -65536;";

#[test]
fn a_chain_becomes_groups_of_three() {
    let link = |to: u32, from: u32| format!("fma.rn.f32 %r{to}, %x, %y, %r{from};");
    let chain = |n: u32| {
        let links: String = (1..n).map(|i| link(i + 1, i)).collect();
        format!("fma.rn.f32 %r1, %y, %y, %c; {links} add.f32 %r0, %r{n}, %x;")
    };
    check(&chain(1), &[]);
    check(&chain(2), &[Op::Fma2F32]);
    check(&chain(3), &[Op::Fma3F32]);
    check(&chain(5), &[Op::Fma3F32, Op::Fma2F32]);
}

#[test]
fn pairs_of_halves_become_dot_products() {
    let pair = |a: u32, sum: &str, to: u32| {
        format!("fma.rn.f32 %r8, %l{a}, %l2, {sum}; fma.rn.f32 %r{to}, %h{a}, %h2, %r8;")
            .replace("%r8", &format!("%l{}", to + 2))
    };
    check(&format!("{HALVES} {} add.f32 %r0, %r1, %c;", pair(1, "%c", 1)), &[Op::Dot2Bf16]);
    let two = format!("{HALVES} {} {} add.f32 %r0, %r2, %c;", pair(1, "%c", 1), pair(2, "%r1", 2));
    check(&two, &[Op::Dot4Bf16]);
    let four = [pair(1, "%c", 1), pair(2, "%r1", 2), pair(1, "%r2", 3), pair(2, "%r3", 4)].concat();
    check(&format!("{HALVES} {four} add.f32 %r0, %r4, %c;"), &[Op::Dot6Bf16, Op::Dot2Bf16]);
}

#[test]
fn halves_that_others_read_are_still_taken_out() {
    let body = "fma.rn.f32 %r1, %l1, %l2, %c; fma.rn.f32 %r2, %h1, %h2, %r1; xor.b32 %r0, %r2, %h1;";
    check(&format!("{HALVES} {body}"), &[Op::Dot2Bf16]);
}

#[test]
fn what_changes_in_between_or_is_wanted_is_not_fused() {
    let overwritten = "fma.rn.f32 %r1, %x, %y, %c; add.u32 %x, %x, 77; fma.rn.f32 %r2, %x, %y, %r1; mov.b32 %r0, %r2;";
    check(overwritten, &[]);
    let wanted = "fma.rn.f32 %r1, %x, %y, %c; fma.rn.f32 %r2, %x, %y, %r1; xor.b32 %r0, %r2, %r1;";
    check(wanted, &[]);
    let in_place = "or.b32 %r1, %c, 0; fma.rn.f32 %r1, %x, %y, %r1; fma.rn.f32 %r1, %y, %y, %r1; or.b32 %r0, %r1, 0;";
    check(in_place, &[]);
    let packed = format!(
        "{HALVES} fma.rn.f32 %r1, %l1, %l2, %c; xor.b32 %y, %y, 0x400040; fma.rn.f32 %r2, %h1, %h2, %r1; xor.b32 %r0, %r2, %y;"
    );
    check(&packed, &[]);
    let across = "fma.rn.f32 %r1, %x, %y, %c; bar.sync 0; fma.rn.f32 %r2, %x, %y, %r1; or.b32 %r0, %r2, 0;";
    check(across, &[]);
}

/// The link in between belongs to another chain, whose sources are read late too.
#[test]
fn chains_may_be_interleaved() {
    let body = "fma.rn.f32 %r1, %x, %y, %c; fma.rn.f32 %r2, %y, %y, %c; fma.rn.f32 %r3, %y, %x, %r1;
        fma.rn.f32 %r4, %x, %x, %r2; mul.lo.u32 %l1, %x, 3; xor.b32 %r5, %r3, %r4; xor.b32 %r0, %r5, %l1;";
    check(body, &[Op::Fma2F32, Op::Fma2F32]);
}
