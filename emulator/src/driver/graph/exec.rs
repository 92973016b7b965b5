//! Executable graphs: changing one, and launching it.

use super::{
    model::{Body, Graph, NodeId, Role},
    nodes::{NodeParams, read, wanted},
    params::{HostNodeParams, KernelNodeParams, KernelNodeParamsV1, MemsetNodeParams, Wanted},
};
use crate::driver::{
    Handle,
    copy_pitched::Copy3D,
    entry,
    error::{Error, Result},
    objects::{Event, Recorded},
    put, put_if_wanted,
    queue::Ticket,
    state::driver,
    work::Work,
};
use std::{
    ffi::{c_uint, c_ulonglong},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// A graph that can be launched.
#[derive(Debug)]
pub struct GraphExec {
    /// The handle of the graph it was made of, by whose nodes its own are named.
    source: u64,
    pub flags: u64,
    /// Taken before the locks of captures and queue.
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    graph: Graph,
    is_disabled: Vec<bool>,
    /// What a launch does: `graph` in order, without what is disabled.
    bodies: Arc<[Arc<Body>]>,
    last: Option<Ticket>,
}

impl GraphExec {
    pub fn new(source: u64, graph: &Graph, flags: u64) -> Result<Self> {
        let (graph, bodies) = (graph.clone(), graph.bodies()?);
        let is_disabled = vec![false; graph.nodes().last().map_or(0, |it| it.0 + 1)];
        Ok(Self { source, flags, state: Mutex::new(State { graph, is_disabled, bodies, last: None }) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// # Errors
    /// When the node is not of the graph that this was made of.
    fn index(&self, node: NodeId) -> Result<usize> {
        if node.graph() == self.source { Ok(node.index()) } else { Err(Error::INVALID_VALUE) }
    }
}

impl State {
    fn update(&mut self) -> Result {
        let order = self.graph.order()?.into_iter().filter(|index| !self.is_disabled[*index]);
        self.bodies =
            order.map(|index| self.graph.node(index).map(|it| Arc::clone(&it.body))).collect::<Result<_>>()?;
        Ok(())
    }

    fn events(&self, role: Role) -> Vec<Arc<Event>> {
        let mut events = Vec::new();
        self.bodies.iter().for_each(|body| body.events(role, &mut |event| events.push(Arc::clone(event))));
        events
    }
}

/// Puts other work of the same kind into a node, for later launches.
///
/// # Safety
/// As CUDA's, for what is wanted.
unsafe fn set(exec: Handle, node: NodeId, wanted: Result<Wanted>) -> Result {
    let driver = driver()?;
    let exec = driver.objects().graph_exec(exec)?;
    let index = exec.index(node)?;
    exec.state().graph.node(index)?;
    // SAFETY: the caller's promise.
    let body = Body::new(unsafe { wanted?.work(driver) }?);
    let mut state = exec.state();
    let it = state.graph.node_mut(index)?;
    if it.body.kind() != body.kind() {
        return Err(Error::INVALID_VALUE);
    }
    it.body = body;
    state.update()
}

macro_rules! setters {
    ($($name:ident ($param:ident: $ty:ty $(, $more:ident: $more_ty:ty)?) $wanted:expr;)*) => {$(
        /// `CUDA_ERROR_INVALID_VALUE` when the node is of another type.
        ///
        /// # Safety
        /// As CUDA's.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(exec: Handle, node: NodeId, $param: $ty $(, $more: $more_ty)?) -> u32 {
            // SAFETY: the caller's promise.
            entry(|| unsafe { set(exec, node, $wanted) })
        }
    )*};
}

setters! {
    cuGraphExecKernelNodeSetParams(params: *const KernelNodeParamsV1) read(params).map(|it| Wanted::Kernel(it.into()));
    cuGraphExecKernelNodeSetParams_v2(params: *const KernelNodeParams) read(params).map(Wanted::Kernel);
    cuGraphExecMemcpyNodeSetParams(params: *const Copy3D, _context: Handle) read(params).map(Wanted::Copy);
    cuGraphExecMemsetNodeSetParams(params: *const MemsetNodeParams, _context: Handle) read(params).map(Wanted::Fill);
    cuGraphExecHostNodeSetParams(params: *const HostNodeParams) read(params).map(Wanted::Host);
    cuGraphExecChildGraphNodeSetParams(child: Handle) Ok(Wanted::Graph(child));
    cuGraphExecEventRecordNodeSetEvent(event: Handle) Ok(Wanted::Record(event));
    cuGraphExecEventWaitNodeSetEvent(event: Handle) Ok(Wanted::WaitFor(event));
    cuGraphExecNodeSetParams(params: *const NodeParams) wanted(params);
}

/// Of kernels, copies and memsets: a disabled one is left out of later launches.
///
/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphNodeSetEnabled(exec: Handle, node: NodeId, is_enabled: c_uint) -> u32 {
    const LAST_KIND: u32 = 2;
    entry(|| {
        let exec = driver()?.objects().graph_exec(exec)?;
        let index = exec.index(node)?;
        let mut state = exec.state();
        if state.graph.node(index)?.body.kind() > LAST_KIND {
            return Err(Error::INVALID_VALUE);
        }
        state.is_disabled[index] = is_enabled == 0;
        state.update()
    })
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphNodeGetEnabled(exec: Handle, node: NodeId, is_enabled: *mut c_uint) -> u32 {
    entry(|| {
        let exec = driver()?.objects().graph_exec(exec)?;
        let index = exec.index(node)?;
        let state = exec.state();
        state.graph.node(index)?;
        // SAFETY: the caller's promise.
        unsafe { put(is_enabled, c_uint::from(!state.is_disabled[index])) }
    })
}

/// `CUgraphExecUpdateResultInfo`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct UpdateResult {
    pub result: c_uint,
    /// The node of the new graph that does not fit.
    pub error_node: NodeId,
    pub error_from_node: NodeId,
}

/// `CUgraphExecUpdateResult`.
const SUCCESS: c_uint = 0;
const TOPOLOGY_CHANGED: c_uint = 2;
const NODE_TYPE_CHANGED: c_uint = 3;

/// Compares the shapes of two graphs, whose nodes correspond in the order they were added.
fn compare(old: &Graph, new: &Graph) -> std::result::Result<(), (c_uint, Option<usize>)> {
    let places = |graph: &Graph| -> Vec<usize> { graph.nodes().map(|it| it.0).collect() };
    let (olds, news) = (places(old), places(new));
    if olds.len() != news.len() {
        return Err((TOPOLOGY_CHANGED, None));
    }
    for ((_, a), (index, b)) in old.nodes().zip(new.nodes()) {
        let rank = |places: &[usize], after: &std::collections::BTreeSet<usize>| -> Vec<usize> {
            after.iter().map(|it| places.partition_point(|place| place < it)).collect()
        };
        if rank(&olds, &a.after) != rank(&news, &b.after) {
            return Err((TOPOLOGY_CHANGED, Some(index)));
        }
        if a.body.kind() != b.body.kind() {
            return Err((NODE_TYPE_CHANGED, Some(index)));
        }
    }
    Ok(())
}

/// Gives an executable graph the work of another graph of the same shape.
///
/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphExecUpdate_v2(exec: Handle, graph: Handle, info: *mut UpdateResult) -> u32 {
    entry(|| {
        let objects = driver()?.objects();
        let exec = objects.graph_exec(exec)?;
        let new = objects.graph(graph)?;
        let mut state = exec.state();
        let verdict = compare(&state.graph, new);
        let (result, index) = verdict.err().unwrap_or((SUCCESS, None));
        let error_node = index.map_or(NodeId::NULL, |index| NodeId::new(graph as u64, index));
        // SAFETY: the caller's promise.
        unsafe { put(info, UpdateResult { result, error_node, error_from_node: NodeId::NULL }) }?;
        if result != SUCCESS {
            return Err(Error::GRAPH_EXEC_UPDATE_FAILURE);
        }
        let places: Vec<usize> = state.graph.nodes().map(|it| it.0).collect();
        for (place, (_, node)) in places.into_iter().zip(new.nodes()) {
            state.graph.node_mut(place)?.body = Arc::clone(&node.body);
        }
        state.update()
    })
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphExecUpdate(
    exec: Handle,
    graph: Handle,
    error_node: *mut NodeId,
    result: *mut c_uint,
) -> u32 {
    let mut info = UpdateResult { result: 1, error_node: NodeId::NULL, error_from_node: NodeId::NULL };
    // SAFETY: the struct is ours, and the caller's promise.
    unsafe {
        let code = cuGraphExecUpdate_v2(exec, graph, &mut info);
        put_if_wanted(error_node, info.error_node);
        put_if_wanted(result, info.result);
        code
    }
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphExecGetFlags(exec: Handle, flags: *mut c_ulonglong) -> u32 {
    // SAFETY: the caller's promise.
    entry(|| unsafe { put(flags, driver()?.objects().graph_exec(exec)?.flags) })
}

/// Launches that are queued will still be done.
///
/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphExecDestroy(exec: Handle) -> u32 {
    entry(|| driver()?.objects().graph_execs.remove(&(exec as u64)).map(drop).ok_or(Error::INVALID_VALUE))
}

/// There is nothing to upload.
///
/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphUpload(exec: Handle, stream: Handle) -> u32 {
    entry(|| {
        let driver = driver()?;
        let stream = driver.stream(stream)?;
        driver.objects().graph_exec(exec)?;
        driver.captures().refuse(&stream, Error::STREAM_CAPTURE_UNSUPPORTED)
    })
}

/// Behind earlier work of the stream, behind the last launch of the same graph in whatever stream, and behind the events
/// that nodes wait for. A stream that is captured takes the graph as one node.
///
/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphLaunch(exec: Handle, stream: Handle) -> u32 {
    entry(|| {
        let driver = driver()?;
        let stream = driver.stream(stream)?;
        let exec = driver.objects().graph_exec(exec)?;
        // Held until the ticket is there, so that two threads do not both wait for the same launch.
        let mut state = exec.state();
        let mut after: Vec<Ticket> = state.last.into_iter().collect();
        for event in state.events(Role::WaitedFor) {
            if let Recorded::Queued(ticket) = event.record().last {
                after.push(ticket);
            }
        }
        let recorded = state.events(Role::Recorded);
        recorded.iter().for_each(|event| event.record().time = None);
        let Some(ticket) = driver.submit(&stream, &after, Work::Graph(Arc::clone(&state.bodies)))? else {
            return Ok(());
        };
        state.last = Some(ticket);
        for event in recorded {
            let mut record = event.record();
            (record.generation, record.last) = (record.generation + 1, Recorded::Queued(ticket));
        }
        Ok(())
    })
}
