// What a warp does with its rows of queries and a tile of keys and values in shared memory: scores, softmax, weighted
// values. prefill_attention.cu says why.
//
// A row is one query head of one token. Lane 4*g + c of a warp has, of each 16 rows, the rows g and g + 8, and of each
// eight keys or dims those at 2*c and 2*c + 1: mma's results (PTX ISA, #warp-level-matrix-fragment-mma-16816-float).
// Two results of eight keys are the operand of 16 keys that the values are multiplied with.
#pragma once
#include "fragments.cuh"

constexpr float lowest = -3.4e38f;  // the maximum of no scores. It is finite: inf - inf would be NaN

// Which keys the queries see: positions, both ends included.
struct Span {
    uint32_t first, last;

    __device__ bool has(uint32_t key) const { return first <= key && key <= last; }
};

// The two bf16 whose sum a weight is, of two neighbouring keys.
struct SplitPair {
    uint32_t high, low;

    __device__ SplitPair(float a, float b) : high(pack(a, b))
    {
        const float2 it = unpack_pair(high, bf16());
        low = pack(a - it.x, b - it.y);
    }

    static __device__ uint32_t pack(float a, float b)
    {
        const __nv_bfloat162 pair = __floats2bfloat162_rn(a, b);
        return reinterpret_cast<const uint32_t&>(pair);
    }
};

