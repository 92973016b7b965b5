//! The interpreter's speed on one thread, in CPU time, since the machines that run this are shared: lane instructions a
//! second of a product with a vector, an `mma` alone and in a product of matrices, both products with and without checks,
//! and what a launch costs through the driver API (in real time).
//!
//! `CUDA_EMULATOR_CPU=avx2 cargo bench -p cuda-emulator`: one build of the instructions; the machine's fastest otherwise.
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks)] // Device memory is filled from outside, and C is called.

use criterion::{
    BenchmarkId, Criterion, Throughput, criterion_group, criterion_main,
    measurement::{Measurement, ValueFormatter},
};
use cuda_emulator::{
    driver::{context::*, device::*, launch::*, module::*, stream::*},
    exec::engine::Engine,
    lower::{self, Kernel},
    mem::allocations::Allocations,
    perf::Counts,
    sched::{self, Options, Shape},
    settings::{Mode, Settings},
};
use std::{ptr, sync::Arc, time::Duration};

/// CPU time of the calling thread in nanoseconds.
struct CpuTime;

impl Measurement for CpuTime {
    type Intermediate = u64;
    type Value = u64;

    fn start(&self) -> u64 {
        let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        assert_eq!(unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut now) }, 0);
        now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
    }

    fn end(&self, start: u64) -> u64 {
        self.start() - start
    }

    fn add(&self, a: &u64, b: &u64) -> u64 {
        a + b
    }

    fn zero(&self) -> u64 {
        0
    }

    fn to_f64(&self, value: &u64) -> f64 {
        *value as f64
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        &Nanoseconds
    }
}

/// Times in ns or ms, throughput in 10^9 a second.
struct Nanoseconds;

impl ValueFormatter for Nanoseconds {
    fn scale_values(&self, typical: f64, values: &mut [f64]) -> &'static str {
        if typical < 1e6 {
            return "ns";
        }
        values.iter_mut().for_each(|it| *it /= 1e6);
        "ms"
    }

    fn scale_throughputs(&self, _: f64, throughput: &Throughput, values: &mut [f64]) -> &'static str {
        let Throughput::Elements(n) = *throughput else { unreachable!("only elements are measured here") };
        values.iter_mut().for_each(|it| *it = n as f64 / *it);
        "G/s"
    }

    fn scale_for_machines(&self, _: &mut [f64]) -> &'static str {
        "ns"
    }
}

/// A kernel with its parameters and memory.
struct Launch {
    kernel: Arc<Kernel>,
    shape: Shape,
    params: Vec<u8>,
    memory: Allocations,
}

impl Launch {
    /// Each buffer becomes a pointer in front of the other parameters.
    fn new(ptx: &str, name: &str, buffers: &[Vec<u16>], words: &[u32], shape: Shape) -> Launch {
        let mut memory = Allocations::new(1 << 30, true, true).expect("1 GiB of addresses");
        let mut params = Vec::new();
        for buffer in buffers {
            let bytes = size_of_val(&buffer[..]);
            let address = memory.allocate(bytes as u64, 0).expect("there is memory");
            let host = memory.host(address, bytes as u64).expect("it was just allocated");
            unsafe { ptr::copy_nonoverlapping(buffer.as_ptr().cast(), host as *mut u8, bytes) };
            let shadow = memory.shadow().expect("it was asked for");
            shadow.set(shadow.range(address, bytes as u64).expect("device memory has a shadow"));
            params.extend(address.to_le_bytes());
        }
        words.iter().for_each(|word| params.extend(word.to_le_bytes()));
        let kernel =
            lower::load(ptx, false, &mut |_| None).expect("the interpreter has its instructions").kernels[name].clone();
        Launch { kernel, shape, params, memory }
    }

    fn run(&self, is_checked: bool) -> Counts {
        let (n_sms, step_limit) = (132, u64::MAX);
        let options = Options {
            n_threads: 1,
            n_sms,
            counts: is_checked,
            checks: is_checked,
            seed: None,
            step_limit,
            grid_workspace: 0,
        };
        let (memory, shadow) = (self.memory.regions(), self.memory.shadow());
        sched::launch(&self.kernel, self.shape, &self.params, &memory, shadow, None, options).expect("no fault").launch
    }
}

