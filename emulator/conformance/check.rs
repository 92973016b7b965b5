//! A card's results against the oracle's.

use super::{
    batch::{Batch, batches},
    cases::Case,
    oracle,
    run::{Card, Results},
    vectors::Extent,
};

/// Differences shown of a case.
const SHOWN: usize = 3;

/// How many cases ran on how many vectors, and what failed, a text each.
#[derive(Default)]
pub struct Report {
    pub n_cases: usize,
    pub n_vectors: usize,
    pub failures: Vec<String>,
}

/// Runs cases and compares all results.
pub fn check<'a>(card: &Card, cases: impl IntoIterator<Item = &'a Case>, extent: Extent) -> Report {
    let mut report = Report::default();
    for batch in batches(cases, extent) {
        for (case, results) in batch.cases.iter().zip(batch.run(card)) {
            report.n_cases += 1;
            report.n_vectors += batch.n;
            let failure = results.map_or_else(Some, |results| disagreement(&batch, case, &results));
            report.failures.extend(failure.map(|it| format!("{}: {it}", case.label)));
        }
    }
    report
}

/// How a case's results differ from what they have to be, if they do.
pub fn disagreement(batch: &Batch, case: &Case, results: &Results) -> Option<String> {
    let Some(definition) = oracle::definition(case) else {
        return Some("the oracle has no definition of it".to_owned());
    };
    let wants = definition.wants(case, &batch.inputs, batch.n);
    let mut differences = Vec::new();
    for (result, (wants, results)) in wants.iter().zip(results).enumerate() {
        let differing = wants.iter().zip(results).enumerate().filter(|(_, (want, got))| !want.accepts(**got));
        differences.extend(differing.map(|(vector, (want, got))| {
            format!("\n    d{result} of {:x?}: expected {want}, found {got:#x}", batch.operands(vector))
        }));
    }
    shown(differences, batch.n * case.results.len())
}

/// The first of the differences, and how many there are of `n`.
pub fn shown(mut differences: Vec<String>, n: usize) -> Option<String> {
    let n_differences = differences.len();
    differences.truncate(SHOWN);
    (n_differences > 0).then(|| format!("{n_differences} of {n} differ{}", differences.concat()))
}
