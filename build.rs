//! Compiles kernels/*.cu to PTX with nvcc, and turns their prototypes into Rust constants.
//!
//! `OUT_DIR/kernels.rs` then holds a `Prototype` for each kernel and a `Module` for each file, which
//! `src/device/embedded.rs` includes.

#[path = "build/nvcc.rs"]
mod nvcc;
#[path = "build/prototypes.rs"]
mod prototypes;

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::exit;

fn main() {
    println!("cargo:rerun-if-changed=build");
    println!("cargo:rerun-if-changed=kernels");
    if let Err(problem) = generate() {
        eprintln!("{problem}");
        exit(1);
    }
}

fn generate() -> Result<(), String> {
    let out_dir = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let files = kernel_files()?;
    let mut rust = String::new();
    let mut names = Vec::new();
    for file in &files {
        let source = fs::read_to_string(file).map_err(|e| format!("{}: {e}", file.display()))?;
        let kernels =
            prototypes::parse(&source).map_err(|it| format!("{}:{}: {}", file.display(), it.line, it.what))?;
        for kernel in kernels {
            declare(&mut rust, &kernel, stem(file));
            names.push(kernel.name);
        }
    }
    writeln!(
        rust,
        "pub const ALL: &[&Prototype] = &[{}];",
        names.iter().map(|it| format!("&{it}, ")).collect::<String>()
    )
    .expect("a String takes any text");

    let modules = if files.is_empty() { Vec::new() } else { nvcc::compile_all(&files, &out_dir)? };
    // A static has one place; a constant would put all PTX into every object file that names it.
    rust.push_str("pub static MODULES: &[Module] = &[\n");
    for (file, ptx) in files.iter().zip(modules) {
        let name = stem(file);
        writeln!(rust, "    Module {{ name: {name:?}, ptx: include_str!({ptx:?}) }},")
            .expect("a String takes any text");
    }
    rust.push_str("];\n");
    let path = out_dir.join("kernels.rs");
    fs::write(&path, rust).map_err(|e| format!("{}: {e}", path.display()))
}

/// kernels/*.cu, sorted, relative to the repository: these paths end up in fault reports and profiles.
fn kernel_files() -> Result<Vec<PathBuf>, String> {
    let entries = fs::read_dir("kernels").map_err(|e| format!("kernels: {e}"))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(|e| format!("kernels: {e}"))?.path();
        if path.extension().is_some_and(|it| it == "cu") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn stem(file: &Path) -> &str {
    file.file_stem().and_then(|it| it.to_str()).expect("kernel files have names in ASCII")
}

/// One kernel's prototype as a Rust constant.
fn declare(rust: &mut String, kernel: &prototypes::Prototype, module: &str) {
    let params: String = kernel
        .params
        .iter()
        .map(|it| format!("    Param {{ name: {:?}, pass: Pass::{:?}, c_type: {:?} }},\n", it.name, it.pass, it.c_type))
        .collect();
    let prototypes::Prototype { name, block, .. } = kernel;
    writeln!(
        rust,
        "/// `{name}` in kernels/{module}.cu.\npub const {name}: Prototype = Prototype {{ \
         name: {name:?}, module: {module:?}, block: {block}, params: &[\n{params}] }};"
    )
    .expect("a String takes any text");
}
