use crate::{
    correct, fold, in_every_mode, map, numbers,
    suite::{ok, shape},
};

/// A parameter that is a struct, as `misc.cu` declares it.
#[repr(C)]
struct Range {
    first: i32,
    step: i64,
    n: i16,
}

correct! { "misc":
    local_array: |gpu| {
        let count = |x: &u32, digit: char| x.to_string().chars().filter(|it| *it == digit).count() as u32;
        let input: Vec<_> = numbers(128, 1 << 30).iter().map(|it| it + 1).collect();
        let hash = |x: &u32| fold(7, ('0'..='9').map(|digit| count(x, digit)));
        assert_eq!(map(gpu, "local_array", shape(2, 64), &input, 128), input.iter().map(hash).collect::<Vec<_>>());
    };
    recursion: |gpu| {
        fn greatest_common_divisor(a: u32, b: u32) -> u32 {
            if b == 0 { a } else { greatest_common_divisor(b, a % b) }
        }
        let input = numbers(128, 1000);
        let expected: Vec<_> = input.iter().map(|it| greatest_common_divisor(*it, 360)).collect();
        assert_eq!(map(gpu, "recursion", shape(2, 64), &input, 128), expected);
    };
    generic_pointers: |gpu| {
        let input = numbers(64, 1000);
        let of_part = |part: &[u32]| [part.iter().max().unwrap() * 1000 + part.iter().min().unwrap(); 16];
        let expected: Vec<_> = input.chunks(16).flat_map(of_part).collect();
        assert_eq!(map(gpu, "generic_pointers", shape(1, 64), &input, 64), expected);
    };
    assertion_that_holds: |gpu| {
        let input = numbers(64, 100);
        let expected: Vec<_> = input.iter().map(|it| it + 1).collect();
        assert_eq!(map(gpu, "assertion_that_holds", shape(1, 64), &input, 64), expected);
    };
    module_variables: |gpu| {
        let out = gpu.zeros(64);
        for n_launches in 0..3 {
            gpu.run("module_variables", shape(1, 64), &[out]);
            let expected: Vec<_> = (0..64).map(|i| [3, 1, 4, 1, 5, 9, 2, 6][i % 8] * 10 + n_launches).collect();
            assert_eq!(gpu.download::<u32>(out, 64), expected);
        }
    };
    by_value: |gpu| {
        let out = gpu.zeros(128);
        let range = Range { first: -5, step: 1 << 33, n: 50 };
        ok(gpu.launch_with(std::ptr::null_mut(), "by_value", shape(1, 64), &mut [(&raw const range).cast(), (&raw const out).cast()]));
        let expected: Vec<_> = (0..64).map(|i| if i < 50 { -5 + (i << 33) } else { -1 }).collect();
        assert_eq!(gpu.download::<i64>(out, 64), expected);
    };
    vector_tail: |gpu| {
        let input: Vec<_> = numbers(103, 1000).iter().map(|it| *it as f32).collect();
        let out = gpu.zeros(103);
        gpu.run("vector_tail", shape(1, 32), &[gpu.upload(&input), out, 103]);
        assert_eq!(gpu.download::<f32>(out, 103), input.iter().map(|it| it * 2.0).collect::<Vec<_>>());
    };
    value_of_some: |gpu| {
        let input = numbers(64, 1000);
        let of = |it: &u32| (0..it % 3).sum::<u32>() + if it % 5 < 2 { it * 7 } else { 0 };
        assert_eq!(map(gpu, "value_of_some", shape(1, 64), &input, 64), input.iter().map(of).collect::<Vec<_>>());
    };
    own_scratch: |gpu| {
        let input = numbers(64, 1000);
        let out = gpu.zeros(64);
        gpu.run("own_scratch", shape(2, 32), &[gpu.upload(&input), gpu.fresh(1024), out]);
        let of = |it: &u32| (0..4).map(|k| (it + k * k) * (k + 1)).sum::<u32>();
        assert_eq!(gpu.download::<u32>(out, 64), input.iter().map(of).collect::<Vec<_>>());
    };
}

#[test]
fn prints() {
    let mut input = vec![7; 64];
    (input[3], input[40], input[41]) = (51, 88, 50);
    let stdout = in_every_mode("misc::prints", "misc", |gpu| gpu.run("prints", shape(1, 64), &[gpu.upload(&input)]));
    if !crate::suite::is_child() {
        let said: Vec<_> = stdout.lines().filter_map(|line| Some(&line[line.find("thread ")?..])).collect();
        assert_eq!(said, ["thread 3 has 51, which is odd", "thread 40 has 88, which is even"]);
    }
}
