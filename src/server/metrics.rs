//! Counters, gauges and histograms, in the text that Prometheus reads. Names and meanings are vLLM's where it has them.

use super::job::{FinishReason, Usage};
use std::fmt::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// vLLM's buckets for the time to the first token, in seconds.
const TO_FIRST: &[f64] = &[
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0,
    160.0, 640.0, 2560.0,
];
/// Its buckets between tokens, and finer ones for a card that makes hundreds of tokens a second.
const BETWEEN: &[f64] = &[
    0.001, 0.002, 0.003, 0.004, 0.005, 0.006, 0.008, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75,
    1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0,
];
const REQUEST: &[f64] = &[
    0.01, 0.05, 0.1, 0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0,
    480.0, 960.0, 1920.0, 7680.0,
];
const TOKENS: &[f64] = &[
    1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0, 10000.0, 20000.0, 50000.0, 100000.0,
];

#[derive(Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }
}

#[derive(Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    pub fn set(&self, value: f64) {
        self.0.store(value.to_bits(), Ordering::Relaxed);
    }

    fn get(&self) -> f64 {
        f64::from_bits(self.0.load(Ordering::Relaxed))
    }
}

/// Values by the first bucket whose bound they do not exceed.
pub struct Histogram {
    bounds: &'static [f64],
    state: Mutex<(Vec<u64>, f64)>,
}

impl Histogram {
    fn new(bounds: &'static [f64]) -> Histogram {
        Histogram { bounds, state: Mutex::new((vec![0; bounds.len() + 1], 0.0)) }
    }

    pub fn observe(&self, value: f64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.0[self.bounds.partition_point(|bound| *bound < value)] += 1;
        state.1 += value;
    }

    pub fn observe_time(&self, time: Duration) {
        self.observe(time.as_secs_f64());
    }
}

/// All of them. The names are those under which [`Metrics::text`] gives them out.
pub struct Metrics {
    model: String,
    pub running: Gauge,
    /// What the device took for the last request.
    last_seconds: Gauge,
    pub cache_usage: Gauge,
    pub allocated_bytes: Gauge,
    pub startup_seconds: Gauge,
    pub prompt_tokens: Counter,
    pub generation_tokens: Counter,
    pub cached_tokens: Counter,
    finished: [Counter; 2],
    /// The client left, or the server had to end.
    pub cancelled: Counter,
    pub failed: Counter,
    /// There was no room in the queue.
    pub rejected: Counter,
    pub to_first_token: Histogram,
    pub between_tokens: Histogram,
    pub per_output_token: Histogram,
    pub end_to_end: Histogram,
    pub queued: Histogram,
    pub prefill: Histogram,
    pub decode: Histogram,
    pub inference: Histogram,
    pub request_prompt_tokens: Histogram,
    pub request_generation_tokens: Histogram,
}

impl Metrics {
    pub fn new(model: &str) -> Metrics {
        Metrics {
            model: model.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n"),
            running: Gauge::default(),
            last_seconds: Gauge::default(),
            cache_usage: Gauge::default(),
            allocated_bytes: Gauge::default(),
            startup_seconds: Gauge::default(),
            prompt_tokens: Counter::default(),
            generation_tokens: Counter::default(),
            cached_tokens: Counter::default(),
            finished: Default::default(),
            cancelled: Counter::default(),
            failed: Counter::default(),
            rejected: Counter::default(),
            to_first_token: Histogram::new(TO_FIRST),
            between_tokens: Histogram::new(BETWEEN),
            per_output_token: Histogram::new(BETWEEN),
            end_to_end: Histogram::new(REQUEST),
            queued: Histogram::new(REQUEST),
            prefill: Histogram::new(REQUEST),
            decode: Histogram::new(REQUEST),
            inference: Histogram::new(REQUEST),
            request_prompt_tokens: Histogram::new(TOKENS),
            request_generation_tokens: Histogram::new(TOKENS),
        }
    }

    /// A request has left the queue.
    pub fn start(&self, arrived: Instant) -> Clock {
        let started = Instant::now();
        self.running.set(1.0);
        self.queued.observe_time(started - arrived);
        Clock { arrived, started, first: None, last: None, choice: 0 }
    }

