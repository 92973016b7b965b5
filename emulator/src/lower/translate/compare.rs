//! `setp` and `set` in the forms that are more than one operation: two results, a third predicate, pairs of 16-bit floats.

use super::{Refusal, Translator};
use crate::{
    isa::{self, Class, LaneType, Op, modifiers::Modifiers},
    lower::micro::Reg,
    ptx::ast::Operand,
};

impl Translator<'_> {
    /// #comparison-and-selection-instructions-setp: `p = t op c`, `q = !t op c`; of pairs, p is of the lower halves and q
    /// of the upper.
    pub(super) fn setp(&mut self, opcode: &str, operands: &[Operand]) -> Result<(), Refusal> {
        let (plain, combine) = without_combination(opcode);
        let [results, a, b, rest @ ..] = operands else { return Err("has too few operands".into()) };
        let truths = self.comparison(&plain, a, b)?;
        let other = self.other(combine, rest)?;
        let (p, q) = match results {
            Operand::Pair(p, q) => (&**p, &**q),
            p => (p, &Operand::Sink),
        };
        // The opposite before p is written: p may be the third predicate.
        let second = match truths.get(1) {
            Some(&high) => Some(high),
            None if *q == Operand::Sink => None,
            None => {
                let opposite = self.temporary(Class::Pred);
                self.emit(Op::NotPred, [opposite], [truths[0]]);
                Some(opposite)
            }
        };
        let first = self.combined(truths[0], other);
        let second = second.map(|it| self.combined(it, other));
        let dst = self.destination(p, Class::Pred)?;
        self.emit(Op::MovPred, [dst], [first]);
        if let Some(second) = second {
            let dst = self.destination(q, Class::Pred)?;
            self.emit(Op::MovPred, [dst], [second]);
        }
        Ok(())
    }

    /// The truth of a comparison, or of both halves' comparisons, the lower first.
    fn comparison(&mut self, plain: &str, a: &Operand, b: &Operand) -> Result<Vec<Reg>, Refusal> {
        let (scalar, halves): (_, &[Op]) = match plain.strip_suffix("x2") {
            Some(scalar) => (scalar, &[Op::LowB16, Op::HighB16]),
            None => (plain, &[]),
        };
        let form = isa::find(scalar).ok_or("is not supported")?;
        let imm = Modifiers::of(scalar).0;
        let compare = |this: &mut Self, src: [Reg; 2]| {
            let truth = this.temporary(Class::Pred);
            this.emit(form.op, [truth], src).imm = imm;
            truth
        };
        if halves.is_empty() {
            let src = [self.source(a, form.operands[0])?, self.source(b, form.operands[1])?];
            return Ok(vec![compare(self, src)]);
        }
        let pairs = [self.source(a, LaneType::U32)?, self.source(b, LaneType::U32)?];
        let truth = |&half: &Op| {
            let src = pairs.map(|pair| {
                let part = self.temporary(Class::Word);
                self.emit(half, [part], [pair]);
                part
            });
            compare(self, src)
        };
        Ok(halves.iter().map(truth).collect())
    }

    /// The predicate that `.and`, `.or` or `.xor` joins, and with which operation.
    fn other(&mut self, combine: Option<Op>, rest: &[Operand]) -> Result<Option<(Op, Reg)>, Refusal> {
        match (combine, rest) {
            (Some(op), [c]) => Ok(Some((op, self.source(c, LaneType::Bool)?))),
            (None, []) => Ok(None),
            _ => Err("has operands that don't fit".into()),
        }
    }

    fn combined(&mut self, truth: Reg, other: Option<(Op, Reg)>) -> Reg {
        let Some((op, c)) = other else { return truth };
        let combined = self.temporary(Class::Pred);
        self.emit(op, [combined], [truth, c]);
        combined
    }

    /// `set.CmpOp{.BoolOp}{.ftz}.dtype.stype`: all ones or 1.0 where it holds, in each half where the types are pairs.
    pub(super) fn set(&mut self, opcode: &str, operands: &[Operand]) -> Result<(), Refusal> {
        let (plain, combine) = without_combination(opcode);
        let words: Vec<&str> = plain.split('.').collect();
        let [_, cmp @ .., dtype, stype] = words.as_slice() else { return Err("is not supported".into()) };
        let [dst, a, b, rest @ ..] = operands else { return Err("has too few operands".into()) };
        let truths = self.comparison(&format!("setp.{}.{stype}", cmp.join(".")), a, b)?;
        let other = self.other(combine, rest)?;
        let yes = match (*dtype, truths.len()) {
            ("u32" | "s32", 1) => u64::from(u32::MAX),
            ("f32", 1) => u64::from(1f32.to_bits()),
            ("u16" | "s16", 1) | ("u32" | "s32", 2) => u64::from(u16::MAX),
            ("f16", 1) | ("f16x2", 2) => 0x3c00,
            ("bf16", 1) | ("bf16x2", 2) => 0x3f80,
            _ => return Err("is not supported".into()),
        };
        let (yes, no) = (self.constant(Class::Word, yes), self.constant(Class::Word, 0));
        let mut parts = Vec::new();
        for truth in truths {
            let truth = self.combined(truth, other);
            let part = self.temporary(Class::Word);
            self.emit(Op::SelB32, [part], [yes, no, truth]);
            parts.push(part);
        }
        let dst = self.destination(dst, Class::Word)?;
        let op = if parts.len() == 2 { Op::PackB32 } else { Op::MovB32 };
        self.emit(op, [dst], parts);
        Ok(())
    }

    /// `lop3.{or,and}.b32 d|p, a, b, c, lut, q`: p tells whether d is not zero, joined with q.
    pub(super) fn lop3(&mut self, opcode: &str, operands: &[Operand]) -> Result<(), Refusal> {
        let join = match opcode {
            "lop3.or.b32" => Op::OrPred,
            "lop3.and.b32" => Op::AndPred,
            _ => return Err("is not supported".into()),
        };
        let [Operand::Pair(d, p), sources @ .., q] = operands else { return Err("needs two results".into()) };
        if sources.len() != 4 {
            return Err("needs a, b, c, a table and a predicate".into());
        }
        let src = sources.iter().map(|it| self.source(it, LaneType::U32)).collect::<Result<Vec<_>, _>>()?;
        let q = self.source(q, LaneType::Bool)?;
        let dst = self.destination(d, Class::Word)?;
        self.emit(Op::Lop3, [dst], src);
        let (zero, truth) = (self.constant(Class::Word, 0), self.temporary(Class::Pred));
        self.emit(Op::SetNeB32, [truth], [dst, zero]);
        let p = self.destination(p, Class::Pred)?;
        self.emit(join, [p], [truth, q]);
        Ok(())
    }
}

/// `setp.lt.and.f32` to (`setp.lt.f32`, and).
fn without_combination(opcode: &str) -> (String, Option<Op>) {
    for (name, op) in [(".and", Op::AndPred), (".or", Op::OrPred), (".xor", Op::XorPred)] {
        if let Some((head, tail)) = opcode.split_once(name)
            && tail.starts_with('.')
        {
            return (format!("{head}{tail}"), Some(op));
        }
    }
    (opcode.to_owned(), None)
}
