//! The counters for people, as a table, and for programs, as JSON.

use super::profile::{Line, LineId, Total};
use crate::perf::{Counters, Counts, class::Class};
use std::{
    collections::BTreeMap,
    fmt::{self, Display, Write},
};

/// Lines with the most instructions that the table shows.
const N_HOT_LINES: usize = 10;

type Kernels = BTreeMap<String, Total>;

/// A line of a kernel.
struct Row<'a> {
    kernel: &'a str,
    id: &'a LineId,
    line: &'a Line,
}

impl Display for LineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.as_deref().unwrap_or("PTX"), self.line)
    }
}

/// What `CUDA_EMULATOR_PROFILE=-` prints.
pub fn table(kernels: &Kernels) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write_table(&mut text, kernels);
    text
}

fn write_table(to: &mut impl Write, kernels: &Kernels) -> fmt::Result {
    writeln!(to, "CUDA emulator: what each kernel did (counts, not times)")?;
    writeln!(
        to,
        "{:>9} {:>14} {:>6} {:>13} {:>9} {:>13} {:>9} {:>11} {:>12} {:>13} {:>12}  kernel",
        "launches",
        "warp inst",
        "lanes%",
        "sectors",
        "/ideal",
        "wavefronts",
        "/ideal",
        "mma",
        "atomics",
        "DRAM read B",
        "written B"
    )?;
    for (name, total) in kernels {
        let counters = total.counters();
        let it = &counters.counts;
        writeln!(
            to,
            "{:>9} {:>14} {:>6.1} {:>13} {:>9.3} {:>13} {:>9.3} {:>11} {:>12} {:>13} {:>12}  {name}",
            total.n_launches,
            it.warp_instructions,
            100.0 * counters.active_lane_ratio(),
            it.global_load_sectors + it.global_store_sectors,
            counters.sectors_per_ideal(),
            it.shared_wavefronts,
            counters.wavefronts_per_ideal(),
            counters.mma(),
            it.global_atomics + it.shared_atomics,
            it.dram_read_bytes,
            it.dram_write_bytes,
        )?;
    }
    writeln!(to, "\nwarp instructions by class")?;
    for (name, total) in kernels {
        writeln!(to, "  {name}: {}", classes(&total.counters()))?;
    }
    let mut rows: Vec<Row> = kernels.iter().flat_map(|(kernel, total)| rows(kernel, total)).collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.line.counters.counts.warp_instructions));
    writeln!(to, "\nlines with the most warp instructions")?;
    for Row { kernel, id, line } in rows.iter().take(N_HOT_LINES) {
        let counters = &line.counters;
        let lanes = 100.0 * counters.active_lane_ratio();
        writeln!(to, "{:>14} {lanes:>6.1}% lanes  {id}  {kernel}", counters.counts.warp_instructions)?;
    }
    let is_wasteful = |it: &&Row| has_wasted_sectors(&it.line.counters) || has_conflicts(&it.line.counters);
    writeln!(to, "\nlines that move more sectors than they need, or whose lanes meet in banks of shared memory")?;
    for Row { kernel, id, line } in rows.iter().filter(is_wasteful) {
        let counters = &line.counters;
        let (sectors, wavefronts) = (counters.sectors_per_ideal(), counters.wavefronts_per_ideal());
        writeln!(to, "  sectors/ideal {sectors:.3}  wavefronts/ideal {wavefronts:.3}  {id}  {kernel}")?;
    }
    Ok(())
}

fn rows<'a>(kernel: &'a str, total: &'a Total) -> impl Iterator<Item = Row<'a>> {
    total.lines().iter().map(move |(id, line)| Row { kernel, id, line })
}

fn has_wasted_sectors(counters: &Counters) -> bool {
    counters.sectors_per_ideal() > 1.0
}

fn has_conflicts(counters: &Counters) -> bool {
    counters.wavefronts_per_ideal() > 1.0
}

/// The classes that occur, the most frequent first.
fn classes(counters: &Counters) -> String {
    let count = |class: Class| counters.of_class(class).warp_instructions;
    let mut classes: Vec<Class> = Class::ALL.iter().copied().filter(|&it| count(it) > 0).collect();
    classes.sort_by_key(|&class| std::cmp::Reverse(count(class)));
    let texts: Vec<String> = classes.iter().map(|&it| format!("{} {}", it.name(), count(it))).collect();
    texts.join(", ")
}

