#!/usr/bin/env python3
"""Convert a Llama-architecture GGUF file with a byte-level BPE tokenizer (e.g. SmolLM2) into a
Hugging Face model directory in bfloat16. Needs only `pip install numpy gguf`.

    python convert-gguf.py MODEL.gguf|PACKAGE.whl OUT_DIR
"""
import json, os, sys, tempfile, zipfile
import numpy as np
from gguf import GGUFReader
from gguf.quants import dequantize

NAMES = {  # GGUF name -> Hugging Face name, inside block N
    "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
}
TOP = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}


def hf_name(name):
    stem, _, kind = name.rpartition(".")  # "blk.0.attn_q", "weight"
    if stem in TOP:
        return f"{TOP[stem]}.{kind}"
    _, layer, part = stem.split(".")
    return f"model.layers.{layer}.{NAMES[part]}.{kind}"


def unpermute(w, heads):
    """llama.cpp interleaves the rows of q/k in each head (2i, 2i+1 rotate together); Hugging Face
    rotates row i with row i + head_dim/2. Turn [heads, head_dim/2, 2] back into [heads, 2, head_dim/2]."""
    half = w.shape[0] // heads // 2
    return w.reshape(heads, half, 2, -1).swapaxes(1, 2).reshape(w.shape)


def bf16_bits(x):
    """float32 -> bfloat16 bit pattern, round to nearest even (finite input)."""
    u = np.ascontiguousarray(x, np.float32).view(np.uint32)
    return ((u + (0x7FFF + ((u >> 16) & 1))) >> 16).astype("<u2")


def write_safetensors(path, tensors):
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name, t in tensors.items():
        header[name] = {"dtype": "BF16", "shape": list(t.shape), "data_offsets": [at, at + t.nbytes]}
        at += t.nbytes
    head = json.dumps(header, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)
    with open(path, "wb") as f:
        f.write(len(head).to_bytes(8, "little") + head)
        for t in tensors.values():
            f.write(t.tobytes())


def main(src, out):
    if src.endswith(".whl"):
        z = zipfile.ZipFile(src)
        (member,) = [n for n in z.namelist() if n.endswith(".gguf")]
        src = z.extract(member, tempfile.mkdtemp())
    r = GGUFReader(src)
    get = lambda key, default=None: r.fields[key].contents() if key in r.fields else default
    assert get("general.architecture") == "llama" and get("tokenizer.ggml.model") == "gpt2"
    assert get("tokenizer.ggml.pre") == "smollm", "other BPE splits need another pre_tokenizer below"
    heads, kv_heads = get("llama.attention.head_count"), get("llama.attention.head_count_kv")

    tensors = {}
    for t in r.tensors:
        w = dequantize(t.data, t.tensor_type).astype(np.float32)
        if ".attn_q." in t.name or ".attn_k." in t.name:
            w = unpermute(w, heads if ".attn_q." in t.name else kv_heads)
        tensors[hf_name(t.name)] = bf16_bits(w)

    bos, eos, pad = (get(f"tokenizer.ggml.{k}_token_id") for k in ("bos", "eos", "padding"))
    tokens, types = get("tokenizer.ggml.tokens"), get("tokenizer.ggml.token_type")
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "torch_dtype": "bfloat16",
        "vocab_size": len(tokens), "hidden_size": get("llama.embedding_length"),
        "intermediate_size": get("llama.feed_forward_length"),
        "num_hidden_layers": get("llama.block_count"),
        "num_attention_heads": heads, "num_key_value_heads": kv_heads,
        "max_position_embeddings": get("llama.context_length"),
        "rms_norm_eps": float(f'{get("llama.attention.layer_norm_rms_epsilon"):.6g}'),
        "rope_theta": get("llama.rope.freq_base"), "rope_scaling": None,
        "hidden_act": "silu", "attention_bias": False, "mlp_bias": False,
        "tie_word_embeddings": "lm_head.weight" not in tensors,
        "bos_token_id": bos, "eos_token_id": eos, "pad_token_id": pad, "use_cache": True,
    }
    added = [{"id": i, "content": s, "single_word": False, "lstrip": False, "rstrip": False,
              "normalized": False, "special": True}
             for i, (s, t) in enumerate(zip(tokens, types)) if t == 3]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    tokenizer = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Digits", "individual_digits": True}, byte_level]},
        "post_processor": None, "decoder": byte_level,
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False,
                  "vocab": {s: i for i, s in enumerate(tokens)},
                  "merges": get("tokenizer.ggml.merges")},
    }
    tokenizer_config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "added_tokens_decoder": {str(a["id"]): {k: v for k, v in a.items() if k != "id"} for a in added},
        "bos_token": tokens[bos], "eos_token": tokens[eos], "pad_token": tokens[pad],
        "unk_token": tokens[get("tokenizer.ggml.unknown_token_id")],
        "chat_template": get("tokenizer.chat_template"),
        "clean_up_tokenization_spaces": False, "model_max_length": config["max_position_embeddings"],
    }
    generation = {"_from_model_config": True, "bos_token_id": bos, "eos_token_id": eos, "pad_token_id": pad}

    os.makedirs(out, exist_ok=True)
    write_safetensors(f"{out}/model.safetensors", tensors)
    for name, obj in [("config", config), ("tokenizer", tokenizer), ("tokenizer_config", tokenizer_config),
                      ("generation_config", generation)]:
        with open(f"{out}/{name}.json", "w", encoding="utf-8") as f:
            json.dump(obj, f, ensure_ascii=False, indent=None if name == "tokenizer" else 2)
    print(f"{out}: {len(tensors)} tensors, {sum(t.size for t in tensors.values()):,} parameters")


if __name__ == "__main__":
    main(*sys.argv[1:3])
