//! What handles stand for: contexts, streams, events, modules and functions.

use super::{
    Handle,
    error::{Error, Result},
    graph::{
        GraphExec,
        model::{Graph, NodeId},
    },
    library::{Library, LibraryKernel},
    link::Link,
    pool::Pools,
    queue::{Kind, Queue, StreamId, Ticket},
    state::Driver,
    stream::AttributeValue,
};
use crate::{
    lower::{Image, Kernel},
    mem::allocations::Allocation,
    settings::Mode,
};
use std::{
    cell::RefCell,
    collections::{HashMap, HashSet},
    ffi::CString,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    thread::{self, ThreadId},
    time::Instant,
};

/// The handle of the primary context: the same after a reset.
pub const PRIMARY: u64 = 0x1000;

/// A context. `serial` is its name in the queue and among allocations; a reset primary context gets a new one.
#[derive(Debug)]
pub struct Context {
    pub handle: u64,
    pub serial: u64,
    pub flags: AtomicU32,
    /// The error of the first fault, 0 before: every later call returns it.
    fault: AtomicU32,
    legacy: StreamId,
    per_thread: Mutex<HashMap<ThreadId, StreamId>>,
    /// What `cuCtxSetLimit` stored, by limit.
    pub limits: Mutex<HashMap<u32, usize>>,
    pub cache_config: AtomicU32,
    /// Kernels queued so far.
    pub n_launches: AtomicU64,
}

impl Context {
    /// # Errors
    /// The code of the fault that broke the context.
    pub fn check(&self) -> Result {
        match self.fault.load(Relaxed) {
            0 => Ok(()),
            code => Err(Error(code)),
        }
    }

    /// Breaks the context. The first fault counts.
    pub fn fail(&self, Error(code): Error) {
        let _ = self.fault.compare_exchange(0, code, Relaxed, Relaxed);
    }

    /// The calling thread's default stream, made on first use.
    fn per_thread(&self, queue: &Queue) -> StreamId {
        let mut streams = self.per_thread.lock().unwrap_or_else(PoisonError::into_inner);
        *streams.entry(thread::current().id()).or_insert_with(|| queue.open(self.serial, Kind::Blocking))
    }
}

/// A stream: one that was created, or a default stream of a context.
#[derive(Clone, Debug)]
pub struct Stream {
    pub context: Arc<Context>,
    pub id: StreamId,
    pub flags: u32,
    pub priority: i32,
    /// What `cuStreamSetAttribute` stored, by attribute.
    pub attributes: Arc<Mutex<HashMap<u32, AttributeValue>>>,
}

/// An event, and the last record of it.
#[derive(Debug)]
pub struct Event {
    pub context: Arc<Context>,
    pub flags: u32,
    record: Mutex<Record>,
}

#[derive(Debug, Default)]
pub struct Record {
    /// Counts records: only the last one may set the time.
    pub generation: u64,
    pub last: Recorded,
    /// When the work before it was done.
    pub time: Option<Instant>,
}

/// What an event stands for.
#[derive(Clone, Debug, Default)]
pub enum Recorded {
    #[default]
    Never,
    Queued(Ticket),
    /// Nodes of a capture.
    Captured {
        capture: u64,
        after: Vec<NodeId>,
    },
}

impl Event {
    pub fn new(context: Arc<Context>, flags: u32) -> Self {
        Self { context, flags, record: Mutex::default() }
    }

    /// Taken before the queue's lock, never inside it.
    pub fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stream {
    /// Whether it is the legacy default stream of its context.
    pub fn is_legacy(&self) -> bool {
        self.id == self.context.legacy
    }

    /// Whether the legacy default stream waits for it.
    pub fn is_blocking(&self) -> bool {
        const NON_BLOCKING: u32 = 1; // CU_STREAM_NON_BLOCKING
        self.flags & NON_BLOCKING == 0
    }
}

#[derive(Debug)]
pub struct Module {
    pub context: Arc<Context>,
    pub image: Image,
    /// The device memory of its variables.
    pub allocations: Vec<u64>,
    /// `.version 9.0` as 90.
    pub ptx_version: u32,
}

#[derive(Debug)]
pub struct Function {
    pub context: Arc<Context>,
    pub module: u64,
    pub kernel: Arc<Kernel>,
    pub ptx_version: u32,
    pub name: CString,
    /// The dynamic shared memory a launch may ask for, in bytes.
    pub max_dynamic_shared: AtomicU32,
    pub carveout: AtomicI32,
}

/// Everything that has a handle.
#[derive(Debug, Default)]
pub struct Objects {
    n_made: u64,
    pub primary_flags: u32,
    pub n_primary_retains: u32,
    pub contexts: HashMap<u64, Arc<Context>>,
    pub streams: HashMap<u64, Arc<Stream>>,
    pub events: HashMap<u64, Arc<Event>>,
    pub modules: HashMap<u64, Arc<Module>>,
    pub functions: HashMap<u64, Arc<Function>>,
    pub graphs: HashMap<u64, Graph>,
    pub graph_execs: HashMap<u64, Arc<GraphExec>>,
    pub pools: Pools,
    pub libraries: HashMap<u64, Arc<Library>>,
    pub kernels: HashMap<u64, Arc<LibraryKernel>>,
    pub links: HashMap<u64, Link>,
}

impl Objects {
    /// A handle that no object has had. All kinds share one sequence, so a handle of the wrong kind is not found.
    pub fn new_handle(&mut self) -> u64 {
        self.n_made += 1;
        PRIMARY + 16 * self.n_made
    }

