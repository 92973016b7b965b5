//! Weights as they lie on the device, by the definition: for each place of the tiles, the element that belongs there.

use gale::device::Element;

/// The tiles [n_row_tiles, n_groups, 2, 32, 8] of a matrix given as `rows` [n_rows, n_in], dense and in logical order.
///
/// `pair_distance` 0 leaves the rows in order; h puts row r and row r + h side by side, in the two halves of a tile, in
/// each run of 2h rows. What the tiles have beyond the matrix is zero.
pub fn tiles_of<W: Element>(rows: &[W], n_in: u32, pair_distance: u32) -> Vec<W> {
    let [n_in, h] = [n_in, pair_distance].map(|it| it as usize);
    let n_rows = rows.len() / n_in;
    assert!(rows.len().is_multiple_of(n_in) && (h == 0 || n_rows.is_multiple_of(2 * h)), "{n_rows} rows, pairs of {h}");
    let mut tiles = Vec::new();
    for row_tile in 0..n_rows.div_ceil(16) {
        for group in 0..n_in.div_ceil(32) {
            for half in 0..2 {
                for lane in 0..32 {
                    let row = logical_row(row_tile, half, lane / 4, h);
                    for column in (0..8).map(|i| 32 * group + 8 * (lane % 4) + i) {
                        let is_inside = row < n_rows && column < n_in;
                        tiles.push(if is_inside { rows[row * n_in + column] } else { W::zeroed() });
                    }
                }
            }
        }
    }
    tiles
}

/// The row of the matrix that is row g of a tile's half.
fn logical_row(row_tile: usize, half: usize, g: usize, h: usize) -> usize {
    match h {
        0 => 16 * row_tile + 8 * half + g,
        _ => {
            let pair = 8 * row_tile + g;
            pair / h * 2 * h + pair % h + half * h
        }
    }
}
