//! What can be queued in a stream, and doing it.

use super::{
    DevicePtr,
    error::{Error, Result},
    graph::model::Body,
    graph_memory::GraphMemory,
    objects::{Context, Event, Stream},
    queue::{self, Runner, Ticket},
    state::Driver,
    transfer::{Copy, Fill},
};
use crate::{
    check::fault::{Fault, FaultKind},
    exec::printf,
    lower::Kernel,
    mem::{
        allocations::AllocationId,
        map::{Mapping, PAGE},
    },
    sched,
    settings::Mode,
};
use std::{
    cell::Cell,
    collections::VecDeque,
    ffi::{CString, c_char, c_void},
    io::{self, Write as _},
    panic::{AssertUnwindSafe, catch_unwind},
    ptr,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
    time::Instant,
};

/// A kernel launch that was checked.
#[derive(Debug)]
pub struct Launch {
    pub kernel: Arc<Kernel>,
    pub shape: sched::Shape,
    /// The parameter block, `kernel.param_bytes` long.
    pub params: Box<[u8]>,
    pub is_cooperative: bool,
}

/// `CUhostFn`.
pub type HostFunction = unsafe extern "C" fn(*mut c_void);

/// `CUstreamCallback`.
pub type StreamCallback = unsafe extern "C" fn(*mut c_void, u32, *mut c_void);

/// One piece of work in a stream.
#[derive(Debug)]
pub enum Work {
    Copy(Copy),
    Fill(Fill),
    Launch(Launch),
    /// A function of the program; `argument` is its pointer, of which this thread knows nothing.
    Call {
        function: HostFunction,
        argument: usize,
    },
    /// A function of the program that is told the stream it is in.
    Callback {
        function: StreamCallback,
        stream: usize,
        argument: usize,
    },
    /// Sets the time of an event, unless it was recorded again since.
    Stamp {
        event: Arc<Event>,
        generation: u64,
    },
    /// A node that records an event: `cuGraphLaunch` has said that the event stands for this launch.
    Record(Arc<Event>),
    /// A node that waits for an event: `cuGraphLaunch` has made the launch wait.
    WaitFor(Arc<Event>),
    /// A launch of a graph: its nodes in this order.
    Graph(Arc<[Arc<Body>]>),
    /// The end of `cuMemFreeAsync`.
    Free(AllocationId),
    /// Memory of a graph, which is there already.
    Allocate(Arc<GraphMemory>),
    /// The address of memory of a graph, which stays.
    FreeInGraph(DevicePtr),
    /// Nothing: it only waits.
    Join,
}

impl Work {
    /// Whether it does nothing but call functions of the program.
    fn is_call(&self) -> bool {
        match self {
            Self::Call { .. } | Self::Callback { .. } => true,
            Self::Graph(bodies) => !bodies.is_empty() && bodies.iter().all(|body| body.work.is_call()),
            _ => false,
        }
    }

    fn n_launches(&self) -> u64 {
        match self {
            Self::Launch(_) => 1,
            Self::Graph(bodies) => bodies.iter().map(|body| body.work.n_launches()).sum(),
            _ => 0,
        }
    }

    /// The same as pieces of which each is a call or has none in it: a graph is taken apart at its host functions.
    fn pieces(self) -> Vec<Self> {
        fn flatten(bodies: &[Arc<Body>], to: &mut Vec<Arc<Body>>) {
            for body in bodies {
                match &body.work {
                    Work::Graph(inner) => flatten(inner, to),
                    _ => to.push(Arc::clone(body)),
                }
            }
        }
        let Self::Graph(bodies) = &self else { return vec![self] };
        let mut nodes = Vec::new();
        flatten(bodies, &mut nodes);
        if !nodes.iter().any(|it| it.work.is_call()) {
            return vec![self];
        }
        nodes.chunk_by(|a, b| a.work.is_call() == b.work.is_call()).map(|it| Self::Graph(it.into())).collect()
    }
}

impl Driver {
    /// Queues work. When its turn comes it is skipped if the context has broken down.
    pub fn enqueue(&'static self, stream: &Stream, after: &[Ticket], work: Work) -> Result<Ticket> {
        let pieces = work.pieces().into_iter().map(|work| {
            let runner = if work.is_call() { Runner::Caller } else { Runner::Anybody };
            let ordinal = stream.context.n_launches.fetch_add(work.n_launches(), Ordering::Relaxed);
            let context = Arc::clone(&stream.context);
            let run: queue::Work = Box::new(move || self.run_guarded(&context, &work, ordinal));
            (runner, run)
        });
        self.queue.push_all(stream.id, after, pieces).ok_or(Error::INVALID_HANDLE)
    }

