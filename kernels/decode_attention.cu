// Attends from each token of a step to the keys in its window, at the speed of reading them once.
//
//   q                   [n_tokens, n_heads, head_dim]              turned, not scaled; n_tokens <= 8
//   k_ring, v_ring      [n_layers, n_slots, n_kv_heads, head_dim]  position p is at slot p % n_slots
//   k_staged, v_staged  [n_layers, 8, n_kv_heads, head_dim]        the step's own rows, if n_staged is not 0
//   position            [1]                                        of token 0
//   partials            [n_tokens, n_heads, 16, head_dim]          scratch
//   softmaxes           [16, n_tokens, n_heads]                    scratch: maximum and sum of weights of a partial
//   tickets             [n_heads + n_kv_heads]                     zeros, before and after
//   out                 [n_tokens, n_heads, head_dim]              in the weights' type: it feeds the O projection
//
// The token at position i sees the keys j with i - window < j <= i; a window of 2^32 - 1 is none. Query head h reads
// kv head h / (n_heads / n_kv_heads) (GQA, arXiv 2305.13245).
//
// A row's keys are cut into ranges, aligned in absolute positions, of the smallest power of two (64 or more) of which
// 16 hold all that it sees, so that 16 blocks a kv head share the work (flash-decoding). One item of work is a kv head
// and every 16th range:
//
//   range    0   1  ..  15 | 16  17 ..         A full window ends inside a range and begins inside the one 16 before,
//   item     0   1  ..  15 |  0   1 ..         so that the two are one item, with as many keys as any other.
//
// The block's warps take tiles of 16 keys in turn. Scores are K Q^T by mma.sync with keys as rows and eight queries (a
// token's heads that share the kv head, then the next token's) as columns, and values are V^T P^T, with the weights P
// as the sum of two bf16. K and V go from memory to the registers that mma reads, all that a block has to load at
// once. Each warp, then each item keeps maximum, sum and weighted values (online softmax, arXiv 1805.02867); the block
// that finishes a row's last item adds the items in order. A key outside the window weighs exactly 0 and changes
// nothing, so a row's bits depend on its position, its window and the keys in it, and not on the other rows, the grid
// or where keys lie. (0 times infinity is NaN: keys and values that some row of the step sees must be finite.)
//
// An item of which no token sees a key is nobody's work: it has no ticket to draw, and its block leaves. Where one item
// has all keys, its block writes the output itself, with the bits that adding 15 empty items would give.
//
// Right for every grid; a block for each kv head and item is fastest.
#include "attend.cuh"

// One block's part in the launch.
template <typename W> struct Step {
    const bf16 *q, *k_ring, *v_ring, *k_staged, *v_staged;
    uint64_t position;
    float* partials;
    float2* softmaxes;
    uint32_t* tickets;
    W* out;
    uint32_t n_tokens, n_heads, n_kv_heads, head_dim, n_slots, window, layer, n_staged;

    __device__ uint32_t n_shared_heads() const { return n_heads / n_kv_heads; }

    // The keys that a token sees besides its own.
    __device__ uint32_t n_before(uint32_t token) const { return min(position + token, uint64_t(window - 1)); }

    // The logarithm of the ranges' size: it does not fall from one token to the next.
    __device__ uint32_t range_log2(uint32_t token) const
    {
        const int keys_log2 = 32 - __clz(n_before(token));
        return max(keys_log2 - n_items_log2, min_range_log2);
    }
};

// Tokens whose ranges have the same size: all of a step's, unless one of them begins to see more than 16 ranges.
// Positions are counted from a multiple of 16 ranges, so that 32 bits hold them and ranges stay aligned.
struct Tokens {
    uint32_t first, end;
    uint32_t range_log2, period;  // of a range's size, and 16 ranges
    uint32_t position;  // of the step's token 0
    Span seen;  // by one of them

    template <typename W> __device__ Tokens(const Step<W>& step, uint32_t first) : first(first), end(step.n_tokens)
    {
        range_log2 = step.range_log2(first);
        while (step.range_log2(end - 1) != range_log2) end--;
        period = n_items << range_log2;
        position = period + (uint32_t(step.position) & (period - 1));
        seen = {position + first - step.n_before(first), position + end - 1};
    }
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

