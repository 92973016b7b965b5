// A few rows of a weight matrix times a few tokens: all that matvec and matmul do, in one function,
// so that both give the same bits.
//
// A row of n_in weights is cut into pieces of eight. `lanes_per_row` neighbouring lanes own four rows
// together; lane i takes the pieces i, i + lanes_per_row, ... of each, in ascending order, with one
// fmaf a weight, and a tree adds the lanes' sums:
//
//   n_in = 576, lanes_per_row = 8      piece   0  1 .. 7 | 8  9 .. 15 | ..   .. 71
//                                      lane    0  1 .. 7 | 0  1 ..  7 | ..   ..  7
//
// So the bits of an output depend on n_in alone: not on the grid, nor on how many tokens ride along.
#pragma once
#include "common.cuh"

// Rows that a lane works on: it unpacks a piece of x once and uses it this often.
constexpr uint32_t n_rows = 4;

// Lanes that share a row. 32 read 512 bytes of it at once; where that would leave lanes idle in the
// last trip, 16 or 8 fit better, and 8 still read a whole 128-byte line.
__device__ inline uint32_t lanes_per_row(uint32_t n_in)
{
    const uint32_t n_pieces = n_in / 8, greatest_power_of_two_in_it = n_pieces & (0 - n_pieces);
    return min(max(greatest_power_of_two_in_it, 8), 32);
}

// Rows that a warp takes at once.
__device__ inline uint32_t rows_per_warp(uint32_t n_in) { return n_rows * 32 / lanes_per_row(n_in); }

// Adds four rows' sums over half of the lanes twice, and with it hands out the rows: the lane returns
// the sum of row `lane / (n_lanes / 4)` over the lanes that differ from it in the upper two bits.
// That is 3 shuffles where adding each row by itself would take 8.
__device__ inline float fold_rows(const float (&sums)[n_rows], uint32_t lane, uint32_t n_lanes)
{
    const uint32_t half = n_lanes / 2, quarter = n_lanes / 4;
    const bool upper = lane & half, odd = lane & quarter;
    float pair[2];
#pragma unroll
    for (uint32_t r = 0; r < 2; r++)
        pair[r] = (upper ? sums[r + 2] : sums[r]) + __shfl_xor_sync(~0u, upper ? sums[r] : sums[r + 2], half);
    return (odd ? pair[1] : pair[0]) + __shfl_xor_sync(~0u, odd ? pair[0] : pair[1], quarter);
}

// y[t, row] = weight[row] . x[t], plus what was in y if `accumulate`, for one warp's tile of rows.
template <uint32_t n_tokens, typename W>
__device__ __forceinline__ void multiply_tile(
    const W* weight,  // [n_out, n_in]
    const W* x,       // [n_tokens, n_in]
    float* y,         // [n_tokens, n_out]
    uint32_t n_in, uint32_t n_out, uint32_t first_row, uint32_t accumulate)
{
    const uint32_t n_lanes = lanes_per_row(n_in), lane = threadIdx.x % n_lanes;
    const uint32_t row = first_row + threadIdx.x % 32 / n_lanes * n_rows;  // the first of this lane's four

    const W* weights[n_rows];  // at this lane's piece; past the last row it is the last again, unused
#pragma unroll
    for (uint32_t r = 0; r < n_rows; r++) weights[r] = weight + size_t(min(row + r, n_out - 1)) * n_in + lane * 8;
    x += lane * 8;

    float sums[n_tokens][n_rows] = {};
    for (uint32_t i = lane * 8; i < n_in; i += n_lanes * 8) {
        float w[n_rows][8];
#pragma unroll
        for (uint32_t r = 0; r < n_rows; r++) {
            unpack<W>(n_tokens == 1 ? load_packed_once(weights[r]) : load_packed(weights[r]), w[r]);
            weights[r] += n_lanes * 8;
        }
#pragma unroll
        for (uint32_t t = 0; t < n_tokens; t++) {
            float x_piece[8];
            load8(x + size_t(t) * n_in, x_piece);
#pragma unroll
            for (uint32_t r = 0; r < n_rows; r++)
#pragma unroll
                for (uint32_t j = 0; j < 8; j++) sums[t][r] = fmaf(w[r][j], x_piece[j], sums[t][r]);
        }
        x += n_lanes * 8;
    }

    float sum[n_tokens];  // of this lane's row, see fold_rows
#pragma unroll
    for (uint32_t t = 0; t < n_tokens; t++) sum[t] = fold_rows(sums[t], lane, n_lanes);
    for (uint32_t step = n_lanes / 8; step > 0; step /= 2)
#pragma unroll
        for (uint32_t t = 0; t < n_tokens; t++) sum[t] += __shfl_xor_sync(~0u, sum[t], step);

    const uint32_t own_row = row + lane / (n_lanes / 4);
    if (lane % (n_lanes / 4) == 0 && own_row < n_out) {
#pragma unroll
        for (uint32_t t = 0; t < n_tokens; t++) {
            float* to = y + size_t(t) * n_out + own_row;
            *to = accumulate ? *to + sum[t] : sum[t];
        }
    }
}
