//! `ldmatrix`, `stmatrix`, `movmatrix` and `mma` as kernels use them. The fragments' rule is tested where `mma` is.

use crate::{common::*, fault::*, kernel::*};

/// 32 rows of 8 elements in shared memory, 48 bytes apart: element c of row r is 8r + c. `%r1` is the address of row 7 *
/// thread % 32.
const ROWS: &str = "
    .shared .align 16 .b8 rows[1536];
    mul.lo.u32 %r1, %me, 48;
    mov.u32 %r2, rows;
    add.u32 %r1, %r1, %r2;
    mul.lo.u32 %r3, %me, 524296;
    add.u32 %r3, %r3, 65536;
    st.shared.u32 [%r1], %r3;
    add.u32 %r3, %r3, 131074;
    st.shared.u32 [%r1+4], %r3;
    add.u32 %r3, %r3, 131074;
    st.shared.u32 [%r1+8], %r3;
    add.u32 %r3, %r3, 131074;
    st.shared.u32 [%r1+12], %r3;
    bar.warp.sync -1;
    mul.lo.u32 %r3, %me, 7;
    and.b32 %r3, %r3, 31;
    mad.lo.u32 %r1, %r3, 48, %r2;
";

/// Lanes (row, columns 2t and 2t + 1) of an 8 x 8 matrix.
fn fragment(element: impl Fn(u32, u32) -> u32) -> Vec<u32> {
    (0..32).map(|lane| element(lane / 4, lane % 4 * 2) | element(lane / 4, lane % 4 * 2 + 1) << 16).collect()
}

#[test]
fn ldmatrix_gives_each_lane_its_elements() {
    let _context = Context::new();
    for (count, registers) in [(1, "%r8"), (2, "%r8, %r9"), (4, "%r8, %r9, %r10, %r11")] {
        for trans in ["", ".trans"] {
            for i in 0..count {
                let row = |row: u32| (8 * i + row) * 7 % 32;
                let expected = match trans {
                    "" => fragment(|r, c| row(r) * 8 + c),
                    _ => fragment(|r, c| row(c) * 8 + r),
                };
                let load = format!("ldmatrix.sync.aligned.m8n8.x{count}{trans}.shared.b16 {{{registers}}}, [%r1];");
                let body = format!("{ROWS} {load} mov.b32 %r0, %r{};", 8 + i);
                assert_eq!(words(&per_thread(&body), 32), expected, "x{count}{trans}, matrix {i}");
            }
        }
    }
    // By a generic address.
    let body = format!(
        "{ROWS} cvt.u64.u32 %rd1, %r1; cvta.shared.u64 %rd1, %rd1; sub.u64 %rd1, %rd1, 8;
        ldmatrix.sync.aligned.m8n8.x1.b16 {{%r0}}, [%rd1+8];"
    );
    assert_eq!(words(&per_thread(&body), 32), fragment(|r, c| r * 7 % 32 * 8 + c));
}

#[test]
fn stmatrix_is_the_way_back() {
    let _context = Context::new();
    for trans in ["", ".trans"] {
        // Each lane reads word 2 of the row that it gave the address of: columns 4 and 5 of row `lane` % 8 of matrix
        // `lane` / 8, whose register holds 256 * matrix + 2 * lane and the next number.
        let body = format!(
            "{ROWS}
            shl.b32 %r4, %me, 1;
            mad.lo.u32 %r8, %r4, 65537, 65536;
            add.u32 %r9, %r8, 16777472;
            add.u32 %r10, %r9, 16777472;
            add.u32 %r11, %r10, 16777472;
            stmatrix.sync.aligned.m8n8.x4{trans}.shared.b16 [%r1], {{%r8, %r9, %r10, %r11}};
            bar.warp.sync -1;
            ld.shared.u32 %r0, [%r1+8];"
        );
        let stored = |row: u32, column: u32| row * 8 + column;
        let expected: Vec<u32> = (0..32)
            .map(|lane| {
                let (matrix, row) = (lane / 8, lane % 8);
                let element = |column| match trans {
                    "" => 256 * matrix + stored(row, column),
                    _ => 256 * matrix + stored(column, row),
                };
                element(4) | element(5) << 16
            })
            .collect();
        assert_eq!(words(&per_thread(&body), 32), expected, "{trans}");
    }
}

#[test]
fn movmatrix_transposes() {
    let _context = Context::new();
    let body = "
        shl.b32 %r1, %me, 1;
        mad.lo.u32 %r1, %r1, 65537, 65536;
        movmatrix.sync.aligned.m8n8.trans.b16 %r0, %r1;";
    assert_eq!(words(&per_thread(body), 32), fragment(|row, column| column * 8 + row));
}

