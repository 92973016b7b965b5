//! What is allocated: device memory out of one reserved mapping, pinned host memory, and host memory that a program
//! registered.
//!
//! A device address is not a host address: device memory starts at [`DEVICE_BASE`], which no x86-64 process can map, so a
//! host pointer given to a kernel faults in the emulator, and a device pointer used by the host faults in the host.
//! Pinned and registered memory have one address for both, as CUDA's unified addressing says.
//!
//! Device addresses are multiples of 256 and of no more than that: the place in the page moves on with each allocation,
//! so that code which counts on more alignment than CUDA promises is seen. Behind each allocation at least one page is
//! left unused.

use super::{
    arena::{Arena, Block},
    map::{Mapping, PAGE},
    region::{Region, Regions},
    shadow::Shadow,
};
use std::{collections::BTreeMap, sync::Arc};

/// The first device address. It lies in the hole between the two halves of the x86-64 address space.
pub const DEVICE_BASE: u64 = 1 << 48;

/// Device addresses are multiples of this.
pub const ALIGNMENT: u64 = 256;

/// Freed blocks of at least this size give their pages back.
const DISCARD_BYTES: u64 = 64 << 10;

/// How many freed allocations are remembered for messages.
const N_FREED: usize = 256;

/// Where an allocation's bytes are.
#[derive(Debug)]
pub enum Kind {
    /// Device memory: its block, and whether `cuMemFreeAsync` has been called on it.
    Device { block: Block, is_going: bool },
    /// Pinned memory made here, and the flags it was made with.
    Pinned { mapping: Mapping, flags: u32 },
    /// Memory of the program.
    Registered { flags: u32 },
}

/// A live allocation.
#[derive(Debug)]
pub struct Allocation {
    pub region: Region,
    pub kind: Kind,
    /// The context it was made in.
    pub context: u64,
}

impl Allocation {
    /// What was asked for.
    pub fn bytes(&self) -> u64 {
        self.region.end - self.region.start
    }

    /// Pinned or registered.
    pub fn is_host(&self) -> bool {
        !matches!(self.kind, Kind::Device { .. })
    }
}

/// An allocation that is on its way out. Its address may be given out again once it is gone.
#[derive(Clone, Copy, Debug)]
pub struct AllocationId {
    address: u64,
    id: u64,
}

/// There is not enough memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfMemory;

/// No allocation starts there, or it is not of the kind that was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAllocated;

/// All of the memory that device code can reach.
#[derive(Debug)]
pub struct Allocations {
    device: Mapping,
    /// When it is wanted.
    shadow: Option<Arc<Shadow>>,
    arena: Arena,
    /// By first address.
    live: BTreeMap<u64, Allocation>,
    /// The same for readers, who keep what they took; made anew when something changes.
    regions: Arc<Regions>,
    n_made: u64,
    total_bytes: u64,
    used_bytes: u64,
    reuses_at_once: bool,
}

impl Allocations {
    /// Memory for `total_bytes` of device allocations, with a [`Shadow`] if it is wanted. `None` when the system has no
    /// address space for it.
    pub fn new(total_bytes: u64, reuses_at_once: bool, has_shadow: bool) -> Option<Self> {
        let total_bytes = total_bytes.next_multiple_of(PAGE);
        let reserve = |bytes| {
            let shadow = if has_shadow { Some(Arc::new(Shadow::reserve(bytes)?)) } else { None };
            Some((Mapping::reserve(bytes)?, shadow, bytes))
        };
        // More addresses than memory, for the guards and for the addresses that are not used again.
        let (device, shadow, bytes) = [16, 4, 2].iter().map(|factor| factor * total_bytes).find_map(reserve)?;
        Some(Self {
            device,
            shadow,
            arena: Arena::new(bytes, reuses_at_once),
            live: BTreeMap::new(),
            regions: Arc::default(),
            n_made: 0,
            total_bytes,
            used_bytes: 0,
            reuses_at_once,
        })
    }

    /// (free, total) device memory. Exact: `total` less the bytes asked for, without rounding.
    pub fn info(&self) -> (u64, u64) {
        (self.total_bytes - self.used_bytes, self.total_bytes)
    }

    /// The live allocations, as they are now.
    pub fn regions(&self) -> Arc<Regions> {
        Arc::clone(&self.regions)
    }

    /// What is known about the bytes of device memory.
    pub fn shadow(&self) -> Option<&Arc<Shadow>> {
        self.shadow.as_ref()
    }

    /// The live allocation that holds the whole range.
    pub fn find(&self, address: u64, bytes: u64) -> Option<&Allocation> {
        let allocation = self.live.range(..=address).next_back()?.1;
        (address.checked_add(bytes.max(1))? <= allocation.region.end).then_some(allocation)
    }

    /// The host address of a range inside one live allocation.
    pub fn host(&self, address: u64, bytes: u64) -> Option<u64> {
        self.find(address, bytes).map(|it| it.region.host + (address - it.region.start))
    }

    /// Allocates device memory and returns its address.
    ///
    /// # Errors
    /// When less is free.
    pub fn allocate(&mut self, bytes: u64, context: u64) -> Result<u64, OutOfMemory> {
        assert!(bytes > 0, "an allocation has at least one byte");
        if bytes > self.total_bytes - self.used_bytes {
            return Err(OutOfMemory);
        }
        let skew = ALIGNMENT * (self.n_made % (PAGE / ALIGNMENT));
        let block = self.arena.take(skew + bytes).ok_or(OutOfMemory)?;
        self.used_bytes += bytes;
        let start = block.start + skew;
        let kind = Kind::Device { block, is_going: false };
        Ok(self.insert(DEVICE_BASE + start, self.device.base() + start, bytes, kind, context))
    }

