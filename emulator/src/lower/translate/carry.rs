//! Sums with carries (PTX ISA, #extended-precision-integer-arithmetic-instructions). The condition code register is a
//! predicate of the function: `CC.CF` is not kept across calls there either.

use super::{Refusal, Translator};
use crate::{
    isa::{self, Class, LaneType, Op},
    lower::micro::Reg,
    ptx::ast::Operand,
};

/// The lines for one width: the sum with a carry in, the carry out, and the carry out with a carry in.
struct Lines {
    plain: Op,
    with_carry: Op,
    carry: Op,
    carry_of_carry: Op,
}

fn lines(is_sum: bool, class: Class) -> Lines {
    let [plain, with_carry, carry, carry_of_carry] = match (is_sum, class) {
        (true, Class::Double) => [Op::AddU64, Op::Addc64, Op::AddCarry64, Op::AddcCarry64],
        (true, _) => [Op::AddU32, Op::Addc32, Op::AddCarry32, Op::AddcCarry32],
        (false, Class::Double) => [Op::SubU64, Op::Subc64, Op::SubBorrow64, Op::SubcBorrow64],
        (false, _) => [Op::SubU32, Op::Subc32, Op::SubBorrow32, Op::SubcBorrow32],
    };
    Lines { plain, with_carry, carry, carry_of_carry }
}

impl Translator<'_> {
    /// `add.cc`, `addc{.cc}`, `sub.cc`, `subc{.cc}`, `mad.{lo,hi}.cc` and `madc.{lo,hi}{.cc}`.
    pub(super) fn with_carry(&mut self, opcode: &str, operands: &[Operand]) -> Result<(), Refusal> {
        let words: Vec<&str> = opcode.split('.').collect();
        let ty = match words.last() {
            Some(&("u32" | "s32")) => LaneType::U32,
            Some(&("u64" | "s64")) => LaneType::U64,
            _ => return Err("is not supported".into()),
        };
        let (takes, gives) = (words[0].ends_with('c'), words.contains(&"cc"));
        let n_known = words.len() - usize::from(gives);
        let (dst, a, b) = match operands {
            [dst, a, b] if !words[0].starts_with("mad") && n_known == 2 => {
                (dst, self.source(a, ty)?, self.source(b, ty)?)
            }
            [dst, a, b, c] if words[0].starts_with("mad") && n_known == 3 => {
                let form = isa::find(&format!("mul.{}.{}", words[1], words[words.len() - 1]));
                let form = form.ok_or("is not supported")?;
                let factors = [self.source(a, ty)?, self.source(b, ty)?];
                let product = self.temporary(ty.class());
                self.emit(form.op, [product], factors);
                (dst, product, self.source(c, ty)?)
            }
            _ => return Err("is not supported".into()),
        };
        let lines = lines(!words[0].starts_with("sub"), ty.class());
        let carry_in = takes.then(|| self.carry());
        // The carry first: the result may be one of the operands.
        let carry_out = gives.then(|| self.temporary(Class::Pred));
        if let Some(out) = carry_out {
            match carry_in {
                Some(carry) => self.emit(lines.carry_of_carry, [out], [a, b, carry]),
                None => self.emit(lines.carry, [out], [a, b]),
            };
        }
        let dst = self.destination(dst, ty.class())?;
        match carry_in {
            Some(carry) => self.emit(lines.with_carry, [dst], [a, b, carry]),
            None => self.emit(lines.plain, [dst], [a, b]),
        };
        if let Some(out) = carry_out {
            let carry = self.carry();
            self.emit(Op::MovPred, [carry], [out]);
        }
        Ok(())
    }

    fn carry(&mut self) -> Reg {
        if let Some(carry) = self.carry {
            return carry;
        }
        let carry = self.temporary(Class::Pred);
        self.carry = Some(carry);
        carry
    }
}
