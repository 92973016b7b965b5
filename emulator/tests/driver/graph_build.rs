//! Graphs that are built by hand, changed, copied and updated.

use crate::{common::*, kernel::*};
use cuda_emulator::driver::{
    Handle,
    copy_pitched::{Copy3D, End3D},
    event::*,
    graph::{
        model::NodeId,
        params::{HostNodeParams, KernelNodeParams, MemAllocNodeParams, MemsetNodeParams},
        *,
    },
    memory::*,
    stream::*,
};
use std::{
    env,
    ffi::{CString, c_void},
    fs,
    mem::MaybeUninit,
    process, ptr,
    sync::atomic::{AtomicU32, Ordering::SeqCst},
};

/// `*at = *at * 3 + n`.
const STEP: &str = ".visible .entry step(.param .u64 at, .param .u32 n) {
    .reg .b64 %rd1; .reg .b32 %r<3>;
    ld.param.u64 %rd1, [at];
    ld.param.u32 %r1, [n];
    ld.global.u32 %r2, [%rd1];
    mad.lo.u32 %r2, %r2, 3, %r1;
    st.global.u32 [%rd1], %r2;
    ret;
}";

fn zeroed<T>() -> T {
    unsafe { MaybeUninit::zeroed().assume_init() }
}

fn graph() -> Handle {
    handle(|out| unsafe { cuGraphCreate(out, 0) })
}

#[track_caller]
fn node(make: impl FnOnce(*mut NodeId) -> u32) -> NodeId {
    let mut node = NodeId::NULL;
    ok(make(&mut node));
    node
}

fn memset(to: u64, value: u32) -> MemsetNodeParams {
    MemsetNodeParams { to, pitch: 0, value, element_bytes: 4, width: 1, height: 1 }
}

#[track_caller]
fn add_memset(graph: Handle, after: &[NodeId], to: u64, value: u32) -> NodeId {
    let (params, n) = (memset(to, value), after.len());
    node(|out| unsafe { cuGraphAddMemsetNode(out, graph, after.as_ptr(), n, &params, NULL) })
}

/// Calls `take` with the parameters of `step(at, n)`.
fn with_step<T>(kernel: Kernel, at: u64, n: u32, take: impl FnOnce(&KernelNodeParams) -> T) -> T {
    let pointers = [(&raw const at).cast::<c_void>(), (&raw const n).cast()];
    let (function, params) = (kernel.function, pointers.as_ptr());
    take(&KernelNodeParams { function, grid: [1; 3], block: [1; 3], params, ..zeroed() })
}

#[track_caller]
fn add_step(graph: Handle, after: &[NodeId], kernel: Kernel, at: u64, n: u32) -> NodeId {
    with_step(kernel, at, n, |params| {
        node(|out| unsafe { cuGraphAddKernelNode_v2(out, graph, after.as_ptr(), after.len(), params) })
    })
}

#[track_caller]
fn instantiate(graph: Handle) -> Handle {
    handle(|out| unsafe { cuGraphInstantiateWithFlags(out, graph, 0) })
}

#[track_caller]
fn launch(exec: Handle) {
    ok(unsafe { cuGraphLaunch(exec, NULL) });
    ok(unsafe { cuStreamSynchronize(NULL) });
}

static CALLS: AtomicU32 = AtomicU32::new(0);

unsafe extern "C" fn count(_: *mut c_void) {
    CALLS.fetch_add(1, SeqCst);
}

