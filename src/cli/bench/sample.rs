//! Runs the tests and keeps the times.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use gale::device::Device;
use gale::error::Result;
use gale::session::Session;
use gale::workload::percentile;

use super::Workload;
use crate::cli::health::Health;

/// The times of a test's repetitions.
pub struct Samples {
    /// Of all tokens together, one a repetition.
    pub totals: Vec<Duration>,
    /// Of each token, where tokens come one by one, shortest first.
    pub tokens: Vec<Duration>,
}

/// The time of each step of one repetition.
type Steps = Vec<Duration>;

/// Repeats a test on a session that holds `depth` tokens. A GPU runs it once before, to be warm.
pub fn measure(
    device: &Device,
    session: &mut Session,
    work: &Workload,
    health: &mut Health,
    test: fn(&Device, &mut Session, &Workload) -> Result<Steps>,
) -> Result<Samples> {
    let n_warm_up = if device.is_emulator() { 0 } else { 1 };
    let mut samples = Samples { totals: vec![], tokens: vec![] };
    for repetition in 0..n_warm_up + work.repetitions {
        session.reset()?;
        if work.depth > 0 {
            feed(session, work.depth)?;
        }
        device.synchronize()?;
        let steps = test(device, session, work)?;
        if repetition >= n_warm_up {
            health.look();
            samples.totals.push(steps.iter().sum());
            samples.tokens.extend(steps);
        }
    }
    samples.tokens.sort();
    Ok(samples)
}

/// One step: the prompt, until the host has the id of the token after it.
pub fn prefill(_: &Device, session: &mut Session, work: &Workload) -> Result<Steps> {
    let start = Instant::now();
    feed(session, work.n_prompt)?;
    session.choice()?;
    Ok(vec![start.elapsed()])
}

/// A step a token: the likeliest after the last. As when text is generated, the host reads a token while the device takes
/// it, so the time is that between two tokens.
pub fn decode(_: &Device, session: &mut Session, work: &Workload) -> Result<Steps> {
    if work.depth == 0 {
        session.decode(0)?;
    }
    session.next_token()?; // which is there already, and puts the first step under way
    let mut start = Instant::now();
    (0..work.n_gen)
        .map(|_| {
            session.next_token()?;
            let end = Instant::now();
            Ok(end - std::mem::replace(&mut start, end))
        })
        .collect()
}

/// Tokens that differ from one another.
fn feed(session: &mut Session, n_tokens: u32) -> Result<()> {
    let vocab_size = session.config().vocab_size;
    let ids: Vec<u32> = (0..n_tokens).map(|i| i.wrapping_mul(7919) % vocab_size).collect();
    session.prefill(&ids, &mut |_| ControlFlow::Continue(()))
}

impl Samples {
    /// Tokens a second, one a repetition.
    pub fn rates(&self, n_tokens: u32) -> Vec<f64> {
        self.totals.iter().map(|total| f64::from(n_tokens) / total.as_secs_f64()).collect()
    }

    /// The time that a share of the tokens does not exceed.
    pub fn percentile(&self, share: f64) -> Duration {
        percentile(&self.tokens, share)
    }
}

/// A deviation beyond this share of the mean is said.
pub const MAX_SPREAD: f64 = 0.02;

/// The deviation of the samples, as a share of their mean.
pub fn spread(samples: &[f64]) -> f64 {
    let (mean, deviation) = mean_and_deviation(samples);
    deviation / mean
}

/// Mean and sample standard deviation, 0 for a single one.
pub fn mean_and_deviation(samples: &[f64]) -> (f64, f64) {
    let n = samples.len() as f64;
    let mean = samples.iter().sum::<f64>() / n;
    let squares: f64 = samples.iter().map(|it| (it - mean).powi(2)).sum();
    (mean, (squares / (n - 1.0).max(1.0)).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_those_of_the_textbook() {
        assert_eq!(mean_and_deviation(&[2.0, 4.0, 6.0]), (4.0, 2.0));
        assert_eq!(mean_and_deviation(&[5.0]), (5.0, 0.0));
        assert_eq!((spread(&[2.0, 4.0, 6.0]), spread(&[5.0])), (0.5, 0.0));
        let tokens = (1..=100).map(Duration::from_millis).collect();
        let samples = Samples { totals: vec![Duration::from_millis(500)], tokens };
        assert_eq!([0.5, 0.99, 1.0].map(|share| samples.percentile(share).as_millis()), [50, 99, 100]);
        assert_eq!(samples.rates(8), [16.0]);
    }
}
