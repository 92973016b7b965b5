//! Graphs as data: nodes, what each waits for, and an order to do them in.

use crate::driver::{
    error::{Error, Result},
    objects::Event,
    work::{Launch, Work},
};
use std::{collections::BTreeSet, sync::Arc};

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

/// What a node does.
#[derive(Debug)]
pub struct Body {
    pub work: Work,
    /// The addresses of a kernel's parameters, inside of `work`.
    pub params: Box<[usize]>,
}

impl Body {
    pub fn new(work: Work) -> Arc<Self> {
        let params = match &work {
            Work::Launch(Launch { kernel, params, .. }) => {
                let address = |(offset, _): &(u32, u32)| params[*offset as usize..].as_ptr() as usize;
                kernel.params.iter().map(address).collect()
            }
            _ => Box::default(),
        };
        Arc::new(Self { work, params })
    }

    /// `CUgraphNodeType`.
    pub fn kind(&self) -> u32 {
        match self.work {
            Work::Launch(_) => 0,
            Work::Copy(_) => 1,
            Work::Fill(_) => 2,
            Work::Call { .. } => 3,
            Work::Graph(_) => 4,
            Work::Join => 5,
            Work::WaitFor(_) => 6,
            Work::Record(_) => 7,
            Work::Allocate(_) => 10,
            Work::FreeInGraph(_) => 11,
            Work::Stamp { .. } | Work::Callback { .. } | Work::Free(_) => unreachable!("it is not captured"),
        }
    }

    /// Calls `visit` with every event that the node, or one in it, has in this role.
    pub fn events(&self, role: Role, visit: &mut impl FnMut(&Arc<Event>)) {
        match (&self.work, role) {
            (Work::Record(event), Role::Recorded) | (Work::WaitFor(event), Role::WaitedFor) => visit(event),
            (Work::Graph(bodies), _) => bodies.iter().for_each(|body| body.events(role, visit)),
            _ => {}
        }
    }
}

/// What a graph does with an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Recorded,
    WaitedFor,
}

/// A node, and the nodes of its graph that it waits for, by index.
#[derive(Clone, Debug)]
pub struct Node {
    pub body: Arc<Body>,
    pub after: BTreeSet<usize>,
}

/// A graph. Indices are not used again, so a removed node leaves a gap.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    nodes: Vec<Option<Node>>,
}

impl Graph {
    pub fn node(&self, index: usize) -> Result<&Node> {
        self.nodes.get(index).and_then(Option::as_ref).ok_or(Error::INVALID_VALUE)
    }

    pub fn node_mut(&mut self, index: usize) -> Result<&mut Node> {
        self.nodes.get_mut(index).and_then(Option::as_mut).ok_or(Error::INVALID_VALUE)
    }

    /// The nodes with their indices.
    pub fn nodes(&self) -> impl Iterator<Item = (usize, &Node)> {
        self.nodes.iter().enumerate().filter_map(|(index, node)| Some((index, node.as_ref()?)))
    }

    /// Adds a node behind others, and returns its index.
    pub fn add(&mut self, body: Arc<Body>, after: BTreeSet<usize>) -> usize {
        self.nodes.push(Some(Node { body, after }));
        self.nodes.len() - 1
    }

    /// Removes a node and its edges.
    pub fn remove(&mut self, index: usize) -> Result {
        self.node(index)?;
        self.nodes[index] = None;
        self.nodes.iter_mut().flatten().for_each(|node| _ = node.after.remove(&index));
        Ok(())
    }

    /// (from, to) of every edge.
    pub fn edges(&self) -> Vec<(usize, usize)> {
        self.nodes().flat_map(|(to, node)| node.after.iter().map(move |from| (*from, to))).collect()
    }

    /// The nodes, each behind those it waits for; by index where there is a choice.
    ///
    /// # Errors
    /// When some wait for each other.
    pub fn order(&self) -> Result<Vec<usize>> {
        let mut n_open = vec![0; self.nodes.len()];
        let mut followers = vec![Vec::new(); self.nodes.len()];
        for (from, to) in self.edges() {
            n_open[to] += 1;
            followers[from].push(to);
        }
        let mut ready: BTreeSet<usize> = self.nodes().map(|it| it.0).filter(|index| n_open[*index] == 0).collect();
        let mut order = Vec::new();
        while let Some(index) = ready.pop_first() {
            order.push(index);
            for follower in &followers[index] {
                n_open[*follower] -= 1;
                if n_open[*follower] == 0 {
                    ready.insert(*follower);
                }
            }
        }
        if order.len() == self.nodes().count() { Ok(order) } else { Err(Error::INVALID_VALUE) }
    }

    /// What a launch does, in order.
    ///
    /// # Errors
    /// As [`order`](Self::order).
    pub fn bodies(&self) -> Result<Arc<[Arc<Body>]>> {
        self.order()?.into_iter().map(|index| self.node(index).map(|node| Arc::clone(&node.body))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn empty() -> Arc<Body> {
        Body::new(Work::Join)
    }

    #[test]
    fn the_order_follows_the_edges_and_cycles_are_errors() {
        let mut graph = Graph::default();
        let a = graph.add(empty(), BTreeSet::new());
        let b = graph.add(empty(), BTreeSet::new());
        let c = graph.add(empty(), [a].into());
        graph.node_mut(a).unwrap().after.insert(b);
        assert_eq!(graph.order().unwrap(), [b, a, c]);
        assert_eq!(graph.edges(), [(b, a), (a, c)]);
        graph.node_mut(b).unwrap().after.insert(c);
        assert_eq!(graph.order(), Err(Error::INVALID_VALUE));
        graph.remove(c).unwrap();
        assert_eq!(graph.order().unwrap(), [b, a]);
        assert!(graph.node(c).is_err() && graph.remove(c).is_err());
    }
}
