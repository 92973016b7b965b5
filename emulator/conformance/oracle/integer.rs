//! #integer-arithmetic-instructions, #logic-and-shift-instructions, #extended-precision-arithmetic-instructions.

use super::{Definition, Want};
use crate::conformance::{
    cases::Case,
    types::{Kind, Opcode, Type, mask},
};

/// The number that an element's bits stand for.
pub fn value(bits: u64, ty: Type) -> i128 {
    let bits = bits & ty.mask();
    let is_negative = ty.is_signed() && bits >> (ty.bits - 1) == 1;
    i128::from(bits) - if is_negative { 1 << ty.bits } else { 0 }
}

/// The low bits of a number.
pub fn wrapped(value: i128, ty: Type) -> u64 {
    value as u64 & ty.mask()
}

/// The nearest number that the type holds.
pub fn clamped(value: i128, ty: Type) -> u64 {
    let (least, most) = match ty.is_signed() {
        true => (-(1i128 << (ty.bits - 1)), (1i128 << (ty.bits - 1)) - 1),
        false => (0, (1i128 << ty.bits) - 1),
    };
    wrapped(value.clamp(least, most), ty)
}

/// Bit `i`.
fn bit(bits: u64, i: u64) -> bool {
    bits >> i & 1 == 1
}

pub fn definition(case: &Case) -> Option<Definition> {
    let opcode = case.opcode();
    let ty = *opcode.types().last()?;
    if opcode.name == "lop3" {
        let table = u64::from_str_radix(case.variant().strip_prefix("0x")?, 16).ok()?;
        return Some(Definition::lane(move |x| Want::Bits(lop3(x, table))));
    }
    if opcode.has("cc") || ["addc", "subc", "madc"].contains(&opcode.name.as_str()) {
        return Some(with_carry(opcode, ty));
    }
    let of = lane(&opcode, ty)?;
    Some(Definition::lane(move |x| {
        if ty.n_elements == 1 {
            return of(x);
        }
        let element = |k: u32| of(&x.iter().map(|it| it >> (k * ty.bits) & ty.mask()).collect::<Vec<_>>());
        Want::Each(ty.bits, (0..ty.n_elements).map(element).collect())
    }))
}

type Lane = Box<dyn Fn(&[u64]) -> Want>;

/// The bits of a result that the ISA always gives.
type Bits = Box<dyn Fn(&[u64]) -> u64>;

/// What one element becomes.
fn lane(opcode: &Opcode, ty: Type) -> Option<Lane> {
    let ty = ty.element();
    if ty.kind == Kind::Pred {
        return logic(opcode, ty);
    }
    let number = move |bits| value(bits, ty);
    let result = if opcode.has("wide") { Type { bits: ty.bits * 2, ..ty } } else { ty };
    let finish = match (opcode.has("sat"), opcode.has("relu")) {
        (true, false) => clamped,
        (false, true) => |value: i128, ty| wrapped(value.max(0), ty),
        (false, false) => wrapped,
        _ => return None,
    };
    let is_high = opcode.has("hi");
    // The half of a product of 2n bits that is kept; of 48 bits for mul24.
    let half = move |product: i128, bits: u32| if is_high { product >> bits } else { product };
    let binary = |of: fn(i128, i128) -> i128| -> Option<Lane> {
        Some(Box::new(move |x| Want::Bits(finish(of(number(x[0]), number(x[1])), result))))
    };
    let of: Lane = match opcode.name.as_str() {
        "add" => return binary(|a, b| a + b),
        "sub" => return binary(|a, b| a - b),
        "min" => return binary(i128::min),
        "max" => return binary(i128::max),
        "mul" => Box::new(move |x| Want::Bits(wrapped(half(number(x[0]) * number(x[1]), ty.bits), result))),
        "mad" => Box::new(move |x| {
            let product = half(number(x[0]) * number(x[1]), ty.bits);
            Want::Bits(finish(product + value(x[2], result), result))
        }),
        "mul24" | "mad24" => {
            // Bits above 24 of the operands are not read: sign and magnitude come from the low 24.
            let short = move |bits| value(bits, Type { bits: 24, ..ty });
            Box::new(move |x| {
                let product = half(short(x[0]) * short(x[1]), 16);
                Want::Bits(match x.get(2) {
                    Some(&c) => finish(value(wrapped(product, ty), ty) + number(c), ty),
                    None => wrapped(product, ty),
                })
            })
        }
        "sad" => Box::new(move |x| Want::Bits(wrapped(number(x[2]) + (number(x[0]) - number(x[1])).abs(), ty))),
        "div" | "rem" => {
            let is_division = opcode.name == "div";
            Box::new(move |x| {
                let (a, b) = (number(x[0]), number(x[1]));
                // By zero "yields an unspecified, machine-specific value"; of the quotient that overflows nothing is said.
                let overflows = ty.is_signed() && b == -1 && a == -(1i128 << (ty.bits - 1));
                match b == 0 || overflows {
                    true => Want::Anything,
                    false => Want::Bits(wrapped(if is_division { a / b } else { a % b }, ty)),
                }
            })
        }
        "abs" => Box::new(move |x| Want::Bits(wrapped(number(x[0]).abs(), ty))),
        "neg" => Box::new(move |x| Want::Bits(wrapped(-number(x[0]), ty))),
        "mov" => Box::new(|x| Want::Bits(x[0])),
        "fns" => Box::new(find_nth_set),
        "shl" => Box::new(move |x| Want::Bits(if x[1] < 64 { x[0] << x[1] & ty.mask() } else { 0 })),
        "shr" => Box::new(move |x| Want::Bits(wrapped(number(x[0]) >> x[1].min(127), ty))),
        _ => return logic(opcode, ty).or_else(|| fields(opcode, ty)),
    };
    Some(of)
}

