//! These tests run under the emulator's checks, whoever starts them.

use crate::common::*;
use gale::kernels::Copy;
use std::env;
use std::process::Command;

/// Not a test: copies what nobody wrote.
#[test]
#[ignore = "the other test runs it as a process, since a fault stays"]
fn copy_of_nothing() {
    let device = open();
    let (from, mut to) = (device.alloc(&[16]).unwrap(), device.alloc(&[16]).unwrap());
    Copy { from: &from, to: &mut to, n: 16 }.launch(&device).unwrap();
    device.synchronize().unwrap();
}

#[test]
fn what_nobody_wrote_is_noticed_unless_checks_are_refused() {
    let run = |mode: &str| {
        let output = Command::new(env::current_exe().unwrap())
            .args(["--exact", "kernels::checks::copy_of_nothing", "--ignored"])
            .env("GALE_TEST_DEVICE", "emulator")
            .env_remove("REQUIRE_GPU")
            .env("CUDA_EMULATOR_MODE", mode)
            .output()
            .unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap() + &String::from_utf8_lossy(&output.stderr))
    };
    let (is_fine, said) = run("");
    assert!(!is_fine && said.contains("uninitialised") && said.contains("kernel copy"), "{said}");
    let (is_fine, said) = run("fast");
    assert!(is_fine && said.contains("1 passed"), "{said}");
}
