// What a warp does with tiles of 16 keys: loading, scores, softmax and weighted values. decode_attention.cu says why.
//
// Lane 4*g + c of a warp is in row g and column c of mma's fragments (PTX ISA,
// #warp-level-matrix-fragment-mma-16816-float). Elements are dealt out to fragments so that what a lane needs is 16
// bytes of memory, eight elements ("dims") of one key:
//
//   scores  K (16 keys x 16 dims) Q^T (16 dims x 8 queries). A lane has dims 32*i + 8*c of the keys g and g + 8, and of
//           query g: its first four elements are those of one mma, the second four of the next. That permutes the dims
//           of a sum, the same for both factors.
//   values  V^T (16 dims x 16 keys) P^T (16 keys x 8 queries). A lane has dims 64*i + 8*g of the keys 2*c, 2*c + 1,
//           2*c + 8 and 2*c + 9, which is the layout that ldmatrix.trans would make of them. Four mma take two of the
//           eight dims each, as their rows g and g + 8.
#pragma once
#include "fragments.cuh"

constexpr uint32_t n_warps = 8, n_items = 16, n_columns = 8, n_tile_keys = 16;
constexpr int n_items_log2 = 4, min_range_log2 = 6;  // a range has 64 keys or more
constexpr uint32_t no_key = 0xffff0000;  // past all that anybody sees, and so are the 15 after it
constexpr float lowest = -3.4e38f;  // the maximum of no scores. It is finite: inf - inf would be NaN

// Which thread of the block this is, `here`.
struct Thread {
    uint32_t index = here(threadIdx.x), warp, lane;
    uint32_t row, column;  // of the lane in mma's fragments

    __device__ Thread()
    {
        warp = index / 32, lane = index % 32;
        row = lane / 4, column = lane % 4;
    }
};

// Positions, both ends included. Without any, the last is 0, and the first no_key.
struct Span {
    uint32_t first, last;

    __device__ bool has(uint32_t key) const { return first <= key && key <= last; }
    __device__ bool has_some_of(uint32_t key, uint32_t n) const { return key <= last && key + n > first; }
};

// An 8x8 matrix of 16-bit elements with rows and columns exchanged: of the columns 2*c and 2*c + 1 of row g, as mma
// gives them, it makes the rows 2*c and 2*c + 1 of column g, as mma takes them. (movmatrix asks for PTX 7.8.)
__device__ inline uint32_t transposed(uint32_t pair)
{
    const Thread thread;
    const uint32_t lane = thread.column * 8 + thread.row / 2;  // that has row 2*c of column g, and four on row 2*c + 1
    const uint32_t low = __shfl_sync(~0u, pair, lane), high = __shfl_sync(~0u, pair, lane + 4);
    return __byte_perm(low, high, thread.row % 2 == 0 ? 0x5410 : 0x7632);
}

// The keys and values of one kv head and layer.
struct Cache {
    const bf16 *k_ring, *v_ring, *k_staged, *v_staged;  // the kernel's parameters: they take no registers
    uint32_t row_dim;  // n_kv_heads * head_dim, from one position to the next
    uint32_t first_dim;  // of the kv head
    uint32_t head_dim, n_slots, layer;
    uint32_t slot_of_zero;  // that position 0 has: if below 0, so huge, n_slots too few
    uint32_t first_staged;
    Span seen;  // by some query; others are not loaded

    // `position` is that of token 0 as keys are counted.
    template <typename Step>
    __device__ Cache(const Step& step, uint32_t position, Span seen, uint32_t kv_head) : seen(seen)
    {
        k_ring = step.k_ring, v_ring = step.v_ring, k_staged = step.k_staged, v_staged = step.v_staged;
        row_dim = step.n_kv_heads * step.head_dim, first_dim = kv_head * step.head_dim, layer = step.layer;
        head_dim = step.head_dim, n_slots = step.n_slots;
        slot_of_zero = uint32_t(step.position % step.n_slots) - position;
        first_staged = step.n_staged == 0 ? no_key : position;
    }

