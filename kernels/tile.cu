// Puts rows of a matrix where the products read them, see tiles.cuh.
//
//   rows   [n_rows, n_in]                     rows first_row.. of the matrix, n_in a multiple of 8
//   tiles  [n_row_tiles, n_groups, 2, 32, 8]  of the whole matrix
//
// Rows that one lane of a product needs together are paired: with a `pair_distance` of h, rows r and r + h of each run
// of 2h rows are the same row of a tile's two halves. 0 leaves the rows in order.
//
// `rows` may be memory of the host, which is then read across the bus once, by whole lines. What a row becomes is pieces
// of 64 bytes, whole sectors. A warp takes a row, with four loads in flight before the first store waits for one: 16 KiB
// in a block. Right for every grid; some dozens of blocks keep a bus busy.
#include "tiles.cuh"

// The row of the tiles that holds a row of the matrix: eight pairs are the 16 rows of a tile.
__device__ inline uint32_t tiled_row(uint32_t row, uint32_t pair_distance)
{
    if (pair_distance == 0) return row;
    const uint32_t run = row / (2 * pair_distance), in_run = row % (2 * pair_distance);
    const uint32_t pair = run * pair_distance + in_run % pair_distance, half = in_run / pair_distance;
    return pair / 8 * 16 + half * 8 + pair % 8;
}

template <typename W>
__device__ void tile(
    const W* rows, W* tiles, uint32_t n_rows, uint32_t n_in, uint32_t first_row, uint32_t pair_distance)
{
    constexpr uint32_t n_unrolled = 4, step = 32 * tile_rows;  // from a row's piece to the one 32 pieces on, in the tiles
    const uint32_t n_pieces = n_in / piece_columns, lane = threadIdx.x % 32;
    const uint32_t n_warps = blockDim.x / 32, first = blockIdx.x * n_warps + threadIdx.x / 32;
    for (uint32_t row = first; row < n_rows; row += gridDim.x * n_warps) {
        const uint4* from = reinterpret_cast<const uint4*>(rows + size_t(row) * n_in);  // [n_pieces]
        const uint32_t to_row = tiled_row(first_row + row, pair_distance);
        uint4* to = reinterpret_cast<uint4*>(tiles + tiled_piece(to_row, lane, n_column_groups(n_in)));
        uint32_t piece = lane;
        for (; piece + (n_unrolled - 1) * 32 < n_pieces; piece += n_unrolled * 32, to += n_unrolled * step) {
            uint4 pieces[n_unrolled];
#pragma unroll
            for (uint32_t i = 0; i < n_unrolled; i++) pieces[i] = __ldcs(&from[piece + i * 32]);
#pragma unroll
            for (uint32_t i = 0; i < n_unrolled; i++) to[i * step] = pieces[i];
        }
#pragma unroll 1
        for (; piece < n_pieces; piece += 32, to += step) *to = __ldcs(&from[piece]);
    }
}

extern "C" __global__ __launch_bounds__(256) void tile_bf16(
    const bf16* __restrict__ rows, bf16* __restrict__ tiles, uint32_t n_rows, uint32_t n_in, uint32_t first_row,
    uint32_t pair_distance)
{
    tile(rows, tiles, n_rows, n_in, first_row, pair_distance);
}

extern "C" __global__ __launch_bounds__(256) void tile_f16(
    const f16* __restrict__ rows, f16* __restrict__ tiles, uint32_t n_rows, uint32_t n_in, uint32_t first_row,
    uint32_t pair_distance)
{
    tile(rows, tiles, n_rows, n_in, first_row, pair_distance);
}