    /// Makes a context; the primary one if `is_primary`.
    pub fn add_context(&mut self, queue: &Queue, is_primary: bool, flags: u32) -> Arc<Context> {
        let serial = self.new_handle();
        let handle = if is_primary { PRIMARY } else { serial };
        let context = Arc::new(Context {
            handle,
            serial,
            flags: flags.into(),
            fault: 0.into(),
            legacy: queue.open(serial, Kind::Legacy),
            per_thread: Mutex::default(),
            limits: Mutex::default(),
            cache_config: 0.into(),
            n_launches: 0.into(),
        });
        self.contexts.insert(handle, Arc::clone(&context));
        context
    }

    pub fn context(&self, handle: Handle) -> Result<Arc<Context>> {
        self.contexts.get(&(handle as u64)).cloned().ok_or(Error::INVALID_CONTEXT)
    }

    pub fn event(&self, handle: Handle) -> Result<Arc<Event>> {
        usable(self.events.get(&(handle as u64)), |it| &it.context)
    }

    pub fn module(&self, handle: Handle) -> Result<Arc<Module>> {
        usable(self.modules.get(&(handle as u64)), |it| &it.context)
    }

    pub fn function(&self, handle: Handle) -> Result<Arc<Function>> {
        usable(self.functions.get(&(handle as u64)), |it| &it.context)
    }

    /// The handle of an event that was not destroyed since.
    pub fn handle_of(&self, event: &Arc<Event>) -> Result<Handle> {
        let found = self.events.iter().find(|it| Arc::ptr_eq(it.1, event));
        found.map(|it| *it.0 as Handle).ok_or(Error::INVALID_VALUE)
    }

    pub fn library(&self, handle: Handle) -> Result<Arc<Library>> {
        self.libraries.get(&(handle as u64)).cloned().ok_or(Error::INVALID_HANDLE)
    }

    pub fn kernel(&self, handle: Handle) -> Result<Arc<LibraryKernel>> {
        self.kernels.get(&(handle as u64)).cloned().ok_or(Error::INVALID_HANDLE)
    }

    pub fn graph(&self, handle: Handle) -> Result<&Graph> {
        self.graphs.get(&(handle as u64)).ok_or(Error::INVALID_VALUE)
    }

    pub fn graph_mut(&mut self, handle: Handle) -> Result<&mut Graph> {
        self.graphs.get_mut(&(handle as u64)).ok_or(Error::INVALID_VALUE)
    }

    /// The graph that `node` is in.
    pub fn graph_of(&self, node: NodeId) -> Result<&Graph> {
        let graph = self.graph(node.graph() as Handle)?;
        graph.node(node.index())?;
        Ok(graph)
    }

    pub fn graph_exec(&self, handle: Handle) -> Result<Arc<GraphExec>> {
        self.graph_execs.get(&(handle as u64)).cloned().ok_or(Error::INVALID_VALUE)
    }

    /// A stream by handle; 0, 1 and 2 are the default streams of the current context.
    pub fn stream(&self, queue: &Queue, handle: Handle) -> Result<Stream> {
        const LEGACY: u64 = 1; // CU_STREAM_LEGACY
        const PER_THREAD: u64 = 2; // CU_STREAM_PER_THREAD
        let handle = handle as u64;
        if handle > PER_THREAD {
            return Ok(Stream::clone(&*usable(self.streams.get(&handle), |it| &it.context)?));
        }
        let context = self.current()?;
        let id = match handle {
            0 | LEGACY => context.legacy,
            _ => context.per_thread(queue),
        };
        Ok(Stream { context, id, flags: 0, priority: 0, attributes: Arc::default() })
    }

