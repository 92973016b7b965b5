//! Statements of a function's body, as exact trees.

use super::{kernel, module};
use cuda_emulator::ptx::ast::{
    Base, Instruction, LabelId,
    Operand::{self, *},
    RegisterId, RegisterKind, Space, Symbol, VariableId,
};

const P: u32 = 0;
const H: u32 = 4;
const R: u32 = 8;
const RD: u32 = 16;

fn register(id: u32) -> Operand {
    Register(RegisterId(id))
}

fn address(base: u32, offset: i64) -> Operand {
    Address { base: Base::Register(RegisterId(base)), offset }
}

fn symbol_address(symbol: Symbol, offset: i64) -> Operand {
    Address { base: Base::Symbol(symbol), offset }
}

fn label(id: u32) -> Operand {
    Label(LabelId(id))
}

/// The only instruction of a kernel.
fn instruction(text: &str) -> Instruction {
    let mut body = kernel(text).body;
    assert_eq!(body.len(), 1, "{text}");
    body.pop().unwrap()
}

#[track_caller]
fn check_operands(text: &str, expected: &[Operand]) {
    assert_eq!(instruction(text).operands, expected, "{text}");
}

#[test]
fn registers_have_names_and_widths() {
    let function = module(
        ".entry k { .reg .pred p; .reg .b8 b; .reg .s16 %rs<2>; .reg .f16x2 half, t<2>; .reg .f64 %fd<1>; .reg .u32 %r; }",
    );
    let registers: Vec<_> = function.functions[0].registers.iter().map(|it| (it.name.as_str(), it.kind)).collect();
    use RegisterKind::*;
    let expected = [
        ("p", Pred),
        ("b", B8),
        ("%rs0", B16),
        ("%rs1", B16),
        ("half", B32),
        ("t0", B32),
        ("t1", B32),
        ("%fd0", B64),
        ("%r", B32),
    ];
    assert_eq!(registers, expected);
}

#[test]
fn the_digits_of_a_name_may_belong_to_its_prefix() {
    let function = kernel("{ .reg .b32 x1<3>, x<2>, x; mov.b32 x12, x1; mov.b32 x, x10; }");
    let operands: Vec<_> = function.body.iter().map(|it| it.operands.clone()).collect();
    assert_eq!(operands, [[register(22), register(24)], [register(25), register(20)]]);
}

#[test]
fn guards_opcodes_and_lines() {
    let function = kernel(
        "@%p1 ld.global.nc.L1::no_allocate.L2::128B.v4.u32\n{%r0, %r1, %r2, %r3}, [%rd1+16];\n\n@!%p2 bar.sync 0;trap;",
    );
    let lines: Vec<_> = function.body.iter().map(|it| (it.line, it.guard, it.opcode.as_str())).collect();
    let expected = [
        (4, Some((RegisterId(P + 1), false)), "ld.global.nc.L1::no_allocate.L2::128B.v4.u32"),
        (7, Some((RegisterId(P + 2), true)), "bar.sync"),
        (7, None, "trap"),
    ];
    assert_eq!(lines, expected);
    assert_eq!(function.body[0].operands, [Vector([8, 9, 10, 11].map(register).into()), address(RD + 1, 16)]);
}

#[test]
fn an_opcode_loses_its_blanks() {
    assert_eq!(instruction("ld .global\n.u32 %r1, [%rd1];").opcode, "ld.global.u32");
}

#[test]
fn numbers() {
    for (text, number) in [
        ("0", Integer(0)),
        ("42U", Integer(42)),
        ("-8", Integer(-8)),
        ("0x1F", Integer(31)),
        ("0XffU", Integer(255)),
        ("-0x10", Integer(-16)),
        ("017", Integer(15)),
        ("0b101", Integer(5)),
        ("4294967295", Integer(0xFFFF_FFFF)),
        ("18446744073709551615", Integer(-1)),
        ("-9223372036854775808", Integer(i64::MIN)),
        ("0f3F800000", Float32(0x3F80_0000)),
        ("0Fbf800000", Float32(0xBF80_0000)),
        ("-0f3F800000", Float32(0xBF80_0000)),
        ("0d3FF0000000000000", Float64(1f64.to_bits())),
        ("1.5", Float64(1.5f64.to_bits())),
        ("-1.", Float64((-1f64).to_bits())),
        ("2e3", Float64(2000f64.to_bits())),
        ("2.5E-3", Float64(0.0025f64.to_bits())),
    ] {
        check_operands(&format!("mov.b64 %rd0, {text};"), &[register(RD), number]);
    }
}

