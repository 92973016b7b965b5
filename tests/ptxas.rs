//! What ptxas makes of the kernels for cards from Ampere to Blackwell: nothing spills, and the streams of weights have
//! their loads in flight. Seen to fail here: attention, when it had more values than registers on sm_100; and, planted
//! once, three loads of kernels/product.cuh at a time instead of four.
//!
//! tests/ptxas.txt has the registers and shared memory of every kernel; `UPDATE=1` writes it anew.

use gale::device::{Module, prototypes};
use std::{
    collections::BTreeMap,
    env,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Mutex,
    thread,
};

/// A100, RTX 30, RTX 40, H100, B200.
const ARCHITECTURES: [&str; 5] = ["sm_80", "sm_86", "sm_89", "sm_90a", "sm_100"];

/// What a kernel takes of a multiprocessor.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Resources {
    registers: u32,
    shared_bytes: u32,
    spilled_bytes: u32,
}

/// A tool of the toolkit that the kernels were built with.
fn tool(name: &str) -> PathBuf {
    let path = Path::new(env!("NVCC_OF_BUILD")).with_file_name(name);
    assert!(path.is_file(), "{} is missing: run scripts/get-nvcc", path.display());
    path
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8(text).unwrap();
    assert!(output.status.success(), "{command:?}: {text}");
    text
}

/// The module's code for an architecture, and what ptxas says of it.
fn assemble(module: &Module, architecture: &str) -> (PathBuf, String) {
    let stem = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}.{architecture}", module.name));
    let (ptx, cubin) = (stem.with_added_extension("ptx"), stem.with_added_extension("cubin"));
    fs::write(&ptx, module.ptx).unwrap();
    let arch = format!("-arch={architecture}");
    let text = run(Command::new(tool("ptxas")).args(["-v", &arch, "-o"]).arg(&cubin).arg(&ptx));
    (cubin, text)
}

/// By kernel, from lines like these:
///
/// ```text
/// ptxas info    : Compiling entry function 'copy' for 'sm_80'
///     0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
/// ptxas info    : Used 16 registers, used 0 barriers, 32 bytes smem, 376 bytes cmem[0]
/// ```
fn resources(text: &str) -> Vec<(String, Resources)> {
    let number_before = |text: &str, what: &str| {
        let before = text.split(what).next().filter(|it| it.len() < text.len());
        before.map_or(0, |it| it.split_whitespace().last().unwrap().parse().unwrap())
    };
    let entry = |text: &str| {
        let name = text.split('\'').next().unwrap().to_owned();
        let spilled_bytes = number_before(text, " bytes spill stores") + number_before(text, " bytes spill loads");
        let (registers, shared_bytes) = (number_before(text, " registers"), number_before(text, " bytes smem"));
        (name, Resources { registers, shared_bytes, spilled_bytes })
    };
    text.split("Compiling entry function '").skip(1).map(entry).collect()
}

/// Every kernel on every architecture.
fn all_resources() -> BTreeMap<String, BTreeMap<&'static str, Resources>> {
    let work: Vec<_> = prototypes::MODULES.iter().flat_map(|it| ARCHITECTURES.map(|arch| (it, arch))).collect();
    let (work, all) = (Mutex::new(work), Mutex::new(BTreeMap::<String, BTreeMap<_, _>>::new()));
    let worker = || {
        while let Some((module, architecture)) = { work.lock().unwrap().pop() } {
            for (kernel, it) in resources(&assemble(module, architecture).1) {
                all.lock().unwrap().entry(kernel).or_default().insert(architecture, it);
            }
        }
    };
    thread::scope(|scope| (0..thread::available_parallelism().unwrap().get()).for_each(|_| drop(scope.spawn(worker))));
    all.into_inner().unwrap()
}

fn table(all: &BTreeMap<String, BTreeMap<&str, Resources>>) -> String {
    let version = run(Command::new(tool("ptxas")).arg("--version"));
    let version = version.lines().find(|it| it.contains("release")).unwrap();
    let mut table = format!("registers a thread, bytes of static shared memory a block\n{version}\n\n");
    write!(table, "{:24}", "").unwrap();
    ARCHITECTURES.iter().for_each(|it| write!(table, "{it:>13}").unwrap());
    for (kernel, by_architecture) in all {
        write!(table, "\n{kernel:24}").unwrap();
        for architecture in ARCHITECTURES {
            let it = by_architecture[architecture];
            write!(table, "{:>6}{:>7}", it.registers, it.shared_bytes).unwrap();
        }
    }
    table + "\n"
}

#[test]
fn nothing_spills_and_resources_are_as_written_down() {
    let all = all_resources();
    assert_eq!(all.len(), prototypes::ALL.len());
    for (kernel, by_architecture) in &all {
        for (architecture, it) in by_architecture {
            assert_eq!(it.spilled_bytes, 0, "{kernel} on {architecture}: {it:?}");
        }
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ptxas.txt");
    let found = table(&all);
    if env::var_os("UPDATE").is_some() {
        fs::write(&path, &found).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap();
    let version = |table: &str| table.lines().nth(1).unwrap().to_owned();
    if version(&found) == version(&expected) {
        assert_eq!(found, expected, "UPDATE=1 writes tests/ptxas.txt anew");
    } else {
        println!("not compared: tests/ptxas.txt is of {}, this is {}", version(&expected), version(&found));
    }
}

/// Loads of 16 bytes by a lane that follow each other, each to registers of its own: the most that a kernel has.
fn loads_in_flight(code: &str) -> usize {
    let instruction = |line: &str| line.split("*/").nth(1).map(|it| it.trim().to_owned());
    let mut most = 0;
    let mut targets: Vec<String> = vec![];
    for text in code.lines().filter_map(instruction) {
        let is_load = text.contains("LDG.E") && text.contains(".128");
        let target = text.split(',').next().and_then(|it| it.split_whitespace().last()).unwrap_or("").to_owned();
        match is_load {
            true if !targets.contains(&target) => targets.push(target),
            true => targets = vec![target],
            // What computes addresses may stand between them.
            false
                if ["IADD", "IMAD", "LEA", "MOV", "UIADD", "ISETP", "UMOV", "R2UR"]
                    .iter()
                    .any(|it| text.contains(it)) => {}
            false => targets.clear(),
        }
        most = most.max(targets.len());
    }
    most
}

/// 4 KiB a warp: kernels/product.cuh, n_flight_groups.
#[test]
fn weights_are_loaded_eight_at_a_time() {
    for name in ["qkv", "residual", "gate_up", "lm_head"] {
        let module = prototypes::MODULES.iter().find(|it| it.name == name).unwrap();
        for architecture in ["sm_80", "sm_90a"] {
            let code = run(Command::new(tool("nvdisasm")).arg("-c").arg(assemble(module, architecture).0));
            let kernels: Vec<&str> = code.split(".text.").skip(1).filter(|it| it.contains("HMMA")).collect();
            assert!(kernels.len() >= 2, "{name} for bf16 and f16");
            for kernel in kernels {
                let n = loads_in_flight(kernel);
                assert!(n >= 8, "{name} on {architecture} has {n} loads of 16 bytes in flight");
            }
        }
    }
}
