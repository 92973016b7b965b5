//! The cards that can be presented: the numbers a program asks the driver for.
//!
//! Sources: NVIDIA's CUDA programming guide (technical specifications per compute capability) for the limits per SM and
//! block; the data sheets of each card for SMs, clocks, buses and caches.

/// What a card is, as far as a program can ask.
#[derive(Debug)]
pub struct Card {
    /// The value of `CUDA_EMULATOR_GPU`.
    pub key: &'static str,
    /// The device name: says that it is not the card itself.
    pub name: &'static str,
    pub compute_capability: (u32, u32),
    pub n_sms: u32,
    pub memory_bytes: u64,
    pub clock_khz: u32,
    pub memory_clock_khz: u32,
    pub memory_bus_bits: u32,
    pub l2_bytes: u32,
    pub max_threads_per_sm: u32,
    pub max_blocks_per_sm: u32,
    pub shared_bytes_per_sm: u32,
    /// The most a block can have after `CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES` was raised.
    pub shared_bytes_per_block_optin: u32,
}

const MIB: u32 = 1 << 20;

impl Card {
    /// What every card since compute capability 8.0 shares.
    pub const MAX_THREADS_PER_BLOCK: u32 = 1024;
    pub const MAX_BLOCK: [u32; 3] = [1024, 1024, 64];
    pub const MAX_GRID: [u32; 3] = [0x7fff_ffff, 65535, 65535];
    /// The most a block can have without asking for more.
    pub const SHARED_BYTES_PER_BLOCK: u32 = 48 << 10;
    /// What the system takes of the SM's shared memory for each block.
    pub const SHARED_BYTES_RESERVED: u32 = 1 << 10;
    pub const N_REGISTERS: u32 = 64 << 10;
    pub const WARP: u32 = 32;

    /// The first is the default.
    pub const ALL: [&'static Self; 4] = [&H100, &H200, &A100, &RTX4090];

    /// How many blocks of `n_threads` with `shared_bytes` of shared memory an SM holds, by threads and shared memory
    /// alone: registers per thread are decided by ptxas, which the emulator does not have.
    pub fn max_resident_blocks(&self, n_threads: u32, shared_bytes: u32) -> u32 {
        let n_threads = n_threads.max(1).next_multiple_of(Self::WARP);
        let by_threads = self.max_threads_per_sm / n_threads;
        let by_shared = self.shared_bytes_per_sm / shared_bytes.saturating_add(Self::SHARED_BYTES_RESERVED);
        by_threads.min(by_shared).min(self.max_blocks_per_sm)
    }
}

static H100: Card = Card {
    key: "h100",
    name: "CUDA emulator (H100)",
    compute_capability: (9, 0),
    n_sms: 132,
    memory_bytes: 81_559 * MIB as u64,
    clock_khz: 1_980_000,
    memory_clock_khz: 2_619_000,
    memory_bus_bits: 5120,
    l2_bytes: 50 * MIB,
    max_threads_per_sm: 2048,
    max_blocks_per_sm: 32,
    shared_bytes_per_sm: 228 << 10,
    shared_bytes_per_block_optin: 227 << 10,
};

static H200: Card = Card {
    key: "h200",
    name: "CUDA emulator (H200)",
    memory_bytes: 143_771 * MIB as u64,
    memory_clock_khz: 3_201_000,
    memory_bus_bits: 6144,
    l2_bytes: 60 * MIB,
    ..H100
};

static A100: Card = Card {
    key: "a100",
    name: "CUDA emulator (A100)",
    compute_capability: (8, 0),
    n_sms: 108,
    memory_bytes: 81_920 * MIB as u64,
    clock_khz: 1_410_000,
    memory_clock_khz: 1_593_000,
    memory_bus_bits: 5120,
    l2_bytes: 40 * MIB,
    max_threads_per_sm: 2048,
    max_blocks_per_sm: 32,
    shared_bytes_per_sm: 164 << 10,
    shared_bytes_per_block_optin: 163 << 10,
};

static RTX4090: Card = Card {
    key: "rtx4090",
    name: "CUDA emulator (RTX 4090)",
    compute_capability: (8, 9),
    n_sms: 128,
    memory_bytes: 24_564 * MIB as u64,
    clock_khz: 2_520_000,
    memory_clock_khz: 10_501_000,
    memory_bus_bits: 384,
    l2_bytes: 72 * MIB,
    max_threads_per_sm: 1536,
    max_blocks_per_sm: 24,
    shared_bytes_per_sm: 100 << 10,
    shared_bytes_per_block_optin: 99 << 10,
};
