//! The operands that cases run on: edges of each type, crossed, and seeded random bits.

use crate::conformance::{
    cases::{Operand, Values},
    types::{Format, Kind, Type, mask},
};

/// How many vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// All that a test on the CPU runs: every value of a single operand of 16 bits.
    Whole,
    /// What a golden file holds.
    Sample,
}

/// Threads of a warp.
pub const LANES: usize = 32;

/// Vectors of a sample, at most.
const SAMPLE: usize = 512;

/// Random vectors behind the edges.
const RANDOM: usize = 3072;

/// Sebastiano Vigna's SplitMix64: the same numbers on every machine.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
}

/// The inputs [operand][vector] of cases with these operands; the vectors are whole warps.
pub fn vectors(operands: &[Operand], extent: Extent) -> Vec<Vec<u64>> {
    let mut random = Random(0x5eed + operands.len() as u64);
    let rows = match operands {
        [one] if extent == Extent::Whole && is_exhaustive(one) => (0..1 << 16).map(|it| vec![it]).collect(),
        _ => crossed(operands, extent, &mut random),
    };
    let n = rows.len().next_multiple_of(LANES);
    let row = |i: usize| &rows[i % rows.len()];
    (0..operands.len()).map(|k| (0..n).map(|i| row(i)[k]).collect()).collect()
}

fn is_exhaustive(operand: &Operand) -> bool {
    operand.values == Values::Whole && operand.ty.kind != Kind::Pred && operand.ty.register_bits() == 16
}

/// Rows of all pairs of edges (of fewer edges, where there are more operands), then random rows.
fn crossed(operands: &[Operand], extent: Extent, random: &mut Random) -> Vec<Vec<u64>> {
    let most = match (operands.len(), extent) {
        (0 | 1, _) => usize::MAX,
        (2, Extent::Whole) => 64,
        (2, Extent::Sample) => 22,
        (3, Extent::Whole) => 15,
        (3, Extent::Sample) => 7,
        (4, Extent::Whole) => 7,
        (4, Extent::Sample) => 4,
        _ => 0,
    };
    let mut rows = vec![Vec::new()];
    for &operand in operands {
        let edges = spread(edges(operand), most);
        rows = rows.iter().flat_map(|row| edges.iter().map(move |&edge| [&row[..], &[edge]].concat())).collect();
    }
    if extent == Extent::Sample {
        rows = spread(rows, SAMPLE * 2 / 3);
    }
    let n_random = if extent == Extent::Whole { RANDOM } else { SAMPLE - rows.len() };
    rows.extend((0..n_random).map(|_| random_row(operands, random)));
    rows
}

/// At most `n` of these, evenly chosen, the first among them.
fn spread<T: Clone>(all: Vec<T>, n: usize) -> Vec<T> {
    if all.len() <= n { all } else { (0..n).map(|i| all[i * all.len() / n].clone()).collect() }
}

fn random_row(operands: &[Operand], random: &mut Random) -> Vec<u64> {
    let mut row: Vec<u64> = operands.iter().map(|&it| random_value(it, random)).collect();
    // Equal operands, and such as differ by their last bits, are rare among random ones.
    let are_alike = operands.len() > 1 && operands[0] == operands[1] && operands[0].values == Values::Whole;
    if are_alike && random.below(8) == 0 {
        row[1] = (row[0] ^ (random.next() & 3)) & mask(operands[0].ty.width());
    }
    row
}

fn random_value(operand: Operand, random: &mut Random) -> u64 {
    let ty = operand.ty;
    match operand.values {
        Values::Bit => random.next() & 1,
        Values::Offset => (random.next() % 80).wrapping_sub(40) & mask(32),
        Values::Amount => match random.below(8) {
            0 => random.next() & mask(32),
            _ => random.next() % 72,
        },
        Values::LaneMask => mask(32),
        Values::Whole | Values::Exact | Values::Moderate => match ty.kind {
            Kind::Pred => random.next() & 1,
            _ => (0..ty.n_elements).fold(0, |row, k| row | random_element(operand, random) << (k * ty.bits)),
        },
    }
}

fn random_element(operand: Operand, random: &mut Random) -> u64 {
    let ty = operand.ty;
    let bits = random.next();
    match (ty.kind, operand.values) {
        (Kind::Float(format), Values::Exact) => small_integer(format, bits) << (ty.bits - format.bits()),
        (Kind::Float(format), Values::Moderate) => {
            let exponent = (format.bias() as u64 - 3 + bits % 6) << format.mantissa_bits;
            let magnitude = exponent | ((bits >> 8) & mask(format.mantissa_bits));
            (magnitude | if bits >> 63 == 1 { format.sign() } else { 0 }) << (ty.bits - format.bits())
        }
        // Some with short or long tails, for exact results and for ties.
        _ => {
            let length = random.below(ty.bits as usize) as u32;
            let tail = match random.below(6) {
                0 => bits & !mask(length),
                1 => bits | mask(length),
                2 => (bits & !mask(length)) | (1 << length >> 1),
                3 => ((bits & !mask(length)) | (1 << length >> 1)) ^ 1,
                _ => bits,
            };
            match ty.format() {
                Some(format) if random.below(2) == 0 => near_one(format, tail, random),
                // Integers of every length.
                None if random.below(3) == 0 => (tail & ty.mask()) >> random.below(ty.bits as usize),
                _ => tail & ty.mask(),
            }
        }
    }
}

