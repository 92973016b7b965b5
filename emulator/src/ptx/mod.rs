//! PTX text to a tree: `lex` makes tokens, [`parse()`] makes the tree of [`ast`].
//!
//! Every name is resolved here (registers, labels, variables, and the `{ }` scopes that inline assembly opens), and
//! every instruction keeps its PTX line and the `.loc` chain that leads to the `.cu` line. Opcodes stay text: which of
//! them exist, and what operands they take, is not known here.
//!
//! # What is accepted
//!
//! What nvcc 13.0 emits, and the same written by hand:
//!
//! - Module scope: `.version`, `.target`, `.address_size 64`; `.global`, `.const` and `.shared` variables, arrays and
//!   vectors, with initialisers; `.entry` and `.func`, declared or defined; `.file`, `.section`, `.pragma`. `.visible`,
//!   `.weak` and `.common` say nothing here. A definition takes the place of the declarations of its name.
//! - Function heads: `.maxntid` and `.reqntid` are kept; `.minnctapersm`, `.maxnreg`, `.noreturn` and the cluster
//!   directives are read and dropped.
//! - Bodies: `.reg` names and ranges, `.shared`, `.local` and `.param` variables, labels, guards, scopes, `.loc`.
//!   Registers and variables are declared before their use, labels anywhere in the scope of the branch or around it.
//! - Operands: see [`ast::Operand`]. The coordinates of a tensor map follow the address within the brackets,
//!   `[%rd1, {%r1, %r2}]`; that is a [`Vector`](ast::Operand::Vector) of the address and the vector of coordinates.
//!   The operands of `call (r), f, (a, b)` are `Arguments`, `Symbol(Function)`, `Arguments`, where the first is missing
//!   if nothing is returned.
//! - `.loc … inlined_at` leads to the last `.loc` of that place in the same function, and so to the whole chain of
//!   callers. Names from `.debug_str` lose their mangling where that is simple: `_ZN2ns4lvl1Ef` is `lvl1`.
//!
//! # What is refused
//!
//! With an error that names the place: vector registers and
//! `.b128` registers, textures, surfaces and `.alias`, `.reg` parameters, variables of the module declared in a body,
//! constant expressions other than `-`, names with an offset outside of brackets, and 32-bit addresses. Bounds on
//! registers, array sizes and nesting keep every text from exhausting memory or stack.

pub mod ast;
mod demangle;
mod lex;
mod parse;

pub use parse::parse;
