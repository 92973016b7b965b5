//! The rows as a table and as JSON: what was measured on a GPU; what was counted and is predicted on the emulator.

use std::fmt::Write as _;
use std::time::Duration;

use gale::device::{Cost, Counters, Device};
use gale::plan::Bytes;
use gale::roofline::{CARDS, Card, GAP};
use serde_json::{Value, json};

use super::Work;
use super::rows::Row;
use crate::cli::bandwidth::Bandwidth;
use crate::cli::health::Health;

pub struct Profiled<'a> {
    pub model: &'a str,
    pub work: &'a Work,
    pub device: &'a Device,
    /// Of the first token.
    pub position: u64,
    /// Unless nothing ran.
    pub bandwidth: Option<Bandwidth>,
    /// While it ran, if it did.
    pub health: Option<&'a Health>,
    /// Of what is only predicted.
    pub room: Option<Room>,
    /// The same in one go, on a GPU.
    pub time: Option<Duration>,
    pub rows: &'a [Row],
}

/// What a card and the model must have room for, so that what is predicted can run.
pub struct Room {
    /// Weights, cache and scratch.
    pub device_bytes: u64,
    /// Positions that the model was trained for, if it has no window.
    pub end: Option<u32>,
    /// With those of the step or chunk.
    pub n_positions: u32,
}

impl Room {
    fn is_in_model(&self) -> bool {
        self.end.is_none_or(|end| self.n_positions <= end)
    }

    fn is_in(&self, card: &Card) -> bool {
        self.is_in_model() && self.device_bytes <= card.memory_bytes
    }

    /// What there is no room for, a line each.
    fn text(&self) -> String {
        let mut text = String::new();
        if let (false, Some(end)) = (self.is_in_model(), self.end) {
            let _ = writeln!(text, "the model was trained for {end} positions, and these are {}", self.n_positions);
        }
        for card in CARDS.iter().filter(|it| self.device_bytes > it.memory_bytes) {
            let [takes, has] = [self.device_bytes, card.memory_bytes].map(Bytes);
            let _ =
                writeln!(text, "{}: weights, cache and scratch take {takes} and do not fit into its {has}", card.name);
        }
        text
    }
}

