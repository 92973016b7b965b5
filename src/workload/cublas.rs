//! The same product by NVIDIA's own library.

use super::{Work, inputs, output, weights};
use crate::device::{Cublas, Device, Result};
use std::rc::Rc;

/// m vectors of k times a weight [n, k], and nothing else: neither the norm before it nor what is done with the result.
/// The weights are noise in rows, as that in tiles is, and cold.
pub fn by_cublas(device: &Device, cublas: &Rc<Cublas>, [m, n, k]: [u32; 3]) -> Result<Work> {
    let sets = weights(device, n, k)?;
    let h = inputs(device, &[m, k])?;
    let cublas = cublas.clone();
    let mut out = output(device, &[m, n])?;
    Ok(Work::new(sets.len(), move |_, set| cublas.product(&sets[set], &h, &mut out, [m, n, k])))
}
