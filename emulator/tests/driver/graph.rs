//! Graphs: what was captured happens at each launch, in order.

use crate::{capture::begin, common::*, kernel::*};
use cuda_emulator::driver::{
    Handle,
    copy::*,
    event::*,
    graph::{model::NodeId, params::KernelNodeParams, *},
    stream::*,
};
use std::{
    mem::MaybeUninit,
    ptr,
    sync::{Arc, Mutex},
};

/// `*at = *at * 3 + n`, for one thread: what it leaves tells how often and in which order it ran.
const STEP: &str = "
.visible .entry step(.param .u64 at, .param .u32 n) {
    .reg .b64 %rd1; .reg .b32 %r<3>;
    ld.param.u64 %rd1, [at];
    ld.param.u32 %r1, [n];
    ld.global.u32 %r2, [%rd1];
    mad.lo.u32 %r2, %r2, 3, %r1;
    st.global.u32 [%rd1], %r2;
    ret;
}";

#[track_caller]
fn end(stream: Handle) -> Handle {
    handle(|out| unsafe { cuStreamEndCapture(stream, out) })
}

#[track_caller]
fn instantiate(graph: Handle) -> Handle {
    handle(|out| unsafe { cuGraphInstantiateWithFlags(out, graph, 0) })
}

#[track_caller]
fn nodes(graph: Handle) -> Vec<NodeId> {
    let mut n = made(|out| unsafe { cuGraphGetNodes(graph, ptr::null_mut(), out) });
    let mut nodes = vec![NodeId::NULL; n + 1];
    n += 1;
    ok(unsafe { cuGraphGetNodes(graph, nodes.as_mut_ptr(), &mut n) });
    assert_eq!(nodes.pop(), Some(NodeId::NULL), "what is left over is null");
    assert_eq!(n, nodes.len());
    nodes
}

#[track_caller]
fn dependencies(node: NodeId) -> Vec<NodeId> {
    let mut nodes = vec![NodeId::NULL; 8];
    let mut n = nodes.len();
    ok(unsafe { cuGraphNodeGetDependencies(node, nodes.as_mut_ptr(), &mut n) });
    nodes.truncate(n);
    nodes
}

#[track_caller]
fn kind(node: NodeId) -> u32 {
    made(|out| unsafe { cuGraphNodeGetType(node, out) })
}

#[test]
fn a_graph_repeats_kernels_memsets_copies_and_calls() {
    let _context = Context::new();
    let (stream, word, copy) = (non_blocking_stream(), upload(&[0]), device_memory(4));
    let (pinned, log) = (PinnedWord::new(0), Arc::new(Mutex::new(Vec::<u32>::new())));
    let step = Kernel::new(STEP, "step");
    begin(stream);
    ok(unsafe { cuMemsetD32Async(word, 5, 1, stream) });
    // The parameters are taken at capture: `launch` drops them when it returns.
    for n in 1..=3 {
        ok(step.launch([1; 3], [1; 3], 0, stream, &[word, n]));
    }
    ok(unsafe { cuMemcpyDtoDAsync_v2(copy, word, 4, stream) });
    ok(unsafe { cuMemcpyDtoHAsync_v2(pinned.0.cast(), copy, 4, stream) });
    let seen = Arc::into_raw(Arc::clone(&log));
    unsafe extern "C" fn note(log: *mut std::ffi::c_void) {
        let log = unsafe { &*log.cast::<Mutex<Vec<u32>>>() };
        let mut log = log.lock().unwrap();
        let n = log.len() as u32;
        log.push(n);
    }
    ok(unsafe { cuLaunchHostFunc(stream, Some(note), seen.cast_mut().cast()) });
    let graph = end(stream);
    ok(unsafe { cuStreamSynchronize(stream) });
    assert_eq!((read(word, stream), pinned.get()), (0, 0), "a capture does not run");

    assert_eq!(nodes(graph).into_iter().map(kind).collect::<Vec<_>>(), [2, 0, 0, 0, 1, 1, 3]);
    let exec = instantiate(graph);
    ok(unsafe { cuGraphDestroy(graph) });
    ok(unsafe { cuGraphUpload(exec, stream) });
    let expected = ((5 * 3 + 1) * 3 + 2) * 3 + 3;
    for round in 0..3 {
        ok(unsafe { cuMemsetD32Async(word, 1000 + round, 1, stream) });
        ok(unsafe { cuGraphLaunch(exec, stream) });
    }
    // Launches that are queued outlive the executable graph.
    ok(unsafe { cuGraphExecDestroy(exec) });
    ok(unsafe { cuStreamSynchronize(stream) });
    assert_eq!((pinned.get(), read(copy, stream)), (expected, expected));
    assert_eq!(*log.lock().unwrap(), [0, 1, 2]);
    drop(unsafe { Arc::from_raw(seen) });
}

