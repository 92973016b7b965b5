//! What the environment asks for. Every variable starts with `CUDA_EMULATOR_`, so any program can be run under any mode:
//!
//! | variable      | values                                                        | default                  |
//! |---------------|---------------------------------------------------------------|--------------------------|
//! | `MODE`        | `fast`, `check`, `stress`                                     | `fast`                   |
//! | `SEED`        | a number                                                      | 0                        |
//! | `THREADS`     | a number from 1                                               | the machine's processors |
//! | `GPU`         | `h100`, `h200`, `a100`, `rtx4090`                             | `h100`                   |
//! | `STEP_LIMIT`  | warp instructions that a launch may run                       | 2^36: some minutes       |
//! | `FAIL_LAUNCH` | which launch of a context fails, as if the card broke down    | none                     |
//! | `CPU`         | `baseline`, `avx2`, `avx512`: the build of the instructions   | the machine's fastest    |
//! | `PROFILE`     | a file for the counters as JSON, or `-`: as a table on stderr | none                     |

pub mod card;

use crate::exec::cpu::Cpu;
use card::Card;
use std::{fmt, path::PathBuf, thread};

/// The step limit when none is set.
const STEP_LIMIT: u64 = 1 << 36;

/// How much is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Bounds, alignment, barriers: what every mode checks.
    Fast,
    /// `Fast`, and reads of what was never written, races and the like are found, memory accesses are counted, and
    /// addresses of freed memory are not used again.
    Check,
    /// `Check` with seeded orders of CTAs, warps and streams and with delays, so that code that only works by luck fails.
    Stress,
}

/// Where the counters go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Profile {
    /// A table on stderr.
    Table,
    Json(PathBuf),
}

/// The environment's wishes, or the defaults.
#[derive(Clone, Debug)]
pub struct Settings {
    pub mode: Mode,
    /// Decides every choice of `Mode::Stress`.
    pub seed: u64,
    /// Host threads that run CTAs.
    pub n_threads: usize,
    pub card: &'static Card,
    /// Warp instructions that a launch may run before it is taken for one without end.
    pub step_limit: u64,
    /// The launch of each context that fails, counted from 0, as if the card broke down: for programs to try what they do
    /// then.
    pub fail_launch: Option<u64>,
    /// Which build of the instructions runs; all give the same bits.
    pub cpu: Cpu,
    /// Where the counters go when the process ends.
    pub profile: Option<Profile>,
}

/// A variable with a value that means nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingError {
    pub variable: String,
    pub value: String,
    pub expected: String,
}

impl fmt::Display for SettingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is `{}`, expected {}", self.variable, self.value, self.expected)
    }
}

impl std::error::Error for SettingError {}

impl Settings {
    /// Reads the environment of the process; `mode` is for one that has none.
    ///
    /// # Errors
    /// The first variable whose value is not one of its values.
    pub fn from_env(mode: Mode) -> Result<Self, SettingError> {
        Self::read(mode, |variable| std::env::var_os(variable).map(|value| value.to_string_lossy().into_owned()))
    }

