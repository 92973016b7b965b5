//! Loading: weights go from their files into tiles on the device, while the kernels are compiled.
//!
//! ```text
//!   file ─ a reader ─► pinned memory of the host ─ kernel `tile`, across the bus ─► tiles on the device
//! ```
//!
//! A tensor goes in pieces of some rows. Several readers take the pieces in order, each with two pieces of pinned memory
//! at its disposal, so that one is filled while the device reads the other. `tile` reads it there itself: there is no
//! copy in between, and device memory holds nothing but the plan at any time.

mod noise;

pub use noise::noise_weights;

use crate::{
    config::WeightType,
    device::{Buffer, Device, DeviceError, Staging},
    error::{Error, Result},
    kernel::Half,
    kernels::Tile,
    plan::Plan,
    weights::{TensorView, Weights, names::TensorSpec},
};
use std::{
    collections::BTreeMap,
    iter,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    thread,
    time::{Duration, Instant},
};

/// Pinned memory of a piece: enough to keep disk and bus busy, and little to allocate.
const PIECE_BYTES: usize = 8 << 20;
/// As small as a piece gets where the system lets us pin no more.
const MIN_PIECE_BYTES: usize = 256 << 10;
/// Pieces of pinned memory for each reader: one is filled, one is read by the device.
const PIECES_PER_READER: usize = 2;

/// How weights are read. The result does not depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loader {
    pub n_readers: usize,
    pub piece_bytes: usize,
}

/// The weights on the device, by their names in the plan.
pub struct Loaded<W> {
    /// Matrices in tiles, of [`tiles_shape`](crate::kernels::tiles_shape); vectors as they are.
    pub buffers: BTreeMap<String, Buffer<W>>,
    pub times: LoadTimes,
}

/// What loading took. Reading, uploading and compiling run beside each other: each is the time that it was busy.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LoadTimes {
    /// The driver and the device's context.
    pub open: Duration,
    /// From the files, on the reader that was busy longest.
    pub read: Moved,
    /// Across the bus and into tiles.
    pub upload: Moved,
    /// The kernels, from PTX to the card's code.
    pub jit: Duration,
    /// Reading, uploading and compiling together.
    pub load: Duration,
    /// One step of decoding, and its capture as a graph.
    pub warm_up_and_capture: Duration,
}

/// Bytes, and the time that something was busy moving them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Moved {
    pub bytes: u64,
    pub busy: Duration,
}

impl Moved {
    pub fn gb_per_s(&self) -> f64 {
        self.bytes as f64 / 1e9 / self.busy.as_secs_f64()
    }
}

/// Rows of a tensor.
struct Piece<'a> {
    spec: &'a TensorSpec,
    rows: TensorView<'a>,
    /// In the buffer.
    first_row: usize,
}

/// A piece in pinned memory.
struct Filled<'a, W> {
    piece: &'a Piece<'a>,
    staging: Staging<W>,
}

impl Default for Loader {
    /// Two to four readers, which leave half of the cores to the rest.
    fn default() -> Loader {
        let n_cores = thread::available_parallelism().map_or(1, usize::from);
        Loader { n_readers: (n_cores / 2).clamp(2, 4), piece_bytes: PIECE_BYTES }
    }
}

