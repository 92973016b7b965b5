//! The tree that the parser makes of a PTX module: names resolved, opcodes still text.

use std::{fmt, sync::Arc};

/// A `.ptx` file.
#[derive(Debug, Default)]
pub struct Module {
    /// `.version 9.0` is `(9, 0)`.
    pub version: (u32, u32),
    /// `.target sm_80`: `"sm_80"`.
    pub target: String,
    /// Module-scope `.global`, `.const` and `.shared` variables, in order of declaration.
    pub variables: Vec<Variable>,
    /// `.entry` and `.func`, definitions and `.extern` declarations.
    pub functions: Vec<Function>,
}

/// Where a variable lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    Global,
    Const,
    Shared,
    Local,
    /// A `.param` variable declared in a body, for the arguments of one call.
    Param,
}

/// A variable that has an address: `.shared .align 16 .b8 tile[1024];`.
#[derive(Clone, Debug)]
pub struct Variable {
    pub name: String,
    pub space: Space,
    pub align: u64,
    /// 0 for `.extern .shared x[]`: dynamic shared memory.
    pub bytes: u64,
    pub is_extern: bool,
    /// Initial bytes; empty when there is no initialiser, otherwise `bytes` long.
    pub init: Vec<u8>,
    /// Initialisers that are addresses: (byte offset in `init`, symbol, addend). The symbol may be written
    /// `generic(name)`.
    pub relocations: Vec<(u64, String, i64)>,
}

/// A kernel (`.entry`) or a device function (`.func`).
#[derive(Debug)]
pub struct Function {
    pub name: String,
    pub is_entry: bool,
    /// A declaration without a body, such as `.extern .func vprintf`.
    pub is_extern: bool,
    pub params: Vec<Param>,
    /// `.func (.param .b32 result) name (...)`.
    pub returns: Vec<Param>,
    /// `.maxntid x, y, z`: the largest block, missing dimensions 1.
    pub max_ntid: Option<[u32; 3]>,
    /// `.reqntid x, y, z`: the only block allowed.
    pub req_ntid: Option<[u32; 3]>,
    /// Every register of the body, inner scopes too: a [`RegisterId`] is an index here.
    pub registers: Vec<Register>,
    /// `.shared`, `.local` and call-scope `.param` variables of the body; a [`VariableId`] is an index here.
    pub variables: Vec<Variable>,
    /// Labels by [`LabelId`]: the index in `body` of the instruction that follows (`body.len()` at the end).
    pub labels: Vec<usize>,
    pub body: Vec<Instruction>,
}

/// A kernel or function parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Param {
    pub name: String,
    pub align: u64,
    pub bytes: u64,
}

/// A virtual register.
#[derive(Clone, Debug)]
pub struct Register {
    pub name: String,
    pub kind: RegisterKind,
}

/// A register's width; PTX types of one width share registers (`.u32`, `.s32`, `.b32` and `.f32`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RegisterKind {
    Pred,
    B8,
    B16,
    B32,
    B64,
}

/// Index in [`Function::registers`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RegisterId(pub u32);
/// Index in [`Function::labels`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LabelId(pub u32);
/// Index in [`Function::variables`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct VariableId(pub u32);

/// `@!%p1 ld.global.nc.v4.u32 {%r1, %r2, %r3, %r4}, [%rd1+16];`
#[derive(Clone, Debug)]
pub struct Instruction {
    /// `@%p1` is `(p1, false)`, `@!%p1` is `(p1, true)`.
    pub guard: Option<(RegisterId, bool)>,
    /// The whole opcode with its modifiers, as written, without spaces: `"ld.global.nc.v4.u32"`.
    pub opcode: String,
    pub operands: Vec<Operand>,
    /// Line in the PTX text, from 1.
    pub line: u32,
    /// The innermost source line, from `.loc`; `None` when the module was compiled without `-lineinfo`.
    pub source: Option<Arc<Source>>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Operand {
    Register(RegisterId),
    /// A predicate source written `!%p1`.
    NotRegister(RegisterId),
    /// `%tid.x`, `%laneid`, `%clock64`, `WARP_SZ`, ...: the text.
    Special(String),
    /// An integer, sign-extended to 64 bits.
    Integer(i64),
    /// `0f3F800000`: the bits.
    Float32(u32),
    /// `0d3FF0000000000000`, or a decimal literal with a point: the bits.
    Float64(u64),
    /// A variable or parameter used as an address or value: `mov.u64 %rd1, tile;`.
    Symbol(Symbol),
    /// `[%rd1+-8]`, `[tile+4]`, `[kernel_param_0]`, `[16]`.
    Address {
        base: Base,
        offset: i64,
    },
    /// `{%r1, %r2}`.
    Vector(Vec<Operand>),
    /// `%r1|%p1`, the two results of `shfl`, `setp` or `match`.
    Pair(Box<Operand>, Box<Operand>),
    /// `(retval0)` or `(param0, param1)` of a call.
    Arguments(Vec<Operand>),
    Label(LabelId),
    /// `_`: a result that is not wanted.
    Sink,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Base {
    Register(RegisterId),
    Symbol(Symbol),
    None,
}

/// A name that stands for an address. The innermost scope wins.
#[derive(Clone, Debug, PartialEq)]
pub enum Symbol {
    /// A variable of the function's body.
    Local(VariableId),
    /// Index in [`Module::variables`].
    Module(u32),
    /// Index in [`Function::params`].
    Param(u32),
    /// Index in [`Function::returns`].
    Return(u32),
    /// A function's name, in `call` and in `mov`.
    Function(String),
}

/// A place in the CUDA source and, for inlined code, where it was inlined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    pub file: Arc<str>,
    pub line: u32,
    pub column: u32,
    /// The name of the inlined function (unmangled as far as PTX tells) and the place it was inlined at.
    pub inlined: Option<(Arc<str>, Arc<Source>)>,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)?;
        if let Some((function, at)) = &self.inlined {
            write!(f, " (in {function}, inlined at {at})")?;
        }
        Ok(())
    }
}

/// Why a PTX text was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// From 1.
    pub line: u32,
    pub column: u32,
    pub message: String,
    /// The line of the text.
    pub excerpt: String,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ptx line {}, column {}: {}: `{}`", self.line, self.column, self.message, self.excerpt.trim())
    }
}

impl std::error::Error for ParseError {}
