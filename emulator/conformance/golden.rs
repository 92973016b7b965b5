//! What a GPU computed, in a file: results alone, since the operands come of a seed.
//!
//! Lines of text, then an empty one: `cuda-emulator golden 1`, `card NAME`, `driver 12040`, `date 2026-01-31`. Then for each
//! case, little-endian: the label's length (u16) and bytes, the number of vectors (u32), a hash of the operands (u64), the
//! number of results (u8), the bytes of each result (u8 each), and the values [result][vector] in so many bytes each.

use super::{
    batch::Batch,
    cases::Case,
    run::Results,
    types::{Kind, Type},
};
use std::time::{SystemTime, UNIX_EPOCH};

const MAGIC: &str = "cuda-emulator golden 1";

/// A golden file.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Golden {
    pub card: String,
    pub driver: i32,
    pub date: String,
    pub entries: Vec<Entry>,
}

/// The results of a case.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry {
    pub label: String,
    pub n: usize,
    pub hash: u64,
    pub results: Results,
    /// Of each result.
    pub n_bytes: Vec<u8>,
}

impl Entry {
    pub fn new(batch: &Batch, case: &Case, results: Results) -> Self {
        let n_bytes = case.results.iter().map(|&ty| stored_bytes(ty)).collect();
        Self { label: case.label.clone(), n: batch.n, hash: hash(&batch.inputs), results, n_bytes }
    }
}

/// A truth takes a byte, everything else what its register does.
fn stored_bytes(ty: Type) -> u8 {
    if ty.kind == Kind::Pred { 1 } else { (ty.register_bits() / 8) as u8 }
}

/// FNV-1a of the operands [operand][vector].
pub fn hash(inputs: &[Vec<u64>]) -> u64 {
    let bytes = inputs.iter().flatten().flat_map(|it| it.to_le_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

impl Golden {
    pub fn encode(&self) -> Vec<u8> {
        let Self { card, driver, date, entries } = self;
        let mut file = format!("{MAGIC}\ncard {card}\ndriver {driver}\ndate {date}\n\n").into_bytes();
        for entry in entries {
            file.extend((entry.label.len() as u16).to_le_bytes());
            file.extend(entry.label.as_bytes());
            file.extend((entry.n as u32).to_le_bytes());
            file.extend(entry.hash.to_le_bytes());
            file.push(entry.n_bytes.len() as u8);
            file.extend(&entry.n_bytes);
            for (values, &n_bytes) in entry.results.iter().zip(&entry.n_bytes) {
                file.extend(values.iter().flat_map(|it| it.to_le_bytes().into_iter().take(n_bytes.into())));
            }
        }
        file
    }

    /// Reads what [`Golden::encode`] has written; the error says what is wrong with it.
    pub fn decode(file: &[u8]) -> Result<Self, String> {
        let mut reader = Reader { rest: file };
        let magic = reader.line()?;
        if magic != MAGIC {
            return Err(format!("it begins with `{magic}`, not with `{MAGIC}`"));
        }
        let mut golden = Self { card: reader.field("card")?, ..Self::default() };
        golden.driver = reader.field("driver")?.parse().map_err(|_| "its driver version is no number")?;
        golden.date = reader.field("date")?;
        if !reader.line()?.is_empty() {
            return Err("there is no empty line behind its head".to_owned());
        }
        while !reader.rest.is_empty() {
            golden.entries.push(reader.entry()?);
        }
        Ok(golden)
    }
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    fn take(&mut self, n: usize) -> Result<&[u8], String> {
        let (taken, rest) = self.rest.split_at_checked(n).ok_or("it ends within a case")?;
        self.rest = rest;
        Ok(taken)
    }

    /// A little-endian number of `n` bytes.
    fn number(&mut self, n: usize) -> Result<u64, String> {
        Ok(self.take(n)?.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte)))
    }

    fn line(&mut self) -> Result<String, String> {
        let end = self.rest.iter().position(|&it| it == b'\n').ok_or("a line of its head does not end")?;
        let line = String::from_utf8_lossy(self.take(end)?).into_owned();
        self.take(1)?;
        Ok(line)
    }

    fn field(&mut self, name: &str) -> Result<String, String> {
        let line = self.line()?;
        let value = line.strip_prefix(name).and_then(|it| it.strip_prefix(' '));
        value.map(str::to_owned).ok_or_else(|| format!("expected `{name} ...` in its head, found `{line}`"))
    }

    fn entry(&mut self) -> Result<Entry, String> {
        let length = self.number(2)? as usize;
        let label = String::from_utf8_lossy(self.take(length)?).into_owned();
        let (n, hash) = (self.number(4)? as usize, self.number(8)?);
        let n_results = self.number(1)? as usize;
        let n_bytes = self.take(n_results)?.to_vec();
        if n_bytes.iter().any(|it| !(1..=8).contains(it)) {
            return Err(format!("a result of {label} is not of 1 to 8 bytes"));
        }
        let mut results = Results::new();
        for &n_bytes in &n_bytes {
            let values = self.take(n * usize::from(n_bytes))?.chunks(n_bytes.into());
            results
                .push(values.map(|it| it.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte))).collect());
        }
        Ok(Entry { label, n, hash, results, n_bytes })
    }
}

/// The day in UTC, as 2026-01-31.
pub fn today() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |it| it.as_secs());
    let (mut year, mut day) = (1970, seconds / 86_400);
    let days = |year: u64| {
        if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) { 366 } else { 365 }
    };
    while day >= days(year) {
        day -= days(year);
        year += 1;
    }
    let mut month = 1;
    for length in [31, days(year) - 337, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if day < length {
            break;
        }
        day -= length;
        month += 1;
    }
    format!("{year}-{month:02}-{:02}", day + 1)
}
