//! The rows as a picture: work, and cache, by the length of the prompt; both axes logarithmic.

use std::fmt::Write as _;

use gale::plan::Bytes;

use super::{Row, WINDOW, Work};
use crate::cli::svg::escaped;

const WIDTH: f64 = 800.0;
const HEIGHT: f64 = 360.0;
/// Of a panel's axes.
const PANEL: (f64, f64) = (270.0, 230.0);
const TOP: f64 = 62.0;
const LEFTS: [f64; 2] = [62.0, 450.0];
const FULL: &str = "#c2410c";
const WINDOWED: &str = "#1d4ed8";

/// One of two pictures.
struct Panel<'a> {
    rows: &'a [Row],
    left: f64,
    title: &'a str,
    value: fn(&Work) -> f64,
    label: fn(f64) -> String,
    /// Between two lines of the grid.
    step: f64,
}

/// `device` is where times come from.
pub fn draw(rows: &[Row], device: &str) -> String {
    let is_timed = rows.iter().all(|it| it.full.p50_ms().is_some());
    let work = Panel {
        rows,
        left: LEFTS[0],
        title: if is_timed { "milliseconds a layer" } else { "tensor-core instructions a layer" },
        value: if is_timed { milliseconds } else { |it| it.mma as f64 },
        label: if is_timed { |it| format!("{it}") } else { millions },
        step: 10.0,
    };
    let cache = Panel {
        rows,
        left: LEFTS[1],
        title: "bytes of the cache, 32 layers",
        value: |it| it.cache_bytes as f64,
        label: |it| Bytes(it as u64).to_string().replace(".00", ""),
        step: 4.0,
    };
    let source = if is_timed { device } else { "counted and computed, not timed" };
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" \
         font-family=\"system-ui, sans-serif\" font-size=\"12\" fill=\"#333\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"{}\" y=\"24\" font-size=\"15\" font-weight=\"600\">Attention of a prompt: a window of {WINDOW}, and none</text>\n\
         {}{}<text x=\"{}\" y=\"{}\" fill=\"#777\">Tokens of the prompt. Small figures: the share that the window leaves. Mistral 7B, {}</text>\n</svg>\n",
        LEFTS[0],
        work.draw(),
        cache.draw(),
        LEFTS[0],
        HEIGHT - 14.0,
        escaped(source),
    )
}

fn milliseconds(it: &Work) -> f64 {
    it.p50_ms().unwrap_or(f64::NAN)
}

fn millions(it: f64) -> String {
    if it >= 1e9 { format!("{}G", it / 1e9) } else { format!("{}M", it / 1e6) }
}

impl Panel<'_> {
    fn draw(&self) -> String {
        let mut svg =
            format!("<text x=\"{}\" y=\"{}\" font-weight=\"600\">{}</text>\n", self.left, TOP - 14.0, self.title);
        let (low, high) = self.range();
        let mut value = low;
        while value <= high * 1.001 {
            let y = self.y(value);
            let (from, to) = (self.left, self.left + PANEL.0);
            let _ = writeln!(svg, "<path d=\"M{from} {y:.1}H{to}\" stroke=\"#e5e5e5\"/>");
            let label = (self.label)(value);
            let _ = writeln!(svg, "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>", from - 6.0, y + 4.0);
            value *= self.step;
        }
        for (i, row) in self.rows.iter().enumerate() {
            let (x, y) = (self.x(i), TOP + PANEL.1 + 18.0);
            let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y}\" text-anchor=\"middle\">{}</text>", row.size());
        }
        svg + &self.line("no window", FULL, |it| &it.full)
            + &self.line("window", WINDOWED, |it| &it.windowed)
            + &self.ratios()
    }

    fn line(&self, name: &str, color: &str, work: fn(&Row) -> &Work) -> String {
        let points: Vec<(f64, f64)> =
            self.rows.iter().enumerate().map(|(i, row)| (self.x(i), self.y((self.value)(work(row))))).collect();
        let list: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let mut svg =
            format!("<polyline points=\"{}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"2\"/>\n", list.join(" "));
        for (x, y) in &points {
            let _ = writeln!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.5\" fill=\"{color}\"/>");
        }
        let (x, y) = points[points.len() - 1];
        svg + &format!("<text x=\"{:.1}\" y=\"{:.1}\" fill=\"{color}\">{name}</text>\n", x + 8.0, y + 4.0)
    }

    /// What the window leaves, under its line, where it is less.
    fn ratios(&self) -> String {
        let mut svg = String::new();
        for (i, row) in self.rows.iter().enumerate() {
            let (windowed, full) = ((self.value)(&row.windowed), (self.value)(&row.full));
            if windowed < 0.9 * full {
                let (x, y) = (self.x(i), self.y(windowed) + 18.0);
                let text = format!("{:.2}", windowed / full);
                let _ = writeln!(
                    svg,
                    "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"middle\" font-size=\"11\" fill=\"{WINDOWED}\">{text}</text>"
                );
            }
        }
        svg
    }

    fn x(&self, i: usize) -> f64 {
        self.left + PANEL.0 * (i as f64 + 0.5) / self.rows.len() as f64
    }

    fn y(&self, value: f64) -> f64 {
        let (low, high) = self.range();
        TOP + PANEL.1 * (1.0 - (value / low).ln() / (high / low).ln())
    }

    /// Powers of the step that all values are between.
    fn range(&self) -> (f64, f64) {
        let values = self.rows.iter().flat_map(|it| [(self.value)(&it.windowed), (self.value)(&it.full)]);
        let (least, most) = values.fold((f64::MAX, f64::MIN), |(a, b), it| (a.min(it), b.max(it)));
        let power = |it: f64| self.step.powf(it);
        let log = |it: f64| it.ln() / self.step.ln();
        (power((log(least) + 1e-9).floor()), power((log(most) - 1e-9).ceil()))
    }
}
