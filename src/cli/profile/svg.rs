//! The kernels below their roofline: FLOPs a second over FLOPs a byte, both logarithmic (Williams et al., CACM 2009).

use std::fmt::Write as _;

use gale::roofline::{CARDS, Card};

use super::rows::Row;
use super::table::{Profiled, predicted_us, us};
use crate::cli::svg::escaped;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 460.0;
/// Left, right, top, bottom.
const MARGINS: [f64; 4] = [70.0, 20.0, 50.0, 55.0];
/// Powers of ten on the axes: FLOPs a byte, FLOPs a second.
const X: [i32; 2] = [-2, 4];
const Y: [i32; 2] = [9, 15];

pub fn plot(profiled: &Profiled) -> String {
    // What is drawn is the card's data sheet; on a GPU whose data sheet is not here, its measured bandwidth.
    let name = profiled.device.name();
    let known = CARDS.iter().find(|card| name.contains(card.name)).copied();
    let is_measured = profiled.time.is_some();
    let card = match (known, is_measured) {
        (Some(card), _) => card,
        (None, true) => {
            let bandwidth = profiled.bandwidth.expect("it is measured before anything else");
            Card { name: "", bytes_per_s: bandwidth.read, flops_per_s: f64::INFINITY, ..CARDS[0] }
        }
        (None, false) => CARDS[0],
    };
    let title = match is_measured {
        true => format!("{}: kernels of {}, measured on {name}", profiled.model, profiled.work.name()),
        false => {
            let work = profiled.work.name();
            format!("{}: kernels of {work}, PREDICTED for {} (no card ran anything)", profiled.model, card.name)
        }
    };
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    text(&mut svg, WIDTH / 2.0, 24.0, "middle", &title);
    axes(&mut svg);
    roof(&mut svg, &card);
    let points: Vec<Point> = profiled.rows.iter().filter_map(|row| Point::of(row, &card)).collect();
    points.iter().enumerate().for_each(|(i, it)| it.draw(&mut svg, i));
    svg.push_str("</svg>\n");
    svg
}

/// A kernel with arithmetic.
struct Point {
    name: String,
    flops_per_byte: f64,
    flops_per_s: f64,
}

impl Point {
    fn of(row: &Row, card: &Card) -> Option<Point> {
        let cost = row.total().filter(|it| it.flops > 0)?;
        let seconds = row.time.map_or_else(|| predicted_us(row, card), us) / 1e6;
        let mb = row.cost?.bytes as f64 / 1e6;
        Some(Point {
            name: format!("{} ({mb:.3} MB)", row.kernel),
            flops_per_byte: cost.flops as f64 / cost.bytes as f64,
            flops_per_s: cost.flops as f64 / seconds,
        })
    }

    /// Its name stands on a line of its own, since kernels of a step lie close together.
    fn draw(&self, svg: &mut String, i: usize) {
        let (x, y) = (x(self.flops_per_byte), y(self.flops_per_s));
        let (name_x, name_y) = (WIDTH / 2.0 + 60.0, HEIGHT - MARGINS[3] - 14.0 - 18.0 * i as f64);
        let _ = writeln!(
            svg,
            "<path d=\"M{x:.1} {y:.1}L{:.1} {:.1}\" stroke=\"#bbb\"/><circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\" \
             fill=\"#c0392b\"/>",
            name_x - 4.0,
            name_y - 4.0
        );
        text(svg, name_x, name_y, "start", &self.name);
    }
}

fn axes(svg: &mut String) {
    let [left, right, top, bottom] = MARGINS;
    for power in X[0]..=X[1] {
        let at = x(10f64.powi(power));
        line(svg, [at, top, at, HEIGHT - bottom], "#eee");
        text(svg, at, HEIGHT - bottom + 18.0, "middle", &format!("{}", 10f64.powi(power)));
    }
    for power in Y[0]..=Y[1] {
        let at = y(10f64.powi(power));
        line(svg, [left, at, WIDTH - right, at], "#eee");
        let name = ["1 GFLOP/s", "10 G", "100 G", "1 TFLOP/s", "10 T", "100 T", "1000 T"][(power - Y[0]) as usize];
        text(svg, left - 6.0, at + 4.0, "end", name);
    }
    text(svg, WIDTH / 2.0, HEIGHT - 14.0, "middle", "FLOPs a byte");
}

/// Rises with the bandwidth, until the tensor cores are the limit.
fn roof(svg: &mut String, card: &Card) {
    let [low, high] = X.map(|power| 10f64.powi(power));
    let ridge = (card.flops_per_s / card.bytes_per_s).min(high);
    let points = [low, ridge, high].map(|at| (at, (at * card.bytes_per_s).min(card.flops_per_s)));
    let path: Vec<String> = points.iter().map(|&(at, flops)| format!("{:.1} {:.1}", x(at), y(flops))).collect();
    let _ = writeln!(svg, "<path d=\"M{}\" fill=\"none\" stroke=\"#2c3e50\" stroke-width=\"2\"/>", path.join("L"));
    let label = format!("{:.2} TB/s", card.bytes_per_s / 1e12);
    text(svg, x(0.1), y(0.1 * card.bytes_per_s) - 8.0, "end", &label);
}

fn x(flops_per_byte: f64) -> f64 {
    place(flops_per_byte, X, MARGINS[0], WIDTH - MARGINS[1])
}

fn y(flops_per_s: f64) -> f64 {
    place(flops_per_s, Y, HEIGHT - MARGINS[3], MARGINS[2])
}

fn place(value: f64, [low, high]: [i32; 2], from: f64, to: f64) -> f64 {
    let share = (value.log10() - f64::from(low)) / f64::from(high - low);
    from + share.clamp(0.0, 1.0) * (to - from)
}

fn line(svg: &mut String, [x0, y0, x1, y1]: [f64; 4], colour: &str) {
    let _ = writeln!(svg, "<path d=\"M{x0:.1} {y0:.1}L{x1:.1} {y1:.1}\" stroke=\"{colour}\"/>");
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, text: &str) {
    let text = escaped(text);
    let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>");
}