fn logic(opcode: &Opcode, ty: Type) -> Option<Lane> {
    let all = ty.mask();
    let of: fn(&[u64]) -> u64 = match opcode.name.as_str() {
        "and" => |x| x[0] & x[1],
        "or" => |x| x[0] | x[1],
        "xor" => |x| x[0] ^ x[1],
        "not" => |x| !x[0],
        "cnot" => |x| u64::from(x[0] == 0),
        "mov" => |x| x[0],
        _ => return None,
    };
    Some(Box::new(move |x| Want::Bits(of(x) & all)))
}

/// The n-th set bit from a base on, up or down; of bases above 31 nothing is said.
fn find_nth_set(x: &[u64]) -> Want {
    let (base, offset) = (x[1], x[2] as u32 as i32);
    if base > 31 {
        return Want::Anything;
    }
    let is_set = |i: &u64| bit(x[0], *i);
    let nth = offset.unsigned_abs().saturating_sub(1) as usize;
    let found = match offset {
        0 => Some(base).filter(is_set),
        1.. => (base..32).filter(is_set).nth(nth),
        _ => (0..=base).rev().filter(is_set).nth(nth),
    };
    Want::Bits(found.unwrap_or(mask(32)))
}

/// Bit fields, bytes and counts.
fn fields(opcode: &Opcode, ty: Type) -> Option<Lane> {
    let n = u64::from(ty.bits);
    let shiftamt = opcode.has("shiftamt");
    let of: Bits = match opcode.name.as_str() {
        "popc" => Box::new(move |x| (0..n).filter(|&i| bit(x[0], i)).count() as u64),
        "clz" => Box::new(move |x| (0..n).rev().take_while(|&i| !bit(x[0], i)).count() as u64),
        "brev" => Box::new(move |x| (0..n).map(|i| u64::from(bit(x[0], i)) << (n - 1 - i)).sum()),
        "bfind" => Box::new(move |x| {
            let sign = ty.is_signed() && bit(x[0], n - 1);
            let found = (0..n).rev().find(|&i| bit(x[0], i) != sign);
            found.map_or(mask(32), |i| if shiftamt { n - 1 - i } else { i })
        }),
        "bfe" => Box::new(move |x| {
            let (position, length) = (x[1] & 0xff, x[2] & 0xff);
            let has_sign = ty.is_signed() && length != 0;
            let sign = has_sign && bit(x[0], (position + length).max(1).saturating_sub(1).min(n - 1));
            let source = |i| if i < length && position + i < n { bit(x[0], position + i) } else { sign };
            (0..n).map(|i| u64::from(source(i)) << i).sum()
        }),
        "bfi" => Box::new(move |x| {
            let (position, length) = (x[2] & 0xff, x[3] & 0xff);
            let is_inserted = |i: u64| i >= position && i < position + length;
            (0..n).map(|i| u64::from(if is_inserted(i) { bit(x[0], i - position) } else { bit(x[1], i) }) << i).sum()
        }),
        "bmsk" => bmsk(opcode)?,
        "szext" => szext(opcode, ty)?,
        "shf" => shf(opcode)?,
        "prmt" => prmt(opcode)?,
        "dp4a" | "dp2a" => dot(opcode)?,
        _ => return None,
    };
    Some(Box::new(move |x| Want::Bits(of(x))))
}

/// Ones from a[4:0] up, b[4:0] of them; with .clamp, positions and widths of 32 and more are not cut to five bits.
fn bmsk(opcode: &Opcode) -> Option<Bits> {
    let cut = if opcode.has("wrap") { 31 } else { mask(32) };
    Some(Box::new(move |x| {
        let (position, width) = (x[0] & cut, x[1] & cut);
        (0..32).filter(|&i| i >= position && i < position + width).map(|i| 1 << i).sum()
    }))
}

/// a as a number of b bits, extended; b of 32 and more: .clamp keeps all, .wrap takes it modulo 32.
fn szext(opcode: &Opcode, ty: Type) -> Option<Bits> {
    let wraps = opcode.has("wrap");
    Some(Box::new(move |x| {
        let bits = if wraps { x[1] % 32 } else { x[1].min(32) };
        if bits == 0 { 0 } else { wrapped(value(x[0], Type { bits: bits as u32, ..ty }), ty) }
    }))
}

