//! What it took to get to the first token, step by step.

use std::fmt;
use std::time::Duration;

use gale::loader::{LoadTimes, Moved};

use super::timing::{Seconds, figures};

pub struct ColdStart {
    /// Config, the headers of the weights, tokenizer.
    pub prepare: Duration,
    pub load: LoadTimes,
    /// The prompt, and the choice of the first token.
    pub first_token: Duration,
}

/// A line for each step, and the whole against what no loader can avoid: reading the files and copying them.
impl fmt::Display for ColdStart {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let LoadTimes { open, read, upload, jit, load, warm_up_and_capture } = self.load;
        let total = self.prepare + open + load + warm_up_and_capture + self.first_token;
        let ratio = figures(total.as_secs_f64() / (read.busy + upload.busy).as_secs_f64());
        let mut line = |step, time, note: &str| writeln!(f, "{step:<12} {:>9}  {note}", Seconds(time).to_string());
        line("prepare", self.prepare, "config, headers of the weights, tokenizer")?;
        line("open", open, "driver and context")?;
        line("  read", read.busy, &rate(read))?;
        line("  upload", upload.busy, &rate(upload))?;
        line("  compile", jit, "kernels, from PTX")?;
        line("load", load, "these three beside each other")?;
        line("warm-up", warm_up_and_capture, "and capture of the graph")?;
        line("first token", self.first_token, "from the prompt")?;
        write!(f, "{:<12} {:>9}  {ratio} x (read + upload)", "all", Seconds(total).to_string())
    }
}

fn rate(moved: Moved) -> String {
    format!("{} GB, {} GB/s", figures(moved.bytes as f64 / 1e9), figures(moved.gb_per_s()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_has_a_line() {
        let ms = Duration::from_millis;
        let moved = |n| Moved { bytes: 14_480_000_000, busy: ms(n) };
        let load = LoadTimes {
            open: ms(180),
            read: moved(1000),
            upload: moved(250),
            jit: ms(400),
            load: ms(1100),
            warm_up_and_capture: ms(20),
        };
        let text = ColdStart { prepare: ms(100), load, first_token: ms(50) }.to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 9);
        assert_eq!(lines[2], "  read          1.00 s  14.5 GB, 14.5 GB/s");
        assert_eq!(lines[3], "  upload       0.250 s  14.5 GB, 57.9 GB/s");
        assert_eq!(lines[8], "all             1.45 s  1.16 x (read + upload)");
    }
}
