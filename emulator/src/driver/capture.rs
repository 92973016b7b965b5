//! Stream capture: work given to a stream becomes the nodes of a graph instead of being queued.
//!
//! A capture begins in one stream, its origin. Another stream joins it by waiting for an event that was recorded in it (a
//! fork), and has to come back by an event that the origin waits for. Each stream keeps the nodes that its next node has
//! to wait for. What cannot be captured breaks the capture: until it is ended, its streams refuse everything.

use super::{
    error::{Error, Result},
    graph::model::{Body, Graph, NodeId},
    objects::{Recorded, Stream},
    queue::{StreamId, Ticket},
    state::Driver,
    work::Work,
};
use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
    thread::{self, ThreadId},
};

/// `CUstreamCaptureMode`: who may not make calls that a capture does not see, such as allocating, while it is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Any thread.
    Global,
    /// The thread that began it.
    ThreadLocal,
    /// Nobody.
    Relaxed,
}

impl Mode {
    pub fn new(code: u32) -> Result<Self> {
        [Self::Global, Self::ThreadLocal, Self::Relaxed].get(code as usize).copied().ok_or(Error::INVALID_VALUE)
    }
}

thread_local! {
    static THREAD_MODE: Cell<Mode> = const { Cell::new(Mode::Global) };
}

/// Sets which captures the calling thread heeds, and returns what it was.
pub fn exchange_thread_mode(mode: Mode) -> Mode {
    THREAD_MODE.replace(mode)
}

/// A stream's part of a capture.
#[derive(Debug)]
struct Branch {
    /// What the stream's next node waits for.
    after: Vec<NodeId>,
    context: u64,
    is_blocking: bool,
}

impl Branch {
    fn new(stream: &Stream, after: Vec<NodeId>) -> Self {
        Self { after, context: stream.context.serial, is_blocking: stream.is_blocking() }
    }
}

#[derive(Debug)]
struct Capture {
    /// The handle that its graph will have, which is also its id.
    graph: u64,
    origin: StreamId,
    thread: ThreadId,
    mode: Mode,
    is_broken: bool,
    nodes: Graph,
    branches: BTreeMap<StreamId, Branch>,
}

/// What `cuStreamGetCaptureInfo` tells of a stream that is captured.
pub struct Info {
    pub is_broken: bool,
    pub graph: u64,
    /// Lives until the next call for the stream.
    pub after: (*const NodeId, usize),
}

/// All captures that are open.
#[derive(Debug, Default)]
pub struct Captures(Vec<Capture>);

impl Captures {
    /// # Errors
    /// When `stream` cannot begin a capture.
    pub fn begin(&mut self, stream: &Stream, mode: Mode, graph: u64) -> Result {
        if stream.is_legacy() {
            return Err(Error::STREAM_CAPTURE_UNSUPPORTED);
        }
        if self.has(stream.id) {
            return Err(Error::ILLEGAL_STATE);
        }
        self.0.push(Capture {
            graph,
            origin: stream.id,
            thread: thread::current().id(),
            mode,
            is_broken: false,
            nodes: Graph::default(),
            branches: [(stream.id, Branch::new(stream, Vec::new()))].into(),
        });
        Ok(())
    }

    /// Ends the capture that began in `stream`: the graph and its handle.
    pub fn end(&mut self, stream: &Stream) -> Result<(u64, Graph)> {
        let capture = self.of(stream.id).ok_or(Error::ILLEGAL_STATE)?;
        if capture.origin != stream.id {
            return Err(capture.break_with(Error::STREAM_CAPTURE_UNMATCHED));
        }
        if capture.mode != Mode::Relaxed && capture.thread != thread::current().id() {
            return Err(Error::STREAM_CAPTURE_WRONG_THREAD);
        }
        let graph = capture.graph;
        let index = self.0.iter().position(|it| it.graph == graph).expect("it was just found");
        let capture = self.0.swap_remove(index);
        if capture.is_broken {
            return Err(Error::STREAM_CAPTURE_INVALIDATED);
        }
        if !capture.is_joined() {
            return Err(Error::STREAM_CAPTURE_UNJOINED);
        }
        Ok((graph, capture.nodes))
    }

    fn of(&mut self, stream: StreamId) -> Option<&mut Capture> {
        self.0.iter_mut().find(|it| it.branches.contains_key(&stream))
    }

