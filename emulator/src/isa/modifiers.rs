//! The modifiers that a line of the table leaves open: `cvt.{rn,rz,rm,rp}{,.sat}.f16.s32` is one line, and its
//! expression asks which of them an instruction has.

/// Where an inexact result goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounding {
    /// `.rn`, `.rni`: to the nearest, ties to even.
    NearestEven,
    /// `.rna`: to the nearest, ties away from zero.
    NearestAway,
    /// `.rz`, `.rzi`
    TowardZero,
    /// `.rm`, `.rmi`
    Down,
    /// `.rp`, `.rpi`
    Up,
}

/// The modifiers of one instruction, packed for `Inst::imm`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Modifiers(pub i32);

// The lowest three bits are the rounding; the next four say for which outcomes a comparison holds.
const OUTCOMES: u32 = 3;
const LESS: i32 = 1 << OUTCOMES;
const EQUAL: i32 = 2 << OUTCOMES;
const GREATER: i32 = 4 << OUTCOMES;
const UNORDERED: i32 = 8 << OUTCOMES;

impl Modifiers {
    pub const FTZ: i32 = 1 << 8;
    pub const SAT: i32 = 1 << 9;
    pub const RELU: i32 = 1 << 10;
    pub const SATFINITE: i32 = 1 << 11;
    pub const NAN: i32 = 1 << 12;
    pub const XORSIGN: i32 = 1 << 13;

    /// Reads an opcode; words that are no modifiers of these kinds count for nothing.
    pub fn of(opcode: &str) -> Modifiers {
        Modifiers(opcode.split('.').skip(1).fold(0, |bits, word| bits | bits_of(word)))
    }

    pub fn has(self, modifier: i32) -> bool {
        self.0 & modifier != 0
    }

    pub fn rounding(self) -> Rounding {
        match self.0 & 7 {
            1 => Rounding::NearestAway,
            2 => Rounding::TowardZero,
            3 => Rounding::Down,
            4 => Rounding::Up,
            _ => Rounding::NearestEven,
        }
    }

    /// Whether the comparison holds for `a` and `b`, of which either may be NaN.
    pub fn holds(self, a: f64, b: f64) -> bool {
        self.has(match a.partial_cmp(&b) {
            Some(order) if order.is_lt() => LESS,
            Some(order) if order.is_gt() => GREATER,
            Some(_) => EQUAL,
            None => UNORDERED,
        })
    }
}

fn bits_of(word: &str) -> i32 {
    match word {
        "rna" => 1,
        "rz" | "rzi" => 2,
        "rm" | "rmi" => 3,
        "rp" | "rpi" => 4,
        "eq" => EQUAL,
        "ne" => LESS | GREATER,
        "lt" => LESS,
        "le" => LESS | EQUAL,
        "gt" => GREATER,
        "ge" => GREATER | EQUAL,
        "equ" => EQUAL | UNORDERED,
        "neu" => LESS | GREATER | UNORDERED,
        "ltu" => LESS | UNORDERED,
        "leu" => LESS | EQUAL | UNORDERED,
        "gtu" => GREATER | UNORDERED,
        "geu" => GREATER | EQUAL | UNORDERED,
        "num" => LESS | EQUAL | GREATER,
        "nan" => UNORDERED,
        "ftz" => Modifiers::FTZ,
        "sat" => Modifiers::SAT,
        "relu" => Modifiers::RELU,
        "satfinite" => Modifiers::SATFINITE,
        "NaN" => Modifiers::NAN,
        "xorsign" => Modifiers::XORSIGN,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modifiers_are_read() {
        let with = Modifiers::of("cvt.rzi.ftz.sat.s32.f32");
        assert_eq!(
            (with.rounding(), with.has(Modifiers::FTZ), with.has(Modifiers::SAT)),
            (Rounding::TowardZero, true, true)
        );
        assert!(!with.has(Modifiers::RELU) && !with.has(Modifiers::SATFINITE));
        assert_eq!(Modifiers::of("add.f16").rounding(), Rounding::NearestEven);
    }

    #[test]
    fn comparisons_hold_as_their_names_say() {
        let names = ["eq", "ne", "lt", "le", "gt", "ge"];
        for (a, b) in [(1.0, 2.0), (2.0, 1.0), (1.0, 1.0), (-0.0, 0.0), (f64::NAN, 1.0), (1.0, f64::NAN)] {
            let is_unordered = a.is_nan() || b.is_nan();
            let truths = [a == b, a != b, a < b, a <= b, a > b, a >= b];
            for (name, truth) in names.iter().zip(truths) {
                let ordered = Modifiers::of(&format!("setp.{name}.f32"));
                assert_eq!(ordered.holds(a, b), truth && !is_unordered, "{a} {name} {b}");
                let unordered = Modifiers::of(&format!("setp.{name}u.f32"));
                assert_eq!(unordered.holds(a, b), truth || is_unordered, "{a} {name}u {b}");
            }
            assert_eq!(Modifiers::of("setp.nan.f32").holds(a, b), is_unordered);
            assert_eq!(Modifiers::of("setp.num.f32").holds(a, b), !is_unordered);
        }
    }
}
