// A weight matrix times up to eight tokens, on tensor cores: what qkv, residual, gate_up and lm_head share.
//
// Decoding reads every weight once, so what counts is that many loads are in flight and that nothing else
// is in their way. mma.sync multiplies 16 rows by eight tokens for the price of one, and its operand A
// needs no unpacking: weights are laid out as it wants them (tile.cu), 1024 bytes for 16 rows and a
// group of 32 columns, and a lane takes its part with two loads of 16 bytes:
//
//   lane = 4 g + c       loads[0]  row g      columns 8c .. 8c+7 of the group
//                        loads[1]  row g + 8  the same columns
//
// The k of an mma may be any 16 columns, if A and B agree: the first of two takes elements 0..3 of
// each lane's eight, the second 4..7. (PTX ISA, #warp-level-matrix-fragment-mma-16816-float.)
//
// The columns are cut into segments of whole groups, one for each warp, whose sums are added in order; a
// short row has few segments, and then the warps of a block share several row tiles. So the bits of an
// output depend on n_in alone: not on the grid, nor on how many tokens ride along.
//
//   columns       |  segment 0  |  segment 1  | ...
//   row tile 0       warp 0        warp 1
//   row tile 1       warp n        warp n + 1     n segments
#pragma once
#include "mma.cuh"
#include "tiles.cuh"

constexpr uint32_t max_tokens = 8;         // the N of mma
constexpr uint32_t n_block_warps = 8;      // of every kernel that multiplies
constexpr uint32_t n_group_columns = 32;   // of a tile
constexpr uint32_t n_tile_elements = 512;  // 16 rows of them
constexpr uint32_t n_flight_groups = 4;    // groups whose loads a warp has in flight: 4 KiB

// A lane's part of the tile that is `i` tiles behind `from`. Weights are read once, so they stay out of L1;
// volatile, so that the load starts where it is written.
template <uint32_t i, typename T> __device__ inline void load_weights(uint4 (&to)[2], const T* from)
{
    asm volatile("ld.global.nc.L1::no_allocate.L2::256B.v4.u32 {%0, %1, %2, %3}, [%4 + %5];"
                 : "=r"(to[0].x), "=r"(to[0].y), "=r"(to[0].z), "=r"(to[0].w)
                 : "l"(from), "n"(i * 1024));
    asm volatile("ld.global.nc.L1::no_allocate.L2::256B.v4.u32 {%0, %1, %2, %3}, [%4 + %5];"
                 : "=r"(to[1].x), "=r"(to[1].y), "=r"(to[1].z), "=r"(to[1].w)
                 : "l"(from), "n"(i * 1024 + 512));
}

// A value that is in a register from here on: the compiler would compute it anew in each trip of a loop.
template <typename T> __device__ inline T keep(T value)
{
    if constexpr (sizeof(T) == 4) asm volatile("" : "+r"(value));
    else asm volatile("" : "+l"(value));
    return value;
}

// Warps that share a row, at least two: a power of two, so that they divide a block.
__device__ inline uint32_t segments_of(uint32_t n_in) { return n_in >= 2048 ? 8 : n_in >= 1024 ? 4 : 2; }

// Row tiles that a block takes at once, see src/kernels/product.rs.
__device__ inline uint32_t block_tiles(uint32_t n_in) { return n_block_warps / segments_of(n_in); }

