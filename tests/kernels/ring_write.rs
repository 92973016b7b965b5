//! Planted once, each seen to fail here: slots that do not wrap, and rows written to the first layer.

use crate::common::*;
use gale::kernels::RingWrite;
use half::bf16;

/// Row t is in the slot of its position afterwards, and all other slots, of all layers, are as they were.
#[test]
fn ring_write_puts_rows_into_their_slots() {
    for_all(|case| {
        let (n_layers, n_slots) = (case.int(1..=3), case.pick(&[1, 7, 100, 192]));
        let (n_kv_heads, head_dim) = (case.int(1..=9), 8 * case.int(1..=32));
        let some = case.int(1..=n_slots);
        let n_tokens = case.pick(&[1, some, n_slots]);
        let layer = case.int(0..=n_layers - 1);
        let position = case.pick(&[0, 1, 8, 100, (1 << 40) + 5]) + u64::from(case.int(0..=200));
        let row_dim = (n_kv_heads * head_dim) as usize;
        let chunks: [Vec<bf16>; 2] = [(); 2].map(|()| case.halves([n_tokens, n_kv_heads, head_dim]));
        let rings: [Vec<bf16>; 2] = [(); 2].map(|()| case.halves([n_layers, n_slots, n_kv_heads, head_dim]));

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
            layer,
        }
        .launch_grid(case.device, grid)
        .unwrap();

        for ((got, mut want), chunk) in [k_ring, v_ring].into_iter().zip(rings).zip(chunks) {
            for (token, row) in (0..).zip(chunk.chunks(row_dim)) {
                let slot = u64::from(layer * n_slots) + (position + token) % u64::from(n_slots);
                want[slot as usize * row_dim..][..row_dim].copy_from_slice(row);
            }
            assert_same_bits(&got.to_vec().unwrap(), &want);
        }
    });
}
