//! Device memory: what is allocated, and where the bytes of a device address are on the host.

pub mod region;