    /// Runs work unless its context has broken down; errors and panics break it.
    fn run_guarded(&self, context: &Context, work: &Work, ordinal: u64) {
        if context.check().is_err() {
            return;
        }
        match catch_unwind(AssertUnwindSafe(|| self.run(context, work, ordinal))) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => context.fail(error),
            Err(_) => {
                say!("the panic above is a bug of the emulator; the context is lost");
                context.fail(Error::UNKNOWN);
            }
        }
    }

    /// Waits for work of `stream`.
    ///
    /// # Errors
    /// When the context has broken down by then.
    pub fn wait(&self, stream: &Stream, ticket: Ticket) -> Result {
        self.queue.wait(ticket);
        printf::flush();
        stream.context.check()
    }

    /// `ordinal` is that of the first launch in `work`, among those of the context.
    fn run(&self, context: &Context, work: &Work, ordinal: u64) -> Result {
        match *work {
            Work::Copy(ref copy) => self.copy(copy),
            Work::Fill(ref fill) => self.fill(fill),
            Work::Launch(ref launch) => self.launch(launch, ordinal),
            Work::Call { function, argument } => {
                // SAFETY: the program gave function and argument to be called on any thread.
                call(|| unsafe { function(argument as *mut c_void) });
                Ok(())
            }
            Work::Callback { function, stream, argument } => {
                // SAFETY: as above.
                call(|| unsafe { function(stream as *mut c_void, 0, argument as *mut c_void) });
                Ok(())
            }
            Work::Stamp { ref event, generation } => {
                let mut record = event.record();
                if record.generation == generation {
                    record.time = Some(Instant::now());
                }
                Ok(())
            }
            Work::Record(ref event) => {
                event.record().time = Some(Instant::now());
                Ok(())
            }
            Work::Graph(ref bodies) => {
                let mut ordinal = ordinal;
                bodies.iter().try_for_each(|body| {
                    let first = ordinal;
                    ordinal += body.work.n_launches();
                    self.run(context, &body.work, first)
                })
            }
            Work::Free(id) => {
                self.memory().finish_free(id);
                Ok(())
            }
            Work::Join | Work::WaitFor(_) | Work::Allocate(_) | Work::FreeInGraph(_) => context.check(),
        }
    }

    fn launch(&self, Launch { kernel, shape, params, is_cooperative }: &Launch, ordinal: u64) -> Result {
        if self.settings.fail_launch == Some(ordinal) {
            report(&format!("launch {ordinal}, of {}, fails because CUDA_EMULATOR_FAIL_LAUNCH is set", kernel.name));
            return Err(Error::ECC_UNCORRECTABLE);
        }
        let (mut regions, shadow) = {
            let memory = self.memory();
            (memory.regions(), memory.shadow().cloned())
        };
        let workspace = is_cooperative.then(|| Mapping::reserve(PAGE)).flatten();
        if let Some(workspace) = &workspace {
            Arc::make_mut(&mut regions).add_host(workspace.base(), PAGE);
        }
        let checks = self.settings.mode != Mode::Fast;
        let options = sched::Options {
            n_threads: self.settings.n_threads,
            n_sms: self.settings.card.n_sms,
            counts: checks || self.profile.is_counting(),
            checks,
            seed: (self.settings.mode == Mode::Stress).then(|| seed(self.settings.seed, &kernel.name, ordinal)),
            step_limit: self.settings.step_limit,
            grid_workspace: workspace.as_ref().map_or(0, Mapping::base),
        };
        match sched::launch(kernel, *shape, params, &regions, shadow.as_ref(), self.profile.l2(), options) {
            Ok(counts) => {
                self.profile.add(kernel, counts);
                Ok(())
            }
            Err(fault) => {
                if let Some(line) = fault.assertion() {
                    let _ = writeln!(io::stderr(), "{line}");
                }
                report(&fault.to_string());
                Err(code(&fault))
            }
        }
    }
}

/// The seed of a launch, the same in every run of a program that queues its launches in the same order. The parameters
/// have no part in it: pinned addresses among them are others in every process.
fn seed(seed: u64, kernel: &str, ordinal: u64) -> u64 {
    // FNV-1a: unlike the standard library's, it is the same with every compiler.
    let mix = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
    kernel.as_bytes().iter().chain(&ordinal.to_le_bytes()).fold(seed ^ 0xcbf2_9ce4_8422_2325, mix)
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

/// The latest reports.
static FAULTS: Mutex<VecDeque<CString>> = Mutex::new(VecDeque::new());

/// How many reports are kept, so that a pointer to one is good for a while although other threads have faults.
const N_FAULTS: usize = 64;

/// The last report, or null. It is valid until there were [`N_FAULTS`] others.
pub fn last_fault() -> *const c_char {
    let faults = FAULTS.lock().unwrap_or_else(PoisonError::into_inner);
    faults.back().map_or(ptr::null(), |text| text.as_ptr())
}

/// Says what device code did wrong, and keeps the text for [`last_fault`].
pub fn report(text: &str) {
    say!("{text}");
    let text = CString::new(text.replace('\0', " ")).expect("there is no NUL left");
    let mut faults = FAULTS.lock().unwrap_or_else(PoisonError::into_inner);
    if faults.len() == N_FAULTS {
        faults.pop_front();
    }
    faults.push_back(text);
}

thread_local! {
    static IS_IN_HOST_FUNCTION: Cell<bool> = const { Cell::new(false) };
}

/// Whether the calling thread is inside a function that `cuLaunchHostFunc` queued.
pub fn is_in_host_function() -> bool {
    IS_IN_HOST_FUNCTION.get()
}

/// Calls a function of the program.
fn call(function: impl FnOnce()) {
    IS_IN_HOST_FUNCTION.set(true);
    function();
    IS_IN_HOST_FUNCTION.set(false);
}
