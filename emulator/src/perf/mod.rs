//! Exact counts of what a launch did.

pub mod meter;

/// What a launch did. Exact and repeatable: the same launch gives the same counts on any machine, with any number of
/// threads. The memory counts stay 0 in `fast` mode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Counters {
    /// Instructions, counted once a warp.
    pub warp_instructions: u64,
    /// Instructions, counted once for every lane that executes them.
    pub lane_instructions: u64,
    /// 32-byte sectors that the warps' global accesses touched.
    pub global_sectors: u64,
    /// The least number of sectors that could hold the bytes of each warp's global access.
    pub global_sectors_ideal: u64,
    /// Bytes that lanes asked for from global memory; lanes that ask for the same bytes count once.
    pub global_bytes: u64,
}

/// The unit in which a GPU moves global memory.
const SECTOR_BYTES: u64 = 32;

impl Counters {
    /// A warp touched `bytes` bytes in a row.
    #[inline(always)]
    pub fn count_contiguous(&mut self, address: u64, bytes: u64) {
        self.global_sectors += (address + bytes - 1) / SECTOR_BYTES - address / SECTOR_BYTES + 1;
        self.global_sectors_ideal += bytes.div_ceil(SECTOR_BYTES);
        self.global_bytes += bytes;
    }

    /// A warp touched `bytes` aligned bytes at each of these addresses.
    pub fn count_scattered(&mut self, addresses: &mut [u64], bytes: u64) {
        addresses.sort_unstable();
        let (mut n_unique, mut n_sectors, mut last_sector) = (0, 0, None);
        for (i, &address) in addresses.iter().enumerate() {
            if i > 0 && addresses[i - 1] == address {
                continue;
            }
            n_unique += 1;
            for sector in address / SECTOR_BYTES..=(address + bytes - 1) / SECTOR_BYTES {
                n_sectors += u64::from(last_sector != Some(sector));
                last_sector = Some(sector);
            }
        }
        self.global_sectors += n_sectors;
        self.global_sectors_ideal += (n_unique * bytes).div_ceil(SECTOR_BYTES);
        self.global_bytes += n_unique * bytes;
    }

    pub fn add(&mut self, other: &Counters) {
        self.warp_instructions += other.warp_instructions;
        self.lane_instructions += other.lane_instructions;
        self.global_sectors += other.global_sectors;
        self.global_sectors_ideal += other.global_sectors_ideal;
        self.global_bytes += other.global_bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sectors() {
        let mut counters = Counters::default();
        counters.count_contiguous(0x100, 512);
        assert_eq!((counters.global_sectors, counters.global_sectors_ideal), (16, 16));
        counters.count_contiguous(0x110, 512);
        assert_eq!((counters.global_sectors, counters.global_sectors_ideal), (33, 32));
        let mut counters = Counters::default();
        counters.count_scattered(&mut [0x140, 0x100, 0x100, 0x104], 4);
        assert_eq!((counters.global_sectors, counters.global_sectors_ideal, counters.global_bytes), (2, 1, 12));
    }
}
