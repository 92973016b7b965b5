//! A list of launches that the device replays with one call.

use super::buffer::Memory;
use super::{Device, DeviceError, Result};
use cudarc::driver::{CudaGraph, sys};
use std::fmt;
use std::sync::{Arc, PoisonError};

/// A captured list of launches. It owns the memory that they use, and stays on the thread that made it.
pub struct Graph {
    graph: CudaGraph,
    _memory: Vec<Arc<Memory>>,
}

impl Device {
    /// Records what `work` asks of this device instead of doing it.
    ///
    /// `work` may launch kernels and zero buffers. It must not allocate, free, copy or wait: the driver refuses
    /// that, and the capture with it.
    pub fn capture<E: From<DeviceError>>(
        &self,
        work: impl FnOnce() -> std::result::Result<(), E>,
    ) -> std::result::Result<Graph, E> {
        self.load_kernels()?; // the driver would not do that in a capture
        let failed = || DeviceError::call("capturing a graph");
        let was = self.captured().replace(Vec::new());
        assert!(was.is_none(), "a capture within a capture");
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        let begun = self.0.stream.begin_capture(mode).map_err(failed());
        let worked = begun.is_ok().then(work);
        let ended = self.0.stream.end_capture(sys::CUgraphInstantiate_flags(0)).map_err(failed());
        let memory = self.captured().take().unwrap_or_default();
        begun?;
        worked.transpose()?; // what went wrong inside says more than the capture that it spoilt
        let graph = ended?.expect("a capture that began and ended gives a graph");
        Ok(Graph { graph, _memory: memory })
    }

    pub(super) fn is_capturing(&self) -> bool {
        self.captured().is_some()
    }

    fn captured(&self) -> std::sync::MutexGuard<'_, Option<Vec<Arc<Memory>>>> {
        self.0.captured.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Graph {
    /// Replays the launches on the device's stream.
    pub fn launch(&self) -> Result<()> {
        self.graph.launch().map_err(DeviceError::call("launching a graph"))
    }
}

impl Graph {
    /// How many launches and fills it has.
    pub fn n_nodes(&self) -> Result<usize> {
        let mut n = 0;
        // SAFETY: the graph lives as long as self; without a place for the nodes, only their number is written.
        unsafe { sys::cuGraphGetNodes(self.graph.cu_graph(), std::ptr::null_mut(), &mut n) }
            .result()
            .map_err(DeviceError::call("counting a graph's nodes"))?;
        Ok(n)
    }
}

impl fmt::Debug for Graph {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "Graph using {} allocations", self._memory.len())
    }
}
