//! What is tested: one case for each opcode, with the types of its operands and results and the PTX that runs it.

use crate::conformance::{
    matrix_cases, memory_cases,
    types::{B32, Opcode, PRED, Type, U32},
    warp_cases,
};
use cuda_emulator::isa::{FORMS, alternatives};

/// Which values an operand takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Values {
    /// The type's own: limits, zeros, powers of two, NaNs, random bits.
    Whole,
    /// Small numbers about the width of a register, and some larger.
    Amount,
    /// Small numbers of either sign.
    Offset,
    /// 0 or 1.
    Bit,
    /// Floats whose products and sums of some dozens are exact in f32.
    Exact,
    /// Floats of either sign between 1/8 and 8.
    Moderate,
    /// A mask that has this lane, the same in each of the parts of a warp that it names.
    LaneMask,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operand {
    pub ty: Type,
    pub values: Values,
}

/// Tests run a chapter each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chapter {
    Integer,
    Float,
    Packed,
    Compare,
    Convert,
    Approximate,
    Warp,
    Memory,
    Matrix,
}

/// One instruction under test.
#[derive(Clone, Debug)]
pub struct Case {
    /// The opcode, and behind a space what tells cases of one opcode apart.
    pub label: String,
    pub chapter: Chapter,
    pub operands: Vec<Operand>,
    pub results: Vec<Type>,
    /// PTX that leaves in `%d0`.. what it computes from `%a0`..; 16 bytes at `[%scratch]` in global memory and at
    /// `[%shared]` are the thread's own, and 512 at `[%tile]` in shared memory the warp's.
    pub body: String,
}

impl Case {
    pub fn opcode(&self) -> Opcode {
        Opcode::parse(self.text())
    }

    pub fn text(&self) -> &str {
        self.label.split(' ').next().unwrap_or_default()
    }

    /// What stands behind the opcode in the label.
    pub fn variant(&self) -> &str {
        self.label.split_once(' ').map_or("", |(_, variant)| variant)
    }
}

/// Every case: the table's texts, and the instructions that are not in the table. An opcode of the table that this file
/// does not know is an error that names it.
pub fn all() -> Result<Vec<Case>, String> {
    let texts = FORMS.iter().flat_map(|form| form.texts).flat_map(|pattern| alternatives(pattern));
    let mut cases = Vec::new();
    let mut unknown = Vec::new();
    for text in texts.filter(|it| !it.is_empty()) {
        match arithmetic(&text) {
            Some(more) => cases.extend(more),
            None => unknown.push(text),
        }
    }
    if !unknown.is_empty() {
        return Err(format!("the conformance suite does not know the operands of {}", unknown.join(", ")));
    }
    cases.extend(beside_the_table());
    cases.extend(warp_cases::all());
    cases.extend(memory_cases::all());
    cases.extend(matrix_cases::all());
    Ok(cases)
}

/// Forms that the lowering makes of several lines of the table.
fn beside_the_table() -> Vec<Case> {
    let mut cases = Vec::new();
    for compare in ["lt.and.s32", "ge.or.u64", "ne.xor.f32", "ltu.and.f64", "eq.or.b16"] {
        let text = format!("setp.{compare}");
        let ty = *Opcode::parse(&text).types().last().expect("a type ends it");
        for not in ["", "!"] {
            let body = format!("{text} %d0|%d1, %a0, %a1, {not}%a2;");
            let operands = vec![whole(ty), whole(ty), whole(PRED)];
            let label = format!("{text} p|q{not}");
            cases.push(Case { label, chapter: Chapter::Compare, operands, results: vec![PRED, PRED], body });
        }
    }
    cases
}

pub fn whole(ty: Type) -> Operand {
    Operand { ty, values: Values::Whole }
}

pub fn amount() -> Operand {
    Operand { ty: U32, values: Values::Amount }
}

