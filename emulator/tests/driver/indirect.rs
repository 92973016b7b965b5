//! Branches through tables, and calls through pointers.

use crate::{common::*, fault::*, kernel::*};

/// Four ways, of which the last falls through to the end.
const TABLE: &str = "
        mov.u32 %r0, 1000;
    ways: .branchtargets ZERO, ONE, TWO, END;
        brx.idx %r1, ways;
    ONE:
        add.u32 %r0, %me, 100;
        bra END;
    TWO:
        mul.lo.u32 %r0, %me, 3;
        bra END;
    ZERO:
        not.b32 %r0, %me;
    END:
        shfl.sync.bfly.b32 %r0, %r0, 1, 31, -1;";

fn way(index: u32, me: u32) -> u32 {
    match index {
        0 => !me,
        1 => me + 100,
        2 => me * 3,
        _ => 1000,
    }
}

#[test]
fn lanes_part_at_a_table_and_meet_behind_it() {
    let _context = Context::new();
    let body = format!("and.b32 %r1, %me, 3; {TABLE}");
    let expected: Vec<u32> = (0..32).map(|me| me ^ 1).map(|me| way(me % 4, me)).collect();
    assert_eq!(words(&per_thread(&body), 32), expected);
    // All the same way.
    let body = format!("mov.u32 %r1, 2; {TABLE}");
    assert_eq!(words(&per_thread(&body), 32), (0..32).map(|me| (me ^ 1) * 3).collect::<Vec<_>>());
    // Where the guard does not hold, the next instruction follows: way 1.
    let guarded = TABLE.replace("brx.idx", "setp.lt.u32 %p1, %me, 8;\n@%p1 brx.idx");
    let body = format!("and.b32 %r1, %me, 3; {guarded}");
    let expected = (0..32).map(|me| me ^ 1).map(|me| way(if me < 8 { me % 4 } else { 1 }, me));
    assert_eq!(words(&per_thread(&body), 32), expected.collect::<Vec<_>>());
}

/// A machine that runs round a table until it gets to its end: the branches go backward, too.
#[test]
fn a_table_in_a_loop() {
    let _context = Context::new();
    let body = "
        mov.u32 %r0, %me;
        mov.u32 %r2, 0;
    NEXT:
        rem.u32 %r1, %r0, 3;
        add.u32 %r2, %r2, 1;
        setp.gt.u32 %p1, %r2, 20;
        selp.u32 %r1, 3, %r1, %p1;
    ways: .branchtargets THIRD, NEXT_ONE, DOUBLE, END;
        brx.idx.uni %r1, ways;
    THIRD:
        add.u32 %r0, %r0, 7;
        bra NEXT;
    NEXT_ONE:
        add.u32 %r0, %r0, 1;
        bra NEXT;
    DOUBLE:
        shl.b32 %r0, %r0, 1;
        bra NEXT;
    END:";
    let expected = (0..32).map(|me: u32| {
        (0..20).fold(me, |x, _| match x % 3 {
            0 => x.wrapping_add(7),
            1 => x.wrapping_add(1),
            _ => x << 1,
        })
    });
    assert_eq!(words(&per_thread(body), 32), expected.collect::<Vec<_>>());
}

#[test]
fn an_index_past_the_table_is_a_fault() {
    let _context = Context::new();
    let body = "L: .branchtargets A, B;\nbrx.idx %r1, L;\nA:\nB:";
    fails(ILLEGAL_ADDRESS, body, (1, 8), 0, "brx.idx", &["thread (2, 0, 0)", "index 2 in a table of 2 targets"]);
}

const FUNCTIONS: &str = "
.func (.param .b32 result) twice(.param .b32 x) {
    .reg .b32 %r<3>;
    ld.param.b32 %r1, [x];
    shl.b32 %r2, %r1, 1;
    st.param.b32 [result], %r2;
    ret;
}
.func (.param .b32 result) next(.param .b32 x) {
    .reg .b32 %r<3>;
    ld.param.b32 %r1, [x];
    add.u32 %r2, %r1, 1;
    st.param.b32 [result], %r2;
    ret;
}
.func other(.param .b64 x) { ret; }
.global .u64 table[3] = {twice, next, other};
";

/// Calls what `%rd3` points to with the thread's index.
const CALL: &str = "
    {
        .param .b32 x;
        .param .b32 result;
        st.param.b32 [x], %me;
        p: .callprototype (.param .b32 _) _ (.param .b32 _);
        call (result), %rd3, (x), p;
        ld.param.b32 %r0, [result];
    }";

#[test]
fn lanes_call_different_functions() {
    let _context = Context::new();
    let body = format!(
        "{FUNCTIONS} {}",
        per_thread(&format!(
            "and.b32 %r1, %me, 1;
            mov.u64 %rd1, table;
            mad.wide.u32 %rd1, %r1, 8, %rd1;
            ld.global.u64 %rd3, [%rd1];
            setp.eq.u32 %p1, %me, 6;
            mov.u64 %rd4, next;
            selp.b64 %rd3, %rd4, %rd3, %p1;
            {CALL}"
        ))
    );
    let expected = |me: u32| if me % 2 == 1 || me == 6 { me + 1 } else { me * 2 };
    assert_eq!(words(&body, 32), (0..32).map(expected).collect::<Vec<_>>());
    // Under a guard.
    let guarded = CALL.replace("call (", "setp.lt.u32 %p1, %me, 5; st.param.b32 [result], %me;\n@%p1 call (");
    let body = format!("{FUNCTIONS} {}", per_thread(&format!("mov.u64 %rd3, twice; {guarded}")));
    assert_eq!(words(&body, 32), (0..32).map(|me| if me < 5 { 2 * me } else { me }).collect::<Vec<_>>());
}

#[test]
fn a_call_of_what_is_no_function_traps() {
    let _context = Context::new();
    let body = format!("{FUNCTIONS} {}", per_thread(&format!("mov.u64 %rd3, 4096; {CALL}")));
    let out = upload(&[0; 32]);
    let _faults = faults();
    assert_eq!(Kernel::new(&body, "k").run(1, 32, &[out]), LAUNCH_FAILED);
}
