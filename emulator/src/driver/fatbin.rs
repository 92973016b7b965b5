//! The PTX in a fat binary: the container that `nvcc -fatbin` writes, with code for several architectures.

use super::{error::Error, ptx_header::Refusal};

const MAGIC: u32 = 0xba55_ed50;
/// A struct in a program's image that points to the container.
const WRAPPER_MAGIC: u32 = 0x4662_43b1;
const PTX: u16 = 1;
/// Of an entry: its text is compressed.
const COMPRESSED: u64 = 0x2000 | 0x8000;

/// Why machine code is refused.
pub const MACHINE_CODE: &str = "the image is machine code, the emulator runs PTX: compile with `nvcc -ptx`, or with \
                                `nvcc -fatbin --no-compress` and PTX among the architectures";

/// Whether an image begins like a fat binary or like a wrapper of one.
pub fn is_fatbin(image: &[u8]) -> bool {
    [MAGIC, WRAPPER_MAGIC].iter().any(|magic| image.starts_with(&magic.to_le_bytes()))
}

/// The bytes of a fat binary in memory.
///
/// # Safety
/// `image` points to a fat binary or to a wrapper of one, and lives for `'a`.
pub unsafe fn bytes<'a>(image: *const u8) -> &'a [u8] {
    // SAFETY: a container begins with magic number, version, header's size and size of the rest; a wrapper with magic
    // number, version and the address of the container.
    unsafe {
        let mut at = image;
        if at.cast::<u32>().read_unaligned() == WRAPPER_MAGIC {
            at = at.add(8).cast::<*const u8>().read_unaligned();
        }
        let header = usize::from(at.add(6).cast::<u16>().read_unaligned());
        let rest = at.add(8).cast::<u64>().read_unaligned() as usize;
        std::slice::from_raw_parts(at, header + rest)
    }
}

/// Reads a little-endian number of `N` bytes.
fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<u64> {
    let mut value = [0; 8];
    value[..N].copy_from_slice(bytes.get(at..at.checked_add(N)?)?);
    Some(u64::from_le_bytes(value))
}

/// The PTX for the newest architecture that the card has.
///
/// # Errors
/// When there is none that can be read.
pub fn ptx(image: &[u8], capability: (u32, u32)) -> Result<&[u8], Refusal> {
    let cut = || (Error::INVALID_IMAGE, "the fat binary ends in the middle of an entry".to_owned());
    let mut at = number::<2>(image, 6).ok_or_else(cut)? as usize;
    let card = u64::from(10 * capability.0 + capability.1);
    let (mut best, mut is_compressed): (Option<(u64, &[u8])>, bool) = (None, false);
    while at < image.len() {
        let field = |offset| number::<4>(image, at + offset).ok_or_else(cut);
        let (kind, header, architecture) = (field(0)? as u16, field(4)? as usize, field(28)?);
        let size = number::<8>(image, at + 8).ok_or_else(cut)?;
        let flags = number::<8>(image, at + 40).ok_or_else(cut)?;
        let start = at.checked_add(header).ok_or_else(cut)?;
        let end = usize::try_from(size).ok().and_then(|size| start.checked_add(size)).ok_or_else(cut)?;
        let payload = image.get(start..end).ok_or_else(cut)?;
        if kind == PTX && architecture <= card {
            is_compressed |= flags & COMPRESSED != 0;
            if flags & COMPRESSED == 0 && best.is_none_or(|it| it.0 < architecture) {
                best = Some((architecture, payload));
            }
        }
        // An entry that is empty would be read for ever.
        at = end.max(at + 1);
    }
    match best {
        Some((_, text)) => Ok(text.split(|byte| *byte == 0).next().unwrap_or(text)),
        None if is_compressed => {
            let text = "the PTX in the fat binary is compressed: compile with `nvcc --no-compress`";
            Err((Error::NO_BINARY_FOR_GPU, text.to_owned()))
        }
        None => Err((Error::NO_BINARY_FOR_GPU, MACHINE_CODE.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(kind: u16, architecture: u32, flags: u64, text: &[u8]) -> Vec<u8> {
        let mut entry = vec![0; 64];
        entry[..2].copy_from_slice(&kind.to_le_bytes());
        entry[4..8].copy_from_slice(&64u32.to_le_bytes());
        entry[8..16].copy_from_slice(&(text.len() as u64).to_le_bytes());
        entry[28..32].copy_from_slice(&architecture.to_le_bytes());
        entry[40..48].copy_from_slice(&flags.to_le_bytes());
        [&entry, text].concat()
    }

    fn container(entries: &[Vec<u8>]) -> Vec<u8> {
        let body = entries.concat();
        let mut header = MAGIC.to_le_bytes().to_vec();
        header.extend([1, 0, 16, 0]);
        header.extend((body.len() as u64).to_le_bytes());
        [header, body].concat()
    }

    #[test]
    fn the_newest_ptx_for_the_card_is_taken() {
        let image = container(&[
            entry(2, 90, 0, b"\x7fELF"),
            entry(1, 80, 0, b"for 80\0\0"),
            entry(1, 90, 0, b"for 90\0"),
            entry(1, 100, 0, b"for 100"),
        ]);
        assert_eq!(ptx(&image, (9, 0)).unwrap(), b"for 90");
        assert_eq!(ptx(&image, (8, 9)).unwrap(), b"for 80");
        assert_eq!(ptx(&image, (7, 5)).unwrap_err().0, Error::NO_BINARY_FOR_GPU);
        // SAFETY: the container is whole.
        assert_eq!(unsafe { bytes(image.as_ptr()) }, image);
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        let compressed = container(&[entry(1, 80, 0x2000, b"?")]);
        assert!(ptx(&compressed, (9, 0)).unwrap_err().1.contains("--no-compress"));
        let whole = container(&[entry(1, 80, 0, b"text"), entry(2, 80, 0, b"")]);
        for n in 0..whole.len() {
            let _ = ptx(&whole[..n], (9, 0));
        }
    }
}
