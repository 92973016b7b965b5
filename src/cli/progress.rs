//! What is going on, for those who wait: a bar on a terminal, else one line for what took long.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressFinish, ProgressStyle};

use super::say;

/// Shorter waits need no word.
const LONG: Duration = Duration::from_secs(2);

pub struct Progress {
    doing: &'static str,
    /// Hidden where stderr is no terminal.
    bar: ProgressBar,
    started: Instant,
}

impl Progress {
    pub fn of_bytes(doing: &'static str) -> Self {
        Self::new(doing, "{msg} {wide_bar} {bytes}/{total_bytes}, {bytes_per_sec}, {eta} left")
    }

    pub fn of_tokens(doing: &'static str, n_tokens: usize) -> Self {
        let it = Self::new(doing, "{msg} {wide_bar} {pos}/{len} tokens, {per_sec}, {eta} left");
        it.set(0, n_tokens as u64);
        it
    }

    fn new(doing: &'static str, template: &str) -> Self {
        let style = ProgressStyle::with_template(template).expect("the template is ours");
        let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr())
            .with_style(style)
            .with_finish(ProgressFinish::AndClear)
            .with_message(doing);
        Self { doing, bar, started: Instant::now() }
    }

    pub fn set(&self, done: u64, total: u64) {
        self.bar.set_length(total);
        self.bar.set_position(done);
    }

    /// Takes the bar away. Not calling this, because of an error, does so too.
    pub fn finish(self) {
        self.bar.finish_and_clear();
        if self.bar.is_hidden() && self.started.elapsed() > LONG {
            say(format_args!("{} took {:.1} s", self.doing, self.started.elapsed().as_secs_f64()));
        }
    }
}
