//! What the benchmarks are told from outside.

use gale::device::{Device, DeviceChoice, Result};
use std::env;

/// Whether each benchmark runs once and is not measured, as criterion sees it.
pub fn is_test() -> bool {
    env::args().any(|it| it == "--test") || !env::args().any(|it| it == "--bench")
}

/// The device that GALE_DEVICE names.
pub fn open_device() -> Result<Device> {
    let choice = env::var("GALE_DEVICE").map_or(Ok(DeviceChoice::Auto), |it| it.parse())?;
    Device::open(choice)
}
