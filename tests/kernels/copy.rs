//! Planted once, and seen to fail here: the last 16 bytes left out.

use crate::common::*;
use gale::kernels::Copy;

#[test]
fn copy_moves_every_byte() {
    for_all(|case| {
        let n = 16 * case.pick(&[1, 2, 255, 256, 257, 4096, 70_001]) as usize;
        let from: Vec<u8> = (0..n).map(|it| (it * 31 + it / 251) as u8).collect();
        let mut to = case.alloc([n as u32]);
        let grid = case.grid();
        Copy { from: &case.upload(&from), to: &mut to, n: n as u64 }.launch_grid(case.device, grid).unwrap();
        assert!(to.to_vec().unwrap() == from, "{n} bytes");
    });
}
