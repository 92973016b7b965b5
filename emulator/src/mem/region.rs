//! The map from device addresses to host bytes, as one launch sees it.

/// One live allocation: device addresses `start..end`, whose bytes are at `host` on this machine.
#[derive(Clone, Copy, Debug)]
pub struct Region {
    pub start: u64,
    pub end: u64,
    /// Host address of the byte at `start`. Kept as an integer: memory that other threads write is never a `&[u8]`.
    pub host: u64,
    /// Counts allocations of the process, for messages.
    pub id: u64,
    /// `.const` memory, which device code may not write.
    pub is_constant: bool,
}

/// The live allocations, sorted by `start`; they don't overlap and there is a gap between any two.
#[derive(Clone, Debug, Default)]
pub struct Regions {
    pub live: Vec<Region>,
    /// Allocations that were freed lately, for messages about use after free; not sorted.
    pub freed: Vec<Region>,
}

impl Regions {
    /// The live allocation that holds `address`.
    pub fn find(&self, address: u64) -> Option<&Region> {
        let after = self.live.partition_point(|region| region.start <= address);
        self.live[..after].last().filter(|region| address < region.end)
    }

    /// Adds memory of the host, at its own address, for one launch.
    pub fn add_host(&mut self, address: u64, bytes: u64) {
        let at = self.live.partition_point(|it| it.start < address);
        let (start, end, host) = (address, address + bytes, address);
        self.live.insert(at, Region { start, end, host, id: 0, is_constant: false });
    }

    /// Says in words what `address` is nearest to: for messages.
    pub fn describe(&self, address: u64) -> String {
        if let Some(region) = self.find(address) {
            let Region { start, end, id, .. } = region;
            return format!("byte {} of allocation #{id} ({} bytes at {start:#x})", address - start, end - start);
        }
        if let Some(region) = self.freed.iter().find(|it| (it.start..it.end).contains(&address)) {
            let Region { start, end, id, .. } = region;
            return format!("byte {} of allocation #{id} ({} bytes), which was freed", address - start, end - start);
        }
        let after = self.live.partition_point(|region| region.start <= address);
        match self.live[..after].last() {
            Some(Region { start, end, id, .. }) => {
                format!(
                    "{} bytes after the end of allocation #{id} ({} bytes at {start:#x})",
                    address - end,
                    end - start
                )
            }
            None => "below every allocation".to_owned(),
        }
    }
}
