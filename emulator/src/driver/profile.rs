//! The counters of every kernel, added up over launches.

use crate::perf::Counters;
use std::{
    collections::BTreeMap,
    fs, io,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// What all launches of a kernel did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Total {
    pub n_launches: u64,
    pub counters: Counters,
}

impl Total {
    fn add(&mut self, other: &Self) {
        // Taken apart in full, so that a new counter cannot be forgotten here.
        let Counters { warp_instructions, lane_instructions, global_sectors, global_sectors_ideal, global_bytes } =
            other.counters;
        self.n_launches += other.n_launches;
        self.counters.warp_instructions += warp_instructions;
        self.counters.lane_instructions += lane_instructions;
        self.counters.global_sectors += global_sectors;
        self.counters.global_sectors_ideal += global_sectors_ideal;
        self.counters.global_bytes += global_bytes;
    }
}

/// Totals by kernel name.
#[derive(Debug, Default)]
pub struct Profile(Mutex<BTreeMap<String, Total>>);

impl Profile {
    fn kernels(&self) -> MutexGuard<'_, BTreeMap<String, Total>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a launch.
    pub fn add(&self, kernel: &str, counters: Counters) {
        self.kernels().entry(kernel.to_owned()).or_default().add(&Total { n_launches: 1, counters });
    }

    /// The total of one kernel, if it was launched, or of all.
    pub fn total(&self, kernel: Option<&str>) -> Option<Total> {
        let kernels = self.kernels();
        if let Some(kernel) = kernel {
            return kernels.get(kernel).copied();
        }
        let mut sum = Total::default();
        kernels.values().for_each(|total| sum.add(total));
        Some(sum)
    }

    pub fn reset(&self) {
        self.kernels().clear();
    }

    /// Writes all totals as JSON.
    pub fn write(&self, file: &Path) -> io::Result<()> {
        fs::write(file, self.to_json())
    }

    fn to_json(&self) -> String {
        // Kernel names are PTX identifiers: letters, digits, `_`, `$` and `%`, nothing that JSON escapes.
        let kernels = self.kernels();
        let lines = kernels.iter().map(|(kernel, Total { n_launches, counters })| {
            let Counters { warp_instructions, lane_instructions, global_sectors, global_sectors_ideal, global_bytes } =
                counters;
            format!(
                "  \"{kernel}\": {{\"launches\": {n_launches}, \"warp_instructions\": {warp_instructions}, \
                 \"lane_instructions\": {lane_instructions}, \"global_sectors\": {global_sectors}, \
                 \"global_sectors_ideal\": {global_sectors_ideal}, \"global_bytes\": {global_bytes}}}"
            )
        });
        let lines: Vec<String> = lines.collect();
        format!("{{\n{}\n}}\n", lines.join(",\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_add_up_by_kernel_and_over_all() {
        let profile = Profile::default();
        let counters = Counters { warp_instructions: 3, global_bytes: 5, ..Counters::default() };
        profile.add("a", counters);
        profile.add("a", counters);
        profile.add("b", counters);
        let a = profile.total(Some("a")).unwrap();
        assert_eq!((a.n_launches, a.counters.warp_instructions, a.counters.global_bytes), (2, 6, 10));
        assert_eq!(profile.total(None).unwrap().n_launches, 3);
        assert_eq!(profile.total(Some("c")), None);
        let json = profile.to_json();
        assert!(json.contains("\"a\": {\"launches\": 2, \"warp_instructions\": 6,"), "{json}");
        profile.reset();
        assert_eq!(profile.total(None), Some(Total::default()));
    }
}
