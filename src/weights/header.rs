//! The header of a safetensors file: 8 bytes of length, JSON, then the tensors end to end.
//!
//! As strict as the reference reader (no gap, no overlap, nothing before, between or after the tensors), with
//! errors that carry the numbers.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use safetensors::tensor::{Dtype, TensorInfo};
use serde::Deserialize as _;
use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::json::shown;

/// The reference reader's limit: real headers are below 1 MB.
const MAX_HEADER_BYTES: u64 = 100_000_000;

/// What a file says of one tensor.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    /// In the file, header included.
    pub bytes: Range<usize>,
}

/// Reads and checks the header of a whole file. Nothing in it is trusted.
pub(super) fn parse(path: &Path, file: &[u8]) -> Result<BTreeMap<String, Entry>> {
    let data_start = data_start(path, file)?;
    let json: Map<String, Value> = serde_json::from_slice(&file[8..data_start])
        .map_err(|error| Error::malformed(path, format!("the safetensors header is not a JSON object: {error}")))?;

    let mut entries = BTreeMap::new();
    for (name, value) in json.iter().filter(|(name, _)| *name != "__metadata__") {
        entries.insert(name.clone(), entry(path, name, value, data_start)?);
    }
    check_end_to_end(path, &entries, data_start, file.len())?;
    Ok(entries)
}

fn data_start(path: &Path, file: &[u8]) -> Result<usize> {
    let Some(length) = file.first_chunk::<8>() else {
        let problem = format!("the file is cut off: expected 8 bytes of header length, found {} bytes", file.len());
        return Err(Error::malformed(path, problem));
    };
    let (n_header_bytes, n_rest) = (u64::from_le_bytes(*length), file.len() as u64 - 8);
    if n_header_bytes > n_rest.min(MAX_HEADER_BYTES) {
        let problem = format!(
            "the header is longer than the file or cut off: expected {n_header_bytes} bytes of header (at most \
             {MAX_HEADER_BYTES}), found {n_rest} bytes after its length; download the file again"
        );
        return Err(Error::malformed(path, problem));
    }
    Ok(8 + n_header_bytes as usize)
}

fn entry(path: &Path, name: &str, value: &Value, data_start: usize) -> Result<Entry> {
    let wrong = |expected: String, found: String| Error::Tensor {
        path: path.into(),
        tensor: name.escape_debug().to_string(),
        expected,
        found,
    };
    let TensorInfo { dtype, shape, data_offsets: (start, end) } = TensorInfo::deserialize(value)
        .map_err(|error| wrong("dtype, shape and data_offsets".into(), format!("{}: {error}", shown(value))))?;

    let n_bits = shape.iter().try_fold(dtype.bitsize(), |n, &axis| n.checked_mul(axis));
    let n_bytes = n_bits.filter(|n| n % 8 == 0).map(|n| n / 8);
    if n_bytes.is_none() || end.checked_sub(start) != n_bytes {
        let expected = match n_bytes {
            Some(n) => format!("{n} bytes for {dtype} {shape:?}"),
            None => "a shape with a whole number of bytes that fits memory".into(),
        };
        return Err(wrong(expected, format!("{dtype} {shape:?} with data_offsets {start}..{end}")));
    }
    match (data_start.checked_add(start), data_start.checked_add(end)) {
        (Some(start), Some(end)) => Ok(Entry { dtype, shape, bytes: start..end }),
        _ => Err(wrong("data_offsets inside the file".into(), format!("{start}..{end}"))),
    }
}

