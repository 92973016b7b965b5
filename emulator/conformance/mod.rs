//! The conformance suite: what is run, on which operands, through which driver, and what must come out. The tests and the
//! program `gpu-capture` share it. In reading order.

pub mod types;
pub mod cases;
mod warp_cases;
mod memory_cases;
mod matrix_cases;
pub mod vectors;
pub mod kernel;
#[allow(unsafe_code)] // It calls the driver.
pub mod run;
pub mod batch;
pub mod oracle;
pub mod check;
pub mod golden;
pub mod replay;
