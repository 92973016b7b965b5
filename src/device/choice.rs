//! `--device auto|cuda|cuda:N|emulator`.

use super::DeviceError;
use std::fmt;
use std::str::FromStr;

/// Which device the user asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The first GPU, or the emulator where there is none.
    #[default]
    Auto,
    /// GPU N and nothing else; `cuda` is GPU 0.
    Cuda(u32),
    /// The emulator, whether or not there is a GPU.
    Emulator,
}

impl FromStr for DeviceChoice {
    type Err = DeviceError;

    fn from_str(text: &str) -> Result<DeviceChoice, DeviceError> {
        let unknown = || DeviceError::UnknownChoice { found: text.to_owned() };
        match text {
            "auto" => Ok(DeviceChoice::Auto),
            "cuda" => Ok(DeviceChoice::Cuda(0)),
            "emulator" => Ok(DeviceChoice::Emulator),
            _ => {
                let digits = text.strip_prefix("cuda:").filter(|it| it.bytes().all(|b| b.is_ascii_digit()));
                digits.and_then(|it| it.parse().ok()).map(DeviceChoice::Cuda).ok_or_else(unknown)
            }
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            DeviceChoice::Auto => f.write_str("auto"),
            DeviceChoice::Cuda(ordinal) => write!(f, "cuda:{ordinal}"),
            DeviceChoice::Emulator => f.write_str("emulator"),
        }
    }
}
