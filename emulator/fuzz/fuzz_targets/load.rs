//! Any text may be handed to `cuModuleLoadData`: it gives a module or an error, never a crash.
//!
//! `scripts/fuzz` runs it, from a corpus of nvcc's output.

#![no_main]

use cuda_emulator::lower;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let mut next = 1 << 48;
    let _ = lower::load(text, true, &mut |variable| {
        next += variable.bytes.min(1 << 30).next_multiple_of(256);
        Some(next)
    });
});
