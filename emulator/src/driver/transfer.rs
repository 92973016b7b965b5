//! Copies and memsets: what moves, in rows and slices, and moving it.

use super::{
    error::{Error, Result},
    state::Driver,
    work::report,
};
use crate::mem::allocations::DEVICE_BASE;
use std::{ptr, slice};

/// One end of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// An address that device code can use: device, pinned or registered memory. Looked up again when the copy runs.
    Mapped(u64),
    /// Any other host address. The call that queued the copy does not return before it is done; in a graph, the program
    /// keeps it valid for every launch.
    Pageable(u64),
}

impl Place {
    fn offset(self, bytes: u64) -> Self {
        match self {
            Self::Mapped(address) => Self::Mapped(address + bytes),
            Self::Pageable(address) => Self::Pageable(address + bytes),
        }
    }
}

/// Where a copy's bytes come from.
#[derive(Clone, Debug)]
pub enum Source {
    Place(Place),
    /// Bytes that were taken during the call, without gaps.
    Staged(Box<[u8]>),
}

impl Source {
    fn place(&self) -> Option<Place> {
        match self {
            Self::Place(place) => Some(*place),
            Self::Staged(_) => None,
        }
    }
}

/// What an address has to be for a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// A device address: device, pinned or registered memory.
    Device,
    Any,
}

/// How far a row and a slice are from the next, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pitch {
    pub row: u64,
    pub slice: u64,
}

/// A box of bytes: `width` bytes in a row, rows in a slice, slices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    pub width: u64,
    pub n_rows: u64,
    pub n_slices: u64,
}

impl Pitch {
    /// Of one row.
    pub const NONE: Self = Self { row: 0, slice: 0 };
}

impl Extent {
    /// `width` bytes in one row.
    pub fn row(width: u64) -> Self {
        Self { width, n_rows: 1, n_slices: 1 }
    }

    pub fn is_empty(self) -> bool {
        self.width == 0 || self.n_rows == 0 || self.n_slices == 0
    }

    /// The bytes themselves.
    ///
    /// # Errors
    /// When there are more than addresses.
    pub fn bytes(self) -> Result<u64> {
        let rows = self.n_rows.checked_mul(self.n_slices);
        rows.and_then(|rows| rows.checked_mul(self.width)).ok_or(Error::INVALID_VALUE)
    }

    /// From the first byte to behind the last, in memory of this pitch. The box is not empty.
    ///
    /// # Errors
    /// When rows or slices overlap, or there are more bytes than addresses.
    pub fn span(self, pitch: Pitch) -> Result<u64> {
        let rows = (self.n_rows - 1).checked_mul(pitch.row).and_then(|it| it.checked_add(self.width));
        let slices = (self.n_slices - 1).checked_mul(pitch.slice);
        let overlaps = (self.n_rows > 1 && pitch.row < self.width)
            || (self.n_slices > 1 && rows.is_none_or(|rows| pitch.slice < rows));
        let span = rows.zip(slices).and_then(|(rows, slices)| rows.checked_add(slices));
        span.filter(|_| !overlaps).ok_or(Error::INVALID_VALUE)
    }

    /// The offset of each row in memory of this pitch.
    fn rows(self, pitch: Pitch) -> impl Iterator<Item = u64> {
        let of_slice = move |z| (0..self.n_rows).map(move |y| z * pitch.slice + y * pitch.row);
        (0..self.n_slices).flat_map(of_slice)
    }

    /// The pitch of bytes without gaps.
    fn packed(self) -> Pitch {
        Pitch { row: self.width, slice: self.width * self.n_rows }
    }
}

/// A copy whose ranges were checked.
#[derive(Clone, Debug)]
pub struct Copy {
    pub to: Place,
    pub to_pitch: Pitch,
    pub from: Source,
    pub from_pitch: Pitch,
    pub extent: Extent,
}

/// A memset whose range was checked: every element is the low `element` bytes of `value`.
#[derive(Clone, Copy, Debug)]
pub struct Fill {
    pub to: u64,
    pub value: u64,
    /// 1, 2, 4 or 8.
    pub element: u64,
    pub pitch: Pitch,
    pub extent: Extent,
}

impl Copy {
    /// Takes the bytes out of pageable memory.
    ///
    /// # Safety
    /// The source is valid for reads of all rows.
    pub unsafe fn stage(mut self, from: u64) -> Result<Self> {
        let mut staged = Vec::with_capacity(self.extent.bytes()? as usize);
        for row in self.extent.rows(self.from_pitch) {
            // SAFETY: the caller's promise.
            staged.extend_from_slice(unsafe {
                slice::from_raw_parts((from + row) as *const u8, self.extent.width as usize)
            });
        }
        (self.from, self.from_pitch) = (Source::Staged(staged.into()), self.extent.packed());
        Ok(self)
    }
}

