//! The names of a function: `{ }` opens a scope, and the innermost one that knows a name wins.
//!
//! Inline assembly in an unrolled loop declares the same registers and labels once per copy, each in its own braces.

use super::super::ast::{LabelId, RegisterId, Symbol};
use std::collections::HashMap;

/// Deeper than any compiler nests, and shallow enough to look a name up by walking outwards.
const MAX_DEPTH: usize = 64;

#[derive(Clone, Debug)]
pub(super) enum Name {
    Register(RegisterId),
    Symbol(Symbol),
}

#[derive(Default)]
struct Scope<'t> {
    outer: Option<usize>,
    names: HashMap<&'t str, Name>,
    /// `%r<214>` by its prefix: the first register and how many there are.
    ranges: HashMap<&'t str, (u32, u32)>,
    labels: HashMap<&'t str, LabelId>,
}

impl<'t> Scope<'t> {
    fn get(&self, name: &str) -> Option<Name> {
        self.names.get(name).cloned().or_else(|| self.in_range(name))
    }

    /// `%r12` is number 12 of `%r`, or number 2 of `%r1`: every way to split the trailing digits is tried.
    fn in_range(&self, name: &str) -> Option<Name> {
        if self.ranges.is_empty() {
            return None;
        }
        let digits = name.bytes().rev().take_while(u8::is_ascii_digit).count();
        // A number of more than ten digits is no u32, and trying every split of it would be slow.
        (name.len() - digits.min(10)..name.len()).find_map(|split| {
            let (prefix, number) = name.split_at(split);
            let &(first, count) = self.ranges.get(prefix)?;
            let canonical = number == "0" || !number.starts_with('0');
            let number = number.parse::<u32>().ok().filter(|&number| canonical && number < count)?;
            Some(Name::Register(RegisterId(first + number)))
        })
    }
}

/// All scopes of one function, kept until its end because a branch may go forward.
pub(super) struct Scopes<'t> {
    scopes: Vec<Scope<'t>>,
    current: usize,
    depth: usize,
}

impl<'t> Scopes<'t> {
    pub fn new() -> Self {
        Scopes { scopes: vec![Scope::default()], current: 0, depth: 1 }
    }

    pub fn current(&self) -> usize {
        self.current
    }

    /// False when there are too many open already.
    pub fn open(&mut self) -> bool {
        if self.depth == MAX_DEPTH {
            return false;
        }
        self.scopes.push(Scope { outer: Some(self.current), ..Scope::default() });
        self.current = self.scopes.len() - 1;
        self.depth += 1;
        true
    }

    /// False when this was the function's own.
    pub fn close(&mut self) -> bool {
        self.depth -= 1;
        let outer = self.scopes[self.current].outer;
        self.current = outer.unwrap_or(0);
        outer.is_some()
    }

    /// False when the current scope has the name already.
    pub fn declare(&mut self, name: &'t str, meaning: Name) -> bool {
        let scope = &mut self.scopes[self.current];
        scope.get(name).is_none() && scope.names.insert(name, meaning).is_none()
    }

    /// `count` registers from `first` on, called `prefix` and their number.
    pub fn declare_range(&mut self, prefix: &'t str, first: u32, count: u32) -> bool {
        self.scopes[self.current].ranges.insert(prefix, (first, count)).is_none()
    }

    pub fn declare_label(&mut self, name: &'t str, label: LabelId) -> bool {
        self.scopes[self.current].labels.insert(name, label).is_none()
    }

    pub fn lookup(&self, name: &str) -> Option<Name> {
        self.outwards(self.current).find_map(|scope| scope.get(name))
    }

    /// The label that a branch in `scope` means.
    pub fn label(&self, scope: usize, name: &str) -> Option<LabelId> {
        self.outwards(scope).find_map(|scope| scope.labels.get(name).copied())
    }

    fn outwards(&self, scope: usize) -> impl Iterator<Item = &Scope<'t>> {
        let chain = std::iter::successors(Some(scope), |&scope| self.scopes[scope].outer);
        chain.map(|scope| &self.scopes[scope])
    }
}
