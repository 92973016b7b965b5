//! A warp: 32 threads, their registers, and the groups they split into when they branch apart.

use super::{
    async_copy::Queue,
    lane::{Doubles, Mask, Registers, Words},
};
use crate::lower::program::{Program, RESERVED_SHARED_BYTES, Special, reserved_shared_start};

/// Threads of a warp that wait while others run.
#[derive(Clone, Debug)]
pub struct Split {
    pub pc: u32,
    pub mask: u32,
    /// Return addresses.
    pub stack: Vec<u32>,
    /// Waits at a `.sync` instruction for the lanes of its mask.
    pub is_parked: bool,
}

/// 32 threads.
#[derive(Clone, Debug)]
pub struct Warp {
    /// Index in its CTA.
    pub index: u32,
    pub registers: Registers,
    /// The lanes that run now, at `pc`.
    pub mask: Mask,
    /// The lanes that have not exited.
    pub live: u32,
    pub pc: u32,
    /// Return addresses of the lanes that run now.
    pub stack: Vec<u32>,
    /// The other groups; empty when the warp is whole, which costs nothing.
    pub splits: Vec<Split>,
    /// Backward branches since the groups last took turns.
    pub n_backward: u32,
    /// The running group goes on although one at a lower address waits: it is its turn.
    pub holds_turn: bool,
    /// Lanes that were elsewhere when others of the warp parked at an `.aligned` barrier.
    pub awaited: u32,
    /// Local memory, a plane for each word of a thread's frame.
    pub local: Vec<Words>,
    /// What `cp.async` has not landed yet.
    pub copies: Queue,
    /// The special registers are filled that are the same in every CTA of a launch.
    has_specials: bool,
}

/// What fills the special registers of a CTA's warps.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    pub grid: [u32; 3],
    pub block: [u32; 3],
    pub block_index: [u32; 3],
    pub sm: u32,
    pub n_sms: u32,
    pub dynamic_shared_bytes: u32,
    pub static_shared_bytes: u32,
    /// The address of a cooperative launch's workspace; 0 for other launches.
    pub grid_workspace: u64,
}

impl Place {
    /// Shared memory of the kernel itself.
    fn own_shared_bytes(&self) -> u32 {
        self.static_shared_bytes + self.dynamic_shared_bytes
    }
}

impl Warp {
    /// A warp with its constants in place; [`Warp::start`] gives it a CTA.
    pub fn new(program: &Program, local_bytes: u32, index: u32) -> Warp {
        let mut registers = Registers {
            words: vec![Words([0; 32]); program.n_words],
            doubles: vec![Doubles([0; 32]); program.n_doubles],
            preds: vec![0; program.n_preds],
        };
        for &(slot, value) in &program.word_constants {
            registers.words[usize::from(slot)] = Words([value; 32]);
        }
        for &(slot, value) in &program.double_constants {
            registers.doubles[usize::from(slot)] = Doubles([value; 32]);
        }
        let local = vec![Words([0; 32]); (local_bytes as usize).div_ceil(4)];
        Warp {
            index,
            registers,
            mask: Mask::ALL,
            live: !0,
            pc: 0,
            stack: Vec::new(),
            splits: Vec::new(),
            n_backward: 0,
            holds_turn: false,
            awaited: 0,
            local,
            copies: Queue::default(),
            has_specials: false,
        }
    }

    /// Puts the warp at the kernel's first instruction. A warp's places differ in nothing but the CTA and its SM.
    pub fn start(&mut self, program: &Program, place: &Place) {
        let n_threads: u32 = place.block.iter().product();
        let first = self.index * 32;
        let n_lanes = n_threads.saturating_sub(first).min(32);
        self.live = if n_lanes == 32 { !0 } else { (1 << n_lanes) - 1 };
        self.mask.set(self.live);
        self.pc = 0;
        self.n_backward = 0;
        self.holds_turn = false;
        self.awaited = 0;
        self.stack.clear();
        self.splits.clear();
        self.copies.clear();
        for &(slot, special) in &program.specials {
            if self.has_specials && !matches!(special, Special::Ctaid(_) | Special::SmId) {
                continue;
            }
            let index = self.index;
            let plane = &mut self.registers.words[usize::from(slot)].0;
            for (lane, word) in plane.iter_mut().enumerate() {
                *word = special_value(special, place, index, lane as u32);
            }
        }
        self.has_specials = true;
    }

    /// Picks the group that runs next: the deepest call first, then the lowest address, so that groups meet again where
    /// their paths join (nvcc lays code out in that order). False when there is none that is not parked.
    pub fn take_next(&mut self) -> bool {
        let Some(next) = (0..self.splits.len())
            .filter(|&it| !self.splits[it].is_parked)
            .min_by_key(|&it| (usize::MAX - self.splits[it].stack.len(), self.splits[it].pc))
        else {
            return false;
        };
        self.take(next);
        true
    }

    /// Runs group `next`, joined by every group at the same place.
    pub fn take(&mut self, next: usize) {
        let Split { pc, mut mask, stack, .. } = self.splits.swap_remove(next);
        self.splits.retain(|it| {
            let joins = it.pc == pc && it.stack == stack;
            if joins {
                mask |= it.mask;
            }
            !joins
        });
        (self.pc, self.stack) = (pc, stack);
        self.mask.set(mask);
    }

    /// Puts the running group among the waiting ones.
    pub fn put_back(&mut self, is_parked: bool) {
        let stack = std::mem::take(&mut self.stack);
        self.splits.push(Split { pc: self.pc, mask: self.mask.bits, stack, is_parked });
    }
}

fn special_value(special: Special, place: &Place, warp: u32, lane: u32) -> u32 {
    let Place { grid, block, block_index, .. } = *place;
    let thread = warp * 32 + lane;
    match special {
        Special::Tid(0) => thread % block[0],
        Special::Tid(1) => thread / block[0] % block[1],
        Special::Tid(_) => thread / (block[0] * block[1]),
        Special::Ntid(axis) => block[axis],
        Special::Ctaid(axis) => block_index[axis],
        Special::Nctaid(axis) => grid[axis],
        Special::LaneId => lane,
        Special::WarpId => warp,
        Special::WarpCount => block.iter().product::<u32>().div_ceil(32),
        Special::SmId => place.sm,
        Special::SmCount => place.n_sms,
        Special::GridId => 0,
        Special::LaneMaskEq => 1 << lane,
        Special::LaneMaskLt => (1 << lane) - 1,
        Special::LaneMaskLe => ((1u64 << (lane + 1)) - 1) as u32,
        Special::LaneMaskGt => !(((1u64 << (lane + 1)) - 1) as u32),
        Special::LaneMaskGe => !((1 << lane) - 1),
        Special::WorkspaceHigh => (place.grid_workspace >> 32) as u32,
        Special::WorkspaceLow => place.grid_workspace as u32,
        Special::ReservedSharedStart => reserved_shared_start(place.own_shared_bytes()),
        Special::ReservedSharedEnd => reserved_shared_start(place.own_shared_bytes()) + RESERVED_SHARED_BYTES,
        Special::DynamicSharedBytes => place.dynamic_shared_bytes,
        Special::TotalSharedBytes => place.own_shared_bytes(),
    }
}
