//! Every instruction against an independent definition, on edges of its operands' types and on random bits; and against
//! what a GPU computed, where a file of that is at hand. A chapter is a test.

#[path = "../conformance/mod.rs"]
mod conformance;

use conformance::{
    cases::{self, Case, Chapter},
    check::check,
    golden::Golden,
    replay::{capture, replay},
    run::Card,
    vectors::Extent,
};
use std::{env, fs, path::PathBuf, sync::LazyLock};

static CASES: LazyLock<Vec<Case>> = LazyLock::new(|| cases::all().unwrap_or_else(|error| panic!("{error}")));

/// The emulator, which cargo leaves beside the test.
static CARD: LazyLock<Card> = LazyLock::new(|| {
    let test = env::current_exe().expect("a test has a path");
    let library: PathBuf = test.with_file_name("libcuda_emulator.so");
    let card = Card::open(Some(&library)).unwrap_or_else(|error| panic!("{error}"));
    assert!(card.name().starts_with("CUDA emulator"), "cudarc found another libcuda.so: {}", card.name());
    card
});

/// Runs a chapter's cases; fails with the first differences of each.
fn agrees(chapter: Chapter) {
    let report = check(&CARD, CASES.iter().filter(|it| it.chapter == chapter), Extent::Whole);
    println!("{chapter:?}: {} cases, {} vectors", report.n_cases, report.n_vectors);
    let n = report.failures.len();
    assert!(n == 0, "{n} of {} cases fail:\n{}", report.n_cases, report.failures.join("\n"));
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

#[test]
fn labels_are_one_case_each() {
    let mut labels: Vec<&str> = CASES.iter().map(|it| it.label.as_str()).collect();
    labels.sort_unstable();
    let twins: Vec<&[&str]> = labels.windows(2).filter(|it| it[0] == it[1]).collect();
    assert!(twins.is_empty(), "{twins:?}");
}

/// What is written of one run is what the next run computes, and a bit that is not is found.
#[test]
fn a_golden_file_is_replayed() {
    let cases =
        || CASES.iter().filter(|it| ["add.u32", "setp.lt.f32", "ex2.approx.f32", "cvt.s8.s32"].contains(&it.text()));
    let (golden, notes) = capture(&CARD, cases());
    assert_eq!((golden.entries.len(), notes), (4, vec![]));
    let mut file = golden.encode();
    assert_eq!(Golden::decode(&file).as_ref(), Ok(&golden));
    assert_eq!(replay(&CARD, cases(), &golden), [""; 0]);
    assert!(Golden::decode(&file[..file.len() - 1]).is_err_and(|it| it.contains("ends within")));
    assert!(Golden::decode(b"ELF\n").is_err_and(|it| it.contains("begins with `ELF`")));
    // The last byte is of the last case.
    *file.last_mut().expect("it is not empty") ^= 1;
    let damaged = Golden::decode(&file).expect("it has the same shape");
    assert_eq!(replay(&CARD, cases(), &damaged).len(), 1);
}

/// The results in `tests/captured/*.gold`, bit for bit; where the ISA gives bounds, both within them.
#[test]
fn replays_what_a_gpu_computed() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/captured");
    let files = fs::read_dir(&folder).into_iter().flatten().flatten().map(|it| it.path());
    let files: Vec<PathBuf> = files.filter(|it| it.extension().is_some_and(|it| it == "gold")).collect();
    if files.is_empty() {
        println!("no *.gold in {}: make one with `gpu-capture -o FILE` (examples/gpu-capture.rs)", folder.display());
    }
    for path in files {
        let file = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let golden = Golden::decode(&file).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let failures = replay(&CARD, CASES.iter(), &golden);
        println!("{} ({}, {}): {} cases", path.display(), golden.card, golden.date, golden.entries.len());
        assert!(failures.is_empty(), "{}: {} differ:\n{}", path.display(), failures.len(), failures.join("\n"));
    }
}
