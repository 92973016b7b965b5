//! What the card does about heat and power while it is measured: NVIDIA's management library, where it is there.

use super::{Device, error};
use cudarc::driver::sys;
use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
use std::ffi::{CString, c_char, c_int, c_uint, c_void};

/// It comes with the driver.
const LIBRARY: &str = "libnvidia-ml.so.1";

/// nvmlClockType_t
const SM: c_uint = 1;
const MEMORY: c_uint = 2;
/// nvmlTemperatureSensors_t: the GPU itself.
const GPU: c_uint = 0;

/// nvmlClocksThrottleReasons, those that make a measurement worth less than it could be. Not among them: idle, and clocks
/// that somebody has set.
const THROTTLING: [(u64, &str); 6] = [
    (0x4, "power cap"),
    (0x8, "hardware slowdown"),
    (0x10, "sync boost"),
    (0x20, "thermal slowdown by the driver"),
    (0x40, "thermal slowdown by the hardware"),
    (0x80, "power brake"),
];

/// Looks at a card's clocks and temperature.
pub struct Monitor {
    library: Library,
    card: *mut c_void,
}

/// At one moment; what the library does not say is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    pub sm_mhz: Option<u32>,
    pub sm_max_mhz: Option<u32>,
    pub memory_mhz: Option<u32>,
    pub memory_max_mhz: Option<u32>,
    pub celsius: Option<u32>,
    pub milliwatts: Option<u32>,
    /// Why the clocks are lower than they could be.
    pub throttled_by: Vec<&'static str>,
}

impl Device {
    /// What looks at this card, or why nothing can.
    pub fn monitor(&self) -> Result<Monitor, String> {
        if self.is_emulator() {
            return Err("the emulator has no clocks".into());
        }
        Monitor::open(LIBRARY, &self.pci_bus_id()?)
    }

    fn pci_bus_id(&self) -> Result<CString, String> {
        let mut text = [0 as c_char; 32];
        // SAFETY: the driver writes a string into these bytes, with its NUL, and knows their number.
        let code = unsafe {
            sys::cuDeviceGetPCIBusId(text.as_mut_ptr(), text.len() as c_int, self.0.context.cuda.cu_device())
        };
        code.result().map_err(|it| format!("the driver does not say where the card is: {}", error::reason(it)))?;
        let bytes: Vec<u8> = text.iter().map(|it| it.cast_unsigned()).take_while(|it| *it != 0).collect();
        Ok(CString::new(bytes).expect("it ends at the first NUL"))
    }
}

impl Monitor {
    fn open(library: &str, pci_bus_id: &CString) -> Result<Monitor, String> {
        // SAFETY: opening NVML runs only its own initialisers, which every program with NVML runs.
        let library = unsafe { Library::open(Some(library), RTLD_NOW | RTLD_LOCAL) }
            .map_err(|_| format!("{library} is not there"))?;
        let mut card = std::ptr::null_mut();
        // SAFETY: these are the types that nvml.h declares; `card` is a valid place for the one handle that is written.
        let codes = unsafe {
            let init = library.get::<unsafe extern "C" fn() -> c_int>(b"nvmlInit_v2");
            let find = library.get::<unsafe extern "C" fn(*const c_char, *mut *mut c_void) -> c_int>(
                b"nvmlDeviceGetHandleByPciBusId_v2",
            );
            let (Ok(init), Ok(find)) = (init, find) else { return Err("this NVML is too old".into()) };
            (init(), find(pci_bus_id.as_ptr(), &mut card))
        };
        match codes {
            (0, 0) => Ok(Monitor { library, card }),
            _ => Err(format!("NVML does not know the card {}", pci_bus_id.to_string_lossy())),
        }
    }

