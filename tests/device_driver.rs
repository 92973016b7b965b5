//! Which CUDA library is used, and what is said when none will do. Each case is a process of its own, since a
//! process chooses once; the libraries are small ones in C.

use gale::device::{Device, DeviceChoice};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Not a test: opens the device that `CHOICE` names and prints what came of it.
#[test]
#[ignore = "the other tests run it as a process"]
fn open() {
    let choice: DeviceChoice = std::env::var("CHOICE").unwrap().parse().unwrap();
    match Device::open(choice) {
        Ok(device) => println!("opened {}", device.name()),
        Err(error) => println!("error: {error}"),
    }
}

/// What opening `choice` prints where the only CUDA libraries are those in `dir`.
fn open_with(choice: &str, dir: &Path, emulator: &Path) -> String {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "open", "--ignored", "--nocapture"])
        .env("CHOICE", choice)
        .env("LD_LIBRARY_PATH", dir)
        .env("GALE_EMULATOR_LIB", emulator)
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Builds a shared library from C.
fn build(library: &Path, source: &str, flags: &[&str]) {
    let c = library.with_extension("c");
    std::fs::write(&c, source).unwrap();
    let mut gcc = Command::new("gcc");
    gcc.args(["-shared", "-fPIC"]).args(flags).arg("-o").args([library, &c]);
    assert!(gcc.status().unwrap().success());
}

/// Builds `dir/libcuda.so`.
fn driver(dir: &Path, source: &str) {
    build(&dir.join("libcuda.so"), source, &[]);
}

/// Builds an emulator of this build that has no driver functions.
fn hollow_emulator(dir: &Path) -> PathBuf {
    let emulator = dir.join("emulator.so");
    let source = format!("const char *cuda_emulator_build_id(void) {{ return {:?}; }}", cuda_emulator::BUILD_ID);
    build(&emulator, &source, &["-Wl,-soname,libcuda.so"]);
    emulator
}

/// A driver whose cuInit returns `init`, with `n_gpus`.
fn small_driver(init: i32, n_gpus: i32) -> String {
    format!(
        "int cuInit(unsigned flags) {{ return {init}; }}\n\
         int cuDeviceGetCount(int *n) {{ *n = {n_gpus}; return 0; }}"
    )
}

#[test]
fn cuda_without_a_usable_driver_says_why() {
    let cases = [
        (small_driver(100, 0), "the CUDA driver libcuda.so sees no GPU"),
        (small_driver(0, 0), "the CUDA driver libcuda.so sees no GPU"),
        (small_driver(34, 0), "take `stubs` off LD_LIBRARY_PATH"),
        (small_driver(999, 0), "the CUDA driver libcuda.so does not start, error 999"),
        ("int other;".to_owned(), "libcuda.so is no CUDA driver"),
    ];
    for (source, reason) in cases {
        let dir = tempfile::tempdir().unwrap();
        driver(dir.path(), &source);
        let said = open_with("cuda", dir.path(), Path::new("/nowhere"));
        assert!(said.contains("error: no usable CUDA GPU: ") && said.contains(reason), "{reason}: {said}");
        assert!(said.contains("--device emulator"), "{said}");
    }
}

#[test]
fn a_gpu_that_is_not_there_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    driver(dir.path(), &small_driver(0, 2));
    let said = open_with("cuda:2", dir.path(), Path::new("/nowhere"));
    assert!(said.contains("error: no CUDA GPU 2: this machine has 2, counted from 0"), "{said}");
}

#[test]
fn a_driver_that_lacks_a_function_is_refused_before_it_is_called() {
    let dir = tempfile::tempdir().unwrap();
    driver(dir.path(), &small_driver(0, 1));
    for choice in ["cuda", "auto"] {
        let said = open_with(choice, dir.path(), Path::new("/nowhere"));
        assert!(
            said.contains("error: the CUDA driver has no `cuCtxGetCurrent`: gale needs a driver for CUDA"),
            "{said}"
        );
    }
}

/// `auto` says why it takes the emulator, and does not fall back further.
#[test]
fn auto_falls_back_to_the_emulator() {
    let dir = tempfile::tempdir().unwrap();
    driver(dir.path(), &small_driver(100, 0));
    let said = open_with("auto", dir.path(), Path::new("/nowhere"));
    assert!(said.contains("error: the emulator's library is not there, looked for /nowhere"), "{said}");

    let emulator = hollow_emulator(dir.path());
    let said = open_with("auto", dir.path(), &emulator);
    assert_eq!(
        said.matches("gale: running on the CPU, in the emulator: the CUDA driver libcuda.so sees no GPU").count(),
        1,
        "{said}"
    );
    assert!(
        said.contains("error: the emulator has no `cuCtxGetCurrent`"),
        "the emulator in C has one function: {said}"
    );
}

/// A driver that stays loaded would be what cudarc finds; that is said, not run on.
#[test]
fn a_driver_that_cannot_be_unloaded_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    build(&dir.path().join("libcuda.so"), &small_driver(100, 0), &["-Wl,-z,nodelete"]);
    let said = open_with("auto", dir.path(), &hollow_emulator(dir.path()));
    assert!(said.contains("a CUDA library without a GPU was loaded before it and stays"), "{said}");
}
