//! Classes of instructions.

use crate::isa::{FORMS, Op};
use std::ffi::CStr;

/// Room for classes in the exported counters, so that a new class moves nothing.
pub const N_CLASS_SLOTS: usize = 32;

macro_rules! classes {
    ($($(#[$doc:meta])* $name:ident $text:literal,)*) => {
        /// What kind of work an instruction is.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Class { $($(#[$doc])* $name,)* }

        impl Class {
            pub const ALL: &[Class] = &[$(Class::$name),*];

            /// Its name in reports.
            pub fn name(self) -> &'static str {
                match self { $(Class::$name => $text,)* }
            }

            /// The same as a C string.
            pub fn c_name(self) -> &'static CStr {
                let name = match self { $(Class::$name => concat!($text, "\0"),)* };
                CStr::from_bytes_with_nul(name.as_bytes()).expect("the NUL is the last byte")
            }
        }
    };
}

classes! {
    Fp32 "fp32",
    Fp64 "fp64",
    /// f16 and bf16, packed or not.
    Half "half",
    Integer "integer",
    /// `cvt`, rounding to an integral value included.
    Convert "convert",
    /// Comparisons, `selp`, `mov`, packing and unpacking.
    Move "move",
    /// The functions of the special function unit: `rcp`, `sqrt`, `ex2`, `sin` and the like.
    Special "special",
    Mma "mma",
    GlobalLoad "global_load",
    GlobalStore "global_store",
    SharedLoad "shared_load",
    SharedStore "shared_store",
    /// Loads and stores of local memory: spills, and arrays with a variable index.
    Local "local",
    /// `ld` and `st` without a state space. Their sectors and wavefronts count with the space that they reach.
    Generic "generic",
    /// Loads of parameters.
    Param "param",
    Atomic "atomic",
    /// `cp.async`, its groups and waits.
    AsyncCopy "async_copy",
    /// Shuffles, votes, matches and reductions over a warp.
    Warp "warp",
    /// Barriers and fences.
    Barrier "barrier",
    Control "control",
    Other "other",
}

impl Class {
    /// An operation's name begins with its mnemonic and, for arithmetic, ends with its type; so an operation that is
    /// added to the table falls into its class.
    pub fn of(op: Op) -> Class {
        let name = format!("{op:?}");
        if (op as usize) < FORMS.len() { arithmetic(&name) } else { structural(&name) }
    }
}

fn arithmetic(name: &str) -> Class {
    let begins = |with: &[&str]| with.iter().any(|it| name.starts_with(it));
    match () {
        _ if begins(&["Cvt", "Round"]) => Class::Convert,
        _ if begins(&["Set", "Sel", "Slct", "Mov", "Pack", "Low", "High", "Widen", "Testp"]) => Class::Move,
        _ if begins(&["Rcp", "Sqrt", "Rsqrt", "Ex2", "Lg2", "Sin", "Cos", "Tanh"]) => Class::Special,
        _ if name.contains("F64") => Class::Fp64,
        _ if name.contains("F16") || name.contains("Bf16") => Class::Half,
        _ if name.contains("F32") => Class::Fp32,
        _ => Class::Integer,
    }
}

fn structural(name: &str) -> Class {
    const BEGINNINGS: &[(&str, Class)] = &[
        ("Mma", Class::Mma),
        ("CpAsync", Class::AsyncCopy),
        ("LdGlobal", Class::GlobalLoad),
        ("StGlobal", Class::GlobalStore),
        ("LdShared", Class::SharedLoad),
        ("LdMatrix", Class::SharedLoad),
        ("StShared", Class::SharedStore),
        ("StMatrix", Class::SharedStore),
        ("LdLocal", Class::Local),
        ("StLocal", Class::Local),
        ("LdGeneric", Class::Generic),
        ("StGeneric", Class::Generic),
        ("LdParam", Class::Param),
        ("Atom", Class::Atomic),
        ("Shfl", Class::Warp),
        ("Vote", Class::Warp),
        ("Match", Class::Warp),
        ("Redux", Class::Warp),
        ("ActiveMask", Class::Warp),
        ("Elect", Class::Warp),
        ("MovMatrix", Class::Warp),
        ("Bar", Class::Barrier),
        ("Membar", Class::Barrier),
        ("Fence", Class::Barrier),
        ("Bra", Class::Control),
        ("Brx", Class::Control),
        ("Call", Class::Control),
        ("Ret", Class::Control),
        ("Exit", Class::Control),
        ("Trap", Class::Control),
        ("Read", Class::Move),
    ];
    BEGINNINGS.iter().find(|(beginning, _)| name.starts_with(beginning)).map_or(Class::Other, |it| it.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_has_a_slot_and_a_name_of_its_own() {
        assert!(Class::ALL.len() <= N_CLASS_SLOTS);
        let mut names: Vec<&str> = Class::ALL.iter().map(|it| it.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Class::ALL.len());
        assert!(Class::ALL.iter().enumerate().all(|(i, &class)| class as usize == i));
    }

    #[test]
    fn operations_fall_into_their_classes() {
        for (op, class) in [
            (Op::FmaF32, Class::Fp32),
            (Op::AddF64, Class::Fp64),
            (Op::FmaBf16x2, Class::Half),
            (Op::MulWideU32, Class::Integer),
            (Op::CvtF32U64, Class::Convert),
            (Op::RoundNiF32, Class::Convert),
            (Op::SetLtF32, Class::Move),
            (Op::MovB64, Class::Move),
            (Op::RsqrtF32, Class::Special),
            (Op::LdGlobal, Class::GlobalLoad),
            (Op::LdParam, Class::Param),
            (Op::AtomShared, Class::Atomic),
            (Op::ShflBfly, Class::Warp),
            (Op::Redux, Class::Warp),
            (Op::BarRed, Class::Barrier),
            (Op::BarWarpSync, Class::Barrier),
            (Op::Bra, Class::Control),
            (Op::Mma, Class::Mma),
            (Op::LdMatrix, Class::SharedLoad),
            (Op::MovMatrix, Class::Warp),
            (Op::CpAsyncWait, Class::AsyncCopy),
            (Op::Nop, Class::Other),
        ] {
            assert_eq!(Class::of(op), class, "{op:?}");
        }
    }
}