impl Driver {
    /// Finds out what the `bytes` at `address` are.
    ///
    /// # Errors
    /// When they are null, no addresses, not all in one allocation, or not what `side` asks for.
    pub fn place(&self, address: u64, bytes: u64, side: Side) -> Result<Place> {
        let memory = self.memory();
        if memory.find(address, bytes).is_some() {
            return Ok(Place::Mapped(address));
        }
        let is_host = address != 0 && address.checked_add(bytes).is_some_and(|end| end <= DEVICE_BASE);
        // The range starts in an allocation and runs over its end.
        let is_cut = memory.find(address, 1).is_some();
        if !is_host || is_cut || side == Side::Device {
            Err(Error::INVALID_VALUE)
        } else {
            Ok(Place::Pageable(address))
        }
    }

    pub fn copy(&self, Copy { to, to_pitch, from, from_pitch, extent }: &Copy) -> Result {
        let to_host = self.host_address(*to, extent.span(*to_pitch)?)?;
        let from_host = match from {
            Source::Place(place) => self.host_address(*place, extent.span(*from_pitch)?)?,
            Source::Staged(staged) => staged.as_ptr() as u64,
        };
        for (to_row, from_row) in extent.rows(*to_pitch).zip(extent.rows(*from_pitch)) {
            self.note_written(to.offset(to_row), from.place().map(|it| it.offset(from_row)), extent.width);
            let (to, from) = ((to_host + to_row) as *mut u8, (from_host + from_row) as *const u8);
            // SAFETY: mapped ranges lie in one live allocation (just looked up; only later work frees it), pageable
            // ranges are the caller's, who waits for this copy or promised them to the graph, and staged bytes are ours.
            // The ranges may overlap.
            unsafe { ptr::copy(from, to, extent.width as usize) };
        }
        Ok(())
    }

    pub fn fill(&self, Fill { to, value, element, pitch, extent }: &Fill) -> Result {
        let host = self.host_address(Place::Mapped(*to), extent.span(*pitch)?)?;
        let bytes = value.to_le_bytes();
        for row in extent.rows(*pitch) {
            self.note_written(Place::Mapped(to + row), None, extent.width);
            // SAFETY: the row lies in one live allocation, which was just looked up.
            let row = unsafe { Row::new(host + row, extent.width) };
            match element {
                1 => row.fill([bytes[0]]),
                2 => row.fill([bytes[0], bytes[1]]),
                4 => row.fill([bytes[0], bytes[1], bytes[2], bytes[3]]),
                8 => row.fill(bytes),
                _ => unreachable!("memset has elements of 1, 2, 4 or 8 bytes"),
            }
        }
        Ok(())
    }

    /// Notes which bytes of device memory a copy initialises: those that are at its source, all of them when that is no
    /// device memory.
    fn note_written(&self, to: Place, from: Option<Place>, bytes: u64) {
        let memory = self.memory();
        let Some(shadow) = memory.shadow() else { return };
        let range = |place| match place {
            Place::Mapped(address) => shadow.range(address, bytes),
            Place::Pageable(_) => None,
        };
        let Some(to) = range(to) else { return };
        match from.and_then(range) {
            Some(from) => shadow.copy(from, to),
            None => shadow.set(to),
        }
    }

    fn host_address(&self, place: Place, bytes: u64) -> Result<u64> {
        match place {
            Place::Pageable(address) => Ok(address),
            Place::Mapped(address) => {
                let memory = self.memory();
                memory.host(address, bytes).ok_or_else(|| {
                    let place = memory.regions().describe(address);
                    report(&format!("copy or memset of {bytes} bytes at {address:#x}, {place}"));
                    Error::ILLEGAL_ADDRESS
                })
            }
        }
    }
}

/// Bytes that a memset writes. Other threads may look at them, so they are never a slice.
struct Row {
    at: *mut u8,
    bytes: usize,
}

impl Row {
    /// # Safety
    /// `at` is valid for writes of `bytes` bytes while the row lives.
    unsafe fn new(at: u64, bytes: u64) -> Self {
        Self { at: at as *mut u8, bytes: bytes as usize }
    }

    fn fill<const N: usize>(self, element: [u8; N]) {
        let at = self.at.cast::<[u8; N]>();
        // SAFETY: `bytes / N` elements fit, and arrays of bytes have no alignment.
        (0..self.bytes / N).for_each(|i| unsafe { at.add(i).write(element) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_span_of_a_box_reaches_to_its_last_byte() {
        let extent = Extent { width: 10, n_rows: 3, n_slices: 2 };
        assert_eq!(extent.span(Pitch { row: 16, slice: 100 }), Ok(100 + 2 * 16 + 10));
        assert_eq!(Extent::row(7).span(Pitch::NONE), Ok(7));
        assert_eq!(extent.rows(Pitch { row: 16, slice: 100 }).collect::<Vec<_>>(), [0, 16, 32, 100, 116, 132]);
    }

    #[test]
    fn overlapping_and_endless_boxes_are_refused() {
        let extent = Extent { width: 10, n_rows: 3, n_slices: 2 };
        for (row, slice) in [(9, 100), (10, 29), (u64::MAX, 100), (16, u64::MAX)] {
            assert_eq!(extent.span(Pitch { row, slice }), Err(Error::INVALID_VALUE), "{row} {slice}");
        }
        let endless = Extent { width: 1 << 40, n_rows: 1 << 40, n_slices: 1 };
        assert_eq!(endless.bytes(), Err(Error::INVALID_VALUE));
    }
}
