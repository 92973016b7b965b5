//! Where a kernel's variables live: offsets in shared memory and in the thread's local frame.
//!
//! ```text
//! shared   | static variables of the kernel and what it calls | dynamic (`.extern .shared x[]`)
//! local    | depot of the kernel, its call arguments | the same of each function it calls, parameters first
//! ```
//! Functions don't recurse, so every function's part of the frame has a fixed place.

use super::{indirect, param_offsets};
use crate::ptx::ast::{Base, Function, Module, Operand, Space, Symbol, VariableId};
use std::{
    cell::LazyCell,
    collections::{BTreeSet, HashMap},
};

/// Local memory of a thread (CUDA C++ Programming Guide, technical specifications per compute capability).
const MAX_LOCAL_BYTES: u32 = 512 << 10;
/// More than any card has; a launch knows what its card has.
const MAX_SHARED_BYTES: u32 = 1 << 24;

/// The places of all variables that a kernel and its callees use.
#[derive(Debug, Default)]
pub struct Layout {
    /// The kernel, then the functions it calls, each once.
    pub functions: Vec<usize>,
    /// (function, its variable) to an offset in shared memory or the frame.
    own: HashMap<(usize, VariableId), u32>,
    /// Module-scope shared variables.
    module_shared: HashMap<u32, u32>,
    /// (function, parameter), (function, result) to offsets in the frame.
    params: HashMap<(usize, usize), u32>,
    returns: HashMap<(usize, usize), u32>,
    pub static_shared_bytes: u32,
    pub local_bytes: u32,
    pub const_bytes: u32,
}

impl Layout {
    /// Lays out what the function at index `kernel` of the module reaches.
    pub fn of(module: &Module, kernel: usize) -> Result<Layout, String> {
        let mut layout = Layout { functions: reach(module, kernel)?, ..Layout::default() };
        for index in layout.functions.clone() {
            layout.place_function(module, index)?;
        }
        let mut used = BTreeSet::new();
        for &index in &layout.functions {
            used.extend(module_variables(&module.functions[index]));
        }
        for &index in &used {
            let variable = &module.variables[index as usize];
            match variable.space {
                Space::Shared if !variable.is_extern => {
                    let (bytes, align) = (variable.bytes, variable.align);
                    let at = reserve(&mut layout.static_shared_bytes, bytes, align, MAX_SHARED_BYTES)?;
                    layout.module_shared.insert(index, at);
                }
                Space::Const => _ = reserve(&mut layout.const_bytes, variable.bytes, 1, u32::MAX)?,
                _ => {}
            }
        }
        // Dynamic shared memory follows, aligned as its variables ask for; 16 bytes suit every access.
        let dynamic = |it: &u32| {
            let variable = &module.variables[*it as usize];
            variable.space == Space::Shared && variable.is_extern
        };
        let dynamic: Vec<u32> = used.into_iter().filter(dynamic).collect();
        let aligns = dynamic.iter().map(|&it| module.variables[it as usize].align);
        let at = reserve(&mut layout.static_shared_bytes, 0, aligns.fold(16, u64::max), MAX_SHARED_BYTES)?;
        layout.module_shared.extend(dynamic.into_iter().map(|it| (it, at)));
        Ok(layout)
    }

    fn place_function(&mut self, module: &Module, index: usize) -> Result<(), String> {
        let function = &module.functions[index];
        // Too many bytes are refused by the function's name, before they are taken from the frame.
        for params in [&function.params, &function.returns] {
            param_offsets(params).map_err(|why| format!("{}: {why}", function.name))?;
        }
        if !function.is_entry {
            for (i, param) in function.params.iter().enumerate() {
                let at = reserve(&mut self.local_bytes, param.bytes, param.align, MAX_LOCAL_BYTES)?;
                self.params.insert((index, i), at);
            }
            for (i, param) in function.returns.iter().enumerate() {
                let at = reserve(&mut self.local_bytes, param.bytes, param.align, MAX_LOCAL_BYTES)?;
                self.returns.insert((index, i), at);
            }
        }
        for (i, variable) in function.variables.iter().enumerate() {
            let (total, most) = match variable.space {
                Space::Shared => (&mut self.static_shared_bytes, MAX_SHARED_BYTES),
                Space::Local | Space::Param => (&mut self.local_bytes, MAX_LOCAL_BYTES),
                Space::Global | Space::Const => {
                    return Err(format!("{}: a module-space variable in a body is not supported", variable.name));
                }
            };
            let at = reserve(total, variable.bytes, variable.align, most)
                .map_err(|why| format!("{} of {}: {why}", variable.name, function.name))?;
            self.own.insert((index, VariableId(i as u32)), at);
        }
        self.local_bytes = self.local_bytes.next_multiple_of(4);
        Ok(())
    }

