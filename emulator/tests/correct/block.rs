use crate::{
    correct, fold, map, map_with, numbers, running_sums,
    suite::{Shape, shape},
};

fn sorted(words: &[u32]) -> Vec<u32> {
    let mut words = words.to_vec();
    words.sort_unstable();
    words
}

correct! { "block":
    block_sum: |gpu| {
        let input = numbers(384, 1000);
        let expected: Vec<u32> = input.chunks(128).map(|block| block.iter().sum()).collect();
        assert_eq!(map(gpu, "block_sum", shape(3, 128), &input, 3), expected);
    };
    block_sum_with_a_warp_tail: |gpu| {
        let input = numbers(384, 1000);
        let expected: Vec<u32> = input.chunks(128).map(|block| block.iter().sum()).collect();
        assert_eq!(map(gpu, "block_sum_with_a_warp_tail", shape(3, 128), &input, 3), expected);
    };
    block_scan: |gpu| {
        let input = numbers(128, 1000);
        let expected: Vec<_> = running_sums(&input).into_iter().rev().collect();
        assert_eq!(map(gpu, "block_scan", shape(1, 128), &input, 128), expected);
    };
    double_buffer: |gpu| {
        let input = numbers(64 * 9, 1000);
        let expected: Vec<_> = (0..64).map(|i| fold(3, (0..9).map(|k| input[64 * k + 63 - i]))).collect();
        assert_eq!(map_with(gpu, "double_buffer", shape(1, 64), &input, 64, 9), expected);
    };
    transpose: |gpu| {
        let input = numbers(64 * 64, 1 << 20);
        let expected: Vec<_> = (0..64 * 64).map(|i| input[i % 64 * 64 + i / 64]).collect();
        assert_eq!(map(gpu, "transpose", shape(4, 256), &input, 64 * 64), expected);
    };
    bitonic_sort: |gpu| {
        let input = numbers(256, 500);
        let words = gpu.upload(&input);
        gpu.run("bitonic_sort", shape(1, 256), &[words]);
        assert_eq!(gpu.download::<u32>(words, 256), sorted(&input));
    };
    radix_sort: |gpu| {
        let input = numbers(128, 1 << 12);
        let words = gpu.upload(&input);
        gpu.run("radix_sort", shape(1, 128), &[words]);
        assert_eq!(gpu.download::<u32>(words, 128), sorted(&input));
    };
    shared_histogram: |gpu| {
        let input = numbers(500, 32);
        let expected: Vec<_> = (0..32).map(|bin| input.iter().filter(|it| **it == bin).count() as u32).collect();
        assert_eq!(map_with(gpu, "shared_histogram", shape(3, 64), &input, 32, 500), expected);
    };
    bytes_of_a_word: |gpu| {
        let input = numbers(128, 256);
        let word = |i: usize| u32::from_le_bytes([0, 1, 2, 3].map(|warp| input[32 * warp + i] as u8));
        assert_eq!(map(gpu, "bytes_of_a_word", shape(1, 128), &input, 32), (0..32).map(word).collect::<Vec<_>>());
    };
    halves_of_a_word: |gpu| {
        let input = numbers(64, 1 << 16);
        let expected: Vec<_> = (0..32).map(|i| input[i] | input[32 + i] << 16).collect();
        assert_eq!(map(gpu, "halves_of_a_word", shape(1, 64), &input, 32), expected);
    };
    named_barriers: |gpu| {
        let input = numbers(32 * 7, 1000);
        let expected: Vec<_> = (0..32).map(|i| fold(5, (0..7).map(|k| input[32 * k + 31 - i]))).collect();
        assert_eq!(map_with(gpu, "named_barriers", shape(1, 64), &input, 32, 7), expected);
    };
    barriers_of_pairs: |gpu| {
        let input = numbers(128, 1000);
        let of = |i: usize| {
            let pair = i / 64;
            fold(3, (0..3 + 2 * pair as u32).map(|k| input[64 * pair + 63 - i % 64] + k))
        };
        assert_eq!(map(gpu, "barriers_of_pairs", shape(1, 128), &input, 128), (0..128).map(of).collect::<Vec<_>>());
    };
    dynamic_shared_twice: |gpu| {
        let input = numbers(64, 1000);
        let sum = |i: usize| input[i] + input[63 - i];
        let expected: Vec<_> = (0..64).map(|i| sum(63 - i) * 3).collect();
        let shape = Shape { shared_bytes: 256, ..shape(1, 64) };
        assert_eq!(map(gpu, "dynamic_shared_twice", shape, &input, 64), expected);
    };
    early_exit: |gpu| {
        let input = numbers(128, 1000);
        let expected: Vec<_> = (0..128).map(|i| if i < 71 { input[i] * 2 + 1 } else { 0 }).collect();
        assert_eq!(map_with(gpu, "early_exit", shape(2, 64), &input, 128, 71), expected);
    };
    barrier_after_exits: |gpu| {
        let input = numbers(96, 1000);
        let expected: Vec<_> = (0..96).map(|i| if i < 40 { input[39 - i] } else { 0 }).collect();
        assert_eq!(map_with(gpu, "barrier_after_exits", shape(1, 96), &input, 96, 40), expected);
    };
    block_votes: |gpu| {
        let mut input = numbers(96, 77);
        let n_odd = |input: &[u32]| input.iter().filter(|it| **it % 2 == 1).count() as u32;
        assert_eq!(map(gpu, "block_votes", shape(1, 96), &input, 96), [n_odd(&input) * 4 + 2; 96]);
        input[50] = 77;
        input[3] = 100;
        assert_eq!(map(gpu, "block_votes", shape(1, 96), &input, 96), [n_odd(&input) * 4 + 1; 96]);
    };
    broadcast: |gpu| {
        let input = numbers(6, 1000);
        let expected = fold(7, input.iter().copied());
        assert_eq!(map_with(gpu, "broadcast", shape(1, 96), &input, 96, 6), [expected; 96]);
    };
    shared_flag: |gpu| {
        let input = numbers(32, 1000);
        let expected: Vec<_> = input.iter().rev().copied().collect();
        assert_eq!(map(gpu, "shared_flag", shape(1, 64), &input, 32), expected);
    };
    shared_table: |gpu| {
        let input = numbers(32, 32);
        let end = |i: u32| (0..8).fold(i % 32, |at, _| input[at as usize]);
        assert_eq!(map(gpu, "shared_table", shape(1, 96), &input, 96), (0..96).map(end).collect::<Vec<_>>());
    };
}
