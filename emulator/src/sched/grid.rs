//! A launch: workers take CTAs from a counter.

use super::{
    Options, Shape,
    cta::{Cta, Progress},
    pool,
    turns::{Budget, Turns},
};
use crate::{
    check::{
        fault::{self, Access, Fault, FaultKind, OtherSide},
        global::GlobalChecks,
    },
    exec::{printf, run::Context, trouble::Trouble, warp::Place},
    lower::Kernel,
    mem::{region::Regions, shadow::Shadow},
    perf::{
        LaunchCounts,
        footprint::Footprint,
        l2::L2,
        meter::{self, Meter},
    },
};
use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

/// What an SM holds since sm_80, at most.
const MAX_THREADS_PER_SM: u32 = 2048;
const MAX_CTAS_PER_SM: u32 = 32;

/// Warps that a report of a launch without end tells of, besides the one that ran.
const N_WHEREABOUTS: usize = 8;

/// What the workers of a launch share.
struct Launch<'a> {
    kernel: &'a Kernel,
    shape: Shape,
    params: &'a [u8],
    memory: &'a Regions,
    /// With checks.
    shadow: Option<&'a Arc<Shadow>>,
    options: Options,
    budget: Budget,
    n_ctas: u64,
    next: AtomicU64,
    /// CTAs that have begun and not ended, and how many the card holds.
    n_resident: AtomicU64,
    n_seats: u64,
    is_over: AtomicBool,
    counts: Mutex<LaunchCounts>,
    /// Kept from launch to launch.
    l2: Option<Arc<Mutex<L2>>>,
    /// When somebody counts.
    footprint: Option<Arc<Footprint>>,
    /// What CTAs printed, by linear index.
    printed: Mutex<Vec<(u64, Vec<u8>)>>,
    /// The fault of the lowest CTA, by its linear index.
    fault: Mutex<Option<(u64, Box<Fault>)>>,
}

/// Runs the whole grid and returns when it is done. `params` is the parameter block, `kernel.param_bytes` long. Checks of
/// global memory need its `shadow`. The launch was checked against the card's limits by the caller.
///
/// # Errors
/// The first fault; other CTAs are stopped.
pub fn launch(
    kernel: &Kernel,
    shape: Shape,
    params: &[u8],
    memory: &Regions,
    shadow: Option<&Arc<Shadow>>,
    l2: Option<Arc<Mutex<L2>>>,
    options: Options,
) -> Result<LaunchCounts, Box<Fault>> {
    assert_eq!(params.len(), kernel.param_bytes as usize, "parameter block of {}", kernel.name);
    let n_ctas = shape.grid.iter().map(|&n| u64::from(n)).product();
    // The checks see one order of events, and so do those who read about it; a seed decides on one.
    let n_threads = if options.checks || options.seed.is_some() || l2.is_some() { 1 } else { options.n_threads };
    let n_workers = (n_threads as u64).clamp(1, n_ctas) as usize;
    let launch = Launch {
        kernel,
        shape,
        params,
        memory,
        shadow: shadow.filter(|_| options.checks),
        options,
        budget: Budget::new(options.step_limit, n_workers),
        n_ctas,
        next: AtomicU64::new(0),
        n_resident: AtomicU64::new(0),
        n_seats: n_seats(shape, options.n_sms),
        is_over: AtomicBool::new(false),
        counts: Mutex::default(),
        footprint: options.counts.then(|| Arc::new(Footprint::new(memory, n_workers))),
        l2,
        printed: Mutex::default(),
        fault: Mutex::default(),
    };
    pool::run(n_workers, options.n_threads, &|| launch.work());
    printf::queue(launch.printed.into_inner().unwrap_or_else(|it| it.into_inner()));
    match launch.fault.into_inner().unwrap_or_else(|it| it.into_inner()) {
        Some((_, fault)) => Err(fault),
        None => {
            let mut counts = launch.counts.into_inner().unwrap_or_else(|it| it.into_inner());
            meter::expand(&kernel.program.straight, &mut counts.by_pc);
            Ok(counts)
        }
    }
}