/// Every tensor starts where the one before it ends, and the last one ends the file.
fn check_end_to_end(
    path: &Path,
    entries: &BTreeMap<String, Entry>,
    data_start: usize,
    n_file_bytes: usize,
) -> Result<()> {
    let mut in_order: Vec<_> = entries.iter().collect();
    in_order.sort_by_key(|(_, entry)| (entry.bytes.start, entry.bytes.end));
    let mut end = data_start;
    for (name, Entry { bytes, .. }) in in_order {
        if bytes.start != end {
            return Err(Error::Tensor {
                path: path.into(),
                tensor: name.escape_debug().to_string(),
                expected: format!("to start at offset {}, where the tensor before it ends", end - data_start),
                found: format!(
                    "data_offsets {}..{}: tensors {}",
                    bytes.start - data_start,
                    bytes.end - data_start,
                    if bytes.start < end { "overlap" } else { "leave a gap" }
                ),
            });
        }
        end = bytes.end;
    }
    if end == n_file_bytes {
        return Ok(());
    }
    let trouble = if end > n_file_bytes { "is cut off" } else { "has bytes that belong to no tensor" };
    Err(Error::malformed(
        path,
        format!("the file {trouble}: expected {end} bytes by its header, found {n_file_bytes}; download it again"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str, n_data_bytes: usize) -> Vec<u8> {
        let mut file = (header.len() as u64).to_le_bytes().to_vec();
        file.extend(header.as_bytes());
        file.resize(file.len() + n_data_bytes, 0);
        file
    }

    #[track_caller]
    fn check(header: &str, n_data_bytes: usize, message: &str) {
        let error = parse(Path::new("x"), &file(header, n_data_bytes)).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }

    #[test]
    fn reads_tensors_in_any_order() {
        let header = r#"{"__metadata__":{"format":"pt"},"b":{"dtype":"F32","shape":[1],"data_offsets":[12,16]},
            "a":{"dtype":"BF16","shape":[2,3],"data_offsets":[0,12]}}"#;
        let entries = parse(Path::new("x"), &file(header, 16)).unwrap();
        let start = 8 + header.len();
        assert_eq!(entries["a"], Entry { dtype: Dtype::BF16, shape: vec![2, 3], bytes: start..start + 12 });
        assert_eq!(entries["b"], Entry { dtype: Dtype::F32, shape: vec![1], bytes: start + 12..start + 16 });
    }

    #[test]
    fn offsets_that_cannot_be_are_named_with_their_numbers() {
        let two = |a: &str, b: &str| {
            format!(
                r#"{{"a":{{"dtype":"F32","shape":[2],"data_offsets":{a}}},"b":{{"dtype":"F32","shape":[2],"data_offsets":{b}}}}}"#
            )
        };
        check(&two("[0,8]", "[4,12]"), 12, r#"tensor "b": expected to start at offset 8, where"#);
        check(&two("[0,8]", "[4,12]"), 12, "data_offsets 4..12: tensors overlap");
        check(&two("[0,8]", "[12,20]"), 20, "data_offsets 12..20: tensors leave a gap");
        check(&two("[4,12]", "[12,20]"), 20, r#"tensor "a": expected to start at offset 0"#);
        check(&two("[0,8]", "[8,16]"), 15, "is cut off: expected");
        check(&two("[0,8]", "[8,16]"), 17, "belong to no tensor");
        check(&two("[0,8]", "[16,8]"), 16, r#"tensor "b": expected 8 bytes for F32 [2]"#);
        check(&two("[0,8]", "[8,12]"), 12, "with data_offsets 8..12");
        check(
            &two("[0,8]", "[18446744073709551607,18446744073709551615]"),
            16,
            "expected data_offsets inside the file",
        );
    }

    #[test]
    fn entries_that_cannot_be_are_named() {
        let one =
            |dtype: &str, shape: &str| format!(r#"{{"a":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[0,4]}}}}"#);
        check(&one("F33", "[1]"), 4, "unknown variant `F33`");
        check(&one("F32", "[-1]"), 4, r#"tensor "a": expected dtype, shape and data_offsets"#);
        check(&one("F32", "[4611686018427387904,16]"), 4, "fits memory");
        check(&one("F4", "[1]"), 4, "fits memory");
        check(r#"{"a":1}"#, 0, r#"tensor "a": expected dtype, shape and data_offsets, found 1"#);
        check("[]", 0, "not a JSON object");
        check("{", 0, "not a JSON object");
    }

    #[test]
    fn lengths_that_cannot_be_are_named() {
        let parse = |bytes: &[u8]| parse(Path::new("x"), bytes).unwrap_err().to_string();
        assert!(parse(&[]).contains("expected 8 bytes of header length, found 0 bytes"));
        assert!(parse(&[1; 7]).contains("found 7 bytes"));
        assert!(parse(&u64::MAX.to_le_bytes()).contains("expected 18446744073709551615 bytes of header"));
        assert!(parse(&3u64.to_le_bytes()).contains("expected 3 bytes of header"));
    }
}
