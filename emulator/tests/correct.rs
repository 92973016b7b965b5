//! Kernels without a bug, of every kind that the checks look at: nothing may be reported, in any mode or order, and the
//! answers have to be those of the CPU. Every run is a process of its own, since mode and seed are the environment's.
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks)] // Calling C is what is tested.

mod suite;
#[path = "correct/async_copy.rs"]
mod async_copy;
#[path = "correct/block.rs"]
mod block;
#[path = "correct/cooperative.rs"]
mod cooperative;
#[path = "correct/grid.rs"]
mod grid;
#[path = "correct/matrix.rs"]
mod matrix;
#[path = "correct/misc.rs"]
mod misc;
#[path = "correct/warp.rs"]
mod warp;

use cuda_emulator::exec::cpu::Cpu;
use suite::*;

const N_SEEDS: usize = 20;

/// Runs `body` with `correct/FILE.ptx` in every mode, in `fast` with every build of the instructions that this machine can
/// run and several numbers of threads, in `stress` with [`N_SEEDS`] seeds, and returns the last run's stdout.
#[track_caller]
fn in_every_mode(test: &str, file: &str, body: impl Fn(&Gpu)) -> String {
    if is_child() {
        body(&Gpu::with("correct", file));
        return String::new();
    }
    let builds = Cpu::available().iter().map(|cpu| ("fast", "CPU", cpu.name().to_owned()));
    let threads = [1, 3].map(|n_threads| ("fast", "THREADS", n_threads.to_string()));
    let check = ("check", "SEED", String::new());
    let seeds = (1..=N_SEEDS).map(|seed| ("stress", "SEED", seed.to_string()));
    let mut stdout = String::new();
    for (mode, variable, value) in builds.chain(threads).chain([check]).chain(seeds) {
        let output = alone(test, &[("MODE", mode), (variable, &value)]);
        let text = text(&output);
        assert!(output.status.success(), "{mode}, {variable} {value}: {text}");
        assert!(!text.contains("cuda-emulator: "), "{mode}, {variable} {value}: a report on a correct kernel: {text}");
        stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    }
    stdout
}

/// One test for each kernel, of the same name, in the module of the file.
macro_rules! correct {
    ($file:literal: $($kernel:ident: $body:expr;)*) => { $(
        #[test]
        fn $kernel() {
            crate::in_every_mode(concat!($file, "::", stringify!($kernel)), $file, $body);
        }
    )* };
}
use correct;

/// Numbers below `bound` without a pattern.
fn numbers(n: usize, bound: u32) -> Vec<u32> {
    let mut state = 0x2545_f491_u32;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state % bound
    };
    (0..n).map(|_| next()).collect()
}

/// Runs a kernel of `in` and `out` [n_out] and returns what is in `out`.
#[track_caller]
fn map(gpu: &Gpu, kernel: &str, shape: Shape, input: &[u32], n_out: usize) -> Vec<u32> {
    let out = gpu.zeros(n_out);
    gpu.run(kernel, shape, &[gpu.upload(input), out]);
    gpu.download(out, n_out)
}

/// Like [`map`], with a number behind the two buffers.
#[track_caller]
fn map_with(gpu: &Gpu, kernel: &str, shape: Shape, input: &[u32], n_out: usize, number: u64) -> Vec<u32> {
    let out = gpu.zeros(n_out);
    gpu.run(kernel, shape, &[gpu.upload(input), out, number]);
    gpu.download(out, n_out)
}

/// `sum = sum * factor + word` over all words.
fn fold(factor: u32, words: impl Iterator<Item = u32>) -> u32 {
    words.fold(0, |sum: u32, it| sum.wrapping_mul(factor).wrapping_add(it))
}

/// Sums up to and with each place.
fn running_sums(words: &[u32]) -> Vec<u32> {
    words
        .iter()
        .scan(0, |sum, it| {
            Some(*{
                *sum += it;
                &*sum
            })
        })
        .collect()
}
