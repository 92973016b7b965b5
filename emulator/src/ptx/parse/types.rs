//! Types and array sizes, as declarations write them.

use super::{
    super::ast::{ParseError, RegisterKind},
    Parser,
};

/// `.align 16 .v4 .f32`.
#[derive(Clone, Copy)]
pub(super) struct Type {
    pub align: u64,
    /// Of one element.
    pub bytes: u64,
    pub is_float: bool,
    /// 2 for `.v2`, 4 for `.v4`, otherwise 1.
    lanes: u64,
}

impl Parser<'_> {
    pub(super) fn declared_type(&mut self) -> Result<Type, ParseError> {
        let align = if self.at(".align") { Some(self.alignment()?) } else { None };
        let lanes = match self.token.text {
            ".v2" => 2,
            ".v4" => 4,
            _ => 1,
        };
        if lanes > 1 {
            self.advance()?;
        }
        let Some(bytes) = type_bytes(self.token.text) else { return Err(self.expected("a type such as `.b32`")) };
        let is_float = matches!(self.advance()?.text, ".f32" | ".f64");
        Ok(Type { align: align.unwrap_or(lanes * bytes), bytes, is_float, lanes })
    }

    /// `.align 16`.
    pub(super) fn alignment(&mut self) -> Result<u64, ParseError> {
        self.expect(".align")?;
        let Some(align) = self.token.integer().filter(|align| align.is_power_of_two()) else {
            return Err(self.expected("a power of two"));
        };
        self.advance()?;
        Ok(align)
    }

    /// `[4][8]`, the slowest first and the lanes of a vector last; 0 stands for the size that `[]` leaves open.
    pub(super) fn dimensions(&mut self, Type { bytes, lanes, .. }: Type) -> Result<Vec<u64>, ParseError> {
        let mut dimensions = Vec::new();
        let mut n_bytes = bytes * lanes;
        while self.at("[") {
            let bracket = self.advance()?;
            let size = if dimensions.is_empty() && self.at("]") { 0 } else { self.unsigned("a size")? };
            self.expect("]")?;
            // The size of one `[]` counts as 1 here.
            let Some(product) = n_bytes.checked_mul(size.max(1)).filter(|&product| product <= i64::MAX as u64) else {
                return Err(self.error(bracket, "expected an array of less than 2^63 bytes"));
            };
            n_bytes = product;
            dimensions.push(size);
        }
        if lanes > 1 {
            dimensions.push(lanes);
        }
        Ok(dimensions)
    }
}

/// The bytes of an array; 0 if its size is open.
pub(super) fn array_bytes(element: Type, dimensions: &[u64]) -> u64 {
    element.bytes * dimensions.iter().product::<u64>()
}

pub(super) fn register_kind(text: &str) -> Option<RegisterKind> {
    match type_bytes(text) {
        Some(1) => Some(RegisterKind::B8),
        Some(2) => Some(RegisterKind::B16),
        Some(4) => Some(RegisterKind::B32),
        Some(8) => Some(RegisterKind::B64),
        _ => (text == ".pred").then_some(RegisterKind::Pred),
    }
}

fn type_bytes(text: &str) -> Option<u64> {
    match text {
        ".b8" | ".u8" | ".s8" => Some(1),
        ".b16" | ".u16" | ".s16" | ".f16" | ".bf16" => Some(2),
        ".b32" | ".u32" | ".s32" | ".f32" | ".f16x2" | ".bf16x2" => Some(4),
        ".b64" | ".u64" | ".s64" | ".f64" => Some(8),
        ".b128" => Some(16),
        _ => None,
    }
}