    /// As it is now.
    pub fn read(&self) -> Reading {
        let reasons = self.number::<u64>(b"nvmlDeviceGetCurrentClocksThrottleReasons").unwrap_or(0);
        Reading {
            sm_mhz: self.number_of(b"nvmlDeviceGetClockInfo", SM),
            sm_max_mhz: self.number_of(b"nvmlDeviceGetMaxClockInfo", SM),
            memory_mhz: self.number_of(b"nvmlDeviceGetClockInfo", MEMORY),
            memory_max_mhz: self.number_of(b"nvmlDeviceGetMaxClockInfo", MEMORY),
            celsius: self.number_of(b"nvmlDeviceGetTemperature", GPU),
            milliwatts: self.number(b"nvmlDeviceGetPowerUsage"),
            throttled_by: THROTTLING.iter().filter(|(bit, _)| reasons & bit != 0).map(|(_, name)| *name).collect(),
        }
    }

    /// What a function says of the card.
    fn number<T: Default>(&self, function: &[u8]) -> Option<T> {
        let mut number = T::default();
        // SAFETY: `read` names functions that nvml.h declares with these types, and `number` is a valid place for theirs.
        let code = unsafe {
            self.library.get::<unsafe extern "C" fn(*mut c_void, *mut T) -> c_int>(function).ok()?(
                self.card,
                &mut number,
            )
        };
        (code == 0).then_some(number)
    }

    /// What a function says of one of the card's parts.
    fn number_of(&self, function: &[u8], part: c_uint) -> Option<u32> {
        let mut number = 0;
        // SAFETY: as above.
        let code = unsafe {
            self.library.get::<unsafe extern "C" fn(*mut c_void, c_uint, *mut u32) -> c_int>(function).ok()?(
                self.card,
                part,
                &mut number,
            )
        };
        (code == 0).then_some(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;
    use std::process::Command;

    /// A small one in C.
    fn library(dir: &Path) -> String {
        const SOURCE: &str = r#"
            #include <string.h>
            int nvmlInit_v2(void) { return 0; }
            int nvmlDeviceGetHandleByPciBusId_v2(const char *id, void **card) {
                static int it = 7; *card = &it; return strcmp(id, "0000:01:00.0");
            }
            int nvmlDeviceGetClockInfo(void *card, unsigned part, unsigned *mhz) { *mhz = 1000 * part + *(int *)card; return 0; }
            int nvmlDeviceGetMaxClockInfo(void *card, unsigned part, unsigned *mhz) { *mhz = 1980; return part == 2 ? 3 : 0; }
            int nvmlDeviceGetTemperature(void *card, unsigned sensor, unsigned *celsius) { *celsius = 41 + sensor; return 0; }
            int nvmlDeviceGetCurrentClocksThrottleReasons(void *card, unsigned long long *reasons) { *reasons = 0x25; return 0; }
        "#;
        let (source, library) = (dir.join("nvml.c"), dir.join("nvml.so"));
        std::fs::write(&source, SOURCE).unwrap();
        assert!(
            Command::new("gcc").args(["-shared", "-fPIC", "-o"]).args([&library, &source]).status().unwrap().success()
        );
        library.to_str().unwrap().to_owned()
    }

    #[test]
    fn a_reading_is_what_the_library_says() {
        let dir = tempfile::tempdir().unwrap();
        let monitor = Monitor::open(&library(dir.path()), &CString::new("0000:01:00.0").unwrap()).unwrap();
        let expected = Reading {
            sm_mhz: Some(1007),
            sm_max_mhz: Some(1980),
            memory_mhz: Some(2007),
            memory_max_mhz: None,
            celsius: Some(41),
            milliwatts: None, // there is no such function
            throttled_by: vec!["power cap", "thermal slowdown by the driver"],
        };
        assert_eq!(monitor.read(), expected);
    }

    #[test]
    fn what_is_missing_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let open = |library: &str, id| Monitor::open(library, &CString::new(id).unwrap()).err().unwrap();
        assert_eq!(open("no-such-nvml.so", ""), "no-such-nvml.so is not there");
        assert_eq!(open(&library(dir.path()), "0000:02:00.0"), "NVML does not know the card 0000:02:00.0");
    }
}
