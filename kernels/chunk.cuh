// A weight matrix times the tokens of a chunk, on tensor cores: what prefill_qkv, prefill_residual and prefill_gate_up
// share.
//
// A block makes a part of the result, rows by tokens, and its eight warps share it. Weights (tiles.cuh) and tokens come
// by stages of one or two column groups through shared memory, where several are on their way while one is multiplied:
//
//   weights  [n_block_tiles, n_stage_groups, 2, 32, 8]  as in memory: operand A
//   tokens   [n_stage_groups, n_block_tokens, 32]       64 bytes of each: operand B
//
// Lane 4 g + c takes its part of a tile with two loads of 16 bytes, and of eight tokens with one: columns 8c .. 8c+7 of
// token g. Both are 512 contiguous bytes for a warp, so no two lanes meet in a bank.
//
// The bits are those of product.cuh, with any shape, grid and number of tokens: the same mma of the same columns in the
// same order, from zero for each segment of a row, and the segments' sums added in order. There a warp has a segment
// and no more; here a warp has all of them in turn, and keeps a second set of sums, `totals`.
//
// A few tokens make fewer large parts than there are multiprocessors. Then several blocks share the columns of a part,
// each has a share of them, whole segments, and the last to come adds up what all have stored (parts.cuh).
#pragma once
#include "async_copy.cuh"
#include "parts.cuh"
#include "ticket.cuh"

// A thread's sums over the segments so far.
template <typename S> class Totals {
    float4 own[S::has_shared_totals ? 1 : S::n_tiles * S::n_octets];
    float4* shared;  // [n_tiles * n_octets, n_block_threads]

public:
    __device__ Totals(uint4* slots) : shared(reinterpret_cast<float4*>(slots + n_stages_pieces) + threadIdx.x) {}

    __device__ float4& of(uint32_t tile, uint32_t octet)
    {
        const uint32_t i = tile * S::n_octets + octet;
        if constexpr (S::has_shared_totals) return shared[i * n_block_threads];
        else return own[i];
    }
};