#[test]
fn pageable_memory_is_used_by_address_at_each_launch() {
    let _context = Context::new();
    let (stream, word) = (non_blocking_stream(), device_memory(4));
    let mut host = Box::new([1u32, 0]);
    let at = host.as_mut_ptr();
    begin(stream);
    ok(unsafe { cuMemcpyHtoDAsync_v2(word, at.cast(), 4, stream) });
    ok(unsafe { cuMemcpyDtoHAsync_v2(at.add(1).cast(), word, 4, stream) });
    let exec = instantiate(end(stream));
    for value in [7, 8] {
        unsafe { at.write_volatile(value) };
        ok(unsafe { cuGraphLaunch(exec, stream) });
        ok(unsafe { cuStreamSynchronize(stream) });
        assert_eq!(unsafe { at.add(1).read_volatile() }, value);
    }
}

/// A fault in a graph ends the launch, and the context is as lost as by any other.
#[test]
fn a_fault_in_a_graph_stops_it() {
    let _context = Context::new();
    let _faults = faults();
    let (stream, pinned) = (non_blocking_stream(), PinnedWord::new(1));
    let step = Kernel::new(STEP, "step");
    begin(stream);
    ok(step.launch([1; 3], [1; 3], 0, stream, &[0, 1]));
    ok(unsafe { cuMemsetD32Async(pinned.0 as u64, 2, 1, stream) });
    let exec = instantiate(end(stream));
    ok(unsafe { cuGraphLaunch(exec, stream) });
    assert_eq!(unsafe { cuStreamSynchronize(stream) }, ILLEGAL_ADDRESS);
    assert_eq!(pinned.get(), 1);
    assert_eq!(unsafe { cuGraphLaunch(exec, stream) }, ILLEGAL_ADDRESS);
}

#[test]
fn forks_and_joins_are_dependencies() {
    let _context = Context::new();
    let [origin, fork] = [(); 2].map(|()| non_blocking_stream());
    let (forked, joined) = (event(), event());
    let [a, b, c, d] = [(); 4].map(|()| device_memory(4));
    begin(origin);
    ok(unsafe { cuMemsetD32Async(a, 1, 1, origin) });
    ok(unsafe { cuEventRecord(forked, origin) });
    ok(unsafe { cuStreamWaitEvent(fork, forked, 0) });
    ok(unsafe { cuMemcpyDtoDAsync_v2(b, a, 4, origin) });
    ok(unsafe { cuMemcpyDtoDAsync_v2(c, a, 4, fork) });
    ok(unsafe { cuEventRecord(joined, fork) });
    ok(unsafe { cuStreamWaitEvent(origin, joined, 0) });
    ok(unsafe { cuStreamWaitEvent(origin, joined, 0) });
    let (mut status, mut id, mut graph, mut after, mut n) = (0, 0, NULL, ptr::null(), 0);
    ok(unsafe { cuStreamGetCaptureInfo_v2(origin, &mut status, &mut id, &mut graph, &mut after, &mut n) });
    assert_eq!((status, n, id != 0, graph != NULL), (1, 2, true, true));
    let waits_for = unsafe { std::slice::from_raw_parts(after, n) }.to_vec();
    let (mut status, mut edges) = (0, ptr::dangling());
    let ask = |stream, status, edges| unsafe {
        let (id, graph, after, n) = (ptr::null_mut(), ptr::null_mut(), ptr::null_mut(), ptr::null_mut());
        cuStreamGetCaptureInfo_v3(stream, status, id, graph, after, edges, n)
    };
    ok(ask(fork, &mut status, &mut edges));
    assert_eq!((status, edges.is_null()), (1, true));
    ok(unsafe { cuMemcpyDtoDAsync_v2(d, c, 4, origin) });
    assert_eq!(end(origin), graph, "known since the beginning");

    let all = nodes(graph);
    let [set, to_b, to_c, to_d] = all[..] else { panic!("{all:?}") };
    assert_eq!([set, to_b, to_c].map(dependencies), [vec![], vec![set], vec![set]]);
    assert_eq!((dependencies(to_d), waits_for), (vec![to_b, to_c], vec![to_b, to_c]));
    let mut root = [NodeId::NULL];
    ok(unsafe { cuGraphGetRootNodes(graph, root.as_mut_ptr(), &mut 1) });
    assert_eq!(root, [set]);
    let exec = instantiate(graph);
    ok(unsafe { cuGraphLaunch(exec, fork) });
    assert_eq!([b, c, d].map(|word| read(word, fork)), [1; 3]);
}

/// A waiter of the second stream runs only what that needs: the first launch, and the memset before it.
#[test]
fn launches_of_a_graph_come_one_after_the_other() {
    let _context = Context::new();
    let [a, b] = [(); 2].map(|()| non_blocking_stream());
    let word = upload(&[0]);
    let step = Kernel::new(STEP, "step");
    begin(a);
    ok(step.launch([1; 3], [1; 3], 0, a, &[word, 1]));
    let exec = instantiate(end(a));
    for _ in 0..20 {
        ok(unsafe { cuMemsetD32Async(word, 10, 1, a) });
        ok(unsafe { cuGraphLaunch(exec, a) });
        ok(unsafe { cuGraphLaunch(exec, b) });
        assert_eq!(read(word, b), (10 * 3 + 1) * 3 + 1);
    }
}

