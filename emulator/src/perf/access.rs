//! What one memory instruction of a warp costs: sectors of global memory, wavefronts of shared memory.

use crate::exec::observe::{Kind, Places, Touch};

/// The unit in which a GPU moves global memory.
pub const SECTOR_BYTES: u64 = 32;

/// Banks of shared memory, each one word wide.
const N_BANKS: usize = 32;
const WORD_BYTES: u32 = 4;

/// What an access to global memory touches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sectors {
    pub n: u64,
    /// The least that could hold the bytes.
    pub ideal: u64,
    /// Different bytes that the lanes ask for.
    pub bytes: u64,
}

/// The sectors that an access touches. Calls `each` with ascending ranges of addresses that touch all of them once.
///
/// An element is aligned to its size, so it lies in one sector.
#[inline(always)]
pub fn sectors(touch: &Touch<u64>, mut each: impl FnMut(u64, u64)) -> Sectors {
    let bytes = u64::from(touch.bytes);
    let (start, bytes) = match touch.places {
        Places::Row(start) => (start, 32 * bytes),
        Places::Same(address) => (address, bytes),
        Places::Each(_) => return scattered_sectors(touch, each),
    };
    each(start, start + bytes);
    Sectors {
        n: (start + bytes - 1) / SECTOR_BYTES - start / SECTOR_BYTES + 1,
        ideal: bytes.div_ceil(SECTOR_BYTES),
        bytes,
    }
}

#[inline(never)]
fn scattered_sectors(touch: &Touch<u64>, mut each: impl FnMut(u64, u64)) -> Sectors {
    let bytes = u64::from(touch.bytes);
    let mut room = [0; 32];
    let addresses = sorted(touch, &mut room);
    let Some(&first) = addresses.first() else { return Sectors::default() };
    let (mut n, mut n_unique, mut last) = (0, 1, first);
    let mut start = first;
    for &address in &addresses[1..] {
        if address == last {
            continue;
        }
        n_unique += 1;
        if address / SECTOR_BYTES > last / SECTOR_BYTES + 1 {
            each(start, last + bytes);
            n += last / SECTOR_BYTES - start / SECTOR_BYTES + 1;
            start = address;
        }
        last = address;
    }
    each(start, last + bytes);
    n += last / SECTOR_BYTES - start / SECTOR_BYTES + 1;
    Sectors { n, ideal: (n_unique * bytes).div_ceil(SECTOR_BYTES), bytes: n_unique * bytes }
}

/// The addresses of the lanes that take part, ascending.
fn sorted<'r, A: Copy + Into<u64>>(touch: &Touch<A>, room: &'r mut [u64; 32]) -> &'r [u64] {
    let mut n = 0;
    for (_, address) in touch.each() {
        room[n] = address;
        n += 1;
    }
    let addresses = &mut room[..n];
    if !addresses.is_sorted() {
        addresses.sort_unstable();
    }
    addresses
}

/// The most lanes of an access that meet at one address.
pub fn most_lanes_at_one_address<A: Copy + Into<u64>>(touch: &Touch<A>) -> u64 {
    let mut room = [0; 32];
    sorted(touch, &mut room).chunk_by(|a, b| a == b).map(|it| it.len() as u64).max().unwrap_or(0)
}

