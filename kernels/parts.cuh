// How the product of a chunk is cut: its result into parts, for each of which a block is busy, and the columns of a part
// into segments, for the sake of bits, and into shares of some segments, for the sake of blocks that had nothing to do.
#pragma once
#include "product.cuh"

constexpr uint32_t n_block_threads = n_block_warps * 32;
constexpr uint32_t n_tile_pieces = n_tile_elements / piece_columns;  // of 16 bytes
constexpr uint32_t n_token_pieces = n_group_columns / piece_columns;
constexpr uint32_t n_stages_pieces = 96 * 1024 / 16;  // what a block may have on every card from Ampere on
constexpr uint32_t n_panel_blocks = 8;                // of tokens that rows are multiplied by before the next rows
constexpr uint32_t n_shared_part_tokens = 256;        // the most with which blocks share a part

// How the columns of a row are cut.
struct Segments {
    uint32_t n_groups, n, n_groups_each;

    __device__ Segments(uint32_t n_in)
        : n_groups(n_column_groups(n_in)),
          n(segments_of(n_in)),
          n_groups_each(ceil_div(n_groups, n))
    {
    }

    __device__ bool has_empty() const { return (n - 1) * n_groups_each >= n_groups; }
};

// Where the shares of a part meet. The first stores the sum of its segments, the others each of theirs, so that they can
// be added in order.
struct Shares {
    float4* sums;       // [n_parts, n_segments, n_tiles * n_octets, n_block_threads]
    uint32_t* tickets;  // [n_parts], zeros before and after
    static constexpr bool are_allowed = true;
};

struct NoShares {
    static constexpr bool are_allowed = false;
};

// How much of the result a block makes: each of its warps has n_tiles row tiles and n_octets times eight tokens. Totals
// of more than 64 elements a lane are in shared memory, behind the stages.
template <uint32_t n_row_warps_, uint32_t n_tiles_, uint32_t n_octets_, uint32_t n_stage_groups_> struct Shape {
    static constexpr uint32_t n_row_warps = n_row_warps_, n_tiles = n_tiles_, n_octets = n_octets_;
    static constexpr uint32_t n_stage_groups = n_stage_groups_;
    static constexpr bool has_shared_totals = n_tiles * n_octets * 4 > 64;
    static constexpr uint32_t n_block_tiles = n_row_warps * n_tiles;
    static constexpr uint32_t n_block_tokens = n_block_warps / n_row_warps * n_octets * 8;
    static constexpr uint32_t n_weight_pieces = n_block_tiles * n_stage_groups * n_tile_pieces;   // of a stage
    static constexpr uint32_t n_input_pieces = n_block_tokens * n_stage_groups * n_token_pieces;  // of a stage
    static constexpr uint32_t n_slot_pieces = n_weight_pieces + n_input_pieces;
    static constexpr uint32_t n_slots = n_stages_pieces / n_slot_pieces;
    static constexpr uint32_t n_shared_bytes =
        (n_stages_pieces + (has_shared_totals ? n_tiles * n_octets * n_block_threads : 0)) * 16;

    // Pieces of 16 bytes that pass through shared memory for a group: written once, read by each warp that needs them.
    static constexpr uint32_t n_moved_pieces =
        n_slot_pieces / n_stage_groups + n_block_warps * (n_tiles * n_tile_pieces + n_octets * 8 * n_token_pieces);

    static __device__ uint32_t n_parts(uint32_t n_matrix_tiles, uint32_t n_tokens)
    {
        return ceil_div(n_matrix_tiles, n_block_tiles) * ceil_div(n_tokens, n_block_tokens);
    }

    // What the block with most to do moves for a group, times eight, if it has so much shared memory.
    static __device__ uint32_t cost(uint32_t n_matrix_tiles, uint32_t n_tokens)
    {
        uint32_t n_bytes;
        asm("mov.u32 %0, %%dynamic_smem_size;" : "=r"(n_bytes));
        if (n_bytes < n_shared_bytes) return ~0u;
        return ceil_div(n_parts(n_matrix_tiles, n_tokens), gridDim.x) * n_moved_pieces * 8;
    }

    // The most shares of each part with which each still has a block of its own.
    static __device__ uint32_t n_shares(uint32_t n_matrix_tiles, uint32_t n_tokens, Segments segments)
    {
        uint32_t n = 1;
        if (n_tokens > n_shared_part_tokens || segments.has_empty()) return n;
        while (n < segments.n && 2 * n * n_parts(n_matrix_tiles, n_tokens) <= gridDim.x) n *= 2;
        return n;
    }

    // The same as `cost` with so many shares: sums are stored and loaded through L2, which for a multiprocessor has about
    // a fifth of the bandwidth of its shared memory; and before that, the block waits for its stores and for the ticket,
    // some 1.5 us.
    static __device__ uint32_t cost_of_shares(uint32_t n_shares, Segments segments)
    {
        constexpr uint32_t n_part_pieces = n_block_tiles * tile_rows * n_block_tokens / 4, wait = 20'000;
        const uint32_t n_meeting = 5 * n_part_pieces * (segments.n / n_shares + segments.n) + wait;
        return n_moved_pieces * (8 / n_shares) + n_meeting * 8 / segments.n_groups;
    }
};

constexpr uint32_t n_shapes = 6;

// Calls `use` with one of them, by rows and tokens.
template <typename Use> __device__ void with_shape(uint32_t index, Use use)
{
    switch (index) {
    case 0: return use(Shape<4, 1, 1, 2>());  // 64 x 16
    case 1: return use(Shape<4, 1, 2, 2>());  // 64 x 32
    case 2: return use(Shape<2, 2, 2, 2>());  // 64 x 64
    case 3: return use(Shape<4, 2, 4, 2>());  // 128 x 64
    case 4: return use(Shape<2, 4, 4, 2>());  // 128 x 128
    case 5: return use(Shape<4, 4, 8, 1>());  // 256 x 128
    }
}
