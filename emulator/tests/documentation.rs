//! `INSTRUCTIONS.md` says what there is: its table is made from `isa::FORMS`, and every other line of PTX in it is loaded.
//! `UPDATE=1` writes the table anew.

use cuda_emulator::{
    isa::{FORMS, alternatives},
    lower,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    fmt::Write as _,
    fs,
};

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/INSTRUCTIONS.md");
const BEGIN: &str =
    "<!-- From here on tests/documentation.rs writes: UPDATE=1 cargo test -p cuda-emulator --test documentation -->\n";
const END: &str = "<!-- To here. -->\n";

/// The chapters of the PTX ISA, in its order.
const CHAPTERS: [&str; 6] = [
    "Integer arithmetic",
    "Floating point",
    "Half precision floating point",
    "Comparison and selection",
    "Logic and shift",
    "Data movement and conversion",
];

/// The words of an opcode behind its name: modifiers, and types at the end.
type Words = Vec<String>;

fn document() -> String {
    fs::read_to_string(PATH).unwrap_or_else(|error| panic!("{PATH}: {error}"))
}

#[test]
fn the_table_is_that_of_the_emulator() {
    let document = document();
    let (head, rest) = document.split_once(BEGIN).expect("INSTRUCTIONS.md has the mark where the table begins");
    let (table, tail) = rest.split_once(END).expect("INSTRUCTIONS.md has the mark where the table ends");
    let made = made_table();
    if env::var_os("UPDATE").is_some_and(|it| it == "1") {
        fs::write(PATH, format!("{head}{BEGIN}{made}{END}{tail}")).unwrap_or_else(|error| panic!("{PATH}: {error}"));
    } else {
        let stale = table.lines().zip(made.lines()).find(|(found, expected)| found != expected);
        assert!(
            table == made,
            "INSTRUCTIONS.md is not the emulator's table (first difference, found and expected: {stale:?}). \
             Write it anew: UPDATE=1 cargo test --release -p cuda-emulator --test documentation"
        );
    }
}

/// Read back, the rows give the texts of the emulator's table, each once.
#[test]
fn the_rows_stand_for_the_forms_and_for_no_others() {
    let cell_of = |cell: &str| -> Vec<String> {
        let patterns = cell.trim().split(", ").map(|it| it.trim_matches('`'));
        patterns.flat_map(|it| alternatives(if it == "none" { "" } else { it })).collect()
    };
    let mut shown = Vec::new();
    for row in made_table().lines().filter(|it| it.starts_with("| `")) {
        let [_, names, modifiers, types, _] = row.split('|').collect::<Vec<_>>()[..] else { panic!("{row}") };
        for name in names.split_whitespace().map(|it| it.trim_matches('`')) {
            for modifier in cell_of(modifiers) {
                shown.extend(cell_of(types).iter().map(|types| format!("{name}{modifier}{types}")));
            }
        }
    }
    let mut texts: Vec<String> = FORMS.iter().flat_map(|it| it.texts).flat_map(|it| alternatives(it)).collect();
    texts.retain(|it| !it.is_empty());
    texts.sort_unstable();
    shown.sort_unstable();
    assert_eq!(shown, texts);
}

#[test]
fn every_example_loads() {
    let examples = examples("```ptx\n");
    assert!(examples.len() > 1000, "{} examples", examples.len());
    let refused: Vec<String> = examples.iter().filter_map(|it| Some(format!("{it}: {}", load(it).err()?))).collect();
    assert!(refused.is_empty(), "INSTRUCTIONS.md has what does not load:\n{}", refused.join("\n"));
}

#[test]
fn what_is_said_to_be_refused_is() {
    let examples = examples("```ptx refused\n");
    assert!(!examples.is_empty());
    for example in examples {
        let error = load(&example).err().unwrap_or_else(|| panic!("INSTRUCTIONS.md: {example} loads"));
        assert!(error.is_unsupported, "{example} is no PTX: {error}");
    }
}

