"""A transformers model of the shape of Mistral 7B with random weights: tokens a second, and time to the first one.

It has no window: at these depths one would hide next to nothing, and with one transformers' static cache moves all of
itself for every token once it is full. So this is the peer at its best.
"""

import inspect
import time

import torch

from .bench import row, row_or_error
from .report import Unavailable
from .shapes import pairs

WARM_UPS = 4  # a compiled step is compiled, run, recorded as a graph and replayed
N_FIRST = 5  # times that a first token is waited for
# Relative. bf16 in two orders of adding is wrong by 0.015 after 32 layers, a position that is one too high by 0.06
# (measured on a CPU, dim 1024).
TOLERANCE = 0.05


class Model:
    def __init__(self, bench, shapes):
        try:
            from transformers import MistralConfig, MistralForCausalLM
        except ImportError as error:
            raise Unavailable(f"transformers cannot be imported: {error}") from error
        self.bench, self.shapes = bench, shapes
        config = MistralConfig(
            vocab_size=shapes.vocab_size, hidden_size=shapes.dim, intermediate_size=shapes.hidden_dim,
            num_hidden_layers=shapes.n_layers, num_attention_heads=shapes.n_heads,
            num_key_value_heads=shapes.n_kv_heads, head_dim=shapes.head_dim, max_position_embeddings=32768,
            sliding_window=None, rms_norm_eps=1e-5, rope_theta=1e4, tie_word_embeddings=False,
        )  # fmt: skip
        usual = torch.get_default_dtype()
        torch.set_default_dtype(torch.bfloat16)
        try:
            with bench.device:
                self.model = MistralForCausalLM(config).eval()
        finally:
            torch.set_default_dtype(usual)
        names = inspect.signature(self.model.forward).parameters
        self.cache_name = "cache" if "cache" in names else "past_key_values"  # as 5.17 and older have it
        self.takes_cache_position = "cache_position" in names  # 4.42 does, 5.17 does not
        keep = [name for name in ["logits_to_keep", "num_logits_to_keep"] if name in names]  # new and old
        self.only_last = dict.fromkeys(keep, 1)
        self.n_weights = sum(it.numel() for it in self.model.parameters()) - shapes.vocab_size * shapes.dim
        self.check()

    def cache(self, n_slots):
        """A static cache, by whatever arguments this version of transformers takes."""
        from transformers import StaticCache

        known = {"config": self.model.config, "max_batch_size": 1, "max_cache_len": n_slots,
                 "device": self.bench.device, "dtype": torch.bfloat16}  # fmt: skip
        names = inspect.signature(StaticCache.__init__).parameters
        if "max_batch_size" not in names:
            known["batch_size"] = 1
        return StaticCache(**{name: value for name, value in known.items() if name in names})

    def logits(self, ids, positions, cache):
        """Of the last token, [1, vocab_size]. ids [1, n], positions [n]."""
        arguments = {"input_ids": ids, "position_ids": positions[None], "use_cache": True, self.cache_name: cache}
        if self.takes_cache_position:
            arguments["cache_position"] = positions
        return self.model(**arguments, **self.only_last).logits[:, -1]

    def step(self, ids, positions, cache):
        """The likeliest next token, [1, 1]."""
        return self.logits(ids, positions, cache).argmax(-1, keepdim=True)

    def ids(self, n):
        random = torch.Generator(self.bench.device).manual_seed(n)
        return torch.randint(self.shapes.vocab_size, (1, n), generator=random, device=self.bench.device)

    def positions(self, start, n):
        return torch.arange(start, start + n, device=self.bench.device)

    def check(self, n=16):
        """A prompt and then a token must say what both say at once: so cache and positions are right."""
        ids = self.ids(n + 1)
        want = self.logits(ids, self.positions(0, n + 1), self.cache(n + 1))
        cache = self.cache(n + 1)
        self.logits(ids[:, :n], self.positions(0, n), cache)
        got = self.logits(ids[:, n:], self.positions(n, 1), cache)
        wrong = ((got - want).float().norm() / want.float().norm()).item()
        if not wrong < TOLERANCE:
            raise ValueError(f"a step differs from a prompt by {wrong:.3g} of its logits' size")


def eager(bench, shapes):
    yield from rows(Model(bench, shapes), "eager")
    bench.release()


def compiled(bench, shapes):
    yield from rows(Model(bench, shapes), "reduce-overhead")


def rows(model, mode):
    for depth in (0, model.shapes.window):
        shape = {"depth": depth, "mode": mode}
        yield row_or_error("transformers decode", shape, lambda: decode(model, mode, shape))
    for n in model.shapes.n_prompt:
        shape = {"prompt": n, "mode": mode}
        yield row_or_error("transformers first token", shape, lambda: first_token(model, mode, shape))


def step_of(model, mode):
    """The step, compiled anew for each row, so that nothing is left of the shapes before."""
    if mode == "eager":
        return model.step
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    step = torch.compile(model.step, mode=mode, dynamic=False)

    def marked(*arguments):
        torch.compiler.cudagraph_mark_step_begin()  # the output of the run before may be overwritten
        return step(*arguments)

    return marked


def decode(model, mode, shape):
    """The time from a token to the next; the host does not wait for any of them."""
    bench, shapes, n = model.bench, model.shapes, model.shapes.n_generated
    n_prompt = max(shape["depth"], 1)  # a cache is made when the first token comes, and not while compiling
    cache = model.cache(n_prompt + WARM_UPS + n)
    token = model.step(model.ids(n_prompt), model.positions(0, n_prompt), cache)
    position = model.positions(n_prompt, 1)
    step, marks = step_of(model, mode), []
    for i in range(WARM_UPS + n):
        token.copy_(step(token, position, cache))
        position += 1
        if i + 1 >= WARM_UPS:
            marks.append(bench.mark())
    bench.synchronize()
    times = [bench.between(*pair) for pair in zip(marks, marks[1:])]
    n_keys = shape["depth"] + n // 2
    width = shapes.n_layers * shapes.head_dim
    n_bytes = 2 * model.n_weights + 4 * width * shapes.n_kv_heads * n_keys
    flops = 2 * model.n_weights + 4 * width * shapes.n_heads * n_keys
    result = row(times, "transformers decode", shape, n_bytes, flops, graphs_skipped=graphs_skipped(mode))
    return {**result, "tokens_per_s": 1e6 / result["p50_us"]}


def first_token(model, mode, shape):
    """From a prompt to the first token, seen by the host."""
    bench, shapes, n = model.bench, model.shapes, shape["prompt"]
    cache, ids, positions = model.cache(n), model.ids(n), model.positions(0, n)
    model.step(ids, positions, cache)
    step, times = step_of(model, mode), []
    for i in range(WARM_UPS + N_FIRST):
        cache.reset()
        bench.synchronize()
        start = time.perf_counter()
        step(ids, positions, cache).item()
        if i >= WARM_UPS:
            times.append(1e6 * (time.perf_counter() - start))
    head = shapes.vocab_size * shapes.dim
    attention = 4 * shapes.n_layers * shapes.n_heads * shapes.head_dim * pairs(n)
    flops = 2 * n * (model.n_weights - head) + 2 * head + attention
    name, n_bytes = "transformers first token", 2 * model.n_weights
    return row(times, name, shape, n_bytes, flops, graphs_skipped=graphs_skipped(mode))


def graphs_skipped(mode):
    """How often torch refused to make a CUDA graph: more than 0, and this was not the peer at its best."""
    return None if mode == "eager" else torch._dynamo.utils.counters["inductor"]["cudagraph_skips"]
