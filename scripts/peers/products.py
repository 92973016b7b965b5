"""A copy, a sum that only reads, and cuBLAS on the products of Mistral 7B, as torch calls it for a model's layers.

cuBLAS only multiplies. gale's kernels beside it do more in the same launch: residual adds to the residual stream; qkv
norms its input, turns queries and keys and writes into the ring; gate_up norms and has SwiGLU; lm_head norms;
prefill_qkv turns, and prefill_gate_up has SwiGLU.
"""

import torch.nn.functional as F

from .bench import row_or_error
from .shapes import product_by_gale


def copy(bench, shapes):
    k = shapes.dim
    n = bench.buffer_bytes // (2 * k) // 16 * 16  # gale's copy and read take rows of k elements, and n of them
    n_bytes = 2 * n * k
    shape = {"n": n, "k": k}
    pairs = bench.cold(2 * n_bytes, lambda: (bench.normal(n, k), bench.normal(n, k)))
    copies = [lambda pair=pair: pair[1].copy_(pair[0]) for pair in pairs]
    yield bench.time(copies, "copy", shape, 2 * n_bytes, 0, by_gale={"kernel": "copy", **shape})
    sums = [lambda pair=pair: pair[0].sum() for pair in pairs]
    yield bench.time(sums, "sum", shape, n_bytes, n * k, by_gale={"kernel": "read", **shape})
    del pairs, copies, sums
    bench.release()


def gemm(bench, shapes):
    for name, (n, k) in shapes.products().items():
        yield from product(bench, shapes, name, n, k, shapes.n_tokens)
    yield from product(bench, shapes, "lm_head", shapes.vocab_size, shapes.dim, (1,))
    bench.release()


def product(bench, shapes, name, n, k, n_tokens):
    weights = bench.cold(2 * n * k, lambda: bench.normal(n, k))
    for m in n_tokens:
        shape = {"m": m, "n": n, "k": k}
        x = bench.normal(m, k)
        calls = [lambda weight=weight: F.linear(x, weight) for weight in weights]
        n_bytes, flops = 2 * (n * k + m * k + m * n), 2 * m * n * k

        def measure():
            by_gale = product_by_gale(shapes, name, m)
            return bench.time(calls, f"gemm {name}", shape, n_bytes, flops, by_gale=by_gale)

        yield row_or_error(f"gemm {name}", shape, measure)