/// The number's exponent replaced by one not far from zero, so that sums of two need aligning and products stay finite.
fn near_one(format: &Format, bits: u64, random: &mut Random) -> u64 {
    let reach = (format.mantissa_bits + 4).min(format.bias() as u32 / 2) as u64;
    let exponent = format.bias() as u64 - reach + random.next() % (2 * reach);
    (bits & (format.sign() | mask(format.mantissa_bits))) | exponent << format.mantissa_bits
}

/// One of -8..=8 in this format.
fn small_integer(format: &Format, bits: u64) -> u64 {
    let magnitude = bits % 9;
    let sign = if bits >> 63 == 1 { format.sign() } else { 0 };
    if magnitude == 0 {
        return sign;
    }
    let log2 = magnitude.ilog2();
    let fraction = (magnitude - (1 << log2)) << (format.mantissa_bits - log2.min(format.mantissa_bits));
    sign | (((format.bias() as u64 + u64::from(log2)) << format.mantissa_bits) + fraction)
}

/// An operand's edges.
fn edges(operand: Operand) -> Vec<u64> {
    let ty = operand.ty;
    match operand.values {
        Values::Bit => vec![0, 1],
        Values::Offset => vec![0, 1, mask(32), 2, mask(32) - 1, 31, 32, mask(31), 1 << 31],
        Values::Amount => {
            let about = |n: u64| [n - 1, n, n + 1];
            let mut amounts = vec![0, 1, 2, 5];
            amounts.extend([8, 16, 24, 32, 48, 64, 128, 256].into_iter().flat_map(about));
            amounts.extend([0xff00, 0x8000_0000, 0xffff_ffff]);
            amounts
        }
        Values::LaneMask => vec![mask(32)],
        Values::Exact | Values::Moderate => Vec::new(),
        Values::Whole if ty.kind == Kind::Pred => vec![0, 1],
        Values::Whole => {
            let elements = match ty.format() {
                Some(format) => float_edges(format).iter().map(|it| it << (ty.bits - format.bits())).collect(),
                None => integer_edges(ty.element()),
            };
            if ty.n_elements == 1 {
                return elements;
            }
            // Each edge beside another, not beside itself only.
            let beside = |k: usize| elements[(k * 7 + 3) % elements.len()];
            elements.iter().enumerate().map(|(k, it)| it | beside(k) << ty.bits).collect()
        }
    }
}

fn integer_edges(ty: Type) -> Vec<u64> {
    let top = 1u64 << (ty.bits - 1);
    let mut values = vec![0, 1, ty.mask(), top, top - 1];
    values.extend([2, 3, 7, 10, 0x5555_5555_5555_5555, 0xaaaa_aaaa_aaaa_aaaa, 0x8040_2010_0804_0201, u64::MAX - 1]);
    values.extend([top + 1, top >> 1, top | (top >> 1), 0xff, 0x80, 0x7f, 0x100, 0x0123_4567_89ab_cdef]);
    if ty.bits > 16 {
        values.extend([0x7fff, 0x8000, 0xffff, 0x1_0000, 0xffff_8000, 0xffff_7fff, 0x00ff_ffff, 0x0100_0001]);
    }
    if ty.bits > 32 {
        values.extend([0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 0x1_0000_0000, !0x7fff_ffff, !0x8000_0000]);
        values.extend([(1 << 53) + 1, (1 << 24) + 1]);
    }
    values.iter().map(|it| it & ty.mask()).collect()
}

fn float_edges(format: &Format) -> Vec<u64> {
    let one = format.one();
    let power = |n: i32| ((format.bias() + n) as u64) << format.mantissa_bits;
    let normal = format.smallest_normal();
    let mut magnitudes = vec![0, one, format.largest(), 1, normal, format.infinity()];
    magnitudes.extend([format.canonical_nan(), format.infinity() + 1, power(1), one + 1, one - 1, power(-1)]);
    magnitudes.extend([
        normal - 1,
        normal + 1,
        normal / 2,
        power(-1) + normal / 2,
        power(1) + normal / 4,
        one + normal / 2,
    ]);
    magnitudes.extend([format.infinity() + normal / 2, format.largest() - 1, 2, 3]);
    // The limits of integers, and what is just within and without.
    for n in [7, 8, 15, 16, 31, 32, 63, 64].into_iter().filter(|&n| n <= format.bias()) {
        magnitudes.extend([power(n) - 1, power(n), power(n) + 1]);
    }
    // The limits of narrower formats, and ties between their numbers.
    for (exponent, bits) in
        [(-14, 10), (-24, 10), (-25, 10), (-126, 7), (-126, 23), (-149, 23), (-150, 23), (8, 3), (0, 10)]
    {
        if -exponent < format.bias() && bits < format.mantissa_bits {
            let tie = normal >> (bits + 1);
            magnitudes.extend([
                power(exponent),
                power(exponent) + tie,
                power(exponent) + tie + 1,
                power(exponent) + 3 * tie,
            ]);
        }
    }
    magnitudes.iter().flat_map(|it| [*it, it | format.sign()]).map(|it| it & mask(format.bits())).collect()
}
