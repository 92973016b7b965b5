//! The work of each instruction, built for each of the host's vector units.
//!
//! Every arithmetic instruction of the table becomes one small function; an [`Engine`] is the table of them, with the
//! memory instructions, compiled with one set of CPU features. The loop calls through the table: on the CPUs we measured
//! that is as fast as one large `match`, and it compiles in seconds where the `match` takes many minutes.

#![allow(unsafe_code)]

use super::{
    approx, async_copy, bits,
    cpu::Cpu,
    deal,
    exact::{self, Format},
    fp, global,
    half::{self, Bf16, F16},
    lane::{Lane, Mask, Registers},
    matrix, mma,
    run::Context,
    shared,
    trouble::Outcome,
    warp::Warp,
    warp_ops,
};
use crate::{
    check::shared::rows::{self, Row, State},
    isa::{self, FORMS, modifiers::Modifiers},
    lower::program::Inst,
};
use std::sync::OnceLock;

/// One arithmetic instruction.
///
/// # Safety
/// The CPU must have the features that the engine was built for; [`Engine::choose`] sees to it.
pub type Arithmetic = unsafe fn(&mut Registers, &Inst, &Mask);

/// One memory instruction or shuffle.
///
/// # Safety
/// As for [`Arithmetic`].
pub type Memory = unsafe fn(&mut Context, &mut Warp, &Inst) -> Outcome;

/// [`deal::portable`].
///
/// # Safety
/// As for that and for [`Arithmetic`].
type Deal = unsafe fn(&mut Registers, &[u16; 4], &deal::Places);

/// [`rows::read`] and [`rows::write`].
///
/// # Safety
/// As for [`Arithmetic`].
type Note = unsafe fn(Row, State) -> bool;

/// The instructions whose speed matters, compiled for one vector unit.
#[derive(Clone, Copy)]
pub struct Engine {
    /// By `Op`.
    pub arithmetic: &'static [Arithmetic],
    pub load_global: Memory,
    pub store_global: Memory,
    pub load_shared: Memory,
    pub store_shared: Memory,
    pub shuffle: Memory,
    pub multiply: Memory,
    pub load_matrix: Memory,
    pub issue_copies: Memory,
    pub land_copies: Memory,
    deal: Deal,
    /// What shared memory's checks do most.
    note_read: Note,
    note_write: Note,
}

impl Engine {
    /// [`deal::portable`].
    ///
    /// # Safety
    /// 16 bytes can be read from each of the places on.
    #[inline]
    pub unsafe fn deal(&self, registers: &mut Registers, slots: &[u16; 4], places: &deal::Places) {
        // SAFETY: the caller's promise; `Engine::chosen` is an engine whose features this CPU has.
        unsafe { (self.deal)(registers, slots, places) }
    }

    /// [`rows::read`].
    #[inline]
    pub fn note_read(&self, row: Row, state: State) -> bool {
        // SAFETY: `Engine::chosen` is an engine whose features this CPU has.
        unsafe { (self.note_read)(row, state) }
    }

    /// [`rows::write`].
    #[inline]
    pub fn note_write(&self, row: Row, state: State) -> bool {
        // SAFETY: `Engine::chosen` is an engine whose features this CPU has.
        unsafe { (self.note_write)(row, state) }
    }

    /// Chooses what [`chosen`](Self::chosen) returns from now on, unless it was asked for before.
    pub fn choose(cpu: Cpu) {
        assert!(Cpu::available().contains(&cpu), "this machine cannot run {cpu:?}");
        CHOSEN.get_or_init(|| Self::built_for(cpu));
    }

    /// The engine that was chosen, or else the fastest that this machine can run.
    pub fn chosen() -> &'static Engine {
        CHOSEN.get_or_init(|| Self::built_for(Cpu::best()))
    }

    fn built_for(cpu: Cpu) -> &'static Engine {
        match cpu {
            #[cfg(target_arch = "x86_64")]
            Cpu::Avx512 => &avx512::ENGINE,
            #[cfg(target_arch = "x86_64")]
            Cpu::Avx2 => &avx2::ENGINE,
            _ => &baseline::ENGINE,
        }
    }
}

static CHOSEN: OnceLock<&'static Engine> = OnceLock::new();

