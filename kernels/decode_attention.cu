// Attends from each token of a step to the keys in its window, at the speed of reading them once.
//
//   q                   [n_tokens, n_heads, head_dim]              turned, not scaled; n_tokens <= 8
//   k_ring, v_ring      [n_layers, n_slots, n_kv_heads, head_dim]  position p is at slot p % n_slots
//   k_staged, v_staged  [n_layers, 8, n_kv_heads, head_dim]        the step's own rows, if n_staged is not 0
//   position            [1]                                        of token 0
//   partials            [n_tokens, n_heads, 17, head_dim]          scratch
//   softmaxes           [17, n_tokens, n_heads]                    scratch: maximum and sum of weights of a partial
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
// The block's warps take tiles of 64 keys, one, two or four warps a tile. Scores are K Q^T by mma.sync with keys as rows
// and eight queries (a token's heads that share the kv head, then the next token's) as columns, and values are V^T P^T,
// with the weights P as the sum of two bf16. K and V go from memory to the registers that mma reads, all that a block
// has to load at once. The block adds the tiles of a range in order (online softmax, arXiv 1805.02867), and the block
// that finishes a row's last item adds the ranges in order. softmax.cuh has that order, which is prefill_attention's
// too: a row's bits depend on its position, its window and the keys in it, and not on the other rows, the grid or where
// keys lie. (0 times infinity is NaN: keys and values that some row of the step sees must be finite.)
//
// An item of which no token sees a key is nobody's work: it has no ticket to draw, and its block leaves. Where one range
// has all keys, its block writes the output itself, with the bits that adding it to nothing would give.
//
// Right for every grid; a block for each kv head and item is fastest.
#include "step_rows.cuh"
#include "ticket.cuh"

// Where a thread's four values of 64 dims of eight columns are, after their exchange through shared memory. A warp has
// two columns, so that warps of columns that are not there have nothing to do.
struct Place {
    uint32_t part;  // and the second after it, for wide heads
    uint32_t column, dim;

    __device__ explicit Place(uint32_t thread)
    {
        part = thread / 128, column = thread % 128 / 16;
        dim = 64 * part + thread % 16 * 4;
    }
};

// Maximum and sum of weights of the results of several tiles, or ranges.
struct Scales {
    float max[n_ranges][n_columns], sum[n_ranges][n_columns];
};

struct Shared {
    float4 values[n_warps][128];  // 64 dims of eight columns
    uint32_t weights[n_warps * n_tile_keys][n_columns];
    float maxima[n_warps][n_columns];
    Scales scales;
    uint32_t to_combine;  // a bit for each octet of columns

    template <uint32_t n_parts> __device__ Exchange<n_parts> exchange()
    {
        const uint32_t tile = Thread().warp / n_parts;
        return {maxima + tile * n_parts, weights + tile * n_tile_keys};
    }

    template <uint32_t n_parts> __device__ void store(const TileSoftmax& it, uint32_t n_columns_there)
    {
        const Thread thread;
        const uint32_t tile = thread.warp / n_parts;
#pragma unroll
        for (uint32_t e = 0; e < 2; e++) {
            const uint32_t column = 2 * thread.column + e;
            if (column >= n_columns_there) continue;
            if (thread.warp % n_parts == 0 && thread.row == 0) scales.max[tile][column] = it.max[e];
#pragma unroll
            for (uint32_t half = 0; half < 2; half++)
                values[thread.warp][at(column, 2 * thread.row + half)] = it.values_of(half, e);
        }
        if (thread.warp % n_parts == 0 && thread.column == 0) scales.sum[tile][thread.row] = it.sum;
    }

    __device__ float4 values_of(uint32_t warp, const Place& place) const
    {
        return values[warp][at(place.column, place.dim / 4 % 16)];
    }

