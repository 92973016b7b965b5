//! The rolling cache: which slot holds which position, and which positions a token sees.
//!
//! A *position* counts tokens since the sequence began and never wraps: it picks the rotary angle.
//! A *slot* is the row of the cache that holds a token, `position % n_slots`: it picks the address.
//! With a window W there are exactly W slots, so the token that leaves the window is the one replaced:
//!
//! ```text
//!   W = n_slots = 4, position = 6      slot       0   1   2   3
//!                                      position   4   5  [6]  3     6 replaced 2, which 6 no longer sees
//! ```
//!
//! Position i sees j with i - W < j <= i: W keys, itself included (Mistral 7B, arXiv 2310.06825, section 2).
//!
//! A chunk of new tokens is written *after* its attention. Before that, its first query still sees the
//! n_slots - 1 tokens before it, which the chunk's last rows are about to replace:
//!
//! ```text
//!   positions   ...  2   3   4   5 | 6   7   8        chunk = 6..9, resident = 2..6
//!                   └─── ring ────┘ └─ chunk ─┘
//!   6 sees               3   4   5   6
//!   8 sees                       5   6   7   8
//! ```
//!
//! Without a window the slots are the whole context: nothing is ever replaced, and it ends there.

use std::ops::Range;

/// Counts tokens since the sequence began. Never wraps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

/// A row of the cache. [`Ring::slot`] is the only way from a position to a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub u32);

/// The shape of every layer's cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ring {
    n_slots: u32,
    window: Option<u32>,
}

impl Ring {
    /// `window` slots where there is a window, else `context` of them.
    ///
    /// ```
    /// use gale::ring::Ring;
    /// assert_eq!(Ring::new(Some(4096), 32768).n_slots(), 4096);
    /// assert_eq!(Ring::new(None, 32768).n_slots(), 32768);
    /// ```
    pub fn new(window: Option<u32>, context: u32) -> Self {
        let n_slots = window.unwrap_or(context);
        assert!(n_slots > 0, "a cache has at least one slot");
        Self { n_slots, window }
    }

    pub fn n_slots(&self) -> u32 {
        self.n_slots
    }

    pub fn window(&self) -> Option<u32> {
        self.window
    }

    /// Where the token at `position` is kept.
    ///
    /// ```
    /// use gale::ring::{Position, Ring, Slot};
    /// let ring = Ring::new(Some(4), 0);
    /// assert_eq!([3, 4, 6].map(|i| ring.slot(Position(i))), [Slot(3), Slot(0), Slot(2)]);
    /// ```
    pub fn slot(&self, position: Position) -> Slot {
        Slot((position.0 % u64::from(self.n_slots)) as u32)
    }

    /// How many keys the token at `position` sees, itself included.
    ///
    /// ```
    /// use gale::ring::{Position, Ring};
    /// let ring = Ring::new(Some(4), 0);
    /// assert_eq!([0, 2, 3, 4, 1_000_000].map(|i| ring.n_visible(Position(i))), [1, 3, 4, 4, 4]);
    /// ```
    pub fn n_visible(&self, position: Position) -> u32 {
        (position.0 + 1).min(u64::from(self.n_slots)) as u32
    }

    /// The positions that the token at `position` sees, itself last.
    ///
    /// ```
    /// use gale::ring::{Position, Ring};
    /// let ring = Ring::new(Some(4), 0);
    /// assert_eq!(ring.visible(Position(2)), 0..3);
    /// assert_eq!(ring.visible(Position(6)), 3..7);
    /// ```
    pub fn visible(&self, position: Position) -> Range<u64> {
        position.0 + 1 - u64::from(self.n_visible(position))..position.0 + 1
    }

    /// The positions in the cache when `next` is the first one not yet written.
    ///
    /// ```
    /// use gale::ring::{Position, Ring};
    /// let ring = Ring::new(Some(4), 0);
    /// assert_eq!(ring.resident(Position(0)), 0..0);
    /// assert_eq!(ring.resident(Position(6)), 2..6);
    /// ```
    pub fn resident(&self, next: Position) -> Range<u64> {
        next.0.saturating_sub(u64::from(self.n_slots))..next.0
    }

    /// The slots of `n_rows` tokens from `first` on: one run, and a second one where it wraps.
    ///
    /// ```
    /// use gale::ring::{Position, Ring};
    /// let ring = Ring::new(Some(4), 0);
    /// assert_eq!(ring.runs(Position(4), 3), [0..3, 0..0]);
    /// assert_eq!(ring.runs(Position(6), 3), [2..4, 0..1]);
    /// ```
    pub fn runs(&self, first: Position, n_rows: u32) -> [Range<u32>; 2] {
        assert!(n_rows <= self.n_slots, "{n_rows} rows do not fit {} slots", self.n_slots);
        let start = self.slot(first).0;
        let n_before_wrap = n_rows.min(self.n_slots - start);
        [start..start + n_before_wrap, 0..n_rows - n_before_wrap]
    }

    /// The rows of the next chunk of a prompt: a chunk is never longer than the ring.
    ///
    /// ```
    /// use gale::ring::Ring;
    /// assert_eq!(Ring::new(Some(200), 0).chunk(512), 200);
    /// assert_eq!(Ring::new(None, 4096).chunk(512), 512);
    /// ```
    pub fn chunk(&self, n_rows: u32) -> u32 {
        n_rows.min(self.n_slots)
    }

    /// How many positions a sequence can have: without a window, as many as there are slots.
    ///
    /// ```
    /// use gale::ring::Ring;
    /// assert_eq!(Ring::new(Some(4096), 0).max_positions(), None);
    /// assert_eq!(Ring::new(None, 2048).max_positions(), Some(2048));
    /// ```
    pub fn max_positions(&self) -> Option<u64> {
        match self.window {
            Some(_) => None,
            None => Some(u64::from(self.n_slots)),
        }
    }
}
