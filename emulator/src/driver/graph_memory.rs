//! Memory that a graph allocates. Its address is part of the graph, so the memory is there from the capture until the
//! last graph and executable graph with the node are gone; freeing it in between is only an order of work.

use super::{
    DevicePtr,
    error::Result,
    state::{Driver, driver},
};
use crate::mem::allocations::AllocationId;

/// The memory of an allocation node.
#[derive(Debug)]
pub struct GraphMemory {
    address: DevicePtr,
    pub bytes: u64,
    id: AllocationId,
}

impl GraphMemory {
    pub fn new(driver: &Driver, bytes: u64, context: u64) -> Result<Self> {
        let address = driver.allocate(bytes, context)?;
        let id = driver.memory().id(address).expect("it was just allocated");
        driver.graph_memory().insert(address);
        Ok(Self { address, bytes, id })
    }

    pub fn address(&self) -> DevicePtr {
        self.address
    }
}

impl Drop for GraphMemory {
    fn drop(&mut self) {
        if let Ok(driver) = driver() {
            driver.graph_memory().remove(&self.address);
            // The context may have ended, and taken it along.
            driver.memory().free_id(self.id);
        }
    }
}
