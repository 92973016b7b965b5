//! Where an error points and what it says.

use super::{with_header, with_registers};
use cuda_emulator::ptx::parse;

/// (text after the header, line, column, message)
type Case = (String, u32, u32, &'static str);

#[track_caller]
fn check(cases: impl IntoIterator<Item = Case>) {
    for (items, line, column, message) in cases {
        let text = with_header(&items);
        let error = parse(&text).expect_err(&items);
        assert_eq!((error.line, error.column, error.message.as_str()), (line, column, message), "{items}");
        assert_eq!(error.excerpt, text.lines().nth(line as usize - 1).unwrap_or(""), "{items}");
    }
}

#[test]
fn in_the_header() {
    for (text, column, message) in [
        ("", 1, "expected `.version`, found the end of the text"),
        ("ELF", 1, "expected `.version`, found `ELF`"),
        (".version 9", 10, "expected a version such as 9.0, found `9`"),
        (".version 9.0 .entry", 14, "expected `.target`, found `.entry`"),
        (
            ".version 9.0 .target sm_80 .address_size 32",
            42,
            "expected `64`: other addresses are not supported, found `32`",
        ),
    ] {
        let error = parse(text).unwrap_err();
        assert_eq!((error.line, error.column, error.message.as_str()), (1, column, message), "{text}");
    }
}

#[test]
fn in_tokens() {
    check([
        ("\n  é".into(), 3, 3, "unexpected character"),
        (".global /* ...\n".into(), 2, 9, "expected `*/` after this, found the end of the text"),
        (".file 1 \"a.cu\n\"".into(), 2, 9, "expected `\"` at the end of this, found the end of the line"),
        (
            ".global .u64 x = 18446744073709551616;".into(),
            2,
            18,
            "expected a number of at most 64 bits, found `18446744073709551616`",
        ),
        (".global .f32 x = 0f3F8000;".into(), 2, 18, "expected a number of at most 64 bits, found `0f3F8000`"),
        (".global .u32 x = 089;".into(), 2, 18, "expected a number of at most 64 bits, found `089`"),
        (".global .f32 x = 1.5.2;".into(), 2, 18, "expected a number of at most 64 bits, found `1.5.2`"),
    ]);
}

#[test]
fn outside_of_bodies() {
    check([
        ("ret;".into(), 2, 1, "expected a function, a variable, `.file` or `.section`, found `ret`"),
        (".alias f, g;".into(), 2, 1, "`.alias` is refused: aliases and textures are not supported"),
        (".global .align 3 .b8 x;".into(), 2, 16, "expected a power of two up to 65536, found `3`"),
        (".global .texref x;".into(), 2, 9, "expected a type such as `.b32`, found `.texref`"),
        (".global .b8 x[];".into(), 2, 13, "expected a size for `x`, found none"),
        (".global .b8 x[0];".into(), 2, 15, "expected a size, found `0`"),
        (
            ".global .b8 x[65536][4294967296][2];".into(),
            2,
            33,
            "expected at most 281474976710656 bytes in at most 8 dimensions",
        ),
        (".global .b8 x;\n.func x;".into(), 3, 7, "expected a new name, found `x`, which is declared already"),
        (".global .b8 x, x;".into(), 2, 16, "expected a new name, found `x`, which is declared already"),
        (".func f {}\n.func f {}".into(), 3, 7, "expected a new name, found `f`, which is declared already"),
        (".func f (.reg .b32 x);".into(), 2, 10, "expected `.param`, found `.reg`"),
        (".func f (.param .b8 x[]);".into(), 2, 21, "expected a size for `x`, found none"),
        (".entry k .maxntid { }".into(), 2, 19, "expected a size, found `{`"),
        (".section .debug_str {".into(), 2, 22, "expected `}` after the section, found the end of the text"),
    ]);
}

#[test]
fn in_initialisers() {
    check([
        (".global .u8 x = 256;".into(), 2, 17, "expected an integer of 8 bits, found `256`"),
        (".global .u8 x = -129;".into(), 2, 18, "expected an integer of 8 bits, found `129`"),
        (".global .f32 x = 1;".into(), 2, 18, "expected a float of 32 bits, found `1`"),
        (".global .u8 x[2] = {1, 2, 3};".into(), 2, 29, "expected at most 2 bytes of values, found 3"),
        (".global .u8 x[2][2] = {{1, 2, 3}};".into(), 2, 33, "expected at most 2 bytes of values, found 3"),
        (".global .u8 x[999999999999] = {1};".into(), 2, 34, "expected at most 268435456 bytes of initialised arrays"),
        (".global .u32 x = y;".into(), 2, 18, "expected a number: only elements of 64 bits hold an address, found `y`"),
        (".global .u64 x = y;".into(), 2, 18, "expected a declared name, found `y`"),
        (".shared .u32 x = 1;".into(), 2, 16, "expected `;`, found `=`"),
    ]);
}

#[test]
fn in_bodies() {
    let cases = [
        ("mov.u32 %r0, %r1", 5, 1, "expected `;`, found `}`"),
        ("mov.u32 %r0, %r8;", 4, 14, "expected a declared name, found `%r8`"),
        ("mov.u32 %r0, %r01;", 4, 14, "expected a declared name, found `%r01`"),
        ("mov.u32 %r0, ;", 4, 14, "expected an operand, found `;`"),
        ("mov.u32 %r0, %tid;", 4, 18, "expected `.x`, `.y` or `.z`, found `;`"),
        ("mov.u64 %rd0, k_param_0+8;", 4, 24, "expected `;`, found `+`"),
        ("ld.u32 %r0, [%rd0;", 4, 18, "expected `]`, found `;`"),
        ("ld.u32 %r0, [x];", 4, 14, "expected a declared name, found `x`"),
        ("ld.u32 %r0, [%rd0+%r1];", 4, 19, "expected an offset, found `%r1`"),
        ("mov.b64 {%r0, {%r1}}, %rd0;", 4, 15, "expected an operand, found `{`"),
        ("@%r0 ret;", 4, 2, "expected a declared predicate register, found `%r0`"),
        ("@%p0\n;", 5, 1, "expected an instruction, found `;`"),
        ("call (x), f, (y);", 4, 7, "expected a declared name, found `x`"),
        ("bra\nelsewhere;", 5, 1, "expected a declared label, found `elsewhere`"),
        ("{ inner: } bra inner;", 4, 16, "expected a declared label, found `inner`"),
        ("x:\nx:", 5, 1, "expected a new name, found `x`, which is declared already"),
        (".reg .b32 %r<2>;", 4, 11, "expected a new name, found `%r`, which is declared already"),
        (".reg .b32 %r7;", 4, 11, "expected a new name, found `%r7`, which is declared already"),
        (".reg .b32 k_param_0;", 4, 11, "expected a new name, found `k_param_0`, which is declared already"),
        (".reg .b32 x<4000000000>;", 4, 11, "expected at most 2097152 registers in a module"),
        (".reg .v4 .b32 x;", 4, 6, "`.v4` is refused: vector registers are not supported"),
        (
            ".global .b32 x;",
            4,
            1,
            "expected an instruction or one of `.reg`, `.shared`, `.local`, `.param`, found `.global`",
        ),
        ("brx.idx %r0, table;", 4, 14, "expected a declared list of targets, found `table`"),
        (".branchtargets L;", 4, 16, "expected a label before `.branchtargets`, found `L`"),
        (".loc 3 1 1 ret;", 4, 1, "expected `.file 3` in this module, found none"),
        (".loc 1 1 1, function_name $x, inlined_at 1 2 3 ret;", 4, 27, "expected `$x` in .debug_str, found none"),
        ("\t\tret 5 5;", 4, 9, "expected `;`, found `5`"),
    ];
    check(cases.map(|(text, line, column, message)| (with_registers(text) + ".file 1 \"a\"", line, column, message)));
}

#[test]
fn at_the_end_of_the_text() {
    check([(".entry k {\nret;".into(), 3, 5, "expected an instruction or `}`, found the end of the text")]);
}

#[test]
fn deep_nesting_is_refused() {
    for open in ["{", "(", "[", "{{ret;", "[{(", "L: {", "mov {", "@"] {
        let text = with_header(&with_registers(&open.repeat(100_000)));
        parse(&text).expect_err(open);
    }
    let text = format!(".global .b8 x{} = {}", "[1]".repeat(100_000), "{".repeat(100_000));
    let error = parse(&with_header(&text)).unwrap_err();
    assert_eq!(error.message, "expected at most 281474976710656 bytes in at most 8 dimensions");
}

#[test]
fn the_excerpt_of_a_long_line_is_short() {
    let values = "1, ".repeat(50_000);
    let error = parse(&with_header(&format!(".global .b8 x[99999] = {{{values}?, {values}}};"))).unwrap_err();
    assert_eq!((error.line, error.column), (2, 150_025));
    assert!(error.excerpt.len() <= 200 && error.excerpt.contains("1, ?, 1"), "{}", error.excerpt);
}
