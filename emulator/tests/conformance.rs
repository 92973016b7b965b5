//! Every instruction against an independent definition, on edges of its operands' types and on random bits; and against
//! what a GPU computed, where a file of that is at hand. A chapter is a test.

#[path = "../conformance/types.rs"]
mod types;
#[path = "../conformance/cases.rs"]
mod cases;
#[path = "../conformance/warp_cases.rs"]
mod warp_cases;
#[path = "../conformance/memory_cases.rs"]
mod memory_cases;
#[path = "../conformance/matrix_cases.rs"]
mod matrix_cases;
#[path = "../conformance/vectors.rs"]
mod vectors;
#[path = "../conformance/kernel.rs"]
mod kernel;
#[path = "../conformance/run.rs"]
#[allow(unsafe_code)] // It calls the driver.
mod run;
#[path = "../conformance/batch.rs"]
mod batch;
#[path = "../conformance/oracle/mod.rs"]
mod oracle;

use batch::batches;
use cases::{Case, Chapter};
use run::Card;
use std::{env, path::PathBuf, sync::LazyLock};
use vectors::Extent;

static CASES: LazyLock<Vec<Case>> = LazyLock::new(|| cases::all().unwrap_or_else(|error| panic!("{error}")));

/// The emulator, which cargo leaves beside the test.
static CARD: LazyLock<Card> = LazyLock::new(|| {
    let test = env::current_exe().expect("a test has a path");
    let library: PathBuf = test.with_file_name("libcuda_emulator.so");
    let card = Card::open(Some(&library)).unwrap_or_else(|error| panic!("{error}"));
    assert!(card.name().starts_with("CUDA emulator"), "cudarc found another libcuda.so: {}", card.name());
    card
});

/// Differences shown of a case.
const SHOWN: usize = 3;

/// Runs a chapter's cases and compares all results; fails with the first differences of each case.
fn agrees(chapter: Chapter) {
    let mut failures = Vec::new();
    let (mut n_cases, mut n_vectors) = (0, 0);
    for batch in batches(CASES.iter().filter(|it| it.chapter == chapter), Extent::Whole) {
        for (case, results) in batch.cases.iter().zip(batch.run(&CARD)) {
            n_cases += 1;
            n_vectors += batch.n;
            let Some(definition) = oracle::definition(case) else {
                failures.push(format!("{}: the oracle has no definition of it", case.label));
                continue;
            };
            let results = match results {
                Ok(results) => results,
                Err(error) => {
                    failures.push(format!("{}: {error}", case.label));
                    continue;
                }
            };
            let wants = definition.wants(case, &batch.inputs, batch.n);
            let mut differences = Vec::new();
            for (result, (wants, results)) in wants.iter().zip(&results).enumerate() {
                for (vector, (want, &got)) in wants.iter().zip(results).enumerate() {
                    if !want.accepts(got) {
                        differences.push(format!(
                            "\n    d{result} of {:x?}: expected {want}, found {got:#x}",
                            batch.operands(vector)
                        ));
                    }
                }
            }
            if !differences.is_empty() {
                let n = differences.len();
                differences.truncate(SHOWN);
                failures.push(format!("{}: {n} of {} differ{}", case.label, batch.n, differences.concat()));
            }
        }
    }
    println!("{chapter:?}: {n_cases} cases, {n_vectors} vectors");
    assert!(failures.is_empty(), "{} of {n_cases} cases fail:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn integer() {
    agrees(Chapter::Integer);
}

#[test]
fn float() {
    agrees(Chapter::Float);
}

#[test]
fn packed() {
    agrees(Chapter::Packed);
}

#[test]
fn compare() {
    agrees(Chapter::Compare);
}

#[test]
fn convert() {
    agrees(Chapter::Convert);
}

#[test]
fn approximate() {
    agrees(Chapter::Approximate);
}

#[test]
fn warp() {
    agrees(Chapter::Warp);
}

#[test]
fn memory() {
    agrees(Chapter::Memory);
}

#[test]
fn matrix() {
    agrees(Chapter::Matrix);
}
