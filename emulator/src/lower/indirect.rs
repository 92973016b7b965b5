//! Calls through pointers and branches through tables.
//!
//! A call through a pointer becomes a row of guarded calls, one for each function whose address the module takes and
//! whose parameters fit: lanes that call different functions part as they do at any guarded call.

use super::{
    address,
    micro::Target,
    translate::{Refusal, Translator},
};
use crate::{
    isa::{Class, LaneType, Op},
    ptx::ast::{Function, Module, Operand, Symbol},
};
use std::collections::BTreeSet;

/// Functions with a body whose address is in a register or variable somewhere.
pub fn address_taken(module: &Module) -> BTreeSet<usize> {
    let index = |name: &str| super::layout::callee(module, name);
    let instructions = module.functions.iter().flat_map(|it| &it.body).filter(|it| !it.opcode.starts_with("call"));
    let in_code = instructions.flat_map(|it| &it.operands).filter_map(|it| match it {
        Operand::Symbol(Symbol::Function(name)) => index(name),
        _ => None,
    });
    let in_variables = module.variables.iter().flat_map(|it| &it.relocations).filter_map(|(_, name, _)| index(name));
    in_code.chain(in_variables).collect()
}

/// Whether a call names no function.
pub fn is_indirect_call(opcode: &str, operands: &[Operand]) -> bool {
    opcode.starts_with("call") && !operands.iter().any(|it| matches!(it, Operand::Symbol(Symbol::Function(_))))
}

/// `call (results), pointer, (arguments), prototype`.
pub fn call(
    translator: &mut Translator,
    pointer: &Operand,
    arguments: &[Operand],
    results: &[Operand],
) -> Result<(), Refusal> {
    let pointer = translator.source(pointer, LaneType::U64)?;
    let guard = translator.take_guard();
    let mut left = match guard {
        Some((reg, negated)) => {
            let active = translator.temporary(Class::Pred);
            translator.emit(if negated { Op::NotPred } else { Op::MovPred }, [active], [reg]);
            active
        }
        None => translator.source(&Operand::Integer(1), LaneType::Bool)?,
    };
    for callee in address_taken(translator.module) {
        let function = &translator.module.functions[callee];
        if !fits(translator, function, arguments, results)? {
            continue;
        }
        let address = translator.constant(Class::Double, address::of_function(callee));
        let [equal, chosen, other, rest] = std::array::from_fn(|_| translator.temporary(Class::Pred));
        translator.emit(Op::SetEqB64, [equal], [pointer, address]);
        translator.emit(Op::AndPred, [chosen], [left, equal]);
        translator.emit(Op::NotPred, [other], [equal]);
        translator.emit(Op::AndPred, [rest], [left, other]);
        left = rest;
        translator.set_guard((chosen, false));
        translator.call_function(callee, arguments, results)?;
        translator.take_guard();
    }
    // The pointer is to no such function.
    translator.set_guard((left, false));
    translator.emit_plain(Op::Trap)
}

/// Whether the variables of a call have the sizes of a function's parameters and results.
fn fits(
    translator: &Translator,
    function: &Function,
    arguments: &[Operand],
    results: &[Operand],
) -> Result<bool, Refusal> {
    for (operands, params) in [(arguments, &function.params), (results, &function.returns)] {
        if operands.len() != params.len() {
            return Ok(false);
        }
        for (operand, param) in operands.iter().zip(params) {
            let Operand::Symbol(Symbol::Local(variable)) = operand else {
                return Err("has an argument that is no variable".into());
            };
            if translator.function().variables[variable.0 as usize].bytes != param.bytes {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// `brx.idx index, {labels}`.
pub fn branch(translator: &mut Translator, operands: &[Operand]) -> Result<(), Refusal> {
    let [index, Operand::Vector(labels)] = operands else { return Err("needs an index and labels".into()) };
    let label = |it: &Operand| match it {
        Operand::Label(label) => Ok(label.0 as usize),
        _ => Err("needs labels".to_owned()),
    };
    let labels = labels.iter().map(label).collect::<Result<_, _>>()?;
    let index = translator.source(index, LaneType::U32)?;
    translator.draft.tables.push(labels);
    let table = translator.draft.tables.len() - 1;
    translator.emit(Op::BraIndexed, [], [index]).target = Target::Table(table);
    Ok(())
}