impl Loader {
    /// Allocates and fills the weights of the plan; `progress` hears of the bytes done and of all bytes. In the end every
    /// kernel is loaded, too.
    ///
    /// # Errors
    /// Too little memory on the device or pinned on the host, files that cannot be read or change meanwhile, kernels
    /// that the driver cannot load.
    pub fn load<W: Half>(
        &self,
        device: &Device,
        weights: &Weights,
        plan: &Plan,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Loaded<W>> {
        let started = Instant::now();
        let (buffers, read, upload) = self.move_weights(device, weights, plan, progress)?;
        let jit = device.load_kernels()?;
        let times = LoadTimes {
            open: device.opened_in(),
            read,
            upload,
            jit,
            load: started.elapsed(),
            warm_up_and_capture: Duration::ZERO,
        };
        Ok(Loaded { buffers, times })
    }

    fn move_weights<W: Half>(
        &self,
        device: &Device,
        weights: &Weights,
        plan: &Plan,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<(BTreeMap<String, Buffer<W>>, Moved, Moved)> {
        let mut buffers = allocate(device, plan)?;
        let stagings = self.stagings(device, weights)?;
        let pieces = pieces(weights, stagings[0].len());
        let total = pieces.iter().map(|it| it.n_elements() * size_of::<W>()).sum::<usize>() as u64;
        let (give_back, empty) = channel();
        stagings.into_iter().for_each(|staging| give_back.send(staging).expect("the receiver is here"));
        let work = &Work { pieces: &pieces, next: AtomicUsize::new(0), empty: Mutex::new(empty) };

        let reading = thread::scope(|scope| {
            let (fill, filled) = channel();
            let read = |fill| scope.spawn(move || work.read(weights.weight_type(), fill));
            let readers: Vec<_> = iter::repeat_n(fill, self.n_readers).map(read).collect();
            // After an error this drops both channels, upon which the readers end.
            upload(device, &mut buffers, filled, give_back, &mut |done| progress(done, total))?;
            Ok::<_, Error>(readers.into_iter().map(|it| it.join().expect("a reader does not panic")).max())
        })?;
        let reading = reading.expect("there is a reader");
        weights.check_unchanged()?;
        let uploading = work.all_empty().try_iter().map(|mut staging| staging.busy()).sum::<Result<_, _>>()?;
        let read_bytes = weights.tensors().map(|(_, tensor)| tensor.bytes.len() as u64).sum();
        Ok((buffers, Moved { bytes: read_bytes, busy: reading }, Moved { bytes: total, busy: uploading }))
    }

    /// Pinned memory for all readers, each as large as a piece or, where that is refused, smaller.
    fn stagings<W: Half>(&self, device: &Device, weights: &Weights) -> Result<Vec<Staging<W>>> {
        let widest = weights.tensors().map(|(_, tensor)| row_len(&tensor)).max().expect("a model has tensors");
        let n_stagings = self.n_readers * PIECES_PER_READER;
        let most = (self.piece_bytes / size_of::<W>()).max(widest);
        let least = (MIN_PIECE_BYTES / size_of::<W>()).max(widest);
        Ok(as_many_as_allowed(most, least, |len| (0..n_stagings).map(|_| device.alloc_staging(len)).collect())?)
    }
}

/// Halves `most` until it is granted; below `least` what was refused is an error.
fn as_many_as_allowed<T>(
    mut most: usize,
    least: usize,
    ask: impl Fn(usize) -> Result<T, DeviceError>,
) -> Result<T, DeviceError> {
    loop {
        match ask(most) {
            Err(DeviceError::Pinned { .. }) if most / 2 >= least => most /= 2,
            answer => return answer,
        }
    }
}

/// The weights' buffers, zeroed where something is not filled.
pub(crate) fn allocate<W: Half>(device: &Device, plan: &Plan) -> Result<BTreeMap<String, Buffer<W>>> {
    let allocated = plan.weights().map(|planned| {
        let n = planned.n_elements();
        let is_padded = n > planned.shape.iter().product();
        Ok((planned.name.clone(), if is_padded { device.zeroed(&[n])? } else { device.alloc(&[n])? }))
    });
    allocated.collect()
}

/// All tensors in the order of loading, in pieces of at most `max_len` elements.
fn pieces(weights: &Weights, max_len: usize) -> Vec<Piece<'_>> {
    let mut pieces = vec![];
    for (spec, tensor) in weights.tensors() {
        let n_rows = tensor.shape[0];
        let step = (max_len / row_len(&tensor)).clamp(1, n_rows);
        pieces.extend((0..n_rows).step_by(step).map(|start| Piece {
            spec,
            rows: tensor.rows(start..n_rows.min(start + step)),
            first_row: spec.first_row + start,
        }));
    }
    pieces
}

fn row_len(tensor: &TensorView) -> usize {
    tensor.shape[1..].iter().product()
}

impl Piece<'_> {
    fn n_elements(&self) -> usize {
        self.rows.shape.iter().product()
    }

