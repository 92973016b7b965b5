//! A huge array whose pages take memory only once they are written: what is known about device memory, by offset.
#![allow(unsafe_code)]

use super::map::{Mapping, PAGE};
use std::{marker::PhantomData, ops::Range, sync::atomic::AtomicU64};

/// What a table can hold: types for which zero bytes are a value, and that need no drop.
///
/// # Safety
/// All of that is so.
pub unsafe trait Plain {}

// SAFETY: integers.
unsafe impl Plain for u32 {}
// SAFETY: an integer.
unsafe impl Plain for AtomicU64 {}

/// `n` values, zero at first.
#[derive(Debug)]
pub struct Table<T> {
    mapping: Mapping,
    n: usize,
    values: PhantomData<T>,
}

impl<T: Plain> Table<T> {
    /// `None` when the system has no address space for it.
    pub fn reserve(n: u64) -> Option<Self> {
        let bytes = n.checked_mul(size_of::<T>() as u64)?.checked_next_multiple_of(PAGE)?;
        Some(Self { mapping: Mapping::reserve(bytes)?, n: usize::try_from(n).ok()?, values: PhantomData })
    }

    #[inline(always)]
    pub fn slice(&self, range: Range<usize>) -> &[T] {
        assert!(range.start <= range.end && range.end <= self.n, "{range:?} of a table of {}", self.n);
        let first = (self.mapping.base() as *const T).wrapping_add(range.start);
        // SAFETY: the range is inside the mapping (asserted), whose bytes are values of T (`Plain`); the table owns the
        // mapping, so that nobody writes while `self` is borrowed, but for types that allow it.
        unsafe { std::slice::from_raw_parts(first, range.len()) }
    }

    #[inline(always)]
    pub fn slice_mut(&mut self, range: Range<usize>) -> &mut [T] {
        assert!(range.start <= range.end && range.end <= self.n, "{range:?} of a table of {}", self.n);
        let first = (self.mapping.base() as *mut T).wrapping_add(range.start);
        // SAFETY: as for `slice`, and `self` is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(first, range.len()) }
    }

    /// Zeroes the whole pages inside a range, and gives their memory back. The rest stays as it is.
    pub fn discard_pages(&mut self, range: Range<u64>) {
        self.discard(range);
    }

    fn discard(&self, range: Range<u64>) {
        let size = size_of::<T>() as u64;
        let start = (range.start * size).next_multiple_of(PAGE);
        let end = range.end * size / PAGE * PAGE;
        if start < end {
            self.mapping.discard(start, end - start);
        }
    }

    /// Zeroes everything.
    pub fn clear(&mut self) {
        self.mapping.discard(0, ((self.n * size_of::<T>()) as u64).next_multiple_of(PAGE));
    }
}

impl Table<AtomicU64> {
    /// The same, for values that may change while they are borrowed.
    pub fn discard_pages_shared(&self, range: Range<u64>) {
        self.discard(range);
    }
}
