//! The fields of a request, each taken by its name: what nobody takes is refused, so nothing is silently ignored.

use super::error::ApiError;
use crate::json::shown;
use axum::http::StatusCode;
use serde_json::{Map, Value};
use std::ops::RangeInclusive;

/// A JSON object of which fields are taken one by one.
pub struct Fields {
    /// Where the object is in the request: "" or as in "messages[0].".
    path: String,
    left: Map<String, Value>,
    known: Vec<&'static str>,
}

impl Fields {
    /// The object that a body holds.
    pub fn of_body(body: &[u8]) -> Result<Fields, ApiError> {
        let bad = |message: String| ApiError::new(StatusCode::BAD_REQUEST, message);
        let text = str::from_utf8(body).map_err(|error| bad(format!("the body is not UTF-8: {error}")))?;
        match serde_json::from_str(text) {
            Ok(Value::Object(left)) => Ok(Fields { path: String::new(), left, known: vec![] }),
            Ok(other) => Err(bad(format!("the body: expected a JSON object, found {}", shown(&other)))),
            Err(error) => Err(bad(format!("the body is not valid JSON: {error}"))),
        }
    }

    /// An object within another; `path` says where.
    pub fn of_value(path: String, value: Value) -> Result<Fields, ApiError> {
        match value {
            Value::Object(left) => Ok(Fields { path: path + ".", left, known: vec![] }),
            other => Err(ApiError::field(path, format!("expected an object, found {}", shown(&other)))),
        }
    }

    /// Where a field is, for an error.
    pub fn path(&self, name: &str) -> String {
        format!("{}{name}", self.path)
    }

    pub fn error(&self, name: &str, message: impl Into<String>) -> ApiError {
        ApiError::field(self.path(name), message)
    }

    /// A value of any type; null is the same as absent.
    pub fn value(&mut self, name: &'static str) -> Option<Value> {
        self.known.push(name);
        self.left.remove(name).filter(|value| !value.is_null())
    }

    fn typed<T>(
        &mut self,
        name: &'static str,
        expected: impl FnOnce() -> String,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Result<Option<T>, ApiError> {
        let Some(value) = self.value(name) else { return Ok(None) };
        let wrong = || self.error(name, format!("expected {}, found {}", expected(), shown(&value)));
        read(&value).map(Some).ok_or_else(wrong)
    }

    pub fn flag(&mut self, name: &'static str) -> Result<Option<bool>, ApiError> {
        self.typed(name, || "true or false".into(), Value::as_bool)
    }

    pub fn text(&mut self, name: &'static str) -> Result<Option<String>, ApiError> {
        self.typed(name, || "a string".into(), |value| value.as_str().map(str::to_owned))
    }

    /// A whole number within limits.
    pub fn whole(&mut self, name: &'static str, limits: RangeInclusive<u32>) -> Result<Option<u32>, ApiError> {
        let expected = || format!("a whole number from {} to {}", limits.start(), limits.end());
        let read = |value: &Value| value.as_u64().and_then(|n| u32::try_from(n).ok()).filter(|n| limits.contains(n));
        self.typed(name, expected, read)
    }

    /// Any 64 bits; negative numbers are their two's complement.
    pub fn seed(&mut self, name: &'static str) -> Result<Option<u64>, ApiError> {
        let read = |value: &Value| value.as_u64().or_else(|| value.as_i64().map(|it| it as u64));
        self.typed(name, || "a whole number of 64 bits".into(), read)
    }

    /// A number; whoever uses it knows its range.
    pub fn number(&mut self, name: &'static str) -> Result<Option<f32>, ApiError> {
        self.typed(name, || "a number".into(), |value| value.as_f64().map(|it| it as f32))
    }

    /// Fields that mean something, but nothing that is done here.
    pub fn refuse(&mut self, names: &[&str]) -> Result<(), ApiError> {
        for name in names {
            if self.left.remove(*name).is_some_and(|value| !value.is_null()) {
                return Err(self
                    .error(name, "gale does not support this field: leave it out")
                    .with_code("unsupported"));
            }
        }
        Ok(())
    }

    /// Nothing must be left.
    pub fn finish(mut self) -> Result<(), ApiError> {
        self.left.retain(|_, value| !value.is_null());
        let Some(name) = self.left.keys().next() else { return Ok(()) };
        let known = self.known.join(", ");
        Err(self.error(name, format!("there is no such field; there are {known}")).with_code("unknown_field"))
    }
}