    /// Nothing runs.
    pub fn idle(&self) {
        self.running.set(0.0);
        self.cache_usage.set(0.0);
    }

    /// An answer is whole.
    pub fn finished(&self, reason: FinishReason) -> &Counter {
        &self.finished[reason as usize]
    }

    /// A request is answered.
    pub fn finish(&self, clock: &Clock, usage: Usage) {
        let now = Instant::now();
        self.prompt_tokens.add(usage.n_prompt as u64);
        self.generation_tokens.add(usage.n_completion as u64);
        self.cached_tokens.add(usage.n_cached as u64);
        self.request_prompt_tokens.observe(usage.n_prompt as f64);
        self.request_generation_tokens.observe(usage.n_completion as f64);
        self.end_to_end.observe_time(now - clock.arrived);
        self.last_seconds.set((now - clock.started).as_secs_f64());
        self.inference.observe_time(now - clock.started);
        if let (Some(first), Some(last)) = (clock.first, clock.last) {
            self.prefill.observe_time(first - clock.started);
            self.decode.observe_time(last - first);
            if usage.n_completion > 1 {
                self.per_output_token.observe((last - first).as_secs_f64() / (usage.n_completion - 1) as f64);
            }
        }
    }

    /// In how many seconds there may be room in the queue: when another request like the last one is done.
    pub fn retry_after(&self) -> u64 {
        self.last_seconds.get().ceil().clamp(1.0, 60.0) as u64
    }

    /// What Prometheus reads.
    pub fn text(&self, n_waiting: usize) -> String {
        let mut out = Text { text: String::new(), model: &self.model };
        self.write(&mut out, n_waiting).expect("a string takes everything");
        out.text
    }

    fn write(&self, out: &mut Text, n_waiting: usize) -> fmt::Result {
        let count = |it: &Counter| it.0.load(Ordering::Relaxed) as f64;
        out.gauge("vllm:num_requests_running", "Requests that the device works on.", self.running.get())?;
        out.gauge("vllm:num_requests_waiting", "Requests that wait for the device.", n_waiting as f64)?;
        out.gauge("vllm:kv_cache_usage_perc", "Part of the cache that is in use, 1 is all.", self.cache_usage.get())?;
        out.gauge("gale:device_allocated_bytes", "Device memory that is allocated.", self.allocated_bytes.get())?;
        out.gauge("gale:startup_seconds", "From the start to the first request.", self.startup_seconds.get())?;
        let queries = count(&self.prompt_tokens);
        out.counter("vllm:prefix_cache_queries", "Tokens looked for in the cache.", queries)?;
        out.counter("vllm:prefix_cache_hits", "Tokens found there.", count(&self.cached_tokens))?;
        out.counter("vllm:prompt_tokens", "Tokens of prompts.", queries)?;
        out.counter("vllm:generation_tokens", "Tokens of answers.", count(&self.generation_tokens))?;
        out.head("vllm:request_success_total", "Answers by what ended them.", "counter")?;
        for reason in [FinishReason::Stop, FinishReason::Length] {
            let label = format!(",finished_reason=\"{}\"", reason.name());
            out.line("vllm:request_success_total", &label, count(self.finished(reason)))?;
        }
        out.counter("gale:requests_cancelled", "Requests given up, as their clients left.", count(&self.cancelled))?;
        out.counter("gale:requests_failed", "Requests that ended in an error.", count(&self.failed))?;
        out.counter("gale:requests_rejected", "Requests for which the queue had no room.", count(&self.rejected))?;
        for (name, help, it) in [
            ("vllm:time_to_first_token_seconds", "From arrival to the first token.", &self.to_first_token),
            ("vllm:inter_token_latency_seconds", "From a token to the next.", &self.between_tokens),
            ("vllm:request_time_per_output_token_seconds", "Its mean in a request.", &self.per_output_token),
            ("vllm:e2e_request_latency_seconds", "From arrival to the end.", &self.end_to_end),
            ("vllm:request_queue_time_seconds", "In the queue.", &self.queued),
            ("vllm:request_prefill_time_seconds", "To the first token, without the queue.", &self.prefill),
            ("vllm:request_decode_time_seconds", "From the first token to the last.", &self.decode),
            ("vllm:request_inference_time_seconds", "On the device.", &self.inference),
            ("vllm:request_prompt_tokens", "Tokens of a request's prompts.", &self.request_prompt_tokens),
            ("vllm:request_generation_tokens", "Tokens of its answers.", &self.request_generation_tokens),
        ] {
            out.histogram(name, help, it)?;
        }
        Ok(())
    }
}