    /// Offset of a variable that a function's body declares.
    pub fn own(&self, function: usize, variable: VariableId) -> u32 {
        self.own[&(function, variable)]
    }

    /// Offset of a module-scope shared variable.
    pub fn module_shared(&self, variable: u32) -> u32 {
        self.module_shared[&variable]
    }

    /// Offset of a function's parameter in the frame.
    pub fn param(&self, function: usize, param: usize) -> u32 {
        self.params[&(function, param)]
    }

    /// Offset of a function's result in the frame.
    pub fn result(&self, function: usize, result: usize) -> u32 {
        self.returns[&(function, result)]
    }
}

/// How far [`reach`] is with a function.
#[derive(Clone, Copy, PartialEq)]
enum Mark {
    New,
    /// What it calls is being looked at: a call of it now is recursion.
    Open,
    Done,
}

/// A kernel and the functions that it reaches, each once, before those that it is the first to call.
fn reach(module: &Module, kernel: usize) -> Result<Vec<usize>, String> {
    let pointed_to = LazyCell::new(|| indirect::address_taken(module));
    let callees = |index: usize| callees(module, index, || &pointed_to).into_iter();
    let mut marks = vec![Mark::New; module.functions.len()];
    marks[kernel] = Mark::Open;
    let mut functions = vec![kernel];
    let mut open = vec![(kernel, callees(kernel))];
    while let Some((index, rest)) = open.last_mut() {
        let Some(callee) = rest.next() else {
            marks[*index] = Mark::Done;
            open.pop();
            continue;
        };
        match marks[callee] {
            Mark::Open => {
                let name = &module.functions[callee].name;
                return Err(format!("function {name} is recursive, or may be by a pointer, which is not supported"));
            }
            Mark::New => {
                marks[callee] = Mark::Open;
                functions.push(callee);
                open.push((callee, callees(callee)));
            }
            Mark::Done => {}
        }
    }
    Ok(functions)
}

/// The functions with a body that a function calls, or may call by a pointer.
fn callees<'a>(module: &Module, index: usize, pointed_to: impl Fn() -> &'a BTreeSet<usize>) -> Vec<usize> {
    let mut callees = Vec::new();
    for instruction in module.functions[index].body.iter().filter(|it| it.opcode.starts_with("call")) {
        if indirect::is_indirect_call(&instruction.opcode, &instruction.operands) {
            callees.extend(pointed_to());
        }
        callees.extend(instruction.operands.iter().filter_map(|operand| match operand {
            Operand::Symbol(Symbol::Function(name)) => callee(module, name),
            _ => None,
        }));
    }
    callees
}

/// The index of a function with a body.
pub fn callee(module: &Module, name: &str) -> Option<usize> {
    module.functions.iter().position(|it| it.name == name && !it.is_extern)
}

/// Adds a variable to a total that may grow to `most`: its offset.
fn reserve(total: &mut u32, bytes: u64, align: u64, most: u32) -> Result<u32, String> {
    let at = u64::from(*total).next_multiple_of(align.max(1));
    let end = u32::try_from(at + bytes).ok().filter(|&end| end <= most);
    *total = end.ok_or_else(|| format!("needs {} bytes with what is there before, at most {most} fit", at + bytes))?;
    Ok(at as u32)
}

/// Module-scope variables that a function names.
fn module_variables(function: &Function) -> impl Iterator<Item = u32> {
    fn symbol(operand: &Operand) -> Option<&Symbol> {
        match operand {
            Operand::Symbol(symbol) | Operand::Address { base: Base::Symbol(symbol), .. } => Some(symbol),
            _ => None,
        }
    }
    function.body.iter().flat_map(|it| &it.operands).filter_map(symbol).filter_map(|it| match it {
        Symbol::Module(index) => Some(*index),
        _ => None,
    })
}