// A block's row tiles of a product: block_tiles at a time, each block's in turn.
template <typename W> class Product {
    uint32_t n_in, n_tiles, n_segments;
    uint32_t first_group, n_own;  // this warp's segment: where it begins, and its groups
    uint32_t n_ragged;            // 1 if its last group has fewer than 32 columns
    const W* own;                 // this lane's part of the segment, in the tile at hand
    size_t grid_elements;         // from a block's tile to its next
    uint4 flight[n_flight_groups][2];

    // Starts to load groups from a lane's part of the first on, as far as the segment has so many left.
    __device__ void fetch(const W* from, uint32_t n_left)
    {
        if (n_left >= n_flight_groups) {  // all of them at once
            load_weights<0>(flight[0], from);
            load_weights<1>(flight[1], from);
            load_weights<2>(flight[2], from);
            load_weights<3>(flight[3], from);
        } else {
            if (n_left > 0) load_weights<0>(flight[0], from);
            if (n_left > 1) load_weights<1>(flight[1], from);
            if (n_left > 2) load_weights<2>(flight[2], from);
        }
    }

    __device__ void multiply(float (&sums)[4], uint32_t i, uint4 b) const
    {
        const uint4(&a)[2] = flight[i];
        mma(sums, {a[0].x, a[1].x, a[0].y, a[1].y}, b.x, b.y, W());
        mma(sums, {a[0].z, a[1].z, a[0].w, a[1].w}, b.z, b.w, W());
    }

    // Multiplies what was fetched, by this lane's columns of x.
    __device__ void multiply_fetched(float (&sums)[4], const W* x, uint32_t n_left) const
    {
        if (n_left >= n_flight_groups + n_ragged) {
            uint4 b[n_flight_groups];  // all on their way before the first is needed
#pragma unroll
            for (uint32_t i = 0; i < n_flight_groups; i++) b[i] = load_packed(x + i * n_group_columns);
#pragma unroll
            for (uint32_t i = 0; i < n_flight_groups; i++) multiply(sums, i, b[i]);
        } else {
            const bool has_column = threadIdx.x % 4 * piece_columns < n_in % n_group_columns;  // of a ragged group
#pragma unroll
            for (uint32_t i = 0; i < n_flight_groups; i++) {
                if (i >= n_left) break;
                uint4 b = make_uint4(0, 0, 0, 0);
                if (has_column || i + n_ragged < n_left) b = load_packed(x + i * n_group_columns);
                multiply(sums, i, b);
            }
        }
    }

public:
    // Starts to load the first weights, so that they are under way while x is being prepared.
    __device__ Product(const W* weight, uint32_t n_in, uint32_t n_tiles)
        : n_in(n_in), n_tiles(n_tiles), n_segments(keep(segments_of(n_in)))
    {
        const uint32_t warp = threadIdx.x / 32, n_groups = n_column_groups(n_in);
        const uint32_t n_segment_groups = ceil_div(n_groups, n_segments);
        first_group = min(warp % n_segments * n_segment_groups, n_groups);
        n_own = keep(min(n_segment_groups, n_groups - first_group));
        n_ragged = keep(uint32_t(n_in % n_group_columns > 0 && n_own > 0 && first_group + n_own == n_groups));
        const uint32_t tile = blockIdx.x * block_tiles(n_in) + warp / n_segments;
        own = weight + (size_t(tile) * n_groups + first_group) * n_tile_elements + threadIdx.x % 32 * piece_columns;
        grid_elements = keep(size_t(gridDim.x * block_tiles(n_in)) * n_groups * n_tile_elements);
        fetch(own, tile < n_tiles ? n_own : 0);
    }

    // `finish(tile, g, token, low, high)` gets the sums of rows g and g + 8 of each tile for a token, which may be
    // one past the last. Whole warps call it, and a thread has the same g and token in every call.
    // x [n_tokens, x_stride] is in shared or global memory.
    template <typename Finish>
    __device__ void run(const W* x, uint32_t x_stride, uint32_t n_tokens, Finish finish)
    {
        __shared__ float partials[2][n_block_warps][4][32];  // of the tiles at hand and of those before
        const uint32_t warp = threadIdx.x / 32, lane = threadIdx.x % 32;
        const uint32_t token = min(lane / 4, n_tokens - 1);  // past the last it is the last again, unused
        const uint32_t x_own = keep(token * x_stride + first_group * n_group_columns + lane % 4 * piece_columns);
        const uint32_t n_block_tiles = keep(block_tiles(n_in)), n_grid_tiles = keep(gridDim.x * n_block_tiles);
        uint32_t tile = keep(blockIdx.x * n_block_tiles + warp / n_segments);

        uint32_t buffer = 0;
        for (uint32_t first = blockIdx.x * n_block_tiles; first < n_tiles; first += n_grid_tiles, buffer ^= 1) {
            float sums[4] = {};
            uint32_t n_left = tile < n_tiles ? n_own : 0;
            tile += n_grid_tiles;
            const uint32_t n_next = tile < n_tiles ? n_own : 0;
            const W *from = own, *x_from = x + x_own;
            own += grid_elements;
            while (n_left > 0) {
                multiply_fetched(sums, x_from, n_left);
                x_from += n_flight_groups * n_group_columns;
                from += n_flight_groups * n_tile_elements;
                const bool is_last = n_left <= n_flight_groups;
                n_left = is_last ? 0 : n_left - n_flight_groups;
                fetch(is_last ? own : from, is_last ? n_next : n_left);
            }
#pragma unroll
            for (uint32_t i = 0; i < 4; i++) partials[buffer][warp][i][lane] = sums[i];
            __syncthreads();  // every segment's sums are there; and those of the tiles before were read

            // Two warps finish a tile. Sums 0 and 1 of lane 4 g + c are row g of tokens 2c and 2c + 1; sums 2 and 3 are
            // row g + 8.
            const uint32_t done = first + warp / 2, odd = warp % 2;
            if (warp / 2 < n_block_tiles && done < n_tiles) {
                const auto& of_tile = partials[buffer] + warp / 2 * n_segments;
                float low = of_tile[0][odd][lane], high = of_tile[0][odd + 2][lane];
#pragma unroll
                for (uint32_t i = 1; i < n_block_warps; i++) {
                    if (i >= n_segments) break;
                    low += of_tile[i][odd][lane];
                    high += of_tile[i][odd + 2][lane];
                }
                finish(done, lane / 4, lane % 4 * 2 + odd, low, high);
            }
        }
    }
};
