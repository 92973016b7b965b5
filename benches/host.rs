//! What the host does: positions and slots, how a token is to be chosen, text and ids, and loading a model, by the wall
//! clock.

mod common;

use criterion::{BatchSize, Criterion, Throughput};
use gale::config::{Config, shapes};
use gale::error::Result;
use gale::loader::Loader;
use gale::plan::{Plan, Sizes};
use gale::ring::{Position, Ring};
use gale::sampler::{Limits, Sampling, prompt_counts};
use gale::synth;
use gale::tokenizer::{TextStream, Tokenizer};
use gale::weights::Weights;
use half::bf16;
use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

fn main() -> anyhow::Result<()> {
    let mut criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    ring(&mut criterion);
    sampler(&mut criterion);
    tokenizer(&mut criterion)?;
    loader(&mut criterion)?;
    criterion.final_summary();
    Ok(())
}

fn ring(criterion: &mut Criterion) {
    const N: u64 = 1000;
    let ring = Ring::new(Some(4096), 0);
    let mut group = criterion.benchmark_group("ring");
    let mut bench = |name, of: fn(&Ring, Position) -> u64| {
        group.throughput(Throughput::Elements(N)).bench_function(name, |it| {
            let sum = || (0..N).map(|i| of(black_box(&ring), Position(i * 7919))).fold(0, u64::wrapping_add);
            it.iter(sum);
        });
    };
    bench("slot", |ring, position| ring.slot(position).0.into());
    bench("visible", |ring, position| ring.visible(position).start);
    bench("runs", |ring, position| ring.runs(position, 512)[1].end.into());
}

fn sampler(criterion: &mut Criterion) {
    const VOCAB_SIZE: u32 = 32000;
    let bias = (0..300).map(|i| (i * 97, 1.0)).collect();
    let sampling =
        Sampling { temperature: 0.7, top_p: 0.9, repetition_penalty: 1.1, logit_bias: bias, ..Default::default() };
    let prompt: Vec<u32> = (0..4096).map(|i| i * 7919 % VOCAB_SIZE).collect();
    let limits = Limits::endless();
    let mut group = criterion.benchmark_group("sampler");
    group.bench_function("params", |it| it.iter(|| black_box(&sampling).params(&limits).expect("in range")));
    group.bench_function("bias_row", |it| it.iter(|| black_box(&sampling).bias_row(VOCAB_SIZE).expect("in range")));
    group.bench_function("prompt_counts", |it| it.iter(|| prompt_counts(black_box(&prompt), VOCAB_SIZE)));
}

fn tokenizer(criterion: &mut Criterion) -> Result<()> {
    const TEXT: &str = include_str!("../CONTRIBUTING.md");
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/tokenizers/v3_metaspace");
    let tokenizer = Tokenizer::load(&dir, 1 << 20)?.expect("it is there");
    let ids = tokenizer.encode(TEXT, false)?;
    let mut group = criterion.benchmark_group("tokenizer");
    group.throughput(Throughput::Bytes(TEXT.len() as u64));
    group.bench_function("encode", |it| it.iter(|| tokenizer.encode(black_box(TEXT), false).expect("it is text")));
    group.throughput(Throughput::Elements(ids.len() as u64));
    group.bench_function("stream", |it| {
        it.iter_batched_ref(
            || TextStream::new(&tokenizer),
            |stream| ids.iter().map(|&id| stream.step(id).expect("it is a token").len()).sum::<usize>(),
            BatchSize::SmallInput,
        );
    });
    Ok(())
}

/// A model of random weights in files: their headers, their bytes into memory, and all of it into tiles on the device,
/// which is the emulator where there is no GPU.
fn loader(criterion: &mut Criterion) -> Result<()> {
    let shape = if common::is_test() { "tiny" } else { "smollm2-135m" };
    let config: Config = shapes::shape(shape)?;
    let dir = tempfile::tempdir().expect("there is a place for files");
    synth::write(dir.path(), &config, synth::SHARD_BYTES, &mut |_, _| ())?;
    let device = common::open_device()?;
    device.load_kernels()?;

    let open = || Weights::open(dir.path(), &config);
    let weights = open()?;
    let plan = Plan::new(&config, weights.weight_type(), Sizes { n_slots: 8, max_chunk: 1 });
    let n_bytes: usize = weights.tensors().map(|(_, tensor)| tensor.bytes.len()).sum();
    let mut group = criterion.benchmark_group(format!("loader of {shape}"));
    group.bench_function("headers", |it| it.iter(|| open().expect("it is a model")));
    group.throughput(Throughput::BytesDecimal(n_bytes as u64)).sample_size(10).measurement_time(Duration::from_secs(5));
    group.bench_function("read", |it| {
        let mut to = vec![0; n_bytes];
        it.iter(|| {
            for (_, tensor) in weights.tensors() {
                tensor.read(weights.weight_type(), &mut to[..tensor.bytes.len()]).expect("it is there");
            }
        });
    });
    group.bench_function(format!("load to {}", device.name()), |it| {
        it.iter(|| Loader::default().load::<bf16>(&device, &weights, &plan, &mut |_, _| ()).expect("it fits"));
    });
    Ok(())
}