/// A window of 32 bits of b:a, shifted left from the upper half or right from the lower.
fn shf(opcode: &Opcode) -> Option<Bits> {
    let (is_left, wraps) = (opcode.has("l"), opcode.has("wrap"));
    Some(Box::new(move |x| {
        let n = if wraps { x[2] & 31 } else { x[2].min(32) };
        let both = x[1] << 32 | x[0];
        if is_left { (u128::from(both) << n >> 32) as u64 & mask(32) } else { both >> n & mask(32) }
    }))
}

/// The bytes that a mode picks for selectors 0 to 3, the highest byte first.
fn prmt(opcode: &Opcode) -> Option<Bits> {
    let picks = match opcode.any_of(&["f4e", "b4e", "rc8", "ecl", "ecr", "rc16"]) {
        None => {
            return Some(Box::new(|x| {
                let byte = |selector: u64| {
                    let byte = (x[1] << 32 | x[0]) >> (8 * (selector & 7)) & 0xff;
                    if selector & 8 == 0 { byte } else { 0xff * (byte >> 7) }
                };
                (0..4).map(|i| byte(x[2] >> (4 * i) & 15) << (8 * i)).sum()
            }));
        }
        Some("f4e") => [[3, 2, 1, 0], [4, 3, 2, 1], [5, 4, 3, 2], [6, 5, 4, 3]],
        Some("b4e") => [[5, 6, 7, 0], [6, 7, 0, 1], [7, 0, 1, 2], [0, 1, 2, 3]],
        Some("rc8") => [[0; 4], [1; 4], [2; 4], [3; 4]],
        Some("ecl") => [[3, 2, 1, 0], [3, 2, 1, 1], [3, 2, 2, 2], [3, 3, 3, 3]],
        Some("ecr") => [[0, 0, 0, 0], [1, 1, 1, 0], [2, 2, 1, 0], [3, 2, 1, 0]],
        Some(_) => [[1, 0, 1, 0], [3, 2, 3, 2], [1, 0, 1, 0], [3, 2, 3, 2]],
    };
    Some(Box::new(move |x| {
        let both = x[1] << 32 | x[0];
        picks[(x[2] & 3) as usize].iter().fold(0, |word, &pick: &u64| word << 8 | both >> (8 * pick) & 0xff)
    }))
}

/// Dot products of bytes (dp2a: of a's halves with two of b's bytes), on top of c.
fn dot(opcode: &Opcode) -> Option<Bits> {
    let [a, b] = opcode.types()[..] else { return None };
    let (n, first) = match (opcode.name.as_str(), opcode.has("hi")) {
        ("dp4a", _) => (4, 0),
        (_, is_high) => (2, if is_high { 2 } else { 0 }),
    };
    let (a, b) = (Type { bits: 32 / n, ..a }, Type { bits: 8, ..b });
    Some(Box::new(move |x| {
        let product = |i: u32| value(x[0] >> (i * a.bits), a) * value(x[1] >> ((first + i) * 8), b);
        ((0..n).map(product).sum::<i128>() + i128::from(x[2])) as u64 & mask(32)
    }))
}

/// For each bit, the bit of the table that the three inputs' bits number, a's the highest.
fn lop3(x: &[u64], table: u64) -> u64 {
    let [a, b, c] = [0, 1, 2].map(|k| move |i: u64| u64::from(bit(x[k], i)));
    (0..32).map(|i| u64::from(bit(table, 4 * a(i) + 2 * b(i) + c(i))) << i).sum()
}

/// Sums and differences of more words: the carry (or borrow) is what is beyond the type's bits.
fn with_carry(opcode: Opcode, ty: Type) -> Definition {
    let reads_carry = opcode.name.ends_with('c');
    let (writes_carry, is_high) = (opcode.has("cc"), opcode.has("hi"));
    let subtracts = opcode.name.starts_with("sub");
    let multiplies = opcode.name.starts_with("mad");
    let bits = Type { kind: Kind::Unsigned, ..ty };
    Definition::Lane(Box::new(move |x| {
        let carry_in = if reads_carry { i128::from(x[x.len() - 1]) } else { 0 };
        let unsigned = |bits_of: u64| value(bits_of, bits);
        let total = if multiplies {
            let product = value(x[0], ty) * value(x[1], ty);
            unsigned(wrapped(if is_high { product >> ty.bits } else { product }, bits)) + unsigned(x[2]) + carry_in
        } else if subtracts {
            unsigned(x[0]) - unsigned(x[1]) - carry_in
        } else {
            unsigned(x[0]) + unsigned(x[1]) + carry_in
        };
        let mut wants = vec![Want::Bits(wrapped(total, bits))];
        if writes_carry {
            // The body reads the borrow as 0 - 0 - borrow.
            let borrow = if total < 0 { mask(32) } else { 0 };
            wants.push(Want::Bits(if subtracts { borrow } else { (total >> ty.bits) as u64 }));
        }
        wants
    }))
}
