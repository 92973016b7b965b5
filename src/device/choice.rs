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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_choice_reads_back() {
        for choice in [DeviceChoice::Auto, DeviceChoice::Cuda(0), DeviceChoice::Cuda(12), DeviceChoice::Emulator] {
            assert_eq!(choice.to_string().parse::<DeviceChoice>().unwrap(), choice);
        }
        assert_eq!("cuda".parse::<DeviceChoice>().unwrap(), DeviceChoice::Cuda(0));
    }

    #[test]
    fn other_words_are_refused_with_the_choices() {
        for text in
            ["", "gpu", "CUDA", "cuda:", "cuda:+1", "cuda:-1", "cuda:x", "cuda:99999999999", "emulator:0", " auto"]
        {
            let error = text.parse::<DeviceChoice>().unwrap_err().to_string();
            assert!(error.contains(&format!("`{text}`")) && error.contains("auto, cuda, cuda:N"), "{error}");
        }
    }
}
