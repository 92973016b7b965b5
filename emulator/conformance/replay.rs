//! Golden files made, and replayed.

use super::{
    batch::{Batch, batches},
    cases::Case,
    check::{disagreement, shown},
    golden::{Entry, Golden, hash, today},
    oracle,
    run::{Card, Results},
    vectors::Extent,
};
use std::collections::HashMap;

/// The results of all cases that the card takes. The notes name those that it does not, and results that are not as defined.
pub fn capture<'a>(card: &Card, cases: impl IntoIterator<Item = &'a Case>) -> (Golden, Vec<String>) {
    let (driver, date) = (card.driver_version(), today());
    let mut golden = Golden { card: card.name(), driver, date, entries: Vec::new() };
    let mut notes = Vec::new();
    for batch in batches(cases, Extent::Sample) {
        for (case, results) in batch.cases.iter().zip(batch.run(card)) {
            match results {
                Ok(results) => {
                    let how = disagreement(&batch, case, &results);
                    notes.extend(how.map(|how| format!("not as defined: {}: {how}", case.label)));
                    golden.entries.push(Entry::new(&batch, case, results));
                }
                Err(error) => notes.push(format!("skipped: {}: {error}", case.label)),
            }
        }
    }
    (golden, notes)
}

/// Results by label, with the batch and the case that they are of.
type Found<'a> = HashMap<&'a str, (&'a Batch<'a>, &'a Case, Result<Results, String>)>;

/// How the card's results differ from the golden ones: a text for each case that does. Bit for bit, but where the ISA gives
/// bounds, both must be within them.
pub fn replay<'a>(card: &Card, cases: impl IntoIterator<Item = &'a Case>, golden: &Golden) -> Vec<String> {
    let batches = batches(cases, Extent::Sample);
    let mut found = Found::new();
    for batch in &batches {
        let results = batch.run(card);
        found.extend(batch.cases.iter().zip(results).map(|(case, it)| (case.label.as_str(), (batch, *case, it))));
    }
    let differs = |entry: &Entry| difference(entry, &found).map(|how| format!("{}: {how}", entry.label));
    golden.entries.iter().filter_map(differs).collect()
}

fn difference(entry: &Entry, found: &Found) -> Option<String> {
    let Some((batch, case, results)) = found.get(entry.label.as_str()) else {
        return Some("there is no such case any more: capture again".to_owned());
    };
    if (entry.n, entry.hash) != (batch.n, hash(&batch.inputs)) || entry.results.len() != case.results.len() {
        return Some("its operands or results are others now: capture again".to_owned());
    }
    let results = match results {
        Ok(results) => results,
        Err(error) => return Some(error.clone()),
    };
    let Some(definition) = oracle::definition(case) else {
        return Some("the oracle has no definition of it".to_owned());
    };
    let wants = definition.wants(case, &batch.inputs, batch.n);
    let mut differences = Vec::new();
    for (k, want) in wants.iter().enumerate() {
        for (vector, want) in want.iter().enumerate() {
            let (golden, ours) = (entry.results[k][vector], results[k][vector]);
            let may_differ = want.is_approximate() && want.accepts(golden) && want.accepts(ours);
            if golden != ours && !may_differ {
                let operands = batch.operands(vector);
                differences
                    .push(format!("\n    d{k} of {operands:x?}: golden {golden:#x}, here {ours:#x}, defined {want}"));
            }
        }
    }
    shown(differences, batch.n * case.results.len())
}
