// The order in which attention adds, for decode_attention and prefill_attention alike: a row has the same bits in both.
//
//   tile   64 keys, aligned in absolute positions. Scores are sums over the dims by mma.sync, 32 of them in two: of each
//          eight neighbouring dims, the first has the lower four and the second the upper. A weight is
//          2^(score - the tile's greatest), as the sum of two bf16. Values are added by one chain of mma.sync from
//          zero, 16 keys at a time in ascending order, first with the high parts of their weights, then with the low
//          ones. Weights are added in the order of mma's fragments: lane c of four has the keys 8*j + 2*c and
//          8*j + 2*c + 1 for j = 0 .. 7, and then the four add what they have, neighbours first.
//   range  A power of two of keys, aligned: range_log2() says which. Its tiles are added one by one (Factors).
//   row    Its ranges are added one by one, in the same way, and divided by the sum of weights.
//
// A key that a row does not see weighs exactly 0, and a tile or range without keys changes nothing. So a row's bits
// depend on its position, its window and the keys in it. (Which of the two factors of an mma is A and which is B makes
// no difference to what is multiplied and added; on a card this is for a test to confirm.)
#pragma once
#include "fragments.cuh"

constexpr uint32_t n_tile_keys = 64;
constexpr int n_items_log2 = 4, min_range_log2 = 6;  // a range has a tile or more
constexpr uint32_t n_items = 1 << n_items_log2;  // whole ranges that hold all keys of a row
constexpr uint32_t n_ranges = n_items + 1;  // of a row, at the most: it ends inside one and begins inside another
constexpr float lowest = -3.4e38f;  // the maximum of no scores. It is finite: inf - inf would be NaN

// Keys: positions, both ends included.
struct Span {
    uint32_t first, last;

    __device__ bool has(uint32_t key) const { return first <= key && key <= last; }
    __device__ bool has_some_of(uint32_t key, uint32_t n) const { return key <= last && key + n > first; }
};

// What some tokens see, whose first and last are at these positions.
__device__ inline Span seen_from(uint32_t first_own, uint32_t last_own, uint32_t n_before)
{
    return {first_own - min(first_own, n_before), last_own};
}

// The logarithm of the size of the ranges of a row that sees some keys before its own.
__device__ inline uint32_t range_log2(uint32_t n_before)
{
    const int keys_log2 = 32 - __clz(n_before);
    return max(keys_log2 - n_items_log2, min_range_log2);
}

// By what scores are multiplied: with log2(e), since the exponentials are powers of two.
__device__ inline float score_scale(uint32_t head_dim) { return 1.44269504f / sqrtf(head_dim); }

// Two weights, each as the sum of two bf16: what the first leaves, to 2^-18 of the weight, is in the second.
struct WeightPair {
    uint32_t high, low;

    __device__ WeightPair(float a, float b)
    {
        high = pack(a, b);
        const float2 of = unpack_pair(high, bf16());
        low = pack(a - of.x, b - of.y);
    }

    static __device__ uint32_t pack(float a, float b)
    {
        const __nv_bfloat162 pair = __floats2bfloat162_rn(a, b);
        return reinterpret_cast<const uint32_t&>(pair);
    }
};

// Adds two weights, the first one first, as they became.
__device__ inline void add_weights(float& sum, uint32_t high, uint32_t low)
{
    const float2 highs = unpack_pair(high, bf16()), lows = unpack_pair(low, bf16());
    sum += highs.x + lows.x;
    sum += highs.y + lows.y;
}

// The sum over the four lanes of a fragment's row.
__device__ inline float add_four_lanes(float sum)
{
    sum += __shfl_xor_sync(~0u, sum, 1);
    return sum + __shfl_xor_sync(~0u, sum, 2);
}

// How a softmax over some keys is continued by one over keys after them: both are brought to the greater maximum.
struct Factors {
    float kept, added;  // one of them is 1

    // Raises the maximum.
    __device__ Factors(float& max, float of)
    {
        const float less = exp2_approx(-fabsf(max - of));
        kept = of > max ? less : 1;
        added = of > max ? 1 : less;
        max = fmaxf(max, of);
    }

    // Sums of weights and of weighted values alike. A product by 1 is exact: it may be left out.
    __device__ void add(float& sum, float of) const { sum = fmaf(added, of, sum * kept); }

    __device__ void add(float4& sum, float4 of) const
    {
        add(sum.x, of.x);
        add(sum.y, of.y);
        add(sum.z, of.z);
        add(sum.w, of.w);
    }
};

// A row's value times the reciprocal of its sum of weights. Adding 0 makes all zeros +0: one to which a tile without seen
// keys was added may differ in its sign from one to which it was not.
__device__ inline float normalized(float value, float factor) { return fmaf(value, factor, 0.f); }
