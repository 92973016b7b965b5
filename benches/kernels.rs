//! Every kernel at the shapes of Mistral 7B, on cold buffers, timed by the device's own clock, and cuBLAS on the same
//! products where it is there.
//!
//! Without a GPU the kernels run on the emulator, at sizes that it gets through in moments: it shows that they run, and
//! what the emulator takes. `cargo test --benches` runs each of those once.

mod common;
mod device_time;

use criterion::{BenchmarkGroup, Criterion, Throughput};
use device_time::DeviceTime;
use gale::device::{Cublas, Device};
use gale::error::Result;
use gale::workload::{KERNELS, Kernel, Sizes, Stopwatch, Work, by_cublas, percentile};
use std::rc::Rc;
use std::time::Duration;

fn main() -> anyhow::Result<()> {
    let device = common::open_device()?;
    if device.is_emulator() {
        println!("no GPU: kernels run on the emulator, at small sizes; this counts for nothing as a GPU speed");
    }
    let cublas = device.cublas().map(Rc::new).map_err(|why| println!("cuBLAS: not compared, {why}")).ok();
    let shapes = if device.is_emulator() || common::is_test() { small } else { usual };

    let mut criterion = criterion(&device).configure_from_args();
    {
        let group = criterion.benchmark_group(if device.is_emulator() { "emulator" } else { "kernels" });
        let stopwatch = Stopwatch::new(&device)?;
        let mut bench = Bench { device, stopwatch, group, cublas };
        for kernel in &KERNELS {
            usual(kernel).iter().try_for_each(|sizes| kernel.check(sizes))?; // on the emulator, too
            shapes(kernel).iter().try_for_each(|sizes| bench.kernel(kernel, sizes))?;
        }
    }
    criterion.final_summary();
    Ok(())
}

/// A launch takes microseconds on a GPU, and the head start of a hundred takes milliseconds.
fn criterion(device: &Device) -> Criterion<DeviceTime> {
    let [n_samples, warm_up_ms, measurement_ms] = if device.is_emulator() { [10, 100, 500] } else { [20, 500, 2000] };
    Criterion::default()
        .with_measurement(DeviceTime(device.clone()))
        .sample_size(n_samples)
        .warm_up_time(Duration::from_millis(warm_up_ms as u64))
        .measurement_time(Duration::from_millis(measurement_ms as u64))
}

/// Those of Mistral 7B: one token, and chunks of two sizes.
fn usual(kernel: &Kernel) -> Vec<Sizes> {
    let it = kernel.usual();
    let tokens = if it.m == 1 { vec![1] } else { vec![it.m, 2048] };
    let mut shapes: Vec<_> = tokens.into_iter().map(|m| Sizes { m, ..it }).collect();
    if kernel.name.ends_with("residual") {
        const HIDDEN_DIM: u32 = 14336;
        shapes.extend(shapes.clone().into_iter().map(|it| Sizes { k: HIDDEN_DIM, ..it })); // down, after O
    }
    shapes
}

fn small(kernel: &Kernel) -> Vec<Sizes> {
    let m = if kernel.usual().m == 1 { 1 } else { 24 };
    vec![Sizes { m, n: 96, k: 64, n_heads: 4, n_kv_heads: 2, head_dim: 16, window: 32, depth: 40 }]
}

struct Bench<'a> {
    device: Device,
    stopwatch: Stopwatch,
    group: BenchmarkGroup<'a, DeviceTime>,
    cublas: Option<Rc<Cublas>>,
}

impl Bench<'_> {
    fn kernel(&mut self, kernel: &Kernel, sizes: &Sizes) -> Result<()> {
        let name = format!("{} {}", kernel.name, kernel.describe(sizes)).trim_end().to_owned();
        let ours = {
            let mut work = kernel.prepare(&self.device, sizes)?;
            let bytes = work.cost(&self.device)?.bytes;
            self.time(&name, bytes, work)
        };
        let (Some(product), Some(cublas), Some(ours)) = (kernel.product(sizes), &self.cublas, ours) else {
            return Ok(());
        };
        let work = by_cublas(&self.device, cublas, product)?;
        let [m, n, k] = product.map(u64::from);
        let name = format!("{name}, by cuBLAS {}", cublas.version());
        if let Some(theirs) = self.time(&name, 2 * (m * k + n * k + m * n), work) {
            println!("{name}: gale takes {:.3} of its time\n", ours.as_secs_f64() / theirs.as_secs_f64());
        }
        Ok(())
    }

    /// The median of all launches, unless nobody wants this one.
    fn time(&mut self, name: &str, bytes: u64, mut work: Work) -> Option<Duration> {
        let Self { device, stopwatch, group, .. } = self;
        let mut all = vec![];
        if !device.is_emulator() {
            group.throughput(Throughput::Bytes(bytes));
        }
        group.bench_function(name, |bencher| {
            work.warm_up(device).expect("the device runs it");
            bencher.iter_custom(|n| {
                let times = stopwatch.time(&mut work, n as usize).expect("the device runs it");
                all.extend_from_slice(&times);
                times.iter().sum()
            });
        });
        all.sort();
        (!all.is_empty()).then(|| percentile(&all, 0.5))
    }
}
