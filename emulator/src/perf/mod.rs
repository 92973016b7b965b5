//! Exact counts of what a launch did.

/// What a launch did. Exact and repeatable: the same launch gives the same counts on any machine, with any number of
/// threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Instructions, counted once a warp.
    pub warp_instructions: u64,
    /// Instructions, counted once for every lane that executes them.
    pub lane_instructions: u64,
    /// 32-byte sectors that the warps' global accesses touched.
    pub global_sectors: u64,
    /// The least number of sectors that could hold the bytes of each warp's global access.
    pub global_sectors_ideal: u64,
    /// Bytes that lanes asked for from global memory.
    pub global_bytes: u64,
}
