// Which keys the rows of a step see, and which items and ranges those are in. decode_attention.cu says what that means.
#pragma once
#include "attend.cuh"

// One block's part in the launch.
template <typename W> struct Step {
    const bf16 *q, *k_ring, *v_ring, *k_staged, *v_staged;
    uint32_t n_before_first;  // keys before token 0, but no more than 2^32 - 9: a window then ends the sight
    float* partials;
    float2* softmaxes;
    uint32_t* tickets;
    W* out;
    uint32_t n_tokens, n_heads, n_kv_heads, head_dim, n_slots, window, layer, n_staged;

    __device__ uint32_t n_shared_heads() const { return n_heads / n_kv_heads; }

    // The keys that a token sees besides its own.
    __device__ uint32_t n_before(uint32_t token) const { return min(n_before_first + token, window - 1); }

    // The logarithm of the ranges' size: it does not fall from one token to the next.
    __device__ uint32_t range_log2(uint32_t token) const { return ::range_log2(n_before(token)); }
};

// Tokens whose ranges have the same size: all of a step's, unless one of them begins to see more than 16 ranges.
// Positions are counted from a multiple of 16 ranges, so that 32 bits hold them and ranges stay aligned.
struct Tokens {
    uint32_t first, end;
    uint32_t range_log2;  // of a range's size
    uint32_t position;  // of the step's token 0
    uint32_t slot_of_zero;  // that position 0 has: if below 0, so huge, n_slots too few
    Span seen;  // by one of them

    template <typename W>
    __device__ Tokens(const Step<W>& step, uint64_t of_token_0, uint32_t first) : first(first), end(step.n_tokens)
    {
        range_log2 = step.range_log2(first);
        while (step.range_log2(end - 1) != range_log2) end--;
        position = period() + (uint32_t(of_token_0) & (period() - 1));
        slot_of_zero = uint32_t(of_token_0 % step.n_slots) - position;
        seen = {position + first - step.n_before(first), position + end - 1};
    }

    __device__ uint32_t size() const { return 1u << range_log2; }  // of a range
    __device__ uint32_t period() const { return n_items << range_log2; }  // of an item's ranges
};

// Ranges with some keys: they are in successive items.
struct Ranges {
    uint32_t first, n_after;

    __device__ Ranges(const Span& keys, uint32_t log2)
        : first(keys.first >> log2), n_after((keys.last >> log2) - first) {}

    // The first range of an item.
    __device__ uint32_t of(uint32_t item) const { return first + (item - first) % n_items; }
    __device__ bool has_some_of(uint32_t item) const { return of(item) - first <= n_after; }
    __device__ uint32_t last_item() const { return min(n_after, n_items - 1); }  // counted from the first
};

// A column: one query head of one token.
struct Row {
    uint32_t index;  // in q and out
    Span keys;  // that it sees
    bool is_there;  // else it is the last token's and sees none

    template <typename W>
    __device__ Row(const Step<W>& step, const Tokens& tokens, uint32_t kv_head, uint32_t column)
    {
        const uint32_t n_shared = step.n_shared_heads(), past = tokens.first + column / n_shared;
        const uint32_t token = min(past, tokens.end - 1);
        is_there = token == past;
        index = token * step.n_heads + kv_head * n_shared + column % n_shared;
        const uint32_t own = tokens.position + token;
        keys = is_there ? Span{own - step.n_before(token), own} : Span{no_key, 0};
    }
};

template <typename W>
__device__ Queries queries_of(const Step<W>& step, const Tokens& tokens, uint32_t kv_head, uint32_t first_column)
{
    const Thread thread;
    const Row row(step, tokens, kv_head, first_column + thread.row);
    const Row even(step, tokens, kv_head, first_column + 2 * thread.column);
    const Row odd(step, tokens, kv_head, first_column + 2 * thread.column + 1);
    return {step.q + size_t(row.index) * step.head_dim, step.head_dim, {even.keys, odd.keys}};
}

// What is seen by the rows of eight columns.
template <typename W>
__device__ Span seen_by_columns(const Step<W>& step, const Tokens& tokens, uint32_t first_column)
{
    const uint32_t n_shared = step.n_shared_heads();
    const uint32_t first = tokens.first + first_column / n_shared;
    const uint32_t last = min(tokens.first + (first_column + n_columns - 1) / n_shared, tokens.end - 1);
    return {tokens.position + first - step.n_before(first), tokens.position + last};
}