#[test]
fn all_kinds_of_nodes_run_in_the_order_of_their_edges() {
    let _context = Context::new();
    let (step, word, copy) = (Kernel::new(STEP, "step"), upload(&[0]), upload(&[0]));
    let (graph, event) = (graph(), event());
    // Added against their order; the edges come after.
    let last = node(|out| {
        let ends = |device| End3D { memory_type: 2, device, ..zeroed::<End3D>() };
        let params = Copy3D { from: ends(word), to: ends(copy), width_bytes: 4, height: 1, depth: 1 };
        unsafe { cuGraphAddMemcpyNode(out, graph, ptr::null(), 0, &params, NULL) }
    });
    let second = add_step(graph, &[], step, word, 2);
    let first = add_step(graph, &[], step, word, 1);
    let start = add_memset(graph, &[], word, 5);
    let empty = node(|out| unsafe { cuGraphAddEmptyNode(out, graph, [second].as_ptr(), 1) });
    let host = HostNodeParams { function: Some(count), argument: ptr::null_mut() };
    node(|out| unsafe { cuGraphAddHostNode(out, graph, [last].as_ptr(), 1, &host) });
    node(|out| unsafe { cuGraphAddEventRecordNode(out, graph, [last].as_ptr(), 1, event) });
    let (from, to) = ([start, first, empty], [first, second, last]);
    ok(unsafe { cuGraphAddDependencies(graph, from.as_ptr(), to.as_ptr(), 3) });
    assert_eq!(
        unsafe { cuGraphAddDependencies(graph, [last].as_ptr(), [start].as_ptr(), 1) },
        INVALID_VALUE,
        "a cycle"
    );
    assert_eq!(unsafe { cuGraphAddDependencies(graph, from.as_ptr(), to.as_ptr(), 1) }, INVALID_VALUE, "twice");
    assert_eq!(made::<usize>(|n| unsafe { cuGraphGetEdges(graph, ptr::null_mut(), ptr::null_mut(), n) }), 6);
    assert_eq!(made::<usize>(|n| unsafe { cuGraphNodeGetDependentNodes(last, ptr::null_mut(), n) }), 2);

    let before = CALLS.load(SeqCst);
    let exec = instantiate(graph);
    ok(unsafe { cuGraphLaunch(exec, NULL) });
    ok(unsafe { cuEventSynchronize(event) });
    assert_eq!(read(copy, NULL), (5 * 3 + 1) * 3 + 2);
    assert_eq!(CALLS.load(SeqCst), before + 1);

    // As a child of another graph.
    let parent = self::graph();
    let child = node(|out| unsafe { cuGraphAddChildGraphNode(out, parent, ptr::null(), 0, graph) });
    assert_eq!(made::<u32>(|out| unsafe { cuGraphNodeGetType(child, out) }), 4);
    launch(instantiate(parent));
    assert_eq!(CALLS.load(SeqCst), before + 2);
    ok(unsafe { cuGraphDestroyNode(start) });
    assert_eq!(unsafe { cuGraphNodeGetType(start, &mut 0) }, INVALID_VALUE);
    ok(unsafe { cuGraphDestroy(graph) });
}

#[test]
fn nodes_and_executable_nodes_change_apart() {
    let _context = Context::new();
    let (step, word) = (Kernel::new(STEP, "step"), upload(&[0]));
    let graph = graph();
    let start = add_memset(graph, &[], word, 1);
    let kernel = add_step(graph, &[start], step, word, 0);
    let exec = instantiate(graph);
    ok(unsafe { cuGraphExecMemsetNodeSetParams(exec, start, &memset(word, 2), NULL) });
    with_step(step, word, 7, |params| ok(unsafe { cuGraphExecKernelNodeSetParams_v2(exec, kernel, params) }));
    launch(exec);
    assert_eq!(read(word, NULL), 2 * 3 + 7);
    // The graph kept what it had.
    let params = made_params(start);
    assert_eq!(params, memset(word, 1));
    ok(unsafe { cuGraphMemsetNodeSetParams(start, &memset(word, 10)) });
    launch(instantiate(graph));
    assert_eq!(read(word, NULL), 30);
    assert_eq!(unsafe { cuGraphMemsetNodeSetParams(kernel, &memset(word, 10)) }, INVALID_VALUE, "another kind");
    ok(unsafe { cuGraphNodeSetEnabled(exec, kernel, 0) });
    launch(exec);
    assert_eq!(read(word, NULL), 2);
    assert_eq!(made::<u32>(|out| unsafe { cuGraphNodeGetEnabled(exec, kernel, out) }), 0);
}

#[track_caller]
fn made_params(node: NodeId) -> MemsetNodeParams {
    let mut params = zeroed();
    ok(unsafe { cuGraphMemsetNodeGetParams(node, &mut params) });
    params
}