// A warp's 16 * n_sixteens rows, of n_dims dims, and their softmax over the keys so far. A tile has n_keys keys.
template <uint32_t n_dims, uint32_t n_sixteens, uint32_t n_keys> struct FlashRows {
    float values[n_sixteens][n_dims / 8][4] = {};  // weighted
    float max[n_sixteens][2], sum[n_sixteens][2] = {};  // of scores; and a lane's part of the sum of weights

    using Scores = float[n_sixteens][n_keys / 8][4];

    __device__ FlashRows()
    {
#pragma unroll
        for (auto& it : max) it[0] = it[1] = lowest;
    }

    // Q K^T. The lane's addresses are those that load_matrices wants of the first rows and keys.
    static __device__ void score(Scores& scores, uint32_t q, uint32_t k)
    {
        constexpr uint32_t step = 16 * SharedTile<n_dims>::row_bytes;
#pragma unroll
        for (auto& it : scores)
#pragma unroll
            for (auto& four : it) four[0] = four[1] = four[2] = four[3] = 0;
#pragma unroll 8  // all for up to 128 dims; with 256, registers are short
        for (uint32_t d = 0; d < n_dims / 16; d++) {
            uint32_t a[n_sixteens][4];
#pragma unroll
            for (uint32_t i = 0; i < n_sixteens; i++) load_matrices(a[i], piece_pair(q, d) + i * step);
#pragma unroll
            for (uint32_t j = 0; j < n_keys / 16; j++) {
                uint32_t b[4];
                load_matrices(b, piece_pair(k, d) + j * step);
#pragma unroll
                for (uint32_t i = 0; i < n_sixteens; i++) {
                    mma(scores[i][2 * j], a[i], b[0], b[1]);
                    mma(scores[i][2 * j + 1], a[i], b[2], b[3]);
                }
            }
        }
    }

    // Scores of keys that a row does not see become -inf, for a weight of exactly 0. The tile begins at `first`.
    // The positions of the warp's rows are at `own`.
    static __device__ void mask(Scores& scores, const uint32_t* own, uint32_t n_before, uint32_t first)
    {
        const uint32_t row = here(threadIdx.x) % 32 / 4, column = here(threadIdx.x) % 4;
#pragma unroll
        for (uint32_t i = 0; i < n_sixteens; i++)
#pragma unroll
            for (uint32_t h = 0; h < 2; h++) {
                const uint32_t last = own[16 * i + 8 * h + row];
                const Span seen = {last - min(last, n_before), last};
#pragma unroll
                for (uint32_t j = 0; j < n_keys / 8; j++)
#pragma unroll
                    for (uint32_t e = 0; e < 2; e++)
                        if (!seen.has(first + 8 * j + 2 * column + e)) scores[i][j][2 * h + e] = -INFINITY;
            }
    }

    // Replaces scores by weights, 2^(scale * score - max), after the maxima were raised to theirs.
    __device__ void weigh(Scores& scores, float scale)
    {
        float factor[n_sixteens][2];
        bool is_raised = false;
#pragma unroll
        for (uint32_t i = 0; i < n_sixteens; i++)
#pragma unroll
            for (uint32_t h = 0; h < 2; h++) {
                float it = -INFINITY;
#pragma unroll
                for (uint32_t j = 0; j < n_keys / 8; j++)
                    it = fmaxf(it, fmaxf(scores[i][j][2 * h], scores[i][j][2 * h + 1]));
                it = fmaxf(it, __shfl_xor_sync(~0u, it, 1));
                it = fmaxf(it, __shfl_xor_sync(~0u, it, 2));
                it = fmaxf(max[i][h], it * scale);
                factor[i][h] = exp2_approx(max[i][h] - it);
                is_raised |= max[i][h] != it;
                max[i][h] = it;
            }
        if (__any_sync(~0u, is_raised)) rescale(factor);  // else all factors are 1
#pragma unroll
        for (uint32_t i = 0; i < n_sixteens; i++)
#pragma unroll
            for (uint32_t j = 0; j < n_keys / 8; j++)
#pragma unroll
                for (uint32_t e = 0; e < 4; e++) {
                    scores[i][j][e] = exp2_approx(fmaf(scores[i][j][e], scale, -max[i][e / 2]));
                    sum[i][e / 2] += scores[i][j][e];
                }
    }

    __device__ void rescale(const float (&factor)[n_sixteens][2])
    {
#pragma unroll
        for (uint32_t i = 0; i < n_sixteens; i++) {
#pragma unroll
            for (uint32_t h = 0; h < 2; h++) sum[i][h] *= factor[i][h];
#pragma unroll
            for (uint32_t d = 0; d < n_dims / 8; d++)
#pragma unroll
                for (uint32_t e = 0; e < 4; e++) values[i][d][e] *= factor[i][e / 2];
        }
    }

    // Adds P V. The lane's address is that which load_transposed wants of the first keys.
    __device__ void add(const Scores& weights, uint32_t v)
    {
#pragma unroll
        for (uint32_t j = 0; j < n_keys / 16; j++) {
            uint32_t high[n_sixteens][4], low[n_sixteens][4];
#pragma unroll
            for (uint32_t i = 0; i < n_sixteens; i++)
#pragma unroll
                for (uint32_t n = 0; n < 4; n++) {
                    const float* pair = &weights[i][2 * j + n / 2][n % 2 * 2];
                    const SplitPair it(pair[0], pair[1]);
                    high[i][n] = it.high;
                    low[i][n] = it.low;
                }
#pragma unroll
            for (uint32_t d = 0; d < n_dims / 16; d++) {
                uint32_t b[4];
                load_transposed(b, piece_pair(v, d) + j * 16 * SharedTile<n_dims>::row_bytes);
#pragma unroll
                for (uint32_t i = 0; i < n_sixteens; i++) {
                    mma(values[i][2 * d], high[i], b[0], b[1]);
                    mma(values[i][2 * d + 1], high[i], b[2], b[3]);
                }
#pragma unroll
                for (uint32_t i = 0; i < n_sixteens; i++) {
                    mma(values[i][2 * d], low[i], b[0], b[1]);
                    mma(values[i][2 * d + 1], low[i], b[2], b[3]);
                }
            }
        }
    }

    // Leaves each row's mean of values where the warp's queries were, in the weights' type.
    template <typename W> __device__ void finish(const SharedTile<n_dims>& to, uint32_t first_row)
    {
        const uint32_t lane = here(threadIdx.x) % 32, row = lane / 4, column = lane % 4;
#pragma unroll
        for (uint32_t i = 0; i < n_sixteens; i++)
#pragma unroll
            for (uint32_t h = 0; h < 2; h++) {
                float total = sum[i][h];
                total += __shfl_xor_sync(~0u, total, 1);
                total += __shfl_xor_sync(~0u, total, 2);
                const float factor = 1 / total;
#pragma unroll
                for (uint32_t d = 0; d < n_dims / 8; d++) {
                    alignas(4) W pair[2];
                    narrow(values[i][d][2 * h] * factor, pair[0]);
                    narrow(values[i][d][2 * h + 1] * factor, pair[1]);
                    store_shared(
                        to.at(first_row + 16 * i + 8 * h + row, d) + 4 * column,
                        reinterpret_cast<const uint32_t&>(pair));
                }
            }
    }
};