#[test]
fn a_row_of_ldmatrix_has_to_be_aligned_and_inside() {
    let body = |address: &str| {
        format!(
            ".shared .align 16 .b8 rows[256];
            mov.u32 %r2, rows;
            and.b32 %r3, %r1, 15;
            mad.lo.u32 %r2, %r3, 16, %r2;
            setp.eq.u32 %p1, %r1, 13;
            @%p1 add.u32 %r2, %r2, {address};
            ldmatrix.sync.aligned.m8n8.x2.shared.b16 {{%r4, %r5}}, [%r2];"
        )
    };
    let _context = Context::new();
    let said = ["misaligned", "thread (13, 0, 0)", "read of 16 bytes at shared 0x"];
    fails(MISALIGNED_ADDRESS, &body("8"), (1, 32), 0, "ldmatrix", &said);
    let _context = Context::new();
    fails(ILLEGAL_ADDRESS, &body("4096"), (1, 32), 0, "ldmatrix", &["out of bounds", "thread (13, 0, 0)"]);
}

#[test]
fn a_warp_executes_mma_whole() {
    let mma = "mma.sync.aligned.m16n8k8.row.col.f32.bf16.bf16.f32 \
        {%r2, %r3, %r4, %r5}, {%r1, %r1}, {%r1}, {%r2, %r3, %r4, %r5};";
    let clear = "mov.b32 %r2, 0; mov.b32 %r3, 0; mov.b32 %r4, 0; mov.b32 %r5, 0;";
    let parted = format!("{clear} setp.lt.u32 %p1, %r1, 20;\n@%p1 {mma}");
    let _context = Context::new();
    fails(LAUNCH_FAILED, &parted, (1, 32), 0, "mma.sync", &["the whole warp", "lanes 0xfff00000 don't"]);
    let few = format!("{clear}\n{mma}");
    let _context = Context::new();
    fails(LAUNCH_FAILED, &few, (1, 24), 0, "mma.sync", &["the whole warp", "lanes 0xff000000 don't"]);
}

/// Integer factors as the opcode has them, against the sum of products; the layout of bytes is in the kernel.
#[test]
fn mma_of_bytes_multiplies_matrices() {
    let _context = Context::new();
    // A[row][k] = row - 7 (s8), B[k][column] = k + column (u8): 16 x 32 and 32 x 8.
    let body = "
        shr.u32 %r1, %me, 2;
        and.b32 %r2, %me, 3;
        sub.u32 %r3, %r1, 7;
        and.b32 %r3, %r3, 255;
        mul.lo.u32 %r3, %r3, 0x01010101;
        add.u32 %r4, %r1, 1;
        mul.lo.u32 %r4, %r4, 0x01010101;
        shl.b32 %r5, %r2, 2;
        add.u32 %r5, %r5, %r1;
        mul.lo.u32 %r5, %r5, 0x01010101;
        add.u32 %r5, %r5, 0x03020100;
        add.u32 %r6, %r5, 0x10101010;
        mov.b32 %r7, 1000;
        mma.sync.aligned.m16n8k32.row.col.s32.s8.u8.s32
            {%r8, %r9, %r10, %r11}, {%r3, %r4, %r3, %r4}, {%r5, %r6}, {%r7, %r7, %r7, %r7};
        mad.lo.u32 %r0, %r9, 3, %r10;";
    let d = |row: u32, column: u32| 1000 + (0..32).map(|k| (row as i32 - 7) * (k + column as i32)).sum::<i32>();
    let expected = |lane: u32| {
        let (g, t) = (lane / 4, lane % 4);
        (3 * d(g, 2 * t + 1) + d(g + 8, 2 * t)) as u32
    };
    assert_eq!(words(&per_thread(body), 32), (0..32).map(expected).collect::<Vec<_>>());
}

#[test]
fn mma_of_doubles_multiplies_matrices() {
    let _context = Context::new();
    // A[row][k] = row + k, B[k][column] = k - column.
    let body = "
        .reg .f64 %fd<8>;
        shr.u32 %r1, %me, 2;
        and.b32 %r2, %me, 3;
        add.u32 %r3, %r1, %r2;
        cvt.rn.f64.s32 %fd1, %r3;
        sub.s32 %r3, %r2, %r1;
        cvt.rn.f64.s32 %fd2, %r3;
        mov.f64 %fd3, 0d3FE0000000000000;
        mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64 {%fd4, %fd5}, {%fd1}, {%fd2}, {%fd3, %fd3};
        fma.rn.f64 %fd4, %fd5, 0d4059000000000000, %fd4;
        cvt.rzi.s32.f64 %r0, %fd4;";
    let d = |row: i32, column: i32| 0.5 + (0..4).map(|k| ((row + k) * (k - column)) as f64).sum::<f64>();
    let expected = |lane: i32| (d(lane / 4, lane % 4 * 2) + 100.0 * d(lane / 4, lane % 4 * 2 + 1)) as i32 as u32;
    assert_eq!(words(&per_thread(body), 32), (0..32).map(expected).collect::<Vec<_>>());
}

