//! Where a kernel's variables live: offsets in shared memory and in the thread's local frame.
//!
//! ```text
//! shared   | static variables of the kernel and what it calls | dynamic (`.extern .shared x[]`)
//! local    | depot of the kernel, its call arguments | the same of each function it calls, parameters first
//! ```
//! Functions don't recurse, so every function's part of the frame has a fixed place.

use super::indirect;
use crate::ptx::ast::{Base, Function, Module, Operand, Space, Symbol, VariableId};
use std::collections::{BTreeSet, HashMap};

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
        let mut layout = Layout::default();
        layout.reach(module, kernel, &mut Vec::new())?;
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
                    let at = reserve(&mut layout.static_shared_bytes, variable.bytes, variable.align)?;
                    layout.module_shared.insert(index, at);
                }
                Space::Const => layout.const_bytes += variable.bytes as u32,
                _ => {}
            }
        }
        // Dynamic shared memory follows; 16 bytes suit every access.
        layout.static_shared_bytes =
            layout.static_shared_bytes.next_multiple_of(if layout.static_shared_bytes > 0 { 16 } else { 1 });
        for &index in used.iter().filter(|&&it| module.variables[it as usize].is_extern) {
            if module.variables[index as usize].space == Space::Shared {
                layout.module_shared.insert(index, layout.static_shared_bytes);
            }
        }
        Ok(layout)
    }

    /// Adds a function and what it calls, callers first.
    fn reach(&mut self, module: &Module, index: usize, callers: &mut Vec<usize>) -> Result<(), String> {
        let function = &module.functions[index];
        if callers.contains(&index) {
            let name = &function.name;
            return Err(format!("function {name} is recursive, or may be by a pointer, which is not supported"));
        }
        if !self.functions.contains(&index) {
            self.functions.push(index);
        }
        callers.push(index);
        for instruction in function.body.iter().filter(|it| it.opcode.starts_with("call")) {
            if indirect::is_indirect_call(&instruction.opcode, &instruction.operands) {
                for callee in indirect::address_taken(module) {
                    self.reach(module, callee, callers)?;
                }
            }
            for operand in &instruction.operands {
                if let Operand::Symbol(Symbol::Function(name)) = operand
                    && let Some(callee) = callee(module, name)
                {
                    self.reach(module, callee, callers)?;
                }
            }
        }
        callers.pop();
        Ok(())
    }

    fn place_function(&mut self, module: &Module, index: usize) -> Result<(), String> {
        let function = &module.functions[index];
        if !function.is_entry {
            for (i, param) in function.params.iter().enumerate() {
                let at = reserve(&mut self.local_bytes, param.bytes, param.align)?;
                self.params.insert((index, i), at);
            }
            for (i, param) in function.returns.iter().enumerate() {
                let at = reserve(&mut self.local_bytes, param.bytes, param.align)?;
                self.returns.insert((index, i), at);
            }
        }
        for (i, variable) in function.variables.iter().enumerate() {
            let total = match variable.space {
                Space::Shared => &mut self.static_shared_bytes,
                Space::Local | Space::Param => &mut self.local_bytes,
                Space::Global | Space::Const => {
                    return Err(format!("{}: a module-space variable in a body is not supported", variable.name));
                }
            };
            let at = reserve(total, variable.bytes, variable.align)?;
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

/// The index of a function with a body.
pub fn callee(module: &Module, name: &str) -> Option<usize> {
    module.functions.iter().position(|it| it.name == name && !it.is_extern)
}

fn reserve(total: &mut u32, bytes: u64, align: u64) -> Result<u32, String> {
    let at = u64::from(*total).next_multiple_of(align.max(1));
    *total = u32::try_from(at + bytes).map_err(|_| "a variable is too large".to_owned())?;
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
