//! f32 to the device's 16 bits, rounding to nearest even. Bytes in, bytes out: a tensor in a file may start at
//! any address.

use half::{bf16, f16};

pub(super) fn f32_to_bf16(bytes: &[u8]) -> Vec<u8> {
    f32s(bytes).flat_map(|value| bf16::from_f32(value).to_le_bytes()).collect()
}

/// The error is the first finite value that would become infinite.
pub(super) fn f32_to_f16(bytes: &[u8]) -> Result<Vec<u8>, f32> {
    let mut halves = Vec::with_capacity(bytes.len() / 2);
    for value in f32s(bytes) {
        let half = f16::from_f32(value);
        if half.is_infinite() && value.is_finite() {
            return Err(value);
        }
        halves.extend(half.to_le_bytes());
    }
    Ok(halves)
}

fn f32s(bytes: &[u8]) -> impl Iterator<Item = f32> {
    let (values, rest) = bytes.as_chunks::<4>();
    assert!(rest.is_empty(), "{} bytes are no f32 values", bytes.len());
    values.iter().map(|value| f32::from_le_bytes(*value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|value| value.to_le_bytes()).collect()
    }

    #[test]
    fn rounds_to_nearest_even() {
        // bf16 has 8 significant bits: 1 + 2^-8 is a tie and goes to the even 1, 1 + 3*2^-8 to 1 + 2^-6.
        let values = [1.0, 1.0 + 2f32.powi(-8), 1.0 + 3.0 * 2f32.powi(-8), -0.0, f32::INFINITY, f32::MAX];
        let expected: Vec<u8> = [0x3F80u16, 0x3F80, 0x3F82, 0x8000, 0x7F80, 0x7F80].map(u16::to_le_bytes).concat();
        assert_eq!(f32_to_bf16(&bytes(&values)), expected);
        let expected: Vec<u8> = [0x3C00u16, 0x3C00, 0x3C02, 0xFC00].map(u16::to_le_bytes).concat();
        let values = [1.0, 1.0 + 2f32.powi(-11), 1.0 + 3.0 * 2f32.powi(-11), f32::NEG_INFINITY];
        assert_eq!(f32_to_f16(&bytes(&values)).unwrap(), expected);
    }

    #[test]
    fn a_value_that_f16_cannot_hold_is_found() {
        assert_eq!(f32_to_f16(&bytes(&[1.0, 65504.0, -65520.0])), Err(-65520.0));
    }
}
