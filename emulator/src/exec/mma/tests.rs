//! Every build gives the same bits, and every shape's fragments hold what the ISA says.

use super::*;
use crate::isa::Op;
use crate::lower::program::NO_GUARD;

/// A small generator: the tests need variety, not quality.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 32) as u32
    }

    fn plane(&mut self, mut each: impl FnMut(&mut Random) -> u32) -> Words {
        Words(std::array::from_fn(|_| each(self)))
    }
}

/// The builds that this CPU can run.
fn builds() -> Vec<(&'static str, Halves)> {
    let mut builds: Vec<(&str, Halves)> = vec![("portable", portable::halves)];
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c") {
            builds.push(("avx2", avx2::halves));
        }
        if is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512dq")
        {
            builds.push(("avx512", avx512::halves));
        }
    }
    builds
}

/// Halves of any bits: NaN, infinity and subnormals among them; or moderate ones with some special.
fn half(random: &mut Random, is_wild: bool) -> u32 {
    let special = [0x0000, 0x8000, 0x0001, 0x83ff, 0x7c00, 0xfc00, 0x7e01, 0x7f80, 0xff80, 0x7f81, 0x007f];
    match random.next() % 16 {
        0 => special[random.next() as usize % special.len()],
        _ if is_wild => random.next() & 0xffff,
        _ => 0x3c00 ^ random.next() & 0x83ff,
    }
}

#[test]
fn all_builds_agree_bit_for_bit() {
    let mut random = Random(1);
    for round in 0..400 {
        let is_wild = round % 2 == 0;
        let pair = |it: &mut Random| half(it, is_wild) | half(it, is_wild) << 16;
        let a: [Words; 4] = std::array::from_fn(|_| random.plane(pair));
        let b: [Words; 2] = std::array::from_fn(|_| random.plane(pair));
        let c: [Words; 4] = std::array::from_fn(|_| match round % 4 {
            0 => random.plane(Random::next),
            1 => random.plane(|_| 0),
            _ => random.plane(|it| (it.next() as i32 as f32 / 1e9).to_bits()),
        });
        let fragments = Fragments {
            is_bf16: round % 3 == 0,
            n_k: 1 + round % 5 % 2,
            a: a.each_ref(),
            b: b.each_ref(),
            c: c.each_ref(),
        };
        let mut expected = [Words([0; 32]); 4];
        portable::halves(&fragments, &mut expected);
        for (name, halves) in builds() {
            let mut d = [Words([!0; 32]); 4];
            // SAFETY: `builds` lists what this CPU can run.
            unsafe { halves(&fragments, &mut d) };
            assert_eq!(d, expected, "{name}, round {round}");
        }
    }
}

#[test]
fn a_nan_is_canonical_and_infinity_stays() {
    let (mut a, mut b) = ([Words([0; 32]); 4], [Words([0; 32]); 2]);
    a[0].0[0] = 0x7f80; // row 0: infinity at k 0
    a[0].0[4] = 0xffc1; // row 1: NaN at k 0
    b[0].0[0] = 0x3f80; // column 0: 1 at k 0
    let c = Words([0; 32]);
    let (a, b) = (a.each_ref(), b.each_ref());
    let fragments = Fragments { is_bf16: true, n_k: 2, a, b, c: [&c; 4] };
    for (name, halves) in builds() {
        let mut d = [Words([0; 32]); 4];
        // SAFETY: `builds` lists what this CPU can run.
        unsafe { halves(&fragments, &mut d) };
        assert_eq!(d[0].0[0], f32::INFINITY.to_bits(), "{name}");
        // Infinity times the zero of column 1.
        assert_eq!(d[1].0[0], 0x7fff_ffff, "{name}");
        assert_eq!(d[0].0[4], 0x7fff_ffff, "{name}");
        assert_eq!(d[2].0[0], 0, "{name}");
    }
}

/// An instruction on registers A, B, C, D in this order from slot 0 on, and how many each has.
fn instruction(factors: (Factor, Factor), rows: usize, n_k: usize, flags: u8) -> (Inst, Vec<u16>) {
    let n_a = n_k * rows / 8;
    let n_c = if flags & flag::HALVES != 0 { rows / 8 } else { rows / 4 };
    let first_d = (n_a + n_k + n_c) as u16;
    let inst = Inst {
        op: Op::Mma,
        guard: NO_GUARD,
        d: std::array::from_fn(|i| first_d + i as u16),
        s: [0; 4],
        imm: 0,
        bytes: rows as u8,
        n: n_k as u8,
        kind: factors.0 as u8 | (factors.1 as u8) << 4,
        flags,
    };
    (inst, (0..first_d).collect())
}

/// Puts `value` (`bits` wide) at position `element` of a lane.
fn insert(plane: &mut Words, lane: usize, element: usize, bits: usize, value: u32) {
    plane.0[lane] |= value << (bits * element);
}

