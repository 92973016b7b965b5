//! `mma` of every shape and type in plain Rust: fragments to matrices, the product, matrices to fragments.

use super::Fragments;
use crate::{
    exec::{
        half::{Bf16, F16},
        lane::{Doubles, Registers, Words},
    },
    lower::program::Factor,
};

/// The greatest depth, of 4-bit factors.
const MAX_DEPTH: usize = 64;

/// How many registers the fragments have.
#[derive(Clone, Copy)]
pub struct Shape {
    /// Rows / 8.
    pub n_row_blocks: usize,
    /// Registers of B.
    pub n_k: usize,
}

/// [rows, 8]
type Sums<T> = [[T; 8]; 16];

/// The sums of `step(sum, a, b)` over the depth, from `sums` on, for elements (register, lane, position in the register).
#[inline(always)]
fn product<A: Copy + Default, B: Copy + Default, S: Copy>(
    shape: Shape,
    n_elements: usize,
    left: impl Fn(usize, usize, usize) -> A,
    right: impl Fn(usize, usize, usize) -> B,
    mut sums: Sums<S>,
    step: impl Fn(S, A, B) -> S,
) -> Sums<S> {
    let n_blocks = shape.n_row_blocks;
    let mut a = [[A::default(); MAX_DEPTH]; 16]; // [rows, depth]
    let mut b = [[B::default(); 8]; MAX_DEPTH]; // [depth, 8]
    for lane in 0..32 {
        let (g, t) = (lane / 4, lane % 4);
        for k_register in 0..shape.n_k {
            for element in 0..n_elements {
                let k = n_elements * (4 * k_register + t) + element;
                b[k][g] = right(k_register, lane, element);
                for block in 0..n_blocks {
                    a[g + 8 * block][k] = left(k_register * n_blocks + block, lane, element);
                }
            }
        }
    }
    let depth = 4 * n_elements * shape.n_k;
    for (row, sums) in sums.iter_mut().enumerate().take(8 * n_blocks) {
        for k in 0..depth {
            for (sum, &b) in sums.iter_mut().zip(&b[k]) {
                *sum = step(*sum, a[row][k], b);
            }
        }
    }
    sums
}

/// C or D from registers of one element a lane.
#[inline(always)]
fn sums<T: Copy + Default>(n_row_blocks: usize, element: impl Fn(usize, usize) -> T) -> Sums<T> {
    let mut sums = [[T::default(); 8]; 16];
    for (row, sums) in sums.iter_mut().enumerate().take(8 * n_row_blocks) {
        for (column, sum) in sums.iter_mut().enumerate() {
            *sum = element(row / 8 * 2 + column % 2, row % 8 * 4 + column / 2);
        }
    }
    sums
}

/// The way back: register `register` of D.
#[inline(always)]
fn plane<T: Copy>(sums: &Sums<T>, register: usize) -> [T; 32] {
    std::array::from_fn(|lane| sums[lane / 4 + register / 2 * 8][lane % 4 * 2 + register % 2])
}

/// An f64 product. `left`, `right` and `addend` are slots.
#[inline(always)]
pub fn doubles(registers: &mut Registers, shape: Shape, d: [u16; 4], left: &[u16], right: &[u16], addend: &[u16]) {
    let read = |slot: u16, lane: usize| f64::from_bits(registers.doubles[usize::from(slot)].0[lane]);
    let c = sums(shape.n_row_blocks, |register, lane| read(addend[register], lane));
    let a = |register: usize, lane: usize, _: usize| read(left[register], lane);
    let b = |register: usize, lane: usize, _: usize| read(right[register], lane);
    let result = product(shape, 1, a, b, c, |sum, a, b| a.mul_add(b, sum));
    let bits = |x: f64| if x.is_nan() { f64::NAN.to_bits() } else { x.to_bits() };
    for (register, &slot) in d[..2 * shape.n_row_blocks].iter().enumerate() {
        registers.doubles[usize::from(slot)] = Doubles(plane(&result, register).map(bits));
    }
}

