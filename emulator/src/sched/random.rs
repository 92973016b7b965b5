//! A generator of repeatable choices: splitmix64 (Steele, Lea, Flood 2014).

/// The state of the generator: at first the seed.
#[derive(Clone, Copy, Debug)]
pub struct Random(pub u64);

impl Random {
    /// A number below `n`, 0 if that is 0.
    pub fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)).checked_rem(n).unwrap_or(0)
    }

    /// A number that has no divisor in common with `n`: its multiples reach everything below `n`.
    pub fn coprime(&mut self, n: u64) -> u64 {
        let first = 1 + self.below(n);
        (first..).find(|it| gcd(*it, n) == 1).expect("n + 1 is one")
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}
