//! The host's vector units.

/// A set of CPU features that the instructions are built for, each a superset of the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cpu {
    /// What every CPU of the architecture has.
    Baseline,
    Avx2,
    Avx512,
}

impl Cpu {
    pub const ALL: [Cpu; 3] = [Cpu::Baseline, Cpu::Avx2, Cpu::Avx512];

    pub fn name(self) -> &'static str {
        match self {
            Cpu::Baseline => "baseline",
            Cpu::Avx2 => "avx2",
            Cpu::Avx512 => "avx512",
        }
    }

    /// The fastest that this machine can run.
    pub fn best() -> Cpu {
        *Cpu::available().last().expect("every machine has the baseline")
    }

    /// Those that this machine can run: every feature that a build is compiled with has to be there.
    pub fn available() -> &'static [Cpu] {
        #[cfg(target_arch = "x86_64")]
        {
            let has_avx2 = is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("fma")
                && is_x86_feature_detected!("f16c")
                && is_x86_feature_detected!("bmi1")
                && is_x86_feature_detected!("bmi2")
                && is_x86_feature_detected!("lzcnt")
                && is_x86_feature_detected!("popcnt");
            let has_avx512 = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512dq");
            match (has_avx2, has_avx512) {
                (true, true) => return &Cpu::ALL,
                (true, false) => return &Cpu::ALL[..2],
                (false, _) => {}
            }
        }
        &Cpu::ALL[..1]
    }
}
