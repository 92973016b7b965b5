//! The counters of every kernel, added up over launches.

use crate::{
    lower::Kernel,
    perf::{Counters, Counts, LaunchCounts, class::Class, l2::L2},
};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

/// A line of a source file. Code that was inlined belongs to the line that it was written on, not to that of the call.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LineId {
    /// Absent when the PTX has no `.loc`; the line is one of the PTX then.
    pub file: Option<Arc<str>>,
    pub line: u32,
}

/// What the instructions of a line did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// The first of its lines in the PTX.
    pub ptx_line: u32,
    pub counters: Counters,
}

/// What all launches of a kernel did.
#[derive(Debug, Default)]
pub struct Total {
    pub n_launches: u64,
    /// What belongs to no line: DRAM bytes, and all instructions, which are counted even when nothing else is.
    launches: Counts,
    lines: BTreeMap<LineId, Line>,
    /// Launches of one program that `lines` lacks yet: counts by instruction add up faster.
    latest: Option<(Arc<Kernel>, LaunchCounts)>,
}

impl Total {
    fn add(&mut self, kernel: &Arc<Kernel>, counts: LaunchCounts) {
        self.n_launches += 1;
        self.launches.add(&counts.launch);
        if counts.by_pc.is_empty() {
            return;
        }
        match &mut self.latest {
            Some((latest, sum)) if Arc::ptr_eq(latest, kernel) => sum.add(counts),
            _ => {
                self.fold();
                self.latest = Some((Arc::clone(kernel), counts));
            }
        }
    }

    /// Moves the counts by instruction into those by line.
    fn fold(&mut self) {
        let Some((kernel, LaunchCounts { by_pc, .. })) = self.latest.take() else { return };
        let program = &kernel.program;
        for ((inst, site), counts) in program.code.iter().zip(&program.sites).zip(&by_pc) {
            if counts.warp_instructions == 0 {
                continue;
            }
            let id = match &site.source {
                Some(source) => LineId { file: Some(Arc::clone(&source.file)), line: source.line },
                None => LineId { file: None, line: site.line },
            };
            let line = self.lines.entry(id).or_insert(Line { ptx_line: site.line, ..Line::default() });
            line.ptx_line = line.ptx_line.min(site.line);
            line.counters.add_instruction(Class::of(inst.op), counts);
        }
    }

    /// The lines that ran.
    pub fn lines(&self) -> &BTreeMap<LineId, Line> {
        assert!(self.latest.is_none(), "`Profile::kernels` folds");
        &self.lines
    }

    /// The sum over all lines.
    pub fn counters(&self) -> Counters {
        let mut sum = Counters::default();
        self.lines().values().for_each(|line| sum.add(&line.counters));
        // The launches have all instructions, even those that no line has.
        (sum.counts.warp_instructions, sum.counts.lane_instructions) = (0, 0);
        sum.counts.add(&self.launches);
        sum
    }
}

/// Totals by kernel name.
#[derive(Debug, Default)]
pub struct Profile {
    is_counting: AtomicBool,
    /// If it is kept from launch to launch.
    l2: Mutex<Option<Arc<Mutex<L2>>>>,
    kernels: Mutex<BTreeMap<String, Total>>,
}

impl Profile {
    pub fn new(is_counting: bool) -> Self {
        Self { is_counting: is_counting.into(), ..Self::default() }
    }

    /// Whether launches should count more than their instructions.
    pub fn is_counting(&self) -> bool {
        self.is_counting.load(Ordering::Relaxed)
    }

    pub fn count(&self, is_counting: bool) {
        self.is_counting.store(is_counting, Ordering::Relaxed);
    }

    /// From the next launch on, counts what moves between memory and this cache, or no longer.
    pub fn keep_l2(&self, l2: Option<L2>) {
        *self.l2.lock().unwrap_or_else(PoisonError::into_inner) = l2.map(|it| Arc::new(Mutex::new(it)));
    }

    pub fn l2(&self) -> Option<Arc<Mutex<L2>>> {
        self.l2.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// All kernels that were launched.
    pub fn kernels(&self) -> MutexGuard<'_, BTreeMap<String, Total>> {
        let mut kernels = self.lock();
        kernels.values_mut().for_each(Total::fold);
        kernels
    }

