//! The nodes of a graph and the edges between them.

use super::model::{Graph, NodeId};
use crate::driver::{
    Handle, entry,
    error::{Error, Result},
    put,
    state::driver,
};
use std::{collections::BTreeSet, ffi::c_void};

/// `CUgraphEdgeData`: ports and type, all 0 for an edge that waits for the whole node. There are no others here.
pub type EdgeData = [u8; 8];

/// Writes values into an array with room for `*n`, and how many there are; with no array, only the latter.
///
/// # Safety
/// `n` is null or valid for reads and writes, `out` null or valid for writes of `*n` values.
unsafe fn put_list<T: Copy>(out: *mut T, n: *mut usize, values: &[T], nothing: T) -> Result {
    if n.is_null() {
        return Err(Error::INVALID_VALUE);
    }
    if out.is_null() {
        // SAFETY: not null, so valid, by the caller's promise.
        return unsafe { put(n, values.len()) };
    }
    // SAFETY: the caller's promise.
    unsafe {
        let room = *n;
        for i in 0..room {
            out.add(i).write(values.get(i).copied().unwrap_or(nothing));
        }
        put(n, room.min(values.len()))
    }
}

/// Writes nodes, and plain edges beside them.
///
/// # Safety
/// As [`put_list`]; `edges` is null or has as much room.
unsafe fn put_nodes(out: *mut NodeId, edges: *mut EdgeData, n: *mut usize, nodes: &[NodeId]) -> Result {
    if !edges.is_null() && !n.is_null() && !out.is_null() {
        // SAFETY: the caller's promise.
        unsafe { (0..*n).for_each(|i| edges.add(i).write([0; 8])) };
    }
    // SAFETY: the caller's promise.
    unsafe { put_list(out, n, nodes, NodeId::NULL) }
}

