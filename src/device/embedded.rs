//! What `build.rs` made of kernels/*.cu: their PTX, and a prototype of each kernel.

/// One `.cu` file.
#[derive(Debug)]
pub struct Module {
    /// The file's name without extension.
    pub name: &'static str,
    /// The PTX that nvcc made of it.
    pub ptx: &'static str,
}

/// One kernel as its `.cu` file declares it.
#[derive(Debug)]
pub struct Prototype {
    pub name: &'static str,
    /// The [`Module`] that holds it.
    pub module: &'static str,
    /// Threads a block, from `__launch_bounds__`.
    pub block: u32,
    pub params: &'static [Param],
}

/// One parameter of a kernel, or one field of its launcher.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Param {
    pub name: &'static str,
    pub pass: Pass,
    /// The CUDA type of the value, or of the element that is pointed at.
    pub c_type: &'static str,
}

/// How a parameter is passed: `T`, `const T*` or `T*`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pass {
    Value,
    In,
    Out,
}

impl Module {
    /// The PTX version that it is stamped with, the driver's floor.
    pub fn ptx_version(&self) -> (u32, u32) {
        let version = self.ptx.lines().find_map(|it| it.strip_prefix(".version ")?.trim().split_once('.'));
        let number = |it: &str| it.parse().expect("nvcc writes numbers behind .version");
        version.map(|(major, minor)| (number(major), number(minor))).expect("nvcc writes a .version")
    }
}

/// The constants that `build.rs` wrote: one per kernel under the kernel's name, `ALL` of them, and the `MODULES`.
#[allow(non_upper_case_globals)]
pub mod prototypes {
    #[allow(unused_imports)] // without kernels there are no parameters
    use super::{Module, Param, Pass, Prototype};

    include!(concat!(env!("OUT_DIR"), "/kernels.rs"));
}

impl Prototype {
    /// Whether a launcher's fields are this kernel's parameters, name by name and type by type.
    pub const fn matches(&self, fields: &[Param]) -> bool {
        let mut i = 0;
        while i < fields.len() && i < self.params.len() {
            let (field, param) = (&fields[i], &self.params[i]);
            let same_pass = field.pass as u8 == param.pass as u8;
            if !same_pass || !same_text(field.name, param.name) || !same_text(field.c_type, param.c_type) {
                return false;
            }
            i += 1;
        }
        fields.len() == self.params.len()
    }
}

/// `a == b`, which a `const fn` cannot say of strings.
const fn same_text(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut i = 0;
    while i < a.len() && i < b.len() {
        if a[i] != b[i] {
            return false;
        }
        i += 1;
    }
    a.len() == b.len()
}
