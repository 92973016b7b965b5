//! The tree of a PTX module to a program that the interpreter can run fast.
//!
//! Each function is translated to a draft on virtual registers ([`translate`]), watches its registers if that is wanted
//! ([`written`]), loses its copies ([`copies`], [`coalesce`]), has its chains fused ([`fuse`]), gets register slots ([`slots`]), and is linked behind its kernel ([`assemble`]).

pub mod program;
mod translate;
mod memory;
mod address;
mod indirect;
mod sync;
mod tensor;
mod atomic;
mod async_copy;
mod layout;
mod micro;
mod written;
mod copies;
mod coalesce;
mod fuse;
mod slots;
mod assemble;

use crate::ptx::{
    self,
    ast::{Module, Param, Space, Variable},
};
use layout::Layout;
use program::Program;
use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::Arc,
};
use translate::{Translator, Unsupported};

/// A loaded module.
#[derive(Debug, Default)]
pub struct Image {
    /// By name.
    pub kernels: BTreeMap<String, Arc<Kernel>>,
    /// Module-scope `.global` and `.const` variables, by name.
    pub globals: BTreeMap<String, GlobalSymbol>,
}

/// A module-scope variable that has a device address.
#[derive(Clone, Debug)]
pub struct GlobalSymbol {
    pub address: u64,
    pub bytes: u64,
    /// What the driver writes there at load, relocated; zeros follow up to `bytes`.
    pub init: Vec<u8>,
}

/// A kernel ready to run.
#[derive(Debug)]
pub struct Kernel {
    pub name: String,
    /// (offset, bytes) of each parameter in the parameter block.
    pub params: Vec<(u32, u32)>,
    pub param_bytes: u32,
    pub static_shared_bytes: u32,
    /// Bytes of `.local` memory per thread.
    pub local_bytes: u32,
    pub const_bytes: u32,
    /// `.maxntid` or `.reqntid` multiplied out; 1024 without either.
    pub max_threads: u32,
    pub req_ntid: Option<[u32; 3]>,
    pub program: Program,
    /// The module's PTX, for fault reports.
    pub text: Arc<str>,
}