    // The xor keeps the lanes of four columns off each other's banks.
    static __device__ uint32_t at(uint32_t column, uint32_t four)
    {
        return 16 * column + (four ^ (column / 2 % 2 + column / 4 * 4));
    }
};

// A softmax over a range, or all of a row: a thread's part of it, four dims of a column, for wide heads in two parts.
template <uint32_t n_parts> struct Softmax {
    static constexpr uint32_t n_values = n_parts > 2 ? 2 : 1;
    float max = lowest, sum = 0;
    float4 values[n_values] = {};

    // Adds a tile.
    __device__ void add(const Shared& shared, uint32_t tile, const Place& place)
    {
        const Factors factors(max, shared.scales.max[tile][place.column]);
        factors.add(sum, shared.scales.sum[tile][place.column]);
#pragma unroll
        for (uint32_t i = 0; i < n_values; i++)
            factors.add(values[i], shared.values_of(tile * n_parts + place.part + 2 * i, place));
    }
};

// Four values times a factor, in eight bytes.
template <typename W> __device__ void store4(W* to, float4 values, float factor)
{
    alignas(8) W it[4];
    narrow(normalized(values.x, factor), it[0]);
    narrow(normalized(values.y, factor), it[1]);
    narrow(normalized(values.z, factor), it[2]);
    narrow(normalized(values.w, factor), it[3]);
    *reinterpret_cast<uint2*>(to) = reinterpret_cast<uint2&>(it);
}

// Stores the softmax over a range, or the output where there is no other range.
template <uint32_t n_parts, typename W>
__device__ void store_range(
    const Step<W>& step, const Tokens& tokens, const Softmax<n_parts>& softmax, uint32_t kv_head, uint32_t range,
    bool is_only, uint32_t first_column)
{
    const Place place(Thread().index);
    const Row row(step, tokens, kv_head, first_column + place.column);
    const Ranges ranges(row.keys, tokens.range_log2);
    const uint32_t n_rows = step.n_tokens * step.n_heads, which = range - ranges.first;
    if (!row.is_there || which > ranges.n_after) return;
#pragma unroll
    for (uint32_t i = 0; i < softmax.n_values; i++) {
        const uint32_t dim = place.dim + 128 * i;
        if (dim >= step.head_dim) return;
        if (is_only) {
            store4(step.out + size_t(row.index) * step.head_dim + dim, softmax.values[i], 1 / softmax.sum);
            continue;
        }
        float* to = step.partials + (size_t(row.index) * n_ranges + which) * step.head_dim + dim;
        *reinterpret_cast<float4*>(to) = softmax.values[i];
        if (dim == 0) step.softmaxes[which * n_rows + row.index] = make_float2(softmax.max, softmax.sum);
    }
}

// Draws a ticket of an octet. If this block is the last of a kv head's items to come here, one more than `n_others`, it
// sees what all of them stored, and will add it.
__device__ inline void draw(Shared& shared, uint32_t* tickets, uint32_t octet, uint32_t n_others, bool is_first)
{
    __syncthreads();  // the block has stored its ranges, which the ticket releases
    if (threadIdx.x != 0) return;
    const bool is_last = draws_last(tickets + octet, n_others);
    shared.to_combine = (is_first ? 0 : shared.to_combine) | uint32_t(is_last) << octet;
}

