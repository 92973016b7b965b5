//! Generic addresses: which state space an address is in, lane by lane (PTX ISA, #generic-addressing).
//!
//! Shared, local and parameter memory appear at windows that no allocation reaches; every other address is global.

use super::{
    global,
    lane::{Lane, Mask},
    local,
    run::Context,
    shared,
    trouble::{Outcome, Trouble},
    warp::Warp,
};
use crate::{check::fault::FaultKind, lower::program::Inst};

/// Where each state space's window begins; a window is 2^40 bytes.
pub const SHARED_WINDOW: u64 = 0x7001 << 40;
pub const LOCAL_WINDOW: u64 = 0x7002 << 40;
pub const PARAM_WINDOW: u64 = 0x7003 << 40;

/// A state space that a generic address can be in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    Global,
    Shared,
    Local,
    Param,
}

pub fn window(address: u64) -> Window {
    match address >> 40 << 40 {
        SHARED_WINDOW => Window::Shared,
        LOCAL_WINDOW => Window::Local,
        PARAM_WINDOW => Window::Param,
        _ => Window::Global,
    }
}

/// Splits the active lanes by window and calls `access` for each group: (window, lanes, offsets in the window).
pub fn by_window(
    warp: &mut Warp,
    inst: &Inst,
    mut access: impl FnMut(&mut Warp, Window, &Mask, &[u32; 32]) -> Outcome,
) -> Outcome {
    let base = warp.registers.doubles[usize::from(inst.s[0])].0;
    let address = |lane: usize| base[lane].wrapping_add(inst.imm as i64 as u64);
    for group in [Window::Global, Window::Shared, Window::Local, Window::Param] {
        let bits = bool::collect(|lane| window(address(lane)) == group) & warp.mask.bits;
        if bits == 0 {
            continue;
        }
        let mut mask = Mask::ALL;
        mask.set(bits);
        let mut offsets = [0; 32];
        for (lane, offset) in offsets.iter_mut().enumerate() {
            *offset = u32::try_from(address(lane) & ((1 << 40) - 1)).unwrap_or(!15);
        }
        access(warp, group, &mask, &offsets)?;
    }
    Ok(())
}

/// `ld` without a state space.
pub fn load(context: &mut Context, warp: &mut Warp, inst: &Inst) -> Outcome {
    by_window(warp, inst, |warp, window, mask, offsets| match window {
        Window::Global => global::load(context, &mut warp.registers, mask, inst, warp.pc),
        Window::Shared => shared::load(context, &mut warp.registers, mask, inst, offsets),
        Window::Local => local::load(&warp.local, &mut warp.registers, mask, inst, offsets),
        Window::Param => context.with_params(|context| shared::load(context, &mut warp.registers, mask, inst, offsets)),
    })
}

/// `st` without a state space.
pub fn store(context: &mut Context, warp: &mut Warp, inst: &Inst) -> Outcome {
    by_window(warp, inst, |warp, window, mask, offsets| match window {
        Window::Global => global::store(context, &warp.registers, mask, inst, warp.pc),
        Window::Shared => shared::store(context, &warp.registers, mask, inst, offsets),
        Window::Local => local::store(&mut warp.local, &warp.registers, mask, inst, offsets),
        Window::Param => {
            let lane = mask.bits.trailing_zeros() as usize;
            let address = u64::from(offsets[lane]);
            Err(Trouble::access(FaultKind::ReadOnly, lane, "param", true, address, usize::from(inst.bytes)))
        }
    })
}
