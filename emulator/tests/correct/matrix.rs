use crate::{correct, numbers, suite::shape};

correct! { "matrix":
    matrix_product: |gpu| {
        const K: usize = 80;
        let small = |n| numbers(n, 16).iter().map(|it| *it as f32 - 8.0).collect::<Vec<_>>();
        let (a, b) = (small(32 * K), small(16 * K).iter().map(|it| it + 1.0).collect::<Vec<_>>());
        let bf16 = |x: &[f32]| x.iter().map(|it| (it.to_bits() >> 16) as u16).collect::<Vec<_>>();
        let c = gpu.fresh(32 * 16 * 4);
        gpu.run("matrix_product", shape(1, 128), &[gpu.upload(&bf16(&a)), gpu.upload(&bf16(&b)), c, K as u64]);
        let dot = |i: usize| (0..K).map(|k| a[i / 16 * K + k] * b[i % 16 * K + k]).sum::<f32>();
        assert_eq!(gpu.download::<f32>(c, 512), (0..512).map(dot).collect::<Vec<_>>(), "sums of small integers are exact");
    };
    matrix_transposed: |gpu| {
        let input: Vec<u16> = (0..128).collect();
        let out = gpu.zeros(64);
        gpu.run("matrix_transposed", shape(1, 32), &[gpu.upload(&input), out]);
        // Lane l has rows 2 * (l % 4) and the next of column l / 4.
        let at = |matrix: u32, row: u32, column: u32| 64 * matrix + 8 * row + column;
        let word = |i: u32| {
            let (matrix, lane) = (i / 32, i % 32);
            at(matrix, lane % 4 * 2, lane / 4) | at(matrix, lane % 4 * 2 + 1, lane / 4) << 16
        };
        assert_eq!(gpu.download::<u32>(out, 64), (0..64).map(word).collect::<Vec<_>>());
    };
}
