//! What every kernel's test uses: a device, random cases, and buffers.
//!
//! The device is a GPU where there is one, else the emulator. `GALE_TEST_DEVICE` chooses as `--device` does, and
//! `REQUIRE_GPU=1` makes the lack of a GPU an error, so that a GPU job cannot pass on the emulator. The emulator checks
//! the kernels' tests for races and reads of what nobody wrote, and no others, unless `CUDA_EMULATOR_MODE` chooses.
//!
//! A property runs on the same `N_CASES` cases each time. `ARBTEST_BUDGET_MS=60000` looks for a minute among others,
//! and `ARBTEST_SEED` repeats the one that it printed.

pub mod oracle;
pub mod tiles;

use arbtest::arbitrary::Unstructured;
use arbtest::arbtest;
use gale::device::{Buffer, Device, DeviceChoice, Element, Grid};
use half::{bf16, f16};
use oracle::Float;
use std::env;
use std::fmt::Debug;
use std::ops::RangeInclusive;
use std::sync::Once;

const N_CASES: u64 = 24;

/// Runs a property on random cases.
pub fn for_all(property: impl Fn(&mut Case)) {
    let device = open();
    let run = |random: &mut Unstructured| {
        property(&mut Case { device: &device, random });
        Ok(())
    };
    if env::var_os("ARBTEST_BUDGET_MS").is_some() || env::var_os("ARBTEST_SEED").is_some() {
        arbtest(run);
    } else {
        (0..N_CASES).for_each(|case| arbtest(run).seed(seed(case)).run());
    }
}

/// The upper half of arbtest's seeds starts its generator, which wants mixed bits; the lower half is the number of
/// random bytes that a case has.
fn seed(mut case: u64) -> u64 {
    split_mix(&mut case) >> 32 << 32 | 512
}

/// The same for both types that weights come in.
#[macro_export]
macro_rules! for_both_types {
    ($property:ident) => {
        $crate::common::for_all($property::<half::bf16>);
        $crate::common::for_all($property::<half::f16>);
    };
}

pub fn open() -> Device {
    let choice = env::var("GALE_TEST_DEVICE").map_or(DeviceChoice::Auto, |it| it.parse().unwrap());
    let is_of_kernels = env!("CARGO_CRATE_NAME") == "kernels";
    let device = if is_of_kernels { Device::open_checked(choice) } else { Device::open(choice) }.unwrap();
    let must_be_gpu = env::var_os("REQUIRE_GPU").is_some_and(|it| it == "1");
    assert!(!(must_be_gpu && device.is_emulator()), "REQUIRE_GPU=1, and there is none");
    static TELL: Once = Once::new();
    TELL.call_once(|| eprintln!("testing on {}", device.name()));
    device
}

/// A 16-bit type that weights come in.
pub trait Weight: gale::kernel::Half + Float + Debug {
    fn from_f32(value: f32) -> Self;
}

impl Weight for bf16 {
    fn from_f32(value: f32) -> bf16 {
        bf16::from_f32(value)
    }
}

impl Weight for f16 {
    fn from_f32(value: f32) -> f16 {
        f16::from_f32(value)
    }
}

/// One random case on a device.
pub struct Case<'a, 'b> {
    pub device: &'a Device,
    random: &'a mut Unstructured<'b>,
}

impl Case<'_, '_> {
    /// A random size.
    pub fn int(&mut self, range: RangeInclusive<u32>) -> u32 {
        self.random.int_in_range(range).unwrap()
    }

    /// One of some sizes.
    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        *self.random.choose(of).unwrap()
    }

    /// Random numbers from -1 to 1.
    pub fn floats<const N: usize>(&mut self, shape: [u32; N]) -> Vec<f32> {
        let mut state: u64 = self.random.arbitrary().unwrap();
        let unit = |bits: u64| (bits >> 40) as f32 / (1 << 23) as f32 - 1.0;
        (0..count(shape)).map(|_| unit(split_mix(&mut state))).collect()
    }

    /// Random numbers from -1 to 1, rounded.
    pub fn halves<W: Weight, const N: usize>(&mut self, shape: [u32; N]) -> Vec<W> {
        self.floats(shape).into_iter().map(W::from_f32).collect()
    }

    /// Some blocks in a row: too few for the work, or too many.
    pub fn grid(&mut self) -> Grid {
        Grid::x(self.int(1..=40))
    }

    /// Memory that nothing was written to.
    pub fn alloc<T: Element, const N: usize>(&self, shape: [u32; N]) -> Buffer<T> {
        self.device.alloc(&shape.map(|it| it as usize)).unwrap()
    }

    pub fn upload<T: Element>(&self, host: &[T]) -> Buffer<T> {
        self.device.upload(host).unwrap()
    }
}

/// The number of elements of a tensor.
pub fn count<const N: usize>(shape: [u32; N]) -> usize {
    shape.iter().map(|&it| it as usize).product()
}

/// SplitMix64 (Steele, Lea and Flood, OOPSLA 2014): the next random number.
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut it = *state;
    it = (it ^ it >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    it = (it ^ it >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    it ^ it >> 31
}

/// Panics at the first number whose bits differ: -0 is not 0 here, and a NaN is equal to itself.
#[track_caller]
pub fn assert_same_bits<T: Element + Debug>(got: &[T], want: &[T]) {
    assert_eq!(got.len(), want.len());
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        let is_same = bytemuck::bytes_of(got) == bytemuck::bytes_of(want);
        assert!(is_same, "[{i}]: got {got:?}, want {want:?}");
    }
}
