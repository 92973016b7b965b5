//! The line of figures at the end.

use std::fmt;
use std::time::{Duration, Instant};

pub struct Timing {
    n_prompt: usize,
    /// Of the prompt, those that were not computed again.
    n_cached: usize,
    started: Instant,
    /// When the first token was known, and the last one.
    first: Option<Instant>,
    last: Option<Instant>,
    n_tokens: usize,
}

impl Timing {
    pub fn start(n_prompt: usize) -> Self {
        Self { n_prompt, n_cached: 0, started: Instant::now(), first: None, last: None, n_tokens: 0 }
    }

    /// The cache held so many tokens of the prompt.
    pub fn cached(&mut self, n: usize) {
        self.n_cached = n;
    }

    /// A token was chosen.
    pub fn token(&mut self) {
        let now = Instant::now();
        self.first.get_or_insert(now);
        self.last = Some(now);
        self.n_tokens += 1;
    }

    /// From the start to the first token, if there was one.
    pub fn to_first_token(&self) -> Option<Duration> {
        Some(self.first? - self.started)
    }
}

/// `prompt 37 tokens, TTFT 2.13 s (17.4 tokens/s); 8 tokens, 4.90 tokens/s, 204 ms/token`. The first token belongs to
/// the prompt: the rate is that of the others.
impl fmt::Display for Timing {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "prompt {}", tokens(self.n_prompt))?;
        if self.n_cached > 0 {
            write!(f, ", {} of them in the cache", self.n_cached)?;
        }
        let (Some(ttft), Some(first), Some(last)) = (self.to_first_token(), self.first, self.last) else {
            return write!(f, ", interrupted after {}", Seconds(self.started.elapsed()));
        };
        let rate = figures((self.n_prompt - self.n_cached) as f64 / ttft.as_secs_f64());
        write!(f, ", TTFT {} ({rate} tokens/s); {}", Seconds(ttft), tokens(self.n_tokens))?;
        if self.n_tokens > 1 {
            let each = (last - first).as_secs_f64() / (self.n_tokens - 1) as f64;
            write!(f, ", {} tokens/s, {} ms/token", figures(1.0 / each), figures(1e3 * each))?;
        }
        Ok(())
    }
}

pub(super) struct Seconds(pub Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} s", figures(self.0.as_secs_f64()))
    }
}

pub fn tokens(n: usize) -> String {
    format!("{n} token{}", if n == 1 { "" } else { "s" })
}

/// Three of them.
pub(super) fn figures(x: f64) -> String {
    let n_before_point = x.abs().max(1e-3).log10().floor() as i32 + 1;
    format!("{x:.*}", (3 - n_before_point).clamp(0, 5) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_figures() {
        assert_eq!([0.0213, 2.126, 17.42, 204.4, 1234.5].map(figures), ["0.0213", "2.13", "17.4", "204", "1234"]);
    }

    #[test]
    fn the_first_token_is_the_prompts() {
        let started = Instant::now();
        let at = |ms| Some(started + Duration::from_millis(ms));
        let mut timing = Timing { n_prompt: 37, n_cached: 0, started, first: at(2000), last: at(3400), n_tokens: 8 };
        let line = "prompt 37 tokens, TTFT 2.00 s (18.5 tokens/s); 8 tokens, 5.00 tokens/s, 200 ms/token";
        assert_eq!(timing.to_string(), line);
        timing.n_tokens = 1;
        assert_eq!(timing.to_string(), "prompt 37 tokens, TTFT 2.00 s (18.5 tokens/s); 1 token");
    }
}
