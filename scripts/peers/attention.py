"""Attention of one layer of Mistral 7B: of a prompt, of a token, and what a sliding window saves the peers."""

import contextlib
import functools

import torch
import torch.nn.functional as F

from .bench import row_or_error
from .report import described
from .shapes import attention_by_gale, pairs

# Relative. bf16 is wrong by 0.0023 at 4096 keys, and one key too many or too few by 0.008 or more (measured on a CPU).
TOLERANCE = 0.005
FULL, WINDOWED, DECODE = "attention full", "attention windowed", "attention decode"


def sdpa(bench, shapes):
    """scaled_dot_product_attention: torch's own choice, and its two fast ways by name."""
    for n in shapes.lengths:
        for backend, context in backends():
            yield by_torch(bench, shapes, FULL, backend, n, n, context, is_causal=True)
    for backend, context in backends():
        yield by_torch(bench, shapes, DECODE, backend, 1, shapes.window, context)
    bench.release()


def window(bench, shapes, report):
    """Of prompts longer than the window, by what can skip the keys that it hides; else by a mask, which skips none."""
    for n in shapes.lengths:
        if n <= shapes.window:
            continue
        full = [row for row in report.rows("sdpa") if row["name"] == FULL and row["shape"]["keys"] == n]
        windowed = []
        for backend, make in ways(bench):
            for name, hidden in [(FULL, None), (WINDOWED, shapes.window)]:
                row = by_way(bench, shapes, name, backend, n, make, hidden)
                if "p50_us" in row:
                    (full if hidden is None else windowed).append(row)
                yield compared(row, full, shapes)
        if not windowed:
            i = torch.arange(n, device=bench.device)
            mask = (i[:, None] >= i) & (i[:, None] - i < shapes.window)
            row = by_torch(bench, shapes, WINDOWED, "torch, by a mask", n, n, hidden=shapes.window, attn_mask=mask)
            yield compared(row, full, shapes)
        bench.release()


def compared(row, full, shapes):
    """Beside the time of a windowed row: the fastest full attention, the same way's, and what is left of the pairs."""
    if row["name"] != WINDOWED or "p50_us" not in row:
        return row
    n = row["shape"]["keys"]
    row["work_ratio"] = pairs(n, shapes.window) / pairs(n)
    if full:
        fastest = min(full, key=lambda it: it["p50_us"])
        row.update(full=fastest["backend"], windowed_over_full=row["p50_us"] / fastest["p50_us"])
    for own in full:
        if own["backend"] == row["backend"]:
            row["windowed_over_own_full"] = row["p50_us"] / own["p50_us"]
    return row


def backends():
    """Names of ways, and what makes torch take them; the first is whatever it chooses."""
    chosen = ("torch", contextlib.nullcontext)
    try:
        from torch.nn.attention import SDPBackend, sdpa_kernel
    except ImportError:  # before 2.3
        return [chosen]
    known = [(name, getattr(SDPBackend, f"{name.upper()}_ATTENTION", None)) for name in ["flash", "cudnn"]]
    named = [(name, functools.partial(sdpa_kernel, backend)) for name, backend in known if backend is not None]
    return [chosen, *named]


def by_torch(bench, shapes, name, backend, n_queries, n_keys, context=contextlib.nullcontext, hidden=None, **options):
    """With key heads as they are or, where torch cannot have them so, each repeated for its query heads."""
    attend = functools.partial(F.scaled_dot_product_attention, **options)
    grouped = functools.partial(attend, enable_gqa=True)
    n_group = shapes.n_heads // shapes.n_kv_heads

    def measure():
        why = []
        for function, n_repeats in [(grouped, 1), (attend, n_group)]:
            try:
                with context():
                    return timed(bench, shapes, name, backend, n_queries, n_keys, function, hidden, n_repeats)
            except (RuntimeError, TypeError) as error:  # TypeError: no enable_gqa before 2.5
                why.append(described(error))
        why = "; ".join(dict.fromkeys(why))
        if context is contextlib.nullcontext:  # it should choose one that it has
            raise RuntimeError(why)
        return {"name": name, "shape": shape(n_queries, n_keys), "backend": backend, "skipped": why}

    return row_or_error(name, shape(n_queries, n_keys), measure, backend=backend)