/// The lines of the document's blocks that begin so, with their alternatives written out.
fn examples(fence: &str) -> Vec<String> {
    let document = document();
    let blocks = document.split(fence).skip(1);
    let lines = blocks.flat_map(|it| it.split("```").next().unwrap_or_default().lines());
    lines.flat_map(written_out).collect()
}

/// `alternatives`, but for the braces that belong to PTX: those have spaces, or nothing to choose from.
fn written_out(line: &str) -> Vec<String> {
    let (mut shielded, mut rest) = (String::new(), line);
    while let Some((head, tail)) = rest.split_once('{') {
        let (inside, tail) = tail.split_once('}').expect("braces match");
        let is_choice = inside.contains(',') && !inside.contains(' ');
        let (open, close) = if is_choice { ('{', '}') } else { ('\u{1}', '\u{2}') };
        let _ = write!(shielded, "{head}{open}{inside}{close}");
        rest = tail;
    }
    shielded.push_str(rest);
    alternatives(&shielded).iter().map(|it| it.replace('\u{1}', "{").replace('\u{2}', "}")).collect()
}

/// Loads a module in which a kernel has this instruction, and all that the document's lines name.
fn load(instruction: &str) -> Result<lower::Image, lower::LoadError> {
    let text = format!(
        ".version 8.6\n.target sm_90a\n.address_size 64\n\
         .global .align 16 .b32 global_variable;\n.const .align 16 .b32 constant_variable;\n\
         .func device_function() {{ ret; }}\n\
         .visible .entry kernel(.param .u64 kernel_parameter) {{\n\
         .reg .b16 %h<8>; .reg .b32 %r<8>; .reg .b64 %rd<8>; .reg .f32 %f<8>; .reg .f64 %d<8>; .reg .pred %p<8>;\n\
         .shared .align 16 .b8 shared_variable[64];\n\
         prototype: .callprototype _ ();\ntargets: .branchtargets label;\n\
         {instruction}\nlabel: ret;\n}}\n"
    );
    lower::load(&text, false, &mut |_| Some(1 << 48))
}

/// The table, chapter by chapter: instructions that take the same modifiers and types share a row.
fn made_table() -> String {
    let mut chapters: [BTreeMap<String, BTreeMap<Words, BTreeSet<Words>>>; CHAPTERS.len()] = Default::default();
    let texts = FORMS.iter().flat_map(|it| it.texts).flat_map(|it| alternatives(it)).filter(|it| !it.is_empty());
    for text in texts {
        let mut words: Words = text.split('.').map(str::to_owned).collect();
        let name = words.remove(0);
        let n_types = words.iter().rev().take_while(|it| is_type(it)).count();
        let types = words.split_off(words.len() - n_types);
        let by_types = chapters[chapter(&name, &types)].entry(name).or_default();
        by_types.entry(types).or_default().insert(words);
    }
    let mut made = String::new();
    for (chapter, instructions) in CHAPTERS.iter().zip(&chapters) {
        let _ = writeln!(made, "\n### {chapter}\n| instruction | modifiers | types |\n| --- | --- | --- |");
        // (modifiers, types) to names.
        let mut rows: BTreeMap<(String, String), Vec<&str>> = BTreeMap::new();
        for (name, by_types) in instructions {
            let mut by_modifiers: BTreeMap<&BTreeSet<Words>, BTreeSet<Words>> = BTreeMap::new();
            for (types, modifiers) in by_types {
                by_modifiers.entry(modifiers).or_default().insert(types.clone());
            }
            for (modifiers, types) in by_modifiers {
                rows.entry((cell(modifiers), cell(&types))).or_default().push(name);
            }
        }
        let mut rows: Vec<_> = rows.into_iter().map(|((modifiers, types), names)| (names, modifiers, types)).collect();
        rows.sort();
        for (names, modifiers, types) in rows {
            let names: Vec<String> = names.iter().map(|it| format!("`{it}`")).collect();
            let _ = writeln!(made, "| {} | {modifiers} | {types} |", names.join(" "));
        }
    }
    made.push('\n');
    made
}

