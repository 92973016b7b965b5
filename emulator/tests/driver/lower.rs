//! What becomes of a module's text at load: copies that may go and those that may not, and texts that ask for too much.

use crate::{common::*, kernel::*};

/// `prev` keeps the value of the last round, though `cur` and it are written at one place each.
#[test]
fn a_copy_that_outlives_its_source_stays() {
    let _context = Context::new();
    let values = [3, 3, 5, 5, 5, 1, 3, 3];
    let out = upload(&[0]);
    let kernel = ".visible .entry k(.param .u64 out, .param .u64 in) {
        .reg .b32 %i, %n, %cur, %prev; .reg .b64 %at, %to; .reg .pred %p<4>;
        ld.param.u64 %to, [out];
        ld.param.u64 %at, [in];
        mov.u32 %i, 0;
        mov.u32 %n, 0;
    round:
        ld.global.u32 %cur, [%at];
        setp.eq.u32 %p1, %i, 0;
        @%p1 bra same;
        setp.eq.u32 %p2, %cur, %prev;
        @%p2 bra same;
        add.u32 %n, %n, 1;
    same:
        mov.u32 %prev, %cur;
        add.u64 %at, %at, 4;
        add.u32 %i, %i, 1;
        setp.lt.u32 %p3, %i, 8;
        @%p3 bra round;
        st.global.u32 [%to], %n;
        ret;
    }";
    ok(Kernel::new(kernel, "k").run(1, 1, &[out, upload(&values)]));
    assert_eq!(download(out, 1), [3]);
}

#[test]
fn copies_in_a_circle_are_no_trouble() {
    let _context = Context::new();
    let unreachable = "mov.u32 %r0, %me; bra out_; mov.b32 %r1, %r2; mov.b32 %r2, %r1; out_:";
    assert_eq!(words(&per_thread(unreachable), 32), Vec::from_iter(0..32));
    let unwritten = "mov.u32 %r0, %me; mov.b32 %r1, %r2; mov.b32 %r2, %r1; mov.b32 %r3, %r3;";
    assert_eq!(words(&per_thread(unwritten), 32), Vec::from_iter(0..32));
}