/// The wavefronts of an access to shared memory, and the least possible.
///
/// 32 banks give one word each in a wavefront; lanes that want the same word share it. A wavefront holds 128 bytes, so
/// accesses of 8 bytes go by half-warps and those of 16 by quarter-warps, whether all of their lanes take part or not;
/// `ldmatrix` reads the eight 16-byte rows of a matrix like a quarter-warp. Each such phase takes as many wavefronts as
/// the bank with most different words, and at the least one. (CUDA C++ Programming Guide, "Shared Memory" of compute
/// capability 5.x, which later ones share; the phases are how NVIDIA's profiler counts wider accesses.)
///
/// Atomics take a wavefront for each lane at the busiest bank: lanes at one address follow each other. That is the model
/// of native 32-bit integer atomics on shared memory, which compute capability 5.0 brought; others are loops in the
/// machine code, whose repetitions are not modelled.
pub fn wavefronts(touch: &Touch<u32>) -> (u64, u64) {
    let n_words = touch.bytes.div_ceil(WORD_BYTES);
    let n_phases = n_words as usize;
    let is_atomic = touch.kind == Kind::Atomic;
    let addresses = match touch.places {
        Places::Row(_) => return (n_phases as u64, n_phases as u64),
        Places::Same(_) if !is_atomic => return (n_phases as u64, n_phases as u64),
        Places::Same(address) => &[address; 32],
        Places::Each(addresses) => addresses,
    };
    let (mut n, mut ideal) = (0, 0);
    let n_phase_lanes = 32 / n_phases;
    for (phase, addresses) in addresses.chunks_exact(n_phase_lanes).enumerate() {
        let lanes = touch.lanes >> (phase * n_phase_lanes) & !0 >> (32 - n_phase_lanes);
        if lanes != 0 {
            let is_free = !is_atomic && is_free(addresses, lanes, touch.bytes.max(WORD_BYTES));
            n += if is_free { 1 } else { busiest_bank(addresses, lanes, n_words, is_atomic) };
            ideal += 1;
        }
    }
    (n, ideal)
}

/// Whether no two of some lanes want different words of a bank. Accesses are aligned to their size, so each has a group
/// of banks of that size, and two meet in all of a group or in none.
fn is_free(addresses: &[u32], lanes: u32, bytes: u32) -> bool {
    let (shift, n_groups) = (bytes.trailing_zeros(), N_BANKS * WORD_BYTES as usize / bytes as usize);
    let mut wanted = [u32::MAX; N_BANKS];
    for (lane, address) in addresses.iter().enumerate() {
        let at = address >> shift;
        let first = &mut wanted[at as usize % n_groups];
        if lanes >> lane & 1 == 0 || *first == at {
            continue;
        }
        if *first != u32::MAX {
            return false;
        }
        *first = at;
    }
    true
}

