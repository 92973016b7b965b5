"""The shapes that are measured, named as gale names them, and what attention of them takes. Needs no torch."""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Shapes:
    dim: int
    hidden_dim: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    n_layers: int
    vocab_size: int
    window: int
    n_tokens: tuple  # of a product
    lengths: tuple  # of a prompt in attention
    n_prompt: tuple  # of a prompt to the first token
    n_generated: int
    copy_bytes: int
    cold_bytes: int  # at the least, of buffers that take turns
    row_seconds: float  # about what a row may take

    def quick(self):
        return replace(self, n_tokens=(1, 512, 2048), lengths=(4096, 16384), n_generated=32)

    def products(self):
        """Rows and columns of the weights of a layer."""
        return {
            "qkv": ((self.n_heads + 2 * self.n_kv_heads) * self.head_dim, self.dim),
            "o": (self.dim, self.n_heads * self.head_dim),
            "gate_up": (2 * self.hidden_dim, self.dim),
            "down": (self.dim, self.hidden_dim),
        }


MISTRAL_7B = Shapes(
    dim=4096, hidden_dim=14336, n_heads=32, n_kv_heads=8, head_dim=128, n_layers=32, vocab_size=32000, window=4096,
    n_tokens=(1, 8, 16, 64, 128, 512, 2048), lengths=(4096, 8192, 16384, 32768), n_prompt=(512, 2048), n_generated=128,
    copy_bytes=1 << 30, cold_bytes=256 << 20, row_seconds=0.5,
)  # fmt: skip
TINY = Shapes(
    dim=64, hidden_dim=224, n_heads=4, n_kv_heads=1, head_dim=16, n_layers=1, vocab_size=320, window=128,
    n_tokens=(1, 8, 16), lengths=(128, 512), n_prompt=(16,), n_generated=8,
    copy_bytes=1 << 20, cold_bytes=1 << 20, row_seconds=0.02,
)  # fmt: skip


def pairs(n_tokens, window=None):
    """Pairs of a query and a key that it sees, of a head: query i sees keys max(0, i - window + 1) to i.

    Without a window that is 1 + 2 + ... + n = n (n + 1) / 2. With one the first w queries see so many, w (w + 1) / 2,
    and each of the n - w others sees w.
    """
    w = n_tokens if window is None else min(n_tokens, window)
    return w * (w + 1) // 2 + (n_tokens - w) * w


# What of gale does the same: the options of `gale bench` that measure it, or None where it has no such launch.

MOST_OF_STEP, MOST_OF_CHUNK = 8, 4096  # tokens


def product_by_gale(shapes, product, m):
    kernel = {"o": "residual", "down": "residual"}.get(product, product)
    n, k = {**shapes.products(), "lm_head": (shapes.vocab_size, shapes.dim)}[product]
    sizes = {"m": m, "k": k, **heads(shapes)} if kernel == "qkv" else {"m": m, "n": n, "k": k}
    if m <= MOST_OF_STEP:
        return {"kernel": kernel, **sizes}
    return None if kernel == "lm_head" else {"kernel": f"prefill_{kernel}", **sizes}


def attention_by_gale(shapes, n_queries, n_keys, hidden=None):
    """Of all keys that there are. Those of a prompt are all in its one chunk, which has no more tokens than the window:
    so gale has nothing for a longer prompt, nor for one whose window hides something."""
    if hidden is not None:
        return None
    if n_queries == 1:
        return {"kernel": "decode_attention", "m": 1, "window": n_keys, "depth": n_keys - 1, **heads(shapes)}
    if n_queries == n_keys <= MOST_OF_CHUNK:
        return {"kernel": "prefill_attention", "m": n_keys, "window": n_keys, "depth": 0, **heads(shapes)}
    return None


def heads(shapes):
    """Where they differ from Mistral 7B's, which gale takes by itself."""
    options = {"heads": "n_heads", "kv-heads": "n_kv_heads", "head-dim": "head_dim"}
    own = {option: (getattr(shapes, name), getattr(MISTRAL_7B, name)) for option, name in options.items()}
    return {option: n for option, (n, usual) in own.items() if n != usual}
