//! Planted once, and seen to fail here: the last of eight loads left out.

use crate::common::*;
use gale::kernels::Read;

#[test]
fn read_reads_every_word_once() {
    for_all(|case| {
        let n_words = 4 * case.pick(&[1, 2, 255, 256, 257, 4096, 70_001]) as usize;
        let words: Vec<u32> = (0..n_words as u32).map(|it| it.wrapping_mul(0x9e37_79b9) ^ it >> 7).collect();
        let bytes: Vec<u8> = words.iter().flat_map(|it| it.to_le_bytes()).collect();
        let mut sum = case.upload(&[5u32]);
        let grid = case.grid();
        Read { from: &case.upload(&bytes), sum: &mut sum, n: bytes.len() as u64 }
            .launch_grid(case.device, grid)
            .unwrap();
        assert_eq!(sum.to_vec().unwrap(), [words.iter().fold(5, |sum, it| sum ^ it)], "{n_words} words");
    });
}
