//! Whether the card could do what it can: its clocks and heat while it was measured.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use gale::device::{Device, Monitor, Reading};
use serde_json::{Value, json};

/// Watches a card from the first measurement to the last.
pub struct Health {
    /// Or why nothing can be known.
    monitor: Result<Monitor, String>,
    readings: Vec<Reading>,
}

impl Health {
    pub fn watch(device: &Device) -> Health {
        let mut it = Health { monitor: device.monitor(), readings: vec![] };
        it.look();
        it
    }

    /// Once more: while the card is still at it, or has just been.
    pub fn look(&mut self) {
        if let Ok(monitor) = &self.monitor {
            self.readings.push(monitor.read());
        }
    }

    /// All reasons for which the card was slower than it could be.
    fn throttled_by(&self) -> BTreeSet<&'static str> {
        self.readings.iter().flat_map(|it| it.throttled_by.iter().copied()).collect()
    }

    /// A line or two below the table.
    pub fn text(&self) -> String {
        let readings = match &self.monitor {
            Err(why) => return format!("clocks and temperature: not known, {why}\n"),
            Ok(_) => &self.readings,
        };
        let mut text = String::new();
        let range = |of: fn(&Reading) -> Option<u32>| range(readings.iter().filter_map(of));
        let last = readings.last().expect("it looks when it begins to watch");
        let most = |mhz: Option<u32>| mhz.map_or(String::new(), |mhz| format!(" of {mhz}"));
        let _ = writeln!(
            text,
            "clocks: multiprocessors {} MHz{}, memory {} MHz{}; {} °C, {} W",
            range(|it| it.sm_mhz),
            most(last.sm_max_mhz),
            range(|it| it.memory_mhz),
            most(last.memory_max_mhz),
            range(|it| it.celsius),
            range(|it| it.milliwatts.map(|it| it / 1000)),
        );
        let reasons: Vec<_> = self.throttled_by().into_iter().collect();
        if !reasons.is_empty() {
            let _ = writeln!(text, "throttled: {}; the card can do more than these figures", reasons.join(", "));
        }
        text
    }

    pub fn json(&self) -> Value {
        match &self.monitor {
            Err(why) => json!({ "unknown": why }),
            Ok(_) => json!({
                "throttled_by": self.throttled_by(),
                "readings": self.readings.iter().map(reading).collect::<Vec<_>>(),
            }),
        }
    }
}

fn reading(it: &Reading) -> Value {
    json!({
        "sm_mhz": it.sm_mhz,
        "sm_max_mhz": it.sm_max_mhz,
        "memory_mhz": it.memory_mhz,
        "memory_max_mhz": it.memory_max_mhz,
        "celsius": it.celsius,
        "watts": it.milliwatts.map(|it| f64::from(it) / 1e3),
    })
}

/// `1980`, or `1650 to 1980`.
fn range(values: impl Iterator<Item = u32> + Clone) -> String {
    match (values.clone().min(), values.max()) {
        (Some(least), Some(most)) if least == most => least.to_string(),
        (Some(least), Some(most)) => format!("{least} to {most}"),
        _ => "unknown".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_short() {
        assert_eq!(range([].into_iter()), "unknown");
        assert_eq!(range([5, 5].into_iter()), "5");
        assert_eq!(range([7, 5, 6].into_iter()), "5 to 7");
    }
}
