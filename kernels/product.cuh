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
// The columns are cut into `n_segments` segments, one for each warp, whose sums are added in order. So the
// bits of an output depend on n_in alone: not on the grid, nor on how many tokens ride along.
//
//   columns   |  segment 0  |  segment 1  | ...        a row tile:  16 rows
//   warp             0             1        ...
#pragma once
#include "common.cuh"

constexpr uint32_t max_tokens = 8;     // the N of mma
constexpr uint32_t n_tile_rows = 16;   // the M of mma
constexpr uint32_t n_group_dims = 32;  // columns of a tile
constexpr uint32_t n_segments = 8;     // warps of a block
constexpr uint32_t n_flight_groups = 4;  // groups whose loads a warp has in flight: 4 KiB

// sums [16 rows, 8 tokens] += a [16 rows, 16 columns] * b [16 columns, 8 tokens]
__device__ inline void
multiply_add(float (&sums)[4], uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3, uint32_t b0, uint32_t b1, bf16)
{
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
        : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}

__device__ inline void
multiply_add(float (&sums)[4], uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3, uint32_t b0, uint32_t b1, f16)
{
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
        : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}

// The 16 bytes at `from` if `is_there`, else what `to` was. One predicated load and no branch, so that
// ptxas can put several of them together; volatile, so that it starts where it is written.
template <typename T> __device__ inline void load_weights(uint4& to, const T* from, bool is_there)
{
    asm volatile("{ .reg .pred p; setp.ne.u32 p, %5, 0;"
                 " @p ld.global.nc.L1::no_allocate.L2::256B.v4.u32 {%0, %1, %2, %3}, [%4]; }"
                 : "+r"(to.x), "+r"(to.y), "+r"(to.z), "+r"(to.w)
                 : "l"(from), "r"(uint32_t(is_there)));
}

// The row tiles blockIdx.x, blockIdx.x + gridDim.x, ... of a product. A block has n_segments warps.
template <typename W> class Product {
    const W* pieces;  // this lane's part of the first tile
    uint32_t n_in, n_groups, n_tiles;
    uint32_t first_group, end_group;  // this warp's segment
    uint4 flight[n_flight_groups][2];

    // Starts to load the groups from `group` on of a tile, as far as they are this warp's.
    __device__ void fetch(uint32_t tile, uint32_t group)
    {
        const W* from = pieces + (size_t(tile) * n_groups + group) * (n_tile_rows * n_group_dims);
#pragma unroll
        for (uint32_t i = 0; i < n_flight_groups; i++) {
            const bool is_there = tile < n_tiles && group + i < end_group;
#pragma unroll
            for (uint32_t half = 0; half < 2; half++)
                load_weights(flight[i][half], from + i * 512 + half * 256, is_there);
        }
    }

public:
    // Starts to load the first weights, so that they are under way while x is being prepared.
    __device__ Product(const W* weight, uint32_t n_in, uint32_t n_tiles) : n_in(n_in), n_tiles(n_tiles)
    {
        const uint32_t warp = threadIdx.x / 32, lane = threadIdx.x % 32;
        n_groups = ceil_div(n_in, n_group_dims);
        const uint32_t n_segment_groups = ceil_div(n_groups, n_segments);
        first_group = warp * n_segment_groups;
        end_group = min(first_group + n_segment_groups, n_groups);
        pieces = weight + lane * 8;
#pragma unroll
        for (uint32_t i = 0; i < n_flight_groups; i++) flight[i][0] = flight[i][1] = make_uint4(0, 0, 0, 0);
        fetch(blockIdx.x, first_group);
    }

    // `finish(tile, g, token, low, high)` gets the sums of rows g and g + 8 of each tile for a token that may be
    // past the last; the threads of warps 0 and 1 call it together, always with the same g and token.
    // x [n_tokens, x_stride] is in shared or global memory.
    template <typename Finish>
    __device__ void run(const W* x, uint32_t x_stride, uint32_t n_tokens, Finish finish)
    {
        __shared__ float partials[2][n_segments][4][32];  // of the tile at hand and the one before
        const uint32_t warp = threadIdx.x / 32, lane = threadIdx.x % 32, dim = lane % 4 * 8;
        const bool is_token = lane / 4 < n_tokens;
        x += lane / 4 * x_stride + dim;

        uint32_t buffer = 0;
        for (uint32_t tile = blockIdx.x; tile < n_tiles; tile += gridDim.x, buffer ^= 1) {
            float sums[4] = {};
            for (uint32_t group = first_group; group < end_group; group += n_flight_groups) {
                uint4 b[n_flight_groups];  // of x: under way while the weights are
#pragma unroll
                for (uint32_t i = 0; i < n_flight_groups; i++) {
                    const uint32_t column = (group + i) * n_group_dims;
                    b[i] = make_uint4(0, 0, 0, 0);
                    if (is_token && group + i < end_group && column + dim < n_in) b[i] = load_packed(x + column);
                }
#pragma unroll
                for (uint32_t i = 0; i < n_flight_groups; i++) {
                    if (group + i >= end_group) break;
                    const uint4(&a)[2] = flight[i];
                    multiply_add(sums, a[0].x, a[1].x, a[0].y, a[1].y, b[i].x, b[i].y, W());
                    multiply_add(sums, a[0].z, a[1].z, a[0].w, a[1].w, b[i].z, b[i].w, W());
                }
                const bool is_last = group + n_flight_groups >= end_group;
                fetch(is_last ? tile + gridDim.x : tile, is_last ? first_group : group + n_flight_groups);
            }

#pragma unroll
            for (uint32_t i = 0; i < 4; i++) partials[buffer][warp][i][lane] = sums[i];
            __syncthreads();  // every segment's sums are there; and those of the tile before were read
            if (warp < 2) {
                // Sums 0 and 1 of lane 4 g + c are row g of tokens 2c and 2c + 1; sums 2 and 3 are row g + 8.
                float low = partials[buffer][0][warp][lane], high = partials[buffer][0][warp + 2][lane];
#pragma unroll
                for (uint32_t i = 1; i < n_segments; i++) {
                    low += partials[buffer][i][warp][lane];
                    high += partials[buffer][i][warp + 2][lane];
                }
                finish(tile, lane / 4, lane % 4 * 2 + warp, low, high);
            }
        }
    }
};
