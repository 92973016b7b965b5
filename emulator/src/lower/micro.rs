//! The form between the PTX tree and the program: operations on virtual registers.

use super::program::Special;
use crate::{
    isa::{Class, FORMS, Op},
    ptx::ast::Source,
};
use std::sync::Arc;

/// A virtual register of a [`Draft`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Reg(pub u32);

/// What a virtual register holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Content {
    /// Written by instructions.
    Variable,
    /// The same in all lanes, for ever.
    Constant(u64),
    /// Fixed for a CTA.
    Special(Special),
}

/// Where control goes besides the next operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    None,
    /// An index in [`Draft::ops`].
    Op(usize),
    /// One of several: an index in [`Draft::tables`].
    Table(usize),
    /// Another function of the program, by its index there.
    Function(usize),
}

/// One operation; becomes one `Inst`.
#[derive(Clone, Debug)]
pub struct Micro {
    pub op: Op,
    /// (predicate, is negated)
    pub guard: Option<(Reg, bool)>,
    pub dst: Vec<Reg>,
    pub src: Vec<Reg>,
    pub imm: i32,
    pub bytes: u8,
    pub n: u8,
    pub kind: u8,
    pub flags: u8,
    pub target: Target,
    pub line: u32,
    pub source: Option<Arc<Source>>,
}

impl Micro {
    /// Nothing runs after it.
    pub fn is_end(&self) -> bool {
        self.guard.is_none() && matches!(self.op, Op::Bra | Op::BraIndexed | Op::Ret | Op::Exit | Op::Trap)
    }

    /// Every register that it names.
    pub fn registers_mut(&mut self) -> impl Iterator<Item = &mut Reg> {
        self.dst.iter_mut().chain(&mut self.src).chain(self.guard.as_mut().map(|it| &mut it.0))
    }

    /// Arithmetic that always runs.
    pub fn is_plain(&self) -> bool {
        (self.op as usize) < FORMS.len() && self.guard.is_none()
    }

    pub fn ends_block(&self) -> bool {
        matches!(self.op, Op::Bra | Op::BraIndexed | Op::Ret | Op::Exit | Op::Trap | Op::Call)
    }
}

/// What runs in the place of an operation of a straight row.
#[derive(Clone, Debug)]
pub enum Fused {
    Itself,
    Nothing,
    Into(Fusion),
}

/// One operation that does the work of several.
#[derive(Clone, Debug)]
pub struct Fusion {
    pub op: Op,
    pub dst: Reg,
    pub src: Vec<Reg>,
}

/// A function on its way to a program.
#[derive(Debug, Default)]
pub struct Draft {
    pub ops: Vec<Micro>,
    /// By operation.
    pub fused: Vec<Fused>,
    pub registers: Vec<(Class, Content)>,
    /// The targets of each indexed branch, as indexes in `ops`.
    pub tables: Vec<Vec<usize>>,
}

impl Draft {
    pub fn class(&self, reg: Reg) -> Class {
        self.registers[reg.0 as usize].0
    }

    pub fn content(&self, reg: Reg) -> Content {
        self.registers[reg.0 as usize].1
    }

    /// Where an operation may go in this function, besides the next one.
    pub fn targets<'a>(&'a self, op: &'a Micro) -> &'a [usize] {
        match &op.target {
            Target::Op(target) => std::slice::from_ref(target),
            Target::Table(table) => &self.tables[*table],
            Target::None | Target::Function(_) => &[],
        }
    }

    /// Numbers the registers that operations name from 0, and forgets the others: PTX may declare millions.
    pub fn forget_unused(&mut self) {
        let mut renamed = vec![None; self.registers.len()];
        let mut kept = Vec::new();
        for reg in self.ops.iter_mut().flat_map(Micro::registers_mut) {
            let old = reg.0 as usize;
            *reg = *renamed[old].get_or_insert_with(|| {
                kept.push(self.registers[old]);
                Reg(kept.len() as u32 - 1)
            });
        }
        self.registers = kept;
    }

    /// A new register.
    pub fn register(&mut self, class: Class, content: Content) -> Reg {
        self.registers.push((class, content));
        Reg(self.registers.len() as u32 - 1)
    }
}
