//! An L2 that outlives launches: in a process of its own, since the counters are the process's.
//!
//! Planted once, and seen to fail here: a policy that nobody looks at.

use crate::{common::*, kernel::*};
use cuda_emulator::driver::tools::*;

/// Each thread adds four words up, the caches told by a policy or not.
fn reads(with_policy: bool) -> String {
    let (hint, policy) = if with_policy { (".L2::cache_hint", ", %rd3") } else { ("", "") };
    format!(
        ".visible .entry reads(.param .u64 from, .param .u64 to) {{
            .reg .b64 %rd<5>; .reg .b32 %r<9>; .reg .pred %p;
            createpolicy.fractional.L2::evict_first.b64 %rd3;
            ld.param.u64 %rd1, [from];
            ld.param.u64 %rd4, [to];
            mov.u32 %r1, %tid.x; mov.u32 %r2, %ctaid.x; mov.u32 %r3, %ntid.x;
            mad.lo.u32 %r4, %r2, %r3, %r1;
            mad.wide.u32 %rd2, %r4, 16, %rd1;
            ld.global{hint}.v4.u32 {{%r5, %r6, %r7, %r8}}, [%rd2]{policy};
            add.u32 %r5, %r5, %r6; add.u32 %r7, %r7, %r8; add.u32 %r5, %r5, %r7;
            setp.eq.u32 %p, %r5, 12345;
            @%p st.global.u32 [%rd4], %r5;
            ret;
        }}"
    )
}

/// Writes a word a thread.
const WRITES: &str = "
.visible .entry writes(.param .u64 to) {
    .reg .b64 %rd<3>; .reg .b32 %r<5>;
    ld.param.u64 %rd1, [to];
    mov.u32 %r1, %tid.x; mov.u32 %r2, %ctaid.x; mov.u32 %r3, %ntid.x;
    mad.lo.u32 %r4, %r2, %r3, %r1;
    mad.wide.u32 %rd2, %r4, 4, %rd1;
    st.global.u32 [%rd2], %r4;
    ret;
}";

#[test]
fn an_l2_can_be_kept() {
    succeeds("l2::child_kept", &[]);
}

const MIB: u64 = 1 << 20;

#[test]
#[ignore = "run by another test"]
fn child_kept() {
    assert_eq!(cuda_emulator_keep_l2(1), NOT_INITIALIZED);
    let _context = Context::new();
    let (some, many) = (device_memory(MIB as usize), device_memory(64 * MIB as usize));
    let (normal, first) = (Kernel::new(&reads(false), "reads"), Kernel::new(&reads(true), "reads"));
    let writes = Kernel::new(WRITES, "writes");
    ok(writes.run(64 * MIB as u32 / 4096, 1024, &[many]));
    // Bytes of DRAM, read and written, of launches since the last call.
    let moved = || {
        let counts = counters(c"reads").counters.counts;
        ok(cuda_emulator_reset_counters());
        (counts.dram_read_bytes, counts.dram_write_bytes)
    };
    let read_some = || ok(normal.run(MIB as u32 / 16384, 1024, &[some, some]));
    let read_many = |kernel: &Kernel| ok(kernel.run(64 * MIB as u32 / 16384, 1024, &[many, many]));
    ok(cuda_emulator_count(1));
    ok(writes.run(MIB as u32 / 4096, 1024, &[some]));
    read_some();
    read_some();
    assert_eq!(moved(), (2 * MIB, 0), "each launch finds L2 empty");

    ok(cuda_emulator_keep_l2(1));
    read_some();
    read_some();
    assert_eq!(moved(), (MIB, 0), "the second finds what the first read");
    ok(writes.run(MIB as u32 / 4096, 1024, &[some]));
    read_some();
    read_many(&first);
    read_some();
    assert_eq!(moved(), (64 * MIB, 0), "what may go first goes before what was written");
    read_many(&normal);
    read_some();
    assert_eq!(
        moved(),
        (64 * MIB + MIB, MIB),
        "more than it holds drives all out, and what was written is written back"
    );

    ok(cuda_emulator_keep_l2(0));
    read_some();
    read_some();
    assert_eq!(moved(), (2 * MIB, 0));
}
