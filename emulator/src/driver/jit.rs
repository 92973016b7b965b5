//! The options of the loading calls (`CUjit_option`): the logs, the time, and what chooses how a GPU's compiler works,
//! which is checked and changes nothing.

use super::{error::Error, module::complain, ptx_header::Refusal};
use std::{ffi::c_void, ptr, slice, time::Instant};

/// `CU_JIT_*`.
const WALL_TIME: u32 = 2;
/// Each of the logs is followed by the option with its buffer's size.
const INFO_LOG: u32 = 3;
const ERROR_LOG: u32 = 5;
const OPTIMIZATION_LEVEL: u32 = 7;
const LOG_VERBOSE: u32 = 12;
const LAST: u32 = 34;
/// More options than there are cannot all be different.
const N_MOST: u32 = LAST + 1;

/// The options of one call.
pub struct JitOptions<'a> {
    names: &'a [u32],
    values: &'a mut [*mut c_void],
    started: Instant,
}

impl<'a> JitOptions<'a> {
    /// # Errors
    /// When an option is unknown, or its value wrong.
    ///
    /// # Safety
    /// `names` and `values` are null or `n` long, and the buffers as long as their sizes say, for `'a`.
    pub unsafe fn new(n: u32, names: *mut u32, values: *mut *mut c_void) -> Result<Self, Error> {
        let started = Instant::now();
        if n == 0 {
            return Ok(Self { names: &[], values: &mut [], started });
        }
        if names.is_null() || values.is_null() || n > N_MOST {
            return Err(Error::INVALID_VALUE);
        }
        // SAFETY: not null, so `n` long, by the caller's promise.
        let options = unsafe {
            Self {
                names: slice::from_raw_parts(names, n as usize),
                values: slice::from_raw_parts_mut(values, n as usize),
                started,
            }
        };
        let is_wrong_level = options.value(OPTIMIZATION_LEVEL).is_some_and(|level| level > 4);
        if options.names.iter().any(|name| *name > LAST) || is_wrong_level {
            return Err(Error::INVALID_VALUE);
        }
        Ok(options)
    }

    fn index(&self, name: u32) -> Option<usize> {
        self.names.iter().position(|it| *it == name)
    }

    /// The value of an option that is given by value, in place of a pointer, in the low 32 bits.
    fn value(&self, name: u32) -> Option<u32> {
        self.index(name).map(|index| self.values[index] as usize as u32)
    }

    /// Whether the info log is to say more.
    fn is_verbose(&self) -> bool {
        self.value(LOG_VERBOSE).is_some_and(|value| value != 0)
    }

    /// Fills the logs and the time after a load that made something, with a text about it for a verbose log.
    ///
    /// # Errors
    /// The refusal's code, when there is one; why is said on stderr too.
    pub fn finish<T>(mut self, made: Result<(T, String), Refusal>) -> Result<T, Error> {
        let info = made.as_ref().map_or("", |it| if self.is_verbose() { it.1.as_str() } else { "" });
        self.write_log(INFO_LOG, info);
        self.write_log(ERROR_LOG, made.as_ref().err().map_or("", |refusal| refusal.1.as_str()));
        if let Some(index) = self.index(WALL_TIME) {
            let milliseconds = self.started.elapsed().as_secs_f32() * 1e3;
            self.values[index] = milliseconds.to_bits() as usize as *mut c_void;
        }
        made.map(|it| it.0).map_err(|refusal| complain(&refusal))
    }

    /// Writes `text` and a NUL into the buffer of option `log`, and the length with the NUL in place of its size.
    fn write_log(&mut self, log: u32, text: &str) {
        let (Some(buffer), Some(size)) = (self.index(log), self.index(log + 1)) else { return };
        let room = self.value(log + 1).unwrap_or(0) as usize;
        let out = self.values[buffer].cast::<u8>();
        if room == 0 || out.is_null() {
            return;
        }
        let n = text.len().min(room - 1);
        // SAFETY: `n + 1 <= room`, and the buffer is as long as its size says.
        unsafe {
            ptr::copy_nonoverlapping(text.as_ptr(), out, n);
            out.add(n).write(0);
        }
        self.values[size] = (n + 1) as *mut c_void;
    }
}
