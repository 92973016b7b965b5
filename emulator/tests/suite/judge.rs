//! Compares a fault's report with the markers in the `.cu` file.

use crate::suite::*;
use cuda_emulator::driver::memory::*;
use std::fs;

/// What is reported, and the `CUresult` that comes with it.
#[derive(Clone, Copy)]
pub struct Kind {
    text: &'static str,
    code: u32,
    has_other_side: bool,
}

const fn kind(text: &'static str, code: u32) -> Kind {
    Kind { text, code, has_other_side: false }
}

const fn race(text: &'static str) -> Kind {
    Kind { text, code: 719, has_other_side: true }
}

pub const OUT_OF_BOUNDS: Kind = kind("out of bounds", 700);
pub const MISALIGNED: Kind = kind("misaligned address", 716);
pub const UNINITIALISED_GLOBAL: Kind = kind("read of uninitialised global memory", 719);
pub const UNINITIALISED_SHARED: Kind = kind("read of uninitialised shared memory", 719);
pub const UNINITIALISED_REGISTER: Kind = kind("use of a register that was never written", 719);
pub const SHARED_RACE: Kind = race("race on shared memory");
pub const GLOBAL_RACE: Kind = race("race on global memory");
pub const IN_FLIGHT: Kind = kind("shared memory that cp.async is still writing", 719);
pub const NON_COHERENT: Kind = kind("non-coherent load of memory written in the same launch", 719);
pub const CONFLICTING_STORES: Kind = kind("conflicting stores in one instruction", 719);
pub const BARRIER_DIVERGENCE: Kind = kind("barrier in divergent code", 719);
pub const BARRIER_MISUSE: Kind = kind("barrier misuse", 719);
pub const SYNC_MASK: Kind = kind("lanes do not match the sync mask", 719);
pub const DEADLOCK: Kind = kind("deadlock", 702);
pub const STEP_LIMIT: Kind = kind("step limit reached", 702);
pub const TRAP: Kind = kind("trap", 719);
pub const ASSERTION: Kind = kind("assertion failed", 710);
pub const READ_ONLY: Kind = kind("write to read-only memory", 700);

/// The order of the two sides of a race that a schedule can give.
pub const READ_AND_WRITE: &[&str] = &["read after write", "write after read"];
pub const WRITES: &[&str] = &["write after write"];
pub const READS_AND_WRITES: &[&str] = &["read after write", "write after read", "write after write"];

/// An argument of a kernel.
pub enum Arg {
    /// Memory that the host wrote.
    Words(Vec<u32>),
    /// So many bytes of memory, of which the host wrote the first ones.
    Fresh(usize, usize),
    /// So many bytes of memory that was freed before the launch.
    Freed(usize),
    /// A number, or an address made up.
    Value(u64),
    /// What the argument at this place is.
    Same(usize),
}

pub fn zeros(n: usize) -> Arg {
    Arg::Words(vec![0; n])
}

/// 0, 1, 2 and so on.
pub fn ramp(n: u32) -> Arg {
    Arg::Words((0..n).collect())
}

/// `n` times `usual`, with `unusual` at one place.
pub fn but_one(n: usize, usual: u32, place: usize, unusual: u32) -> Arg {
    let mut words = vec![usual; n];
    words[place] = unusual;
    Arg::Words(words)
}

/// A kernel of `planted/FILE.cu` with its bug, how it is launched, and what has to be said.
pub struct Case {
    file: &'static str,
    shape: Shape,
    arguments: Vec<Arg>,
    kinds: Vec<Kind>,
    places: Vec<[u32; 2]>,
    said: Vec<&'static [&'static str]>,
    step_limit: Option<&'static str>,
}

pub fn case(file: &'static str, shape: Shape, arguments: impl Into<Vec<Arg>>, kind: Kind) -> Case {
    let (kinds, places, said) = (vec![kind], Vec::new(), Vec::new());
    Case { file, shape, arguments: arguments.into(), kinds, places, said, step_limit: None }
}

