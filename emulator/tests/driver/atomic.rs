//! The forms of `atom` and `red` that need more than a 32-bit integer.

use crate::{common::*, kernel::*};

/// Runs `body` by one thread with `%rd1` the address of `words` in global memory, and returns them with `%r0` behind.
#[track_caller]
fn after(words: &[u32], body: &str) -> Vec<u32> {
    let at = upload(words);
    let kernel = format!(
        ".visible .entry k(.param .u64 out, .param .u64 at) {{
            .reg .b32 %r<16>; .reg .b16 %h<8>; .reg .b64 %rd<8>; .reg .f64 %fd<4>;
            ld.param.u64 %rd1, [at];
            mov.u32 %r0, 0;
            {body}
            ld.param.u64 %rd2, [out];
            st.global.u32 [%rd2], %r0;
            ret;
        }}"
    );
    let out = upload(&[0]);
    ok(Kernel::new(&kernel, "k").run(1, 1, &[out, at]));
    let mut words = download(at, words.len());
    words.extend(download(out, 1));
    words
}

#[test]
fn sixteen_bits_change_alone() {
    let _context = Context::new();
    let cas =
        "mov.b16 %h1, 0x2222; mov.b16 %h2, 0x9999; atom.global.cas.b16 %h3, [%rd1+2], %h1, %h2; cvt.u32.u16 %r0, %h3;";
    assert_eq!(after(&[0x2222_1111], cas), [0x9999_1111, 0x2222]);
    assert_eq!(after(&[0x3333_1111], cas), [0x3333_1111, 0x3333]);
    let add = |ty: &str, b: u32| {
        format!("mov.b16 %h1, {b}; atom.global.add.noftz.{ty} %h3, [%rd1+2], %h1; cvt.u32.u16 %r0, %h3;")
    };
    // 1 + 2 in f16 and bf16; the smallest subnormal of f16 twice.
    assert_eq!(after(&[0x3c00_ffff], &add("f16", 0x4000)), [0x4200_ffff, 0x3c00]);
    assert_eq!(after(&[0x0001_ffff], &add("f16", 0x0001)), [0x0002_ffff, 0x0001]);
    assert_eq!(after(&[0x3f80_ffff], &add("bf16", 0x4000)), [0x4040_ffff, 0x3f80]);
    let pair = |ty| format!("mov.b32 %r1, 0x40003c00; red.relaxed.gpu.global.add.noftz.{ty} [%rd1], %r1;");
    assert_eq!(after(&[0x3c00_4000], &pair("f16x2")), [0x4200_4200, 0]);
    assert_eq!(after(&[0x3f80_0000], &pair("bf16x2"))[0], 0x4040_3c00);
}

#[test]
fn sixty_four_bits() {
    let _context = Context::new();
    let of = |operation: &str, b: i64| {
        format!("mov.b64 %rd3, {b}; atom.global.{operation} %rd4, [%rd1], %rd3; cvt.u32.u64 %r0, %rd4;")
    };
    let word = |x: i64| [x as u32, (x as u64 >> 32) as u32];
    for (operation, a, b, expected) in [
        ("add.u64", 1i64 << 32, -1, (1 << 32) - 1),
        ("min.s64", 5, -5, -5),
        ("min.u64", 5, -5, 5),
        ("max.s64", 5, -5, 5),
        ("max.u64", 5, -5, -5),
        ("and.b64", 0x0f0f_0f0f_0f0f, 0x00ff_00ff_00ff, 0x000f_000f_000f),
        ("or.b64", 0x0f0f_0f0f_0f0f, 0x00ff_00ff_00ff, 0x0fff_0fff_0fff),
        ("xor.b64", 0x0f0f_0f0f_0f0f, 0x00ff_00ff_00ff, 0x0ff0_0ff0_0ff0),
        ("exch.b64", 7, 9, 9),
    ] {
        let [low, high] = word(expected);
        assert_eq!(after(&word(a), &of(operation, b)), [low, high, a as u32], "{operation}");
    }
    let half = 0.5f64.to_bits() as i64;
    let body = format!("mov.b64 %fd1, {half}; red.global.add.f64 [%rd1], %fd1;");
    assert_eq!(after(&word(1.25f64.to_bits() as i64), &body)[..2], word(1.75f64.to_bits() as i64));
}

#[test]
fn f32_sums_flush_subnormals_in_global_memory_only() {
    let _context = Context::new();
    // 2^-126 less its last place is subnormal.
    let add = |b: u32| format!("mov.b32 %r1, {b}; red.global.add.f32 [%rd1], %r1;");
    assert_eq!(after(&[0x0000_0001], &add(0x0000_0001))[0], 0);
    assert_eq!(after(&[0x8000_0001], &add(0x8000_0001))[0], 0x8000_0000);
    assert_eq!(after(&[1.5f32.to_bits()], &add(2f32.to_bits()))[0], 3.5f32.to_bits());
    let shared = "
        .shared .align 4 .b8 word[4];
        mov.u32 %r1, 1;
        st.shared.u32 [word], %r1;
        atom.shared.add.f32 %r2, [word], %r1;
        ld.shared.u32 %r0, [word];";
    assert_eq!(after(&[5], shared), [5, 2]);
}

#[test]
fn a_vector_is_an_atomic_for_each_element() {
    let _context = Context::new();
    let f = f32::to_bits;
    // The results overwrite the operands only when all are read.
    let body = format!(
        "mov.b32 %r1, {}; mov.b32 %r2, {};
        atom.global.add.v2.f32 {{%r2, %r1}}, [%rd1+8], {{%r1, %r2}};
        sub.u32 %r0, %r2, %r1;",
        f(1.0),
        f(2.0)
    );
    let words = [f(10.0), f(20.0), f(30.0), f(40.0)];
    assert_eq!(after(&words, &body), [f(10.0), f(20.0), f(31.0), f(42.0), f(30.0).wrapping_sub(f(40.0))]);
    let body = format!("mov.b32 %r1, {}; red.global.add.v4.f32 [%rd1], {{%r1, %r1, %r1, %r1}};", f(0.5));
    assert_eq!(after(&words, &body)[..4], [f(10.5), f(20.5), f(30.5), f(40.5)]);
    // The greater of 1 and 2, and of 1 and NaN.
    let body = "mov.b32 %r1, 0x7e004000; red.global.max.noftz.v2.f16x2 [%rd1], {%r1, %r1};";
    assert_eq!(after(&[0x3c00_3c00, 0x4400_4400], body)[..2], [0x3c00_4000, 0x4400_4400]);
}