/// The nodes of a graph that `is_it` picks.
fn pick(graph: Handle, is_it: impl Fn(&Graph, usize) -> bool) -> Result<Vec<NodeId>> {
    let objects = driver()?.objects();
    let it = objects.graph(graph)?;
    Ok(it.nodes().map(|it| it.0).filter(|index| is_it(it, *index)).map(|it| NodeId::new(graph as u64, it)).collect())
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphGetNodes(graph: Handle, out: *mut NodeId, n: *mut usize) -> u32 {
    // SAFETY: the caller's promise.
    entry(|| unsafe { put_list(out, n, &pick(graph, |_, _| true)?, NodeId::NULL) })
}

/// The nodes that wait for no other.
///
/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphGetRootNodes(graph: Handle, out: *mut NodeId, n: *mut usize) -> u32 {
    let is_root = |graph: &Graph, index| graph.node(index).is_ok_and(|node| node.after.is_empty());
    // SAFETY: the caller's promise.
    entry(|| unsafe { put_list(out, n, &pick(graph, is_root)?, NodeId::NULL) })
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphGetEdges(graph: Handle, from: *mut NodeId, to: *mut NodeId, n: *mut usize) -> u32 {
    // SAFETY: the caller's promise.
    unsafe { cuGraphGetEdges_v2(graph, from, to, std::ptr::null_mut(), n) }
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphGetEdges_v2(
    graph: Handle,
    from: *mut NodeId,
    to: *mut NodeId,
    edges: *mut EdgeData,
    n: *mut usize,
) -> u32 {
    entry(|| {
        let ids: Vec<_> = driver()?.objects().graph(graph)?.edges();
        let id = |index: usize| NodeId::new(graph as u64, index);
        let (froms, tos): (Vec<_>, Vec<_>) = ids.into_iter().map(|(from, to)| (id(from), id(to))).unzip();
        if n.is_null() || from.is_null() != to.is_null() {
            return Err(Error::INVALID_VALUE);
        }
        // SAFETY: the caller's promise; the first call does not change how much room the second has.
        unsafe {
            let mut room = *n;
            put_nodes(from, edges, &mut room, &froms)?;
            put_list(to, n, &tos, NodeId::NULL)
        }
    })
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphNodeGetDependencies(node: NodeId, out: *mut NodeId, n: *mut usize) -> u32 {
    // SAFETY: the caller's promise.
    unsafe { cuGraphNodeGetDependencies_v2(node, out, std::ptr::null_mut(), n) }
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphNodeGetDependencies_v2(
    node: NodeId,
    out: *mut NodeId,
    edges: *mut EdgeData,
    n: *mut usize,
) -> u32 {
    entry(|| {
        let objects = driver()?.objects();
        let after = &objects.graph_of(node)?.node(node.index())?.after;
        let after: Vec<NodeId> = after.iter().map(|index| NodeId::new(node.graph(), *index)).collect();
        // SAFETY: the caller's promise.
        unsafe { put_nodes(out, edges, n, &after) }
    })
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphNodeGetDependentNodes(node: NodeId, out: *mut NodeId, n: *mut usize) -> u32 {
    // SAFETY: the caller's promise.
    unsafe { cuGraphNodeGetDependentNodes_v2(node, out, std::ptr::null_mut(), n) }
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphNodeGetDependentNodes_v2(
    node: NodeId,
    out: *mut NodeId,
    edges: *mut EdgeData,
    n: *mut usize,
) -> u32 {
    entry(|| {
        driver()?.objects().graph_of(node)?;
        let waits = |graph: &Graph, index| graph.node(index).is_ok_and(|it| it.after.contains(&node.index()));
        // SAFETY: the caller's promise.
        unsafe { put_nodes(out, edges, n, &pick(node.graph() as Handle, waits)?) }
    })
}

/// The nodes of an array, which all have to be in `graph`, by index.
///
/// # Safety
/// `nodes` is null or valid for reads of `n` of them.
pub(super) unsafe fn indices(graph: Handle, nodes: *const NodeId, n: usize) -> Result<Vec<usize>> {
    if n > 0 && nodes.is_null() {
        return Err(Error::INVALID_VALUE);
    }
    let objects = driver()?.objects();
    let it = objects.graph(graph)?;
    let index = |i| {
        // SAFETY: the caller promises `n` of them.
        let node = unsafe { *nodes.add(i) };
        let is_in = node.graph() == graph as u64 && it.node(node.index()).is_ok();
        if is_in { Ok(node.index()) } else { Err(Error::INVALID_VALUE) }
    };
    (0..n).map(index).collect()
}

/// # Errors
/// When the graph is none, of whose edges nothing is to be read then, or an edge is not a plain one.
///
/// # Safety
/// `edges` is null or valid for reads of `n` of them.
pub(super) unsafe fn check_plain(graph: Handle, edges: *const EdgeData, n: usize) -> Result {
    driver()?.objects().graph(graph)?;
    // SAFETY: the caller's promise.
    if unsafe { are_plain(edges, n) } { Ok(()) } else { Err(Error::NOT_SUPPORTED) }
}

/// # Safety
/// `edges` is null or valid for reads of `n` of them.
pub(super) unsafe fn are_plain(edges: *const EdgeData, n: usize) -> bool {
    // SAFETY: the caller promises `n` of them.
    edges.is_null() || (0..n).all(|i| unsafe { *edges.add(i) } == [0; 8])
}

/// Changes the edges between two arrays of nodes with `change`.
///
/// # Safety
/// `from` and `to` are null or valid for reads of `n` nodes.
unsafe fn change(
    graph: Handle,
    from: *const NodeId,
    to: *const NodeId,
    n: usize,
    change: impl Fn(&mut BTreeSet<usize>, usize) -> bool,
) -> Result {
    // SAFETY: the caller's promise.
    let (from, to) = unsafe { (indices(graph, from, n)?, indices(graph, to, n)?) };
    let mut objects = driver()?.objects();
    let it = objects.graph_mut(graph)?;
    let mut changed = it.clone();
    for (from, to) in from.into_iter().zip(to) {
        if from == to || !change(&mut changed.node_mut(to)?.after, from) {
            return Err(Error::INVALID_VALUE);
        }
    }
    // A cycle is refused before anything changes.
    changed.order()?;
    *it = changed;
    Ok(())
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphAddDependencies(
    graph: Handle,
    from: *const NodeId,
    to: *const NodeId,
    n: usize,
) -> u32 {
    // SAFETY: the caller's promise.
    entry(|| unsafe { change(graph, from, to, n, BTreeSet::insert) })
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphAddDependencies_v2(
    graph: Handle,
    from: *const NodeId,
    to: *const NodeId,
    edges: *const EdgeData,
    n: usize,
) -> u32 {
    entry(|| {
        // SAFETY: the caller's promise.
        unsafe {
            check_plain(graph, edges, n)?;
            change(graph, from, to, n, BTreeSet::insert)
        }
    })
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphRemoveDependencies(
    graph: Handle,
    from: *const NodeId,
    to: *const NodeId,
    n: usize,
) -> u32 {
    // SAFETY: the caller's promise.
    entry(|| unsafe { change(graph, from, to, n, |after, from| after.remove(&from)) })
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphRemoveDependencies_v2(
    graph: Handle,
    from: *const NodeId,
    to: *const NodeId,
    edges: *const EdgeData,
    n: usize,
) -> u32 {
    entry(|| {
        // SAFETY: the caller's promise.
        unsafe {
            check_plain(graph, edges, n)?;
            change(graph, from, to, n, |after, from| after.remove(&from))
        }
    })
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphDestroyNode(node: NodeId) -> u32 {
    entry(|| driver()?.objects().graph_mut(node.graph() as Handle)?.remove(node.index()))
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphNodeGetType(node: NodeId, kind: *mut u32) -> u32 {
    entry(|| {
        let code = driver()?.objects().graph_of(node)?.node(node.index())?.body.kind();
        // SAFETY: the caller's promise.
        unsafe { put(kind, code) }
    })
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphNodeGetContainingGraph(node: NodeId, graph: *mut Handle) -> u32 {
    entry(|| {
        driver()?.objects().graph_of(node)?;
        // SAFETY: the caller's promise.
        unsafe { put(graph, node.graph() as *mut c_void) }
    })
}