/// How many of the words that some lanes want are in the bank that has most of them; equal words count once unless
/// `counts_equal`.
fn busiest_bank(addresses: &[u32], lanes: u32, n_words: u32, counts_equal: bool) -> u64 {
    let (mut room, mut n_taken) = ([0; N_BANKS], 0);
    for (lane, address) in addresses.iter().enumerate() {
        for word in (0..n_words).filter(|_| lanes >> lane & 1 == 1) {
            room[n_taken] = address / WORD_BYTES + word;
            n_taken += 1;
        }
    }
    let words = &mut room[..n_taken];
    words.sort_unstable();
    let mut n_in_bank = [0; N_BANKS];
    for (i, &word) in words.iter().enumerate() {
        if counts_equal || i == 0 || words[i - 1] != word {
            n_in_bank[word as usize % N_BANKS] += 1;
        }
    }
    n_in_bank.into_iter().max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touch<A>(kind: Kind, lanes: u32, bytes: u32, places: Places<A>) -> Touch<A> {
        Touch { kind, is_strong: false, lanes, bytes, places }
    }

    fn load_sectors(lanes: u32, bytes: u32, places: Places<u64>) -> (Sectors, Vec<(u64, u64)>) {
        let mut ranges = Vec::new();
        let it = sectors(&touch(Kind::Load, lanes, bytes, places), |start, end| ranges.push((start, end)));
        (it, ranges)
    }

    #[test]
    fn rows_touch_what_they_cover() {
        let (it, ranges) = load_sectors(!0, 16, Places::Row(0x100));
        assert_eq!((it, ranges), (Sectors { n: 16, ideal: 16, bytes: 512 }, vec![(0x100, 0x300)]));
        let (it, _) = load_sectors(!0, 16, Places::Row(0x110));
        assert_eq!(it, Sectors { n: 17, ideal: 16, bytes: 512 });
        let (it, _) = load_sectors(!0, 4, Places::Same(0x11c));
        assert_eq!(it, Sectors { n: 1, ideal: 1, bytes: 4 });
    }

    #[test]
    fn scattered_lanes_touch_each_sector_once() {
        let mut addresses = [0; 32];
        addresses[..4].copy_from_slice(&[0x140, 0x100, 0x100, 0x104]);
        let (it, ranges) = load_sectors(0b1111, 4, Places::Each(&addresses));
        assert_eq!((it, ranges), (Sectors { n: 2, ideal: 1, bytes: 12 }, vec![(0x100, 0x108), (0x140, 0x144)]));
        let (it, ranges) = load_sectors(0, 4, Places::Each(&addresses));
        assert_eq!((it, ranges.len()), (Sectors::default(), 0));
        // A stride of 64 bytes wastes every other sector, one of 128 three of four.
        for (stride, n_ranges) in [(64, 32), (32, 1)] {
            let addresses = std::array::from_fn(|lane| 0x1000 + stride * lane as u64);
            let (it, ranges) = load_sectors(!0, 4, Places::Each(&addresses));
            assert_eq!((it, ranges.len()), (Sectors { n: 32, ideal: 4, bytes: 128 }, n_ranges));
        }
    }

    fn load_wavefronts(bytes: u32, address: impl Fn(u32) -> u32) -> (u64, u64) {
        wavefronts(&touch(Kind::Load, !0, bytes, Places::Each(&std::array::from_fn(|lane| address(lane as u32)))))
    }

    #[test]
    fn words_conflict_in_their_banks() {
        assert_eq!(load_wavefronts(4, |lane| 4 * lane), (1, 1));
        assert_eq!(load_wavefronts(4, |lane| 8 * lane), (2, 1));
        assert_eq!(load_wavefronts(4, |lane| 128 * lane), (32, 1));
        assert_eq!(load_wavefronts(4, |lane| 132 * lane), (1, 1), "a padded column");
        assert_eq!(load_wavefronts(4, |lane| lane / 16 * 128), (2, 1), "two words of one bank");
        assert_eq!(load_wavefronts(4, |_| 64), (1, 1), "a broadcast is free");
        assert_eq!(load_wavefronts(2, |lane| 2 * lane), (1, 1), "halves share words");
        assert_eq!(load_wavefronts(1, |lane| 128 * (lane % 4)), (4, 1));
    }

    #[test]
    fn wide_accesses_go_in_phases() {
        assert_eq!(load_wavefronts(8, |lane| 8 * lane), (2, 2));
        assert_eq!(load_wavefronts(8, |lane| 16 * lane), (4, 2));
        assert_eq!(load_wavefronts(16, |lane| 16 * lane), (4, 4));
        assert_eq!(
            load_wavefronts(16, |lane| 128 * lane),
            (32, 4),
            "eight rows below each other, as ldmatrix hates it"
        );
        assert_eq!(load_wavefronts(16, |lane| 144 * lane), (4, 4), "rows padded by 16 bytes");
        let addresses = std::array::from_fn(|lane| 144 * lane as u32);
        let one_matrix = touch(Kind::Load, 0xff, 16, Places::Each(&addresses));
        assert_eq!(wavefronts(&one_matrix), (1, 1), "lanes that don't take part cost nothing");
        assert_eq!(wavefronts(&touch(Kind::Load, !0, 16, Places::Row(4))), (4, 4));
        assert_eq!(wavefronts(&touch(Kind::Store, !0, 8, Places::Same(8))), (2, 2));
    }

    #[test]
    fn atomics_at_one_address_follow_each_other() {
        let same = touch(Kind::Atomic, !0, 4, Places::Same(8u32));
        assert_eq!((wavefronts(&same), most_lanes_at_one_address(&same)), ((32, 1), 32));
        let addresses = std::array::from_fn(|lane| lane as u32 % 8 * 4);
        let histogram = touch(Kind::Atomic, !0, 4, Places::Each(&addresses));
        assert_eq!((wavefronts(&histogram), most_lanes_at_one_address(&histogram)), ((4, 1), 4));
        let apart = touch(Kind::Atomic, !0, 4, Places::Row(0u32));
        assert_eq!((wavefronts(&apart), most_lanes_at_one_address(&apart)), ((1, 1), 1));
    }
}
