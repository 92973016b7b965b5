//! Exact counts of what a launch did: the same for any number of threads and in any order of warps, unless the kernel's
//! own work depends on timing (a spinning wait). They are not time.
//!
//! [`Counts`] adds up, by instruction of the program, by source line and by kernel. How they are counted:
//!
//! - An instruction counts once a warp, and once for each lane that reaches it; a false guard does not take a lane away.
//!   It is a PTX instruction less the moves that the lowering removes, not one of SASS. Where some path may read a
//!   register that it never wrote, `check` mode adds instructions that look, and they count too.
//! - A *sector* is 32 bytes, the unit in which a GPU moves global memory. The ideal is the least number of sectors that
//!   could hold the different bytes that one instruction of a warp asks for.
//! - A *wavefront* is one pass through shared memory, see [`access::wavefronts`].
//! - DRAM bytes are the sectors of device memory that a launch reads or writes at all, each counted once a launch for
//!   reads and once for writes: what moves if L2 is empty before and holds everything that is used twice. See
//!   [`footprint`]. Or, if it is kept, what an L2 of the card's size leaves over, which is as the launch before left it.
//!   See [`l2`].

pub mod class;
pub mod access;
pub mod footprint;
pub mod l2;
pub mod meter;

use class::{Class, N_CLASS_SLOTS};

/// One list of the counters: the struct, its sum and the names. `sum` adds up, `max` keeps the largest.
macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident: $how:ident,)*) => {
        /// What some instructions did.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[repr(C)]
        pub struct Counts {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Counts {
            pub fn add(&mut self, other: &Counts) {
                $(counts!(@$how self.$name, other.$name);)*
            }

            /// Each counter with its name.
            pub fn named(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name)),*].into_iter()
            }
        }
    };
    (@sum $to:expr, $from:expr) => { $to += $from };
    (@max $to:expr, $from:expr) => { $to = $to.max($from) };
}

counts! {
    /// Instructions, counted once a warp.
    warp_instructions: sum,
    /// Instructions, counted once for every lane that reaches them.
    lane_instructions: sum,
    /// 32-byte sectors that loads from global memory touched, an instruction of a warp at a time.
    global_load_sectors: sum,
    /// The least number of sectors that could hold what they asked for.
    global_load_sectors_ideal: sum,
    /// Bytes that they asked for; lanes of a warp that ask for the same bytes count once.
    global_load_bytes: sum,
    /// The same for stores.
    global_store_sectors: sum,
    global_store_sectors_ideal: sum,
    global_store_bytes: sum,
    /// Passes through shared memory.
    shared_wavefronts: sum,
    /// Those that would be needed without bank conflicts.
    shared_wavefronts_ideal: sum,
    /// Atomic operations on global memory, counted by lane.
    global_atomics: sum,
    /// Atomic operations on shared memory, counted by lane.
    shared_atomics: sum,
    /// The most lanes of a warp whose atomics met at one address.
    atomic_lanes_per_address_max: max,
    /// Bytes of device memory that a launch reads, in whole sectors, each once a launch, or as a kept L2 leaves them. By
    /// kernel only, not by line.
    dram_read_bytes: sum,
    /// The same for writes.
    dram_write_bytes: sum,
    /// Bytes of pinned and registered host memory that a launch reads, counted like those of device memory.
    host_read_bytes: sum,
    /// The same for writes.
    host_write_bytes: sum,
}

/// Instructions of one class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct ClassCount {
    pub warp_instructions: u64,
    pub lane_instructions: u64,
}

/// [`Counts`], and how its instructions divide into classes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Counters {
    pub counts: Counts,
    /// By [`Class`].
    pub by_class: [ClassCount; N_CLASS_SLOTS],
}

impl Counters {
    pub fn add(&mut self, other: &Counters) {
        self.counts.add(&other.counts);
        for (to, from) in self.by_class.iter_mut().zip(&other.by_class) {
            to.warp_instructions += from.warp_instructions;
            to.lane_instructions += from.lane_instructions;
        }
    }

    /// Adds what one instruction of this class did.
    pub fn add_instruction(&mut self, class: Class, counts: &Counts) {
        self.counts.add(counts);
        let of_class = &mut self.by_class[class as usize];
        of_class.warp_instructions += counts.warp_instructions;
        of_class.lane_instructions += counts.lane_instructions;
    }

    pub fn of_class(&self, class: Class) -> ClassCount {
        self.by_class[class as usize]
    }

    /// `mma` instructions of warps.
    pub fn mma(&self) -> u64 {
        self.of_class(Class::Mma).warp_instructions
    }

    /// Active lanes out of the 32 of a warp, over all instructions: 1 is best.
    pub fn active_lane_ratio(&self) -> f64 {
        ratio(self.counts.lane_instructions, 32 * self.counts.warp_instructions)
    }

    /// Sectors for each that is needed, of loads and stores: 1 is best.
    pub fn sectors_per_ideal(&self) -> f64 {
        let Counts { global_load_sectors, global_load_sectors_ideal, .. } = self.counts;
        let Counts { global_store_sectors, global_store_sectors_ideal, .. } = self.counts;
        ratio(global_load_sectors + global_store_sectors, global_load_sectors_ideal + global_store_sectors_ideal)
    }

    /// Wavefronts for each that is needed: 1 is best.
    pub fn wavefronts_per_ideal(&self) -> f64 {
        ratio(self.counts.shared_wavefronts, self.counts.shared_wavefronts_ideal)
    }
}

/// 1 where there was nothing to do.
fn ratio(n: u64, of: u64) -> f64 {
    if of == 0 { 1.0 } else { n as f64 / of as f64 }
}

/// What one launch did.
#[derive(Clone, Debug, Default)]
pub struct LaunchCounts {
    /// The instructions, which are always counted, and what belongs to no single instruction: DRAM and host bytes.
    pub launch: Counts,
    /// By instruction of the program; empty when nobody asked.
    pub by_pc: Vec<Counts>,
}

impl LaunchCounts {
    /// Adds what another worker did, or another launch of the same program.
    pub fn add(&mut self, other: LaunchCounts) {
        self.launch.add(&other.launch);
        if self.by_pc.is_empty() {
            self.by_pc = other.by_pc;
        } else {
            self.by_pc.iter_mut().zip(&other.by_pc).for_each(|(to, from)| to.add(from));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_add_up_and_the_most_stays_the_most() {
        let counts = Counts {
            warp_instructions: 3,
            lane_instructions: 48,
            atomic_lanes_per_address_max: 7,
            ..Counts::default()
        };
        let mut counters = Counters::default();
        counters.add_instruction(Class::Mma, &counts);
        counters.add_instruction(Class::Fp32, &Counts { atomic_lanes_per_address_max: 5, ..counts });
        counters.add(&counters.clone());
        assert_eq!((counters.counts.warp_instructions, counters.counts.atomic_lanes_per_address_max), (12, 7));
        assert_eq!((counters.mma(), counters.of_class(Class::Fp32).lane_instructions), (6, 96));
        assert_eq!((counters.active_lane_ratio(), counters.sectors_per_ideal()), (0.5, 1.0));
    }
}
