//! Registers that are merged give what they gave apart, and those that must not be merged are not.

use crate::{
    isa::Op,
    lower::{self, program::Program},
    mem::allocations::Allocations,
    sched::{self, Options, Shape},
};

const N_THREADS: usize = 32;

/// What each thread of a kernel of this body leaves in `%r0`, `%t` being its index, and the copies of words that are
/// left in it.
fn run(body: &str) -> (Vec<u32>, usize) {
    let text = format!(
        ".version 8.0 .target sm_80 .address_size 64 .visible .entry k(.param .u64 out) {{
            .reg .b32 %r<9>, %t; .reg .b64 %d<9>, %to; .reg .pred %p<3>; .reg .b16 %h<3>;
            mov.u32 %t, %tid.x;
            ld.param.u64 %to, [out];
            mad.wide.u32 %to, %t, 4, %to;
            {body}
            st.global.u32 [%to], %r0;
            ret;
        }}"
    );
    let image = lower::load(&text, false, &mut |_| None).expect("it is PTX");
    let kernel = &image.kernels["k"];
    let mut memory = Allocations::new(1 << 20, false, false).expect("there are addresses");
    let address = memory.allocate(4 * N_THREADS as u64, 0).expect("there is memory");
    let options = Options {
        n_threads: 1,
        n_sms: 1,
        counts: false,
        checks: false,
        seed: None,
        step_limit: u64::MAX,
        grid_workspace: 0,
    };
    let shape = Shape { grid: [1, 1, 1], block: [N_THREADS as u32, 1, 1], dynamic_shared_bytes: 0 };
    sched::launch(kernel, shape, &address.to_le_bytes(), &memory.regions(), None, None, options).expect("no fault");
    let host = memory.host(address, 4 * N_THREADS as u64).expect("it is there") as *const u32;
    // SAFETY: the words of a live allocation, which nothing writes now.
    #[allow(unsafe_code)]
    let results = (0..N_THREADS).map(|i| unsafe { host.add(i).read() }).collect();
    (results, n_copies(&kernel.program))
}

/// Copies between registers that instructions write; the others load constants.
fn n_copies(program: &Program) -> usize {
    let is_constant = |slot: u16| program.word_constants.iter().any(|it| it.0 == slot);
    program.code.iter().filter(|it| it.op == Op::MovB32 && !is_constant(it.s[0])).count()
}

#[track_caller]
fn check(body: &str, copies_left: usize, expected: impl Fn(u32) -> u32) {
    let (results, n_copies) = run(body);
    assert_eq!(results, (0..N_THREADS as u32).map(expected).collect::<Vec<_>>());
    assert_eq!(n_copies, copies_left);
}

#[test]
fn a_loop_carries_its_registers_without_copies() {
    let body = "
        mov.u32 %r1, 0; add.u32 %r2, %t, 1;
    again:
        mad.lo.u32 %r3, %r2, 3, %r1;
        add.u32 %r4, %r1, 1;
        mov.u32 %r2, %r3;
        mov.u32 %r1, %r4;
        setp.lt.u32 %p0, %r4, 5;
        @%p0 bra again;
        add.u32 %r0, %r2, %r1;";
    check(body, 0, |t| (0..5).fold(t + 1, |sum, i| 3 * sum + i) + 5);
}

#[test]
fn a_swap_keeps_its_two_values_apart() {
    let body = "
        add.u32 %r1, %t, 7; mul.lo.u32 %r2, %t, 5; mov.u32 %r3, 0;
    again:
        mov.u32 %r4, %r1;
        mov.u32 %r1, %r2;
        mov.u32 %r2, %r4;
        add.u32 %r3, %r3, 1;
        setp.lt.u32 %p0, %r3, 3;
        @%p0 bra again;
        mad.lo.u32 %r0, %r1, 1000, %r2;";
    check(body, 3, |t| 5 * t * 1000 + t + 7);
}

#[test]
fn the_branches_of_a_diamond_write_its_result() {
    let body = "
        and.b32 %r1, %t, 1;
        setp.eq.u32 %p0, %r1, 0;
        @%p0 bra even;
        add.u32 %r2, %t, 100;
        mov.u32 %r4, %r2;
        bra.uni join;
    even:
        mul.lo.u32 %r3, %t, 9;
        mov.u32 %r4, %r3;
    join:
        add.u32 %r0, %r4, 1;";
    check(body, 0, |t| if t % 2 == 0 { 9 * t + 1 } else { t + 101 });
}

#[test]
fn a_source_that_is_wanted_after_a_new_write_stays() {
    // The old %r1 is wanted behind the write of its copy.
    let body = "
        add.u32 %r1, %t, 1; mov.u32 %r2, 0;
    again:
        mov.u32 %r3, %r1;
        add.u32 %r3, %r3, 10;
        mad.lo.u32 %r1, %r1, 2, %r3;
        add.u32 %r2, %r2, 1;
        setp.lt.u32 %p0, %r2, 3;
        @%p0 bra again;
        mov.u32 %r0, %r1;";
    check(body, 1, |t| (0..3).fold(t + 1, |it, _| 2 * it + it + 10));
}

#[test]
fn a_source_that_is_wanted_while_its_copy_stays_as_it_is_may_be_one_with_it() {
    let body = "
        mov.u32 %r4, 0;
    again:
        add.u32 %r1, %t, %r4;
        mov.u32 %r2, %r1;
        mad.lo.u32 %r0, %r1, 10, %r2;
        add.u32 %r4, %r4, 1;
        setp.lt.u32 %p0, %r4, 3;
        @%p0 bra again;
        mov.u32 %r2, 0;";
    check(body, 0, |t| 11 * (t + 2));
}

#[test]
fn a_copy_behind_a_guard_does_not_end_what_was_there() {
    let body = "
        add.u32 %r1, %t, 50; mul.lo.u32 %r2, %t, 3;
        setp.gt.u32 %p0, %t, 9;
        @%p0 mov.u32 %r1, %r2;
        mov.u32 %r0, %r1;";
    check(body, 1, |t| if t > 9 { 3 * t } else { t + 50 });
}

#[test]
fn a_write_behind_a_guard_interferes_with_what_is_live() {
    let body = "
        add.u32 %r1, %t, 50;
        setp.gt.u32 %p0, %t, 9;
        mov.u32 %r2, %r1;
        @%p0 add.u32 %r2, %r2, 1;
        @!%p0 add.u32 %r1, %r1, 2;
        mad.lo.u32 %r0, %r1, 1000, %r2;";
    check(body, 1, |t| if t > 9 { (t + 50) * 1000 + t + 51 } else { (t + 52) * 1000 + t + 50 });
}

#[test]
fn registers_of_other_widths_are_copied_as_before() {
    let body = "
        mul.wide.u32 %d1, %t, 8; mov.u32 %r2, 0;
    again:
        cvt.u32.u64 %r3, %d1;
        add.u64 %d2, %d1, 1;
        mov.u64 %d1, %d2;
        cvt.u16.u32 %h1, %r3;
        mov.u16 %h2, %h1;
        cvt.u32.u16 %r4, %h2;
        add.u32 %r2, %r2, 1;
        setp.lt.u32 %p0, %r2, 3;
        @%p0 bra again;
        add.u32 %r0, %r3, %r4;";
    check(body, 0, |t| 2 * (8 * t + 2));
}
