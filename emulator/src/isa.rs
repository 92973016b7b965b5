//! The one table of instructions. Parser, lowering, executor, documentation and tests derive from it.
//!
//! An arithmetic instruction is a line: its name, the types of its result and operands, the PTX texts it stands for and
//! what one lane computes. `"add.{u32,s32}"` stands for `add.u32` and `add.s32`, `{,.rn}` for an optional modifier; a line
//! without texts is used by the lowering alone. The chapters chain: [`integer`] appends its lines and hands them to
//! `float`, then `compare`, then `convert`, which gives the whole to the caller's macro; [`rare`] has chapters of its own.
//! `(a: f32; with)` is a line that leaves [`modifiers`] open: one line for all their combinations.
//!
//! Of the arithmetic up to sm_90 there is no: `.oob` on `fma`, the video instructions (`vadd` to `vset4`), `mov.b128`.
//!
//! Instructions that touch memory, other lanes or the flow of control are in [`structural`]; their PTX texts have too many
//! optional parts for a table of texts, so `lower::decode` reads those modifier by modifier.

pub(crate) mod integer;
pub(crate) mod float;
pub(crate) mod compare;
pub(crate) mod convert;
pub(crate) mod rare;
pub mod modifiers;

use std::{collections::HashMap, sync::LazyLock};

/// The type of an operand or result: how a lane's bits are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LaneType {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    U64,
    I64,
    F16,
    Bf16,
    F32,
    F64,
    Bool,
}

/// Which register file holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// A 32-bit mask, a bit a lane.
    Pred,
    /// 32 lanes of 32 bits; narrower types sit in the low bits, zero- or sign-extended.
    Word,
    /// 32 lanes of 64 bits.
    Double,
}

impl LaneType {
    pub const fn class(self) -> Class {
        match self {
            LaneType::Bool => Class::Pred,
            LaneType::U64 | LaneType::I64 | LaneType::F64 => Class::Double,
            _ => Class::Word,
        }
    }

    /// The type's name in the table: `u32`, `F16`, `bool`.
    const fn named(name: &str) -> LaneType {
        match name.as_bytes() {
            b"u8" => LaneType::U8,
            b"i8" => LaneType::I8,
            b"u16" => LaneType::U16,
            b"i16" => LaneType::I16,
            b"u32" => LaneType::U32,
            b"i32" => LaneType::I32,
            b"u64" => LaneType::U64,
            b"i64" => LaneType::I64,
            b"F16" => LaneType::F16,
            b"Bf16" => LaneType::Bf16,
            b"f32" => LaneType::F32,
            b"f64" => LaneType::F64,
            b"bool" => LaneType::Bool,
            _ => panic!("no such lane type"),
        }
    }
}

/// One line of the arithmetic table.
#[derive(Debug)]
pub struct Form {
    pub op: Op,
    pub result: LaneType,
    pub operands: &'static [LaneType],
    /// The PTX texts, alternatives in braces.
    pub texts: &'static [&'static str],
}

/// Instructions with effects beyond their lane, and the anchor of each in the PTX ISA.
macro_rules! structural { ($with:ident { $($table:tt)* }) => { $with! { { $($table)* }
    // memory: #data-movement-and-conversion-instructions-ld and -st
    LdGlobal LdShared LdLocal LdParam LdGeneric StGlobal StShared StLocal StGeneric
    // #parallel-synchronization-and-communication-instructions-atom and -red
    AtomGlobal AtomShared AtomGeneric
    // #data-movement-and-conversion-instructions-shfl-sync, -vote-sync, -match-sync, -redux-sync, -activemask
    ShflUp ShflDown ShflBfly ShflIdx VoteAll VoteAny VoteUni VoteBallot MatchAny MatchAll Redux ActiveMask
    // #parallel-synchronization-and-communication-instructions-elect-sync
    Elect
    // #parallel-synchronization-and-communication-instructions-bar, -bar-warp-sync, -membar
    BarSync BarArrive BarRed BarWarpSync Membar
    // #warp-level-matrix-instructions-mma, -ldmatrix, -stmatrix, -movmatrix
    Mma LdMatrix StMatrix MovMatrix
    // #data-movement-and-conversion-instructions-cp-async, -cp-async-commit-group, -cp-async-wait-group
    CpAsync CpAsyncCommit CpAsyncWait
    // #control-flow-instructions-bra, -brx-idx, -call, -ret, -exit; #miscellaneous-instructions-trap, -nanosleep
    Bra BraIndexed Call Ret Exit Trap Nop
    // the system calls that device code makes, vprintf and __assertfail
    Printf AssertFail
    // special registers that change while a kernel runs: #special-registers-clock, -clock64, -globaltimer
    ReadClock ReadClock64 ReadGlobalTimer
    // of our own: a fault in lanes whose flag is not set
    CheckWritten
} } }

macro_rules! define_ops {
    ({ $(
        $name:ident $result:ident = ($($arg:ident: $ty:ident),* $(; $with:ident)?) $($texts:literal),+ $body:expr;
    )* } $($other:ident)*) => {
        /// Every operation of the interpreter.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u16)]
        pub enum Op { $($name,)* $($other,)* }

        /// The arithmetic table.
        pub static FORMS: &[Form] = &[$(Form {
            op: Op::$name,
            result: LaneType::named(stringify!($result)),
            operands: &[$(LaneType::named(stringify!($ty))),*],
            texts: &[$($texts),+],
        }),*];
    };
}
macro_rules! with_structural { ($($table:tt)*) => { structural! { define_ops { $($table)* } } } }
macro_rules! with_rare { ($($table:tt)*) => { rare::rare_integer! { with_structural { $($table)* } } } }
integer::integer! { with_rare {} }

/// The arithmetic instruction with this PTX text.
pub fn find(text: &str) -> Option<&'static Form> {
    static BY_TEXT: LazyLock<HashMap<String, &'static Form>> = LazyLock::new(|| {
        let mut by_text = HashMap::new();
        for form in FORMS {
            for text in form.texts.iter().flat_map(|it| alternatives(it)).filter(|it| !it.is_empty()) {
                let twin = by_text.insert(text.clone(), form);
                assert!(twin.is_none(), "two lines of the instruction table for `{text}`");
            }
        }
        by_text
    });
    BY_TEXT.get(text).copied()
}

/// The line of an operation that has one.
pub fn form(op: Op) -> &'static Form {
    FORMS.get(op as usize).unwrap_or_else(|| panic!("{op:?} is not in the arithmetic table"))
}

/// `"add.{u32,s32}"` to `["add.u32", "add.s32"]`.
pub fn alternatives(pattern: &str) -> Vec<String> {
    let Some((head, rest)) = pattern.split_once('{') else { return vec![pattern.to_owned()] };
    let (choices, tail) = rest.split_once('}').expect("braces in the instruction table match");
    let tails = alternatives(tail);
    choices.split(',').flat_map(|choice| tails.iter().map(move |tail| format!("{head}{choice}{tail}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_expand() {
        assert_eq!(alternatives("add{,.rn}.{f32,f64}"), ["add.f32", "add.f64", "add.rn.f32", "add.rn.f64"]);
        assert_eq!(alternatives("ret"), ["ret"]);
    }

    #[test]
    fn every_form_is_found_by_its_texts_and_its_op() {
        assert!(find("no.such.thing").is_none());
        for it in FORMS {
            assert_eq!(form(it.op).op, it.op);
            for text in it.texts.iter().flat_map(|it| alternatives(it)).filter(|it| !it.is_empty()) {
                assert_eq!(find(&text).map(|it| it.op), Some(it.op), "{text}");
            }
        }
    }
}
