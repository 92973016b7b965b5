//! Planted once, and seen to fail here: staging rows counted by `n_tokens` instead of by 8.

use crate::common::*;
use gale::kernels::Commit;
use half::bf16;

/// In each layer row t is in the slot of its position afterwards, and all other slots are as they were.
#[test]
fn commit_puts_kept_rows_into_their_slots() {
    for_all(|case| {
        let (n_layers, n_slots) = (case.int(1..=5), case.int(1..=19));
        let (n_kv_heads, head_dim) = (case.int(1..=9), 8 * case.int(1..=32));
        let n_tokens = case.int(1..=8.min(n_slots));
        let position = case.pick(&[0, 1, 8, 100, (1 << 40) + 5]) + u64::from(case.int(0..=20));
        let (row_dim, n_slots_each) = ((n_kv_heads * head_dim) as usize, n_slots as usize);
        let staged: [Vec<bf16>; 2] = [(); 2].map(|()| case.halves([n_layers, 8, n_kv_heads, head_dim]));
        let rings: [Vec<bf16>; 2] = [(); 2].map(|()| case.halves([n_layers, n_slots, n_kv_heads, head_dim]));

        let [k_staged, v_staged] = staged.each_ref().map(|it| case.upload(it));
        let [mut k_ring, mut v_ring] = rings.each_ref().map(|it| case.upload(it));
        let grid = case.grid();
        Commit {
            k_staged: &k_staged,
            v_staged: &v_staged,
            position: &case.upload(&[position]),
            k_ring: &mut k_ring,
            v_ring: &mut v_ring,
            n_tokens,
            n_layers,
            n_kv_heads,
            head_dim,
            n_slots,
        }
        .launch_grid(case.device, grid)
        .unwrap();

        for ((got, mut want), staged) in [k_ring, v_ring].into_iter().zip(rings).zip(staged) {
            let layers = want.chunks_mut(n_slots_each * row_dim).zip(staged.chunks(8 * row_dim));
            for (ring, staged) in layers {
                for (token, row) in staged.chunks(row_dim).take(n_tokens as usize).enumerate() {
                    let slot = ((position + token as u64) % u64::from(n_slots)) as usize;
                    ring[slot * row_dim..][..row_dim].copy_from_slice(row);
                }
            }
            assert_same_bits(&got.to_vec().unwrap(), &want);
        }
    });
}