#[test]
fn an_update_takes_the_work_of_a_graph_of_the_same_shape() {
    const UPDATE_FAILURE: u32 = 910;
    let _context = Context::new();
    let (step, word) = (Kernel::new(STEP, "step"), upload(&[0]));
    let build = |value, n| {
        let graph = graph();
        let start = add_memset(graph, &[], word, value);
        add_step(graph, &[start], step, word, n);
        graph
    };
    let exec = instantiate(build(1, 1));
    let mut info: UpdateResult = zeroed();
    ok(unsafe { cuGraphExecUpdate_v2(exec, build(2, 2), &mut info) });
    launch(exec);
    assert_eq!((info.result, read(word, NULL)), (0, 8));
    let longer = build(3, 3);
    add_memset(longer, &[], word, 1);
    assert_eq!(unsafe { cuGraphExecUpdate_v2(exec, longer, &mut info) }, UPDATE_FAILURE);
    assert_eq!(info.result, 2, "the topology changed");
    let other = graph();
    let first = add_memset(other, &[], word, 1);
    let second = add_memset(other, &[first], word, 1);
    assert_eq!(unsafe { cuGraphExecUpdate_v2(exec, other, &mut info) }, UPDATE_FAILURE);
    assert_eq!((info.result, info.error_node), (3, second), "the type of a node changed");
    launch(exec);
    assert_eq!(read(word, NULL), 8);
}

#[test]
fn a_clone_is_a_graph_of_its_own_and_prints() {
    let _context = Context::new();
    let (step, word) = (Kernel::new(STEP, "step"), upload(&[0]));
    let graph = graph();
    let start = add_memset(graph, &[], word, 1);
    add_step(graph, &[start], step, word, 5);
    let clone = handle(|out| unsafe { cuGraphClone(out, graph) });
    let twin = node(|out| unsafe { cuGraphNodeFindInClone(out, start, clone) });
    ok(unsafe { cuGraphMemsetNodeSetParams(twin, &memset(word, 100)) });
    ok(unsafe { cuGraphDestroy(graph) });
    let mut params: InstantiateParams =
        InstantiateParams { flags: 1, upload_stream: NULL, error_node: twin, result: 9 };
    launch(handle(|out| unsafe { cuGraphInstantiateWithParams(out, clone, &mut params) }));
    assert_eq!((read(word, NULL), params.result), (305, 0));
    let file = env::temp_dir().join(format!("cuda-emulator-graph-{}.dot", process::id()));
    let name = CString::new(file.to_str().unwrap()).unwrap();
    ok(unsafe { cuGraphDebugDotPrint(clone, name.as_ptr(), 0) });
    let text = fs::read_to_string(&file).unwrap();
    fs::remove_file(&file).unwrap();
    assert!(text.contains("n1 [label=\"step [1, 1, 1] [1, 1, 1]\"]") && text.contains("n0 -> n1;"), "{text}");
}

#[test]
fn the_memory_of_a_graph_lives_with_it() {
    let _context = Context::new();
    let graph = graph();
    let mut params: MemAllocNodeParams = zeroed();
    params.bytes = 64;
    let alloc = node(|out| unsafe { cuGraphAddMemAllocNode(out, graph, ptr::null(), 0, &mut params) });
    let address = params.address;
    let fill = add_memset(graph, &[alloc], address, 3);
    node(|out| unsafe { cuGraphAddMemFreeNode(out, graph, [fill].as_ptr(), 1, address) });
    let exec = instantiate(graph);
    ok(unsafe { cuGraphDestroy(graph) });
    launch(exec);
    assert_eq!(read(address, NULL), 3);
    ok(unsafe { cuMemFreeAsync(address, NULL) });
    ok(unsafe { cuGraphExecDestroy(exec) });
    ok(unsafe { cuStreamSynchronize(NULL) });
}

#[test]
fn a_capture_allocates_for_its_graph() {
    use crate::capture::begin;
    use cuda_emulator::driver::copy::*;
    let _context = Context::new();
    let (stream, word) = (non_blocking_stream(), PinnedWord::new(0));
    begin(stream);
    let address = made(|out| unsafe { cuMemAllocAsync(out, 4, stream) });
    ok(unsafe { cuMemsetD32Async(address, 9, 1, stream) });
    ok(unsafe { cuMemcpyDtoHAsync_v2(word.0.cast(), address, 4, stream) });
    ok(unsafe { cuMemFreeAsync(address, stream) });
    let graph = handle(|out| unsafe { cuStreamEndCapture(stream, out) });
    let exec = instantiate(graph);
    for _ in 0..2 {
        unsafe { word.0.write_volatile(0) };
        launch(exec);
        assert_eq!(word.get(), 9);
    }
}