// Adds the ranges of eight columns and writes their output.
template <uint32_t n_parts, typename W>
__device__ void
combine(Shared& shared, const Step<W>& step, const Tokens& tokens, uint32_t kv_head, uint32_t first_column)
{
    const uint32_t n_rows = step.n_tokens * step.n_heads;
    __syncthreads();  // what was there has been read
    if (Thread().index < n_ranges * n_columns) {
        const uint32_t range = Thread().index / n_columns, column = Thread().index % n_columns;
        const Row row(step, tokens, kv_head, first_column + column);
        if (row.is_there && range <= Ranges(row.keys, tokens.range_log2).n_after) {
            const float2 of = __ldcg(step.softmaxes + range * n_rows + row.index);
            shared.scales.max[range][column] = of.x;
            shared.scales.sum[range][column] = of.y;
        }
    }
    __syncthreads();  // of which each thread reads all
    const Place place(Thread().index);
    const Row row(step, tokens, kv_head, first_column + place.column);
    const uint32_t n_after = Ranges(row.keys, tokens.range_log2).n_after;
    if (!row.is_there) return;
#pragma unroll 1  // the loads of one part take a quarter of the registers
    for (uint32_t dim = place.dim; dim < step.head_dim; dim += 128) {
        const uint32_t stride = here(step.head_dim);
        const float* from = step.partials + size_t(row.index) * n_ranges * stride + dim;
        float4 values[n_ranges];
#pragma unroll
        for (uint32_t i = 0; i < n_ranges; i++)
            values[i] = i <= n_after ? __ldcg(reinterpret_cast<const float4*>(from + i * stride)) : float4{};
        float max = lowest, sum = 0;
        float4 it = {};
#pragma unroll
        for (uint32_t i = 0; i < n_ranges; i++) {
            if (i > n_after) break;
            const Factors factors(max, shared.scales.max[i][place.column]);
            factors.add(sum, shared.scales.sum[i][place.column]);
            factors.add(it, values[i]);
        }
        store4(step.out + size_t(row.index) * step.head_dim + dim, it, 1 / sum);
    }
}

// One item for some tokens that see keys of it.
template <uint32_t n_parts, typename W>
__device__ void
attend_item(
    Shared& shared, const Step<W>& step, const Tokens& tokens, uint32_t kv_head, uint32_t item)
{
    constexpr uint32_t n_round_tiles = n_warps / n_parts, n_round_keys = n_round_tiles * n_tile_keys;
    const uint32_t size = tokens.size(), period = tokens.period();
    const Span seen = tokens.seen;
    const Cache cache(step, tokens, kv_head);
    const Ranges ranges(seen, tokens.range_log2);
    const uint32_t base = ranges.of(item) << tokens.range_log2;
    const bool has_next = base + period <= seen.last;
    // A place in the item has one position that somebody sees, for one load of both ranges, or two.
    const bool is_double = has_next && seen.last - seen.first >= period;
    const bool is_held = size <= n_round_keys && !is_double;

    Tile<n_parts> tile;
    const auto load = [&](uint32_t range, uint32_t round) {
        const Thread thread;
        const uint32_t offset = round + thread.warp / n_parts * n_tile_keys;
        const uint32_t early = range + offset, late = early + (is_held ? period : 0);
        if (offset < size && (seen.has_some_of(early, n_tile_keys) || seen.has_some_of(late, n_tile_keys))) {
            uint32_t pieces[2];
#pragma unroll
            for (uint32_t i = 0; i < 2; i++) {
                const uint32_t place = thread.lane + 32 * i;
                const bool is_early = seen.has(early + place), is_late = seen.has(late + place);
                pieces[i] = cache.piece(is_early ? early + place : is_late ? late + place : seen.last);
            }
            tile.load(cache, pieces);
        } else
            tile = {};  // so that its registers are free for others wherever it is not in use
    };
    load(base, 0);  // memory is busy from here on
    bool is_loaded = true;

    const uint32_t n_octets = ceil_div((tokens.end - tokens.first) * step.n_shared_heads(), n_columns);
    const float scale = score_scale(step.head_dim);
    for (uint32_t n = 0; n < n_octets; n++) {
        const uint32_t octet = (n + item) % n_octets;  // not all blocks are last with the same one
        const uint32_t first_column = octet * n_columns;
        const Queries queries = queries_of(step, tokens, kv_head, first_column);
        const Span octet_seen = seen_by_columns(step, tokens, first_column);
        for (uint32_t range = base; range <= base + (has_next ? period : 0); range += period) {
            Softmax<n_parts> softmax;
            for (uint32_t round = 0; round < size; round += n_round_keys) {
                const auto is_seen = [&](uint32_t i) {
                    const uint32_t offset = round + i * n_tile_keys;
                    return offset < size && octet_seen.has_some_of(range + offset, n_tile_keys);
                };
                const bool is_ready = is_loaded;
                is_loaded = is_held;
                if (!octet_seen.has_some_of(range + round, n_round_keys)) continue;
                if (!is_ready) load(range, round);
                __syncthreads();  // what was there has been read
                const uint32_t own = Thread().warp / n_parts;
                const uint32_t n_columns_there = (tokens.end - tokens.first) * step.n_shared_heads() - first_column;
                if (is_seen(own))
                    shared.store<n_parts>(
                        tile.attend(shared.exchange<n_parts>(), range + round + own * n_tile_keys, queries, scale),
                        n_columns_there);
                __syncthreads();  // every warp has written what all read now
                const Place place(Thread().index);
                if (place.part >= n_parts || place.column >= n_columns_there) continue;
#pragma unroll 1
                for (uint32_t i = 0; i < n_round_tiles; i++)
                    if (is_seen(i)) softmax.add(shared, i, place);
            }
            const bool is_only = ranges.n_after == 0;
            store_range(step, tokens, softmax, kv_head, range >> tokens.range_log2, is_only, first_column);
        }
        if (ranges.n_after > 0) {
            const uint32_t n_octets_before = ceil_div(tokens.first * step.n_shared_heads(), n_columns);
            uint32_t* tickets = step.tickets + kv_head * (step.n_shared_heads() + 1) + n_octets_before;
            draw(shared, tickets, octet, ranges.last_item(), n == 0);
        }
    }
    if (ranges.n_after == 0) return;
    __syncthreads();  // the first thread knows
    uint32_t octet = 0;
    for (uint32_t to_combine = shared.to_combine; to_combine > 0; to_combine >>= 1, octet++)
        if (to_combine & 1) combine<n_parts>(shared, step, tokens, kv_head, octet * n_columns);
}