/// `n` registers from `%r{first}` on, in braces.
fn braced(first: usize, n: usize) -> String {
    let names: Vec<String> = (first..first + n).map(|it| format!("%r{it}")).collect();
    format!("{{{}}}", names.join(", "))
}

/// A product of zeros is what is added to it: every form has the operands that the ISA gives it.
#[test]
fn every_shape_adds() {
    let _context = Context::new();
    // Shape and types, registers of A, B and D.
    let forms = [
        ("m16n8k16.row.col.f32.bf16.bf16.f32", 4, 2, 4),
        ("m16n8k16.row.col.f32.f16.f16.f32", 4, 2, 4),
        ("m16n8k8.row.col.f32.bf16.bf16.f32", 2, 1, 4),
        ("m16n8k8.row.col.f32.f16.f16.f32", 2, 1, 4),
        ("m16n8k16.row.col.f16.f16.f16.f16", 4, 2, 2),
        ("m16n8k8.row.col.f16.f16.f16.f16", 2, 1, 2),
        ("m16n8k8.row.col.f32.tf32.tf32.f32", 4, 2, 4),
        ("m16n8k4.row.col.f32.tf32.tf32.f32", 2, 1, 4),
        ("m16n8k32.row.col.f32.e4m3.e5m2.f32", 4, 2, 4),
        ("m16n8k32.row.col.f16.e5m2.e5m2.f16", 4, 2, 2),
        ("m8n8k16.row.col.s32.s8.s8.s32", 1, 1, 2),
        ("m16n8k16.row.col.satfinite.s32.u8.s8.s32", 2, 1, 4),
        ("m16n8k32.row.col.s32.u8.u8.s32", 4, 2, 4),
        ("m8n8k32.row.col.s32.s4.s4.s32", 1, 1, 2),
        ("m16n8k32.row.col.s32.s4.u4.s32", 2, 1, 4),
        ("m16n8k64.row.col.satfinite.s32.u4.u4.s32", 4, 2, 4),
        ("m8n8k128.row.col.s32.b1.b1.s32.xor.popc", 1, 1, 2),
        ("m16n8k128.row.col.s32.b1.b1.s32.and.popc", 2, 1, 4),
        ("m16n8k256.row.col.s32.b1.b1.s32.and.popc", 4, 2, 4),
    ];
    for (form, n_a, n_b, n_d) in forms {
        let (a, b, d) = (braced(4, n_a), braced(4, n_b), braced(8, n_d));
        let zeros: String = (4..8).map(|it| format!("mov.b32 %r{it}, 0;")).collect();
        let addends: String = (0..n_d).map(|it| format!("add.u32 %r{}, %me, 0x3c01{it:04x};", 8 + it)).collect();
        let both = (9..8 + n_d).map(|it| format!("mad.lo.u32 %r8, %r8, 31, %r{it};")).collect::<String>();
        let body = format!("{zeros} {addends} mma.sync.aligned.{form} {d}, {a}, {b}, {d}; {both} mov.b32 %r0, %r8;");
        let addend = |me: u32, it: usize| me + 0x3c01_0000 + it as u32;
        let expected = |me| (1..n_d).fold(addend(me, 0), |all, it| all.wrapping_mul(31).wrapping_add(addend(me, it)));
        assert_eq!(words(&per_thread(&body), 32), (0..32).map(expected).collect::<Vec<_>>(), "{form}");
    }
}

#[test]
fn products_that_no_card_has_are_refused() {
    let _context = Context::new();
    for form in [
        "m16n8k16.row.col.f32.bf16.f16.f32",
        "m16n8k16.row.col.satfinite.f32.bf16.bf16.f32",
        "m16n8k16.row.col.f16.bf16.bf16.f16",
        "m16n8k16.col.col.f32.bf16.bf16.f32",
        "m16n16k16.row.col.f32.bf16.bf16.f32",
        "m16n8k24.row.col.f32.bf16.bf16.f32",
        "m8n8k4.row.col.f32.f16.f16.f32",
    ] {
        let mma =
            format!("mma.sync.aligned.{form} {}, {}, {}, {};", braced(0, 4), braced(4, 4), braced(8, 2), braced(0, 4));
        let text = std::ffi::CString::new(format!("{HEADER}{}", per_thread(&mma))).unwrap();
        let mut module = NULL;
        let code = unsafe { cuda_emulator::driver::module::cuModuleLoadData(&mut module, text.as_ptr().cast()) };
        assert_ne!(code, 0, "{form}");
    }
}
