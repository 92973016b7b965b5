//! Damaged text makes an error or another tree, never a panic.

use super::nvcc::FILES;
use cuda_emulator::ptx::parse;

/// Knuth's MMIX generator: the same damage in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }
}

#[test]
fn truncated_anywhere() {
    for (_, text) in FILES {
        for end in 0..text.len() {
            drop(parse(&text[..end]));
        }
    }
}

/// Characters that mean something to the parser are likelier than others.
fn random_byte(random: &mut Random) -> u8 {
    const LIKELY: &[u8] = b"{}[]()<>;:,.@!%|_+-=\"/*\n 0189xfdUe$";
    if random.below(4) == 0 { random.below(256) as u8 } else { LIKELY[random.below(LIKELY.len())] }
}

#[test]
fn bytes_changed() {
    let mut random = Random(1);
    for (_, text) in FILES {
        for _ in 0..2000 {
            let mut bytes = text.as_bytes().to_vec();
            for _ in 0..=random.below(4) {
                let at = random.below(bytes.len());
                bytes[at] = random_byte(&mut random);
            }
            drop(parse(&String::from_utf8_lossy(&bytes)));
        }
    }
}

#[test]
fn pieces_moved() {
    let mut random = Random(2);
    for (_, text) in FILES {
        for _ in 0..1000 {
            let mut bytes = text.as_bytes().to_vec();
            let (from, to) = (random.below(bytes.len()), random.below(bytes.len()));
            let piece = bytes[from..bytes.len().min(from + random.below(200))].to_vec();
            bytes.splice(to..bytes.len().min(to + random.below(100)), piece);
            drop(parse(&String::from_utf8_lossy(&bytes)));
        }
    }
}

#[test]
fn noise() {
    let mut random = Random(3);
    for _ in 0..2000 {
        let bytes: Vec<u8> = (0..random.below(300)).map(|_| random_byte(&mut random)).collect();
        let noise = String::from_utf8_lossy(&bytes);
        drop(parse(&noise));
        drop(parse(&super::with_header(&noise)));
        drop(parse(&super::with_header(&super::with_registers(&noise))));
    }
}
