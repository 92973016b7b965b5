//! The tree of a PTX module to a program that the interpreter can run fast: placeholder until the lowering lands.

pub mod program;

use crate::ptx::ast::Variable;
use std::{collections::BTreeMap, fmt, sync::Arc};

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
    /// What the driver writes there at load: `bytes` long, relocated.
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

/// Loads a module. `place` is asked once for the device address of each module-scope `.global` and `.const` variable.
///
/// # Errors
/// Text that is not PTX, and instructions that are not supported (named with kernel, line and text).
pub fn load(_ptx: &str, _place: &mut dyn FnMut(&Variable) -> u64) -> Result<Image, LoadError> {
    Err(LoadError { is_unsupported: true, message: "the lowering is not here yet".into() })
}