def ways(bench):
    """Names of what can skip hidden keys, and what makes it for a length and a window."""
    found = []
    try:
        from flash_attn import flash_attn_func

        found.append(("flash-attn", functools.partial(by_flash_attn, flash_attn_func)))
    except (ImportError, OSError):  # OSError: it was built for another torch
        pass
    try:
        import torch.nn.attention.flex_attention

        found.append(("flex", functools.partial(by_flex, bench.device)))
    except ImportError:  # before 2.5
        pass
    return found


def by_flash_attn(function, n, hidden):
    """Its window counts the keys before a query, and not the query's own."""
    left = -1 if hidden is None else hidden - 1

    def attend(q, k, v):
        q, k, v = (it.transpose(1, 2) for it in [q, k, v])  # [1, n, n_heads, head_dim]
        return function(q, k, v, causal=True, window_size=(left, 0)).transpose(1, 2)

    return attend


def by_flex(device, n, hidden):
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    def sees(batch, head, query, key):
        return query >= key if hidden is None else (query >= key) & (query - key < hidden)

    mask = create_block_mask(sees, None, None, n, n, device=device.type)
    return functools.partial(torch.compile(flex_attention, dynamic=False), block_mask=mask, enable_gqa=True)


def by_way(bench, shapes, name, backend, n, make, hidden):
    def measure():
        return timed(bench, shapes, name, backend, n, n, make(n, hidden), hidden)

    return row_or_error(name, shape(n, n), measure, backend=backend)


def timed(bench, shapes, name, backend, n_queries, n_keys, attend, hidden, n_repeats=1):
    """A row of any attention of q [1, n_heads, n_queries, head_dim], k and v [1, n_kv_heads, n_keys, head_dim]."""

    def normal(n_heads, n):
        return bench.normal(1, n_heads, n, shapes.head_dim)

    def make():
        q = normal(shapes.n_heads, n_queries)
        return q, *(normal(shapes.n_kv_heads, n_keys).repeat_interleave(n_repeats, dim=1) for _ in "kv")

    n_pairs = shapes.n_heads * (pairs(n_keys, hidden) if n_queries == n_keys else n_queries * n_keys)
    n_bytes = 4 * shapes.head_dim * (shapes.n_heads * n_queries + shapes.n_kv_heads * n_keys)
    sets = bench.cold(n_bytes, make)
    check(attend(*sets[0]), *sets[0], hidden)
    calls = [lambda it=it: attend(*it) for it in sets]
    flops = 4 * shapes.head_dim * n_pairs
    by_gale = attention_by_gale(shapes, n_queries, n_keys, hidden)
    more = {"backend": backend, "key_heads_repeated": n_repeats, "by_gale": by_gale}
    return bench.time(calls, name, shape(n_queries, n_keys), n_bytes, flops, **more)


def check(out, q, k, v, hidden):
    """A token's output in the middle, and the last one's, by definition: who is timed must have seen the same keys."""
    _, n_kv_heads, n_keys, head_dim = k.shape
    n_queries = q.shape[2]
    for i in {n_queries // 2, n_queries - 1}:
        end = n_keys - n_queries + i + 1
        seen = slice(0 if hidden is None else max(end - hidden, 0), end)
        query = q[0, :, i].float().view(n_kv_heads, -1, head_dim)
        keys, values = k[0, :, seen].float(), v[0, :, seen].float()
        want = ((query @ keys.transpose(1, 2)) * head_dim**-0.5).softmax(-1) @ values
        wrong = ((out[0, :, i].float().view_as(want) - want).norm() / want.norm()).item()
        if not wrong < TOLERANCE:  # nor NaN
            raise ValueError(f"the output for token {i} is wrong by {wrong:.3g} of its size")


def shape(n_queries, n_keys):
    return {"queries": n_queries, "keys": n_keys}