    /// Whether a stream is captured.
    pub fn has(&self, stream: StreamId) -> bool {
        self.0.iter().any(|it| it.branches.contains_key(&stream))
    }

    /// The capture of a stream that is about to be used, if there is one.
    fn of_usable(&mut self, stream: &Stream) -> Result<Option<&mut Capture>> {
        self.check_legacy(stream)?;
        match self.of(stream.id) {
            Some(capture) if capture.is_broken => Err(Error::STREAM_CAPTURE_INVALIDATED),
            capture => Ok(capture),
        }
    }

    /// The legacy stream waits for all blocking streams of its context: using it would need uncaptured work to wait for
    /// captured work.
    fn check_legacy(&mut self, stream: &Stream) -> Result {
        if !stream.is_legacy() {
            return Ok(());
        }
        let context = stream.context.serial;
        self.break_all(|it| it.is_blocking_in(context), Error::STREAM_CAPTURE_IMPLICIT)
    }

    /// # Errors
    /// `error`, when there are captures of this kind; they are broken then.
    fn break_all(&mut self, is_it: impl Fn(&Capture) -> bool, error: Error) -> Result {
        let broken = self.0.iter_mut().filter(|it| is_it(it)).map(|it| it.break_with(error)).last();
        broken.map_or(Ok(()), Err)
    }

    /// Captures work given to `stream`, or gives it back.
    pub fn add(&mut self, stream: &Stream, work: Work) -> Result<Option<Work>> {
        let Some(capture) = self.of_usable(stream)? else { return Ok(Some(work)) };
        let branch = capture.branches.get_mut(&stream.id).expect("the stream is captured");
        let after = branch.after.iter().map(|node| node.index()).collect();
        let index = capture.nodes.add(Body::new(work), after);
        branch.after = vec![NodeId::new(capture.graph, index)];
        Ok(None)
    }

    /// What an event recorded in `stream` now would stand for, if that is captured.
    pub fn mark(&mut self, stream: &Stream) -> Result<Option<Recorded>> {
        let capture = self.of_usable(stream)?;
        Ok(capture.map(|it| Recorded::Captured { capture: it.graph, after: it.branches[&stream.id].after.clone() }))
    }

    /// Makes `stream` wait for an event inside a capture, which it joins if need be. `false`: nothing is captured.
    pub fn wait(&mut self, stream: &Stream, event: &Recorded) -> Result<bool> {
        let own = self.of_usable(stream)?;
        let Recorded::Captured { capture: graph, after } = event else {
            return match (own, event) {
                (None, _) => Ok(false),
                (Some(_), Recorded::Never) => Ok(true),
                (Some(own), _) => Err(own.break_with(Error::STREAM_CAPTURE_ISOLATION)),
            };
        };
        let own_graph = own.map(|it| it.graph);
        let Some(capture) = self.0.iter_mut().find(|it| it.graph == *graph) else {
            return Err(Error::CAPTURED_EVENT);
        };
        if capture.is_broken {
            return Err(Error::STREAM_CAPTURE_INVALIDATED);
        }
        if stream.is_legacy() {
            return Err(capture.break_with(Error::STREAM_CAPTURE_UNSUPPORTED));
        }
        if own_graph.is_some_and(|own| own != *graph) {
            self.break_all(|it| it.graph == *graph || Some(it.graph) == own_graph, Error::STREAM_CAPTURE_MERGE)?;
        } else {
            let branch = capture.branches.entry(stream.id).or_insert_with(|| Branch::new(stream, Vec::new()));
            let new = after.iter().filter(|node| !branch.after.contains(node)).copied().collect::<Vec<_>>();
            branch.after.extend(new);
        }
        Ok(true)
    }

    /// Changes what the next node of `stream` waits for.
    pub fn update(&mut self, stream: &Stream, nodes: &[NodeId], replaces: bool) -> Result {
        let capture = self.of_usable(stream)?.ok_or(Error::ILLEGAL_STATE)?;
        let is_own = |it: &NodeId| it.graph() == capture.graph && capture.nodes.node(it.index()).is_ok();
        if !nodes.iter().all(is_own) {
            return Err(Error::INVALID_VALUE);
        }
        let after = &mut capture.branches.get_mut(&stream.id).expect("the stream is captured").after;
        if replaces {
            after.clear();
        }
        let new = nodes.iter().filter(|node| !after.contains(node)).copied().collect::<Vec<_>>();
        after.extend(new);
        Ok(())
    }

