//! What can be queued in a stream, and doing it.

use super::{
    error::{Error, Result},
    objects::{Context, Event, Stream},
    queue::Ticket,
    state::Driver,
};
use crate::{
    check::fault::{Fault, FaultKind},
    lower::Kernel,
    mem::allocations::AllocationId,
    sched,
    settings::Mode,
};
use std::{
    cell::Cell,
    ffi::{CString, c_char, c_void},
    panic::{AssertUnwindSafe, catch_unwind},
    ptr,
    sync::{
        Arc,
        atomic::{AtomicPtr, Ordering},
    },
    time::Instant,
};

/// One end of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// An address that device code can use: device, pinned or registered memory. Looked up again when the copy runs.
    Mapped(u64),
    /// Any other host address. The call that queued the copy does not return before it is done; in a graph, the program
    /// keeps it valid for every launch.
    Pageable(u64),
}

/// Where a copy's bytes come from.
#[derive(Debug)]
pub enum Source {
    Place(Place),
    /// Bytes that were taken during the call.
    Staged(Box<[u8]>),
}

/// A kernel launch that was checked.
#[derive(Debug)]
pub struct Launch {
    pub kernel: Arc<Kernel>,
    pub shape: sched::Shape,
    /// The parameter block, `kernel.param_bytes` long.
    pub params: Box<[u8]>,
}

/// `CUhostFn`.
pub type HostFunction = unsafe extern "C" fn(*mut c_void);

/// One piece of work in a stream.
#[derive(Debug)]
pub enum Work {
    Copy {
        to: Place,
        from: Source,
        bytes: u64,
    },
    /// `count` times the low `width` bytes of `value`.
    Fill {
        to: u64,
        value: u32,
        width: u64,
        count: u64,
    },
    Launch(Launch),
    /// A function of the program; `argument` is its pointer, of which this thread knows nothing.
    Call {
        function: HostFunction,
        argument: usize,
    },
    /// Sets the time of an event, unless it was recorded again since.
    Stamp {
        event: Arc<Event>,
        generation: u64,
    },
    /// A launch of a graph: its nodes in this order.
    Graph(Arc<[Node]>),
    /// The end of `cuMemFreeAsync`.
    Free(AllocationId),
    /// Nothing: it only waits.
    Join,
}

/// A `CUgraphNode`: the handle of its graph, and its place in the graph's list.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeId(u64);

impl NodeId {
    pub const NULL: Self = Self(0);
    const INDEX_BITS: u32 = 28;

    pub fn new(graph: u64, index: usize) -> Self {
        assert!(index < 1 << Self::INDEX_BITS, "a graph of {index} nodes");
        Self(graph << Self::INDEX_BITS | index as u64)
    }

    pub fn graph(self) -> u64 {
        self.0 >> Self::INDEX_BITS
    }

    pub fn index(self) -> usize {
        self.0 as usize & ((1 << Self::INDEX_BITS) - 1)
    }
}

/// A piece of work in a graph.
#[derive(Debug)]
pub struct Node {
    pub work: Work,
    /// What it waits for: nodes before it in the list.
    pub after: Vec<NodeId>,
    /// The addresses of a kernel's parameters, inside of `work`.
    pub params: Box<[usize]>,
}

impl Node {
    pub fn new(work: Work, after: Vec<NodeId>) -> Self {
        let params = match &work {
            Work::Launch(Launch { kernel, params, .. }) => {
                let address = |(offset, _): &(u32, u32)| params[*offset as usize..].as_ptr() as usize;
                kernel.params.iter().map(address).collect()
            }
            _ => Box::default(),
        };
        Self { work, after, params }
    }
}

impl Driver {
    /// Queues work. When its turn comes it is skipped if the context has broken down.
    pub fn enqueue(&'static self, stream: &Stream, after: &[Ticket], work: Work) -> Result<Ticket> {
        let context = Arc::clone(&stream.context);
        let run = move || {
            if context.check().is_err() {
                return;
            }
            let result = catch_unwind(AssertUnwindSafe(|| self.run(&context, &work)));
            match result {
                Ok(Ok(())) => {}
                Ok(Err(error)) => context.fail(error),
                Err(_) => {
                    say!("the panic above is a bug of the emulator; the context is lost");
                    context.fail(Error::UNKNOWN);
                }
            }
        };
        self.queue.push(stream.id, after, Box::new(run)).ok_or(Error::INVALID_HANDLE)
    }

    /// Waits for work of `stream`.
    ///
    /// # Errors
    /// When the context has broken down by then.
    pub fn wait(&self, stream: &Stream, ticket: Ticket) -> Result {
        self.queue.wait(ticket);
        stream.context.check()
    }

    fn run(&self, context: &Context, work: &Work) -> Result {
        match *work {
            Work::Copy { to, ref from, bytes } => self.copy(to, from, bytes),
            Work::Fill { to, value, width, count } => self.fill(to, value, width, count),
            Work::Launch(ref launch) => self.launch(launch),
            Work::Call { function, argument } => {
                call(function, argument);
                Ok(())
            }
            Work::Stamp { ref event, generation } => {
                let mut record = event.record();
                if record.generation == generation {
                    record.time = Some(Instant::now());
                }
                Ok(())
            }
            Work::Graph(ref nodes) => nodes.iter().try_for_each(|node| self.run(context, &node.work)),
            Work::Free(id) => {
                self.memory().finish_free(id);
                Ok(())
            }
            Work::Join => context.check(),
        }
    }