#[test]
fn addresses() {
    for (text, operand) in [
        ("[%rd1]", address(RD + 1, 0)),
        ("[%rd1+4]", address(RD + 1, 4)),
        ("[%rd1+-8]", address(RD + 1, -8)),
        ("[%rd1-8]", address(RD + 1, -8)),
        ("[ %rd1 + 0x10 ]", address(RD + 1, 16)),
        ("[k_param_0]", symbol_address(Symbol::Param(0), 0)),
        ("[k_param_0+12]", symbol_address(Symbol::Param(0), 12)),
        ("[16]", Address { base: Base::None, offset: 16 }),
    ] {
        check_operands(&format!("prefetch.L2 {text};"), &[operand]);
    }
}

#[test]
fn coordinates_follow_an_address_in_a_vector() {
    check_operands(
        "cp.async.bulk.prefetch.tensor.2d.L2.global.tile [%rd0, {%r1, %r2}];",
        &[Vector(vec![address(RD, 0), Vector(vec![register(R + 1), register(R + 2)])])],
    );
}

#[test]
fn other_operands() {
    check_operands(
        "setp.lt.and.s32 %p0|%p1, %r0, %r1, !%p2;",
        &[
            Pair(register(P).into(), register(P + 1).into()),
            register(R),
            register(R + 1),
            NotRegister(RegisterId(P + 2)),
        ],
    );
    check_operands(
        "shfl.sync.bfly.b32 _|%p1, %r1, 16, 31, -1;",
        &[Pair(Sink.into(), register(P + 1).into()), register(R + 1), Integer(16), Integer(31), Integer(-1)],
    );
    check_operands("mov.b32 {%h0, _}, %r1;", &[Vector(vec![register(H), Sink]), register(R + 1)]);
    check_operands("mov.u64 %rd0, k_param_0;", &[register(RD), Symbol(Symbol::Param(0))]);
    check_operands(
        "st.v2.f32 [%rd0], {0f00000000, %r1};",
        &[address(RD, 0), Vector(vec![Float32(0), register(R + 1)])],
    );
    for special in ["%tid.x", "%nctaid.z", "%laneid", "%clock64", "%envreg31", "%lanemask_lt", "WARP_SZ"] {
        check_operands(&format!("mov.u32 %r0, {special};"), &[register(R), Special(special.into())]);
    }
}

#[test]
fn an_instruction_may_cling_to_a_brace() {
    let function = kernel("{cvt.rn.bf16x2.f32 %r0,%r1,%r2;}{.reg .b16 low,high;mov.b32 {low,high},%r0;}");
    assert_eq!(function.body[0].operands, [register(8), register(9), register(10)]);
    assert_eq!(function.body[1].operands, [Vector(vec![register(20), register(21)]), register(8)]);
}

#[test]
fn labels_are_looked_up_from_the_inside_out() {
    let function = kernel(
        "bra.uni done;
        { again: mov.b32 %r0, 1; @%p0 bra again; bra done; done: { bra done; bra outer; } }
        { again: mov.b32 %r0, 2; @%p0 bra again; bra done; done: }
        outer: done:",
    );
    // In the order of the text: again 0, done 1, again 2, done 3, outer 4, done 5.
    assert_eq!(function.labels, [1, 4, 6, 9, 9, 9]);
    let branches: Vec<_> = function.body.iter().filter(|it| it.opcode.starts_with("bra")).collect();
    let targets: Vec<_> = branches.iter().map(|it| it.operands.clone()).collect();
    assert_eq!(targets, [5, 0, 1, 1, 4, 2, 3].map(|id| vec![label(id)]));
}

