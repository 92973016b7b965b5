//! Host code that forgets to wait, and host code that polls, under `stress` with many seeds: what CUDA leaves open has to
//! show in one seed at least, and what it promises has to hold in all.
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks)] // Calling C is what is tested.

mod suite;

use cuda_emulator::driver::{Handle, copy::*, event::*, host_memory::*, stream::*};
use std::{
    ptr,
    time::{Duration, Instant},
};
use suite::*;

const N_SEEDS: usize = 20;
const N_WORDS: usize = 256;
const N_ROUNDS: u32 = 5;
const NOT_READY: u32 = 600;

/// Runs `round` a few times in every seed, each in a process, and returns how many rounds of all saw a wrong value.
#[track_caller]
fn n_wrong(test: &str, round: impl Fn(&Host, u32) -> bool) -> Option<usize> {
    if is_child() {
        let host = Host::new();
        let n_wrong = (1..=N_ROUNDS).filter(|&value| !round(&host, value * 100)).count();
        println!("wrong: {n_wrong}.");
        return None;
    }
    let of_seed = |seed: usize| {
        let output = alone(test, &[("MODE", "stress"), ("SEED", &seed.to_string())]);
        let text = text(&output);
        assert!(output.status.success() && !text.contains("cuda-emulator: "), "seed {seed}: {text}");
        let n_wrong = text.split_once("wrong: ").and_then(|it| it.1.split_once('.')).expect("the child prints it").0;
        n_wrong.parse::<usize>().expect("a number")
    };
    Some((1..=N_SEEDS).map(of_seed).sum())
}

/// It has to go wrong for some seed.
#[track_caller]
fn shows(test: &str, round: impl Fn(&Host, u32) -> bool) {
    if let Some(n_wrong) = n_wrong(test, round) {
        assert!(n_wrong > 0, "nobody sees the bug");
    }
}

/// It has to go right for all seeds.
#[track_caller]
fn holds(test: &str, round: impl Fn(&Host, u32) -> bool) {
    if let Some(n_wrong) = n_wrong(test, round) {
        assert_eq!(n_wrong, 0, "it is right, but wrong values were seen");
    }
}

/// Two streams, and buffers of [`N_WORDS`].
struct Host {
    gpu: Gpu,
    streams: [Handle; 2],
    event: Handle,
    pinned: [*mut u32; 2],
    device: [u64; 2],
}

impl Host {
    fn new() -> Self {
        let gpu = Gpu::with("host", "kernels");
        let stream = || made(ptr::null_mut(), |out| unsafe { cuStreamCreate(out, 1) });
        let pinned = || made(ptr::null_mut(), |out| unsafe { cuMemHostAlloc(out, N_WORDS * 4, 0) }).cast();
        let device = [gpu.zeros(N_WORDS), gpu.zeros(N_WORDS)];
        let event = made(ptr::null_mut(), |out| unsafe { cuEventCreate(out, 0) });
        Self { streams: [stream(), stream()], event, pinned: [pinned(), pinned()], device, gpu }
    }

    fn fill(&self, buffer: usize, value: u32) {
        (0..N_WORDS).for_each(|i| unsafe { ptr::write_volatile(self.pinned[buffer].add(i), value) });
    }

    /// Whether all words are this.
    fn is_all(&self, buffer: usize, value: u32) -> bool {
        (0..N_WORDS).all(|i| unsafe { ptr::read_volatile(self.pinned[buffer].add(i)) } == value)
    }

    /// pinned 0 → device 0
    fn copy_in(&self, stream: usize) {
        let from = self.pinned[0].cast();
        ok(unsafe { cuMemcpyHtoDAsync_v2(self.device[0], from, N_WORDS * 4, self.streams[stream]) });
    }

    /// device 0, doubled → device 1
    fn double(&self, stream: usize) {
        let arguments = [self.device[0], self.device[1], N_WORDS as u64];
        ok(self.gpu.launch_on(self.streams[stream], "doubles", shape(2, 64), &arguments));
    }

    /// device 1 → pinned 1
    fn copy_out(&self, stream: usize) {
        let to = self.pinned[1].cast();
        ok(unsafe { cuMemcpyDtoHAsync_v2(to, self.device[1], N_WORDS * 4, self.streams[stream]) });
    }

    fn wait(&self, stream: usize) {
        ok(unsafe { cuStreamSynchronize(self.streams[stream]) });
    }
}

