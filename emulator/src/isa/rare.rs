//! Rare instructions, in chapters that chain as the common ones do: [`integer`], `float`, `convert`.
//!
//! They are compiled once, for the baseline CPU, and not for every vector unit: they have more modifiers than uses.

pub(crate) mod integer;
pub(crate) mod float;
pub(crate) mod convert;

pub(crate) use convert::rare_convert;
pub(crate) use float::rare_float;
pub(crate) use integer::rare_integer;