    /// Reads variables with `lookup`. An empty value counts as none, as `VARIABLE= program` is written to unset it.
    ///
    /// # Errors
    /// The first variable whose value is not one of its values.
    pub fn read(mode: Mode, lookup: impl Fn(&str) -> Option<String>) -> Result<Self, SettingError> {
        let one = |name, expected: &str, parse: &dyn Fn(&str) -> Option<u64>| {
            let variable = format!("CUDA_EMULATOR_{name}");
            let Some(value) = lookup(&variable).filter(|value| !value.is_empty()) else { return Ok(None) };
            parse(&value).map(Some).ok_or(SettingError { variable, value, expected: expected.to_owned() })
        };
        let index_in = |names: &[&str], value: &str| names.iter().position(|name| *name == value).map(|i| i as u64);

        let named = one("MODE", "fast, check or stress", &|value| index_in(&["fast", "check", "stress"], value))?;
        let seed = one("SEED", "a number from 0", &|value| value.parse().ok())?;
        let n_threads = one("THREADS", "a number from 1 to 1024", &|value| {
            value.parse().ok().filter(|n_threads| (1..=1024).contains(n_threads))
        })?;
        let card = one("GPU", "h100, h200, a100 or rtx4090", &|value| {
            Card::ALL.iter().position(|card| card.key == value).map(|i| i as u64)
        })?;
        let step_limit = one("STEP_LIMIT", "a number from 1", &|value| value.parse().ok().filter(|limit| *limit > 0))?;
        let fail_launch = one("FAIL_LAUNCH", "a number from 0", &|value| value.parse().ok())?;
        let names: Vec<&str> = Cpu::available().iter().map(|cpu| cpu.name()).collect();
        let expected = format!("one of those that this machine can run: {}", names.join(", "));
        let cpu = one("CPU", &expected, &|value| index_in(&names, value))?;
        Ok(Self {
            mode: named.map_or(mode, |i| [Mode::Fast, Mode::Check, Mode::Stress][i as usize]),
            seed: seed.unwrap_or(0),
            n_threads: match n_threads {
                Some(n_threads) => n_threads as usize,
                None => thread::available_parallelism().map_or(1, Into::into),
            },
            card: Card::ALL[card.unwrap_or(0) as usize],
            step_limit: step_limit.unwrap_or(STEP_LIMIT),
            fail_launch,
            cpu: cpu.map_or_else(Cpu::best, |i| Cpu::available()[i as usize]),
            profile: lookup("CUDA_EMULATOR_PROFILE").filter(|value| !value.is_empty()).map(|value| match &*value {
                "-" => Profile::Table,
                _ => Profile::Json(value.into()),
            }),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Settings, SettingError> {
        Settings::read(Mode::Fast, |variable| {
            let name = variable.strip_prefix("CUDA_EMULATOR_").expect("every variable has the prefix");
            pairs.iter().find(|pair| pair.0 == name).map(|pair| pair.1.to_owned())
        })
    }

    #[test]
    fn nothing_set_gives_the_defaults() {
        let settings = read(&[("MODE", ""), ("PROFILE", "")]).unwrap();
        assert_eq!((settings.mode, settings.seed, settings.profile), (Mode::Fast, 0, None));
        assert_eq!(settings.card.key, "h100");
        assert!(settings.n_threads >= 1);
        assert_eq!(settings.cpu, Cpu::best());
        assert_eq!((settings.step_limit, settings.fail_launch), (1 << 36, None));
    }

    #[test]
    fn every_variable_has_an_effect() {
        let pairs = [
            ("MODE", "stress"),
            ("SEED", "7"),
            ("THREADS", "3"),
            ("GPU", "a100"),
            ("STEP_LIMIT", "9"),
            ("FAIL_LAUNCH", "0"),
            ("CPU", "baseline"),
            ("PROFILE", "/tmp/x.json"),
        ];
        let settings = read(&pairs).unwrap();
        assert_eq!((settings.step_limit, settings.fail_launch, settings.cpu), (9, Some(0), Cpu::Baseline));
        assert_eq!((settings.mode, settings.seed, settings.n_threads), (Mode::Stress, 7, 3));
        assert_eq!((settings.card.key, settings.profile), ("a100", Some(Profile::Json("/tmp/x.json".into()))));
        assert_eq!(read(&[("PROFILE", "-")]).unwrap().profile, Some(Profile::Table));
    }

    #[test]
    fn a_build_that_the_machine_cannot_run_is_refused() {
        for cpu in Cpu::ALL {
            let read = read(&[("CPU", cpu.name())]).map(|settings| settings.cpu).ok();
            assert_eq!(read, Cpu::available().contains(&cpu).then_some(cpu));
        }
    }

    #[test]
    fn a_bad_value_names_variable_value_and_choices() {
        for (name, value, choice) in [
            ("MODE", "Fast", "stress"),
            ("SEED", "-1", "number"),
            ("THREADS", "0", "1"),
            ("THREADS", "many", "1"),
            ("GPU", "h1000", "rtx4090"),
            ("STEP_LIMIT", "0", "1"),
            ("STEP_LIMIT", "2^36", "number"),
            ("FAIL_LAUNCH", "-1", "number"),
            ("CPU", "AVX2", "baseline"),
        ] {
            let message = read(&[(name, value)]).unwrap_err().to_string();
            for part in [format!("CUDA_EMULATOR_{name}"), format!("`{value}`"), choice.to_owned()] {
                assert!(message.contains(&part), "{message}");
            }
        }
    }
}
