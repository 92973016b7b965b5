//! What stands outside of bodies.

use super::module;
use cuda_emulator::ptx::{
    ast::{Param, Space, Variable},
    parse,
};

#[test]
fn header() {
    let module = parse("// comment\n.version 8.10\n.target sm_90a, debug\n.address_size 64\n").unwrap();
    assert_eq!((module.version, module.target.as_str()), ((8, 10), "sm_90a"));
    assert!(module.variables.is_empty() && module.functions.is_empty());
}

/// The only variable of a module.
fn variable(text: &str) -> Variable {
    let mut variables = module(text).variables;
    assert_eq!(variables.len(), 1, "{text}");
    variables.pop().unwrap()
}

#[test]
fn variables() {
    for (text, space, align, bytes) in [
        (".global .align 4 .b8 scratch[400];", Space::Global, 4, 400),
        (".visible .const .align 16 .f32 table[4][8];", Space::Const, 16, 128),
        (".shared .u64 barrier;", Space::Shared, 8, 8),
        (".weak .global .v2 .f64 v;", Space::Global, 16, 16),
        (".common .global .b16 half[3];", Space::Global, 2, 6),
    ] {
        let it = variable(text);
        assert_eq!((it.space, it.align, it.bytes, it.is_extern), (space, align, bytes, false), "{text}");
        assert!(it.init.is_empty() && it.relocations.is_empty(), "{text}");
    }
    let dynamic = variable(".extern .shared .align 16 .b8 dynamic[];");
    assert_eq!((dynamic.space, dynamic.align, dynamic.bytes, dynamic.is_extern), (Space::Shared, 16, 0, true));
}

#[test]
fn initialisers() {
    let check = |text: &str, init: &[u8]| {
        let variable = variable(text);
        assert_eq!((variable.init.as_slice(), variable.bytes), (init, init.len() as u64), "{text}");
        assert_eq!(variable.relocations, [], "{text}");
    };
    check(".global .align 1 .b8 str[5] = {72, 101, 0};", &[72, 101, 0, 0, 0]);
    check(".global .u16 x[2] = {-1, 0xFFFE};", &[255, 255, 254, 255]);
    check(".global .s64 x = -5;", &(-5i64).to_le_bytes());
    check(".global .u64 x = 18446744073709551615;", &[255; 8]);
    check(".global .b128 x = 1;", &1u128.to_le_bytes());
    check(".global .f32 x[2] = {0f3F800000, -1.5};", &[[0, 0, 128, 63], (-1.5f32).to_le_bytes()].concat());
    check(
        ".global .f64 x[2] = {0d3FF0000000000000, 0fBF800000};",
        &[1f64.to_le_bytes(), (-1f64).to_le_bytes()].concat(),
    );
    check(".global .b32 x = 0f3F800000;", &[0, 0, 128, 63]);
    check(".const .u8 rows[2][3] = {{1, 2}, {3}};", &[1, 2, 0, 3, 0, 0]);
    check(".const .u8 flat[2][3] = {1, 2, 3, 4};", &[1, 2, 3, 4, 0, 0]);
    check(".const .u8 open[] = {1, 2, 3};", &[1, 2, 3]);
    check(".const .u8 open[][2] = {{1}, {2}, {3}};", &[1, 0, 2, 0, 3, 0]);
    check(".const .v2 .u8 pairs[2] = {{1, 2}, {3, 4}};", &[1, 2, 3, 4]);
}

#[test]
fn addresses_in_initialisers() {
    let module = module(
        ".func f; .global .u64 x[5] = {1, generic(table)+8, table-4, f, generic(later)};
        .global .u32 table[4]; .global .b8 later;",
    );
    let (x, table) = (&module.variables[0], &module.variables[1]);
    assert_eq!(x.init, [1u64, 0, 0, 0, 0].map(u64::to_le_bytes).concat());
    let expected = [(8, "generic(table)", 8), (16, "table", -4), (24, "f", 0), (32, "generic(later)", 0)];
    assert_eq!(x.relocations, expected.map(|(offset, symbol, addend)| (offset, symbol.to_owned(), addend)));
    assert_eq!(table.name, "table");
}

#[test]
fn a_definition_replaces_declarations() {
    let module = module(
        ".extern .global .b8 x[]; .func f; .extern .global .b8 x[]; .global .b8 x[4]; .extern .global .b8 x[];
        .func g { call f; } .func f { ret; } .func f; .extern .func h;",
    );
    let variables: Vec<_> = module.variables.iter().map(|it| (it.name.as_str(), it.bytes, it.is_extern)).collect();
    assert_eq!(variables, [("x", 4, false)]);
    let functions: Vec<_> = module.functions.iter().map(|it| (it.name.as_str(), it.body.len(), it.is_extern)).collect();
    assert_eq!(functions, [("f", 1, false), ("g", 1, false), ("h", 0, true)]);
}

#[test]
fn parameters() {
    let module = module(
        ".visible .entry k(
            .param .u64 .ptr .global .align 1 k_param_0, .param .u64 .ptr k_param_1,
            .param .align 64 .b8 k_param_2[128], .param .u8 k_param_3) { ret; }
        .func (.param .align 8 .b8 func_retval0[112]) f (.param .f32 f_param_0) .noreturn { ret; }
        .entry none { ret; }",
    );
    let param = |name: &str, align, bytes| Param { name: name.into(), align, bytes };
    let [k, f, none] = module.functions.as_slice() else { panic!("three functions") };
    let expected =
        [param("k_param_0", 8, 8), param("k_param_1", 8, 8), param("k_param_2", 64, 128), param("k_param_3", 1, 1)];
    assert_eq!((k.params.as_slice(), k.returns.as_slice(), k.is_entry), (&expected[..], &[][..], true));
    assert_eq!(f.params, [param("f_param_0", 4, 4)]);
    assert_eq!((f.returns.as_slice(), f.is_entry), (&[param("func_retval0", 8, 112)][..], false));
    assert_eq!(none.params, []);
}

#[test]
fn block_sizes() {
    let module = module(
        ".entry a .maxntid 128, 2 .minnctapersm 2 .maxnreg 64 { }
        .entry b .blocksareclusters .reqntid 64, 1, 1 .reqnctapercluster 2, 1, 1 { }
        .entry c .explicitcluster .maxclusterrank 8 .pragma \"nounroll\"; { }",
    );
    let sizes: Vec<_> = module.functions.iter().map(|it| (it.max_ntid, it.req_ntid)).collect();
    assert_eq!(sizes, [(Some([128, 2, 1]), None), (None, Some([64, 1, 1])), (None, None)]);
}
