//! Device memory: what is allocated, and where the bytes of a device address are on the host.

pub mod allocations;
pub mod arena;
pub mod shadow;
pub mod table;
pub mod map;
pub mod region;

#[cfg(test)]
mod tests;
