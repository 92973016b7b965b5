//! The launches of a step, those alike in one row.

use std::time::Duration;

use gale::device::{Cost, Counters};

use super::Runs;

/// The launches of one kernel that need the same.
pub struct Row {
    pub kernel: &'static str,
    pub n_calls: u32,
    /// Of one launch.
    pub cost: Option<Cost>,
    /// Of one launch, where it is more than its FLOPs ask for.
    pub mma: Option<u64>,
    /// Of all launches together, on a GPU.
    pub time: Option<Duration>,
    /// Of all launches together, on the emulator.
    pub counters: Option<Counters>,
}

impl Row {
    /// Of all launches together.
    pub fn total(&self) -> Option<Cost> {
        let n = u64::from(self.n_calls);
        self.cost.map(|it| Cost { bytes: n * it.bytes, flops: n * it.flops })
    }
}

/// Rows in the order in which their first launches come. A launch's time is the median of the runs.
pub fn rows(runs: &Runs) -> Vec<Row> {
    let mut rows: Vec<Row> = vec![];
    for (i, launch) in runs[0].iter().enumerate() {
        let mut times: Vec<Duration> = runs.iter().filter_map(|run| run[i].time).collect();
        times.sort();
        let time = times.get(times.len() / 2).copied();
        let place = rows.iter().position(|it| (it.kernel, it.cost) == (launch.kernel, launch.cost));
        let row = match place {
            Some(place) => &mut rows[place],
            None => {
                let (kernel, cost, mma) = (launch.kernel, launch.cost, launch.mma);
                rows.push(Row { kernel, n_calls: 0, cost, mma, time: None, counters: None });
                rows.last_mut().expect("one was pushed")
            }
        };
        row.n_calls += 1;
        row.time = time.map(|time| time + row.time.unwrap_or_default());
        if let Some(counters) = &launch.counters {
            row.counters.get_or_insert_default().add(counters);
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use gale::device::Launched;

    fn launch(kernel: &'static str, bytes: u64, us: u64) -> Launched {
        let cost = Some(Cost { bytes, flops: 0 });
        Launched { kernel, cost, mma: None, time: Some(Duration::from_micros(us)), counters: None }
    }

    /// A kernel of two shapes is two rows; the slow run does not count.
    #[test]
    fn launches_alike_are_one_row_of_medians() {
        let run = |slow: u64| vec![launch("a", 8, 1 + slow), launch("b", 9, 10), launch("a", 8, 3), launch("a", 7, 5)];
        let found: Vec<_> = rows(&[run(0), run(50), run(0)])
            .into_iter()
            .map(|it| (it.kernel, it.n_calls, it.total().unwrap().bytes, it.time.unwrap().as_micros()))
            .collect();
        assert_eq!(found, [("a", 2, 16, 4), ("b", 1, 9, 10), ("a", 1, 7, 5)]);
    }
}
