//! Runs the conformance suite on a GPU, or on whatever `libcuda` there is, and writes what it computed to a file that the
//! emulator's tests replay. It needs a driver and nothing else: build it with `cargo build --release -p cuda-emulator
//! --example gpu-capture`, take the program to the machine with the GPU, and bring the file back to
//! `emulator/tests/captured/`.

#[path = "../conformance/mod.rs"]
mod conformance;

use conformance::{
    cases::{self, Case},
    check::check,
    golden::Golden,
    replay::{capture, replay},
    run::Card,
    vectors::Extent,
};
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

const USAGE: &str = "\
Usage: gpu-capture [--library PATH] -o FILE.gold      writes what the card computes
       gpu-capture [--library PATH] --replay FILE     compares what the card computes with such a file
       gpu-capture [--library PATH] --check           compares all that the tests run with the definitions
  --library PATH  this libcuda instead of the system's";

enum Task {
    Capture(PathBuf),
    Replay(PathBuf),
    Check,
}

/// The library and the task; nothing for arguments that make no sense.
fn arguments() -> Option<(Option<PathBuf>, Task)> {
    let (mut library, mut task) = (None, None);
    let mut words = env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--library" => library = Some(words.next()?.into()),
            "-o" => task = Some(Task::Capture(words.next()?.into())),
            "--replay" => task = Some(Task::Replay(words.next()?.into())),
            "--check" => task = Some(Task::Check),
            _ => return None,
        }
    }
    Some((library, task?))
}

fn main() -> ExitCode {
    let Some((library, task)) = arguments() else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match run(library.as_deref(), &task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("gpu-capture: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(library: Option<&Path>, task: &Task) -> Result<(), String> {
    let cases = cases::all()?;
    let card = Card::open(library)?;
    println!("{}, driver {}: {} cases", card.name(), card.driver_version(), cases.len());
    match task {
        Task::Capture(output) => write(&card, &cases, output),
        Task::Replay(file) => {
            let bytes = fs::read(file).map_err(|error| format!("cannot read {}: {error}", file.display()))?;
            let golden = Golden::decode(&bytes).map_err(|error| format!("{}: {error}", file.display()))?;
            println!("against {}, driver {}, {}", golden.card, golden.driver, golden.date);
            judge(&replay(&card, &cases, &golden), golden.entries.len())
        }
        Task::Check => {
            let report = check(&card, &cases, Extent::Whole);
            println!("{} vectors", report.n_vectors);
            judge(&report.failures, report.n_cases)
        }
    }
}

fn write(card: &Card, cases: &[Case], output: &Path) -> Result<(), String> {
    let (golden, notes) = capture(card, cases);
    notes.iter().for_each(|note| println!("{note}"));
    let file = golden.encode();
    fs::write(output, &file).map_err(|error| format!("cannot write {}: {error}", output.display()))?;
    println!("{}: {} of {} cases, {} bytes", output.display(), golden.entries.len(), cases.len(), file.len());
    Ok(())
}

fn judge(failures: &[String], n_cases: usize) -> Result<(), String> {
    failures.iter().for_each(|failure| println!("{failure}"));
    println!("{} of {n_cases} cases differ", failures.len());
    if failures.is_empty() { Ok(()) } else { Err("the card computes something else".to_owned()) }
}
