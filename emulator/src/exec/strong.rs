//! Strong accesses to global memory (volatile, relaxed and stronger): atomic on the host too, and sequentially consistent.

#![allow(unsafe_code)]

use super::vectors::Element;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};

/// A load that another CTA's store may race with.
///
/// # Safety
/// `from` is aligned and inside a live allocation.
#[inline(always)]
pub unsafe fn read<E: Element>(from: *const E) -> E {
    // SAFETY: the caller's promise; an atomic of the same size has the same layout, and the copy is of that size.
    unsafe {
        match size_of::<E>() {
            1 => std::mem::transmute_copy(&AtomicU8::from_ptr(from as *mut u8).load(Ordering::SeqCst)),
            2 => std::mem::transmute_copy(&AtomicU16::from_ptr(from as *mut u16).load(Ordering::SeqCst)),
            4 => std::mem::transmute_copy(&AtomicU32::from_ptr(from as *mut u32).load(Ordering::SeqCst)),
            _ => std::mem::transmute_copy(&AtomicU64::from_ptr(from as *mut u64).load(Ordering::SeqCst)),
        }
    }
}

/// A store that another CTA's load may race with.
///
/// # Safety
/// `to` is aligned and inside a live allocation.
#[inline(always)]
pub unsafe fn write<E: Element>(to: *mut E, value: E) {
    // SAFETY: the caller's promise; an atomic of the same size has the same layout, and the copy is of that size.
    unsafe {
        match size_of::<E>() {
            1 => AtomicU8::from_ptr(to as *mut u8).store(std::mem::transmute_copy(&value), Ordering::SeqCst),
            2 => AtomicU16::from_ptr(to as *mut u16).store(std::mem::transmute_copy(&value), Ordering::SeqCst),
            4 => AtomicU32::from_ptr(to as *mut u32).store(std::mem::transmute_copy(&value), Ordering::SeqCst),
            _ => AtomicU64::from_ptr(to as *mut u64).store(std::mem::transmute_copy(&value), Ordering::SeqCst),
        }
    }
}
