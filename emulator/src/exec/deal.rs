//! Vectors of four words from memory, where those of a lane are neighbours, to registers, each of which has a plane.

#![allow(unsafe_code)]

use super::lane::Registers;

/// Where each lane's vector lies; it need not be aligned.
pub type Places = [*const u8; 32];

/// The places of vectors that are neighbours, from `from` on.
#[inline(always)]
pub fn row(from: *const u8) -> Places {
    std::array::from_fn(|lane| from.wrapping_add(16 * lane))
}

/// Loads a vector of four words for each lane, as `ld.v4.u32` of a whole warp does, to the registers in `slots`.
///
/// # Safety
/// 16 bytes can be read from each of the places on.
pub unsafe fn portable(registers: &mut Registers, slots: &[u16; 4], places: &Places) {
    for (k, &slot) in slots.iter().enumerate() {
        let plane = &mut registers.words[usize::from(slot)].0;
        for (word, place) in plane.iter_mut().zip(places) {
            // SAFETY: word k of the four that the caller promises.
            *word = unsafe { place.cast::<u32>().add(k).read_unaligned() };
        }
    }
}

/// The same, eight lanes at a time: the lanes of a vector's halves are four apart, as that is how its shuffles go.
///
/// # Safety
/// As for [`portable`]; the CPU has AVX2.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
pub unsafe fn avx2(registers: &mut Registers, slots: &[u16; 4], places: &Places) {
    use std::arch::x86_64::*;

    let planes = slots.map(|slot| registers.words[usize::from(slot)].0.as_mut_ptr());
    for (eight, places) in places.chunks_exact(8).enumerate() {
        let vector = |lane: usize| {
            // SAFETY: the caller promises 16 bytes at each place.
            unsafe { _mm256_loadu2_m128i(places[lane + 4].cast(), places[lane].cast()) }
        };
        let lanes = [vector(0), vector(1), vector(2), vector(3)];
        let low = [_mm256_unpacklo_epi32(lanes[0], lanes[1]), _mm256_unpacklo_epi32(lanes[2], lanes[3])];
        let high = [_mm256_unpackhi_epi32(lanes[0], lanes[1]), _mm256_unpackhi_epi32(lanes[2], lanes[3])];
        let words = [
            _mm256_unpacklo_epi64(low[0], low[1]),
            _mm256_unpackhi_epi64(low[0], low[1]),
            _mm256_unpacklo_epi64(high[0], high[1]),
            _mm256_unpackhi_epi64(high[0], high[1]),
        ];
        for (plane, words) in planes.iter().zip(words) {
            // SAFETY: a plane is 32 words; nobody else has the registers.
            unsafe { _mm256_storeu_si256(plane.add(8 * eight).cast(), words) };
        }
    }
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;
    use crate::exec::lane::Words;

    #[test]
    fn both_deal_each_lane_its_four_words() {
        let memory: Vec<u8> = (0..515u32).map(|i| (i * 7 % 251) as u8).collect();
        // Groups of four lanes share a place.
        let place = |lane: usize| 3 + 16 * (lane / 4 * 5 % 32);
        let mut registers = Registers { words: vec![Words([7; 32]); 5], ..Registers::default() };
        let deals: [unsafe fn(&mut Registers, &[u16; 4], &Places); 2] = [portable, avx2];
        for deal in &deals[..if is_x86_feature_detected!("avx2") { 2 } else { 1 }] {
            let places = std::array::from_fn(|lane| memory[place(lane)..].as_ptr());
            // SAFETY: there are 515 bytes, and the features were asked for.
            unsafe { deal(&mut registers, &[4, 0, 3, 1], &places) };
            let word = |lane: usize, k: usize| {
                let at = place(lane) + 4 * k;
                u32::from_le_bytes([memory[at], memory[at + 1], memory[at + 2], memory[at + 3]])
            };
            for (k, slot) in [4, 0, 3, 1].into_iter().enumerate() {
                assert_eq!(registers.words[slot].0, std::array::from_fn(|lane| word(lane, k)));
            }
            assert_eq!(registers.words[2].0, [7; 32]);
        }
    }
}
