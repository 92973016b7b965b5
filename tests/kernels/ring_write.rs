//! Planted once, and seen to fail here: a slot off by one.

use crate::common::*;
use gale::kernels::RingWrite;
use half::bf16;

/// Position p is in slot p % n_slots afterwards, and slots of no new position are as they were.
#[test]
fn ring_write_puts_positions_into_their_slots() {
    for_all(|case| {
        let (n_slots, n_kv_heads, head_dim) = (case.int(1..=9), case.int(1..=3), 8 * case.int(1..=16));
        let n_tokens = case.int(1..=n_slots);
        let position = case.pick(&[0, 1, 8, 100, (1 << 40) + 5]) + u64::from(case.int(0..=9));
        let row_dim = (n_kv_heads * head_dim) as usize;
        let chunks: [Vec<bf16>; 2] = [(); 2].map(|()| case.halves([n_tokens, n_kv_heads, head_dim]));
        let rings: [Vec<bf16>; 2] = [(); 2].map(|()| case.halves([n_slots, n_kv_heads, head_dim]));

        let [k_chunk, v_chunk] = chunks.each_ref().map(|it| case.upload(it));
        let [mut k_ring, mut v_ring] = rings.each_ref().map(|it| case.upload(it));
        let grid = case.grid();
        RingWrite {
            k_chunk: &k_chunk,
            v_chunk: &v_chunk,
            position: &case.upload(&[position]),
            k_ring: &mut k_ring,
            v_ring: &mut v_ring,
            n_tokens,
            n_kv_heads,
            head_dim,
            n_slots,
        }
        .launch_grid(case.device, grid)
        .unwrap();

        for ((got, mut want), chunk) in [k_ring, v_ring].into_iter().zip(rings).zip(chunks) {
            for (token, row) in chunk.chunks(row_dim).enumerate() {
                let slot = ((position + token as u64) % u64::from(n_slots)) as usize;
                want[slot * row_dim..][..row_dim].copy_from_slice(row);
            }
            assert_same_bits(&got.to_vec().unwrap(), &want);
        }
    });
}
