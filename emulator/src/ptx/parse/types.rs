//! Types and array sizes, as declarations write them.

use super::{
    super::ast::{ParseError, RegisterKind},
    Parser,
};

/// Above any alignment, size and number of dimensions that has a use; they keep sums of sizes far from overflow.
const MAX_ALIGN: u64 = 1 << 16;
const MAX_BYTES: u64 = 1 << 48;
const MAX_DIMENSIONS: usize = 8;

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
        let align = self.token.integer().filter(|&align| align.is_power_of_two() && align <= MAX_ALIGN);
        let align = align.ok_or_else(|| self.expected(format_args!("a power of two up to {MAX_ALIGN}")))?;
        self.advance()?;
        Ok(align)
    }

    /// `[4][8]`, the slowest first and the lanes of a vector last; 0 stands for the size that `[]` leaves open.
    pub(super) fn dimensions(&mut self, Type { bytes, lanes, .. }: Type) -> Result<Vec<u64>, ParseError> {
        let mut dimensions = Vec::new();
        let mut n_bytes = bytes * lanes;
        while self.at("[") {
            let bracket = self.advance()?;
            let size = if dimensions.is_empty() && self.at("]") { 0 } else { self.array_size()? };
            self.expect("]")?;
            // An open size counts as 1 here.
            n_bytes = n_bytes.saturating_mul(size.max(1));
            if n_bytes > MAX_BYTES || dimensions.len() == MAX_DIMENSIONS {
                let limit = format!("expected at most {MAX_BYTES} bytes in at most {MAX_DIMENSIONS} dimensions");
                return Err(self.error(bracket, limit));
            }
            dimensions.push(size);
        }
        if lanes > 1 {
            dimensions.push(lanes);
        }
        Ok(dimensions)
    }

    fn array_size(&mut self) -> Result<u64, ParseError> {
        let Some(size) = self.token.integer().filter(|&size| size > 0) else { return Err(self.expected("a size")) };
        self.advance()?;
        Ok(size)
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