    /// Fills pinned memory, as soon as the device has read what was there. The time is what reading took.
    fn read<W: Half>(&self, staging: &mut Staging<W>, weight_type: WeightType) -> Result<Duration> {
        let into = &mut staging.fill()?[..self.n_elements()];
        let started = Instant::now();
        self.rows.read(weight_type, bytemuck::cast_slice_mut(into))?;
        Ok(started.elapsed())
    }

    /// Starts what brings the piece from pinned memory to its place.
    fn upload<W: Half>(&self, device: &Device, staging: &mut Staging<W>, to: &mut Buffer<W>) -> Result<()> {
        let [n_rows, n_in] = self.rows.shape[..] else {
            return Ok(to.copy_from_at(self.first_row, &staging.fill()?[..self.n_elements()])?);
        };
        let [n_rows, n_in, first_row, pair_distance] =
            [n_rows, n_in, self.first_row, self.spec.pair_distance].map(|it| it as u32);
        staging
            .read_by(device, |rows| Tile { rows, tiles: to, n_rows, n_in, first_row, pair_distance }.launch(device))?;
        Ok(())
    }
}

/// What the readers share.
struct Work<'a, W> {
    pieces: &'a [Piece<'a>],
    /// The first piece that nobody has taken.
    next: AtomicUsize,
    /// Pinned memory to be filled.
    empty: Mutex<Receiver<Staging<W>>>,
}

impl<'a, W: Half> Work<'a, W> {
    /// One reader, until there is nothing to read or nobody who wants it. The time is what reading took.
    fn read(&self, weight_type: WeightType, filled: Sender<Result<Filled<'a, W>>>) -> Duration {
        let mut busy = Duration::ZERO;
        while let Some(piece) = self.pieces.get(self.next.fetch_add(1, Ordering::Relaxed)) {
            let Ok(mut staging) = self.all_empty().recv() else { break };
            let read = piece.read(&mut staging, weight_type).map(|took| {
                busy += took;
                Filled { piece, staging }
            });
            if filled.send(read).is_err() {
                break;
            }
        }
        busy
    }

    fn all_empty(&self) -> MutexGuard<'_, Receiver<Staging<W>>> {
        self.empty.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Brings pieces to the device as they come, and their pinned memory back to the readers.
fn upload<W: Half>(
    device: &Device,
    buffers: &mut BTreeMap<String, Buffer<W>>,
    filled: Receiver<Result<Filled<W>>>,
    empty: Sender<Staging<W>>,
    progress: &mut dyn FnMut(u64),
) -> Result<()> {
    let mut n_done = 0;
    for it in filled {
        let Filled { piece, mut staging } = it?;
        let buffer = buffers.get_mut(&piece.spec.buffer).expect("the plan has every tensor's buffer");
        piece.upload(device, &mut staging, buffer)?;
        n_done += (piece.n_elements() * size_of::<W>()) as u64;
        progress(n_done);
        empty.send(staging).expect("the receiver outlives the readers");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pinned_memory_that_is_refused_is_asked_for_again_in_smaller_pieces() {
        let refused = |bytes| DeviceError::Pinned { bytes, reason: "no more".into() };
        let at_most = |limit| move |len| if len <= limit { Ok(len) } else { Err(refused(len)) };
        assert_eq!(as_many_as_allowed(64, 10, at_most(100)).unwrap(), 64);
        assert_eq!(as_many_as_allowed(64, 10, at_most(20)).unwrap(), 16);
        let error = as_many_as_allowed(64, 10, at_most(15)).unwrap_err().to_string();
        assert!(error.contains("cannot pin 16 bytes") && error.contains("ulimit -l"), "{error}");
        let other = |_| Err::<(), _>(DeviceError::OutOfMemory { requested: 1, free: 0, total: 0 });
        assert!(matches!(as_many_as_allowed(64, 10, other), Err(DeviceError::OutOfMemory { .. })));
    }
}