    /// Adds a launch.
    pub fn add(&self, kernel: &Arc<Kernel>, counts: LaunchCounts) {
        let mut kernels = self.lock();
        match kernels.get_mut(&kernel.name) {
            Some(total) => total.add(kernel, counts),
            None => kernels.entry(kernel.name.clone()).or_default().add(kernel, counts),
        }
    }

    /// (launches, counters) of one kernel, if it was launched, or of all.
    pub fn total(&self, kernel: Option<&str>) -> Option<(u64, Counters)> {
        let kernels = self.kernels();
        if let Some(kernel) = kernel {
            return kernels.get(kernel).map(|it| (it.n_launches, it.counters()));
        }
        let (mut n_launches, mut sum) = (0, Counters::default());
        for total in kernels.values() {
            n_launches += total.n_launches;
            sum.add(&total.counters());
        }
        Some((n_launches, sum))
    }

    pub fn reset(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Total>> {
        self.kernels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::lower;

    /// A kernel with this name, an `add.f32` and a store on line 7 of `a.cu`, and a `ret` on the next.
    pub fn kernel(name: &str) -> Arc<Kernel> {
        let text = format!(
            ".version 8.0\n.target sm_80\n.address_size 64\n.file 1 \"a.cu\"\n.visible .entry {name}()\n{{\n\
             .reg .f32 %f<3>;\n.loc 1 7 1\nadd.f32 %f1, %f2, %f2;\nst.local.f32 [0], %f1;\n.loc 1 8 1\nret;\n}}\n"
        );
        lower::load(&text, false, &mut |_| None).unwrap().kernels[name].clone()
    }

    /// A launch in which every instruction did this.
    pub fn launch(kernel: &Kernel, counts: Counts) -> LaunchCounts {
        let by_pc = vec![counts; kernel.program.code.len()];
        let mut launch = Counts::default();
        by_pc.iter().for_each(|it| launch.add(it));
        LaunchCounts { launch: Counts { dram_read_bytes: 64, ..launch_only(launch) }, by_pc }
    }

    fn launch_only(Counts { warp_instructions, lane_instructions, .. }: Counts) -> Counts {
        Counts { warp_instructions, lane_instructions, ..Counts::default() }
    }

    #[test]
    fn totals_add_up_by_line_by_kernel_and_over_all() {
        let profile = Profile::default();
        let counts = Counts { warp_instructions: 3, lane_instructions: 40, shared_wavefronts: 5, ..Counts::default() };
        let [a, again, b] = [kernel("a"), kernel("a"), kernel("b")];
        for kernel in [&a, &a, &again, &b] {
            profile.add(kernel, launch(kernel, counts));
        }
        let n = a.program.code.len() as u64;
        let (n_launches, counters) = profile.total(Some("a")).unwrap();
        assert_eq!((n_launches, counters.counts.dram_read_bytes), (3, 3 * 64));
        assert_eq!((counters.counts.warp_instructions, counters.counts.shared_wavefronts), (9 * n, 15 * n));
        assert_eq!(counters.of_class(Class::Control).lane_instructions, 3 * 40);
        assert_eq!(profile.total(None).unwrap().0, 4);
        assert_eq!(profile.total(Some("c")), None);
        {
            let kernels = profile.kernels();
            let lines: Vec<_> = kernels["a"].lines().iter().collect();
            let places: Vec<_> = lines.iter().map(|(id, line)| (id.line, line.ptx_line)).collect();
            assert_eq!(places, [(7, 9), (8, 12)], "{lines:?}");
            assert_eq!(lines[1].1.counters.counts.warp_instructions, 9);
        }
        profile.reset();
        assert_eq!(profile.total(None), Some((0, Counters::default())));
    }

    #[test]
    fn launches_that_nobody_counts_have_their_instructions() {
        let profile = Profile::default();
        let launch = Counts { warp_instructions: 9, lane_instructions: 99, ..Counts::default() };
        profile.add(&kernel("a"), LaunchCounts { launch, by_pc: Vec::new() });
        let (n_launches, counters) = profile.total(Some("a")).unwrap();
        assert_eq!((n_launches, counters.counts, counters.by_class), (1, launch, Default::default()));
    }
}
