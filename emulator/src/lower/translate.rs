//! One function of the PTX tree to a draft: opcodes become operations, operands become registers ([`operands`]).

mod operands;
mod carry;
mod compare;
mod vector;

use super::{
    address, async_copy, indirect,
    layout::{self, Layout},
    memory,
    micro::{Content, Draft, Micro, Reg, Target},
    program::Special,
    sync, tensor,
};
use crate::{
    exec::approx,
    isa::{self, Class, Form, Op, modifiers::Modifiers},
    ptx::ast::{Function, Instruction, Module, Operand, RegisterKind, Symbol},
};
use std::collections::{HashMap, HashSet};

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
    /// Where `add.cc` leaves its carry (PTX ISA: the condition code register), once one does.
    carry: Option<Reg>,
    /// Guard, line and source of the instruction at hand.
    template: Option<Micro>,
    /// Registers that `createpolicy` gives the policy `evict_first`.
    pub evict_first: HashSet<Reg>,
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
        let (carry, template, evict_first) = (None, None, HashSet::new());
        Translator {
            module,
            layout,
            addresses,
            index,
            draft,
            registers,
            constants,
            specials,
            carry,
            template,
            evict_first,
        }
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
        let falls_off = self.draft.ops.last().is_none_or(|last| !last.is_end());
        if falls_off || function.labels.contains(&function.body.len()) {
            self.template = None;
            self.emit(Op::Ret, [], []);
        }
        for op in &mut self.draft.ops {
            if let Target::Op(label) = &mut op.target {
                *label = starts[function.labels[*label]];
            }
        }
        self.draft.tables.iter_mut().flatten().for_each(|label| *label = starts[function.labels[*label]]);
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
            return self.arithmetic(form, opcode, operands);
        }
        match opcode.split('.').next().unwrap_or_default() {
            "mov" => self.pack_or_unpack(opcode, operands),
            "add" | "addc" | "sub" | "subc" | "mad" | "madc" => self.with_carry(opcode, operands),
            "lop3" => self.lop3(opcode, operands),
            "setp" => self.setp(opcode, operands),
            "set" => self.set(opcode, operands),
            "cvta" | "isspacep" | "mapa" | "getctarank" => address::translate(self, opcode, operands),
            "ld" | "ldu" | "st" | "atom" | "red" | "prefetch" | "prefetchu" | "applypriority" | "discard" => {
                memory::translate(self, opcode, operands)
            }
            "bra" => {
                let Some(Operand::Label(label)) = operands.first() else { return Err("needs a label".into()) };
                self.emit(Op::Bra, [], []).target = Target::Op(label.0 as usize);
                Ok(())
            }
            "brx" => indirect::branch(self, operands),
            "call" => self.call(operands),
            "ret" => self.emit_plain(Op::Ret),
            "exit" => self.emit_plain(Op::Exit),
            "trap" => self.emit_plain(Op::Trap),
            "createpolicy" => memory::cache_policy(self, opcode, operands),
            "nanosleep" | "pmevent" | "brkpt" => self.emit_plain(Op::Nop),
            "mma" | "ldmatrix" | "stmatrix" | "movmatrix" => tensor::translate(self, opcode, operands),
            "cp" if opcode.starts_with("cp.async.") => async_copy::translate(self, opcode, operands),
            _ => sync::translate(self, opcode, operands),
        }
    }

    /// A line of the arithmetic table.
    fn arithmetic(&mut self, form: &Form, opcode: &str, operands: &[Operand]) -> Result<(), Refusal> {
        let [dst, sources @ ..] = operands else { return Err("has no operands".into()) };
        if sources.len() != form.operands.len() {
            return Err(format!("needs {} operands after the result", form.operands.len()));
        }
        if matches!(form.op, Op::MovB32 | Op::MovB64)
            && let Operand::Special(name) = &sources[0]
            && let Some((read, part)) = clock(name)
        {
            return self.read_clock(dst, form.result.class(), read, part);
        }
        let mut src =
            sources.iter().zip(form.operands).map(|(it, &ty)| self.source(it, ty)).collect::<Result<Vec<_>, _>>()?;
        let dst = self.destination(dst, form.result.class())?;
        let noisy = if approx::is_perturbed() { noisy(opcode) } else { None };
        let (op, with) = noisy.unwrap_or((form.op, Modifiers::of(opcode)));
        src.resize(isa::form(op).operands.len(), src[0]);
        self.emit(op, [dst], src).imm = with.0;
        Ok(())
    }

    /// A special register that changes while the kernel runs, or a part of it.
    fn read_clock(&mut self, dst: &Operand, class: Class, read: Op, part: Option<Op>) -> Result<(), Refusal> {
        let dst = self.destination(dst, class)?;
        let read_class = if read == Op::ReadClock { Class::Word } else { Class::Double };
        let value = self.temporary(read_class);
        self.emit(read, [value], []);
        let value = match part {
            Some(part) => {
                let word = self.temporary(Class::Word);
                self.emit(part, [word], [value]);
                word
            }
            None => value,
        };
        let value = self.converted(value, class);
        self.emit(if class == Class::Word { Op::MovB32 } else { Op::MovB64 }, [dst], [value]);
        Ok(())
    }

    /// Arguments and results travel through the thread's frame.
    fn call(&mut self, operands: &[Operand]) -> Result<(), Refusal> {
        let (mut name, mut pointer) = (None, None);
        let (mut results, mut arguments): (&[Operand], &[Operand]) = (&[], &[]);
        for operand in operands {
            match operand {
                Operand::Symbol(Symbol::Function(function)) => name = Some(function),
                Operand::Register(_) => pointer = Some(operand),
                Operand::Label(_) => {} // the prototype
                Operand::Arguments(list) if name.is_none() && pointer.is_none() => results = list,
                Operand::Arguments(list) => arguments = list,
                _ => return Err("is not supported".into()),
            }
        }
        if let Some(pointer) = pointer {
            return indirect::call(self, pointer, arguments, results);
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
        self.call_function(callee, arguments, results)
    }

    /// A call of a function that is known and whose parameters fit.
    pub fn call_function(&mut self, callee: usize, arguments: &[Operand], results: &[Operand]) -> Result<(), Refusal> {
        let function = &self.module.functions[callee];
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

    /// Takes the guard off the operations to come, and says what it was.
    pub fn take_guard(&mut self) -> Option<(Reg, bool)> {
        self.template.as_mut().and_then(|it| it.guard.take())
    }

    pub fn set_guard(&mut self, guard: (Reg, bool)) {
        if let Some(template) = &mut self.template {
            template.guard = Some(guard);
        }
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

/// How to read a special register that changes while a kernel runs, and which part of that is wanted.
fn clock(name: &str) -> Option<(Op, Option<Op>)> {
    Some(match name {
        "%clock" => (Op::ReadClock, None),
        "%clock64" => (Op::ReadClock64, None),
        "%clock_hi" => (Op::ReadClock64, Some(Op::HighB32)),
        "%globaltimer" => (Op::ReadGlobalTimer, None),
        "%globaltimer_lo" => (Op::ReadGlobalTimer, Some(Op::LowB32)),
        "%globaltimer_hi" => (Op::ReadGlobalTimer, Some(Op::HighB32)),
        _ => return None,
    })
}

/// The line that computes an `.approx` instruction with errors: see `exec::approx`.
fn noisy(opcode: &str) -> Option<(Op, Modifiers)> {
    let op = match opcode.rsplit('.').next()? {
        "f32" => Op::NoisyF32,
        "f16" => Op::NoisyF16,
        "f16x2" => Op::NoisyF16x2,
        "bf16" => Op::NoisyBf16,
        "bf16x2" => Op::NoisyBf16x2,
        _ => return None,
    };
    Some((op, approx::noisy(opcode)?))
}
