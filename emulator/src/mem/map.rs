//! Memory from the operating system: the pages behind device memory, and pinned host memory.
#![allow(unsafe_code)]

use std::{fs, ops::Range, ptr, sync::atomic::AtomicU64};

/// Pages of this process. They are zero at first, and only those that are written take memory.
#[derive(Debug)]
pub struct Mapping {
    base: u64,
    bytes: usize,
}

/// The size of a page, and of the guard behind a mapping.
pub const PAGE: u64 = 4096;

impl Mapping {
    /// Reserves `bytes`, a multiple of the page, without promising that there is memory for all of it.
    pub fn reserve(bytes: u64) -> Option<Self> {
        let bytes = usize::try_from(bytes).ok()?;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: an anonymous mapping at an address of the kernel's choice touches no memory that is in use.
        let base = unsafe { libc::mmap(ptr::null_mut(), bytes, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
        (base != libc::MAP_FAILED).then_some(Self { base: base as u64, bytes })
    }

    /// At least `bytes` of host memory followed by a page that nothing can touch.
    pub fn guarded(bytes: u64) -> Option<Self> {
        let usable = bytes.checked_next_multiple_of(PAGE)?;
        let mapping = Self::reserve(usable.checked_add(PAGE)?)?;
        // SAFETY: the last page belongs to `mapping`, and nobody has a pointer to it yet.
        let rc = unsafe { libc::mprotect((mapping.base + usable) as *mut _, PAGE as usize, libc::PROT_NONE) };
        (rc == 0).then_some(mapping)
    }

    /// The host address of the first byte.
    pub fn base(&self) -> u64 {
        self.base
    }

    /// Gives the memory of some pages back to the system; they read as zero afterwards.
    pub fn discard(&self, offset: u64, bytes: u64) {
        assert!(offset.is_multiple_of(PAGE) && offset + bytes <= self.bytes as u64, "{offset} + {bytes} in {self:?}");
        // SAFETY: the range is inside this mapping (asserted), which is private and anonymous, so that dropping its
        // contents is seen only by those who read freed device memory. A failure keeps the pages, which is harmless.
        unsafe { libc::madvise((self.base + offset) as *mut _, bytes as usize, libc::MADV_DONTNEED) };
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `mmap` with this size. Its owner drops it when no work uses it any more.
        unsafe { libc::munmap(self.base as *mut _, self.bytes) };
    }
}

/// Whether this process may read all of a range of addresses now, and write it if that `is_written`.
pub fn is_mapped(range: Range<u64>, is_written: bool) -> bool {
    // Without the list nothing is known to be missing.
    let Ok(maps) = fs::read_to_string("/proc/self/maps") else { return true };
    let mut at = range.start;
    // Mappings come in the order of their addresses: "55d0c000-55d0e000 rw-p ...".
    for line in maps.lines() {
        let mut words = line.split(['-', ' ']);
        let mut bound = || u64::from_str_radix(words.next()?, 16).ok();
        let (Some(start), Some(end)) = (bound(), bound()) else { continue };
        if end <= at {
            continue;
        }
        let rights = words.next().unwrap_or_default();
        if start > at || !rights.starts_with(if is_written { "rw" } else { "r" }) {
            return false;
        }
        at = end;
        if at >= range.end {
            return true;
        }
    }
    false
}

/// Zeros whose pages come from the system as they are touched, so that a huge table costs what is used of it.
pub fn zeros(n: usize) -> Box<[AtomicU64]> {
    let zeros = Box::new_zeroed_slice(n);
    // SAFETY: a zeroed AtomicU64 is one that holds 0.
    unsafe { zeros.assume_init() }
}

/// Memory that this process may use: the machine's, or its control group's if that is less.
pub fn host_memory_bytes() -> u64 {
    // SAFETY: `sysconf` only reads its argument.
    let n_pages = unsafe { libc::sysconf(libc::_SC_PHYS_PAGES) };
    let machine = u64::try_from(n_pages).unwrap_or(0) * PAGE;
    let group = fs::read_to_string("/sys/fs/cgroup/memory.max").ok().and_then(|text| text.trim().parse().ok());
    group.unwrap_or(machine).min(machine)
}
