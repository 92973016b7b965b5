//! The JSON files of a model directory, read so that every error names the file and the key.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::error::{Error, Result, one_line};

/// A JSON file that holds one object.
pub(crate) struct JsonFile {
    pub path: PathBuf,
    object: Map<String, Value>,
}

impl JsonFile {
    pub fn read(path: PathBuf) -> Result<Self> {
        match serde_json::from_slice(&read_bytes(&path)?) {
            Ok(Value::Object(object)) => Ok(Self { path, object }),
            Ok(other) => Err(Error::malformed(path, format!("expected a JSON object, found {}", shown(&other)))),
            Err(error) => Err(Error::malformed(path, format!("not valid JSON: {error}"))),
        }
    }

    /// `None` if there is no such file; any other trouble is an error.
    pub fn read_if_present(path: PathBuf) -> Result<Option<Self>> {
        if is_present(&path) { Self::read(path).map(Some) } else { Ok(None) }
    }

    /// The value as it stands: `None` when the key is absent, `Some(Null)` when it is null.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.object.get(key)
    }

    /// The value, with null meaning the same as absent.
    pub fn value(&self, key: &str) -> Option<&Value> {
        self.get(key).filter(|value| !value.is_null())
    }

    pub fn size(&self, key: &str, max: u32) -> Result<Option<u32>> {
        self.typed(key, &format!("a whole number from 1 to {max}"), |value| {
            value.as_u64().filter(|&n| (1..=u64::from(max)).contains(&n)).map(|n| n as u32)
        })
    }

    pub fn positive(&self, key: &str) -> Result<Option<f64>> {
        self.typed(key, "a number above 0", |value| value.as_f64().filter(|&x| x > 0.0))
    }

    pub fn flag(&self, key: &str) -> Result<Option<bool>> {
        self.typed(key, "true or false", Value::as_bool)
    }

    pub fn text(&self, key: &str) -> Result<Option<&str>> {
        self.typed(key, "a string", Value::as_str)
    }

    pub fn object(&self, key: &str) -> Result<Option<&Map<String, Value>>> {
        self.typed(key, "an object", Value::as_object)
    }

    fn typed<'a, T>(&'a self, key: &str, expected: &str, read: impl Fn(&'a Value) -> Option<T>) -> Result<Option<T>> {
        self.value(key).map(|value| read(value).ok_or_else(|| self.wrong(key, expected, value))).transpose()
    }

    /// The error for a required key that is not there.
    pub fn missing(&self, key: &str, expected: &str) -> Error {
        Error::Key { path: self.path.clone(), key: key.into(), expected: expected.into(), found: "no such key".into() }
    }

    /// The error for a key whose value is of no use.
    pub fn wrong(&self, key: &str, expected: impl Into<String>, found: &Value) -> Error {
        Error::Key { path: self.path.clone(), key: key.into(), expected: expected.into(), found: shown(found) }
    }

    /// The error for a value that means something, but nothing we do.
    pub fn unsupported(&self, asked: impl Into<String>, supported: impl Into<String>) -> Error {
        Error::Unsupported { path: self.path.clone(), asked: asked.into(), supported: supported.into() }
    }
}

/// A value as an error shows it: on one line, cut where it would not fit there.
pub(crate) fn shown(value: &Value) -> String {
    const MAX_CHARS: usize = 80;
    let text = value.to_string();
    if text.chars().count() <= MAX_CHARS {
        return text;
    }
    text.chars().take(MAX_CHARS).chain("...".chars()).collect()
}

/// Whether the directory names such a file; a symlink that leads nowhere counts, so that reading it says so.
pub(crate) fn is_present(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

/// The bytes of a regular file. A pipe or a device is refused: reading it might never end.
pub(crate) fn read_bytes(path: &Path) -> Result<Vec<u8>> {
    check_regular(path)?;
    fs::read(path).map_err(|error| read_error(path, error))
}

pub(crate) fn check_regular(path: &Path) -> Result<()> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => Ok(()),
        Ok(_) => Err(read_error(path, "expected a regular file, found something else")),
        Err(error) => Err(read_error(path, error)),
    }
}

pub(crate) fn read_error(path: &Path, reason: impl std::fmt::Display) -> Error {
    Error::Read { path: path.into(), reason: one_line(reason) }
}
