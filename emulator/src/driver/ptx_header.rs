//! The first lines of a PTX module: enough to refuse what the driver or the card is too old for before it is parsed.

use super::error::Error;

/// The newest `.version` that a driver for CUDA 13.0 takes.
const NEWEST: (u32, u32) = (9, 0);

/// `.version 9.0` and `.target sm_90a`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    pub version: (u32, u32),
    pub target: String,
}

/// A refusal: the code, and why in words.
pub type Refusal = (Error, String);

impl Header {
    /// Finds both directives; `None` when one is missing, which the parser will say better.
    pub fn find(ptx: &str) -> Option<Self> {
        let mut words = words(ptx);
        words.find(|word| *word == ".version")?;
        let (major, minor) = words.next()?.split_once('.')?;
        let version = (major.parse().ok()?, minor.parse().ok()?);
        words.find(|word| *word == ".target")?;
        let target = words.next()?.trim_end_matches(',').to_owned();
        Some(Self { version, target })
    }

    /// Whether a card of this compute capability, with a driver for CUDA 13.0, loads the module.
    pub fn check(&self, capability: (u32, u32)) -> Result<(), Refusal> {
        let Self { version: (major, minor), target } = self;
        if self.version > NEWEST {
            let (newest_major, newest_minor) = NEWEST;
            let text = format!(
                "the module has .version {major}.{minor}, this driver takes up to {newest_major}.{newest_minor}"
            );
            return Err((Error::UNSUPPORTED_PTX_VERSION, text));
        }
        let Some((wanted, suffix)) = parse_target(target) else {
            return Err((Error::INVALID_PTX, format!("the module has .target {target}, expected sm_NN")));
        };
        let fits = match suffix {
            // Code for one architecture, or for one family of them, runs nowhere else.
            "a" => wanted == capability,
            "f" => wanted.0 == capability.0 && wanted <= capability,
            _ => wanted <= capability,
        };
        if fits {
            return Ok(());
        }
        let text = format!("the module has .target {target}, the card is sm_{}{}", capability.0, capability.1);
        Err((Error::NO_BINARY_FOR_GPU, text))
    }
}

/// `sm_90a` is `((9, 0), "a")`.
fn parse_target(target: &str) -> Option<((u32, u32), &str)> {
    let number = target.strip_prefix("sm_")?;
    let digits = number.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let capability: u32 = digits.parse().ok()?;
    Some(((capability / 10, capability % 10), &number[digits.len()..]))
}

/// The text between spaces and comments.
fn words(ptx: &str) -> impl Iterator<Item = &str> {
    let mut rest = ptx;
    std::iter::from_fn(move || {
        loop {
            rest = rest.trim_start();
            if let Some(comment) = rest.strip_prefix("//") {
                rest = comment.split_once('\n')?.1;
            } else if let Some(comment) = rest.strip_prefix("/*") {
                rest = comment.split_once("*/")?.1;
            } else if rest.is_empty() {
                return None;
            } else {
                let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
                let word;
                (word, rest) = rest.split_at(end);
                return Some(word);
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(version: &str, target: &str, capability: (u32, u32)) -> Option<Error> {
        let ptx =
            format!("//\n// nvcc .version 1.0\n/* .target sm_10 */\n.version {version}\n.target {target}, debug\n");
        Header::find(&ptx).unwrap().check(capability).err().map(|refusal| refusal.0)
    }

    #[test]
    fn modules_load_where_a_card_would_load_them() {
        assert_eq!(verdict("9.0", "sm_80", (9, 0)), None);
        assert_eq!(verdict("7.4", "sm_90", (9, 0)), None);
        assert_eq!(verdict("8.0", "sm_90a", (9, 0)), None);
        assert_eq!(verdict("9.0", "sm_90", (8, 9)), Some(Error::NO_BINARY_FOR_GPU));
        assert_eq!(verdict("8.0", "sm_90a", (10, 0)), Some(Error::NO_BINARY_FOR_GPU));
        assert_eq!(verdict("8.8", "sm_100f", (10, 3)), None);
        assert_eq!(verdict("8.8", "sm_100f", (12, 0)), Some(Error::NO_BINARY_FOR_GPU));
        assert_eq!(verdict("9.1", "sm_80", (9, 0)), Some(Error::UNSUPPORTED_PTX_VERSION));
        assert_eq!(verdict("9.0", "texmode", (9, 0)), Some(Error::INVALID_PTX));
    }

    #[test]
    fn what_is_no_header_is_left_to_the_parser() {
        for text in ["", "// .version 9.0", ".version", ".version nine .target sm_80", ".version 9.0", "/*"] {
            assert_eq!(Header::find(text), None, "{text}");
        }
    }
}
