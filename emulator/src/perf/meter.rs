//! Counts what a worker's warps do.

use super::{
    Counts, LaunchCounts,
    access::{self, SECTOR_BYTES},
    footprint::Footprint,
    l2::{L2, Moved, Priority},
};
use crate::{
    exec::observe::{At, Kind, Touch},
    lower::program::{Inst, Program},
    mem::allocations::DEVICE_BASE,
};
use std::sync::{Arc, Mutex, PoisonError};

/// The counts of one worker.
#[derive(Debug)]
pub struct Meter {
    /// By instruction, a run of [`Program::straight`](crate::lower::program::Program::straight) at its first; the bytes
    /// of DRAM by launch, since which instruction touches a sector first depends on the threads.
    pub counts: LaunchCounts,
    footprint: Arc<Footprint>,
    /// For each instruction, where in the footprint it was last.
    nearby: Vec<usize>,
    kept: Option<Kept>,
}

/// An L2 that outlives the launch.
#[derive(Debug)]
struct Kept {
    l2: Arc<Mutex<L2>>,
    /// Of what each instruction touches.
    priorities: Vec<Priority>,
}

impl Meter {
    /// The workers of a launch share the footprint.
    pub fn new(program: &Program, footprint: Arc<Footprint>, l2: Option<Arc<Mutex<L2>>>) -> Meter {
        let n_instructions = program.code.len();
        let counts = LaunchCounts { launch: Counts::default(), by_pc: vec![Counts::default(); n_instructions] };
        let priority = |inst: &Inst| if inst.is_evicted_first() { Priority::First } else { Priority::Normal };
        let kept = l2.map(|l2| Kept { l2, priorities: program.code.iter().map(priority).collect() });
        Meter { counts, footprint, nearby: vec![0; n_instructions], kept }
    }

    /// A warp runs the instruction at `pc`, or the whole straight run that begins there.
    #[inline(always)]
    pub fn issue(&mut self, pc: usize, n_lanes: u64) {
        let counts = &mut self.counts.by_pc[pc];
        counts.warp_instructions += 1;
        counts.lane_instructions += n_lanes;
    }

    /// An access to global memory.
    pub fn global(&mut self, at: At, touch: &Touch<u64>) {
        let pc = at.pc as usize;
        let Meter { counts: LaunchCounts { launch, by_pc }, footprint, nearby, kept } = self;
        let sectors = access::sectors(touch, |start, end| {
            let (read, written) = if start >= DEVICE_BASE {
                (&mut launch.dram_read_bytes, &mut launch.dram_write_bytes)
            } else {
                (&mut launch.host_read_bytes, &mut launch.host_write_bytes)
            };
            let mut add = |is_write: bool| {
                let moved = match kept {
                    Some(Kept { l2, priorities }) if start >= DEVICE_BASE => {
                        let mut l2 = l2.lock().unwrap_or_else(PoisonError::into_inner);
                        l2.touch(start, end, is_write, priorities[pc])
                    }
                    _ => {
                        let bytes = SECTOR_BYTES * footprint.mark(start, end, is_write, &mut nearby[pc]);
                        if is_write { Moved { read: 0, written: bytes } } else { Moved { read: bytes, written: 0 } }
                    }
                };
                *read += moved.read;
                *written += moved.written;
            };
            if touch.kind != Kind::Store {
                add(false);
            }
            if touch.is_write() {
                add(true);
            }
        });
        let counts = &mut by_pc[pc];
        match touch.kind {
            Kind::Load | Kind::LoadNonCoherent => {
                counts.global_load_sectors += sectors.n;
                counts.global_load_sectors_ideal += sectors.ideal;
                counts.global_load_bytes += sectors.bytes;
            }
            Kind::Store => {
                counts.global_store_sectors += sectors.n;
                counts.global_store_sectors_ideal += sectors.ideal;
                counts.global_store_bytes += sectors.bytes;
            }
            Kind::Atomic => {
                counts.global_atomics += u64::from(touch.lanes.count_ones());
                let n = access::most_lanes_at_one_address(touch);
                counts.atomic_lanes_per_address_max = counts.atomic_lanes_per_address_max.max(n);
            }
        }
    }

    /// An access to shared memory.
    pub fn shared(&mut self, at: At, touch: &Touch<u32>) {
        let (n, ideal) = access::wavefronts(touch);
        let counts = &mut self.counts.by_pc[at.pc as usize];
        counts.shared_wavefronts += n;
        counts.shared_wavefronts_ideal += ideal;
        if touch.kind == Kind::Atomic {
            counts.shared_atomics += u64::from(touch.lanes.count_ones());
            let n = access::most_lanes_at_one_address(touch);
            counts.atomic_lanes_per_address_max = counts.atomic_lanes_per_address_max.max(n);
        }
    }
}

/// Gives each instruction of a straight run the counts of the run. `straight` is that of the program.
pub fn expand(straight: &[u16], by_pc: &mut [Counts]) {
    // Runs that began before and reach here: what they add, and what ends with them, by the place behind the run.
    let (mut warps, mut lanes) = (0, 0);
    let mut ends = vec![(0, 0); by_pc.len() + 1];
    for (pc, counts) in by_pc.iter_mut().enumerate() {
        let (ended_warps, ended_lanes) = ends[pc];
        (warps, lanes) = (warps - ended_warps, lanes - ended_lanes);
        if straight[pc] > 0 {
            let end = &mut ends[pc + usize::from(straight[pc])];
            *end = (end.0 + counts.warp_instructions, end.1 + counts.lane_instructions);
            (warps, lanes) = (warps + counts.warp_instructions, lanes + counts.lane_instructions);
            (counts.warp_instructions, counts.lane_instructions) = (warps, lanes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs of three from 1 and, jumped into, of two from 2; single instructions around them.
    #[test]
    fn runs_expand_to_their_instructions() {
        let straight = [0, 3, 2, 1, 0];
        let mut by_pc = [(2, 64), (2, 64), (5, 100), (0, 0), (7, 101)].map(|(warp_instructions, lane_instructions)| {
            Counts { warp_instructions, lane_instructions, ..Counts::default() }
        });
        expand(&straight, &mut by_pc);
        let got = by_pc.map(|it| (it.warp_instructions, it.lane_instructions));
        assert_eq!(got, [(2, 64), (2, 64), (7, 164), (7, 164), (7, 101)]);
    }
}
