//! Finds nvcc and compiles CUDA source files to PTX.

use std::env;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// `-fmad=false`: the source writes `fmaf` where it means it, so that PTX and not ptxas decides the arithmetic.
/// `compute_80`: PTX for Ampere serves every card since.
const FLAGS: [&str; 8] =
    ["-ptx", "-O3", "-lineinfo", "-fmad=false", "-Werror", "all-warnings", "-std=c++17", "-arch=compute_80"];

/// PTX ISA versions, major and minors, since the first that knows sm_80 (PTX ISA, #release-notes).
const PTX_VERSIONS: [(u32, RangeInclusive<u32>); 3] = [(7, 0..=8), (8, 0..=8), (9, 0..=9)];

const NO_NVCC: &str = "\
no CUDA compiler: NVCC is not set, and there is no nvcc in CUDA_HOME, PATH, /usr/local/cuda and .cuda
run `scripts/get-nvcc` in the repository, or install the CUDA toolkit and set CUDA_HOME";

/// Compiles each file to a `.ptx` in `out_dir`, several at a time, and returns their paths in the same order.
pub fn compile_all(files: &[PathBuf], out_dir: &Path) -> Result<Vec<PathBuf>, String> {
    let nvcc = Nvcc::find()?;
    let next = AtomicUsize::new(0);
    let worker = || {
        let mut done = Vec::new();
        while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
            done.push((file, nvcc.compile(file, out_dir)));
        }
        done
    };
    let n_workers = thread::available_parallelism().map_or(1, |it| it.get()).min(files.len());
    let mut done = thread::scope(|scope| {
        let workers: Vec<_> = (0..n_workers).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().flat_map(|it| it.join().expect("a compile thread panicked")).collect::<Vec<_>>()
    });
    done.sort_by_key(|(file, _)| *file);
    done.into_iter().map(|(_, ptx)| ptx).collect()
}

struct Nvcc {
    path: PathBuf,
    /// Of everything but the `.cu` file that its PTX depends on: the compiler, this file and the headers.
    key: u64,
}

impl Nvcc {
    /// Looks at NVCC, CUDA_HOME, PATH, /usr/local/cuda and what `scripts/get-nvcc` left in `.cuda`, in this order.
    fn find() -> Result<Nvcc, String> {
        println!("cargo:rerun-if-env-changed=NVCC");
        println!("cargo:rerun-if-env-changed=CUDA_HOME");
        let (places, missing) = match env::var_os("NVCC") {
            Some(named) => (named_places(Path::new(&named)), format!("NVCC is {named:?}, and there is no such file")),
            None => (usual_places(), NO_NVCC.to_owned()),
        };
        let path = places.into_iter().find(|it| it.is_file()).ok_or(missing)?;
        println!("cargo:rerun-if-changed={}", path.display());
        println!("cargo:rustc-env=NVCC_OF_BUILD={}", path.display()); // for tests/ptxas.rs
        let version = run(Command::new(&path).arg("--version"))?;
        let mut hasher = DefaultHasher::new();
        (&path, version, include_str!("nvcc.rs"), headers()?).hash(&mut hasher);
        Ok(Nvcc { path, key: hasher.finish() })
    }

    /// Compiles one file, unless its PTX of the last build is still that of its source.
    fn compile(&self, file: &Path, out_dir: &Path) -> Result<PathBuf, String> {
        let name = file.file_stem().expect("a .cu file has a name");
        let ptx = out_dir.join(name).with_extension("ptx");
        let key_file = ptx.with_extension("key");
        let mut hasher = DefaultHasher::new();
        (self.key, read(file)?).hash(&mut hasher);
        let key = format!("{:016x}", hasher.finish());
        if ptx.is_file() && fs::read_to_string(&key_file).is_ok_and(|it| it == key) {
            return Ok(ptx);
        }
        run(Command::new(&self.path).args(FLAGS).arg(file).arg("-o").arg(&ptx))?;
        write(&ptx, &shorten_paths(&read(&ptx)?))?;
        self.lower_version(&ptx)?;
        write(&key_file, &key)?;
        Ok(ptx)
    }

    /// Stamps the module with the lowest PTX version that ptxas accepts for it.
    ///
    /// nvcc stamps its own version, which older drivers refuse even where the code needs nothing new.
    fn lower_version(&self, ptx: &Path) -> Result<(), String> {
        let beside = |it: &Path| Some(it.with_file_name("ptxas")).filter(|it| it.is_file());
        let Some(ptxas) = beside(&self.path).or_else(|| beside(&self.path.canonicalize().ok()?)) else {
            return Ok(()); // the module stays as nvcc made it and asks for a newer driver
        };
        let text = read(ptx)?;
        let line = text.lines().find(|it| it.starts_with(".version ")).ok_or("nvcc wrote PTX without a .version")?;
        let versions = PTX_VERSIONS.into_iter().flat_map(|(major, minors)| minors.map(move |it| (major, it)));
        for (major, minor) in versions {
            let version = format!(".version {major}.{minor}");
            write(ptx, &text.replacen(line, &version, 1))?;
            if version == line || run(Command::new(&ptxas).args(["-arch=sm_80", "-o", "/dev/null"]).arg(ptx)).is_ok() {
                return Ok(());
            }
        }
        write(ptx, &text)
    }
}

/// `NVCC`: a path, or a name to look for in PATH.
fn named_places(named: &Path) -> Vec<PathBuf> {
    if named.components().count() > 1 { vec![named.to_owned()] } else { path_dirs().map(|it| it.join(named)).collect() }
}

fn usual_places() -> Vec<PathBuf> {
    let mut dirs: Vec<PathBuf> = env::var_os("CUDA_HOME").map(|it| Path::new(&it).join("bin")).into_iter().collect();
    dirs.extend(path_dirs());
    dirs.push("/usr/local/cuda/bin".into());
    let pythons = fs::read_dir(".cuda/lib").into_iter().flatten().flatten();
    dirs.extend(pythons.map(|it| it.path().join("site-packages/nvidia/cu13/bin")));
    dirs.into_iter().map(|it| it.join("nvcc")).collect()
}

fn path_dirs() -> impl Iterator<Item = PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).collect::<Vec<_>>().into_iter()
}

/// The text of every header in kernels/.
fn headers() -> Result<Vec<String>, String> {
    let mut paths: Vec<PathBuf> = fs::read_dir("kernels").into_iter().flatten().flatten().map(|it| it.path()).collect();
    paths.retain(|it| it.extension().is_some_and(|it| it == "cuh"));
    paths.sort();
    paths.iter().map(|it| read(it)).collect()
}

/// Cuts the `.file` paths of line information to `kernels/copy.cu` and, for the toolkit's headers, `include/mma.h`,
/// so that the PTX is the same wherever it is built.
fn shorten_paths(ptx: &str) -> String {
    let root = format!("{}/", env::var("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR"));
    let shorten = |line: &str| match line.split_once('"') {
        Some((file, path)) if file.trim_start().starts_with(".file") => {
            let path = path.strip_prefix(&root).unwrap_or(path);
            let in_toolkit = path.rfind("/include/").map_or(path, |at| &path[at + 1..]);
            format!("{file}\"{in_toolkit}\n")
        }
        _ => format!("{line}\n"),
    };
    ptx.lines().map(shorten).collect()
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|e| format!("{}: {e}", path.display()))
}

/// The command's standard output, or both outputs if it failed.
fn run(command: &mut Command) -> Result<String, String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|e| format!("{program}: {e}"))?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(stdout);
    }
    Err(format!("{program} failed ({}):\n{stdout}{}", output.status, String::from_utf8_lossy(&output.stderr)))
}
