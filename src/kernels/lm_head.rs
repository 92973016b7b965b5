use super::product::{assert_norm, norm_bytes, norm_shared_bytes, product_grid};
use super::{bytes_of, count, tiles_shape};
use crate::device::{Cost, Device, Grid, Result};
use crate::kernel;
use crate::kernel::{Half, In, Out};

kernel! {
    /// Norm, the logits, and the best of them.
    pub struct LmHead<'a, W: Half> = { bf16: lm_head_bf16, f16: lm_head_f16 } {
        weight:     In<'a, W>,     // tiles of [vocab_size, dim]
        x:          In<'a, f32>,   // [n_tokens, dim]
        squares:    In<'a, f32>,   // [n_tokens, ceil(dim / 16)] of x
        norm:       In<'a, W>,     // [dim]
        logits:     Out<'a, f32>,  // [n_tokens, vocab_size]
        best:       Out<'a, u64>,  // [n_tokens] raised to the greatest logit's code, see kernels/lm_head.cu
        n_tokens:   u32,           // up to MAX_TOKENS
        dim:        u32,
        vocab_size: u32,
        eps:        f32,
    }
}

/// The token that a code of [`LmHead`] stands for; none if no logit could win.
pub fn best_token(code: u64) -> Option<u32> {
    (code != 0).then_some(!(code as u32))
}

impl<W: Half> LmHead<'_, W> {
    /// As many blocks as run at once.
    pub fn launch(&self, device: &Device) -> Result<()> {
        device.note(|_| Cost { bytes: self.bytes(), flops: self.flops() });
        self.launch_grid(device, product_grid(device, self.weight_shape()[0], self.dim))
    }

    /// On any grid.
    pub fn launch_grid(&self, device: &Device, grid: Grid) -> Result<()> {
        let Self { n_tokens, dim, vocab_size, .. } = *self;
        assert_norm(self.x, self.squares, self.norm, n_tokens, dim);
        self.weight.assert_shape(self.weight_shape());
        self.logits.assert_holds([n_tokens, vocab_size]);
        self.best.assert_holds([n_tokens]);
        self.launch_on(device, grid.shared(norm_shared_bytes::<W>(n_tokens, dim)))
    }

    /// The weight, what the norm reads, the logits, and the best twice.
    pub fn bytes(&self) -> u64 {
        let Self { n_tokens, dim, vocab_size, .. } = *self;
        bytes_of::<W>(&self.weight_shape())
            + norm_bytes::<W>(n_tokens, dim)
            + bytes_of::<f32>(&[n_tokens, vocab_size])
            + 2 * bytes_of::<u64>(&[n_tokens])
    }

    /// A product and a sum a weight and token.
    pub fn flops(&self) -> u64 {
        2 * count(&[self.n_tokens, self.vocab_size, self.dim])
    }

    fn weight_shape(&self) -> [u32; 5] {
        tiles_shape([self.vocab_size, self.dim])
    }
}
