//! The launchers: shape asserts, grid and bytes moved of each kernel, one file an operation.

mod copy;

pub use copy::Copy;
