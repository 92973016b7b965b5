//! Whether a model fits into some device memory, how long its context can be there, and what to change.

use std::str::FromStr;

use gale::config::{Config, WeightType};
use gale::error::Result;
use gale::plan::{Bytes, Group, Plan};
use gale::session::{Options, Session};

/// What memory depends on.
pub struct Fit<'a> {
    pub config: &'a Config,
    pub weight_type: WeightType,
    pub options: Options,
}

impl Fit<'_> {
    /// One line: what becomes of the model in so many bytes.
    ///
    /// # Errors
    /// Options that the model cannot follow.
    pub fn advice(&self, free_bytes: u64) -> Result<String> {
        let plan = self.plan(self.options)?;
        let (total, free) = (plan.total_bytes(), Bytes(free_bytes));
        let longest = self.longest_context(free_bytes);
        let trained = self.config.max_position;
        Ok(match (total <= free_bytes, self.config.window, longest) {
            (true, Some(_), _) => format!("{free}: fits, with {} to spare", Bytes(free_bytes - total)),
            (true, None, longest) => {
                let longest = longest.expect("the context that was asked for fits");
                format!("{free}: the longest context that fits is {longest} tokens (trained for {trained})")
            }
            (false, None, Some(longest)) => {
                let (context, missing) = (plan.n_slots(), Bytes(total - free_bytes));
                format!(
                    "{free}: a context of {context} tokens takes {missing} more; --ctx {longest} is the longest that fits"
                )
            }
            (false, ..) => {
                let (missing, weights) = (Bytes(total - free_bytes), Bytes(plan.group_bytes(Group::Weights)));
                let cache = Bytes(plan.group_bytes(Group::Cache));
                format!(
                    "{free}: takes {missing} more: {weights} are weights and {cache} the cache; take a card with more memory, \
                     or a smaller model"
                )
            }
        })
    }

    /// The longest context of a model without a window that fits, if any does.
    fn longest_context(&self, bytes: u64) -> Option<u32> {
        if self.config.window.is_some() {
            return None;
        }
        let fits = |context: u32| {
            let plan = self.plan(Options { context: Some(context), ..self.options });
            plan.is_ok_and(|plan| plan.total_bytes() <= bytes)
        };
        // A chunk that was asked for needs as many slots at least.
        let least = self.options.chunk.unwrap_or(1);
        let (mut longest, mut too_long) = (least, u32::MAX);
        if !fits(least) {
            return None;
        }
        while longest + 1 < too_long {
            let middle = longest + (too_long - longest) / 2;
            *(if fits(middle) { &mut longest } else { &mut too_long }) = middle;
        }
        Some(longest)
    }

    fn plan(&self, options: Options) -> Result<Plan> {
        Session::plan(self.config, self.weight_type, &options)
    }
}

/// `24GiB`, `80GB`, `512MiB`, or a number of bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Memory(pub u64);

impl FromStr for Memory {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const UNITS: [(&str, u64); 6] =
            [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("GB", 1_000_000_000), ("MB", 1_000_000), ("B", 1)];
        let text = text.trim();
        let (number, unit) =
            UNITS.iter().find_map(|(name, unit)| Some((text.strip_suffix(name)?, *unit))).unwrap_or((text, 1));
        let bytes = number.trim().parse::<f64>().ok().map(|number| number * unit as f64);
        match bytes.filter(|bytes| (1.0..1e18).contains(bytes)) {
            Some(bytes) => Ok(Self(bytes as u64)),
            None => Err(format!("expected a size such as 24GiB, 80GB or a number of bytes, found {text:?}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// The longest context fits to the byte, and one token more does not.
    #[test]
    fn the_longest_context_is_the_longest() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/synth/mis_nowin_v5_gqa8");
        let config = Config::load(&dir).unwrap();
        for chunk in [None, Some(8)] {
            let options = Options { chunk, ..Options::default() };
            let fit = Fit { config: &config, weight_type: WeightType::Bf16, options };
            let total = |context| fit.plan(Options { context: Some(context), ..options }).unwrap().total_bytes();
            for context in [8, 63, 64, 1000, 2_000_000] {
                assert_eq!(fit.longest_context(total(context)), Some(context));
                assert_eq!(fit.longest_context(total(context + 1) - 1), Some(context));
            }
            assert_eq!(fit.longest_context(total(8) / 2), None);
            // What the kernels can count is an end as well.
            assert_eq!(fit.longest_context(u64::MAX), Some((1 << 27) - 1));
        }
    }

    #[test]
    fn sizes_are_read_with_their_unit() {
        let sizes = ["24GiB", "80 GB", "1.5MiB", "1024", "7B"].map(|text| text.parse::<Memory>().unwrap().0);
        assert_eq!(sizes, [24 << 30, 80_000_000_000, 3 << 19, 1024, 7]);
        for bad in ["", "GiB", "-1GB", "24TiB", "nan", "1e30"] {
            assert!(bad.parse::<Memory>().is_err(), "{bad}");
        }
    }
}
