use crate::{
    correct, fold, map, map_with, numbers,
    suite::{Gpu, shape},
};

/// Tiles of `in` [n_tiles, 64, 4], more and fewer than there are stages.
fn pipeline(gpu: &Gpu, kernel: &str) {
    for n_tiles in [1, 2, 7] {
        let input = numbers(n_tiles * 256, 1000);
        let weigh = |v: &[u32]| v[0] + 2 * v[1] + 4 * v[2] + 8 * v[3];
        let tile = |k: usize, i: usize| weigh(&input[(64 * k + 63 - i) * 4..][..4]);
        let expected: Vec<_> = (0..64).map(|i| fold(3, (0..n_tiles).map(|k| tile(k, i)))).collect();
        assert_eq!(map_with(gpu, kernel, shape(1, 64), &input, 64, n_tiles as u64), expected);
    }
}

correct! { "async_copy":
    pipeline_of_2: |gpu| pipeline(gpu, "pipeline_of_2");
    pipeline_of_3: |gpu| pipeline(gpu, "pipeline_of_3");
    pipeline_of_4: |gpu| pipeline(gpu, "pipeline_of_4");
    async_copy_of_its_own: |gpu| {
        let input = numbers(256, 1000);
        let expected: Vec<_> = input.chunks(4).map(|v| v[1] + v[3]).collect();
        assert_eq!(map(gpu, "async_copy_of_its_own", shape(1, 64), &input, 64), expected);
    };
    async_zero_fill: |gpu| {
        let input = numbers(41 * 4, 1000);
        let expected: Vec<_> = (0..64).rev().map(|i| input.get(4 * i).copied().unwrap_or(0)).collect();
        assert_eq!(map_with(gpu, "async_zero_fill", shape(1, 64), &input, 64, 41), expected);
    };
    async_small_copies: |gpu| {
        let input = numbers(192, 1000);
        let expected: Vec<_> = (0..64).map(|i| input[i] + 3 * input[191 - i]).collect();
        assert_eq!(map(gpu, "async_small_copies", shape(1, 64), &input, 64), expected);
    };
}