// Whether this block's only item is past all keys, as most are while the context is short: up to position 1023 every
// range has 64 keys, and item i has range i alone. Such a block leaves before anything is made ready.
template <typename W> __device__ bool is_idle(const Step<W>& step, uint64_t position)
{
    const bool is_only = blockIdx.x + gridDim.x >= step.n_kv_heads * n_items;
    const uint32_t item = blockIdx.x % n_items;
    return is_only & (position + step.n_tokens <= item << min_range_log2);  // one branch
}

// Tokens of ranges of one size after the other; there are two at the most, and tickets of their octets.
template <uint32_t n_parts, typename W>
__device__ void attend(Shared& shared, const Step<W>& step, uint64_t position)
{
    for (uint32_t first = 0; first < step.n_tokens;) {
        const Tokens tokens(step, position, first);
        for (uint32_t i = blockIdx.x; i < step.n_kv_heads * n_items; i += gridDim.x)
            if (Ranges(tokens.seen, tokens.range_log2).has_some_of(i % n_items))
                attend_item<n_parts>(shared, step, tokens, i / n_items, i % n_items);
        first = tokens.end;
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
    const uint32_t n_before_first = min(*position, uint64_t(UINT32_MAX - max_tokens));
    const Step<W> step = {
        q, k_ring, v_ring, k_staged, v_staged, n_before_first, partials, softmaxes,
        tickets, out, n_tokens, n_heads, n_kv_heads, head_dim, n_slots, window, layer, n_staged};
    if (is_idle(step, *position)) return;
    if (threadIdx.x == 0) shared.to_combine = 0;  // draw() may load it before it knows whether it wants it
    if (head_dim > 128) attend<4>(shared, step, *position);
    else if (head_dim > 64) attend<2>(shared, step, *position);
    else attend<1>(shared, step, *position);
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