#[test]
fn a_result_read_without_waiting_is_seen() {
    shows("a_result_read_without_waiting_is_seen", |host, value| {
        host.fill(0, value);
        host.copy_in(0);
        host.double(0);
        host.copy_out(0);
        let is_right = host.is_all(1, 2 * value);
        host.wait(0);
        assert!(host.is_all(1, 2 * value), "after the wait");
        is_right
    });
}

#[test]
fn a_result_read_after_waiting_is_right() {
    holds("a_result_read_after_waiting_is_right", |host, value| {
        host.fill(0, value);
        host.copy_in(0);
        host.double(0);
        host.copy_out(0);
        host.wait(0);
        host.is_all(1, 2 * value)
    });
}

/// A little other work in between is luck, not synchronisation.
#[test]
fn a_result_read_after_a_pause_is_seen() {
    shows("a_result_read_after_a_pause_is_seen", |host, value| {
        host.fill(0, value);
        host.copy_in(0);
        host.double(0);
        host.copy_out(0);
        let start = Instant::now();
        while start.elapsed() < Duration::from_micros(200) {
            std::hint::spin_loop();
        }
        let is_right = host.is_all(1, 2 * value);
        host.wait(0);
        is_right
    });
}

#[test]
fn a_source_overwritten_too_early_is_seen() {
    shows("a_source_overwritten_too_early_is_seen", |host, value| {
        host.fill(0, value);
        host.copy_in(0);
        host.fill(0, 7);
        host.double(0);
        host.copy_out(0);
        host.wait(0);
        host.is_all(1, 2 * value)
    });
}

#[test]
fn a_source_overwritten_after_its_copy_is_right() {
    holds("a_source_overwritten_after_its_copy_is_right", |host, value| {
        host.fill(0, value);
        host.copy_in(0);
        ok(unsafe { cuEventRecord(host.event, host.streams[0]) });
        host.double(0);
        host.copy_out(0);
        ok(unsafe { cuEventSynchronize(host.event) });
        host.fill(0, 7);
        host.wait(0);
        host.is_all(1, 2 * value)
    });
}

/// The second stream takes the result of the first without waiting for it.
#[test]
fn streams_without_an_event_are_seen() {
    shows("streams_without_an_event_are_seen", |host, value| {
        host.fill(0, value);
        host.copy_in(0);
        host.double(0);
        host.copy_out(1);
        host.wait(1);
        let is_right = host.is_all(1, 2 * value);
        host.wait(0);
        is_right
    });
}

#[test]
fn streams_with_an_event_are_right() {
    holds("streams_with_an_event_are_right", |host, value| {
        host.fill(0, value);
        host.copy_in(0);
        host.double(0);
        ok(unsafe { cuEventRecord(host.event, host.streams[0]) });
        ok(unsafe { cuStreamWaitEvent(host.streams[1], host.event, 0) });
        host.copy_out(1);
        host.wait(1);
        host.is_all(1, 2 * value)
    });
}

/// Until `is_done`; 20 seconds are for ever.
#[track_caller]
fn poll(mut is_done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_done() {
        assert!(start.elapsed() < Duration::from_secs(20), "nobody does the work");
    }
}

#[test]
fn a_host_that_polls_a_flag_goes_on() {
    holds("a_host_that_polls_a_flag_goes_on", |host, value| {
        let [data, flag] = host.pinned;
        let arguments = [data as u64, flag as u64, u64::from(value)];
        ok(host.gpu.launch_on(host.streams[0], "raises_a_flag", shape(1, 32), &arguments));
        poll(|| unsafe { ptr::read_volatile(flag) } == value);
        (0..32).all(|i| unsafe { ptr::read_volatile(data.add(i)) } == value + i as u32)
    });
}

#[test]
fn a_host_that_queries_an_event_goes_on() {
    holds("a_host_that_queries_an_event_goes_on", |host, value| {
        host.fill(0, value);
        host.copy_in(0);
        host.double(0);
        host.copy_out(0);
        ok(unsafe { cuEventRecord(host.event, host.streams[0]) });
        poll(|| match unsafe { cuEventQuery(host.event) } {
            NOT_READY => false,
            code => {
                ok(code);
                true
            }
        });
        host.is_all(1, 2 * value)
    });
}

#[test]
fn a_host_that_queries_a_stream_goes_on() {
    holds("a_host_that_queries_a_stream_goes_on", |host, value| {
        host.fill(0, value);
        host.copy_in(0);
        host.double(0);
        host.copy_out(0);
        poll(|| match unsafe { cuStreamQuery(host.streams[0]) } {
            NOT_READY => false,
            code => {
                ok(code);
                true
            }
        });
        host.is_all(1, 2 * value)
    });
}