/// Why a module was refused: bad PTX, or an instruction the emulator does not have.
#[derive(Clone, Debug)]
pub struct LoadError {
    /// Unsupported PTX rather than wrong PTX.
    pub is_unsupported: bool,
    pub message: String,
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for LoadError {}

/// The most bytes of parameters (PTX ISA `#kernel-function-parameters`).
const MAX_PARAM_BYTES: u64 = 32_764;

/// Offsets of a function's parameters in its parameter block, unless they don't fit in one.
fn param_offsets(params: &[Param]) -> Result<Vec<u32>, String> {
    let mut end = 0u64;
    let place = |param: &Param| {
        let at = end.next_multiple_of(param.align.max(1));
        end = at + param.bytes;
        if end > MAX_PARAM_BYTES {
            return Err(format!("parameter {} ends at byte {end}, expected at most {MAX_PARAM_BYTES}", param.name));
        }
        Ok(at as u32)
    };
    params.iter().map(place).collect()
}

/// Loads a module. `place` is asked once for the device address of each module-scope `.global` and `.const` variable, or
/// `None` when there is no memory for it, which ends the load. If `checks_registers`, a read of a register that was never
/// written is a fault.
///
/// # Errors
/// Text that is not PTX, instructions that are not supported (named with kernel, line and text), and variables, parameters
/// and registers for which there is no room.
pub fn load(
    ptx: &str,
    checks_registers: bool,
    place: &mut dyn FnMut(&Variable) -> Option<u64>,
) -> Result<Image, LoadError> {
    let module = ptx::parse(ptx).map_err(|error| LoadError { is_unsupported: false, message: error.to_string() })?;
    let mut addresses = HashMap::new();
    for (index, variable) in module.variables.iter().enumerate() {
        if matches!(variable.space, Space::Global | Space::Const) {
            let Variable { name, bytes, .. } = variable;
            let no_memory =
                || LoadError { is_unsupported: true, message: format!("{name}: no memory for {bytes} bytes") };
            addresses.insert(index as u32, place(variable).ok_or_else(no_memory)?);
        }
    }
    let mut image = Image::default();
    for (index, variable) in module.variables.iter().enumerate() {
        if let Some(&address) = addresses.get(&(index as u32)) {
            let init = relocated(&module, variable, &addresses)?;
            image.globals.insert(variable.name.clone(), GlobalSymbol { address, bytes: variable.bytes, init });
        }
    }
    let text: Arc<str> = ptx.into();
    for (index, function) in module.functions.iter().enumerate().filter(|(_, it)| it.is_entry && !it.is_extern) {
        image.kernels.insert(
            function.name.clone(),
            Arc::new(kernel(&module, index, &addresses, checks_registers, text.clone())?),
        );
    }
    Ok(image)
}

/// The bytes that a variable's initialiser gives, with the addresses of other variables filled in.
fn relocated(module: &Module, variable: &Variable, addresses: &HashMap<u32, u64>) -> Result<Vec<u8>, LoadError> {
    let mut init = variable.init.clone();
    for (offset, symbol, addend) in &variable.relocations {
        let name = symbol.strip_prefix("generic(").and_then(|it| it.strip_suffix(')')).unwrap_or(symbol);
        let target = module.variables.iter().position(|it| it.name == name);
        let variable_address = target.and_then(|it| addresses.get(&(it as u32)).copied());
        let function_address = || layout::callee(module, name).map(address::of_function);
        let Some(address) = variable_address.or_else(function_address) else {
            let message = format!("{}: the initialiser names {name}, whose address is not supported", variable.name);
            return Err(LoadError { is_unsupported: true, message });
        };
        let bytes = address.wrapping_add(*addend as u64).to_le_bytes();
        init[*offset as usize..][..8].copy_from_slice(&bytes);
    }
    Ok(init)
}

fn kernel(
    module: &Module,
    index: usize,
    addresses: &HashMap<u32, u64>,
    checks_registers: bool,
    text: Arc<str>,
) -> Result<Kernel, LoadError> {
    let function = &module.functions[index];
    let name = &function.name;
    let unsupported = |message: String| LoadError { is_unsupported: true, message };
    let layout = Layout::of(module, index).map_err(|why| unsupported(format!("kernel {name}: {why}")))?;
    let mut drafts = Vec::new();
    for &part in &layout.functions {
        let translator = Translator::new(module, &layout, addresses, part);
        let mut draft = translator.run().map_err(|Unsupported { line, why }| {
            let excerpt = text.lines().nth(line as usize - 1).unwrap_or_default().trim();
            unsupported(format!("kernel {name}, ptx line {line}: `{excerpt}` {why}"))
        })?;
        draft.forget_unused();
        slots::check_size(&draft).map_err(|why| unsupported(format!("kernel {name}: {why}")))?;
        if checks_registers {
            written::check(&mut draft);
        }
        copies::propagate(&mut draft);
        async_copy::flag_whole(&mut draft);
        coalesce::coalesce(&mut draft);
        draft.forget_unused();
        fuse::fuse(&mut draft);
        drafts.push(draft);
    }
    let program = assemble::link(&drafts).map_err(|why| unsupported(format!("kernel {name}: {why}")))?;
    let offsets = param_offsets(&function.params).map_err(|why| unsupported(format!("kernel {name}: {why}")))?;
    let params: Vec<(u32, u32)> = offsets.iter().zip(&function.params).map(|(&at, it)| (at, it.bytes as u32)).collect();
    let block = function.req_ntid.or(function.max_ntid);
    Ok(Kernel {
        name: name.clone(),
        param_bytes: params.last().map_or(0, |(at, bytes)| at + bytes),
        params,
        static_shared_bytes: layout.static_shared_bytes,
        local_bytes: layout.local_bytes,
        const_bytes: layout.const_bytes,
        max_threads: block.map_or(1024, |it| it.into_iter().fold(1, u32::saturating_mul)),
        req_ntid: function.req_ntid,
        program,
        text,
    })
}
