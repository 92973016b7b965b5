//! What `printf` in device code writes. Each conversion is done by the C library. The text of a launch is queued when it
//! ends, CTA by CTA, and goes to the C library's `stdout` when the host next waits.
//!
//! Until then at most as many bytes of text are kept as `CU_LIMIT_PRINTF_FIFO_SIZE` says, over all contexts, so that a
//! loop that prints without end does not take the machine's memory. What comes when they are full is dropped, and stderr
//! says so. (A GPU keeps formats and arguments instead of text, and loses the oldest.)

#![allow(unsafe_code)]

use std::{
    ffi::{CString, c_char, c_int},
    io::{self, Write as _},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

/// The most that one conversion writes.
const MAX_BYTES: usize = 1 << 20;

/// What the limit is before it is set.
pub const DEFAULT_LIMIT: usize = 1 << 20;

static LIMIT: AtomicUsize = AtomicUsize::new(DEFAULT_LIMIT);

/// Bytes that launches have kept and that are not written yet, and bytes that they dropped.
static N_KEPT: AtomicUsize = AtomicUsize::new(0);
static N_DROPPED: AtomicUsize = AtomicUsize::new(0);

/// Sets the most bytes that are kept.
pub fn set_limit(bytes: usize) {
    LIMIT.store(bytes, Relaxed);
}

/// Appends the text of one call to what its CTA printed, if there is room.
pub fn keep(text: &[u8], printed: &mut Vec<u8>) {
    let limit = LIMIT.load(Relaxed);
    let room = |kept: usize| kept.checked_add(text.len()).filter(|sum| *sum <= limit);
    if N_KEPT.fetch_update(Relaxed, Relaxed, room).is_ok() {
        printed.extend(text);
    } else {
        N_DROPPED.fetch_add(text.len(), Relaxed);
    }
}

static QUEUED: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// Queues what the CTAs of a launch printed, in the order of their indices.
pub fn queue(mut printed: Vec<(u64, Vec<u8>)>) {
    if printed.is_empty() {
        return;
    }
    printed.sort_by_key(|it| it.0);
    let mut queued = QUEUED.lock().unwrap_or_else(PoisonError::into_inner);
    printed.iter().for_each(|it| queued.extend(&it.1));
}

/// Writes what is queued, and says how much is missing.
pub fn flush() {
    unsafe extern "C" {
        static stdout: *mut libc::FILE;
    }
    let mut queued = QUEUED.lock().unwrap_or_else(PoisonError::into_inner);
    if !queued.is_empty() {
        // SAFETY: `stdout` is open, or writing to it fails, about which nothing can be done.
        unsafe {
            libc::fwrite(queued.as_ptr().cast(), 1, queued.len(), stdout);
            libc::fflush(stdout);
        }
        N_KEPT.fetch_sub(queued.len(), Relaxed);
        queued.clear();
    }
    let n_dropped = N_DROPPED.swap(0, Relaxed);
    if n_dropped > 0 {
        let limit = LIMIT.load(Relaxed);
        // Like every report: nobody may be listening.
        let _ = writeln!(
            io::stderr(),
            "cuda-emulator: {n_dropped} bytes that device code printed are missing: the buffer has {limit}; wait more \
             often, or raise CU_LIMIT_PRINTF_FIFO_SIZE with cuCtxSetLimit"
        );
    }
}

/// The arguments of a call, in the buffer that the compiler fills: each aligned to its size.
pub struct Arguments<'a> {
    at: u64,
    memory: &'a dyn Fn(u64, u64) -> Option<u64>,
    pub n_taken: u32,
}

impl<'a> Arguments<'a> {
    /// `memory` reads up to eight bytes at a generic address.
    pub fn new(at: u64, memory: &'a dyn Fn(u64, u64) -> Option<u64>) -> Self {
        Self { at, memory, n_taken: 0 }
    }

    /// # Errors
    /// The address that cannot be read.
    fn take(&mut self, bytes: u64) -> Result<u64, u64> {
        let at = self.at.checked_next_multiple_of(bytes).ok_or(self.at)?;
        let end = at.checked_add(bytes).ok_or(at)?;
        let value = (self.memory)(at, bytes).ok_or(at)?;
        self.at = end;
        self.n_taken += 1;
        Ok(value)
    }

