//! Philox4x32-10: random numbers as a function of a counter (Salmon et al., "Parallel random numbers: as easy
//! as 1, 2, 3", SC 2011). No state to carry, and the same few lines on the host and in a kernel.

const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
/// The golden ratio and sqrt(3) - 1: the key moves by these from round to round.
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];
const N_ROUNDS: u32 = 10;

fn philox(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for _ in 0..N_ROUNDS {
        let [a, b] = [(0, MULTIPLIERS[0]), (2, MULTIPLIERS[1])].map(|(i, by)| u64::from(counter[i]) * u64::from(by));
        counter = [(b >> 32) as u32 ^ counter[1] ^ key[0], b as u32, (a >> 32) as u32 ^ counter[3] ^ key[1], a as u32];
        key = [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])];
    }
    counter
}

/// One number in [0, 1), a multiple of 2^-53, for each (seed, position).
pub fn uniform(seed: u64, position: u64) -> f64 {
    let bits = philox([position as u32, (position >> 32) as u32, 0, 0], [seed as u32, (seed >> 32) as u32]);
    let bits = u64::from(bits[1]) << 32 | u64::from(bits[0]);
    (bits >> 11) as f64 * 2f64.powi(-53)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The known answers of the authors' Random123 library.
    #[test]
    fn known_answers() {
        assert_eq!(philox([0; 4], [0; 2]), [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]);
        assert_eq!(philox([!0; 4], [!0; 2]), [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd]);
        assert_eq!(
            philox([0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344], [0xa4093822, 0x299f31d0]),
            [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1]
        );
    }

    #[test]
    fn uniform_is_below_one_and_depends_on_every_bit_of_seed_and_position() {
        let base = uniform(0, 0);
        assert!((0.0..1.0).contains(&base));
        for bit in 0..64 {
            assert_ne!(uniform(1 << bit, 0), base);
            assert_ne!(uniform(0, 1 << bit), base);
        }
    }
}
