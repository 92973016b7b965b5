//! What sizes a kernel's work.

use super::Kernel;
use crate::config::shapes;
use crate::error::{Error, Result};
use crate::kernels::{SAMPLE_MAX_VOCAB, max_step_tokens, n_tiled};

/// Of which a kernel takes some, see [`Kernel::takes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Tokens.
    pub m: u32,
    /// Rows of the weight.
    pub n: u32,
    /// Columns of the weight.
    pub k: u32,
    pub n_heads: u32,
    pub n_kv_heads: u32,
    pub head_dim: u32,
    /// Keys that a token sees, itself included.
    pub window: u32,
    /// Tokens before the first.
    pub depth: u32,
}

/// One of [`Sizes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Size {
    M,
    N,
    K,
    Heads,
    KvHeads,
    HeadDim,
    Window,
    Depth,
}

impl Size {
    pub const ALL: [Size; 8] =
        [Size::M, Size::N, Size::K, Size::Heads, Size::KvHeads, Size::HeadDim, Size::Window, Size::Depth];

    /// As an option of the command line.
    pub fn option(self) -> &'static str {
        match self {
            Size::M => "--m",
            Size::N => "--n",
            Size::K => "--k",
            Size::Heads => "--heads",
            Size::KvHeads => "--kv-heads",
            Size::HeadDim => "--head-dim",
            Size::Window => "--window",
            Size::Depth => "--depth",
        }
    }

    pub fn get(self, sizes: &Sizes) -> u32 {
        *self.of(&mut sizes.clone())
    }

    /// Its place.
    pub fn of(self, sizes: &mut Sizes) -> &mut u32 {
        match self {
            Size::M => &mut sizes.m,
            Size::N => &mut sizes.n,
            Size::K => &mut sizes.k,
            Size::Heads => &mut sizes.n_heads,
            Size::KvHeads => &mut sizes.n_kv_heads,
            Size::HeadDim => &mut sizes.head_dim,
            Size::Window => &mut sizes.window,
            Size::Depth => &mut sizes.depth,
        }
    }
}

/// What kind of thing a kernel works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A matrix [n, k].
    Matrix,
    /// m rows of a table [n, k].
    Table,
    /// m vectors of k, times a weight [n, k].
    Product,
    /// The same with a row for each dim of queries, keys and values.
    Heads,
    /// Queries of m tokens, and the keys and values in a ring.
    Attention,
    /// Keys and values of m tokens, on their way into a ring.
    Cache,
    /// m vectors of k.
    Vectors,
    /// A row of n.
    Logits,
    Position,
}

