//! One function of the PTX tree to a draft: opcodes become operations, operands become registers ([`operands`]).

mod operands;

use super::{
    layout::{self, Layout},
    memory,
    micro::{Content, Draft, Micro, Reg, Target},
    program::Special,
    sync,
};
use crate::{
    exec::generic,
    isa::{self, Class, Form, LaneType, Op},
    ptx::ast::{Function, Instruction, Module, Operand, RegisterKind, Symbol},
};
use std::collections::HashMap;

/// Why an instruction was refused, without where.
pub type Refusal = String;

/// Translates one function.
pub struct Translator<'a> {
    pub module: &'a Module,
    pub layout: &'a Layout,
    /// Device addresses of the module-scope `.global` and `.const` variables.
    pub addresses: &'a HashMap<u32, u64>,
    /// Index in the module.
    pub index: usize,
    pub draft: Draft,
    registers: Vec<Reg>,
    constants: HashMap<(Class, u64), Reg>,
    specials: HashMap<Special, Reg>,
    /// Guard, line and source of the instruction at hand.
    template: Option<Micro>,
}

/// An instruction that the emulator does not have, and why.
#[derive(Debug)]
pub struct Unsupported {
    pub line: u32,
    pub why: Refusal,
}

impl<'a> Translator<'a> {
    pub fn new(module: &'a Module, layout: &'a Layout, addresses: &'a HashMap<u32, u64>, index: usize) -> Self {
        let mut draft = Draft::default();
        let registers = module.functions[index]
            .registers
            .iter()
            .map(|it| {
                let class = match it.kind {
                    RegisterKind::Pred => Class::Pred,
                    RegisterKind::B64 => Class::Double,
                    RegisterKind::B8 | RegisterKind::B16 | RegisterKind::B32 => Class::Word,
                };
                draft.register(class, Content::Variable)
            })
            .collect();
        let (constants, specials) = (HashMap::new(), HashMap::new());
        Translator { module, layout, addresses, index, draft, registers, constants, specials, template: None }
    }

