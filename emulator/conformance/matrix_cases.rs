//! mma, ldmatrix and stmatrix.

use crate::conformance::{
    cases::{Case, Chapter, Operand, Values, whole},
    types::{B32, Type},
};

/// A shape of mma: its rows of A, columns of B and depth.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub m: usize,
    pub n: usize,
    pub k: usize,
}

impl Shape {
    pub fn named(name: &str) -> Option<Self> {
        let (m, rest) = name.strip_prefix('m')?.split_once('n')?;
        let (n, k) = rest.split_once('k')?;
        Some(Self { m: m.parse().ok()?, n: n.parse().ok()?, k: k.parse().ok()? })
    }
}

/// Opcodes behind `mma.sync.aligned.`: shape, D, A, B, C.
const PRODUCTS: [&str; 16] = [
    "m16n8k16.row.col.f32.bf16.bf16.f32",
    "m16n8k8.row.col.f32.bf16.bf16.f32",
    "m16n8k16.row.col.f32.f16.f16.f32",
    "m16n8k8.row.col.f32.f16.f16.f32",
    "m16n8k16.row.col.f16.f16.f16.f16",
    "m16n8k8.row.col.f16.f16.f16.f16",
    "m16n8k8.row.col.f32.tf32.tf32.f32",
    "m16n8k4.row.col.f32.tf32.tf32.f32",
    "m16n8k16.row.col.s32.s8.s8.s32",
    "m16n8k32.row.col.s32.s8.s8.s32",
    "m16n8k32.row.col.s32.u8.s8.s32",
    "m16n8k32.row.col.s32.s8.u8.s32",
    "m16n8k32.row.col.s32.u8.u8.s32",
    "m16n8k32.row.col.satfinite.s32.s8.s8.s32",
    "m16n8k16.row.col.s32.u8.u8.s32",
    "m8n8k16.row.col.s32.s8.s8.s32",
];

pub fn all() -> Vec<Case> {
    let mut cases: Vec<Case> = PRODUCTS.iter().flat_map(|it| products(it)).collect();
    for n in [1, 2, 4] {
        for trans in ["", ".trans"] {
            cases.push(load(n, trans));
            cases.push(store(n, trans));
        }
    }
    cases
}

/// 32-bit registers of a fragment of so many elements in all.
fn n_registers(n_elements: usize, ty: Type) -> usize {
    n_elements / 32 * ty.bits as usize / 32
}

fn registers(letter: char, from: usize, n: usize) -> String {
    (from..from + n).map(|k| format!("%{letter}{k}")).collect::<Vec<_>>().join(", ")
}

/// The type of a register of a fragment: a float of 32 bits, a pair, or four bytes as bits.
fn register(ty: Type) -> Type {
    match ty.format() {
        Some(_) if ty.bits == 32 => ty,
        Some(_) => Type { n_elements: 2, ..ty },
        None => B32,
    }
}

/// Integers on all bits; floats on small integers, whose sums are exact, and on moderate numbers.
fn products(text: &str) -> Vec<Case> {
    let text = format!("mma.sync.aligned.{text}");
    let types = crate::conformance::types::Opcode::parse(&text).types();
    let [d, a, b, c] = types[..] else { unreachable!("four types") };
    let shape = text.split('.').find_map(Shape::named).expect("a shape is among the modifiers");
    let n_a = n_registers(shape.m * shape.k, a);
    let n_b = n_registers(shape.k * shape.n, b);
    let n_c = n_registers(shape.m * shape.n, c);
    let values = if a.format().is_some() { &[Values::Exact, Values::Moderate][..] } else { &[Values::Whole] };
    let case = |&values: &Values| {
        let operand = |ty| Operand { ty: register(ty), values };
        let operands = [vec![operand(a); n_a], vec![operand(b); n_b], vec![operand(c); n_c]].concat();
        let body = format!(
            "{text} {{{}}}, {{{}}}, {{{}}}, {{{}}};",
            registers('d', 0, n_c),
            registers('a', 0, n_a),
            registers('a', n_a, n_b),
            registers('a', n_a + n_b, n_c),
        );
        let label = format!("{text} {values:?}").to_lowercase();
        Case { label, chapter: Chapter::Matrix, operands, results: vec![register(d); n_c], body }
    };
    values.iter().map(case).collect()
}

/// Each lane stores 16 bytes, row `lane % 8` of matrix `lane / 8`; the matrices are then loaded.
fn load(n: usize, trans: &str) -> Case {
    let text = format!("ldmatrix.sync.aligned.m8n8.x{n}{trans}.shared.b16");
    let body = format!(
        "{{ .reg .b32 %row; mov.u32 %row, %laneid; mad.lo.u32 %row, %row, 16, %tile;
        st.shared.v4.b32 [%row], {{%a0, %a1, %a2, %a3}};
        bar.warp.sync -1;
        {text} {{{}}}, [%row];
        bar.warp.sync -1; }}",
        registers('d', 0, n)
    );
    Case { label: text, chapter: Chapter::Matrix, operands: vec![whole(B32); 4], results: vec![B32; n], body }
}

/// Zeros, matrices stored over them, and each lane's 16 bytes of the whole.
fn store(n: usize, trans: &str) -> Case {
    let text = format!("stmatrix.sync.aligned.m8n8.x{n}{trans}.shared.b16");
    let body = format!(
        "{{ .reg .b32 %row, %zero; mov.u32 %row, %laneid; mad.lo.u32 %row, %row, 16, %tile; mov.u32 %zero, 0;
        st.shared.v4.b32 [%row], {{%zero, %zero, %zero, %zero}};
        bar.warp.sync -1;
        {text} [%row], {{{}}};
        bar.warp.sync -1;
        ld.shared.v4.b32 {{%d0, %d1, %d2, %d3}}, [%row];
        bar.warp.sync -1; }}",
        registers('a', 0, n)
    );
    Case { label: text, chapter: Chapter::Matrix, operands: vec![whole(B32); n], results: vec![B32; 4], body }
}