/// The cases of an opcode whose results depend on its operands alone.
fn arithmetic(text: &str) -> Option<Vec<Case>> {
    let opcode = Opcode::parse(text);
    let types = opcode.types();
    let ty = *types.last()?;
    let wide = Type { bits: ty.bits * 2, ..ty };
    let is_wide = opcode.has("wide");
    let product = if is_wide { wide } else { ty };
    let operands = match opcode.name.as_str() {
        "add" | "sub" | "mad" | "addc" | "subc" | "madc" if opcode.has("cc") || opcode.name.ends_with('c') => {
            return Some(vec![with_carry(text, &opcode, ty)]);
        }
        "lop3" => return (opcode.modifiers == ["b32"]).then(lop3),
        "abs" | "neg" | "not" | "cnot" | "popc" | "clz" | "brev" | "bfind" | "mov" | "rcp" | "sqrt" | "rsqrt"
        | "ex2" | "lg2" | "sin" | "cos" | "tanh" | "testp" => vec![whole(ty)],
        "cvt" if opcode.has("pack") => vec![whole(types[1]); types.len()],
        "cvt" if types[0].n_elements > ty.n_elements => vec![whole(ty); 2],
        "cvt" => vec![whole(ty)],
        "add" | "sub" | "mul" | "mul24" | "div" | "rem" | "min" | "max" | "and" | "or" | "xor" | "setp" | "set"
        | "copysign" => vec![whole(ty); 2],
        "shl" | "shr" => vec![whole(ty), amount()],
        "bmsk" => vec![amount(); 2],
        "szext" => vec![whole(ty), amount()],
        "fma" | "mad24" | "sad" => vec![whole(ty); 3],
        "mad" => vec![whole(ty), whole(ty), whole(product)],
        "prmt" => vec![whole(B32); 3],
        "dp4a" | "dp2a" => vec![whole(U32); 3],
        "shf" => vec![whole(B32), whole(B32), amount()],
        "bfe" => vec![whole(ty), amount(), amount()],
        "fns" => vec![whole(B32), amount(), Operand { ty: U32, values: Values::Offset }],
        "bfi" => vec![whole(ty), whole(ty), amount(), amount()],
        "selp" => vec![whole(ty), whole(ty), whole(PRED)],
        "slct" => vec![whole(types[0]), whole(types[0]), whole(ty)],
        _ => return None,
    };
    let results = match opcode.name.as_str() {
        "popc" | "clz" | "bfind" => vec![U32],
        "setp" | "testp" => vec![PRED; ty.n_elements as usize],
        "mul" | "mad" => vec![product],
        "cvt" if opcode.has("pack") => vec![B32],
        "cvt" | "set" | "slct" => vec![types[0]],
        _ => vec![ty],
    };
    let names = (0..operands.len()).map(|k| format!("%a{k}")).collect::<Vec<_>>().join(", ");
    let destination = if results.len() == 2 { "%d0|%d1" } else { "%d0" };
    let chapter = chapter(&opcode, &types);
    let body = format!("{text} {destination}, {names};");
    Some(vec![Case { label: text.to_owned(), chapter, operands, results, body }])
}

fn chapter(opcode: &Opcode, types: &[Type]) -> Chapter {
    let is_half = |ty: &Type| ty.n_elements > 1 || (ty.bits == 16 && ty.format().is_some());
    match opcode.name.as_str() {
        "cvt" => Chapter::Convert,
        "setp" | "set" | "selp" | "slct" | "testp" => Chapter::Compare,
        _ if opcode.has("approx") || opcode.has("full") => Chapter::Approximate,
        _ if types.iter().any(is_half) => Chapter::Packed,
        _ if types.iter().any(|ty| ty.format().is_some()) => Chapter::Float,
        _ => Chapter::Integer,
    }
}

/// Extended-precision integer arithmetic: the carry comes from an operand and ends in a result.
fn with_carry(text: &str, opcode: &Opcode, ty: Type) -> Case {
    let mut operands = vec![whole(ty); if opcode.name.starts_with("mad") { 3 } else { 2 }];
    let names = (0..operands.len()).map(|k| format!("%a{k}")).collect::<Vec<_>>().join(", ");
    let carry_in = format!("%a{}", operands.len());
    let set_carry = match opcode.name.as_str() {
        "addc" | "madc" => format!("add.cc.u32 %carry, {carry_in}, 0xffffffff; "),
        "subc" => format!("sub.cc.u32 %carry, 0, {carry_in}; "),
        _ => String::new(),
    };
    if !set_carry.is_empty() {
        operands.push(Operand { ty: U32, values: Values::Bit });
    }
    let mut results = vec![ty];
    let mut read_carry = "";
    if opcode.has("cc") {
        results.push(U32);
        read_carry = if opcode.name.starts_with("sub") { " subc.u32 %d1, 0, 0;" } else { " addc.u32 %d1, 0, 0;" };
    }
    let body = format!("{{ .reg .b32 %carry; {set_carry}{text} %d0, {names};{read_carry} }}");
    Case { label: text.to_owned(), chapter: Chapter::Integer, operands, results, body }
}

/// Each table of three inputs is an instruction of its own.
fn lop3() -> Vec<Case> {
    let case = |table: u32| Case {
        label: format!("lop3.b32 {table:#04x}"),
        chapter: Chapter::Integer,
        operands: vec![whole(B32); 3],
        results: vec![B32],
        body: format!("lop3.b32 %d0, %a0, %a1, %a2, {table:#04x};"),
    };
    (0..256).map(case).collect()
}
