//! Counting a launch, and what it is held to.

use gale::device::{Counters, Device};
use std::sync::{Mutex, PoisonError};

/// What a kernel may need, for each that it must.
pub struct Limits {
    /// Loaded and stored.
    pub sectors: f64,
    pub loaded_sectors: f64,
    pub stored_sectors: f64,
    pub wavefronts: f64,
}

/// Nothing is wasted; the rest is what begins and ends inside a sector.
pub const NO_WASTE: Limits = Limits { sectors: 1.02, loaded_sectors: 1.02, stored_sectors: 1.02, wavefronts: 1.0 };

/// DRAM bytes that may differ from the launcher's.
const BYTES_TOLERANCE: f64 = 0.02;

/// Holds one launch of `kernel` to limits, and its bytes of DRAM to `bytes`.
#[track_caller]
pub fn hold(device: &Device, kernel: &str, limits: Limits, bytes: u64, launch: impl FnOnce()) {
    let Some(counters) = count(device, kernel, launch) else { return };
    let it = counters.counts;
    let ratio = |n: u64, of: u64| if of == 0 { 1.0 } else { n as f64 / of as f64 };
    let moved = it.dram_read_bytes + it.dram_write_bytes;
    let sectors = it.global_load_sectors + it.global_store_sectors;
    let ideal_sectors = it.global_load_sectors_ideal + it.global_store_sectors_ideal;
    let ratios = [
        ("sectors", ratio(sectors, ideal_sectors), limits.sectors),
        ("sectors loaded", ratio(it.global_load_sectors, it.global_load_sectors_ideal), limits.loaded_sectors),
        ("sectors stored", ratio(it.global_store_sectors, it.global_store_sectors_ideal), limits.stored_sectors),
        ("wavefronts", ratio(it.shared_wavefronts, it.shared_wavefronts_ideal), limits.wavefronts),
    ];
    let text: Vec<String> = ratios.iter().map(|(what, ratio, _)| format!("{what} {ratio:.4} of ideal")).collect();
    let text = format!("{kernel}: {}, {moved} bytes of DRAM moved, {bytes} needed", text.join(", "));
    println!("{text}");
    for (what, ratio, limit) in ratios {
        assert!(ratio <= limit, "{what}, at most {limit} allowed: {text}");
    }
    assert!(moved.abs_diff(bytes) as f64 <= BYTES_TOLERANCE * bytes as f64, "{text}");
}

/// The counters are the process's, and setting them to zero takes them from every test.
pub static COUNTING: Mutex<()> = Mutex::new(());

/// What a launch did; nothing on a GPU.
pub fn count(device: &Device, kernel: &str, launch: impl FnOnce()) -> Option<Counters> {
    let _counting = COUNTING.lock().unwrap_or_else(PoisonError::into_inner);
    device.reset_counters().unwrap();
    launch();
    let counters = device.counters(kernel).unwrap();
    assert_eq!(counters.is_some(), device.is_emulator(), "{kernel} was not launched");
    counters
}
