use crate::{correct, map, numbers, running_sums, suite::shape};

/// `f` of each warp of words, one after the other.
fn by_warp<T>(words: &[u32], f: impl Fn(&[u32]) -> Vec<T>) -> Vec<T> {
    words.chunks(32).flat_map(f).collect()
}

correct! { "warp":
    warp_sum: |gpu| {
        let input = numbers(128, 1000);
        let expected = by_warp(&input, |warp| vec![warp.iter().sum(); 32]);
        assert_eq!(map(gpu, "warp_sum", shape(2, 64), &input, 128), expected);
    };
    warp_scan: |gpu| {
        let input = numbers(128, 1000);
        assert_eq!(map(gpu, "warp_scan", shape(2, 64), &input, 128), by_warp(&input, running_sums));
    };
    warp_exchange: |gpu| {
        let input = numbers(128, 1000);
        let out = gpu.zeros(128);
        gpu.run("warp_exchange", shape(1, 128), &[gpu.upload(&input), out, 5]);
        let mut expected = input;
        for k in 0..5 {
            expected = by_warp(&expected, |warp| (0..32).map(|i| warp[(i + 1) % 32] * 3 + k).collect());
        }
        assert_eq!(gpu.download::<u32>(out, 128), expected);
    };
    match_histogram: |gpu| {
        let input = numbers(256, 16);
        let expected: Vec<_> = (0..16).map(|bin| input.iter().filter(|it| **it == bin).count() as u32).collect();
        assert_eq!(map(gpu, "match_histogram", shape(4, 64), &input, 16), expected);
    };
    ballot_histogram: |gpu| {
        let input = numbers(128, 32);
        let count = |warp: &[u32]| (0..32).map(|bin| warp.iter().filter(|it| **it == bin).count() as u32).collect();
        assert_eq!(map(gpu, "ballot_histogram", shape(2, 64), &input, 128), by_warp(&input, count));
    };
    vote_loop: |gpu| {
        let input: Vec<_> = numbers(128, 1 << 30).iter().enumerate().map(|(i, it)| it >> (i % 29)).collect();
        let n_bits = |it: &u32| 32 - it.leading_zeros();
        let steps = |warp: &[u32]| {
            let n_rounds = warp.iter().map(n_bits).max().unwrap();
            warp.iter().map(|it| n_bits(it) * 100 + n_rounds).collect()
        };
        assert_eq!(map(gpu, "vote_loop", shape(2, 64), &input, 128), by_warp(&input, steps));
    };
    collatz: |gpu| {
        let n_steps = |&first: &u32| {
            let next = |x: &u32| Some(if x.is_multiple_of(2) { x / 2 } else { 3 * x + 1 });
            std::iter::successors(Some(first.max(1)), next).take_while(|it| *it > 1).count() as u32
        };
        let input = numbers(128, 100);
        let expected: Vec<_> = input.iter().map(n_steps).collect();
        assert_eq!(map(gpu, "collatz", shape(2, 64), &input, 128), expected);
    };
    halves: |gpu| {
        let input = numbers(32, 1000);
        let (sum, max): (u32, u32) = (input[..16].iter().sum(), *input[16..].iter().max().unwrap());
        assert_eq!(map(gpu, "halves", shape(1, 32), &input, 32), [[max; 16], [sum; 16]].concat());
    };
    warp_argmax: |gpu| {
        let input = numbers(128, 50);
        let out = gpu.zeros(8);
        gpu.run("warp_argmax", shape(2, 64), &[gpu.upload(&input), out]);
        let numbered: Vec<_> = input.iter().zip(0u64..).map(|(&value, i)| u64::from(value) << 32 | i).collect();
        let expected: Vec<_> = numbered.chunks(32).map(|warp| *warp.iter().max().unwrap()).collect();
        assert_eq!(gpu.download::<u64>(out, 4), expected);
    };
    warp_sort: |gpu| {
        let input = numbers(128, 200);
        let sorted = |warp: &[u32]| { let mut warp = warp.to_vec(); warp.sort_unstable(); warp };
        assert_eq!(map(gpu, "warp_sort", shape(2, 64), &input, 128), by_warp(&input, sorted));
    };
    redux: |gpu| {
        let input = numbers(128, 1000);
        let expected = by_warp(&input, |warp| vec![warp.iter().sum::<u32>() + warp.iter().max().unwrap(); 32]);
        assert_eq!(map(gpu, "redux", shape(2, 64), &input, 128), expected);
    };
    same_value_stores: |gpu| {
        let out = gpu.zeros(2);
        gpu.run("same_value_stores", shape(1, 64), &[out]);
        assert_eq!(gpu.download::<u32>(out, 2), [65, 75]);
    };
    aggregated_atomic: |gpu| {
        let input = numbers(256, 1000);
        let count = |rest| input.iter().filter(|it| **it % 3 == rest).count() as u32;
        assert_eq!(map(gpu, "aggregated_atomic", shape(2, 128), &input, 2), [count(1), count(2)]);
    };
    shuffle_of_a_part: |gpu| {
        let input = numbers(128, 1000);
        let out = gpu.zeros(128);
        gpu.run("shuffle_of_a_part", shape(2, 64), &[gpu.upload(&input), out, 104]);
        let expected: Vec<_> = (0..128).map(|i| if i < 104 { input[i] + input[i ^ 4] } else { 0 }).collect();
        assert_eq!(gpu.download::<u32>(out, 128), expected);
    };
}