    fn copy(&self, to: Place, from: &Source, bytes: u64) -> Result {
        self.copy_shadow(to, from, bytes);
        let to = self.host_address(to, bytes)?;
        let from = match from {
            Source::Place(place) => self.host_address(*place, bytes)?,
            Source::Staged(staged) => staged.as_ptr() as u64,
        };
        // SAFETY: mapped ranges lie in one live allocation (just looked up; only later work frees it), pageable ranges
        // are the caller's, who waits for this copy or promised them to the graph, and staged bytes are ours. The ranges may overlap.
        unsafe { ptr::copy(from as *const u8, to as *mut u8, bytes as usize) };
        Ok(())
    }

    /// Notes which bytes of device memory a copy initialises: those that are at its source.
    fn copy_shadow(&self, to: Place, from: &Source, bytes: u64) {
        let memory = self.memory();
        let Some(shadow) = memory.shadow() else { return };
        // A range that is no allocation's is reported by the copy itself.
        let range = |place: &Place| match place {
            Place::Mapped(address) => memory.find(*address, bytes).and_then(|_| shadow.range(*address, bytes)),
            Place::Pageable(_) => None,
        };
        let Some(to) = range(&to) else { return };
        match from {
            Source::Place(place) => match range(place) {
                Some(from) => shadow.copy(from, to),
                None => shadow.set(to),
            },
            Source::Staged(_) => shadow.set(to),
        }
    }

    fn fill(&self, to: u64, value: u32, width: u64, count: u64) -> Result {
        self.copy_shadow(Place::Mapped(to), &Source::Staged(Box::default()), width * count);
        let to = self.host_address(Place::Mapped(to), width * count)?;
        // SAFETY: the range lies in one live allocation (just looked up), and `to` is a multiple of `width` because the
        // entry point checked the device address and allocations start at multiples of 256 on both sides.
        unsafe {
            match width {
                1 => ptr::write_bytes(to as *mut u8, value as u8, count as usize),
                2 => (0..count as usize).for_each(|i| (to as *mut u16).add(i).write_unaligned(value as u16)),
                4 => (0..count as usize).for_each(|i| (to as *mut u32).add(i).write_unaligned(value)),
                _ => unreachable!("memset has elements of 1, 2 or 4 bytes"),
            }
        }
        Ok(())
    }

    fn launch(&self, Launch { kernel, shape, params }: &Launch) -> Result {
        let (regions, shadow) = {
            let memory = self.memory();
            (memory.regions(), memory.shadow().cloned())
        };
        let checks = self.settings.mode != Mode::Fast;
        let options = sched::Options {
            n_threads: self.settings.n_threads,
            n_sms: self.settings.card.n_sms,
            counts: checks || self.settings.profile.is_some(),
            checks,
            seed: (self.settings.mode == Mode::Stress).then(|| seed(self.settings.seed, &kernel.name, params)),
            step_limit: self.settings.step_limit,
        };
        match sched::launch(kernel, *shape, params, &regions, shadow.as_ref(), options) {
            Ok(counters) => {
                self.profile.add(&kernel.name, counters);
                Ok(())
            }
            Err(fault) => {
                report(&fault.to_string());
                Err(code(&fault))
            }
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

/// The seed of a launch, the same whenever the kernel is launched with the same parameters.
fn seed(seed: u64, kernel: &str, params: &[u8]) -> u64 {
    // FNV-1a: unlike the standard library's, it is the same with every compiler.
    let mix = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
    kernel.as_bytes().iter().chain(params).fold(seed ^ 0xcbf2_9ce4_8422_2325, mix)
}

/// What a GPU returns for the fault.
fn code(fault: &Fault) -> Error {
    match fault.kind {
        FaultKind::OutOfBounds | FaultKind::ReadOnly => Error::ILLEGAL_ADDRESS,
        FaultKind::Misaligned => Error::MISALIGNED_ADDRESS,
        FaultKind::Deadlock | FaultKind::StepLimit => Error::LAUNCH_TIMEOUT,
        FaultKind::Assert => Error::ASSERT,
        // A GPU stops at these with this code, or goes on with garbage.
        _ => Error::LAUNCH_FAILED,
    }
}

static LAST_FAULT: AtomicPtr<c_char> = AtomicPtr::new(ptr::null_mut());

/// The last report, or null.
pub fn last_fault() -> *const c_char {
    LAST_FAULT.load(Ordering::Acquire)
}

/// Says what device code did wrong. The text stays for [`last_fault`], as long as the process: faults are few.
fn report(text: &str) {
    say!("{text}");
    let text = CString::new(text.replace('\0', " ")).expect("there is no NUL left");
    LAST_FAULT.store(text.into_raw(), Ordering::Release);
}

thread_local! {
    static IS_IN_HOST_FUNCTION: Cell<bool> = const { Cell::new(false) };
}

/// Whether the calling thread is inside a function that `cuLaunchHostFunc` queued.
pub fn is_in_host_function() -> bool {
    IS_IN_HOST_FUNCTION.get()
}

fn call(function: HostFunction, argument: usize) {
    IS_IN_HOST_FUNCTION.set(true);
    // SAFETY: the program gave function and argument to `cuLaunchHostFunc`, to be called on any thread.
    unsafe { function(argument as *mut c_void) };
    IS_IN_HOST_FUNCTION.set(false);
}