impl Kernel {
    /// The sizes that mean something to it.
    pub fn takes(&self) -> &'static [Size] {
        use Size::*;
        match self.kind {
            Kind::Matrix => &[N, K],
            Kind::Table | Kind::Product => &[M, N, K],
            Kind::Heads => &[M, K, Heads, KvHeads, HeadDim],
            Kind::Attention => &[M, Heads, KvHeads, HeadDim, Window, Depth],
            Kind::Cache => &[M, KvHeads, HeadDim, Window, Depth],
            Kind::Vectors => &[M, K],
            Kind::Logits => &[N],
            Kind::Position => &[],
        }
    }

    /// Those of Mistral 7B: of one token, or of a chunk of 512, behind a full window.
    pub fn usual(&self) -> Sizes {
        let it = shapes::shape("mistral-7b").expect("it is one of the shapes");
        let is_of_chunk = self.name.starts_with("prefill_") || ["norm", "ring_write"].contains(&self.name);
        let window = it.window.expect("it has one");
        Sizes {
            m: if is_of_chunk { 512 } else { 1 },
            n: match self.name {
                "gate_up" | "prefill_gate_up" => 2 * it.hidden_dim,
                "embed" | "lm_head" | "sample" => it.vocab_size,
                _ => it.dim,
            },
            k: it.dim,
            n_heads: it.n_heads,
            n_kv_heads: it.n_kv_heads,
            head_dim: it.head_dim,
            window,
            depth: window,
        }
    }

    /// As in `m 1, n 4096, k 4096`.
    pub fn describe(&self, sizes: &Sizes) -> String {
        let one = |size: &Size| format!("{} {}", &size.option()[2..], size.get(sizes));
        self.takes().iter().map(one).collect::<Vec<_>>().join(", ")
    }

    /// The product in it, of m vectors of k and a weight [n, k]: what any library of linear algebra has, too.
    pub fn product(&self, sizes: &Sizes) -> Option<[u32; 3]> {
        match self.kind {
            Kind::Product => Some([sizes.m, sizes.n, sizes.k]),
            Kind::Heads => Some([sizes.m, sizes.n_qkv(), sizes.k]),
            _ => None,
        }
    }

    /// # Errors
    /// A size that its launcher does not take.
    pub fn check(&self, sizes: &Sizes) -> Result<()> {
        let takes = |size| self.takes().contains(&size);
        let Sizes { m, n, k, n_heads, n_kv_heads, head_dim, window, .. } = *sizes;
        let hold = |size: Size, is_fine: bool, expected: String| {
            let found = size.get(sizes).to_string();
            let is_fine = is_fine || !takes(size);
            is_fine.then_some(()).ok_or(Error::Option { option: size.option(), expected, found })
        };
        let in_tiles = |of| format!("a multiple of {of}, as weights lie in tiles of 16 rows by 32 columns");
        hold(Size::N, n.is_multiple_of(16), in_tiles(16))?;
        hold(Size::K, k.is_multiple_of(32), in_tiles(32))?;
        hold(Size::HeadDim, head_dim.is_multiple_of(8), "a multiple of 8".into())?;
        let is_shared = n_heads.is_multiple_of(n_kv_heads);
        hold(Size::Heads, is_shared, format!("a multiple of {n_kv_heads}, the kv heads"))?;
        hold(Size::M, m <= self.max_m, format!("at most {} for this kernel", self.max_m))?;
        if self.name == "decode_attention" {
            let most = max_step_tokens(n_heads, n_kv_heads);
            hold(Size::Heads, most > 0, "at most 256 for each kv head".into())?;
            hold(Size::M, m <= most, format!("at most {most} with so many heads"))?;
        }
        if takes(Size::Window) {
            hold(Size::M, m <= sizes.n_slots(), format!("at most the window, {window}"))?;
            let is_small = sizes.cache_elements() <= 1 << 31;
            hold(Size::Window, is_small, "no more than 4 GiB of keys".into())?;
        }
        if self.name == "sample" {
            hold(Size::N, n <= SAMPLE_MAX_VOCAB, format!("at most {SAMPLE_MAX_VOCAB} logits"))?;
        }
        let n_rows = if takes(Size::N) { n } else { sizes.n_qkv() };
        if takes(Size::K) && (takes(Size::N) || takes(Size::Heads)) {
            hold(Size::K, n_tiled([n_rows, k]) <= 1 << 33, format!("no more than 16 GiB with {n_rows} rows"))?;
        }
        let widest = n_rows.max(k);
        let is_small = u64::from(m) * u64::from(widest) < 1 << 31;
        hold(Size::M, is_small || !takes(Size::K), format!("less than 2^31 numbers, {widest} a token"))
    }
}

impl Sizes {
    /// Rows of the projections of queries, keys and values.
    pub fn n_qkv(&self) -> u32 {
        (self.n_heads + 2 * self.n_kv_heads) * self.head_dim
    }

    /// Of the ring: all that some token sees, and no more.
    pub fn n_slots(&self) -> u32 {
        self.window.min(self.depth.saturating_add(self.m))
    }

    /// Of the keys in the ring.
    fn cache_elements(&self) -> u64 {
        [self.n_slots(), self.n_kv_heads, self.head_dim].map(u64::from).iter().product()
    }
}
