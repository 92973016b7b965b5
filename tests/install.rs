//! What `make install` places runs from anywhere, and finds the emulator that was installed with it.

use std::path::Path;
use std::process::{Command, Output};

/// Installs the executables of this build below `prefix`, by the rule that `make install` ends with.
fn install(prefix: &Path) {
    let build = Path::new(env!("CARGO_BIN_EXE_gale")).parent().unwrap();
    let output = Command::new("make")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env_remove("MAKEFLAGS") // of the make that runs this test, perhaps
        .env_remove("DESTDIR")
        .arg("install-files")
        .arg(format!("BUILD={}", build.display()))
        .arg(format!("PREFIX={}", prefix.display()))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn doctor(gale: &Path, dir: &Path) -> Output {
    Command::new(gale)
        .current_dir(dir)
        .env_remove("GALE_EMULATOR_LIB")
        .env_remove("GALE_DEVICE")
        .args(["doctor", "--device", "emulator"])
        .output()
        .unwrap()
}

#[test]
fn the_installed_gale_runs_from_another_directory() {
    let root = tempfile::tempdir().unwrap();
    let prefix = root.path().join("a prefix");
    install(&prefix);
    let gale = prefix.join("bin/gale");

    let output = doctor(&gale, root.path());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");

    // Had it been another copy of the emulator, it would not be missed.
    std::fs::remove_file(prefix.join("lib/libcuda_emulator.so")).unwrap();
    let output = doctor(&gale, root.path());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("libcuda_emulator.so"), "{said}");
}
