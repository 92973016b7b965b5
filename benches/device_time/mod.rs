//! Time as the device's events tell it, for criterion.

use criterion::Throughput;
use criterion::measurement::{Measurement, ValueFormatter};
use gale::device::{Device, Event};
use std::time::Duration;

/// Between two events on this device's stream.
pub struct DeviceTime(pub Device);

impl Measurement for DeviceTime {
    type Intermediate = Event;
    type Value = Duration;

    fn start(&self) -> Event {
        self.0.record().expect("the device runs")
    }

    fn end(&self, start: Event) -> Duration {
        let end = self.start();
        end.wait().expect("the device runs");
        Duration::from_secs_f32(start.elapsed_ms(&end).expect("both have passed").max(0.0) / 1e3)
    }

    fn add(&self, a: &Duration, b: &Duration) -> Duration {
        *a + *b
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, time: &Duration) -> f64 {
        time.as_nanos() as f64
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        &Nanoseconds
    }
}

/// Times in µs, and bytes in GB/s, as everywhere in gale.
struct Nanoseconds;

impl ValueFormatter for Nanoseconds {
    fn scale_values(&self, _: f64, values: &mut [f64]) -> &'static str {
        values.iter_mut().for_each(|it| *it /= 1e3);
        "µs"
    }

    fn scale_throughputs(&self, _: f64, throughput: &Throughput, values: &mut [f64]) -> &'static str {
        let Throughput::Bytes(n) = *throughput else { unreachable!("only bytes are counted here") };
        values.iter_mut().for_each(|it| *it = n as f64 / *it);
        "GB/s"
    }

    fn scale_for_machines(&self, _: &mut [f64]) -> &'static str {
        "ns"
    }
}
