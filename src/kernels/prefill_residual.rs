use super::chunk::{chunk_grid, part_tickets_shape, segment_sums_shape, with_stages};
use super::product::{residual_bytes, squares_shape};
use super::{assert_eights, count, tiles_shape};
use crate::device::{Cost, Device, Grid, Result};
use crate::kernel;
use crate::kernel::{Half, In, Out};

kernel! {
    /// Adds a product to the residual stream of a chunk, with the bits of [`Residual`](super::Residual).
    pub struct PrefillResidual<'a, W: Half> = { bf16: prefill_residual_bf16, f16: prefill_residual_f16 } {
        weight:       In<'a, W>,     // tiles of [n_out, n_in]
        h:            In<'a, W>,     // [n_tokens, n_in]
        x:            Out<'a, f32>,  // [n_tokens, n_out], += weight h
        squares:      Out<'a, f32>,  // [n_tokens, ceil(n_out / 16)] of x
        segment_sums: Out<'a, f32>,  // segment_sums_shape, scratch
        part_tickets: Out<'a, u32>,  // part_tickets_shape, zeros before and after
        n_tokens:     u32,
        n_in:         u32,
        n_out:        u32,
    }
}

impl<W: Half> PrefillResidual<'_, W> {
    /// One block a multiprocessor.
    pub fn launch(&self, device: &Device) -> Result<()> {
        device.note(|_| Cost { bytes: self.bytes(), flops: self.flops() });
        self.launch_grid(device, chunk_grid(device))
    }

    /// On any grid.
    pub fn launch_grid(&self, device: &Device, grid: Grid) -> Result<()> {
        let Self { n_tokens, n_in, n_out, .. } = *self;
        assert_eights("n_in", n_in);
        self.weight.assert_shape(tiles_shape([n_out, n_in]));
        self.h.assert_holds([n_tokens, n_in]);
        self.x.assert_holds([n_tokens, n_out]);
        self.squares.assert_holds(squares_shape(n_tokens, n_out));
        self.segment_sums.assert_holds(segment_sums_shape(n_tokens, n_out));
        self.part_tickets.assert_holds(part_tickets_shape(n_tokens, n_out));
        self.launch_on(device, with_stages(device, grid))
    }

    /// The weight, h, x twice, and the squares.
    pub fn bytes(&self) -> u64 {
        residual_bytes::<W>(self.n_tokens, self.n_in, self.n_out)
    }

    /// A product and a sum a weight and token.
    pub fn flops(&self) -> u64 {
        2 * count(&[self.n_tokens, self.n_out, self.n_in])
    }
}
