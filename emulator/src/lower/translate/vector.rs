//! `mov` between a register and its parts: #data-movement-and-conversion-instructions-mov.

use super::{Refusal, Translator};
use crate::{
    isa::{Class, LaneType, Op},
    lower::micro::Reg,
    ptx::ast::Operand,
};

impl Translator<'_> {
    /// `mov.b64 {lo, hi}, a`, `mov.b32 d, {b0, b1, b2, b3}`: the first part is the lowest.
    pub(super) fn pack_or_unpack(&mut self, opcode: &str, operands: &[Operand]) -> Result<(), Refusal> {
        let (bits, whole) = match opcode {
            "mov.b16" => (16, LaneType::U16),
            "mov.b32" => (32, LaneType::U32),
            "mov.b64" => (64, LaneType::U64),
            _ => return Err("is not supported".into()),
        };
        let part_bits = |parts: &[Operand]| match parts.len() {
            n @ (2 | 4) if bits / n >= 8 => Ok(bits / n),
            n => Err(format!("has {n} parts, expected 2 or 4 of at least 8 bits")),
        };
        match operands {
            [dst, Operand::Vector(parts)] => {
                let part_bits = part_bits(parts)?;
                let ty = if part_bits == 32 { LaneType::U32 } else { LaneType::U16 };
                let parts = parts.iter().map(|it| self.source(it, ty)).collect::<Result<Vec<_>, _>>()?;
                let dst = self.destination(dst, whole.class())?;
                self.pack(dst, &parts, bits);
            }
            [Operand::Vector(parts), src] => {
                part_bits(parts)?;
                let src = self.source(src, whole)?;
                self.unpack(parts, src, bits)?;
            }
            _ => return Err("is not supported".into()),
        }
        Ok(())
    }

    fn pack(&mut self, dst: Reg, parts: &[Reg], bits: usize) {
        let (low, high) = parts.split_at(parts.len() / 2);
        let mut half = |parts: &[Reg]| match parts {
            [part] => *part,
            parts => {
                let joined = self.temporary(Class::Word);
                self.pack(joined, parts, bits / 2);
                joined
            }
        };
        let halves = [half(low), half(high)];
        let op = match bits {
            16 => Op::PackB16,
            32 => Op::PackB32,
            _ => Op::PackB64,
        };
        self.emit(op, [dst], halves);
    }

    fn unpack(&mut self, parts: &[Operand], src: Reg, bits: usize) -> Result<(), Refusal> {
        let ops = match bits {
            16 => [Op::LowB8, Op::HighB8],
            32 => [Op::LowB16, Op::HighB16],
            _ => [Op::LowB32, Op::HighB32],
        };
        for (parts, op) in parts.chunks(parts.len() / 2).zip(ops) {
            match parts {
                [Operand::Sink] => {}
                [part] => {
                    let dst = self.destination(part, Class::Word)?;
                    self.emit(op, [dst], [src]);
                }
                parts => {
                    let half = self.temporary(Class::Word);
                    self.emit(op, [half], [src]);
                    self.unpack(parts, half, bits / 2)?;
                }
            }
        }
        Ok(())
    }
}
