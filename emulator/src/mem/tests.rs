//! Random sequences of allocations: no overlap, gaps, and exact accounts.

use super::{
    allocations::{ALIGNMENT, Allocations, DEVICE_BASE, NotAllocated, OutOfMemory},
    map::PAGE,
    region::Regions,
};

const CONTEXT: u64 = 1;
const TOTAL: u64 = 64 << 20;

/// A generator of repeatable choices (xorshift64*).
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) % n
    }
}

fn memory(reuses_at_once: bool) -> Allocations {
    Allocations::new(TOTAL, reuses_at_once, false).expect("there are addresses for 1 GiB")
}

/// Live allocations are sorted, aligned, and a page or more apart, on both sides of the map.
fn check(regions: &Regions) {
    for region in &regions.live {
        assert!(region.start >= DEVICE_BASE && region.start % ALIGNMENT == 0 && region.host % ALIGNMENT == 0);
    }
    for pair in regions.live.windows(2) {
        assert!(pair[0].end + PAGE <= pair[1].start, "{pair:x?}");
        let (mut first, mut second) = (pair[0], pair[1]);
        if second.host < first.host {
            (first, second) = (second, first);
        }
        assert!(first.host + (first.end - first.start) + PAGE <= second.host, "{pair:x?}");
    }
}

#[test]
fn random_sequences_keep_allocations_apart_and_accounts_exact() {
    for (seed, reuses_at_once) in (1..=20).flat_map(|seed| [(seed, true), (seed, false)]) {
        let mut random = Random(seed);
        let mut memory = memory(reuses_at_once);
        let mut live: Vec<(u64, u64)> = Vec::new();
        for _ in 0..600 {
            let used: u64 = live.iter().map(|it| it.1).sum();
            assert_eq!(memory.info(), (TOTAL - used, TOTAL));
            if random.below(100) < 55 {
                let n_bits = 1 + random.below(23);
                let bytes = 1 + random.below(1 << n_bits);
                match memory.allocate(bytes, CONTEXT) {
                    Ok(address) => live.push((address, bytes)),
                    Err(OutOfMemory) => assert!(bytes > TOTAL - used, "{bytes} bytes fit beside {used}"),
                }
            } else if !live.is_empty() {
                let (address, _) = live.swap_remove(random.below(live.len() as u64) as usize);
                assert_eq!(memory.free(address), Ok(()));
                assert_eq!(memory.free(address), Err(NotAllocated), "freed twice");
            }
            check(&memory.regions());
            assert_eq!(memory.regions().live.len(), live.len());
        }
        for (address, bytes) in live.drain(..) {
            assert!(memory.host(address, bytes).is_some() && memory.host(address, bytes + 1).is_none());
            assert!(memory.host(address - 1, 1).is_none(), "the guard before an allocation belongs to nobody");
            memory.free(address).unwrap();
        }
        assert_eq!(memory.info(), (TOTAL, TOTAL));
        let all = memory.allocate(TOTAL, CONTEXT).expect("free blocks are joined again");
        memory.free(all).unwrap();
    }
}

#[test]
fn freed_addresses_come_back_at_once_or_only_when_nothing_else_is_left() {
    let first_reuse = |reuses_at_once| {
        let mut memory = memory(reuses_at_once);
        let mut seen = Vec::new();
        (0..100_000).find(|_| {
            let address = memory.allocate(1 << 20, CONTEXT).unwrap();
            memory.free(address).unwrap();
            let page = address / PAGE;
            let is_old = seen.contains(&page);
            seen.push(page);
            is_old
        })
    };
    assert_eq!(first_reuse(true), Some(1));
    // 1 GiB of addresses, in blocks of 1 MiB, the part of a page that the place moves on, and a guard.
    let n = first_reuse(false).expect("addresses are used again in the end");
    assert!((1000..1024).contains(&n), "{n}");
}

#[test]
fn a_stale_address_is_described_as_freed() {
    let mut memory = memory(false);
    let address = memory.allocate(100, CONTEXT).unwrap();
    memory.free(address).unwrap();
    let text = memory.regions().describe(address + 7);
    assert!(text.contains("byte 7 of allocation #0 (100 bytes), which was freed"), "{text}");
}

