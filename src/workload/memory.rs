//! Kernels that move bytes: a matrix [n, k] of 16 bits.

use super::{Sizes, Work, cold, inputs, output, weights};
use crate::device::{Buffer, Device, Result};
use crate::kernels::{Copy, Noise, Read, Tile, n_tiled};

fn bytes(Sizes { n, k, .. }: Sizes) -> usize {
    2 * n as usize * k as usize
}

/// Memory to read, a multiple of 1024 bytes: noise, as weights are.
pub fn noise_bytes(device: &Device, bytes: usize) -> Result<Buffer<u8>> {
    const ROW: usize = 32; // of a tile, of 16 rows
    let mut tiles = device.alloc(&[bytes / 2])?;
    let n_out = (bytes / 2 / ROW) as u32;
    Noise { tiles: &mut tiles, n_out, n_in: ROW as u32, pair_distance: 0, seed: 1 }.launch(device)?;
    Ok(tiles.into_bytes())
}

pub fn copy(device: &Device, sizes: Sizes) -> Result<Work> {
    let bytes = bytes(sizes);
    let mut sets = cold(device, 2 * bytes, || Ok((noise_bytes(device, bytes)?, device.zeroed::<u8>(&[bytes])?)))?;
    Ok(Work::new(sets.len(), move |device, set| {
        let (from, to) = &mut sets[set];
        Copy { from, to, n: bytes as u64 }.launch(device)
    }))
}

pub fn read(device: &Device, sizes: Sizes) -> Result<Work> {
    let bytes = bytes(sizes);
    let sets = cold(device, bytes, || noise_bytes(device, bytes))?;
    let mut sum = output(device, &[1])?;
    Ok(Work::new(sets.len(), move |device, set| {
        Read { from: &sets[set], sum: &mut sum, n: bytes as u64 }.launch(device)
    }))
}

pub fn noise(device: &Device, Sizes { n, k, .. }: Sizes) -> Result<Work> {
    let mut sets = weights(device, n, k)?;
    Ok(Work::new(sets.len(), move |device, set| {
        Noise { tiles: &mut sets[set], n_out: n, n_in: k, pair_distance: 0, seed: 1 }.launch(device)
    }))
}

/// From memory of the device, where loading has rows in that of the host.
pub fn tile(device: &Device, sizes: Sizes) -> Result<Work> {
    let Sizes { n, k, .. } = sizes;
    let make = || Ok((inputs(device, &[n, k])?, device.zeroed(&[n_tiled([n, k]) as usize])?));
    let mut sets = cold(device, 2 * bytes(sizes), make)?;
    Ok(Work::new(sets.len(), move |device, set| {
        let (rows, tiles) = &mut sets[set];
        Tile { rows, tiles, n_rows: n, n_in: k, first_row: 0, pair_distance: 0 }.launch(device)
    }))
}