    pub fn function(&self) -> &'a Function {
        &self.module.functions[self.index]
    }

    /// The whole body.
    pub fn run(mut self) -> Result<Draft, Unsupported> {
        let function = self.function();
        let mut starts = Vec::with_capacity(function.body.len() + 1);
        for instruction in &function.body {
            starts.push(self.draft.ops.len());
            self.instruction(instruction).map_err(|why| Unsupported { line: instruction.line, why })?;
        }
        starts.push(self.draft.ops.len());
        // Falling off the end of a body is a `ret`.
        self.template = None;
        self.emit(Op::Ret, [], []);
        for op in &mut self.draft.ops {
            if let Target::Op(label) = &mut op.target {
                *label = starts[function.labels[*label]];
            }
        }
        Ok(self.draft)
    }

    fn instruction(&mut self, instruction: &Instruction) -> Result<(), Refusal> {
        let guard = instruction.guard.map(|(reg, negated)| (self.own(reg), negated));
        let (line, source) = (instruction.line, instruction.source.clone());
        self.template = Some(Micro { guard, line, source, ..blank() });
        let opcode = instruction.opcode.as_str();
        let operands = instruction.operands.as_slice();
        if let Some(form) = isa::find(opcode)
            && !operands.iter().any(|it| matches!(it, Operand::Vector(_) | Operand::Pair(..)))
        {
            return self.arithmetic(form, operands);
        }
        match opcode.split('.').next().unwrap_or_default() {
            "mov" => self.pack_or_unpack(opcode, operands),
            "setp" => self.setp(opcode, operands),
            "set" => self.set(opcode, operands),
            "cvta" => self.cvta(opcode, operands),
            "isspacep" => self.isspacep(opcode, operands),
            "ld" | "ldu" | "st" | "atom" | "red" | "prefetch" | "prefetchu" | "applypriority" | "discard" => {
                memory::translate(self, opcode, operands)
            }
            "bra" => {
                let Some(Operand::Label(label)) = operands.first() else { return Err("needs a label".into()) };
                self.emit(Op::Bra, [], []).target = Target::Op(label.0 as usize);
                Ok(())
            }
            "call" => self.call(operands),
            "ret" => self.emit_plain(Op::Ret),
            "exit" => self.emit_plain(Op::Exit),
            "trap" => self.emit_plain(Op::Trap),
            "nanosleep" | "pmevent" | "brkpt" => self.emit_plain(Op::Nop),
            _ => sync::translate(self, opcode, operands),
        }
    }

    /// A line of the arithmetic table.
    fn arithmetic(&mut self, form: &Form, operands: &[Operand]) -> Result<(), Refusal> {
        let [dst, sources @ ..] = operands else { return Err("has no operands".into()) };
        if sources.len() != form.operands.len() {
            return Err(format!("needs {} operands after the result", form.operands.len()));
        }
        if matches!(form.op, Op::MovB32 | Op::MovB64)
            && let Some(op) = self.clock(&sources[0])
        {
            let dst = self.destination(dst, form.result.class())?;
            self.emit(op, [dst], []);
            return Ok(());
        }
        let src =
            sources.iter().zip(form.operands).map(|(it, &ty)| self.source(it, ty)).collect::<Result<Vec<_>, _>>()?;
        let dst = self.destination(dst, form.result.class())?;
        self.emit(form.op, [dst], src);
        Ok(())
    }

    /// A special register that changes while the kernel runs.
    fn clock(&self, operand: &Operand) -> Option<Op> {
        let Operand::Special(name) = operand else { return None };
        match name.as_str() {
            "%clock" => Some(Op::ReadClock),
            "%clock64" => Some(Op::ReadClock64),
            "%globaltimer" => Some(Op::ReadGlobalTimer),
            _ => None,
        }
    }

    /// `mov.b64 {lo, hi}, a` and `mov.b64 d, {lo, hi}`.
    fn pack_or_unpack(&mut self, opcode: &str, operands: &[Operand]) -> Result<(), Refusal> {
        let (pack, low, high, whole, part) = match opcode {
            "mov.b64" => (Op::PackB64, Op::LowB32, Op::HighB32, LaneType::U64, LaneType::U32),
            "mov.b32" => (Op::PackB32, Op::LowB16, Op::HighB16, LaneType::U32, LaneType::U16),
            "mov.b16" => (Op::PackB16, Op::MovB32, Op::MovB32, LaneType::U16, LaneType::U8),
            _ => return Err("is not supported".into()),
        };
        match operands {
            [dst, Operand::Vector(parts)] if parts.len() == 2 => {
                let src = [self.source(&parts[0], part)?, self.source(&parts[1], part)?];
                let dst = self.destination(dst, whole.class())?;
                self.emit(pack, [dst], src);
            }
            [Operand::Vector(parts), src] if parts.len() == 2 && part != LaneType::U8 => {
                let src = self.source(src, whole)?;
                for (dst, op) in parts.iter().zip([low, high]).filter(|(it, _)| **it != Operand::Sink) {
                    let dst = self.destination(dst, part.class())?;
                    self.emit(op, [dst], [src]);
                }
            }
            _ => return Err("is supported with vectors of two only".into()),
        }
        Ok(())
    }

    /// `setp` with two results, or combined with a third predicate.
    fn setp(&mut self, opcode: &str, operands: &[Operand]) -> Result<(), Refusal> {
        let (plain, combine) = without_combination(opcode);
        let [results, a, b, rest @ ..] = operands else { return Err("has too few operands".into()) };
        let truth = self.comparison(&plain, a, b)?;
        let other = match (combine, rest) {
            (Some(op), [c]) => Some((op, self.source(c, LaneType::Bool)?)),
            (None, []) => None,
            _ => return Err("has operands that don't fit".into()),
        };
        let (p, q) = match results {
            Operand::Pair(p, q) => (&**p, Some(&**q)),
            p => (p, None),
        };
        self.set_predicate(p, truth, other)?;
        if let Some(q) = q.filter(|it| **it != Operand::Sink) {
            let opposite = self.temporary(Class::Pred);
            self.emit(Op::NotPred, [opposite], [truth]);
            self.set_predicate(q, opposite, other)?;
        }
        Ok(())
    }

    fn comparison(&mut self, plain: &str, a: &Operand, b: &Operand) -> Result<Reg, Refusal> {
        let form = isa::find(plain).ok_or("is not supported")?;
        let src = [self.source(a, form.operands[0])?, self.source(b, form.operands[1])?];
        let truth = self.temporary(Class::Pred);
        self.emit(form.op, [truth], src);
        Ok(truth)
    }

    fn set_predicate(&mut self, dst: &Operand, truth: Reg, other: Option<(Op, Reg)>) -> Result<(), Refusal> {
        let dst = self.destination(dst, Class::Pred)?;
        match other {
            Some((op, c)) => self.emit(op, [dst], [truth, c]),
            None => self.emit(Op::MovPred, [dst], [truth]),
        };
        Ok(())
    }

    /// `set.CmpOp.dtype.stype`: all ones or 1.0 where it holds.
    fn set(&mut self, opcode: &str, operands: &[Operand]) -> Result<(), Refusal> {
        let (plain, combine) = without_combination(opcode);
        let parts: Vec<&str> = plain.split('.').collect();
        let (Some(&stype), Some(&dtype)) = (parts.last(), parts.iter().rev().nth(1)) else {
            return Err("is not supported".into());
        };
        let setp = format!("setp.{}.{stype}", parts[1..parts.len() - 2].join("."));
        let [dst, a, b, rest @ ..] = operands else { return Err("has too few operands".into()) };
        let mut truth = self.comparison(&setp, a, b)?;
        if let (Some(op), [c]) = (combine, rest) {
            let c = self.source(c, LaneType::Bool)?;
            let both = self.temporary(Class::Pred);
            self.emit(op, [both], [truth, c]);
            truth = both;
        }
        let yes = match dtype {
            "u32" | "s32" => u64::from(u32::MAX),
            "f32" => u64::from(1f32.to_bits()),
            "u16" | "s16" => u64::from(u16::MAX),
            "f16" => 0x3c00,
            "bf16" => 0x3f80,
            _ => return Err("is not supported".into()),
        };
        let src = [self.constant(Class::Word, yes), self.constant(Class::Word, 0), truth];
        let dst = self.destination(dst, Class::Word)?;
        self.emit(Op::SelB32, [dst], src);
        Ok(())
    }

    /// Between generic addresses and those of a state space.
    fn cvta(&mut self, opcode: &str, operands: &[Operand]) -> Result<(), Refusal> {
        let [dst, src] = operands else { return Err("needs two operands".into()) };
        let is_to = opcode.contains(".to.");
        let window =
            [("shared", generic::SHARED_WINDOW), ("local", generic::LOCAL_WINDOW), ("param", generic::PARAM_WINDOW)]
                .into_iter()
                .find(|(space, _)| opcode.contains(space))
                .map(|(_, window)| if is_to { window.wrapping_neg() } else { window });
        let src = self.source(src, LaneType::U64)?;
        let dst = self.destination(dst, Class::Double)?;
        match window {
            Some(window) => {
                let window = self.constant(Class::Double, window);
                self.emit(Op::AddU64, [dst], [src, window]);
            }
            None => {
                self.emit(Op::MovB64, [dst], [src]);
            }
        }
        Ok(())
    }

    /// `isspacep`: compares the address's window.
    fn isspacep(&mut self, opcode: &str, operands: &[Operand]) -> Result<(), Refusal> {
        let [dst, address] = operands else { return Err("needs two operands".into()) };
        let window = match opcode {
            "isspacep.shared" | "isspacep.shared::cta" => generic::SHARED_WINDOW,
            "isspacep.local" => generic::LOCAL_WINDOW,
            "isspacep.param" => generic::PARAM_WINDOW,
            _ => return Err("is not supported".into()),
        };
        let address = self.source(address, LaneType::U64)?;
        let [forty, window] = [self.constant(Class::Word, 40), self.constant(Class::Double, window >> 40)];
        let found = self.temporary(Class::Double);
        self.emit(Op::ShrU64, [found], [address, forty]);
        let dst = self.destination(dst, Class::Pred)?;
        self.emit(Op::SetEqB64, [dst], [found, window]);
        Ok(())
    }

    /// Arguments and results travel through the thread's frame.
    fn call(&mut self, operands: &[Operand]) -> Result<(), Refusal> {
        let mut name = None;
        let (mut results, mut arguments): (&[Operand], &[Operand]) = (&[], &[]);
        for operand in operands {
            match operand {
                Operand::Symbol(Symbol::Function(function)) => name = Some(function),
                Operand::Arguments(list) if name.is_none() => results = list,
                Operand::Arguments(list) => arguments = list,
                _ => return Err("is not supported".into()),
            }
        }
        let name = name.ok_or("is not supported")?;
        match (name.as_str(), arguments, results) {
            ("__assertfail", arguments, []) => {
                return self.system_call(Op::AssertFail, arguments, &[8, 8, 4, 8, 8], None);
            }
            ("vprintf", arguments, [result]) => return self.system_call(Op::Printf, arguments, &[8, 8], Some(result)),
            _ => {}
        }
        let callee =
            layout::callee(self.module, name).ok_or_else(|| format!("calls {name}, which is not supported"))?;
        let function = &self.module.functions[callee];
        if arguments.len() != function.params.len() || results.len() != function.returns.len() {
            return Err("has arguments that don't fit".into());
        }
        for (i, argument) in arguments.iter().enumerate() {
            let from = self.frame_offset(argument)?;
            memory::copy_in_frame(self, from, self.layout.param(callee, i), function.params[i].bytes);
        }
        let at = self.layout.functions.iter().position(|&it| it == callee).expect("the layout has every callee");
        self.emit(Op::Call, [], []).target = Target::Function(at);
        for (i, result) in results.iter().enumerate() {
            let to = self.frame_offset(result)?;
            memory::copy_in_frame(self, self.layout.result(callee, i), to, function.returns[i].bytes);
        }
        Ok(())
    }

    /// A function that the interpreter does itself: its arguments become operands, all but a fifth.
    fn system_call(
        &mut self,
        op: Op,
        arguments: &[Operand],
        bytes: &[u8],
        result: Option<&Operand>,
    ) -> Result<(), Refusal> {
        if arguments.len() != bytes.len() {
            return Err(format!("needs {} arguments", bytes.len()));
        }
        let zero = self.constant(Class::Double, 0);
        let mut src = Vec::new();
        for (argument, &bytes) in arguments.iter().zip(bytes).take(4) {
            let from = self.frame_offset(argument)?;
            let value = self.temporary(if bytes == 8 { Class::Double } else { Class::Word });
            let micro = self.emit(Op::LdLocal, [value], [zero]);
            (micro.imm, micro.n, micro.bytes) = (from as i32, 1, bytes);
            src.push(value);
        }
        let Some(result) = result else {
            self.emit(op, [], src);
            return Ok(());
        };
        let to = self.frame_offset(result)?;
        let value = self.temporary(Class::Word);
        self.emit(op, [value], src);
        let micro = self.emit(Op::StLocal, [value], [zero]);
        (micro.imm, micro.n, micro.bytes) = (to as i32, 1, 4);
        Ok(())
    }

    fn frame_offset(&self, operand: &Operand) -> Result<u32, Refusal> {
        match operand {
            Operand::Symbol(Symbol::Local(variable)) => Ok(self.layout.own(self.index, *variable)),
            _ => Err("has an argument that is no variable".into()),
        }
    }

    /// Adds an operation with the current instruction's guard and place.
    pub fn emit<const D: usize>(&mut self, op: Op, dst: [Reg; D], src: impl Into<Vec<Reg>>) -> &mut Micro {
        let template = self.template.clone().unwrap_or_else(blank);
        self.draft.ops.push(Micro { op, dst: dst.to_vec(), src: src.into(), ..template });
        self.draft.ops.last_mut().expect("just pushed")
    }

    pub fn emit_plain(&mut self, op: Op) -> Result<(), Refusal> {
        self.emit(op, [], []);
        Ok(())
    }
}

fn blank() -> Micro {
    let target = Target::None;
    let (dst, src) = (Vec::new(), Vec::new());
    Micro {
        op: Op::Nop,
        guard: None,
        dst,
        src,
        imm: 0,
        bytes: 0,
        n: 0,
        kind: 0,
        flags: 0,
        target,
        line: 0,
        source: None,
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
