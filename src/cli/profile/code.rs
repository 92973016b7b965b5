//! A kernel's code: the PTX that is embedded here, and what NVIDIA's tools make of it.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use gale::device::{Module, Prototype, prototypes};
use gale::error::Error;

/// The PTX of a kernel, below what ptxas says of it, if there is one.
pub fn ptx(name: &str, arch: &str) -> anyhow::Result<String> {
    let (kernel, module) = find(name)?;
    let resources = match tool("ptxas") {
        Some(ptxas) => resources(&assemble(&ptxas, module, arch)?.1, kernel.name),
        None => "registers, shared memory and spills: not known, there is no ptxas".to_owned(),
    };
    Ok(format!(
        "// {} of kernels/{}.cu\n// {resources}\n{}\n",
        kernel.name,
        module.name,
        entry(module.ptx, kernel.name)
    ))
}

/// The machine code of a kernel.
pub fn sass(name: &str, arch: &str) -> anyhow::Result<String> {
    let (kernel, module) = find(name)?;
    let ptxas =
        tool("ptxas").context("--sass needs ptxas, of the CUDA toolkit: set CUDA_HOME, or run scripts/get-nvcc")?;
    let nvdisasm = tool("nvdisasm").context("--sass needs nvdisasm, of the CUDA toolkit: set CUDA_HOME")?;
    let (cubin, said) = assemble(&ptxas, module, arch)?;
    let code = run(Command::new(nvdisasm).arg("-c").arg(cubin.path()))?;
    let section = format!(".text.{}", kernel.name);
    let is_begin = |line: &&str| line.trim_start().starts_with(".section") && line.contains(&format!("{section},"));
    let body: Vec<&str> = code
        .lines()
        .skip_while(|line| !is_begin(line))
        .enumerate()
        .take_while(|(i, line)| *i == 0 || !line.trim_start().starts_with(".section"))
        .map(|(_, line)| line)
        .collect();
    let resources = resources(&said, kernel.name);
    Ok(format!("// {} of kernels/{}.cu for {arch}\n// {resources}\n{}\n", kernel.name, module.name, body.join("\n")))
}

fn find(name: &str) -> Result<(&'static Prototype, &'static Module), Error> {
    let Some(kernel) = prototypes::ALL.iter().find(|it| it.name == name) else {
        let known: Vec<_> = prototypes::ALL.iter().map(|it| it.name).collect();
        let expected = format!("one of {}", known.join(", "));
        return Err(Error::Option { option: "--ptx, --sass", expected, found: format!("{name:?}") });
    };
    let module = prototypes::MODULES.iter().find(|it| it.name == kernel.module).expect("a kernel has its module");
    Ok((kernel, module))
}

/// From `.entry` to the brace that closes it, with the lines that say what the module is for.
fn entry(ptx: &str, name: &str) -> String {
    let head = ptx.lines().filter(|it| [".version", ".target", ".address_size"].iter().any(|key| it.starts_with(key)));
    let is_begin =
        |line: &&str| line.split_once(".entry ").is_some_and(|(_, rest)| rest.trim_end().trim_end_matches('(') == name);
    let mut lines: Vec<&str> = head.collect();
    for line in ptx.lines().skip_while(|line| !is_begin(line)) {
        lines.push(line);
        if line == "}" {
            break;
        }
    }
    lines.join("\n")
}

/// The tool of the toolkit that gale was built with, or of one that is installed.
fn tool(name: &str) -> Option<PathBuf> {
    let built_with = option_env!("NVCC_OF_BUILD").map(|nvcc| Path::new(nvcc).with_file_name(name));
    let of_home = env::var_os("CUDA_HOME").map(|home| Path::new(&home).join("bin").join(name));
    let on_path = env::var_os("PATH").into_iter().flat_map(|path| env::split_paths(&path).collect::<Vec<_>>());
    let usual = Some(Path::new("/usr/local/cuda/bin").join(name));
    let places = of_home.into_iter().chain(on_path.map(|it| it.join(name))).chain(usual).chain(built_with);
    places.into_iter().find(|it| it.is_file())
}

/// The module's machine code, and what ptxas says about it.
fn assemble(ptxas: &Path, module: &Module, arch: &str) -> anyhow::Result<(tempfile::NamedTempFile, String)> {
    let ptx = tempfile::NamedTempFile::with_suffix(".ptx")?;
    std::fs::write(ptx.path(), module.ptx)?;
    let cubin = tempfile::NamedTempFile::with_suffix(".cubin")?;
    let arch = format!("-arch={arch}");
    let said = run(Command::new(ptxas).args(["-v", &arch, "-o"]).arg(cubin.path()).arg(ptx.path()))?;
    Ok((cubin, said))
}

fn run(command: &mut Command) -> anyhow::Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("cannot run {program}"))?;
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    if !output.status.success() {
        bail!("{program}: {}", text.trim());
    }
    Ok(text)
}

/// What `ptxas -v` says of a kernel: `Used 16 registers, ...` and its spills.
fn resources(said: &str, name: &str) -> String {
    let of_kernel = said.split("Compiling entry function '").find(|it| it.starts_with(&format!("{name}'")));
    let lines = of_kernel.unwrap_or_default().lines().map(|it| it.trim().trim_start_matches("ptxas info    : "));
    lines.filter(|it| it.contains(" registers") || it.contains("spill")).collect::<Vec<_>>().join("; ")
}
