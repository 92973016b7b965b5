//! Cases that share their inputs, and so a module.

use crate::conformance::{
    cases::{Case, Operand},
    run::{Card, Results},
    vectors::{Extent, LANES, vectors},
};

/// Kernels of a module.
const MOST: usize = 64;

/// Cases with the same operands, and what they run on.
pub struct Batch<'a> {
    pub cases: Vec<&'a Case>,
    pub inputs: Vec<Vec<u64>>,
    /// Vectors; whole warps.
    pub n: usize,
}

/// The cases, grouped; each group in the cases' order.
pub fn batches<'a>(cases: impl IntoIterator<Item = &'a Case>, extent: Extent) -> Vec<Batch<'a>> {
    let mut groups: Vec<(&[Operand], Vec<&Case>)> = Vec::new();
    for case in cases {
        match groups.iter_mut().find(|(operands, cases)| *operands == case.operands && cases.len() < MOST) {
            Some((_, cases)) => cases.push(case),
            None => groups.push((&case.operands, vec![case])),
        }
    }
    let batch = |(operands, cases)| {
        let inputs = vectors(operands, extent);
        let n = inputs.first().map_or(LANES, Vec::len);
        Batch { cases, inputs, n }
    };
    groups.into_iter().map(batch).collect()
}

impl Batch<'_> {
    /// The results of each case, or why there are none. Where the module is refused, each case is tried alone.
    pub fn run(&self, card: &Card) -> Vec<Result<Results, String>> {
        match card.run(&self.cases, &self.inputs, self.n) {
            Ok(results) => results.into_iter().map(Ok).collect(),
            Err(error) if self.cases.len() == 1 => vec![Err(error)],
            Err(_) => self.cases.iter().map(|case| self.run_alone(card, case)).collect(),
        }
    }

    fn run_alone(&self, card: &Card, case: &Case) -> Result<Results, String> {
        card.run(&[case], &self.inputs, self.n).map(|mut results| results.remove(0))
    }

    pub fn operands(&self, vector: usize) -> Vec<u64> {
        self.inputs.iter().map(|it| it[vector]).collect()
    }
}
