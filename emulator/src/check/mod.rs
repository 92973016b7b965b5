//! What goes wrong in device code, and how it is reported.

pub mod fault;