    // Which row of the rings holds a key, or of staging, then with the highest bit set.
    __device__ uint32_t row(uint32_t key) const
    {
        const uint32_t slot = slot_of_zero + key;
        return key < first_staged ? layer * n_slots + min(slot, slot + n_slots)
                                  : (layer * 8 + key - first_staged) | is_staged;
    }

    __device__ const bf16* k(uint32_t row) const { return at(row & is_staged ? k_staged : k_ring, row); }
    __device__ const bf16* v(uint32_t row) const { return at(row & is_staged ? v_staged : v_ring, row); }
    __device__ const bf16* at(const bf16* rows, uint32_t row) const
    {
        return rows + (size_t(row & ~is_staged) * row_dim + first_dim);
    }

    // 16 bytes at some dims of a row; where the head has no such dims, which then count for nothing, at others.
    __device__ uint4 load(const bf16* row, uint32_t dim) const
    {
        return load_packed_once(row + (dim < head_dim ? dim : 0));
    }

    static constexpr uint32_t is_staged = 1u << 31;
};

// A lane's part of 16 keys and values, of up to 64 * n_parts dims.
template <uint32_t n_parts> struct Tile {
    uint4 k[2 * n_parts][2];  // dims 32*i + 8*c of the keys g and g + 8
    uint4 v[n_parts][4];  // dims 64*i + 8*g of the keys 2*c, 2*c + 1, 2*c + 8 and 2*c + 9

    // Lane first_lane + i knows the `row` of the tile's key i.
    __device__ void load_keys(const Cache& cache, const Thread& thread, uint32_t row, uint32_t first_lane)
    {
#pragma unroll
        for (uint32_t j = 0; j < 2; j++) {
            const bf16* from = cache.k(__shfl_sync(~0u, row, first_lane + thread.row + 8 * j));
#pragma unroll
            for (uint32_t i = 0; i < 2 * n_parts; i++) k[i][j] = cache.load(from, 32 * i + 8 * thread.column);
        }
    }

    __device__ void load_values(const Cache& cache, const Thread& thread, uint32_t row, uint32_t first_lane)
    {
#pragma unroll
        for (uint32_t j = 0; j < 4; j++) {
            const uint32_t lane = first_lane + 2 * thread.column + 8 * (j / 2) + j % 2;
            const bf16* from = cache.v(__shfl_sync(~0u, row, lane));
#pragma unroll
            for (uint32_t i = 0; i < n_parts; i++) v[i][j] = cache.load(from, 64 * i + 8 * thread.row);
        }
    }
};

// A lane's part of eight queries. It is loaded where it is used, from L1: registers are for keys and values.
struct Queries {
    const bf16* q;  // query g
    uint32_t head_dim;
    Span keys[2];  // that the queries 2*c and 2*c + 1 see

    // Dims 32*i + 8*c and on of query g, or zeros if there are none.
    __device__ uint4 load(uint32_t i, const Thread& thread) const
    {
        const uint32_t dim = 32 * i + 8 * thread.column;
        return dim < head_dim ? load_packed(q + dim) : uint4{};
    }
};

// The weights of 16 keys and eight queries as the second factor of an mma, and as the sum of two bf16.
struct Weights {
    uint32_t high[2], low[2];  // of keys 0..8 and 8..16

    // Replaces weights, in the layout of mma's result, by what they become.
    __device__ explicit Weights(float (&weights)[4])
    {
#pragma unroll
        for (uint32_t half = 0; half < 2; half++) {
            float &a = weights[2 * half], &b = weights[2 * half + 1];
            const uint32_t highs = pack(a, b);
            const float2 high = unpack_pair(highs, bf16());
            const uint32_t lows = pack(a - high.x, b - high.y);
            const float2 low = unpack_pair(lows, bf16());
            a = high.x + low.x;
            b = high.y + low.y;
            this->high[half] = transposed(highs);
            this->low[half] = transposed(lows);
        }
    }

    static __device__ uint32_t pack(float a, float b)
    {
        const __nv_bfloat162 pair = __floats2bfloat162_rn(a, b);
        return reinterpret_cast<const uint32_t&>(pair);
    }
};