#[test]
fn the_innermost_declaration_wins() {
    let function = kernel(
        ".shared .align 16 .b8 tile[64]; mov.u32 %r0, tile;
        { .reg .b32 %r0; .shared .u64 tile; mov.u32 %r0, tile; } mov.u32 %r0, tile;",
    );
    let tile = |id| Symbol(Symbol::Local(VariableId(id)));
    let operands: Vec<_> = function.body.iter().map(|it| it.operands.clone()).collect();
    assert_eq!(operands, [[register(R), tile(0)], [register(20), tile(1)], [register(R), tile(0)]]);
    let sizes: Vec<_> = function.variables.iter().map(|it| (it.align, it.bytes)).collect();
    assert_eq!(sizes, [(16, 64), (8, 8)]);
}

#[test]
fn variables_of_a_body() {
    let function = kernel(
        ".local .align 16 .b8 __local_depot0[32]; .reg .b64 %SP, %SPL; .shared .v4 .f32 quads[2][3], one;
        .extern .shared .align 128 .b8 dynamic[]; mov.u64 %SPL, __local_depot0; ld.shared.f32 %r0, [quads+32];",
    );
    let variables: Vec<_> =
        function.variables.iter().map(|it| (it.name.as_str(), it.space, it.align, it.bytes, it.is_extern)).collect();
    let expected = [
        ("__local_depot0", Space::Local, 16, 32, false),
        ("quads", Space::Shared, 16, 96, false),
        ("one", Space::Shared, 16, 16, false),
        ("dynamic", Space::Shared, 128, 0, true),
    ];
    assert_eq!(variables, expected);
    assert_eq!(function.body[0].operands, [register(21), Symbol(Symbol::Local(VariableId(0)))]);
    assert_eq!(function.body[1].operands, [register(R), symbol_address(Symbol::Local(VariableId(1)), 32)]);
}

#[test]
fn calls() {
    let module = module(
        ".extern .func (.param .b32 func_retval0) f (.param .b32 f_param_0, .param .align 8 .b8 f_param_1[24]);
        .func g () { ret; }
        .func (.param .b32 func_retval0) h () {
            .reg .b32 %r<2>;
            { // callseq 0, 0
            .reg .b32 temp_param_reg;
            .param .b32 param0; .param .align 8 .b8 param1[24]; .param .b32 retval0;
            st.param.b32 [param0+0], %r1;
            call.uni (retval0), \n f, \n (\n param0, \n param1\n);
            ld.param.b32 %r0, [retval0+0];
            }
            call.uni g, ();
            call h;
            st.param.b32 [func_retval0+0], %r0;
            ret;
        }",
    );
    let body = &module.functions[2].body;
    let local = |id| Symbol::Local(VariableId(id));
    assert_eq!(body[0].operands, [symbol_address(local(0), 0), register(1)]);
    let arguments = Arguments(vec![Symbol(local(0)), Symbol(local(1))]);
    assert_eq!(body[1].operands, [Arguments(vec![Symbol(local(2))]), Symbol(Symbol::Function("f".into())), arguments]);
    assert_eq!(body[1].line, 10);
    assert_eq!(body[2].operands, [register(0), symbol_address(local(2), 0)]);
    assert_eq!(body[3].operands, [Symbol(Symbol::Function("g".into())), Arguments(vec![])]);
    assert_eq!(body[4].operands, [Symbol(Symbol::Function("h".into()))]);
    assert_eq!(body[5].operands, [symbol_address(Symbol::Return(0), 0), register(0)]);
    assert!(module.functions[2].variables.iter().all(|it| it.space == Space::Param));
}

#[test]
fn comments_and_pragmas_leave_nothing() {
    let function = kernel("// ret;\n/* ret;\n ret; */ .pragma \"nounroll\"; ; exit; // ret;");
    assert_eq!((function.body.len(), function.body[0].line), (1, 6));
}
