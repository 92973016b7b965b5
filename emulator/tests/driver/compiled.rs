//! What nvcc made of the `.cu` files in `tests/ptx`, run and compared with the same in Rust.

use crate::{common::*, kernel::*};

/// Elements of a bf16 matrix, two in a word: neighbouring values of both signs.
fn bf16_values(n: usize) -> Vec<u16> {
    (0..n as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 16 & 0x80ff | 0x3f00) as u16).collect()
}

fn packed(values: &[u16]) -> Vec<u32> {
    values.chunks(2).map(|pair| u32::from(pair[0]) | u32::from(pair[1]) << 16).collect()
}

#[test]
fn a_matrix_product_on_tensor_cores() {
    let _context = Context::new();
    let (height, width, depth) = (128, 64, 96);
    let (a, b) = (bf16_values(height * depth), bf16_values(depth * width));
    let (a_at, b_at) = (upload(&packed(&a)), upload(&packed(&b)));
    let c_at = upload(&vec![0; height * width]);
    let kernel = Kernel::of_module(include_str!("../ptx/tensor.ptx"), "multiply");
    let grid = [width as u32 / 32, height as u32 / 64, 1];
    ok(kernel.launch(grid, [128, 1, 1], 0, NULL, &[a_at, b_at, c_at, depth as u64]));
    let wide = |x: u16| f32::from_bits(u32::from(x) << 16);
    // Sums in the order of k, as the emulator documents: the same bits.
    let expected: Vec<u32> = (0..height * width)
        .map(|i| {
            let (row, column) = (i / width, i % width);
            let product = |sum, k| wide(a[row * depth + k]).mul_add(wide(b[k * width + column]), sum);
            (0..depth).fold(0f32, product).to_bits()
        })
        .collect();
    assert_eq!(download(c_at, height * width), expected);
}

#[test]
fn a_forgotten_wait_gives_old_data() {
    let _context = Context::new();
    let text = include_str!("../ptx/tensor.ptx");
    let (height, width, depth) = (64, 32, 32);
    let (a_at, b_at) = (upload(&packed(&bf16_values(height * depth))), upload(&packed(&bf16_values(depth * width))));
    let run = |text: &str| {
        let c_at = upload(&vec![1; height * width]);
        let kernel = Kernel::of_module(text, "multiply");
        ok(kernel.launch([1, 1, 1], [128, 1, 1], 0, NULL, &[a_at, b_at, c_at, depth as u64]));
        download(c_at, height * width)
    };
    assert!(run(text).iter().any(|it| *it != 0));
    let broken = text.replace("cp.async.wait_group 0;", "");
    assert_ne!(broken, text);
    assert_eq!(run(&broken), vec![0; height * width], "shared memory as it began");
}

#[test]
fn calls_through_pointers_and_virtual_tables() {
    let _context = Context::new();
    let input: Vec<u32> = (0..32).map(|i| i * 7 % 5).collect();
    let (in_at, out_at) = (upload(&input), upload(&[0; 64]));
    let kernel = Kernel::of_module(include_str!("../ptx/pointers.ptx"), "through_pointers");
    ok(kernel.run(1, 32, &[in_at, out_at]));
    let expected = |i: u32| {
        let x = input[i as usize];
        let operation = if x & 1 == 0 { i + x } else { i.wrapping_sub(x) };
        let area = if x & 2 != 0 { i * i } else { (x + 1) * i };
        (operation, area)
    };
    let (operations, areas): (Vec<_>, Vec<_>) = (0..32).map(expected).unzip();
    assert_eq!(download(out_at, 64), [operations, areas].concat());
}