// Scores of tiles, in the layout of mma's result: the keys g and g + 8, the queries 2*c and 2*c + 1.
template <uint32_t n_tiles> struct Scores {
    float of[n_tiles][4];
    bool is_seen[n_tiles];  // by some query: all lanes agree
};

// What a softmax over some keys needs to be continued: a lane's part of it for the queries 2*c and 2*c + 1.
template <uint32_t n_parts> struct Softmax {
    float max[2] = {lowest, lowest};
    float sum[2] = {};  // of weights, 2^(score - max), of the keys g and g + 8 of each tile
    float values[n_parts][4][4] = {};  // dims 64*i + 8*g + 2*r + {0, 1} of both queries, in the order of mma

    // Scores some tiles, which begin at `keys`, and raises the maxima to theirs.
    template <uint32_t n_tiles>
    __device__ Scores<n_tiles> score(
        const Tile<n_parts> (&tiles)[n_tiles], const uint32_t (&keys)[n_tiles], const Queries& queries,
        float scale)
    {
        Scores<n_tiles> scores;
#pragma unroll
        for (uint32_t i = 0; i < n_tiles; i++) {
            scores.is_seen[i] = __any_sync(
                ~0u, queries.keys[0].has_some_of(keys[i], n_tile_keys) ||
                         queries.keys[1].has_some_of(keys[i], n_tile_keys));
            if (scores.is_seen[i]) score(scores.of[i], tiles[i], keys[i], queries, scale);
            else
                for (float& it : scores.of[i]) it = -INFINITY;
        }
        bool is_any_seen = false;
#pragma unroll
        for (uint32_t i = 0; i < n_tiles; i++) is_any_seen |= scores.is_seen[i];
        if (is_any_seen) rescale(scores.of);
        return scores;
    }

    // Adds the tiles' values. A tile of which no query sees a key changes nothing.
    template <uint32_t n_tiles>
    __device__ void add(const Tile<n_parts> (&tiles)[n_tiles], const Scores<n_tiles>& scores)
    {
#pragma unroll
        for (uint32_t i = 0; i < n_tiles; i++)
            if (scores.is_seen[i]) add(tiles[i], scores.of[i]);
    }

    // Scores of a tile; those of keys that a query does not see are -inf, for a weight of exactly 0.
    static __device__ void score(
        float (&scores)[4], const Tile<n_parts>& tile, uint32_t first, const Queries& queries, float scale)
    {
#pragma unroll
        for (uint32_t e = 0; e < 4; e++) scores[e] = 0;
        const Thread thread;
#pragma unroll
        for (uint32_t i = 0; i < 2 * n_parts; i++) {
            const uint4 a = tile.k[i][0], b = tile.k[i][1], q = queries.load(i, thread);
            mma(scores, {a.x, b.x, a.y, b.y}, q.x, q.y);
            mma(scores, {a.z, b.z, a.w, b.w}, q.z, q.w);
        }
#pragma unroll
        for (uint32_t e = 0; e < 4; e++) {
            const uint32_t key = first + thread.row + e / 2 * 8;
            scores[e] = queries.keys[e % 2].has(key) ? scores[e] * scale : -INFINITY;
        }
    }

    // Raises the maxima to those of new scores.
    template <uint32_t n_tiles> __device__ void rescale(const float (&scores)[n_tiles][4])
    {
#pragma unroll
        for (uint32_t e = 0; e < 2; e++) {
            float new_max = max[e];
#pragma unroll
            for (uint32_t i = 0; i < n_tiles; i++) new_max = fmaxf(new_max, fmaxf(scores[i][e], scores[i][e + 2]));
#pragma unroll
            for (uint32_t step = 4; step < 32; step *= 2)
                new_max = fmaxf(new_max, __shfl_xor_sync(~0u, new_max, step));
            const float factor = exp2_approx(max[e] - new_max);
            max[e] = new_max;
            sum[e] *= factor;
#pragma unroll
            for (uint32_t i = 0; i < n_parts; i++)
#pragma unroll
                for (uint32_t r = 0; r < 4; r++) {
                    values[i][r][e] *= factor;
                    values[i][r][e + 2] *= factor;
                }
        }
    }

    // Adds a tile's values.
    __device__ void add(const Tile<n_parts>& tile, const float (&scores)[4])
    {
        float it[4];
#pragma unroll
        for (uint32_t e = 0; e < 4; e++) it[e] = exp2_approx(scores[e] - max[e % 2]);
        const Weights weights(it);
#pragma unroll
        for (uint32_t e = 0; e < 2; e++) sum[e] += it[e] + it[e + 2];
#pragma unroll
        for (uint32_t i = 0; i < n_parts; i++)
#pragma unroll
            for (uint32_t r = 0; r < 4; r++) {
                const uint32_t v[4] = {
                    word(tile.v[i][0], r), word(tile.v[i][1], r), word(tile.v[i][2], r), word(tile.v[i][3], r)};
                const uint32_t a0 = __byte_perm(v[0], v[1], 0x5410), a1 = __byte_perm(v[0], v[1], 0x7632);
                const uint32_t a2 = __byte_perm(v[2], v[3], 0x5410), a3 = __byte_perm(v[2], v[3], 0x7632);
                mma(values[i][r], {a0, a1, a2, a3}, weights.high[0], weights.high[1]);
                mma(values[i][r], {a0, a1, a2, a3}, weights.low[0], weights.low[1]);
            }
    }

    static __device__ uint32_t word(const uint4& of, uint32_t i)
    {
        return i == 0 ? of.x : i == 1 ? of.y : i == 2 ? of.z : of.w;
    }

    // Gives each lane the sums over all keys.
    __device__ void add_lanes()
    {
#pragma unroll
        for (uint32_t e = 0; e < 2; e++)
#pragma unroll
            for (uint32_t step = 4; step < 32; step *= 2) sum[e] += __shfl_xor_sync(~0u, sum[e], step);
    }

    // Dims 64*part + 8*g + 4*half .. + 4 of query 2*c + e.
    __device__ float4 values_of(uint32_t part, uint32_t half, uint32_t e) const
    {
        const auto& it = values[part];
        return make_float4(it[2 * half][e], it[2 * half][e + 2], it[2 * half + 1][e], it[2 * half + 1][e + 2]);
    }
};