/// A product of floats that adds to f32, or to f16 if `is_half`.
#[inline(always)]
pub fn floats(
    shape: Shape,
    (a_type, b_type): (Factor, Factor),
    is_half: bool,
    a: &[&Words],
    b: &[&Words],
    c: &[&Words],
) -> [Words; 4] {
    let c = sums(shape.n_row_blocks, |register, lane| match is_half {
        true => F16((c[register / 2].0[lane] >> (16 * (register % 2))) as u16).wide(),
        false => f32::from_bits(c[register].0[lane]),
    });
    let a = |register: usize, lane: usize, element: usize| float(a_type, a[register].0[lane], element);
    let b = |register: usize, lane: usize, element: usize| float(b_type, b[register].0[lane], element);
    let n_elements = match a_type {
        Factor::Tf32 => 1,
        Factor::F16 | Factor::Bf16 => 2,
        _ => 4,
    };
    let result = product(shape, n_elements, a, b, c, |sum, a, b| a.mul_add(b, sum));
    std::array::from_fn(|register| {
        if is_half {
            let half = |x: f32| u32::from(F16::round(x).0);
            let (low, high) = (plane(&result, register * 2 % 4), plane(&result, register * 2 % 4 + 1));
            return Words(std::array::from_fn(|lane| half(low[lane]) | half(high[lane]) << 16));
        }
        Words(plane(&result, register).map(|x| if x.is_nan() { 0x7fff_ffff } else { x.to_bits() }))
    })
}

/// Element `element` of a register.
#[inline(always)]
fn float(factor: Factor, word: u32, element: usize) -> f32 {
    match factor {
        Factor::Tf32 => f32::from_bits(word & !0x1fff),
        Factor::F16 => F16((word >> (16 * element)) as u16).wide(),
        Factor::Bf16 => Bf16((word >> (16 * element)) as u16).wide(),
        Factor::E5m2 => F16(((word >> (8 * element)) as u16) << 8).wide(),
        _ => {
            // e4m3: scaling by 2^120 moves the exponent, subnormals included; all ones is NaN.
            let byte = word >> (8 * element) & 0xff;
            let scaled = f32::from_bits((byte & 0x7f) << 20) * f32::from_bits((120 + 127) << 23);
            let magnitude = if byte & 0x7f == 0x7f { f32::NAN } else { scaled };
            if byte & 0x80 != 0 { -magnitude } else { magnitude }
        }
    }
}

/// A product of integers.
#[inline(always)]
pub fn integers(
    shape: Shape,
    (a_type, b_type): (Factor, Factor),
    saturates: bool,
    a: &[&Words],
    b: &[&Words],
    c: &[&Words],
) -> [Words; 4] {
    let c = sums(shape.n_row_blocks, |register, lane| c[register].0[lane] as i32);
    let zero = [[0i32; 8]; 16];
    let a_word = |register: usize, lane: usize| a[register].0[lane];
    let b_word = |register: usize, lane: usize| b[register].0[lane];
    let sum = match a_type {
        Factor::BitsAnd | Factor::BitsXor => {
            // All 32 bits of a register are one step.
            let bits = |a: u32, b: u32| if a_type == Factor::BitsAnd { a & b } else { a ^ b };
            let step = |sum: i32, a, b| sum + bits(a, b).count_ones() as i32;
            product(shape, 1, |register, lane, _| a_word(register, lane), |r, l, _| b_word(r, l), zero, step)
        }
        _ => {
            let n_elements = if matches!(a_type, Factor::U4 | Factor::S4) { 8 } else { 4 };
            let a = |register, lane, element| integer(a_type, a_word(register, lane), element);
            let b = |register, lane, element| integer(b_type, b_word(register, lane), element);
            product(shape, n_elements, a, b, zero, |sum, a: i32, b: i32| sum + a * b)
        }
    };
    // Sums of products stay far inside an i32; only adding C may leave it.
    let add = |a: i32, b: i32| if saturates { a.saturating_add(b) } else { a.wrapping_add(b) };
    std::array::from_fn(|register| {
        let (c, sum) = (plane(&c, register), plane(&sum, register));
        Words(std::array::from_fn(|lane| add(c[lane], sum[lane]) as u32))
    })
}

/// Element `element` of a register.
#[inline(always)]
fn integer(factor: Factor, word: u32, element: usize) -> i32 {
    match factor {
        Factor::U4 => (word >> (4 * element) & 15) as i32,
        Factor::S4 => (word << (28 - 4 * element)) as i32 >> 28,
        Factor::U8 => (word >> (8 * element) & 255) as i32,
        _ => (word << (24 - 8 * element)) as i32 >> 24,
    }
}

/// [`floats`] for the shapes that the other builds have by hand.
pub fn halves(fragments: &Fragments, d: &mut [Words; 4]) {
    let Fragments { is_bf16, n_k, a, b, c } = fragments;
    let factor = if *is_bf16 { Factor::Bf16 } else { Factor::F16 };
    *d = floats(Shape { n_row_blocks: 2, n_k: *n_k }, (factor, factor), false, a, b, c);
}