#[test]
fn a_graph_is_a_node_of_another() {
    let _context = Context::new();
    let (stream, word) = (non_blocking_stream(), upload(&[0]));
    let step = Kernel::new(STEP, "step");
    begin(stream);
    ok(step.launch([1; 3], [1; 3], 0, stream, &[word, 1]));
    let inner = instantiate(end(stream));
    begin(stream);
    ok(unsafe { cuGraphLaunch(inner, stream) });
    ok(unsafe { cuGraphLaunch(inner, stream) });
    let graph = end(stream);
    ok(unsafe { cuGraphExecDestroy(inner) });
    assert_eq!(nodes(graph).into_iter().map(kind).collect::<Vec<_>>(), [4, 4]);
    ok(unsafe { cuGraphLaunch(instantiate(graph), stream) });
    assert_eq!(read(word, stream), 4);
}

#[test]
fn a_kernel_node_tells_its_parameters() {
    let _context = Context::new();
    let (stream, word) = (non_blocking_stream(), device_memory(4));
    let step = Kernel::new(STEP, "step");
    begin(stream);
    ok(step.launch([1, 2, 3], [4, 5, 6], 7, stream, &[word, 8]));
    ok(unsafe { cuMemsetD8Async(word, 0, 4, stream) });
    let graph = end(stream);
    let [kernel, memset] = nodes(graph)[..] else { panic!("two nodes") };
    let mut params = MaybeUninit::<KernelNodeParams>::uninit();
    ok(unsafe { cuGraphKernelNodeGetParams_v2(kernel, params.as_mut_ptr()) });
    let params = unsafe { params.assume_init() };
    assert_eq!((params.function, params.grid, params.block), (step.function, [1, 2, 3], [4, 5, 6]));
    assert_eq!(params.shared_bytes, 7);
    let (at, n) = unsafe { (*(*params.params).cast::<u64>(), *(*params.params.add(1)).cast::<u32>()) };
    assert_eq!((at, n), (word, 8));
    assert_eq!(unsafe { cuGraphKernelNodeGetParams_v2(memset, MaybeUninit::uninit().as_mut_ptr()) }, INVALID_VALUE);
    assert_eq!(unsafe { cuGraphKernelNodeGetParams_v2(kernel, ptr::null_mut()) }, INVALID_VALUE);
}

#[test]
fn wrong_graphs_and_flags_are_errors() {
    let _context = Context::new();
    let stream = non_blocking_stream();
    let graph = handle(|out| unsafe { cuGraphCreate(out, 0) });
    let mut out = NULL;
    unsafe {
        assert_eq!(cuGraphCreate(&mut out, 1), INVALID_VALUE);
        assert_eq!(cuGraphCreate(ptr::null_mut(), 0), INVALID_VALUE);
        // Launches from device code, alone and together with what excludes them; an upload without a stream.
        for (flags, code) in [(4, NOT_SUPPORTED), (5, INVALID_VALUE), (2, INVALID_VALUE), (16, INVALID_VALUE)] {
            assert_eq!(cuGraphInstantiateWithFlags(&mut out, graph, flags), code);
        }
        let (mut node, mut log) = (NodeId::new(1, 1), [1]);
        ok(cuGraphInstantiate_v2(&mut out, graph, &mut node, log.as_mut_ptr(), 1));
        assert_eq!((node, log), (NodeId::NULL, [0]));
        ok(cuGraphLaunch(out, stream));
        ok(cuGraphExecDestroy(out));
        ok(cuGraphInstantiateWithFlags(&mut out, graph, 9));
        assert_eq!(made::<u64>(|flags| cuGraphExecGetFlags(out, flags)), 9);
        ok(cuGraphDestroy(graph));
        for bad in BAD_HANDLES.into_iter().chain([NULL, graph]) {
            assert_eq!(cuGraphDestroy(bad), INVALID_VALUE);
            assert_eq!(cuGraphExecDestroy(bad), INVALID_VALUE);
            assert_eq!(cuGraphLaunch(bad, stream), INVALID_VALUE);
            assert_eq!(cuGraphUpload(bad, stream), INVALID_VALUE);
            assert_eq!(cuGraphInstantiateWithFlags(&mut out, bad, 0), INVALID_VALUE);
            assert_eq!(cuGraphGetNodes(bad, ptr::null_mut(), &mut 0), INVALID_VALUE);
        }
        assert_eq!(cuGraphNodeGetType(NodeId::NULL, &mut 0), INVALID_VALUE);
        assert_eq!(cuGraphNodeGetType(NodeId::new(graph as u64, 0), &mut 0), INVALID_VALUE);
    }
}