/// One element of A and one of B are 1, for every row, k and column: the product has one 1, at (row, column).
#[track_caller]
fn each_place(factor: Factor, rows: usize, n_k: usize, one: u32, result_one: u32, flags: u8) {
    let bits = match factor {
        Factor::Tf32 => 32,
        Factor::F16 | Factor::Bf16 => 16,
        Factor::U4 | Factor::S4 => 4,
        _ => 8,
    };
    let p = 32 / bits;
    let (inst, operands) = instruction((factor, factor), rows, n_k, flags);
    let (n_a, n_registers) = (n_k * rows / 8, operands.len() + 4);
    for k in 0..4 * p * n_k {
        for (row, column) in (0..rows).map(|row| (row, (row * 5 + k) % 8)) {
            let mut registers = Registers { words: vec![Words([0; 32]); n_registers], ..Registers::default() };
            // As #matrix-fragments-for-mma-m16n8k16-with-floating-point-type and its likes have it.
            let (k_register, t) = (k / (4 * p), k / p % 4);
            let a = k_register * (rows / 8) + row / 8;
            insert(&mut registers.words[a], row % 8 * 4 + t, k % p, bits, one);
            insert(&mut registers.words[n_a + k_register], column * 4 + t, k % p, bits, one);
            // SAFETY: the portable build runs everywhere.
            unsafe { run(&mut registers, &inst, &operands, &mut [Words([0; 32]); 4], portable::halves) };
            let is_half = flags & flag::HALVES != 0;
            for lane in 0..32 {
                for i in 0..rows / 8 * if is_half { 1 } else { 2 } {
                    let got = registers.words[usize::from(inst.d[i])].0[lane];
                    let at = |i: usize| (lane / 4 + i / 2 * 8, lane % 4 * 2 + i % 2);
                    let value = |i: usize| if at(i) == (row, column) { result_one } else { 0 };
                    let expected = if is_half { value(2 * i) | value(2 * i + 1) << 16 } else { value(i) };
                    assert_eq!(got, expected, "{factor:?} row {row} k {k} column {column}, D{i} lane {lane}");
                }
            }
        }
    }
}

#[test]
fn every_element_is_where_the_isa_has_it() {
    let one = 1f32.to_bits();
    each_place(Factor::Bf16, 16, 2, 0x3f80, one, 0);
    each_place(Factor::Bf16, 16, 1, 0x3f80, one, 0);
    each_place(Factor::F16, 16, 2, 0x3c00, one, 0);
    each_place(Factor::F16, 16, 2, 0x3c00, 0x3c00, flag::HALVES);
    each_place(Factor::F16, 16, 1, 0x3c00, 0x3c00, flag::HALVES);
    each_place(Factor::Tf32, 16, 2, one, one, 0);
    each_place(Factor::Tf32, 16, 1, one, one, 0);
    each_place(Factor::E4m3, 16, 2, 0x38, one, 0);
    each_place(Factor::E5m2, 16, 2, 0x3c, one, 0);
    each_place(Factor::S8, 16, 2, 1, 1, 0);
    each_place(Factor::U8, 16, 1, 1, 1, 0);
    each_place(Factor::S8, 8, 1, 1, 1, 0);
    each_place(Factor::S4, 16, 2, 1, 1, 0);
    each_place(Factor::U4, 8, 1, 1, 1, 0);
}

#[test]
fn integers_have_signs_and_saturate() {
    let product = |a, b, a_word: u32, b_word: u32, c: i32, flags| {
        let (inst, operands) = instruction((a, b), 16, 2, flags);
        let mut registers = Registers { words: vec![Words([0; 32]); operands.len() + 4], ..Registers::default() };
        registers.words[..4].fill(Words([a_word; 32]));
        registers.words[4..6].fill(Words([b_word; 32]));
        registers.words[6..10].fill(Words([c as u32; 32]));
        // SAFETY: the portable build runs everywhere.
        unsafe { run(&mut registers, &inst, &operands, &mut [Words([0; 32]); 4], portable::halves) };
        registers.words[usize::from(inst.d[3])].0[31] as i32
    };
    let ones = 0xffff_ffff;
    assert_eq!(product(Factor::S8, Factor::U8, ones, ones, 7, 0), -255 * 32 + 7);
    assert_eq!(product(Factor::U8, Factor::S8, ones, ones, 7, 0), -255 * 32 + 7);
    assert_eq!(product(Factor::U8, Factor::U8, ones, ones, 0, 0), 255 * 255 * 32);
    assert_eq!(product(Factor::S4, Factor::U4, ones, ones, 0, 0), -15 * 64);
    assert_eq!(product(Factor::U8, Factor::U8, ones, ones, i32::MAX, flag::SATURATE), i32::MAX);
    assert_eq!(product(Factor::S8, Factor::U8, ones, ones, i32::MIN, flag::SATURATE), i32::MIN);
    assert_eq!(product(Factor::U8, Factor::U8, 1, 1, i32::MAX, 0), i32::MIN + 7);
    assert_eq!(product(Factor::BitsXor, Factor::BitsXor, ones, 0xff, 0, 0), 24 * 8);
    assert_eq!(product(Factor::BitsAnd, Factor::BitsAnd, ones, 0xff, 1, 0), 8 * 8 + 1);
}

/// `cargo test --release -p cuda-emulator --lib mma_speed -- --ignored --nocapture`
#[test]
#[ignore = "prints times"]
fn mma_speed() {
    let plane = Words([0x3f80_3f80; 32]);
    let c = Words([0; 32]);
    let fragments = Fragments { is_bf16: true, n_k: 2, a: [&plane; 4], b: [&plane; 2], c: [&c; 4] };
    for (name, halves) in builds() {
        let mut d = [Words([0; 32]); 4];
        let best = (0..20).map(|_| {
            let started = std::time::Instant::now();
            for _ in 0..10_000 {
                // SAFETY: `builds` lists what this CPU can run.
                unsafe { halves(std::hint::black_box(&fragments), std::hint::black_box(&mut d)) };
            }
            started.elapsed().as_nanos() as f64 / 10_000.0
        });
        println!("{name}: {:.1} ns per mma.m16n8k16", best.fold(f64::INFINITY, f64::min));
    }
}