pub fn us(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// Columns of what the emulator counts, and their widths.
const COUNTERS: [(&str, usize); 5] = [("MB DRAM", 9), ("sectors", 7), ("shared", 7), ("k instr.", 9), ("k mma", 8)];

fn counter_cells(it: &Counters) -> [String; COUNTERS.len()] {
    let dram = it.counts.dram_read_bytes + it.counts.dram_write_bytes;
    [
        format!("{:.3}", dram as f64 / 1e6),
        format!("{:.3}", it.sectors_per_ideal()),
        format!("{:.3}", it.wavefronts_per_ideal()),
        format!("{:.1}", it.counts.warp_instructions as f64 / 1e3),
        format!("{:.1}", it.mma() as f64 / 1e3),
    ]
}

impl Profiled<'_> {
    pub fn table(&self) -> String {
        let (work, device) = (self.work.name(), self.device.name());
        let mut out = format!("{}, {work} at position {} on {device}\n\n", self.model, self.position);
        match self.time {
            Some(time) => self.measured(&mut out, time),
            None => self.counted(&mut out),
        }
        out += &self.health.map_or(String::new(), Health::text);
        out += &self.room.as_ref().map_or(String::new(), Room::text);
        out
    }

    fn n_calls(&self) -> u32 {
        self.rows.iter().map(|row| row.n_calls).sum()
    }

    fn kernels_time(&self) -> Duration {
        self.rows.iter().filter_map(|row| row.time).sum()
    }

    /// What of the step's time is no kernel's. Kernels by themselves are timed with their events, so it may come out
    /// negative.
    fn gaps_us(&self, step: Duration) -> f64 {
        us(step) - us(self.kernels_time())
    }

    fn percent_of_read(&self, row: &Row) -> Option<f64> {
        let bytes_per_s = row.total()?.bytes as f64 / row.time?.as_secs_f64();
        Some(100.0 * bytes_per_s / self.bandwidth?.read)
    }

    fn measured(&self, out: &mut String, step: Duration) {
        let _ = writeln!(
            out,
            "| {:<24} | {:>5} | {:>9} | {:>9} | {:>9} | {:>8} | {:>9} | {:>7} |\n\
             | {:-<24} | ----: | --------: | --------: | --------: | -------: | --------: | ------: |",
            "kernel", "calls", "µs", "MB", "GFLOP", "GB/s", "% of read", "share %", ""
        );
        let bandwidth = self.bandwidth.expect("it is measured before anything else");
        for row in self.rows {
            let time = row.time.unwrap_or_default();
            let share = 100.0 * us(time) / us(step);
            let _ = write!(out, "| {:<24} | {:>5} | {:>9.2} |", row.kernel, row.n_calls, us(time));
            let _ = match row.total() {
                Some(Cost { bytes, flops }) => {
                    let rate = bytes as f64 / time.as_secs_f64();
                    let percent = self.percent_of_read(row).unwrap_or(f64::NAN);
                    let (mb, gflop) = (bytes as f64 / 1e6, flops as f64 / 1e9);
                    write!(out, " {mb:>9.2} | {gflop:>9.3} | {:>8.1} | {percent:>9.1} |", rate / 1e9)
                }
                None => write!(out, " {:>9} | {:>9} | {:>8} | {:>9} |", "", "", "", ""),
            };
            let _ = writeln!(out, " {share:>7.1} |");
        }
        let blank = |out: &mut String, name: &str, n_calls: u32, us_: f64| {
            let share = 100.0 * us_ / us(step);
            let _ = writeln!(
                out,
                "| {name:<24} | {n_calls:>5} | {us_:>9.2} | {:>9} | {:>9} | {:>8} | {:>9} | {share:>7.1} |",
                "", "", "", ""
            );
        };
        blank(out, "gaps", self.n_calls(), self.gaps_us(step));
        blank(out, self.work.whole(), 1, us(step));
        let _ = writeln!(out, "\n{bandwidth}; each kernel's time has its events in it, about a microsecond");
    }

    fn counted(&self, out: &mut String) {
        let ran = self.rows.iter().any(|row| row.counters.is_some());
        let counters = if ran { &COUNTERS[..] } else { &[] };
        let cards = CARDS.map(|card| (card.name, 8));
        let columns = [&[("calls", 5), ("MB", 9), ("GFLOP", 9)], counters, &cards].concat();
        let mut line = |name: &str, cells: &[String]| {
            let _ = write!(out, "| {name:<24} |");
            for (cell, (_, width)) in cells.iter().zip(&columns) {
                let _ = write!(out, " {cell:>width$} |");
            }
            out.push('\n');
        };
        let times = |us: &dyn Fn(&Card) -> f64| CARDS.map(|card| format!("{:.2}", us(&card)));
        line("kernel", &columns.iter().map(|(name, _)| (*name).to_owned()).collect::<Vec<_>>());
        line(&"-".repeat(24), &columns.iter().map(|(_, width)| format!("{:->1$}:", "", width - 1)).collect::<Vec<_>>());
        for row in self.rows {
            let of_cost = |of: fn(Cost) -> String| row.total().map_or(String::new(), of);
            let mut cells = vec![
                row.n_calls.to_string(),
                of_cost(|it| format!("{:.3}", it.bytes as f64 / 1e6)),
                of_cost(|it| format!("{:.4}", it.flops as f64 / 1e9)),
            ];
            cells.extend(row.counters.as_ref().map(counter_cells).into_iter().flatten());
            cells.extend(times(&|card| predicted_us(row, card)));
            line(row.kernel, &cells);
        }
        let mut blank = |name: &str, n_calls: u32, times: [String; CARDS.len()]| {
            let cells = [vec![n_calls.to_string()], vec![String::new(); 2 + counters.len()], times.to_vec()];
            line(name, &cells.concat());
        };
        blank("gaps", self.n_calls(), times(&|_| gaps_us(self.rows)));
        blank(&self.work.name(), 1, times(&|card| step_us(self.rows, card)));
        out.push('\n');
        if ran {
            out.push_str("sectors, shared: of global and shared memory, for each that is needed. ");
        }
        out.push_str(
            "The times are PREDICTED, in µs, from bytes, FLOPs and data sheets (src/roofline.rs): no card ran anything.\n",
        );
    }

    pub fn json(&self) -> String {
        let rows: Vec<Value> = self.rows.iter().map(|row| self.row(row)).collect();
        let predicted = |us_: &dyn Fn(&Card) -> f64| -> Value {
            CARDS.iter().map(|card| (card.name.to_owned(), Value::from(us_(card)))).collect()
        };
        let mut it = json!({
            "gale_version": env!("CARGO_PKG_VERSION"),
            "model": self.model,
            "gpu_info": self.device.name(),
            "counts_as_gpu_speed": !self.device.is_emulator(),
            "position": self.position,
            "n_tokens": self.work.n_tokens(),
            "copy_gb_per_s": self.bandwidth.map(|it| it.copy / 1e9),
            "read_gb_per_s": self.bandwidth.map(|it| it.read / 1e9),
            "n_launches": self.n_calls(),
            "predicted_gaps_us": gaps_us(self.rows),
            "predicted_step_us": predicted(&|card| step_us(self.rows, card)),
            "health": self.health.map(Health::json),
            "kernels": rows,
        });
        if let Some(room) = &self.room {
            it["device_bytes"] = room.device_bytes.into();
            it["fits"] = CARDS.iter().map(|card| (card.name.to_owned(), Value::from(room.is_in(card)))).collect();
        }
        if let Some(step) = self.time {
            it["step_us"] = us(step).into();
            it["gaps_us"] = self.gaps_us(step).into();
        }
        format!("{it:#}\n")
    }

    fn row(&self, row: &Row) -> Value {
        let predicted: Value =
            CARDS.iter().map(|card| (card.name.to_owned(), Value::from(predicted_us(row, card)))).collect();
        let mut it = json!({
            "kernel": row.kernel,
            "calls": row.n_calls,
            "bytes": row.total().map(|it| it.bytes),
            "flops": row.total().map(|it| it.flops),
            "predicted_us": predicted,
        });
        if let Some(time) = row.time {
            it["us"] = us(time).into();
            it["gb_per_s"] = row.total().map(|it| it.bytes as f64 / time.as_secs_f64() / 1e9).into();
            it["percent_of_read"] = self.percent_of_read(row).into();
            it["percent_of_step"] = self.time.map(|step| 100.0 * us(time) / us(step)).into();
        }
        if let Some(counters) = &row.counters {
            let named = counters.counts.named().map(|(name, n)| (name.to_owned(), Value::from(n)));
            it["counters"] = named.collect();
            it["counters"]["mma"] = counters.mma().into();
        }
        it
    }
}

/// All launches of a row; one whose launcher says nothing waits for memory like any other.
pub fn predicted_us(row: &Row, card: &Card) -> f64 {
    f64::from(row.n_calls) * us(card.predicted(row.cost.unwrap_or_default(), row.mma))
}

fn gaps_us(rows: &[Row]) -> f64 {
    rows.iter().map(|row| f64::from(row.n_calls)).sum::<f64>() * GAP * 1e6
}

fn step_us(rows: &[Row], card: &Card) -> f64 {
    rows.iter().map(|row| predicted_us(row, card)).sum::<f64>() + gaps_us(rows)
}