    /// # Errors
    /// `error`, when `stream` is captured: what it is asked for cannot be.
    pub fn refuse(&mut self, stream: &Stream, error: Error) -> Result {
        self.of_usable(stream)?.map_or(Ok(()), |capture| Err(capture.break_with(error)))
    }

    /// # Errors
    /// When the event stands for captured work, which nobody can wait for.
    pub fn refuse_event(&mut self, event: &Recorded) -> Result {
        let Recorded::Captured { capture, .. } = event else { return Ok(()) };
        self.break_all(|it| it.graph == *capture, Error::CAPTURED_EVENT)?;
        Err(Error::CAPTURED_EVENT)
    }

    /// # Errors
    /// When a stream of the context is captured.
    pub fn refuse_context(&mut self, context: u64) -> Result {
        let is_in = |it: &Capture| it.branches.values().any(|branch| branch.context == context);
        self.break_all(is_in, Error::STREAM_CAPTURE_UNSUPPORTED)
    }

    /// For calls that a capture does not see and that a graph could not repeat.
    ///
    /// # Errors
    /// When a capture forbids them to the calling thread.
    pub fn refuse_unsafe(&mut self) -> Result {
        let (thread, heeded) = (thread::current().id(), THREAD_MODE.get());
        let forbids = |it: &Capture| match heeded {
            Mode::Relaxed => false,
            _ if it.thread == thread => it.mode != Mode::Relaxed,
            Mode::ThreadLocal => false,
            Mode::Global => it.mode == Mode::Global,
        };
        self.break_all(forbids, Error::STREAM_CAPTURE_UNSUPPORTED)
    }

    /// What is known about the capture of `stream`, without breaking it.
    pub fn info(&mut self, stream: &Stream) -> Result<Option<Info>> {
        let context = stream.context.serial;
        if stream.is_legacy() && self.0.iter().any(|it| it.is_blocking_in(context)) {
            return Err(Error::STREAM_CAPTURE_IMPLICIT);
        }
        Ok(self.of(stream.id).map(|it| {
            let after = &it.branches[&stream.id].after;
            Info { is_broken: it.is_broken, graph: it.graph, after: (after.as_ptr(), after.len()) }
        }))
    }

    /// Forgets a stream that is destroyed: with the origin goes the capture, any other leaves work that is not joined.
    pub fn forget(&mut self, stream: StreamId) {
        self.0.retain(|it| it.origin != stream);
        if let Some(capture) = self.of(stream) {
            capture.branches.remove(&stream);
            capture.is_broken = true;
        }
    }

    /// Forgets the captures of a context that ends.
    pub fn forget_context(&mut self, context: u64) {
        self.0.retain(|it| it.branches[&it.origin].context != context);
    }
}

impl Capture {
    fn break_with(&mut self, error: Error) -> Error {
        if self.is_broken {
            return Error::STREAM_CAPTURE_INVALIDATED;
        }
        self.is_broken = true;
        error
    }

    fn is_blocking_in(&self, context: u64) -> bool {
        self.branches.values().any(|branch| branch.is_blocking && branch.context == context)
    }

    /// Whether the origin waits, directly or not, for what every stream did last.
    fn is_joined(&self) -> bool {
        let mut reached = BTreeSet::new();
        let mut open: Vec<usize> = self.branches[&self.origin].after.iter().map(|node| node.index()).collect();
        while let Some(node) = open.pop() {
            if reached.insert(node) {
                open.extend(self.nodes.node(node).into_iter().flat_map(|node| &node.after));
            }
        }
        self.branches.values().flat_map(|branch| &branch.after).all(|node| reached.contains(&node.index()))
    }
}

impl Driver {
    /// Gives work to a stream: it is queued behind `after`, or captured, and then has no ticket.
    pub fn submit(&'static self, stream: &Stream, after: &[Ticket], work: Work) -> Result<Option<Ticket>> {
        let left = self.captures().add(stream, work)?;
        left.map(|work| self.enqueue(stream, after, work)).transpose()
    }

    /// For calls that wait for a stream, or ask how far it is.
    ///
    /// # Errors
    /// When the stream is captured, or a capture forbids waiting to the calling thread.
    pub fn refuse_wait(&self, stream: &Stream) -> Result {
        let mut captures = self.captures();
        captures.refuse(stream, Error::STREAM_CAPTURE_UNSUPPORTED)?;
        captures.refuse_unsafe()
    }
}
