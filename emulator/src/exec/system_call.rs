//! The functions of the system that device code calls: `vprintf` and `__assertfail`
//! (CUDA C++ Programming Guide, "System Calls" of the PTX Writer's Guide to Interoperability).

use super::{
    generic,
    lane::Lane,
    printf,
    run::Context,
    trouble::{Outcome, Trouble},
    warp::Warp,
};
use crate::{check::fault::FaultKind, lower::program::Inst};

/// A string in device memory is read up to here.
const MAX_STRING_BYTES: u64 = 1 << 16;

/// `vprintf(format, arguments)`: the active lanes print one after the other. The result is the number of arguments.
pub fn printf(context: &mut Context, warp: &mut Warp, inst: &Inst) -> Outcome {
    let planes = [0, 1].map(|i| *u64::plane(&warp.registers, inst.s[i]));
    let mut results = [0; 32];
    for lane in (0..32).filter(|lane| warp.mask.bits >> lane & 1 == 1) {
        let memory = |address: u64, bytes: u64| read(context, warp, lane, address, bytes);
        let text = string(planes[0][lane], &memory).and_then(|format| {
            let mut arguments = printf::Arguments::new(planes[1][lane], &memory);
            let text = printf::format(&format, &mut arguments, &|address| string(address, &memory))?;
            Ok((text, arguments.n_taken))
        });
        let (text, n_arguments) =
            text.map_err(|address| Trouble::access(FaultKind::OutOfBounds, lane, "global", false, address, 1))?;
        printf::keep(&text, &mut context.printed);
        results[lane] = n_arguments;
    }
    u32::write(&mut warp.registers, inst.d[0], results, &warp.mask);
    Ok(())
}

/// `__assertfail(message, file, line, function, char size)`. The first active lane is told.
pub fn assert_fail(context: &mut Context, warp: &mut Warp, inst: &Inst) -> Outcome {
    let lane = warp.mask.bits.trailing_zeros() as usize & 31;
    let text = |i: usize| {
        let address = u64::plane(&warp.registers, inst.s[i])[lane];
        let bytes = string(address, &|address, bytes| read(context, warp, lane, address, bytes));
        String::from_utf8_lossy(&bytes.unwrap_or_else(|_| b"?".to_vec())).into_owned()
    };
    let line = u32::plane(&warp.registers, inst.s[2])[lane];
    let note = format!("{}:{line}: {}: Assertion `{}` failed.", text(1), text(3), text(0));
    Err(Trouble::because(FaultKind::Assert, lane, note))
}

/// A C string, without its NUL.
///
/// # Errors
/// The address that cannot be read.
fn string(address: u64, memory: &dyn Fn(u64, u64) -> Option<u64>) -> Result<Vec<u8>, u64> {
    let mut text = Vec::new();
    for at in (0..MAX_STRING_BYTES).map(|i| address.wrapping_add(i)) {
        match memory(at, 1).ok_or(at)? {
            0 => break,
            byte => text.push(byte as u8),
        }
    }
    Ok(text)
}

/// Up to eight bytes at a generic address, if they can be read.
fn read(context: &Context, warp: &Warp, lane: usize, address: u64, bytes: u64) -> Option<u64> {
    let mut value = [0; 8];
    for (i, byte) in (0..bytes).zip(&mut value) {
        let at = address.checked_add(i)?;
        *byte = match generic::window(at) {
            generic::Window::Global => global_byte(context, at)?,
            generic::Window::Shared => *context.shared.get((at - generic::SHARED_WINDOW) as usize)?,
            generic::Window::Param => *context.params.get((at - generic::PARAM_WINDOW) as usize)?,
            generic::Window::Local => {
                let at = (at - generic::LOCAL_WINDOW) as usize;
                (warp.local.get(at / 4)?.0[lane] >> (at % 4 * 8)) as u8
            }
        };
    }
    Some(u64::from_le_bytes(value))
}

#[allow(unsafe_code)]
fn global_byte(context: &Context, address: u64) -> Option<u8> {
    let region = context.regions.find(address)?;
    let at = (region.host + (address - region.start)) as *const u8;
    // SAFETY: the address lies in a live allocation, which stays for the launch; other threads may write it meanwhile.
    Some(unsafe { at.read_volatile() })
}
