//! What goes wrong in device code, and how it is found and reported.

mod clocks;
pub mod fault;
pub mod global;
pub mod shared;