/// What `CUDA_EMULATOR_PROFILE=FILE` writes: an object by kernel name.
pub fn json(kernels: &Kernels) -> String {
    let kernels = kernels.iter().map(|(name, total)| {
        let lines: Vec<String> = rows(name, total).map(|row| json_line(row.id, row.line)).collect();
        format!(
            "  {}: {{\n    \"launches\": {}, {},\n    \"lines\": [\n{}\n    ]\n  }}",
            quoted(name),
            total.n_launches,
            json_counters(&total.counters()),
            lines.join(",\n")
        )
    });
    format!("{{\n{}\n}}\n", kernels.collect::<Vec<_>>().join(",\n"))
}

fn json_line(id: &LineId, line: &Line) -> String {
    let file = id.file.as_deref().map_or("null".to_owned(), quoted);
    let (number, ptx_line, counters) = (id.line, line.ptx_line, json_counters(&line.counters));
    format!("      {{\"file\": {file}, \"line\": {number}, \"ptx_line\": {ptx_line}, {counters}}}")
}

fn json_counters(counters: &Counters) -> String {
    let counts: Vec<String> = named(&counters.counts).collect();
    let by_class = |count: &dyn Fn(Class) -> u64| {
        let classes = Class::ALL.iter().filter(|&&it| count(it) > 0);
        classes.map(|&it| format!("\"{}\": {}", it.name(), count(it))).collect::<Vec<_>>().join(", ")
    };
    format!(
        "{}, \"warp_instructions_by_class\": {{{}}}, \"lane_instructions_by_class\": {{{}}}",
        counts.join(", "),
        by_class(&|class| counters.of_class(class).warp_instructions),
        by_class(&|class| counters.of_class(class).lane_instructions)
    )
}

fn named(counts: &Counts) -> impl Iterator<Item = String> {
    counts.named().map(|(name, value)| format!("\"{name}\": {value}"))
}

/// A JSON string.
fn quoted(text: &str) -> String {
    let mut to = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => to.extend(['\\', c]),
            c if c < ' ' => to.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => to.push(c),
        }
    }
    to + "\""
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::profile::{Profile, tests};

    fn profile() -> Profile {
        let profile = Profile::default();
        let kernel = tests::kernel("a");
        let counts = Counts {
            warp_instructions: 3,
            lane_instructions: 48,
            global_load_sectors: 8,
            global_load_sectors_ideal: 4,
            shared_wavefronts: 2,
            shared_wavefronts_ideal: 2,
            ..Counts::default()
        };
        profile.add(&kernel, tests::launch(&kernel, counts));
        profile
    }

    #[test]
    fn json_has_totals_classes_and_lines() {
        let text = json(&profile().kernels());
        for part in [
            "  \"a\": {\n    \"launches\": 1, \"warp_instructions\": 9, \"lane_instructions\": 144,",
            "\"dram_read_bytes\": 64,",
            "\"warp_instructions_by_class\": {\"fp32\": 3, \"local\": 3, \"control\": 3}",
            "\"line\": 8, \"ptx_line\": 12, \"warp_instructions\": 3, \"lane_instructions\": 48, \"global_load_sectors\": 8,",
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
        assert_eq!(text.matches(['{', '[']).count(), text.matches(['}', ']']).count());
    }

    #[test]
    fn strings_are_escaped() {
        assert_eq!(quoted("a\\\"b\n"), r#""a\\\"b\u000a""#);
    }

    #[test]
    fn the_table_shows_kernels_classes_and_wasteful_lines() {
        let text = table(&profile().kernels());
        for part in ["DRAM read B", "2.000", "50.0% lanes", "a: fp32 3, local 3, control 3", ":8  a"] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
        let (_, wasteful) = text.split_once("more sectors").unwrap();
        assert_eq!(wasteful.matches("sectors/ideal 2.000  wavefronts/ideal 1.000").count(), 2, "{text}");
    }
}
