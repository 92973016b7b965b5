//! Between memory, where a lane's elements are neighbours, and registers, where each element has a plane.

use super::lane::{Lane, Mask, Registers};
use crate::lower::program::Inst;

/// An element in memory and the lane type that its register holds.
pub trait Element: Copy + Default + PartialEq {
    type Register: Lane;
    fn widen(self) -> Self::Register;
    fn narrow(register: Self::Register) -> Self;
}

macro_rules! element {
    ($($ty:ty as $register:ty;)*) => {$(
        impl Element for $ty {
            type Register = $register;
            #[inline(always)]
            fn widen(self) -> $register {
                <$register>::from(self)
            }
            #[inline(always)]
            fn narrow(register: $register) -> $ty {
                register as $ty
            }
        }
    )*};
}
element! {
    u8 as u32;
    u16 as u32;
    u32 as u32;
    u64 as u64;
}

/// The planes of `N` elements that each lane has. In one loop over all of them, since the compiler then turns neighbours
/// in memory into planes with shuffles; in a loop for each plane it would move every element alone.
#[inline(always)]
#[allow(clippy::needless_range_loop)] // An iterator over planes would be a loop a plane.
pub fn planes<E: Copy + Default, const N: usize>(each: impl Fn(usize, usize) -> E) -> [[E; 32]; N] {
    let mut planes = [[E::default(); 32]; N];
    for lane in 0..32 {
        for k in 0..N {
            planes[k][lane] = each(lane, k);
        }
    }
    planes
}

/// The result of a load by all lanes.
#[inline(always)]
pub fn write_planes<E: Element, const N: usize>(registers: &mut Registers, inst: &Inst, planes: &[[E; 32]; N]) {
    for (plane, &slot) in planes.iter().zip(&inst.d) {
        E::Register::write(registers, slot, E::Register::collect(|lane| plane[lane].widen()), &Mask::ALL);
    }
}

/// What all lanes store, in the order of memory.
#[inline(always)]
pub fn elements_of<E: Element, const N: usize>(registers: &Registers, inst: &Inst) -> [[E; N]; 32] {
    let mut elements = [[E::default(); N]; 32];
    let planes: [_; N] = std::array::from_fn(|k| E::Register::plane(registers, inst.d[k]));
    for (lane, elements) in elements.iter_mut().enumerate() {
        for k in 0..N {
            elements[k] = E::narrow(E::Register::get(planes[k], lane));
        }
    }
    elements
}