    fn int(&mut self) -> Result<c_int, u64> {
        self.take(4).map(|value| value as c_int)
    }
}

/// One conversion: `%-8.3lld` is flags `-`, width 8, precision 3, length `ll`, kind `d`.
struct Conversion<'a> {
    flags: &'a str,
    width: Option<c_int>,
    precision: Option<c_int>,
    length: &'a str,
    kind: char,
}

/// Formats as C does; what is no conversion is copied. `string` reads a C string for `%s`.
///
/// # Errors
/// The address that cannot be read.
pub fn format(
    format: &[u8],
    arguments: &mut Arguments,
    string: &dyn Fn(u64) -> Result<Vec<u8>, u64>,
) -> Result<Vec<u8>, u64> {
    let mut text = Vec::new();
    let mut rest = format;
    while let Some(start) = rest.iter().position(|it| *it == b'%') {
        text.extend(&rest[..start]);
        rest = &rest[start + 1..];
        let length = rest.iter().position(|it| !b"-+ #0123456789.*hljztL".contains(it)).unwrap_or(rest.len());
        let (spec, tail) = rest.split_at(length);
        let Some((&kind, tail)) = tail.split_first() else {
            text.push(b'%');
            break;
        };
        if kind == b'%' {
            text.push(b'%');
        } else if b"diuoxXcsfFeEgGaAp".contains(&kind) {
            let spec = std::str::from_utf8(spec).expect("the characters of a conversion are ASCII");
            text.extend(parse(spec, kind.into(), arguments)?.write(arguments, string)?);
        } else {
            text.push(b'%');
            continue;
        }
        rest = tail;
    }
    text.extend(rest);
    Ok(text)
}

/// Takes a conversion apart; a `*` is an argument.
fn parse<'a>(spec: &'a str, kind: char, arguments: &mut Arguments) -> Result<Conversion<'a>, u64> {
    let split = |text: &'a str, set: &str| text.split_at(text.find(|c| !set.contains(c)).unwrap_or(text.len()));
    let (flags, rest) = split(spec, "-+ #0");
    let (width, rest) = split(rest, "0123456789*");
    let width = number(width, arguments)?;
    let (precision, length) = match rest.strip_prefix('.') {
        Some(rest) => {
            let (precision, length) = split(rest, "0123456789*");
            (Some(number(precision, arguments)?.unwrap_or(0)), length)
        }
        None => (None, rest),
    };
    Ok(Conversion { flags, width, precision, length, kind })
}

fn number(text: &str, arguments: &mut Arguments) -> Result<Option<c_int>, u64> {
    match text {
        "" => Ok(None),
        "*" => arguments.int().map(Some),
        digits => Ok(Some(digits.parse().unwrap_or(0))),
    }
}

