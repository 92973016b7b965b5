//! PTX text to a tree: `lex` makes tokens, `parse` makes the tree of `ast`.
//!
//! Every name is resolved here (registers, labels, variables, and the `{ }` scopes that inline assembly opens), and
//! every instruction keeps its PTX line and the `.loc` chain that leads to the `.cu` line.

pub mod ast;
mod demangle;
mod lex;
mod parse;

pub use parse::parse;
