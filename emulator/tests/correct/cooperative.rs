use crate::{
    correct, map, numbers,
    suite::{Shape, shape},
};

correct! { "cooperative":
    grid_sync: |gpu| {
        let mut words = numbers(192, 1000);
        let buffer = gpu.upload(&words);
        gpu.run("grid_sync", Shape { is_cooperative: true, ..shape(3, 64) }, &[buffer, 4]);
        for k in 0..4 {
            words = (0..192).map(|i| words[(i + 64) % 192] * 3 + k).collect();
        }
        assert_eq!(gpu.download::<u32>(buffer, 192), words);
    };
    tiles_of_8: |gpu| {
        let input = numbers(128, 1000);
        let expected: Vec<u32> = input.chunks(8).map(|tile| tile.iter().sum()).collect();
        assert_eq!(map(gpu, "tiles_of_8", shape(2, 64), &input, 16), expected);
    };
}
