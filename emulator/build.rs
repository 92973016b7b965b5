//! Names the library `libcuda.so` for the loader, and gives every build an id: a hash of its sources, so that a program
//! can refuse a library that is not the one it was built with.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

fn main() -> io::Result<()> {
    // With this name in the library, a later dlopen("libcuda.so") finds the copy that was loaded by path.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libcuda.so");

    let mut files = vec![PathBuf::from("Cargo.toml"), PathBuf::from("build.rs")];
    collect(Path::new("src"), &mut files)?;
    files.sort();
    let mut hash = Fnv::new();
    for file in &files {
        let text = fs::read(file)?;
        hash.add(file.to_string_lossy().as_bytes());
        hash.add(&(text.len() as u64).to_le_bytes());
        hash.add(&text);
    }
    println!("cargo:rustc-env=CUDA_EMULATOR_BUILD_ID={:016x}", hash.0);
    for path in ["Cargo.toml", "build.rs", "src"] {
        println!("cargo:rerun-if-changed={path}");
    }
    Ok(())
}

/// Every file below `folder`.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

/// FNV-1a, 64 bits: the same on every machine and with every compiler.
struct Fnv(u64);

impl Fnv {
    fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn add(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
    }
}