/// `[]` or `[target_feature(...)]` before an item: the item with that attribute.
macro_rules! with_features {
    ([] $item:item) => { $item };
    ([$($feature:tt)+] $item:item) => { #[$($feature)+] $item };
}

/// Expands the arithmetic table into functions, each: read the operands' planes, compute every lane, write the active
/// ones. `$features` is `[]` or `[target_feature(...)]`.
macro_rules! arithmetic {
    ($features:tt $(
        $name:ident $result:ident = ($($arg:ident: $ty:ident),* $(; $with:ident)?) $($texts:literal),+ $body:expr;
    )*) => {
        pub const LINES: &[Arithmetic] = &[$({
            with_features! { $features
                fn run(registers: &mut Registers, inst: &Inst, mask: &Mask) {
                    let mut slots = inst.s.iter().chain(&inst.d[1..]);
                    $(let $arg = <$ty as Lane>::plane(registers, *slots.next().expect("at most 7 operands"));)*
                    $(let $with = Modifiers(inst.imm);)?
                    let result = <$result as Lane>::collect(
                        #[inline(always)]
                        |lane| {
                            $(let $arg = <$ty as Lane>::get($arg, lane);)*
                            $body
                        },
                    );
                    <$result as Lane>::write(registers, inst.d[0], result, mask);
                }
            }
            run
        }),*];
    };
}

/// The rare instructions: the same for every vector unit.
#[allow(unused_variables)]
mod rare {
    use super::*;

    isa::rare::rare_integer! { arithmetic { [] } }
}

/// An engine's table by `Op`: its own build of the common instructions, then the rare ones.
const fn with_rare(common: &[Arithmetic]) -> [Arithmetic; FORMS.len()] {
    assert!(common.len() + rare::LINES.len() == FORMS.len());
    let mut all = [common[0]; FORMS.len()];
    let mut i = 0;
    while i < all.len() {
        all[i] = if i < common.len() { common[i] } else { rare::LINES[i - common.len()] };
        i += 1;
    }
    all
}

/// A module with the engine for one set of CPU features; `$matrix` is the module of `mma` with products for it, `$deal`
/// the function of [`deal`].
macro_rules! engine {
    ($module:ident, $features:tt, $matrix:ident, $deal:ident) => {
        // The unordered comparisons are true on NaN: `!(a >= b)` is not `a < b`.
        #[allow(unused_variables, clippy::neg_cmp_op_on_partial_ord)]
        mod $module {
            use super::*;

            isa::integer::integer! { arithmetic { $features } }
            static ARITHMETIC: [Arithmetic; FORMS.len()] = with_rare(LINES);

            with_features! { $features
                fn load_global(context: &mut Context, warp: &mut Warp, inst: &Inst) -> Outcome {
                    global::load(context, &mut warp.registers, &warp.mask, inst, warp.pc)
                }
            }
            with_features! { $features
                fn store_global(context: &mut Context, warp: &mut Warp, inst: &Inst) -> Outcome {
                    global::store(context, &warp.registers, &warp.mask, inst, warp.pc)
                }
            }
            with_features! { $features
                fn load_shared(context: &mut Context, warp: &mut Warp, inst: &Inst) -> Outcome {
                    let addresses = shared::addresses(&warp.registers, inst);
                    shared::load(context, &mut warp.registers, &warp.mask, inst, &addresses)
                }
            }
            with_features! { $features
                fn store_shared(context: &mut Context, warp: &mut Warp, inst: &Inst) -> Outcome {
                    let addresses = shared::addresses(&warp.registers, inst);
                    shared::store(context, &warp.registers, &warp.mask, inst, &addresses)
                }
            }
            with_features! { $features
                fn shuffle(_: &mut Context, warp: &mut Warp, inst: &Inst) -> Outcome {
                    warp_ops::shuffle(&mut warp.registers, &warp.mask, inst)
                }
            }

            with_features! { $features
                fn load_matrix(context: &mut Context, warp: &mut Warp, inst: &Inst) -> Outcome {
                    matrix::load(context, &mut warp.registers, inst)
                }
            }
            with_features! { $features
                fn issue_copies(context: &mut Context, warp: &mut Warp, inst: &Inst) -> Outcome {
                    async_copy::issue(context, warp, inst)
                }
            }
            with_features! { $features
                fn land_copies(context: &mut Context, warp: &mut Warp, inst: &Inst) -> Outcome {
                    async_copy::wait(context, warp, inst)
                }
            }

            with_features! { $features
                fn note_read(row: Row, state: State) -> bool {
                    rows::read(row, state)
                }
            }
            with_features! { $features
                fn note_write(row: Row, state: State) -> bool {
                    rows::write(row, state)
                }
            }

            with_features! { $features
                fn multiply(context: &mut Context, warp: &mut Warp, inst: &Inst) -> Outcome {
                    // SAFETY: the engine has the features of its products, which `Engine::choose` checks.
                    unsafe {
                        mma::run(&mut warp.registers, inst, &context.program.operands, &mut context.product, mma::$matrix::halves)
                    };
                    Ok(())
                }
            }

            pub static ENGINE: Engine = Engine {
                arithmetic: &ARITHMETIC,
                load_global,
                store_global,
                load_shared,
                store_shared,
                shuffle,
                multiply,
                load_matrix,
                issue_copies,
                land_copies,
                deal: deal::$deal,
                note_read,
                note_write,
            };
        }
    };
}

engine!(baseline, [], portable, portable);
#[cfg(target_arch = "x86_64")]
engine!(avx2, [target_feature(enable = "avx2,fma,f16c,bmi1,bmi2,lzcnt,popcnt")], avx2, avx2);
#[cfg(target_arch = "x86_64")]
engine!(
    avx512,
    [target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,bmi1,bmi2,lzcnt,popcnt")],
    avx512,
    avx2
);