#[test]
fn an_address_behind_an_allocation_is_described_by_it_and_not_by_what_was_there_before() {
    let mut memory = memory(true);
    let large = memory.allocate(1000, CONTEXT).unwrap();
    memory.free(large).unwrap();
    let small = memory.allocate(100, CONTEXT).unwrap();
    assert!((large..large + 1000).contains(&(small + 100)), "the addresses are used again");
    let text = memory.regions().describe(small + 100);
    assert!(text.starts_with("0 bytes after the end of allocation #1"), "{text}");
}

#[test]
fn memory_on_its_way_out_counts_as_free_but_is_still_there() {
    let mut memory = memory(true);
    let address = memory.allocate(TOTAL, CONTEXT).unwrap();
    assert_eq!(memory.allocate(1, CONTEXT), Err(OutOfMemory));
    let id = memory.begin_free(address).unwrap();
    assert_eq!(memory.info(), (TOTAL, TOTAL));
    assert!(memory.begin_free(address).is_err() && memory.free(address).is_err());
    assert!(memory.host(address, TOTAL).is_some());
    let other = memory.allocate(1, CONTEXT).unwrap();
    memory.finish_free(id);
    assert!(memory.host(address, 1).is_none() && memory.host(other, 1).is_some());
}

#[test]
fn only_the_first_address_of_an_allocation_frees_it() {
    let mut memory = memory(true);
    let address = memory.allocate(1000, CONTEXT).unwrap();
    let pinned = memory.pin(1000, 0, CONTEXT).unwrap();
    for wrong in [address + 1, address + 256, address - 1, 0, u64::MAX, pinned] {
        assert_eq!(memory.free(wrong), Err(NotAllocated), "{wrong:#x}");
    }
    for wrong in [pinned + 1, address, 0, u64::MAX] {
        assert_eq!(memory.unpin(wrong, false), Err(NotAllocated), "{wrong:#x}");
    }
    assert_eq!(memory.unpin(pinned, true), Err(NotAllocated), "pinned is not registered");
    assert_eq!((memory.free(address), memory.unpin(pinned, false)), (Ok(()), Ok(())));
}

#[test]
fn pinned_and_registered_memory_has_its_host_address() {
    let mut memory = memory(true);
    let mut own = vec![0u8; 5000];
    let address = own.as_mut_ptr() as u64;
    assert!(memory.register(address, 5000, 0, CONTEXT));
    for (start, bytes) in [(address, 1), (address + 4999, 1), (address - 10, 11)] {
        assert!(!memory.register(start, bytes, 0, CONTEXT), "overlaps what is registered");
    }
    let pinned = memory.pin(10, 0, CONTEXT).unwrap();
    for (address, bytes) in [(address, 5000), (pinned, 10)] {
        assert_eq!(memory.host(address, bytes), Some(address));
        assert_eq!(memory.host(address + 1, bytes), None);
    }
    assert_eq!(memory.info(), (TOTAL, TOTAL), "host memory is not device memory");
    assert_eq!(memory.regions().live.len(), 2);
    assert_eq!(memory.unpin(address, true), Ok(()));
}

#[test]
fn a_context_takes_its_memory_along() {
    let mut memory = memory(true);
    let kept = memory.allocate(10, CONTEXT + 1).unwrap();
    let going = memory.allocate(20, CONTEXT).unwrap();
    memory.begin_free(going).unwrap();
    memory.allocate(30, CONTEXT).unwrap();
    memory.pin(40, 0, CONTEXT).unwrap();
    memory.free_context(CONTEXT);
    assert_eq!(memory.info(), (TOTAL - 10, TOTAL));
    assert_eq!(memory.regions().live.iter().map(|it| it.start).collect::<Vec<_>>(), [kept]);
}

#[test]
fn sizes_without_end_are_out_of_memory() {
    let mut memory = memory(true);
    for bytes in [TOTAL + 1, u64::MAX, u64::MAX - PAGE] {
        assert_eq!(memory.allocate(bytes, CONTEXT), Err(OutOfMemory));
        assert_eq!(memory.host(DEVICE_BASE, bytes), None);
    }
    assert_eq!(memory.pin(u64::MAX, 0, CONTEXT), Err(OutOfMemory));
}

/// Snapshots that readers took do not change.
#[test]
fn a_snapshot_stays_as_it_was() {
    let mut memory = memory(true);
    let address = memory.allocate(10, CONTEXT).unwrap();
    let before = memory.regions();
    memory.free(address).unwrap();
    assert!(before.find(address).is_some() && memory.regions().find(address).is_none());
}