fn matvec(bench: &mut Criterion<CpuTime>) {
    let (n_in, n_out) = (4096usize, 4096usize);
    let numbers = |n: usize| (0..n).map(|i| 0x3f80 | (i * 37 % 128) as u16).collect::<Vec<_>>(); // bf16, 1 to 2
    let buffers = [numbers(n_in * n_out), numbers(n_in), vec![0; 2 * n_out]];
    let shape = Shape { grid: [n_out as u32 / 8, 1, 1], block: [256, 1, 1], dynamic_shared_bytes: 2 * n_in as u32 };
    let launch = Launch::new(include_str!("matvec.ptx"), "matvec", &buffers, &[n_in as u32, n_out as u32], shape);
    let mut group = bench.benchmark_group("lane_instructions");
    group.throughput(Throughput::Elements(launch.run(false).lane_instructions));
    for (name, is_checked) in [("unchecked", false), ("checked", true)] {
        group.bench_function(BenchmarkId::new("matvec_bf16_4096x4096", name), |it| it.iter(|| launch.run(is_checked)));
    }
}

fn product(bench: &mut Criterion<CpuTime>) {
    let (n_rows, n_cols, depth) = (256usize, 256usize, 1024usize);
    let numbers = |n: usize| (0..n).map(|i| 0x3f80 | (i * 37 % 128) as u16).collect::<Vec<_>>(); // bf16, 1 to 2
    let buffers = [numbers(n_rows * depth), numbers(n_cols * depth), vec![0; 2 * n_rows * n_cols]];
    let grid = [n_cols as u32 / 64, n_rows as u32 / 64, 1];
    let shape = Shape { grid, block: [128, 1, 1], dynamic_shared_bytes: 0 };
    let words = [depth as u32, n_cols as u32];
    let launch = Launch::new(include_str!("product.ptx"), "product", &buffers, &words, shape);
    let mut group = bench.benchmark_group("mma");
    group.throughput(Throughput::Elements((n_rows / 16 * n_cols / 8 * depth / 16) as u64));
    for (name, is_checked) in [("unchecked", false), ("checked", true)] {
        group.bench_function(BenchmarkId::new("product_bf16_256x256x1024", name), |it| {
            it.iter(|| launch.run(is_checked));
        });
    }
}

fn mma(bench: &mut Criterion<CpuTime>) {
    let shape = Shape { grid: [1, 1, 1], block: [32, 1, 1], dynamic_shared_bytes: 0 };
    let launch = Launch::new(include_str!("mma.ptx"), "mma", &[vec![0; 2]], &[], shape);
    let mut group = bench.benchmark_group("mma");
    group.throughput(Throughput::Elements(128 * 8));
    group.bench_function("m16n8k16_bf16_x1024", |it| it.iter(|| launch.run(false)));
}

fn launches(bench: &mut Criterion) {
    let text = c".version 8.0\n.target sm_80\n.address_size 64\n.visible .entry nothing() { ret; }";
    let (mut context, mut module, mut function) = (ptr::null_mut(), ptr::null_mut(), ptr::null_mut());
    unsafe {
        assert_eq!(cuInit(0), 0);
        assert_eq!(cuCtxCreate_v2(&mut context, 0, 0), 0);
        assert_eq!(cuModuleLoadData(&mut module, text.as_ptr().cast()), 0);
        assert_eq!(cuModuleGetFunction(&mut function, module, c"nothing".as_ptr()), 0);
    }
    let none = ptr::null_mut();
    let launch = || unsafe { cuLaunchKernel(function, 1, 1, 1, 32, 1, 1, 0, none, ptr::null_mut(), ptr::null_mut()) };
    let mut group = bench.benchmark_group("launch");
    group.throughput(Throughput::Elements(1));
    group.bench_function("one", |it| it.iter(|| assert_eq!((launch(), unsafe { cuStreamSynchronize(none) }), (0, 0))));
    group.throughput(Throughput::Elements(100));
    group.bench_function("hundred_in_a_row", |it| {
        it.iter(|| {
            (0..100).for_each(|_| assert_eq!(launch(), 0));
            assert_eq!(unsafe { cuStreamSynchronize(none) }, 0);
        });
    });
}

fn cpu_time() -> Criterion<CpuTime> {
    Engine::choose(
        Settings::from_env(Mode::Fast).expect("the emulator's variables have values that mean something").cpu,
    );
    Criterion::default().with_measurement(CpuTime).sample_size(20).measurement_time(Duration::from_secs(3))
}

criterion_group!(name = in_cpu_time; config = cpu_time(); targets = matvec, mma, product);
criterion_group!(in_real_time, launches);
criterion_main!(in_cpu_time, in_real_time);