/// Patterns for all the texts.
fn cell(texts: &BTreeSet<Words>) -> String {
    let patterns = patterns(texts);
    let shown = patterns.iter().map(|it| if it.is_empty() { "none".to_owned() } else { format!("`{it}`") });
    if patterns == [""] { String::new() } else { shown.collect::<Vec<_>>().join(", ") }
}

/// Few patterns that stand for these texts and no others: first words that go on alike share one.
fn patterns(texts: &BTreeSet<Words>) -> Vec<String> {
    let mut tails_of: BTreeMap<&str, BTreeSet<Words>> = BTreeMap::new();
    for text in texts {
        if let [first, tail @ ..] = text.as_slice() {
            tails_of.entry(first).or_default().insert(tail.to_vec());
        }
    }
    let mut firsts_of: BTreeMap<BTreeSet<Words>, Vec<&str>> = BTreeMap::new();
    for (first, tails) in tails_of {
        firsts_of.entry(tails).or_default().push(first);
    }
    for (tails, firsts) in &firsts_of {
        let is_other = |it: &&Words| it.first().is_none_or(|first| !firsts.contains(&first.as_str()));
        if texts.iter().filter(is_other).eq(tails) {
            let option: String = firsts.iter().map(|it| format!(",.{it}")).collect();
            return patterns(tails).iter().map(|tail| format!("{{{option}}}{tail}")).collect();
        }
    }
    let nothing = texts.contains(&Words::new()).then(String::new);
    let rest = firsts_of.iter().flat_map(|(tails, firsts)| {
        let head = if let [first] = firsts[..] { format!(".{first}") } else { format!(".{{{}}}", firsts.join(",")) };
        patterns(tails).into_iter().map(move |tail| format!("{head}{tail}"))
    });
    nothing.into_iter().chain(rest).collect()
}

/// Whether a word is an operand's type, such as `u32`, `bf16x2` and `e4m3x2`, and no modifier.
fn is_type(word: &str) -> bool {
    let word = word.strip_suffix("x2").unwrap_or(word);
    let is_number = |it: &str| !it.is_empty() && it.bytes().all(|it| it.is_ascii_digit());
    let kinds = ["u", "s", "b", "f", "bf", "tf"];
    matches!(word, "pred" | "e4m3" | "e5m2") || kinds.iter().any(|it| word.strip_prefix(it).is_some_and(is_number))
}

/// Where the PTX ISA describes an instruction: an index of [`CHAPTERS`].
fn chapter(name: &str, types: &[String]) -> usize {
    match (name, types.last().map_or("", String::as_str)) {
        ("set" | "setp" | "selp" | "slct", _) => 3,
        ("and" | "or" | "xor" | "not" | "cnot" | "lop3" | "shl" | "shr" | "shf", _) => 4,
        ("mov" | "prmt" | "cvt", _) => 5,
        (_, "f16" | "f16x2" | "bf16" | "bf16x2") => 2,
        (_, "f32" | "f64") => 1,
        _ => 0,
    }
}

#[test]
fn patterns_stand_for_their_texts() {
    let set = |texts: &[&str]| -> BTreeSet<Words> {
        texts.iter().map(|it| it.split('.').filter(|it| !it.is_empty()).map(str::to_owned).collect()).collect()
    };
    assert_eq!(patterns(&set(&["", "rn", "rn.ftz", "ftz"])), ["{,.rn}{,.ftz}"]);
    assert_eq!(patterns(&set(&["lo.u32", "hi.u32", "lo.s32"])), [".lo.{s32,u32}", ".hi.u32"]);
    assert_eq!(written_out("mov{,.x} {%a, %b}, {1,2};").len(), 4);
}