impl Conversion<'_> {
    fn write(&self, arguments: &mut Arguments, string: &dyn Fn(u64) -> Result<Vec<u8>, u64>) -> Result<Vec<u8>, u64> {
        let is_long = matches!(self.length, "l" | "ll" | "j" | "z" | "t");
        let length = if is_long { "ll" } else { self.length };
        Ok(match self.kind {
            'd' | 'i' | 'u' | 'o' | 'x' | 'X' if is_long => {
                let value = arguments.take(8)?;
                // SAFETY: the conversion takes a long long.
                self.run(length, |out, room, spec| unsafe { libc::snprintf(out, room, spec, value) })
            }
            'd' | 'i' | 'u' | 'o' | 'x' | 'X' | 'c' => {
                let value = arguments.int()?;
                let length = if matches!(self.length, "h" | "hh") && self.kind != 'c' { self.length } else { "" };
                // SAFETY: the conversion takes an int.
                self.run(length, |out, room, spec| unsafe { libc::snprintf(out, room, spec, value) })
            }
            's' => {
                let mut text = string(arguments.take(8)?)?;
                text.push(0);
                // SAFETY: the conversion takes a string, and the text ends with a NUL.
                self.run("", |out, room, spec| unsafe { libc::snprintf(out, room, spec, text.as_ptr()) })
            }
            'p' => {
                let value = arguments.take(8)? as *const u8;
                // SAFETY: the conversion takes a pointer, which is not followed.
                self.run("", |out, room, spec| unsafe { libc::snprintf(out, room, spec, value) })
            }
            _ => {
                let value = f64::from_bits(arguments.take(8)?);
                // SAFETY: the conversion takes a double.
                self.run("", |out, room, spec| unsafe { libc::snprintf(out, room, spec, value) })
            }
        })
    }

    /// Calls `print` with room for what it writes.
    fn run(&self, length: &str, print: impl Fn(*mut c_char, usize, *const c_char) -> c_int) -> Vec<u8> {
        let Self { flags, width, precision, kind, .. } = self;
        let width = width.map_or(String::new(), |it| it.to_string());
        // A negative precision, which only a `*` can give, counts as none.
        let precision = precision.filter(|it| *it >= 0).map_or(String::new(), |it| format!(".{it}"));
        let spec = CString::new(format!("%{flags}{width}{precision}{length}{kind}")).expect("there is no NUL in it");
        let needed = usize::try_from(print(std::ptr::null_mut(), 0, spec.as_ptr())).unwrap_or(0).min(MAX_BYTES);
        let mut text = vec![0; needed + 1];
        print(text.as_mut_ptr().cast(), text.len(), spec.as_ptr());
        text.truncate(needed);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Formats with arguments that lie as the compiler lays them; a string is at the address of its index in `strings`.
    fn printed(text: &str, buffer: &[u8], strings: &[&str]) -> String {
        let memory = |at: u64, n: u64| {
            let bytes = buffer.get(at as usize..(at + n) as usize)?;
            let mut value = [0; 8];
            value[..bytes.len()].copy_from_slice(bytes);
            Some(u64::from_le_bytes(value))
        };
        let string = |at: u64| strings.get(at as usize).map(|it| it.as_bytes().to_vec()).ok_or(at);
        let text = format(text.as_bytes(), &mut Arguments::new(0, &memory), &string).unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn conversions_are_those_of_c() {
        let int = |value: i32| value.to_le_bytes().to_vec();
        let long = |value: i64| value.to_le_bytes().to_vec();
        let double = |value: f64| value.to_le_bytes().to_vec();
        assert_eq!(printed("100%% %q 7%", &[], &[]), "100% %q 7%");
        assert_eq!(
            printed("%d|%5u|%-4x|%+i|%c", &[int(-3), int(7), int(255), int(4), int(65)].concat(), &[]),
            "-3|    7|ff  |+4|A"
        );
        assert_eq!(
            printed("%lld %llu %zx", &[long(-1), long(-1), long(255)].concat(), &[]),
            "-1 18446744073709551615 ff"
        );
        assert_eq!(
            printed("%5.2f %e %g", &[double(2.71), double(1e10), double(0.5)].concat(), &[]),
            " 2.71 1.000000e+10 0.5"
        );
        assert_eq!(printed("%s %p %.2s", &[long(0), long(0x12), long(1)].concat(), &["abc", "xyz"]), "abc 0x12 xy");
        assert_eq!(printed("%*d|%-*.*f", &[int(4), int(1), int(6), int(1), double(2.55)].concat(), &[]), "   1|2.5   ");
        assert_eq!(printed("%hhd %hx", &[int(257), int(0x12345)].concat(), &[]), "1 2345");
    }

    #[test]
    fn an_int_before_a_double_is_padded() {
        let mut buffer = 1i32.to_le_bytes().to_vec();
        buffer.extend([0xff; 4]);
        buffer.extend(1.5f64.to_le_bytes());
        assert_eq!(printed("%d %.1f", &buffer, &[]), "1 1.5");
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let nothing = |_, _| None;
        let text = format(b"%d", &mut Arguments::new(16, &nothing), &|_| Ok(Vec::new()));
        assert_eq!(text, Err(16));
        for at in [u64::MAX - 7, u64::MAX - 3, u64::MAX] {
            let everything = |_, _| Some(0);
            let text = format(b"%lld", &mut Arguments::new(at, &everything), &|_| Ok(Vec::new()));
            assert!(text.is_err(), "{at:#x} is too near the end");
        }
    }
}
