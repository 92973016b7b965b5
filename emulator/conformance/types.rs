//! The types that opcodes name, and opcodes taken apart.

/// A binary floating-point format.
#[derive(Debug, PartialEq, Eq)]
pub struct Format {
    pub exponent_bits: u32,
    pub mantissa_bits: u32,
    /// e4m3 has none: its largest exponent holds numbers and one NaN.
    pub has_infinity: bool,
}

pub static F64: Format = Format { exponent_bits: 11, mantissa_bits: 52, has_infinity: true };
pub static F32: Format = Format { exponent_bits: 8, mantissa_bits: 23, has_infinity: true };
pub static TF32: Format = Format { exponent_bits: 8, mantissa_bits: 10, has_infinity: true };
pub static BF16: Format = Format { exponent_bits: 8, mantissa_bits: 7, has_infinity: true };
pub static F16: Format = Format { exponent_bits: 5, mantissa_bits: 10, has_infinity: true };
pub static E4M3: Format = Format { exponent_bits: 4, mantissa_bits: 3, has_infinity: false };
pub static E5M2: Format = Format { exponent_bits: 5, mantissa_bits: 2, has_infinity: true };

impl Format {
    pub const fn bits(&self) -> u32 {
        1 + self.exponent_bits + self.mantissa_bits
    }

    pub const fn bias(&self) -> i32 {
        (1 << (self.exponent_bits - 1)) - 1
    }

    pub const fn sign(&self) -> u64 {
        1 << (self.bits() - 1)
    }

    /// All exponent bits.
    pub const fn infinity(&self) -> u64 {
        ((1 << self.exponent_bits) - 1) << self.mantissa_bits
    }

    /// The largest finite number.
    pub const fn largest(&self) -> u64 {
        if self.has_infinity { self.infinity() - 1 } else { self.sign() - 2 }
    }

    pub const fn smallest_normal(&self) -> u64 {
        1 << self.mantissa_bits
    }

    pub const fn one(&self) -> u64 {
        (self.bias() as u64) << self.mantissa_bits
    }

    /// The NaN that the ISA calls canonical: all bits but the sign.
    pub const fn canonical_nan(&self) -> u64 {
        self.sign() - 1
    }

    pub const fn is_nan(&self, bits: u64) -> bool {
        let magnitude = bits & (self.sign() - 1);
        magnitude > if self.has_infinity { self.infinity() } else { self.largest() }
    }

    pub const fn is_subnormal(&self, bits: u64) -> bool {
        let magnitude = bits & (self.sign() - 1);
        magnitude != 0 && magnitude < self.smallest_normal()
    }
}

/// How an element's bits are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Pred,
    Bits,
    Unsigned,
    Signed,
    Float(&'static Format),
}

/// A type: `n_elements` elements of `bits` bits, the first in the low bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Type {
    pub kind: Kind,
    pub bits: u32,
    pub n_elements: u32,
}

pub const PRED: Type = Type { kind: Kind::Pred, bits: 1, n_elements: 1 };
pub const B32: Type = Type { kind: Kind::Bits, bits: 32, n_elements: 1 };
pub const U32: Type = Type { kind: Kind::Unsigned, bits: 32, n_elements: 1 };
pub const B64: Type = Type { kind: Kind::Bits, bits: 64, n_elements: 1 };

impl Type {
    /// `u32`, `bf16x2`; nothing for a word that is no type.
    pub fn named(name: &str) -> Option<Self> {
        let scalar = |kind, bits| Some(Self { kind, bits, n_elements: 1 });
        let (element, n_elements) = match name.strip_suffix("x2") {
            Some(element) => (element, 2),
            None => (name, 1),
        };
        let float = match element {
            "f64" => Some(&F64),
            "f32" => Some(&F32),
            "tf32" => Some(&TF32),
            "bf16" => Some(&BF16),
            "f16" => Some(&F16),
            "e4m3" => Some(&E4M3),
            "e5m2" => Some(&E5M2),
            _ => None,
        };
        if let Some(format) = float {
            // tf32 is 19 bits at the top of a 32-bit register.
            let bits = if element == "tf32" { 32 } else { format.bits() };
            return Some(Self { kind: Kind::Float(format), bits, n_elements });
        }
        if element == "pred" {
            return Some(PRED);
        }
        let (letter, digits) = element.split_at_checked(1)?;
        let bits: u32 = digits.parse().ok().filter(|it| [2, 4, 8, 16, 32, 64].contains(it))?;
        let kind = match letter {
            "u" => Kind::Unsigned,
            "s" => Kind::Signed,
            "b" => Kind::Bits,
            _ => return None,
        };
        scalar(kind, bits).map(|it| Self { n_elements, ..it })
    }

    pub const fn width(self) -> u32 {
        self.bits * self.n_elements
    }

    /// The bits of the register that holds it: there are none of 8.
    pub const fn register_bits(self) -> u32 {
        if self.width() < 16 { 16 } else { self.width() }
    }

    pub const fn mask(self) -> u64 {
        mask(self.bits)
    }

    pub fn format(self) -> Option<&'static Format> {
        match self.kind {
            Kind::Float(format) => Some(format),
            _ => None,
        }
    }

    pub fn is_signed(self) -> bool {
        self.kind == Kind::Signed
    }

    /// One element's type.
    pub const fn element(self) -> Self {
        Self { n_elements: 1, ..self }
    }
}

/// The low `bits` bits.
pub const fn mask(bits: u32) -> u64 {
    if bits >= 64 { u64::MAX } else { (1 << bits) - 1 }
}

/// An opcode's words: `cvt.rn.f16x2.f32` is `cvt` with the modifiers `rn`, `f16x2` and `f32`.
#[derive(Clone, Debug)]
pub struct Opcode {
    pub name: String,
    pub modifiers: Vec<String>,
}

impl Opcode {
    pub fn parse(text: &str) -> Self {
        let mut words = text.split('.').map(str::to_owned);
        Self { name: words.next().unwrap_or_default(), modifiers: words.collect() }
    }

    pub fn has(&self, modifier: &str) -> bool {
        self.modifiers.iter().any(|it| it == modifier)
    }

    /// The first of `choices` that is among the modifiers.
    pub fn any_of<'a>(&self, choices: &[&'a str]) -> Option<&'a str> {
        choices.iter().copied().find(|it| self.has(it))
    }

    /// The types among the modifiers, in order.
    pub fn types(&self) -> Vec<Type> {
        self.modifiers.iter().filter_map(|it| Type::named(it)).collect()
    }
}