    // Whether it sees a key of an item.
    __device__ bool sees(uint32_t item, uint32_t range_log2) const
    {
        return is_there && Ranges(keys, range_log2).has_some_of(item);
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

// Where a thread's four values of the results of a block are, after their exchange through shared memory.
struct Place {
    uint32_t column, dim;

    __device__ Place(uint32_t thread, uint32_t first_dim)
    {
        const uint32_t lane = thread % 64 / 2;  // that had them
        column = 2 * (lane % 4) + thread / 128;
        dim = first_dim + thread / 64 % 2 * 64 + lane / 4 * 8 + thread % 2 * 4;
    }
};

struct Shared {
    float4 values[n_warps][256];  // 128 elements of eight columns
    Scales scales;  // of warps, or of items
    bool is_last;
};

// Adds the warps' results and stores them as the item's, or as the output where there is no other item.
template <uint32_t n_parts, typename W>
__device__ void store_partial(
    Shared& shared, const Step<W>& step, const Tokens& tokens, const Softmax<n_parts>& softmax, uint32_t kv_head,
    uint32_t item, bool is_only, uint32_t first_column)
{
    const uint32_t n_rows = step.n_tokens * step.n_heads;
    const Thread thread;
    const uint32_t n_columns_there = (tokens.end - tokens.first) * step.n_shared_heads() - first_column;
#pragma unroll
    for (uint32_t first_part = 0; first_part < n_parts; first_part += 2) {
        __syncthreads();  // what was there has been read
#pragma unroll
        for (uint32_t e = 0; e < 2; e++) {
            const uint32_t column = 2 * thread.column + e;
            if (column >= n_columns_there) continue;
            if (first_part == 0 && thread.row == 0)
                shared.scales.set(thread.warp, column, make_float2(softmax.max[e], softmax.sum[e]));
#pragma unroll
            for (uint32_t i = 0; i < min(n_parts, 2); i++)
#pragma unroll
                for (uint32_t half = 0; half < 2; half++)  // the xor keeps every four lanes off the next four's banks
                    shared.values[thread.warp][(128 * e + 64 * i + 2 * thread.lane + half) ^ (thread.row % 2)] =
                        softmax.values_of(first_part + i, half, e);
        }
        __syncthreads();  // every warp has written what all read now

        const Place place(thread.index, 64 * first_part);
        const Row row(step, tokens, kv_head, first_column + place.column);
        if (!row.is_there || place.dim >= step.head_dim) continue;
        float4 values[n_warps];
#pragma unroll
        for (uint32_t i = 0; i < n_warps; i++) values[i] = shared.values[i][thread.index ^ (thread.index / 8 % 2)];
        const Merged merged = merge(shared.scales, place.column, values);
        if (is_only) {
            store4(step.out + size_t(row.index) * step.head_dim + place.dim, merged.values, 1 / merged.sum);
            continue;
        }
        float* to = step.partials + (size_t(row.index) * n_items + item) * step.head_dim + place.dim;
        *reinterpret_cast<float4*>(to) = merged.values;
        if (place.dim == 0) step.softmaxes[item * n_rows + row.index] = make_float2(merged.max, merged.sum);
    }
}

// Whether this block is the last of a kv head's items to come here, one more than `n_others`, and so sees what all of
// them stored. The ticket is then zero again.
__device__ inline bool is_last(Shared& shared, uint32_t* ticket, uint32_t n_others)
{
    __syncthreads();  // the block has stored its partial, which the ticket releases
    if (threadIdx.x == 0) {
        uint32_t n_before;  // #memory-consistency-model, release and acquire patterns
        asm volatile("atom.acq_rel.gpu.global.inc.u32 %0, [%1], %2;"
                     : "=r"(n_before)
                     : "l"(ticket), "r"(n_others)
                     : "memory");
        shared.is_last = n_before == n_others;
    }
    __syncthreads();
    return shared.is_last;
}

// Adds the items of eight columns and writes their output.
template <uint32_t n_parts, typename W>
__device__ void
combine(Shared& shared, const Step<W>& step, const Tokens& tokens, uint32_t kv_head, uint32_t first_column)
{
    const Thread thread;
    const uint32_t n_rows = step.n_tokens * step.n_heads;
    __syncthreads();  // what was there has been read
    if (thread.index < n_items * n_columns) {
        const uint32_t item = thread.index / n_columns, column = thread.index % n_columns;
        const Row row(step, tokens, kv_head, first_column + column);
        const bool is_seen = row.sees(item, tokens.range_log2);
        const float2* from = step.softmaxes + item * n_rows + row.index;
        shared.scales.set(item, column, is_seen ? __ldcg(from) : make_float2(lowest, 0));
    }
    __syncthreads();  // of which each thread reads all
#pragma unroll 1  // the loads of one part take a quarter of the registers
    for (uint32_t first_part = 0; first_part < n_parts; first_part += 2) {
        const Place place(thread.index, 64 * first_part);
        const Row row(step, tokens, kv_head, first_column + place.column);
        if (!row.is_there || place.dim >= step.head_dim) continue;
        const uint32_t stride = here(step.head_dim);
        const float* from = step.partials + size_t(row.index) * n_items * stride + place.dim;
        float4 values[n_items];
#pragma unroll
        for (uint32_t i = 0; i < n_items; i++)
            values[i] = row.sees(i, tokens.range_log2) ? __ldcg(reinterpret_cast<const float4*>(from + i * stride))
                                                 : float4{};
        const Merged it = merge(shared.scales, place.column, values);
        store4(step.out + size_t(row.index) * step.head_dim + place.dim, it.values, 1 / it.sum);
    }
}

// One item for some tokens that see keys of it. Their tickets begin at `ticket`.
template <uint32_t n_parts, typename W>
__device__ void
attend_item(
    Shared& shared, const Step<W>& step, const Tokens& tokens, uint32_t ticket, uint32_t kv_head, uint32_t item)
{
    // Of heads that are wider than 128, registers hold a tile's keys or its values.
    constexpr bool holds_both = n_parts <= 2;
    constexpr uint32_t n_held = holds_both ? 2 : 1;  // tiles of a warp
    const uint32_t size = 1u << tokens.range_log2, period = tokens.period;
    const Span seen = tokens.seen;
    const Cache cache(step, tokens.position, seen, kv_head);
    const Ranges ranges(seen, tokens.range_log2);
    const uint32_t base = ranges.of(item) << tokens.range_log2;
    const bool has_next = base + period <= seen.last;
    // A place in the item has one position that somebody sees, for one load of both ranges, or two.
    const bool is_double = has_next && (!holds_both || seen.last - seen.first >= period);
    const bool is_held = holds_both && size <= n_held * n_warps * n_tile_keys && !is_double;

    Tile<n_parts> tiles[n_held];
    uint32_t row = 0;  // of the key that a lane finds for the others
    const auto load = [&](uint32_t round, uint32_t later) {
        const Thread thread;
        const uint32_t offset = round + (thread.lane / n_tile_keys % n_held * n_warps + thread.warp) * n_tile_keys;
        const uint32_t early = base + offset + later + thread.lane % n_tile_keys;
        const uint32_t late = early + (is_double ? 0 : period);
        const bool is_there = offset < size && (seen.has(early) || seen.has(late));
        row = cache.row(!is_there ? seen.last : seen.has(early) ? early : late);
        const uint32_t there = __ballot_sync(~0u, is_there);
#pragma unroll
        for (uint32_t i = 0; i < n_held; i++)
            if (there >> (i * n_tile_keys) & 0xffff) tiles[i].load_keys(cache, thread, row, i * n_tile_keys);
        if constexpr (holds_both)
#pragma unroll
            for (uint32_t i = 0; i < n_held; i++)
                if (there >> (i * n_tile_keys) & 0xffff) tiles[i].load_values(cache, thread, row, i * n_tile_keys);
    };
    if (holds_both) load(0, 0);  // memory is busy from here on

    const uint32_t n_octets = ceil_div((tokens.end - tokens.first) * step.n_shared_heads(), n_columns);
    const float scale = 1.44269504f / sqrtf(step.head_dim);  // log2(e), for the exponentials are powers of two
    uint32_t to_combine = 0;  // a bit an octet
    for (uint32_t n = 0; n < n_octets; n++) {
        const uint32_t octet = (n + item) % n_octets;  // not all blocks are last with the same one
        const Queries queries = queries_of(step, tokens, kv_head, octet * n_columns);
        Softmax<n_parts> softmax;
        for (uint32_t round = 0; round < size; round += n_held * n_warps * n_tile_keys) {
            for (uint32_t later = 0; later <= (has_next ? period : 0); later += period) {
                if (later > 0 ? is_double : !holds_both || (!is_held && n + round > 0)) load(round, later);
                uint32_t keys[n_held];  // the first of each tile
#pragma unroll
                for (uint32_t i = 0; i < n_held; i++) {
                    const uint32_t offset = round + (i * n_warps + Thread().warp) * n_tile_keys;
                    keys[i] = offset < size ? base + offset + later : no_key;
                }
                const Scores<n_held> scores = softmax.score(tiles, keys, queries, scale);
                if constexpr (!holds_both)
                    if (scores.is_seen[0]) tiles[0].load_values(cache, Thread(), row, 0);
                softmax.add(tiles, scores);
            }
        }
        softmax.add_lanes();
        const bool is_only = ranges.n_after == 0;
        store_partial(shared, step, tokens, softmax, kv_head, item, is_only, octet * n_columns);
        if (is_only) continue;
        to_combine |= uint32_t(is_last(shared, step.tickets + ticket + octet, ranges.last_item())) << octet;
    }
    for (uint32_t octet = 0; octet < n_octets; octet++)
        if (to_combine >> octet & 1) combine<n_parts>(shared, step, tokens, kv_head, octet * n_columns);
}

// Whether this block's only item is past all keys, as most are while the context is short: up to position 1023 every
// range has 64 keys, and item i has range i alone. Such a block leaves before anything is made ready.
template <typename W> __device__ bool is_idle(const Step<W>& step)
{
    const bool is_only = blockIdx.x + gridDim.x >= step.n_kv_heads * n_items;
    const uint32_t item = blockIdx.x % n_items;
    return is_only & (step.position + step.n_tokens <= item << min_range_log2);  // one branch
}

template <uint32_t n_parts, typename W> __device__ void attend(Shared& shared, const Step<W>& step)
{
    for (uint32_t i = blockIdx.x; i < step.n_kv_heads * n_items; i += gridDim.x) {
        uint32_t ticket = i / n_items * (step.n_shared_heads() + 1);
        for (uint32_t first = 0; first < step.n_tokens;) {
            const Tokens tokens(step, first);
            if (Ranges(tokens.seen, tokens.range_log2).has_some_of(i % n_items))
                attend_item<n_parts>(shared, step, tokens, ticket, i / n_items, i % n_items);
            ticket += ceil_div((tokens.end - first) * step.n_shared_heads(), n_columns);
            first = tokens.end;
        }
    }
}

template <typename W>
__device__ void decode_attention(
    const bf16* q, const bf16* k_ring, const bf16* v_ring, const bf16* k_staged, const bf16* v_staged,
    const uint64_t* position, float* partials, float2* softmaxes, uint32_t* tickets, W* out, uint32_t n_tokens,
    uint32_t n_heads, uint32_t n_kv_heads, uint32_t head_dim, uint32_t n_slots, uint32_t window, uint32_t layer,
    uint32_t n_staged)
{
    __shared__ Shared shared;
    const Step<W> step = {
        q, k_ring, v_ring, k_staged, v_staged, *position, partials, softmaxes,
        tickets, out, n_tokens, n_heads, n_kv_heads, head_dim, n_slots, window, layer, n_staged};
    if (is_idle(step)) return;
    if (head_dim > 128) attend<4>(shared, step);  // in this order nothing spills
    else if (head_dim > 64) attend<2>(shared, step);
    else attend<1>(shared, step);
}

extern "C" __global__ __launch_bounds__(256, 1) void decode_attention_bf16(
    const bf16* __restrict__ q, const bf16* __restrict__ k_ring, const bf16* __restrict__ v_ring,
    const bf16* __restrict__ k_staged, const bf16* __restrict__ v_staged, const uint64_t* __restrict__ position,
    float* __restrict__ partials, float2* __restrict__ softmaxes, uint32_t* __restrict__ tickets,
    bf16* __restrict__ out, uint32_t n_tokens, uint32_t n_heads, uint32_t n_kv_heads, uint32_t head_dim,
    uint32_t n_slots, uint32_t window, uint32_t layer, uint32_t n_staged)
{
    decode_attention(
        q, k_ring, v_ring, k_staged, v_staged, position, partials, softmaxes, tickets, out, n_tokens, n_heads,
        n_kv_heads, head_dim, n_slots, window, layer, n_staged);
}

extern "C" __global__ __launch_bounds__(256, 1) void decode_attention_f16(
    const bf16* __restrict__ q, const bf16* __restrict__ k_ring, const bf16* __restrict__ v_ring,
    const bf16* __restrict__ k_staged, const bf16* __restrict__ v_staged, const uint64_t* __restrict__ position,
    float* __restrict__ partials, float2* __restrict__ softmaxes, uint32_t* __restrict__ tickets,
    f16* __restrict__ out, uint32_t n_tokens, uint32_t n_heads, uint32_t n_kv_heads, uint32_t head_dim,
    uint32_t n_slots, uint32_t window, uint32_t layer, uint32_t n_staged)
{
    decode_attention(
        q, k_ring, v_ring, k_staged, v_staged, position, partials, softmaxes, tickets, out, n_tokens, n_heads,
        n_kv_heads, head_dim, n_slots, window, layer, n_staged);
}
