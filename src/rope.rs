//! How fast each pair of a head turns, in fixed point.
//!
//! Pair i of a token at position p is turned by the angle p * theta^(-2i/head_dim) (RoFormer, arXiv 2104.09864,
//! section 3.2.2). In floating point that is useless far from zero: at position 10^6 an f32 angle is off by 0.03.
//! Only its fraction of a turn matters, so we count in 2^-64 turns: a product of 64-bit integers wraps at whole
//! turns, exactly, and what is left is right to 2^-64 turns times p. Everything here is integers too, so that
//! every machine gets the same bits, which `powf` does not promise.

/// 1 / 2 pi in units of 2^-128.
const TURNS_PER_RADIAN: u128 = 0x28be_60db_9391_054a_7f09_d5f4_7d4d_3770;

/// The fraction of a turn that each of the head_dim/2 pairs makes from one position to the next, in units of 2^-64.
///
/// ```
/// // With theta = 1 every pair turns by 1 radian a position: 1 / 2 pi = 0.1591549 turns.
/// assert_eq!(gale::rope::turns_per_position(4, 1.0), [0x28be_60db_9391_054a; 2]);
/// ```
pub fn turns_per_position(head_dim: u32, theta: f64) -> Vec<u64> {
    assert!(head_dim > 0 && head_dim.is_multiple_of(2), "RoPE turns pairs, head_dim is {head_dim}");
    let ratio = root(reciprocal(theta), head_dim / 2);
    let radians = std::iter::successors(Some(u128::MAX), |it| Some(multiply(*it, ratio)));
    let turns = radians.map(|it| round(multiply(it, TURNS_PER_RADIAN)));
    turns.take(head_dim as usize / 2).collect()
}

/// 1 / theta in units of 2^-128, from the bits of theta = significand * 2^exponent.
fn reciprocal(theta: f64) -> u128 {
    assert!((1.0..1e18).contains(&theta), "RoPE's theta is from 1 to 10^18, not {theta}");
    let bits = theta.to_bits();
    let significand = u128::from(bits & ((1 << 52) - 1) | 1 << 52);
    let exponent = (bits >> 52) as i32 - 1023 - 52;
    let n_zeros = significand.trailing_zeros();
    let (significand, exponent) = (significand >> n_zeros, exponent + n_zeros as i32); // odd: most precise below
    if significand == 1 && exponent == 0 {
        return u128::MAX; // 1 does not fit, this is 2^-128 less
    }
    match exponent {
        0.. => (u128::MAX / significand) >> exponent,
        _ => (u128::MAX / significand) << -exponent,
    }
}

/// The greatest n-th root that is not too large, a bit at a time.
fn root(of: u128, n: u32) -> u128 {
    (0..128).rev().fold(0, |root, bit| {
        let greater = root | 1 << bit;
        if power(greater, n) <= of { greater } else { root }
    })
}

fn power(base: u128, n: u32) -> u128 {
    (1..n).fold(base, |product, _| multiply(product, base))
}

/// The product of two fractions in units of 2^-128, rounded down.
fn multiply(a: u128, b: u128) -> u128 {
    let (a_high, a_low, b_high, b_low) = (a >> 64, a & LOW, b >> 64, b & LOW);
    let (cross_1, cross_2) = (a_high * b_low, a_low * b_high);
    let carry = ((a_low * b_low) >> 64) + (cross_1 & LOW) + (cross_2 & LOW);
    a_high * b_high + (cross_1 >> 64) + (cross_2 >> 64) + (carry >> 64)
}

const LOW: u128 = u64::MAX as u128;

/// A fraction in units of 2^-64, to nearest.
fn round(fraction: u128) -> u64 {
    (fraction.saturating_add(1 << 63) >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed with 80 decimal digits.
    #[test]
    fn turns_are_right_to_the_last_bit() {
        let cases = [
            (128, 1e4, 0, 2935890503282001226),
            (128, 1e4, 1, 2542376433133839919),
            (128, 1e4, 63, 339031346221092),
            (64, 1e5, 31, 42071679960424),
            (128, 1e6, 17, 74815202219369707),
            (80, 5e5, 39, 8151623260838),
            (256, 10000.5, 127, 315477441156479),
            (64, 1e12, 20, 92841009512),
        ];
        for (head_dim, theta, pair, want) in cases {
            assert_eq!(turns_per_position(head_dim, theta)[pair], want, "{head_dim}, {theta}, {pair}");
        }
    }

    /// As f64 has it, for every pair of every head that models have.
    #[test]
    fn turns_agree_with_floating_point() {
        for head_dim in (2..=256).step_by(2) {
            for theta in [1e4, 5e5, 1e6, 12345.678] {
                for (pair, turns) in turns_per_position(head_dim, theta).into_iter().enumerate() {
                    let radians = theta.powf(-2.0 * pair as f64 / f64::from(head_dim));
                    let want = radians / std::f64::consts::TAU * 2f64.powi(64);
                    assert!((turns as f64 - want).abs() <= 0.5 + want * 2f64.powi(-48), "{head_dim}, {theta}, {pair}");
                }
            }
        }
    }
}