impl Case {
    /// Another kind is right, too, where the schedule decides.
    pub fn or(mut self, kind: Kind) -> Self {
        self.kinds.push(kind);
        self
    }

    /// Found in this block and thread (x of each). Called again, it adds what is right, too.
    pub fn by(mut self, block: u32, thread: u32) -> Self {
        self.places.push([block, thread]);
        self
    }

    /// One of these is in the report.
    pub fn says(mut self, what: &'static [&'static str]) -> Self {
        self.said.push(what);
        self
    }

    pub fn step_limit(self, n_instructions: &'static str) -> Self {
        Self { step_limit: Some(n_instructions), ..self }
    }

    /// Launches `kernel` in a process of its own and holds the report against the markers.
    pub fn judge(self, kernel: &str) {
        if is_child() {
            return self.fail(kernel);
        }
        let limit = self.step_limit.map(|n_instructions| ("STEP_LIMIT", n_instructions));
        let variables: Vec<_> = [("MODE", "check")].into_iter().chain(limit).collect();
        let output = alone(kernel, &variables);
        let text = text(&output);
        assert!(output.status.success(), "the process failed: {text}");
        Report::only(&text).is_as_expected(&self, kernel, &text);
    }

    /// The child: launches, and prints what the driver returned.
    fn fail(&self, kernel: &str) {
        let gpu = Gpu::with("planted", self.file);
        let mut arguments = Vec::new();
        for argument in &self.arguments {
            let argument = match argument {
                Arg::Words(words) => gpu.upload(words),
                &Arg::Fresh(n_bytes, n_written) => {
                    let address = gpu.fresh(n_bytes);
                    gpu.write(address, &vec![0u8; n_written]);
                    address
                }
                &Arg::Freed(n_bytes) => gpu.upload(&vec![0u8; n_bytes]),
                &Arg::Value(value) => value,
                &Arg::Same(place) => arguments[place],
            };
            arguments.push(argument);
        }
        for (argument, address) in self.arguments.iter().zip(&arguments) {
            if matches!(argument, Arg::Freed(_)) {
                ok(unsafe { cuMemFree_v2(*address) });
            }
        }
        ok(gpu.launch(kernel, self.shape, &arguments));
        let code = gpu.finish();
        println!("CUresult {code}.");
        assert_eq!(gpu.finish(), code, "a fault is sticky");
        assert_eq!(unsafe { cuMemAlloc_v2(&mut 0, 4) }, code, "a fault is sticky");
    }
}

/// The names of the kernels in `planted/*.cu`, sorted.
pub fn kernels() -> Vec<String> {
    const HEAD: &str = "extern \"C\" __global__ void ";
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/planted");
    let files = fs::read_dir(folder).expect("it is there").map(|it| it.expect("it can be read").path());
    let sources = files.filter(|it| it.extension().is_some_and(|it| it == "cu"));
    let text: String = sources.map(|it| fs::read_to_string(it).expect("it can be read")).collect();
    let names = text.lines().filter_map(|line| line.strip_prefix(HEAD)?.split_once('('));
    let mut names: Vec<_> = names.map(|it| it.0.to_owned()).collect();
    names.sort_unstable();
    names
}

/// The report of a fault, split where its other side begins.
struct Report<'a> {
    headline: &'a str,
    this_side: Vec<&'a str>,
    other_side: Vec<&'a str>,
}

impl<'a> Report<'a> {
    /// The one report in what a process wrote.
    #[track_caller]
    fn only(text: &'a str) -> Self {
        let starts: Vec<usize> =
            (0..).zip(text.lines()).filter(|(_, it)| it.contains(" in kernel ")).map(|it| it.0).collect();
        let &[start] = starts.as_slice() else { panic!("{} reports: {text}", starts.len()) };
        let mut lines = text.lines().skip(start);
        let headline = lines.next().expect("it was counted");
        let rest: Vec<&str> = lines.take_while(|line| line.starts_with("  ")).map(str::trim_start).collect();
        let against = rest.iter().position(|line| line.starts_with("against")).unwrap_or(rest.len());
        let (this_side, other_side) = rest.split_at(against);
        Self { headline, this_side: this_side.to_vec(), other_side: other_side.to_vec() }
    }