// Maximum and sum of weights of the results of several warps or items.
struct Scales {
    float max[n_items][n_columns], sum[n_items][n_columns];

    __device__ void set(uint32_t i, uint32_t column, float2 max_and_sum)
    {
        max[i][column] = max_and_sum.x;
        sum[i][column] = max_and_sum.y;
    }
};

// A softmax over the keys of several, at four dims of one column.
struct Merged {
    float max, sum;
    float4 values;
};

// Brings the results over different keys to one maximum and adds them in order.
template <uint32_t n>
__device__ Merged merge(const Scales& scales, uint32_t column, const float4 (&values)[n])
{
    Merged it = {lowest};
#pragma unroll
    for (uint32_t i = 0; i < n; i++) it.max = fmaxf(it.max, scales.max[i][column]);
#pragma unroll
    for (uint32_t i = 0; i < n; i++) {
        const float factor = exp2_approx(scales.max[i][column] - it.max);
        it.sum = fmaf(factor, scales.sum[i][column], it.sum);
        it.values.x = fmaf(factor, values[i].x, it.values.x);
        it.values.y = fmaf(factor, values[i].y, it.values.y);
        it.values.z = fmaf(factor, values[i].z, it.values.z);
        it.values.w = fmaf(factor, values[i].w, it.values.w);
    }
    return it;
}

// Four values times a factor, in eight bytes.
template <typename W> __device__ void store4(W* to, float4 values, float factor)
{
    alignas(8) W it[4];
    narrow(values.x * factor, it[0]);
    narrow(values.y * factor, it[1]);
    narrow(values.z * factor, it[2]);
    narrow(values.w * factor, it[3]);
    *reinterpret_cast<uint2*>(to) = reinterpret_cast<uint2&>(it);
}
