//! What nvcc 13.0 made of the `.cu` files in `tests/ptx` (`nvcc -ptx -O3 -lineinfo -fmad=false -arch=sm_80`, for
//! `hopper.cu` `sm_90a`; paths shortened).

use cuda_emulator::ptx::{
    ast::{Base, Module, Operand, Symbol},
    parse,
};

pub const FILES: [(&str, &str); 5] = [
    ("calls", include_str!("../ptx/calls.ptx")),
    ("hopper", include_str!("../ptx/hopper.ptx")),
    ("inlined", include_str!("../ptx/inlined.ptx")),
    ("scopes", include_str!("../ptx/scopes.ptx")),
    ("variables", include_str!("../ptx/variables.ptx")),
];

fn file(name: &str) -> Module {
    let (_, text) = FILES.iter().find(|it| it.0 == name).unwrap();
    parse(text).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The statements before `.section` that are instructions, counted without a parser: once comments, `.loc`, braces and
/// labels are gone, what ends in `;` and does not start with a dot. (Each body starts with a declaration, so that a
/// function's head counts as part of that.)
fn count_instructions(text: &str) -> usize {
    let lines = text.lines().map(|line| line.split("//").next().unwrap().trim());
    let lines = lines.take_while(|line| !line.starts_with(".section"));
    let code: Vec<_> = lines.filter(|line| !line.starts_with(".loc\t") && !line.starts_with(".file")).collect();
    let code = code.join(" ");
    let statements = code.split(';').filter(|statement| {
        let mut words = statement.split([' ', '\t', '{', '}']).filter(|word| !word.is_empty() && !word.ends_with(':'));
        words.next().is_some_and(|word| !word.starts_with('.'))
    });
    statements.count()
}

#[test]
fn no_instruction_is_lost() {
    for (name, text) in FILES {
        let n_instructions: usize = file(name).functions.iter().map(|it| it.body.len()).sum();
        assert_eq!(n_instructions, count_instructions(text), "{name}");
    }
}

/// An instruction is on the line that its `line` says, with every register where the text has it.
#[test]
fn instructions_are_where_they_say() {
    for (name, text) in FILES {
        let lines: Vec<_> = text.lines().collect();
        for function in file(name).functions {
            for instruction in &function.body {
                let line = lines[instruction.line as usize - 1];
                assert!(line.contains(&instruction.opcode), "{name}: {instruction:?} on `{line}`");
                for operand in &instruction.operands {
                    if let Operand::Register(id) | Operand::Address { base: Base::Register(id), .. } = operand {
                        let register = &function.registers[id.0 as usize].name;
                        assert!(line.contains(register.as_str()), "{name}: `{register}` on `{line}`");
                    }
                }
            }
        }
    }
}

#[test]
fn every_instruction_has_a_source() {
    for (name, _) in FILES {
        for instruction in file(name).functions.iter().flat_map(|it| &it.body) {
            let source = instruction.source.as_ref().unwrap_or_else(|| panic!("{name}: {instruction:?}"));
            let mut outermost = source;
            while let Some((_, at)) = &outermost.inlined {
                outermost = at;
            }
            assert_eq!(*outermost.file, *format!("/src/{name}.cu"));
        }
    }
}

#[test]
fn inlined_chains() {
    let module = file("inlined");
    let body = &module.functions[0].body;
    let source = |opcode: &str, nth: usize| {
        let instruction = body.iter().filter(|it| it.opcode == opcode).nth(nth).unwrap();
        instruction.source.as_ref().unwrap().to_string().replace("/src/inlined.cu:", "")
    };
    assert_eq!(
        source("mul.rn.f32", 0),
        "2:73 (in inner, inlined at 3:73 (in middle, inlined at 5:5 (in outer, inlined at 9:5)))"
    );
    assert_eq!(source("div.rn.f32", 0), "5:5 (in outer, inlined at 9:5)");
    assert_eq!(source("mul.rn.f32", 2), "2:73 (in inner, inlined at 3:73 (in middle, inlined at 10:5))");
    assert_eq!(source("st.global.f32", 1), "10:5");
}

#[test]
fn functions_and_their_symbols() {
    let module = file("calls");
    let names: Vec<_> = module.functions.iter().map(|it| (it.name.as_str(), it.is_entry, it.is_extern)).collect();
    let expected = [
        ("vprintf", false, true),
        ("__assertfail", false, true),
        ("_Z4makeif", false, false),
        ("_Z4notePi", false, false),
        ("_Z9fibonaccii", false, false),
        ("calls", true, false),
    ];
    assert_eq!(names, expected);
    let called: Vec<_> = module.functions[5]
        .body
        .iter()
        .filter(|it| it.opcode == "call.uni")
        .flat_map(|it| &it.operands)
        .filter_map(|it| if let Operand::Symbol(Symbol::Function(name)) = it { Some(name.as_str()) } else { None })
        .collect();
    assert_eq!(called, ["_Z4makeif", "_Z4notePi", "__assertfail", "vprintf", "_Z9fibonaccii"]);
    let kernel = &module.functions[5];
    assert_eq!((kernel.max_ntid, kernel.params[0].bytes, kernel.params[0].align), (Some([64, 1, 1]), 24, 8));
    assert_eq!(kernel.variables[..2].iter().map(|it| it.bytes).collect::<Vec<_>>(), [64, 256]);
}

#[test]
fn copies_of_inline_assembly_keep_their_names_apart() {
    let module = file("scopes");
    let function = &module.functions[0];
    let labels: Vec<_> =
        function.labels.iter().map(|&at| (function.body[at].opcode.as_str(), function.body[at].line)).collect();
    let lines = [0, 16, 32].map(|copy| [("add.s32", 37 + copy), ("mov.u32", 43 + copy)]);
    assert_eq!(labels, lines.concat());
    let targets: Vec<_> = function
        .body
        .iter()
        .filter(|it| it.opcode.starts_with("bra"))
        .map(|it| if let [Operand::Label(id)] = it.operands[..] { id.0 } else { panic!("{it:?}") })
        .collect();
    assert_eq!(targets, [1, 0, 3, 2, 5, 4]);
}

#[test]
fn initial_values() {
    let module = file("variables");
    let variable = |name: &str| module.variables.iter().find(|it| it.name == name).unwrap();
    let nodes = variable("nodes");
    assert_eq!(
        (nodes.bytes, &nodes.init[8..12], &nodes.init[12..16]),
        (32, &[255; 4][..], &(-1.5f32).to_le_bytes()[..])
    );
    assert_eq!(nodes.relocations, [(0, "generic($str)".into(), 0), (16, "generic($str$1)".into(), 0)]);
    assert_eq!(variable("$str").init, b"first\0");
    assert_eq!(variable("second").relocations, [(0, "generic(nodes)".into(), 16)]);
    assert_eq!(variable("function").relocations, [(0, "_Z5twicei".into(), 0)]);
    assert_eq!(variable("table").init, [1i32, 2, 3, -4, 5, 0].map(i32::to_le_bytes).concat());
    assert_eq!(variable("minus_five").init, (-5i64).to_le_bytes());
}