// The product, as far as this block makes it. A turn of a block is a share of a part of the result.
template <typename W, typename S, typename P> class ChunkProduct {
    const W *weight, *h;
    uint32_t n_tokens, n_in, n_tiles, n_groups, n_shares, n_share_groups, n_turns;
    uint4* slots;  // [n_slots, n_slot_pieces] in shared memory
    uint64_t policy = evicted_first();  // of weights: what tokens become stays in L2 for the next kernel

    struct Place {
        uint32_t first_tile, first_token, first_group, end_group;
    };

    // The stage that is fetched next.
    uint32_t next_turn, next_group, next_slot = 0;
    Place next;

    // Blocks that run at the same time should share rows and tokens, so that L2 has them: all rows with up to
    // n_panel_blocks blocks of tokens, then all rows with the next.
    __device__ Place place(uint32_t turn) const
    {
        const uint32_t part = turn / n_shares, first_group = turn % n_shares * n_share_groups;
        const uint32_t n_row_blocks = ceil_div(n_tiles, S::n_block_tiles);
        const uint32_t first = part / (n_row_blocks * n_panel_blocks) * n_panel_blocks;
        const uint32_t width = min(n_panel_blocks, ceil_div(n_tokens, S::n_block_tokens) - first);
        const uint32_t in_panel = part - first * n_row_blocks;
        return {in_panel / width * S::n_block_tiles, (first + in_panel % width) * S::n_block_tokens, first_group,
                min(first_group + n_share_groups, n_groups)};
    }

    __device__ void fetch_from(uint32_t turn)
    {
        next_turn = turn;
        if (turn >= n_turns) return;
        next = place(turn);
        next_group = next.first_group;
    }

    // Starts to copy the next stage of this block's parts of the result. What lies outside the matrices is zero.
    __device__ void fetch()
    {
        if (next_turn < n_turns) {
            const Place at = next;
            uint4* to = slots + next_slot * S::n_slot_pieces;
            const W* tiles = weight + (size_t(at.first_tile) * n_groups + next_group) * n_tile_elements;
#pragma unroll
            for (uint32_t first = 0; first < S::n_weight_pieces; first += n_block_threads) {
                const uint32_t piece = first + threadIdx.x;
                const uint32_t tile = piece / (S::n_stage_groups * n_tile_pieces);
                const uint32_t in_tile = piece % (S::n_stage_groups * n_tile_pieces);  // and in the one behind it
                const bool is_there = at.first_tile + tile < n_tiles && next_group + in_tile / n_tile_pieces < n_groups;
                const W* from = tiles + size_t(tile) * n_groups * n_tile_elements + in_tile * piece_columns;
                copy_async(to + piece, from, is_there, policy);
            }
#pragma unroll
            for (uint32_t first = 0; first < S::n_input_pieces; first += n_block_threads) {
                const uint32_t piece = first + threadIdx.x, group = piece / (S::n_block_tokens * n_token_pieces);
                const uint32_t token = at.first_token + piece / n_token_pieces % S::n_block_tokens;
                const uint32_t column = (next_group + group) * n_group_columns + piece % n_token_pieces * piece_columns;
                if (S::n_input_pieces - first < n_block_threads && piece >= S::n_input_pieces) break;
                const bool is_there = token < n_tokens && column < n_in;
                copy_async(to + S::n_weight_pieces + piece, h + size_t(token) * n_in + column, is_there);
            }
            next_slot = next_slot + 1 < S::n_slots ? next_slot + 1 : 0;
            next_group += S::n_stage_groups;
            if (next_group >= at.end_group) fetch_from(next_turn + gridDim.x);
        }
        end_group();
    }

    // sums += a group's columns of this warp's rows and tokens. Pointers are this lane's.
    __device__ void multiply(float (&sums)[S::n_tiles][S::n_octets][4], const uint4* tiles, const uint4* tokens) const
    {
        uint4 b[S::n_octets];
#pragma unroll
        for (uint32_t j = 0; j < S::n_octets; j++) b[j] = tokens[j * 8 * n_token_pieces];
#pragma unroll
        for (uint32_t i = 0; i < S::n_tiles; i++) {
            const uint4 low = tiles[i * S::n_stage_groups * n_tile_pieces];
            const uint4 high = tiles[i * S::n_stage_groups * n_tile_pieces + 32];
#pragma unroll
            for (uint32_t j = 0; j < S::n_octets; j++)
                mma(sums[i][j], {low.x, high.x, low.y, high.y}, b[j].x, b[j].y, W());
#pragma unroll
            for (uint32_t j = 0; j < S::n_octets; j++)
                mma(sums[i][j], {low.z, high.z, low.w, high.w}, b[j].z, b[j].w, W());
        }
    }

    static __device__ void add(float4& total, float4 sum)
    {
        total = make_float4(total.x + sum.x, total.y + sum.y, total.z + sum.z, total.w + sum.w);
    }

    // A segment's sums, which are zero then.
    static __device__ float4 take(float (&sum)[4])
    {
        const float4 it = make_float4(sum[0], sum[1], sum[2], sum[3]);
        sum[0] = sum[1] = sum[2] = sum[3] = 0;
        return it;
    }

    // Where this thread's sums of a segment of a part are stored, one float4 every n_block_threads.
    __device__ float4* sums_of(const P& shares, uint32_t part, uint32_t segment) const
    {
        const size_t row = size_t(part) * segments_of(n_in) + segment;
        return shares.sums + row * (S::n_tiles * S::n_octets * n_block_threads) + threadIdx.x;
    }

    // Whether this block is the last with a share of its part. Then it has the totals of all of them.
    template <typename Each> __device__ bool meet(const P& shares, uint32_t turn, bool is_used, Each each) const
    {
        const uint32_t part = turn / n_shares, n_segments = segments_of(n_in);
        float4* first = sums_of(shares, part, 0);
        if (is_used && turn % n_shares == 0)
            each([&](auto&, float4& total, uint32_t place) { first[place] = total; });
        if (!is_last_block(shares.tickets + part, n_shares - 1)) return false;
        if (is_used) each([&](auto&, float4& total, uint32_t place) { total = __ldcg(first + place); });
#pragma unroll 1
        for (uint32_t segment = n_segments / n_shares; is_used && segment < n_segments; segment++) {
            const float4* from = sums_of(shares, part, segment);
            each([&](auto&, float4& total, uint32_t place) { add(total, __ldcg(from + place)); });
        }
        return true;
    }

public:
    __device__ ChunkProduct(
        const W* weight, const W* h, uint32_t n_tokens, uint32_t n_in, uint32_t n_tiles, uint32_t n_shares,
        uint4* shared)
        : weight(weight), h(h), n_tokens(n_tokens), n_in(n_in), n_tiles(n_tiles), n_groups(n_column_groups(n_in)),
          n_shares(n_shares), n_share_groups(Segments(n_in).n / n_shares * Segments(n_in).n_groups_each),
          n_turns(S::n_parts(n_tiles, n_tokens) * n_shares), slots(shared)
    {
        fetch_from(blockIdx.x);
    }

    // `finish(tile, g, token, low, high)` gets the sums as in Product::run; tile and token may be past the last.
    template <typename Finish> __device__ void run(P shares, Finish finish)
    {
        const uint32_t warp = threadIdx.x / 32, lane = threadIdx.x % 32;
        const uint32_t own_tile = warp % S::n_row_warps * S::n_tiles;
        const uint32_t own_token = warp / S::n_row_warps * S::n_octets * 8;
        const uint4* own_tiles = slots + own_tile * S::n_stage_groups * n_tile_pieces + lane;
        const uint4* own_tokens = slots + S::n_weight_pieces + own_token * n_token_pieces + lane;
        const Segments segments(n_in);
        const float empty = segments.has_empty() ? 0.f : -0.f;  // their sums, which make +0 of a -0

#pragma unroll 1
        for (uint32_t i = 0; i + 1 < S::n_slots; i++) fetch();
        uint32_t slot = 0;
        for (uint32_t turn = blockIdx.x; turn < n_turns; turn += gridDim.x) {
            const Place at = place(turn);
            const bool is_used = at.first_tile + own_tile < n_tiles && at.first_token + own_token < n_tokens;
            float sums[S::n_tiles][S::n_octets][4] = {};
            Totals<S> totals(slots);
            const auto each = [&](auto change) {
#pragma unroll
                for (uint32_t i = 0; i < S::n_tiles; i++)
#pragma unroll
                    for (uint32_t j = 0; j < S::n_octets; j++)
                        change(sums[i][j], totals.of(i, j), (i * S::n_octets + j) * n_block_threads);
            };
            each([](auto&, float4& total, uint32_t) { total = make_float4(-0.f, -0.f, -0.f, -0.f); });  // -0 + x is x
            uint32_t n_left = segments.n_groups_each;
#pragma unroll 1
            for (uint32_t group = at.first_group; group < at.end_group; group += S::n_stage_groups) {
                wait_for_groups<S::n_slots - 2>();
                __syncthreads();  // every thread's copies of this stage are there; and the stage before was multiplied
                fetch();
                const uint32_t from = slot * S::n_slot_pieces;
                slot = slot + 1 < S::n_slots ? slot + 1 : 0;
#pragma unroll 1
                for (uint32_t i = 0; is_used && i < min(S::n_stage_groups, at.end_group - group); i++) {
                    multiply(sums, own_tiles + from + i * n_tile_pieces,
                             own_tokens + from + i * S::n_block_tokens * n_token_pieces);
                    if (--n_left > 0 && group + i + 1 < at.end_group) continue;
                    n_left = segments.n_groups_each;
                    if constexpr (P::are_allowed) {
                        if (at.first_group > 0) {
                            float4* to = sums_of(shares, turn / n_shares, (group + i) / segments.n_groups_each);
                            each([&](auto& sum, float4&, uint32_t place) { to[place] = take(sum); });
                            continue;
                        }
                    }
                    each([&](auto& sum, float4& total, uint32_t) { add(total, take(sum)); });
                }
            }
            if constexpr (P::are_allowed) {
                if (n_shares > 1 && !meet(shares, turn, is_used, each)) continue;
            }
            if (!is_used) continue;
            const auto finish_both = [&](uint32_t i, uint32_t j) {
                const uint32_t tile = at.first_tile + own_tile + i;
                const uint32_t token = at.first_token + own_token + j * 8 + lane % 4 * 2;
                const float4 total = totals.of(i, j);
                finish(tile, lane / 4, token, total.x + empty, total.z + empty);
                finish(tile, lane / 4, token + 1, total.y + empty, total.w + empty);
            };
            if constexpr (S::has_shared_totals) {
#pragma unroll 1
                for (uint32_t i = 0; i < S::n_tiles * S::n_octets; i++) finish_both(i / S::n_octets, i % S::n_octets);
            } else {
#pragma unroll
                for (uint32_t i = 0; i < S::n_tiles * S::n_octets; i++) finish_both(i / S::n_octets, i % S::n_octets);
            }
        }
    }
};