/// CTAs that a card of `n_sms` holds at once, by their threads alone: registers and shared memory may allow for fewer. A
/// CTA that waits for one beyond them waits for ever, here as there.
fn n_seats(shape: Shape, n_sms: u32) -> u64 {
    let n_threads = shape.block.iter().product::<u32>().next_multiple_of(32).max(32);
    u64::from(n_sms) * u64::from((MAX_THREADS_PER_SM / n_threads).clamp(1, MAX_CTAS_PER_SM))
}

impl Launch<'_> {
    /// The next CTA to begin, if there is one and the card has room for it.
    fn take(&self) -> Option<u64> {
        if self.next.load(Ordering::Relaxed) >= self.n_ctas {
            return None;
        }
        let sit = |n| (n < self.n_seats).then_some(n + 1);
        self.n_resident.fetch_update(Ordering::Relaxed, Ordering::Relaxed, sit).ok()?;
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        if next >= self.n_ctas {
            self.n_resident.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        Some(next)
    }

    /// One worker: starts CTAs while there are any, and goes on with suspended ones in turn.
    fn work(&self) {
        let program = &self.kernel.program;
        let mut context = Context::new(program, self.params, self.memory);
        if let Some(footprint) = &self.footprint {
            let meter = Meter::new(program, Arc::clone(footprint), self.l2.clone());
            context = context.observed(meter, self.global_checks());
        }
        let mut turns = Turns::new(self.options.seed, self.n_ctas, &self.budget);
        let mut suspended: VecDeque<(u64, Cta)> = VecDeque::new();
        let mut spare: Vec<Cta> = Vec::new();
        while !self.is_over.load(Ordering::Relaxed) {
            let starts = turns.starts_another(suspended.len());
            let next = if starts { self.take() } else { None };
            let (index, mut cta) = if let Some(next) = next {
                let index = turns.cta(next, self.n_ctas);
                let mut cta = spare.pop().unwrap_or_else(|| Cta::new(self.kernel, &self.shape, self.options.checks));
                cta.start(&mut context, index, &self.place(index));
                (index, cta)
            } else if let Some(next) = suspended.remove(turns.suspended(suspended.len())) {
                next
            } else {
                break;
            };
            let progress = cta.run(&mut context, &mut turns);
            if !context.printed.is_empty() {
                let printed = std::mem::take(&mut context.printed);
                self.printed.lock().unwrap_or_else(|it| it.into_inner()).push((index, printed));
            }
            match progress {
                Progress::Done => {
                    turns.ended();
                    self.n_resident.fetch_sub(1, Ordering::Relaxed);
                    if let Some(checks) = &mut context.global_checks {
                        checks.end(index);
                    }
                    spare.push(cta);
                }
                Progress::Suspended => suspended.push_back((index, cta)),
                Progress::Trouble(warp, pc, mut trouble) => {
                    if trouble.kind == FaultKind::StepLimit {
                        trouble.note = self.step_limit_note(&cta, warp, &suspended);
                    }
                    self.fail(index, cta.index, warp, pc, *trouble);
                }
            }
        }
        let mut counts = context.meter.map(|it| it.counts).unwrap_or_default();
        counts.launch.warp_instructions = context.n_warp_instructions;
        counts.launch.lane_instructions = context.n_lane_instructions;
        self.counts.lock().unwrap_or_else(|it| it.into_inner()).add(counts);
    }

    fn place(&self, index: u64) -> Place {
        let block_index = self.block_index(index);
        Place {
            grid: self.shape.grid,
            block: self.shape.block,
            block_index,
            sm: (index % u64::from(self.options.n_sms)) as u32,
            n_sms: self.options.n_sms,
            dynamic_shared_bytes: self.shape.dynamic_shared_bytes,
            static_shared_bytes: self.kernel.static_shared_bytes,
            grid_workspace: self.options.grid_workspace,
        }
    }

    fn global_checks(&self) -> Option<GlobalChecks> {
        let n_warps = self.shape.block.iter().product::<u32>().div_ceil(32);
        self.shadow.map(|shadow| GlobalChecks::new(Arc::clone(shadow), &self.kernel.program, n_warps))
    }

    /// How to raise the limit, and where up to [`N_WHEREABOUTS`] other warps are.
    fn step_limit_note(&self, cta: &Cta, warp: u32, suspended: &VecDeque<(u64, Cta)>) -> String {
        let others = cta.unfinished().filter(|it| it.0 != warp).map(|it| (cta.index, it));
        let elsewhere = suspended.iter().flat_map(|(_, cta)| cta.unfinished().map(|it| (cta.index, it)));
        let whereabouts: Vec<String> = others
            .chain(elsewhere)
            .take(N_WHEREABOUTS)
            .map(|([x, y, z], (warp, pc))| {
                let site = &self.kernel.program.sites[pc as usize];
                let line = site.source.as_ref().map_or(format!("ptx line {}", site.line), |it| it.to_string());
                format!("\n    block ({x}, {y}, {z}), warp {warp} at {line}")
            })
            .collect();
        let others = if whereabouts.is_empty() { "" } else { "; also unfinished:" };
        let limit = self.options.step_limit;
        format!(
            "the launch ran {limit} warp instructions, and its threads may wait for ever; if it only needs more, set \
             CUDA_EMULATOR_STEP_LIMIT to a larger number{others}{}",
            whereabouts.concat()
        )
    }

    /// Records a fault and stops the launch.
    fn fail(&self, index: u64, block: [u32; 3], warp: u32, pc: u32, trouble: Trouble) {
        self.is_over.store(true, Ordering::Relaxed);
        let fault = self.fault(block, warp, pc, trouble);
        let mut first = self.fault.lock().unwrap_or_else(|it| it.into_inner());
        if first.as_ref().is_none_or(|(other, _)| index < *other) {
            *first = Some((index, Box::new(fault)));
        }
    }

    fn fault(&self, block: [u32; 3], warp: u32, pc: u32, trouble: Trouble) -> Fault {
        let thread = warp * 32 + trouble.lane as u32;
        let shared_bytes = self.kernel.static_shared_bytes + self.shape.dynamic_shared_bytes;
        let access = trouble.access.map(|(space, is_write, address, bytes)| Access {
            space,
            is_write,
            address,
            bytes,
            place: match space {
                "global" | "const" => self.memory.describe(address),
                "shared" => format!("the CTA has {shared_bytes} bytes of shared memory"),
                "local" => format!("a thread has {} bytes of local memory", self.kernel.local_bytes),
                _ => format!("the kernel has {} bytes of parameters", self.kernel.param_bytes),
            },
        });
        Fault {
            kind: trouble.kind,
            kernel: self.kernel.name.clone(),
            block,
            thread: self.thread_index(thread),
            place: self.code_place(pc),
            access,
            other: trouble.other.map(|other| OtherSide {
                is_write: other.is_write,
                block: self.block_index(other.cta),
                thread: self.thread_index(other.thread),
                place: self.code_place(other.pc),
            }),
            note: trouble.note,
        }
    }

    fn block_index(&self, cta: u64) -> [u32; 3] {
        let [x, y, _] = self.shape.grid.map(u64::from);
        [cta % x, cta / x % y, cta / (x * y)].map(|it| it as u32)
    }

    fn thread_index(&self, thread: u32) -> [u32; 3] {
        let [x, y, _] = self.shape.block;
        [thread % x, thread / x % y, thread / (x * y)]
    }

    fn code_place(&self, pc: u32) -> fault::Place {
        let site = &self.kernel.program.sites[pc as usize];
        let text = self.kernel.text.lines().nth((site.line as usize).saturating_sub(1));
        fault::Place {
            ptx_line: site.line,
            text: text.unwrap_or_default().trim().to_owned(),
            source: site.source.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_holds_so_many_ctas() {
        let seats = |x, y| n_seats(Shape { grid: [1; 3], block: [x, y, 1], dynamic_shared_bytes: 0 }, 108);
        assert_eq!([seats(1, 1), seats(64, 1), seats(32, 3), seats(32, 32)], [3456, 3456, 108 * 21, 216]);
    }
}
