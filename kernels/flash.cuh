// What a warp does with its rows of queries and a tile of 64 keys and values in shared memory: scores, softmax, weighted
// values, added in the order of softmax.cuh. prefill_attention.cu says why.
//
// A row is one query head of one token. Lane 4*g + c of a warp has, of its 16 rows, the rows g and g + 8, and of each
// eight keys or dims those at 2*c and 2*c + 1: mma's results (PTX ISA, #warp-level-matrix-fragment-mma-16816-float).
// Two results of eight keys are the operand of 16 keys that the values are multiplied with. For the scores, a lane takes
// 16 bytes at dims 32*i + 8*c of its rows, and of key g: the first four elements are those of one mma, the second four
// of the next, as in decode_attention.
#pragma once
#include "softmax.cuh"

// A warp's 16 rows and their softmax over the keys so far, at n_dims dims. `h` says which of a lane's two: row g + 8*h.
template <uint32_t n_dims> struct FlashRows {
    // Of a range, or of the ranges before it.
    struct Softmax {
        float max[2], sum[2];
        float values[n_dims / 8][4];  // weighted
    };
    Softmax range, row;

    using Scores = float[n_tile_keys / 8][4];

    struct Weights {
        uint32_t high[n_tile_keys / 16][4], low[n_tile_keys / 16][4];
    };

    __device__ FlashRows()
    {
#pragma unroll
        for (uint32_t h = 0; h < 2; h++) {
            clear(range, h);
            clear(row, h);
        }
    }

    // Adds Q K^T, of n_keys of the tile from `first` on. The lane's addresses are those of its first pieces.
    template <uint32_t n_q_dims, uint32_t first, uint32_t n_keys>
    static __device__ void score(Scores& scores, uint32_t q, uint32_t k)
    {
        constexpr uint32_t step = 8 * SharedTile<n_q_dims>::row_bytes;
#pragma unroll 1  // registers are short
        for (uint32_t d = 0; d < n_q_dims / 32; d++) {
            const uint4 low = load_shared(four_pieces(q, d)), high = load_shared(four_pieces(q, d) + step);
#pragma unroll
            for (uint32_t j = 0; j < n_keys / 8; j++) {
                const uint4 b = load_shared(four_pieces(k, d) + j * step);
                mma(scores[first / 8 + j], {low.x, high.x, low.y, high.y}, b.x, b.y, bf16());
                mma(scores[first / 8 + j], {low.z, high.z, low.w, high.w}, b.z, b.w, bf16());
            }
        }
    }

    static __device__ void scale(Scores& scores, float factor)
    {
#pragma unroll
        for (auto& four : scores)
#pragma unroll
            for (float& score : four) score *= factor;
    }

    // Scores of keys that a row does not see become -inf, for a weight of exactly 0. The tile begins at `first`.
    // The positions of the warp's rows are at `own`.
    static __device__ void mask(Scores& scores, const uint32_t* own, uint32_t n_before, uint32_t first)
    {
        const uint32_t row = here(threadIdx.x) % 32 / 4, column = here(threadIdx.x) % 4;
#pragma unroll
        for (uint32_t h = 0; h < 2; h++) {
            const uint32_t last = own[8 * h + row];
            const Span seen = {last - min(last, n_before), last};
#pragma unroll
            for (uint32_t j = 0; j < n_tile_keys / 8; j++)
#pragma unroll
                for (uint32_t e = 0; e < 2; e++)
                    if (!seen.has(first + 8 * j + 2 * column + e)) scores[j][2 * h + e] = -INFINITY;
        }
    }

    // Adds a tile: turns scores to weights, and adds P V. The lane's address is that which load_transposed wants of the
    // first values.
    __device__ void add(Scores& scores, uint32_t v)
    {
        float added[2];
        Weights weights;
        weigh(weights, added, scores);
#pragma unroll
        for (uint32_t d = 0; d < n_dims / 16; d++) {
            if (d % 2 == 0) __syncwarp();  // a fence to the compiler: loads ahead of more dims would need too many registers
            float tile[2][4] = {};
#pragma unroll
            for (uint32_t j = 0; j < n_tile_keys / 16; j++) {
                uint32_t b[4];
                load_transposed(b, piece_pair(v, d) + j * 16 * SharedTile<n_dims>::row_bytes);
                mma(tile[0], weights.high[j], b[0], b[1], bf16());
                mma(tile[1], weights.high[j], b[2], b[3], bf16());
                mma(tile[0], weights.low[j], b[0], b[1], bf16());
                mma(tile[1], weights.low[j], b[2], b[3], bf16());
            }
#pragma unroll
            for (uint32_t e = 0; e < 8; e++) {
                float& value = range.values[2 * d + e / 4][e % 4];  // brought to the new maximum by weigh
                value = fmaf(added[e % 4 / 2], tile[e / 4][e % 4], value);
            }
        }
    }

    // Replaces scores by weights, raises the range's maxima to the tile's, and adds the weights.
    __device__ void weigh(Weights& weights, float (&added)[2], Scores& scores)
    {
        float kept[2];
        bool is_raised = false;
#pragma unroll
        for (uint32_t h = 0; h < 2; h++) {
            float max = lowest, sum = 0;
#pragma unroll
            for (uint32_t j = 0; j < n_tile_keys / 8; j++)
                max = fmaxf(max, fmaxf(scores[j][2 * h], scores[j][2 * h + 1]));
            max = fmaxf(max, __shfl_xor_sync(~0u, max, 1));
            max = fmaxf(max, __shfl_xor_sync(~0u, max, 2));
#pragma unroll
            for (uint32_t j = 0; j < n_tile_keys / 8; j++) {
                const float* pair = &scores[j][2 * h];
                const WeightPair it(exp2_approx(pair[0] - max), exp2_approx(pair[1] - max));
                add_weights(sum, it.high, it.low);
                weights.high[j / 2][j % 2 * 2 + h] = it.high;
                weights.low[j / 2][j % 2 * 2 + h] = it.low;
            }
            const Factors factors(range.max[h], max);
            factors.add(range.sum[h], add_four_lanes(sum));
            added[h] = factors.added;
            kept[h] = factors.kept;
            is_raised |= factors.kept != 1;
        }
        if (!__any_sync(~0u, is_raised)) return;
#pragma unroll
        for (uint32_t d = 0; d < n_dims / 8; d++)
#pragma unroll
            for (uint32_t e = 0; e < 4; e++) range.values[d][e] *= kept[e / 2];
    }

    // Adds a row's range to the ranges before it.
    __device__ void end_range(uint32_t h)
    {
        const Factors factors(row.max[h], range.max[h]);
        factors.add(row.sum[h], range.sum[h]);
#pragma unroll
        for (uint32_t d = 0; d < n_dims / 8; d++)
#pragma unroll
            for (uint32_t e = 2 * h; e < 2 * h + 2; e++) factors.add(row.values[d][e], range.values[d][e]);
        clear(range, h);
    }

    // Leaves the row's ranges so far, one float4 every `stride`.
    template <uint32_t stride> __device__ void store(float4* to) const
    {
#pragma unroll
        for (uint32_t d = 0; d < n_dims / 8; d++)
            to[d * stride] = make_float4(row.values[d][0], row.values[d][1], row.values[d][2], row.values[d][3]);
        to[n_dims / 8 * stride] = make_float4(row.max[0], row.max[1], row.sum[0], row.sum[1]);
    }

    // Adds ranges that another thread stored so, behind those before them.
    template <uint32_t stride> __device__ void add_stored(const float4* from)
    {
#pragma unroll
        for (uint32_t d = 0; d < n_dims / 8; d++) {
            const float4 four = __ldcg(from + d * stride);
            range.values[d][0] = four.x, range.values[d][1] = four.y;
            range.values[d][2] = four.z, range.values[d][3] = four.w;
        }
        const float4 four = __ldcg(from + n_dims / 8 * stride);
        range.max[0] = four.x, range.max[1] = four.y;
        range.sum[0] = four.z, range.sum[1] = four.w;
        end_range(0);
        end_range(1);
    }

    static __device__ void clear(Softmax& it, uint32_t h)
    {
        it.max[h] = lowest;
        it.sum[h] = 0;
#pragma unroll
        for (uint32_t d = 0; d < n_dims / 8; d++) it.values[d][2 * h] = it.values[d][2 * h + 1] = 0;
    }

    // Leaves each row's mean of values in shared memory, in the weights' type.
    template <typename W> __device__ void finish(const SharedTile<n_dims>& to, uint32_t first_row)
    {
        const uint32_t lane = here(threadIdx.x) % 32, g = lane / 4, column = lane % 4;
#pragma unroll
        for (uint32_t h = 0; h < 2; h++) {
            end_range(h);
            const float factor = 1 / row.sum[h];
#pragma unroll
            for (uint32_t d = 0; d < n_dims / 8; d++) {
                alignas(4) W pair[2];
                narrow(normalized(row.values[d][2 * h], factor), pair[0]);
                narrow(normalized(row.values[d][2 * h + 1], factor), pair[1]);
                store_shared(to.at(first_row + 8 * h + g, d) + 4 * column, reinterpret_cast<const uint32_t&>(pair));
            }
        }
    }
};
