//! #warp-level-matrix-instructions-mma, -ldmatrix, -stmatrix. The fragments are those of the ISA's figures: with
//! g = lane / 4 and t = lane % 4, registers of A hold rows g and g + 8, those of B columns g, and of C and D columns 2t and
//! 2t + 1 of rows g and g + 8. Along the depth, a register holds neighbours, and the lanes of a group stand side by side.

use super::{
    Definition, Row, Want,
    exact::Number,
    integer::{clamped, value, wrapped},
};
use crate::conformance::{
    cases::Case,
    matrix_cases::Shape,
    types::{F16, Type, mask},
    vectors::LANES,
};

pub fn definition(case: &Case) -> Option<Definition> {
    let opcode = case.opcode();
    let trans = opcode.has("trans");
    match opcode.name.as_str() {
        "mma" => multiply(case),
        "ldmatrix" => {
            let n = case.results.len();
            Some(Definition::Warp(Box::new(move |x| {
                (0..n).map(|i| each_lane(|lane| loaded(x, i, lane, trans))).collect()
            })))
        }
        "stmatrix" => {
            let n = case.operands.len();
            Some(Definition::Warp(Box::new(move |x| {
                (0..4)
                    .map(|word| each_lane(|lane| if lane < 8 * n { stored(x, word, lane, trans) } else { 0 }))
                    .collect()
            })))
        }
        _ => None,
    }
}

fn each_lane(of: impl Fn(usize) -> u64) -> Vec<Want> {
    (0..LANES).map(|lane| Want::Bits(of(lane))).collect()
}

/// What a lane gets of matrix `i`, whose row r lane 8i + r has stored: elements 2t and 2t + 1 of row g, or of column g.
fn loaded(x: &[Row], i: usize, lane: usize, trans: bool) -> u64 {
    let element = |row: usize, column: usize| x[column / 2][8 * i + row] >> (16 * (column % 2)) & mask(16);
    let (g, t) = (lane / 4, lane % 4);
    let pair = |k: usize| if trans { element(2 * t + k, g) } else { element(g, 2 * t + k) };
    pair(0) | pair(1) << 16
}

/// A word of row `lane % 8` of matrix `lane / 8`, which the lanes hold in fragments.
fn stored(x: &[Row], word: usize, lane: usize, trans: bool) -> u64 {
    let (i, row) = (lane / 8, lane % 8);
    // Row g, column 2t + k is in lane 4g + t.
    let held = |row: usize, column: usize| x[i][4 * row + column / 2] >> (16 * (column % 2)) & mask(16);
    let element = |column: usize| if trans { held(column, row) } else { held(row, column) };
    element(2 * word) | element(2 * word + 1) << 16
}

/// The fragments of one mma as matrices.
struct Fragments<'a> {
    shape: Shape,
    a: Type,
    b: Type,
    c: Type,
    operands: &'a [Row],
}

impl Fragments<'_> {
    /// Element `index` of the register `row` of `lane`.
    fn element(&self, register: usize, lane: usize, index: usize, ty: Type) -> u64 {
        self.operands[register][lane] >> (index as u32 * ty.bits) & ty.mask()
    }

    fn n_registers(n_elements: usize, ty: Type) -> usize {
        n_elements * ty.bits as usize / 32 / LANES
    }

    /// Row `m`, depth `k`.
    fn a(&self, m: usize, k: usize) -> u64 {
        let each = 32 / self.a.bits as usize;
        let (group, t, index) = (k / each / 4, k / each % 4, k % each);
        let rows = self.shape.m / 8;
        self.element(group * rows + m / 8, (m % 8) * 4 + t, index, self.a)
    }

    /// Depth `k`, column `n`.
    fn b(&self, k: usize, n: usize) -> u64 {
        let each = 32 / self.b.bits as usize;
        let (group, t, index) = (k / each / 4, k / each % 4, k % each);
        let first = Self::n_registers(self.shape.m * self.shape.k, self.a);
        self.element(first + group, n * 4 + t, index, self.b)
    }

    /// Row `m`, column `n`.
    fn c(&self, m: usize, n: usize) -> u64 {
        let first = Self::n_registers(self.shape.m * self.shape.k, self.a)
            + Self::n_registers(self.shape.k * self.shape.n, self.b);
        let each = 32 / self.c.bits as usize;
        let place = m / 8 * 2 + n % 2;
        self.element(first + place / each, (m % 8) * 4 + n / 2, place % each, self.c)
    }
}

fn multiply(case: &Case) -> Option<Definition> {
    let opcode = case.opcode();
    let [d, a, b, c] = opcode.types()[..] else { return None };
    let shape = opcode.modifiers.iter().find_map(|it| Shape::named(it))?;
    let n_results = case.results.len();
    let is_exact = case.variant() == "exact";
    let satfinite = opcode.has("satfinite");
    Some(Definition::Warp(Box::new(move |x| {
        let fragments = Fragments { shape, a, b, c, operands: x };
        let of = |m, n| match d.format() {
            None => integer_sum(&fragments, d, m, n, satfinite),
            Some(_) => float_sum(&fragments, d, m, n, is_exact),
        };
        let each = 32 / d.bits as usize;
        let register = |r: usize, lane: usize| {
            let at = |i: usize| {
                let place = r * each + i;
                of(lane / 4 + place / 2 * 8, lane % 4 * 2 + place % 2)
            };
            if each == 1 { at(0) } else { Want::Each(d.bits, (0..each).map(at).collect()) }
        };
        (0..n_results).map(|r| (0..LANES).map(|lane| register(r, lane)).collect()).collect()
    })))
}

/// Exact; it wraps unless .satfinite clamps it.
fn integer_sum(x: &Fragments, d: Type, m: usize, n: usize, satfinite: bool) -> Want {
    let product = |k| value(x.a(m, k), x.a) * value(x.b(k, n), x.b);
    let sum = (0..x.shape.k).map(product).sum::<i128>() + value(x.c(m, n), x.c);
    Want::Bits(if satfinite { clamped(sum, d) } else { wrapped(sum, d) })
}

/// "Accumulation is performed with at least single precision" (half, for .f16), in an order that is not specified, and may
/// truncate: each of the k + 1 sums loses less than a last place of the sum of the magnitudes, and so does the end.
fn float_sum(x: &Fragments, d: Type, m: usize, n: usize, is_exact: bool) -> Want {
    let format = d.format().expect("a float");
    let number = |bits: u64, ty: Type| {
        let format = ty.format().expect("a float");
        // tf32 is read from the top of its register.
        Number::decode(bits >> (ty.bits - format.bits()), format).to_f64()
    };
    let product = |k| number(x.a(m, k), x.a) * number(x.b(k, n), x.b);
    let c = number(x.c(m, n), x.c);
    let sum = (0..x.shape.k).map(product).sum::<f64>() + c;
    let magnitudes = (0..x.shape.k).map(|k| product(k).abs()).sum::<f64>() + c.abs();
    let last_place = if *format == F16 { f64::powi(2.0, -10) } else { f64::powi(2.0, -23) };
    let absolute = if is_exact { 0.0 } else { magnitudes * last_place * (x.shape.k + 2) as f64 };
    Want::Near { format, value: sum, relative: 0.0, absolute, ulps: 0.0 }
}