    #[track_caller]
    fn is_as_expected(&self, case: &Case, kernel: &str, text: &str) {
        let headline = self.headline.strip_prefix("cuda-emulator: ").unwrap_or(self.headline);
        let kind = case.kinds.iter().find(|it| headline.starts_with(&format!("{} in kernel {kernel}, ", it.text)));
        let kind = kind.unwrap_or_else(|| panic!("`{}` in kernel {kernel} was expected: {text}", case.kinds[0].text));
        assert!(text.contains(&format!("CUresult {}.", kind.code)), "CUresult {} was expected: {text}", kind.code);

        let is_at =
            |[block, thread]: &[u32; 2]| headline.contains(&format!("block ({block}, 0, 0), thread ({thread}, 0, 0)"));
        assert!(case.places.is_empty() || case.places.iter().any(is_at), "the thread is wrong: {text}");
        for said in &case.said {
            let is_said = |said: &&str| self.this_side.iter().any(|line| line.contains(*said));
            assert!(said.iter().any(is_said), "one of {said:?} was expected: {text}");
        }

        let marked = Marked::new(case.file, kernel);
        let here = named_lines(case.file, &self.this_side);
        if !kind.has_other_side {
            assert!(meet(&here, &marked.fault), "lines {:?} were expected: {text}", marked.fault);
            return;
        }
        let there = named_lines(case.file, &self.other_side);
        let (fault, other) = (&marked.fault, if marked.other.is_empty() { &marked.fault } else { &marked.other });
        let is_right = meet(&here, fault) && meet(&there, other) || meet(&here, other) && meet(&there, fault);
        assert!(is_right, "lines {fault:?} against {other:?} were expected: {text}");
    }
}

fn meet(a: &[usize], b: &[usize]) -> bool {
    a.iter().any(|it| b.contains(it))
}

/// The lines of the `.cu` file in `at FILE.cu:LINE:COLUMN (in .., inlined at FILE.cu:LINE:COLUMN)`.
fn named_lines(file: &str, report: &[&str]) -> Vec<usize> {
    let Some(at) = report.iter().find(|line| line.starts_with("at ")) else { return Vec::new() };
    let name = format!("{file}.cu:");
    let numbers = at.split(&name).skip(1);
    numbers.map(|rest| rest.split(':').next().and_then(|it| it.parse().ok()).expect("FILE:LINE:COLUMN")).collect()
}

/// The lines of a kernel, and of the functions right before it, that carry a marker.
struct Marked {
    fault: Vec<usize>,
    other: Vec<usize>,
}

impl Marked {
    #[track_caller]
    fn new(file: &str, kernel: &str) -> Self {
        let source = read_file("planted", &format!("{file}.cu"));
        let lines: Vec<&str> = source.lines().collect();
        let head = format!(" {kernel}(");
        let is_end = |line: &&str| *line == "}";
        let start =
            lines.iter().position(|it| it.starts_with("extern") && it.contains(&head)).expect("the kernel is there");
        let end = start + lines[start..].iter().position(is_end).expect("the kernel ends");
        let before = lines[..start].iter().rposition(|it| it.starts_with("extern"));
        let first = before.map_or(0, |at| at + lines[at..].iter().position(is_end).expect("that kernel ends"));
        let with = |marker| (first..=end).filter(|&at| lines[at].contains(marker)).map(|at| at + 1).collect();
        let marked = Self { fault: with("// FAULT"), other: with("// OTHER") };
        assert!(!marked.fault.is_empty(), "{kernel} has no marker");
        marked
    }
}
