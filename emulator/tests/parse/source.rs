//! `.loc`, `.file` and the names in `.debug_str`.

use super::module;

/// `.debug_str` with these names, at `$L__info_string0`, `$L__info_string1`, ...
fn debug_str(names: &[&str]) -> String {
    let mut section = String::from(".section .debug_str {\n");
    for (index, name) in names.iter().enumerate() {
        let bytes: Vec<_> = name.bytes().chain([0]).map(|byte| byte.to_string()).collect();
        // nvcc breaks long names.
        let lines: Vec<_> = bytes.chunks(5).map(|it| it.join(",")).collect();
        section += &format!("$L__info_string{index}:\n.b8 {}\n", lines.join("\n.b8 "));
    }
    section + "}"
}

/// Where each instruction of a kernel comes from.
fn sources(statements: &str, names: &[&str]) -> Vec<Option<String>> {
    let module = module(&format!(
        ".section .debug_abbrev {{ .b8 1 .b32 .debug_str+4 }} .entry before {{ .loc 1 9 9 ret; }}
        .entry k {{ {statements} }}\n.file 1 \"/src/a.cu\"\n.file 2 \"b.cuh\", 17, 99\n{}",
        debug_str(names)
    ));
    module.functions[1].body.iter().map(|it| it.source.as_ref().map(ToString::to_string)).collect()
}

#[test]
fn a_loc_holds_until_the_next() {
    let got = sources("nop; .loc 1 4 73 nop; nop; { .loc 2 5 1\n nop; } nop;", &[]);
    let expected = [None, Some("/src/a.cu:4:73"), Some("/src/a.cu:4:73"), Some("b.cuh:5:1"), Some("b.cuh:5:1")];
    assert_eq!(got, expected.map(|it| it.map(str::to_owned)));
}

#[test]
fn inlined_code_names_each_caller() {
    let got = sources(
        ".loc 1 9 5
        .loc 1 5 5, function_name $L__info_string0, inlined_at 1 9 5
        .loc 1 3 73, function_name $L__info_string1, inlined_at 1 5 5 nop;
        .loc 1 10 5
        .loc 1 5 5, function_name $L__info_string0, inlined_at 1 10 5 nop;
        .loc 1 3 73, function_name $L__info_string1, inlined_at 1 5 5 nop;
        .loc 1 3 73, function_name $L__info_string1+5, inlined_at 1 7 7 nop;",
        &["_ZN4math5outerILi3EEEff", "_Z6middlef"],
    );
    let a = "/src/a.cu";
    let expected = [
        format!("{a}:3:73 (in middle, inlined at {a}:5:5 (in outer, inlined at {a}:9:5))"),
        format!("{a}:5:5 (in outer, inlined at {a}:10:5)"),
        format!("{a}:3:73 (in middle, inlined at {a}:5:5 (in outer, inlined at {a}:10:5))"),
        // Five bytes into the name, and a caller that has no .loc of its own.
        format!("{a}:3:73 (in ddlef, inlined at {a}:7:7)"),
    ];
    assert_eq!(got, expected.map(Some));
}

#[test]
fn the_function_before_is_no_caller() {
    let got = sources(".loc 1 3 3, function_name $L__info_string0, inlined_at 1 9 9 nop;", &["f"]);
    assert_eq!(got, [Some("/src/a.cu:3:3 (in f, inlined at /src/a.cu:9:9)".to_owned())]);
}

/// Three levels of a recursive template have one place; the names tell them apart.
#[test]
fn a_repeated_loc_adds_no_level() {
    let [outer, middle, inner] = [0, 1, 2].map(|name| {
        let at = if name == 0 { "6 41" } else { "3 3" };
        format!(".loc 1 3 3, function_name $L__info_string{name}, inlined_at 1 {at} nop;\n")
    });
    let got = sources(&format!(".loc 1 6 41 {outer}{middle}{inner}{inner}{middle}{inner}{outer}"), &["f", "g", "h"]);
    let chain = |names: &str| {
        let mut shown = "/src/a.cu:6:41".to_owned();
        for name in names.chars() {
            shown = format!("/src/a.cu:3:3 (in {name}, inlined at {shown})");
        }
        Some(shown)
    };
    assert_eq!(got, ["f", "fg", "fgh", "fgh", "fg", "fgh", "f"].map(chain));
}

#[test]
fn endless_chains_are_cut() {
    let statements: String = (1..20_000)
        .map(|line| format!(".loc 1 {line} 1, function_name $L__info_string0, inlined_at 1 {} 1 nop;\n", line - 1))
        .collect();
    let got = sources(&statements, &["f"]);
    let n_callers = got.iter().flatten().map(|it| it.matches("inlined").count());
    assert_eq!(n_callers.max(), Some(64));
}