    /// The calling thread's context, in working order.
    pub fn current(&self) -> Result<Arc<Context>> {
        let context = self.current_even_broken()?;
        context.check()?;
        Ok(context)
    }

    /// The calling thread's context.
    pub fn current_even_broken(&self) -> Result<Arc<Context>> {
        let handle = with_stack(|stack| stack.last().copied())?.ok_or(Error::INVALID_CONTEXT)?;
        self.contexts.get(&handle).cloned().ok_or(Error::CONTEXT_IS_DESTROYED)
    }

    /// Forgets a context and everything made in it, and returns its created streams.
    fn remove_context(&mut self, context: &Arc<Context>) -> Vec<Arc<Stream>> {
        let is_other = |other: &Arc<Context>| !Arc::ptr_eq(other, context);
        self.contexts.retain(|_, it| is_other(it));
        self.events.retain(|_, it| is_other(&it.context));
        self.modules.retain(|_, it| is_other(&it.context));
        self.functions.retain(|_, it| is_other(&it.context));
        self.streams.extract_if(|_, it| !is_other(&it.context)).map(|(_, stream)| stream).collect()
    }
}

fn usable<T>(found: Option<&Arc<T>>, context: impl Fn(&T) -> &Arc<Context>) -> Result<Arc<T>> {
    let object = found.ok_or(Error::INVALID_HANDLE)?;
    context(object).check()?;
    Ok(Arc::clone(object))
}

/// Gives out the calling thread's stack of contexts, by handle; the last is current.
///
/// # Errors
/// When the thread is ending and its stack is gone.
pub fn with_stack<T>(body: impl FnOnce(&mut Vec<u64>) -> T) -> Result<T> {
    thread_local! {
        static STACK: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
    }
    STACK.try_with(|stack| body(&mut stack.borrow_mut())).map_err(|_| Error::DEINITIALIZED)
}

impl Driver {
    /// Ends a context: its work is done first, then its memory is freed.
    pub fn end_context(&self, context: &Arc<Context>) {
        self.wait_for_all(Some(context.serial));
        // After a fault nothing can be freed.
        if self.settings.mode != Mode::Fast && context.check().is_ok() {
            self.say_leaks(context);
        }
        let streams = self.objects().remove_context(context);
        self.captures().forget_context(context.serial);
        self.wait_for_all(Some(context.serial));
        streams.iter().for_each(|stream| self.queue.close(stream.id));
        self.queue.close(context.legacy);
        let per_thread = std::mem::take(&mut *context.per_thread.lock().unwrap_or_else(PoisonError::into_inner));
        per_thread.into_values().for_each(|id| self.queue.close(id));
        self.memory().free_context(context.serial);
        let mut objects = self.objects();
        let memory = self.memory();
        objects.pools.retain(|address| memory.find(address, 1).is_some());
        drop((objects, memory));
        self.write_profile();
    }

    /// Says which memory the program did not free. Modules, graphs and registered memory are no leaks.
    fn say_leaks(&self, context: &Arc<Context>) {
        const N_TOLD: usize = 10;
        let objects = self.objects();
        let modules = objects.modules.values().filter(|it| Arc::ptr_eq(&it.context, context));
        let owned: HashSet<u64> = modules.flat_map(|it| it.allocations.iter().copied()).collect();
        let memory = self.memory();
        let graphs = self.graph_memory();
        let leaked: Vec<&Allocation> = memory
            .of_context(context.serial)
            .filter(|it| !owned.contains(&it.region.start) && !graphs.contains(&it.region.start))
            .collect();
        if leaked.is_empty() {
            return;
        }
        let bytes: u64 = leaked.iter().map(|it| it.bytes()).sum();
        let mut text =
            format!("leak: a context ended with {} allocation(s), {bytes} bytes, that were not freed", leaked.len());
        for it in leaked.iter().take(N_TOLD) {
            let kind = if it.is_host() { "host" } else { "device" };
            text += &format!(
                "\n  allocation #{}: {} bytes of {kind} memory at {:#x}",
                it.region.id,
                it.bytes(),
                it.region.start
            );
        }
        if leaked.len() > N_TOLD {
            text += &format!("\n  and {} more", leaked.len() - N_TOLD);
        }
        say!("{text}");
    }
}
