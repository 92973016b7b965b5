//! What goes wrong in device code, and how it is found and reported.

pub mod fault;
pub mod global;
pub mod shared;
