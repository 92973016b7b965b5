use crate::{correct, fold, map, map_with, numbers, running_sums, suite::shape};

correct! { "grid":
    last_block_sums: |gpu| {
        let input = numbers(6 * 64, 1000);
        let expected = fold(3, input.chunks(64).map(|block| block.iter().sum()));
        let [partials, counter, out] = [gpu.fresh(24), gpu.zeros(1), gpu.zeros(1)];
        for _ in 0..2 {
            gpu.run("last_block_sums", shape(6, 64), &[gpu.upload(&input), partials, counter, out]);
            assert_eq!(gpu.download::<u32>(out, 1), [expected]);
            assert_eq!(gpu.download::<u32>(counter, 1), [0], "it can be used again");
        }
    };
    last_block_of_all_threads: |gpu| {
        let input = numbers(5 * 64, 1000);
        let [parts, counter, out] = [gpu.fresh(5 * 64 * 4), gpu.zeros(1), gpu.fresh(256)];
        gpu.run("last_block_of_all_threads", shape(5, 64), &[gpu.upload(&input), parts, counter, out]);
        let expected: Vec<_> = (0..64).map(|i| fold(3, (0..5).map(|b| input[64 * b + (i + b) % 64] * 2))).collect();
        assert_eq!(gpu.download::<u32>(out, 64), expected);
    };
    semaphore_split: |gpu| {
        let parts = numbers(5 * 64, 1000);
        let out = gpu.fresh(256);
        gpu.run("semaphore_split", shape(5, 64), &[gpu.upload(&parts), out, gpu.zeros(1)]);
        let expected: Vec<_> = (0..64).map(|i| fold(3, (0..5).map(|b| parts[64 * b + i]))).collect();
        assert_eq!(gpu.download::<u32>(out, 64), expected);
    };
    grid_barrier: |gpu| {
        let mut words = numbers(96, 1000);
        let buffer = gpu.upload(&words);
        gpu.run("grid_barrier", shape(3, 32), &[buffer, gpu.zeros(1), 3]);
        for _ in 0..3 {
            words = (0..96).map(|i| words[(i + 32) % 96] * 3 + 1).collect();
        }
        assert_eq!(gpu.download::<u32>(buffer, 96), words);
    };
    lookback_scan: |gpu| {
        let input = numbers(8 * 32, 1000);
        let [out, own, all, state] = [gpu.fresh(1024), gpu.fresh(32), gpu.fresh(32), gpu.zeros(8)];
        gpu.run("lookback_scan", shape(8, 32), &[gpu.upload(&input), out, own, all, state]);
        assert_eq!(gpu.download::<u32>(out, 256), running_sums(&input));
    };
    spin_lock: |gpu| {
        let words = gpu.zeros(3);
        gpu.run("spin_lock", shape(8, 32), &[gpu.zeros(1), words]);
        let words = gpu.download::<u32>(words, 3);
        assert_eq!([words[0], words[2]], [36, 8]);
    };
    spin_lock_of_lanes: |gpu| {
        let count = gpu.zeros(1);
        gpu.run("spin_lock_of_lanes", shape(3, 64), &[gpu.zeros(1), count]);
        assert_eq!(gpu.download::<u32>(count, 1), [192]);
    };
    release_acquire: |gpu| {
        let [words, flag, out] = [gpu.fresh(128), gpu.zeros(1), gpu.zeros(96)];
        gpu.run("release_acquire", shape(4, 32), &[words, flag, out]);
        let expected: Vec<_> = (0..96).map(|i| (31 - i % 32) * 11 + i / 32 + 1).collect();
        assert_eq!(gpu.download::<u32>(out, 96), expected);
    };
    atomic_sum_and_max: |gpu| {
        let input = numbers(300, 1000);
        let expected = [input.iter().sum(), *input.iter().max().unwrap()];
        assert_eq!(map_with(gpu, "atomic_sum_and_max", shape(3, 32), &input, 2, 300), expected);
    };
    cas_max: |gpu| {
        let input: Vec<_> = numbers(96, 1000).iter().map(|it| (*it as f32 + 0.5).to_bits()).collect();
        let max = input.iter().map(|it| f32::from_bits(*it)).fold(0.0, f32::max);
        assert_eq!(map(gpu, "cas_max", shape(3, 32), &input, 1), [max.to_bits()]);
    };
    work_counter: |gpu| {
        let input = numbers(9 * 32, 1000);
        let out = gpu.zeros(9 * 32);
        gpu.run("work_counter", shape(3, 32), &[gpu.upload(&input), out, gpu.zeros(1), 9]);
        let expected: Vec<_> = input.iter().zip(0..).map(|(it, i)| it * it + i / 32).collect();
        assert_eq!(gpu.download::<u32>(out, 9 * 32), expected);
    };
    grid_stride: |gpu| {
        let [x, y] = [numbers(200, 100), numbers(205, 100)].map(|it| it.iter().map(|it| *it as f32).collect::<Vec<_>>());
        let y_on_gpu = gpu.upload(&y);
        gpu.run("grid_stride", shape(2, 32), &[gpu.upload(&x), y_on_gpu, u64::from(0.5_f32.to_bits()), 200]);
        let expected: Vec<_> = (0..205).map(|i| y[i] + x.get(i).map_or(0.0, |x| 0.5 * x)).collect();
        assert_eq!(gpu.download::<f32>(y_on_gpu, 205), expected);
    };
    in_place: |gpu| {
        let words = numbers(128, 1000);
        let buffer = gpu.upload(&words);
        gpu.run("in_place", shape(2, 64), &[buffer, 5]);
        let expected: Vec<_> = words.iter().map(|it| (0..5).fold(*it, |word, k| word * 3 + k)).collect();
        assert_eq!(gpu.download::<u32>(buffer, 128), expected);
    };
    compact: |gpu| {
        let input = numbers(192, 1000);
        let [out, count] = [gpu.zeros(192), gpu.zeros(1)];
        gpu.run("compact", shape(3, 64), &[gpu.upload(&input), out, count]);
        let mut expected: Vec<_> = input.into_iter().filter(|it| it % 3 == 0).collect();
        let mut kept = gpu.download::<u32>(out, gpu.download::<u32>(count, 1)[0] as usize);
        expected.sort_unstable();
        kept.sort_unstable();
        assert_eq!(kept, expected);
    };
    neighbouring_bytes: |gpu| {
        let bytes = gpu.zeros(16);
        gpu.run("neighbouring_bytes", shape(2, 32), &[bytes]);
        assert_eq!(gpu.download::<u8>(bytes, 64), (0..64).map(|i| i / 2 + i % 2 * 100).collect::<Vec<u8>>());
    };
    reads_the_last_launch: |gpu| {
        let mut words = numbers(128, 1000);
        let mut buffers = [gpu.upload(&words), gpu.zeros(128)];
        for _ in 0..4 {
            gpu.run("reads_the_last_launch", shape(2, 64), &buffers);
            buffers.reverse();
            words = (0..128).map(|i| words[(i + 1) % 128] * 3 + words[i]).collect();
        }
        assert_eq!(gpu.download::<u32>(buffers[0], 128), words);
    };
}