/// When things happened to a request.
pub struct Clock {
    arrived: Instant,
    started: Instant,
    first: Option<Instant>,
    last: Option<Instant>,
    /// The answer that the last token belongs to.
    choice: usize,
}

impl Clock {
    /// A token is known.
    pub fn token(&mut self, metrics: &Metrics, choice: usize) {
        let now = Instant::now();
        match self.last {
            None => metrics.to_first_token.observe_time(now - self.arrived),
            Some(last) if choice == self.choice => metrics.between_tokens.observe_time(now - last),
            Some(_) => {} // another prompt, or the same again, lies between them
        }
        self.first.get_or_insert(now);
        (self.last, self.choice) = (Some(now), choice);
    }

    /// A line about the whole request: `37 + 8 tokens, TTFT 12.1 ms, 4.20 ms/token`.
    pub fn line(&self, usage: Usage) -> String {
        let ms = |it: Duration| format!("{:.2} ms", 1e3 * it.as_secs_f64());
        let Usage { n_prompt, n_completion, .. } = usage;
        let mut line = format!("{n_prompt} + {n_completion} tokens");
        if let (Some(first), Some(last)) = (self.first, self.last) {
            line += &format!(", TTFT {}", ms(first - self.arrived));
            if n_completion > 1 {
                line += &format!(", {}/token", ms((last - first) / (n_completion - 1) as u32));
            }
        }
        line
    }
}

struct Text<'a> {
    text: String,
    model: &'a str,
}

impl Text<'_> {
    fn head(&mut self, name: &str, help: &str, kind: &str) -> fmt::Result {
        writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}")
    }

    fn line(&mut self, name: &str, labels: &str, value: f64) -> fmt::Result {
        writeln!(self.text, "{name}{{model_name=\"{}\"{labels}}} {value}", self.model)
    }

    fn gauge(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        self.head(name, help, "gauge")?;
        self.line(name, "", value)
    }

    fn counter(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        let name = format!("{name}_total");
        self.head(&name, help, "counter")?;
        self.line(&name, "", value)
    }

    fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) -> fmt::Result {
        self.head(name, help, "histogram")?;
        let (counts, sum) = histogram.state.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut n = 0;
        let bounds = histogram.bounds.iter().map(f64::to_string).chain(["+Inf".to_owned()]);
        for (bound, count) in bounds.zip(counts) {
            n += count;
            self.line(&format!("{name}_bucket"), &format!(",le=\"{bound}\""), n as f64)?;
        }
        self.line(&format!("{name}_sum"), "", sum)?;
        self.line(&format!("{name}_count"), "", n as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_cumulative() {
        let metrics = Metrics::new("a \"model\"");
        for ms in [0.5, 1.0, 3.5, 90_000.0] {
            metrics.between_tokens.observe(ms / 1e3);
        }
        let text = metrics.text(3);
        let lines: Vec<&str> = text.lines().filter(|it| it.starts_with("vllm:inter_token")).collect();
        let value = |label: &str| lines.iter().find(|it| it.contains(label)).unwrap().rsplit(' ').next().unwrap();
        let bounds = [r#"le="0.001""#, r#"le="0.003""#, r#"le="0.004""#, r#"le="80""#, r#"le="+Inf""#, "_count"];
        assert_eq!(bounds.map(value), ["2", "2", "3", "3", "4", "4"]);
        assert_eq!(value("_sum"), "90.005");
        assert!(text.contains("vllm:num_requests_waiting{model_name=\"a \\\"model\\\"\"} 3\n"), "{text}");
    }
}
