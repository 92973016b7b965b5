//! Loads and stores of each width, and atomics: each thread on memory of its own, and whole warps on one place.

use crate::conformance::{
    cases::{Case, Chapter, whole},
    types::{B32, B64, Kind, Type},
};

pub fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    loads(&mut cases);
    for space in SPACES {
        atomics(&mut cases, space);
    }
    contended(&mut cases);
    cases
}

/// A state space: its name in opcodes, and the register with an address of the thread's own.
struct Space {
    name: &'static str,
    address: &'static str,
    /// What makes that address.
    prepare: &'static str,
}

const SPACES: [Space; 3] = [
    Space { name: ".global", address: "%scratch", prepare: "" },
    Space { name: ".shared", address: "%shared", prepare: "" },
    Space { name: "", address: "%generic", prepare: "cvta.global.u64 %generic, %scratch; " },
];

fn case(label: String, operands: &[Type], results: &[Type], body: String) -> Case {
    let operands = operands.iter().map(|&ty| whole(ty)).collect();
    Case { label, chapter: Chapter::Memory, operands, results: results.to_vec(), body }
}

/// Eight bytes stored, and some of them loaded into a register that may be wider.
fn loads(cases: &mut Vec<Case>) {
    for Space { name, address, prepare } in SPACES {
        for (ty, offset) in [("u8", 3), ("s8", 5), ("u16", 2), ("s16", 6), ("u32", 4), ("s32", 4), ("b64", 0)] {
            for register in [B32, B64] {
                if ty == "b64" && register == B32 {
                    continue;
                }
                let text = format!("ld{name}.{ty}");
                let store = format!("st{name}.b64 [{address}], %a0;");
                let body = format!("{prepare}{store} {text} %d0, [{address}+{offset}];");
                let label = format!("{text} +{offset} b{}", register.bits);
                cases.push(case(label, &[B64], &[register], body));
            }
        }
        for (n, operands) in [(2, "%a0, %a1"), (4, "%a0, %a1, %a2, %a3")] {
            let results = operands.replace('a', "d");
            let body = format!(
                "{prepare}st{name}.v{n}.b32 [{address}], {{{operands}}}; ld{name}.v{n}.b32 {{{results}}}, [{address}];"
            );
            cases.push(case(format!("ld{name}.v{n}.b32"), &vec![B32; n], &vec![B32; n], body));
        }
        for (ty, width) in [("u8", 8), ("b16", 16), ("b32", 32)] {
            let text = format!("st{name}.{ty}");
            let body = format!(
                "{prepare}st{name}.b64 [{address}], %a0; {text} [{address}+4], %a1; ld{name}.b64 %d0, [{address}];"
            );
            let register = Type { kind: Kind::Bits, bits: u32::max(width, 16), n_elements: 1 };
            cases.push(case(format!("{text} +4"), &[B64, register], &[B64], body));
        }
    }
}

/// Operations, and the types of each.
const OPERATIONS: [(&str, &[&str]); 11] = [
    ("add", &["u32", "s32", "u64", "f32", "f64", "noftz.f16", "noftz.f16x2", "noftz.bf16", "noftz.bf16x2"]),
    ("min", &["u32", "s32", "u64", "s64"]),
    ("max", &["u32", "s32", "u64", "s64"]),
    ("and", &["b32", "b64"]),
    ("or", &["b32", "b64"]),
    ("xor", &["b32", "b64"]),
    ("inc", &["u32"]),
    ("dec", &["u32"]),
    ("exch", &["b32", "b64"]),
    ("cas", &["b16", "b32", "b64"]),
    ("cas equal", &["b32", "b64"]),
];

/// The old value is the first result and what is in memory then the second; `red` has the second alone.
fn atomics(cases: &mut Vec<Case>, space: Space) {
    let Space { name, address, prepare } = space;
    for (operation, types) in OPERATIONS {
        for name_of_type in types {
            let (operation, variant) = operation.split_once(' ').unwrap_or((operation, ""));
            let ty = Type::named(name_of_type.trim_start_matches("noftz.")).expect("these are types");
            let bits = ty.register_bits();
            let store = format!("{prepare}st{name}.b{bits} [{address}], %a0;");
            let load = format!("ld{name}.b{bits} %d");
            let source = match (operation, variant) {
                ("cas", "equal") => "%a0, %a1",
                ("cas", _) => "%a1, %a2",
                _ => "%a1",
            };
            let n_operands = if source == "%a1, %a2" { 3 } else { 2 };
            let text = format!("atom{name}.{operation}.{name_of_type}");
            let body = format!("{store} {text} %d0, [{address}], {source}; {load}1, [{address}];");
            let label = if variant.is_empty() { text } else { format!("{text} {variant}") };
            cases.push(case(label, &vec![ty; n_operands], &[ty, ty], body));
            if !["exch", "cas"].contains(&operation) {
                let text = format!("red{name}.{operation}.{name_of_type}");
                let body = format!("{store} {text} [{address}], {source}; {load}0, [{address}];");
                cases.push(case(text, &[ty; 2], &[ty], body));
            }
        }
    }
}

/// All lanes of a warp on one word of shared memory, which begins with the first lane's operand.
fn contended(cases: &mut Vec<Case>) {
    for operation in ["add.u32", "min.s32", "max.u32", "and.b32", "or.b32", "xor.b32", "add.u64", "max.s64"] {
        let ty = Type::named(operation.split('.').next_back().unwrap_or_default()).expect("these are types");
        let bits = ty.bits;
        let text = format!("red.shared.{operation}");
        let body = format!(
            "{{ .reg .pred %first; .reg .b32 %lane; mov.u32 %lane, %laneid; setp.eq.u32 %first, %lane, 0;
            @%first st.shared.b{bits} [%tile], %a0;
            bar.warp.sync -1;
            {text} [%tile], %a1;
            bar.warp.sync -1;
            ld.shared.b{bits} %d0, [%tile]; }}"
        );
        cases.push(case(format!("{text} contended"), &[ty, ty], &[ty], body));
    }
}