// The product, on the shape that suits the grid: large parts move less through shared memory, but blocks that run at
// once should all have work to the end.
template <typename W, typename P, typename Finish>
__device__ void multiply_chunk(
    const W* weight, const W* h, uint32_t n_tokens, uint32_t n_in, uint32_t n_tiles, P shares, Finish finish)
{
    extern __shared__ uint4 shared[];
    const Segments segments(n_in);
    uint32_t best = 0, n_shares = 1, least = ~0u;
#pragma unroll
    for (uint32_t index = 0; index < n_shapes; index++) with_shape(index, [&](auto shape) {
        const auto with = [&](uint32_t n, uint32_t cost) {
            if (cost >= least) return;
            best = index;
            n_shares = n;
            least = cost;
        };
        const uint32_t cost = shape.cost(n_tiles, n_tokens);
        with(1, cost);
        if constexpr (P::are_allowed) {
            const uint32_t n = shape.n_shares(n_tiles, n_tokens, segments);
            if (n > 1 && cost < ~0u) with(n, shape.cost_of_shares(n, segments));
        }
    });
    with_shape(best, [&](auto shape) {
        using Product = ChunkProduct<W, decltype(shape), P>;
        Product(weight, h, n_tokens, n_in, n_tiles, P::are_allowed ? n_shares : 1, shared).run(shares, finish);
    });
}
