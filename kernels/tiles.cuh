// The order in which weights lie in device memory.
//
//   tiles  [n_row_tiles, n_groups, 2, 32, 8]
//
// A tile is 16 rows by 32 columns, 1024 bytes in the order in which a warp takes them as operand A of two
// mma.m16n8k16: element (half, lane, i) is row 8*half + lane/4, column 8*(lane%4) + i of the tile. So a row has 64
// contiguous bytes in each of its tiles, four pieces of 16 bytes. Rows and columns beyond the matrix are zero.
#pragma once
#include "common.cuh"

constexpr uint32_t tile_rows = 16, piece_columns = 8;

__device__ inline uint32_t n_column_groups(uint32_t n_in) { return ceil_div(n_in, 32); }

// Where the 16 bytes of columns 8*piece.. of a row are, in elements.
__device__ inline size_t tiled_piece(uint32_t row, uint32_t piece, uint32_t n_groups)
{
    const size_t tile = size_t(row / tile_rows) * n_groups + piece / 4;
    return ((tile * tile_rows + row % tile_rows) * 4 + piece % 4) * piece_columns;
}