    /// Makes the allocation at `address` one that device code may not write.
    pub fn make_constant(&mut self, address: u64) {
        self.live.get_mut(&address).expect("an allocation starts there").region.is_constant = true;
        let regions = Arc::make_mut(&mut self.regions);
        let region = regions.live.iter_mut().find(|it| it.start == address);
        region.expect("the readers' list has every allocation").is_constant = true;
    }

    /// Allocates pinned host memory and returns its address, for host and device.
    ///
    /// # Errors
    /// When the system has none.
    pub fn pin(&mut self, bytes: u64, flags: u32, context: u64) -> Result<u64, OutOfMemory> {
        assert!(bytes > 0, "an allocation has at least one byte");
        let mapping = Mapping::guarded(bytes).ok_or(OutOfMemory)?;
        let base = mapping.base();
        Ok(self.insert(base, base, bytes, Kind::Pinned { mapping, flags }, context))
    }

    /// Makes the program's own memory reachable for device code. False when some of it already is.
    pub fn register(&mut self, address: u64, bytes: u64, flags: u32, context: u64) -> bool {
        let is_taken = self.live.range(..address + bytes).next_back().is_some_and(|it| it.1.region.end > address);
        if !is_taken {
            self.insert(address, address, bytes, Kind::Registered { flags }, context);
        }
        !is_taken
    }

    /// Counts device memory as free although work that uses it may still be queued. [`free`](Self::free) follows when
    /// the queue gets there.
    ///
    /// # Errors
    /// When no device allocation starts there, or this was done before.
    pub fn begin_free(&mut self, address: u64) -> Result<AllocationId, NotAllocated> {
        match self.live.get_mut(&address) {
            Some(Allocation { region, kind: Kind::Device { is_going, .. }, .. }) if !*is_going => {
                *is_going = true;
                self.used_bytes -= region.end - region.start;
                Ok(AllocationId { address, id: region.id })
            }
            _ => Err(NotAllocated),
        }
    }

    /// Frees device memory that [`begin_free`](Self::begin_free) counted as free. Its context may have freed it since.
    pub fn finish_free(&mut self, AllocationId { address, id }: AllocationId) {
        if self.live.get(&address).is_some_and(|it| it.region.id == id) {
            self.remove(address);
        }
    }

    /// Frees device memory.
    ///
    /// # Errors
    /// When no device allocation starts there, or it was freed before.
    pub fn free(&mut self, address: u64) -> Result<(), NotAllocated> {
        let id = self.begin_free(address)?;
        self.finish_free(id);
        Ok(())
    }

    /// Frees pinned memory, or ends a registration.
    ///
    /// # Errors
    /// When nothing pinned (or registered, if `is_registered`) starts there.
    pub fn unpin(&mut self, address: u64, is_registered: bool) -> Result<(), NotAllocated> {
        match self.live.get(&address) {
            Some(it) if it.is_host() && matches!(it.kind, Kind::Registered { .. }) == is_registered => {
                self.remove(address);
                Ok(())
            }
            _ => Err(NotAllocated),
        }
    }

    /// What was allocated in a context and not freed, by address. Registered memory is the program's own.
    pub fn of_context(&self, context: u64) -> impl Iterator<Item = &Allocation> {
        let is_kept =
            |it: &&Allocation| !matches!(it.kind, Kind::Device { is_going: true, .. } | Kind::Registered { .. });
        self.live.values().filter(move |it| it.context == context).filter(is_kept)
    }

    /// The allocation that starts at `address`, if one does.
    pub fn id(&self, address: u64) -> Option<AllocationId> {
        self.live.get(&address).map(|it| AllocationId { address, id: it.region.id })
    }

    /// Frees device memory, unless that was done before.
    pub fn free_id(&mut self, id: AllocationId) {
        if self.id(id.address).is_some_and(|it| it.id == id.id) {
            let _ = self.begin_free(id.address);
            self.remove(id.address);
        }
    }

    /// Frees everything that was made in a context that is gone.
    pub fn free_context(&mut self, context: u64) {
        let addresses: Vec<u64> = self.live.iter().filter(|it| it.1.context == context).map(|it| *it.0).collect();
        for address in addresses {
            // Device memory may be on its way out already, and then is no longer counted.
            let _ = self.begin_free(address);
            self.remove(address);
        }
    }

    fn insert(&mut self, start: u64, host: u64, bytes: u64, kind: Kind, context: u64) -> u64 {
        let region = Region { start, end: start + bytes, host, id: self.n_made, is_constant: false };
        self.n_made += 1;
        self.live.insert(start, Allocation { region, kind, context });
        let regions = Arc::make_mut(&mut self.regions);
        // What lies in or next to it is told of the new allocation, no longer of one that was there before.
        regions.freed.retain(|it| it.end <= region.start || region.end <= it.start);
        let at = regions.live.partition_point(|it| it.start < start);
        regions.live.insert(at, region);
        start
    }

    fn remove(&mut self, address: u64) {
        let allocation = self.live.remove(&address).expect("the caller found it");
        let regions = Arc::make_mut(&mut self.regions);
        regions.live.retain(|it| it.start != address);
        if regions.freed.len() == N_FREED {
            regions.freed.remove(0);
        }
        regions.freed.push(allocation.region);
        if let Kind::Device { block, .. } = allocation.kind {
            if let Some(shadow) = &self.shadow {
                shadow.forget(block.start..block.start + block.bytes);
            }
            if block.bytes >= DISCARD_BYTES || !self.reuses_at_once {
                self.device.discard(block.start, block.bytes);
            }
            self.arena.give_back(block);
        }
    }
}
