//! Weights that nobody trained: a model of some shape to measure, where its weights are not at hand.
//!
//! An element is a function of its buffer's name, its row and its column alone, so that it is the same whether a kernel
//! makes it on the device ([`crate::kernels::Noise`]) or the host writes it to a file. Elements of a matrix have either
//! sign and sizes spread over eight powers of two below 2^-4, a root mean square of 0.02, and none is zero; those of a
//! norm are from 1 to 1.25.

use half::bf16;

/// What tells one buffer's noise from another's: a hash of the buffer's name (FNV-1a).
pub fn seed(buffer: &str) -> u32 {
    buffer.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

/// Row `row` of a matrix; its length is a multiple of eight.
pub fn fill_row(seed: u32, row: usize, to: &mut [bf16]) {
    let first = row * to.len() / 2;
    for (i, pair) in to.chunks_exact_mut(2).enumerate() {
        let bits = mix((first + i) as u32 ^ seed);
        let bits = bits & 0x807f_807f | (0x3d00_3d00 - (bits & 0x0380_0380)); // as in kernels/noise.cu
        pair[0] = bf16::from_bits(bits as u16);
        pair[1] = bf16::from_bits((bits >> 16) as u16);
    }
}

/// The weight of a norm.
pub fn fill_norm(seed: u32, to: &mut [bf16]) {
    const ONE: u16 = 0x3f80;
    for (i, element) in to.iter_mut().enumerate() {
        *element = bf16::from_bits(ONE | (mix(i as u32 ^ seed) & 0x1f) as u16);
    }
}

/// fmix32 of MurmurHash3 (Appleby).
fn mix(mut bits: u32) -> u32 {
    bits = (bits ^ bits >> 16).wrapping_mul(0x85eb_ca6b);
    bits = (bits ^ bits >> 13).wrapping_mul(0xc2b2_ae35);
    bits ^ bits >> 16
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 64 rows of 4096 elements: the mean is a few of its own standard deviations from zero at the most.
    #[test]
    fn elements_are_small_of_either_sign_and_never_zero() {
        let mut all = vec![];
        for row in 0..64 {
            let mut elements = [bf16::ZERO; 4096];
            fill_row(seed("layers.0.qkv"), row, &mut elements);
            all.extend(elements.map(bf16::to_f64));
        }
        let n = all.len() as f64;
        let mean = all.iter().sum::<f64>() / n;
        let rms = (all.iter().map(|it| it * it).sum::<f64>() / n).sqrt();
        assert!(mean.abs() < 5.0 * rms / n.sqrt(), "mean {mean}");
        assert!((rms - 0.0195).abs() < 0.0005, "root mean square {rms}");
        assert!(all.iter().all(|it| (2f64.powi(-12)..2f64.powi(-4)).contains(&it.abs())));

        let mut norm = [bf16::ZERO; 1000];
        fill_norm(seed("norm"), &mut norm);
        assert!(norm.iter().all(|it| (1.0..1.25).contains(&it.to_f64())) && norm[0] != norm[1]);
    }

    #[test]
    fn buffers_differ() {
        let row = |buffer| {
            let mut row = [bf16::ZERO; 64];
            fill_row(seed(buffer), 3, &mut row);
            row
        };
        assert_ne!(row("layers.0.o"), row("layers.1.o"));
        assert_ne!(row("layers.0.o"), row("layers.0.down"));
    }
}
