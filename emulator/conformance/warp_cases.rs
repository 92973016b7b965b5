//! Instructions in which the lanes of a warp take part together.

use crate::conformance::{
    cases::{Case, Chapter, Operand, Values, whole},
    types::{B32, B64, PRED, Type, U32},
};

pub fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    shuffles(&mut cases);
    votes(&mut cases);
    matches_and_reductions(&mut cases);
    cases
}

fn case(label: String, operands: Vec<Operand>, results: Vec<Type>, body: String) -> Case {
    Case { label, chapter: Chapter::Warp, operands, results, body }
}

/// A mask of all lanes, in a register.
fn members() -> Operand {
    Operand { ty: U32, values: Values::LaneMask }
}

/// Each mode with lane numbers of the lanes' own, whole warps and segments; the clamp and the segment mask are one operand.
fn shuffles(cases: &mut Vec<Case>) {
    for (mode, clamps) in [
        ("up", ["0x0", "0x1800", "0x1c02"]),
        ("down", ["0x1f", "0x181f", "0x1c04"]),
        ("bfly", ["0x1f", "0x181f", "0x100f"]),
        ("idx", ["0x1f", "0x181f", "0x1e01"]),
    ] {
        for clamp in clamps {
            let text = format!("shfl.sync.{mode}.b32");
            let body = format!("{text} %d0|%d1, %a0, %a1, {clamp}, %a2;");
            // The offset is each lane's own, from 0 to 31.
            let operands = vec![whole(B32), whole(U32), members()];
            let body = format!("and.b32 %a1, %a1, 31; {body}");
            cases.push(case(format!("{text} {clamp}"), operands, vec![B32, PRED], body));
        }
    }
}

fn votes(cases: &mut Vec<Case>) {
    for mode in ["all", "any", "uni", "ballot"] {
        let (suffix, result) = if mode == "ballot" { ("b32", B32) } else { ("pred", PRED) };
        for not in ["", "!"] {
            let text = format!("vote.sync.{mode}.{suffix}");
            let body = format!("{text} %d0, {not}%a0, %a1;");
            cases.push(case(format!("{text} {not}"), vec![whole(PRED), members()], vec![result], body));
        }
    }
    let body = "activemask.b32 %d0;".to_owned();
    cases.push(case("activemask.b32".to_owned(), vec![], vec![B32], body));
}

fn matches_and_reductions(cases: &mut Vec<Case>) {
    for ty in [B32, B64] {
        let text = format!("match.any.sync.b{}", ty.bits);
        let body = format!("{text} %d0, %a0, %a1;");
        // Few values, so that some match.
        let few = format!("and.b{} %a0, %a0, 3;", ty.bits);
        cases.push(case(text, vec![whole(ty), members()], vec![B32], format!("{few} {body}")));
        for (variant, prepare) in [("varied", "and.b# %a0, %a0, 1;"), ("equal", "mov.b# %a0, 7;")] {
            let text = format!("match.all.sync.b{}", ty.bits);
            let prepare = prepare.replace('#', &ty.bits.to_string());
            let body = format!("{prepare} {text} %d0|%d1, %a0, %a1;");
            cases.push(case(format!("{text} {variant}"), vec![whole(ty), members()], vec![B32, PRED], body));
        }
    }
    for operation in ["add.u32", "add.s32", "min.u32", "min.s32", "max.u32", "max.s32", "and.b32", "or.b32", "xor.b32"]
    {
        let text = format!("redux.sync.{operation}");
        let whole_warp = format!("{text} %d0, %a0, %a1;");
        cases.push(case(text.clone(), vec![whole(B32), members()], vec![B32], whole_warp));
        cases.push(case(format!("{text} halves"), vec![whole(B32)], vec![B32], halves(&format!("{text} %d0, %a0"))));
    }
    for text in ["vote.sync.ballot.b32", "match.any.sync.b32"] {
        let operand = if text.starts_with("vote") { PRED } else { B32 };
        let prepare = if operand == PRED { "" } else { "and.b32 %a0, %a0, 3; " };
        let body = prepare.to_owned() + &halves(&format!("{text} %d0, %a0"));
        cases.push(case(format!("{text} halves"), vec![whole(operand)], vec![B32], body));
    }
}

/// The instruction by the warp's lower half, and by its upper half on another path.
fn halves(instruction: &str) -> String {
    format!(
        "{{ .reg .pred %upper; .reg .b32 %lane; mov.u32 %lane, %laneid; setp.ge.u32 %upper, %lane, 16;
        @%upper bra UPPER;
        {instruction}, 0xffff;
        bra MEET;
    UPPER:
        {instruction}, 0xffff0000;
    MEET: }}"
    )
}
