// Attends from each token of a chunk to the keys in its window, at the speed of tensor cores.
//
//   q                 [n_tokens, n_heads, head_dim]              turned, not scaled; n_tokens <= n_slots
//   k_ring, v_ring    [n_layers, n_slots, n_kv_heads, head_dim]  positions before the chunk, p at slot p % n_slots
//   k_chunk, v_chunk  [n_tokens, n_kv_heads, head_dim]           the chunk's own, which are not in the ring yet
//   position          [1]                                        of token 0
//   out               [n_tokens, n_heads, head_dim]              in the weights' type: it feeds the O projection
//   states            [n_tiles, n_kv_heads, 18, head_dim/8 + 1, 256, 4]  of shares; for up to four tiles of rows
//   tickets           [n_tiles, n_kv_heads]                      zeros, before and after; for up to four tiles
//
// The token at position i sees the keys j with i - window < j <= i; a window of 2^32 - 1 is none. Query head h reads
// kv head h / (n_heads / n_kv_heads) (GQA, arXiv 2305.13245).
//
// This is FlashAttention-2 (arXiv 2307.08691): a block keeps its queries, and takes keys and values tile by tile through
// shared memory, with the maximum, the sum and the weighted values of each row in registers (online softmax, arXiv
// 1805.02867). A row is one query head of one token, and a block's rows are of one kv head: all heads of a token that
// share it, then the next token's, so that a tile is loaded once for all of them.
//
//   tiles    | 0 ..  | 64 ..  | 128 .. | 192 .. |     Tiles are aligned in absolute positions, and each of their rows
//   keys         ring .. ring |chunk  ..        |     comes from ring or chunk. Tiles that no row of the block sees are
//   row 0      x x x x x x x x x                      not loaded; those that all rows of a warp see whole need no mask,
//   row 1        x x x x x x x x x                    and those of which they see nothing are passed over.
//
// Tiles arrive in two or four buffers by cp.async, keys and then values: while the warps work on one, the next are on
// their way. One barrier says both that all threads' copies are there and that nobody reads the part before, whose buffer
// is filled next.
//
// A key outside the window weighs exactly 0, and a tile of such keys leaves maximum, sum and values as they are, so a
// row's bits depend on its position, its window and the keys in it: not on the chunk it came in, the other rows, the
// grid or where keys lie. (0 times infinity is NaN: keys and values that some row sees must be finite.)
//
// A weight meets the values as the sum of two bf16: docs/tuning.md says what that costs and brings.
//
// The order in which a row adds is decode_attention's, and so are its bits (softmax.cuh): a tile is added from zero, then
// to the range that is being added up in registers, and that, when it ends, to the ranges before it, also in registers.
// Rows of a tile may have ranges of different sizes. So a warp has 16 rows, and heads wider than 128 take two passes over
// the keys, each for half of the values.
//
// Few rows that see many keys would keep few multiprocessors busy. So blocks share a tile of rows, if there are up to
// four a kv head, and all its rows have ranges of one size, of several key tiles: each takes a range of the keys and
// stores what the rows make of it, and the last to come adds these in their order.
//
// Right for every grid; a block for each 128 rows of a kv head is fastest, and for each of its shares.
#include "flash.cuh"
#include "ticket.cuh"

constexpr uint32_t n_warps = 8, n_threads = 32 * n_warps;
constexpr uint32_t n_warp_rows = 16, n_block_rows = n_warps * n_warp_rows;

template <typename W> struct Chunk {
    const bf16 *q, *k_ring, *v_ring, *k, *v;
    const uint64_t* position;
    W* out;
    float4* states;
    uint32_t *tickets, n_tokens, n_heads, n_kv_heads, head_dim, n_slots, window, layer;

    __device__ uint32_t n_shared_heads() const { return here(n_heads) / here(n_kv_heads); }
    __device__ uint32_t n_rows() const { return n_tokens * n_shared_heads(); }  // of a kv head
    __device__ uint32_t n_tiles() const { return ceil_div(n_rows(), n_block_rows); }
};

constexpr uint32_t no_row = ~0u;
constexpr uint32_t n_shared_tiles = 4;  // of rows of a kv head, the most whose keys blocks share
constexpr uint32_t max_shares = n_ranges + 1;  // of a tile: its last row is up to 127 tokens, a range, behind the first
constexpr uint32_t period = 1 << 26;  // a multiple of every range: rows see less than 2^30 keys, in 16 ranges

// What a block is at. It is in shared memory, since all registers have other work. Positions are counted from a multiple
// of `period` that is not past any key seen, so that 32 bits hold them.
struct Work {
    uint32_t chunk;  // the position of token 0
    uint32_t slot_of_zero;  // that position 0 has: if below 0, so huge, n_slots too few
    uint32_t kv_head;
    uint32_t first_dim;  // of the values that are added in this pass
    Span seen;  // by some row, of the block's share
    uint32_t part, share, n_shares;  // which rows of which kv head; which range of theirs, if there are several shares
    float scale;  // of scores
    uint32_t own[n_block_rows];  // the positions of the rows' tokens; past the end that of the last token
    uint8_t range_log2[n_block_rows];  // of the sizes of the rows' ranges
    uint32_t index[n_block_rows];  // of the rows in q and out, or no_row
};

// Sizes of a block, for heads of up to n_dims. What shared memory has of a tile at a time
// is a part: all its keys, or half of them in wide heads, or its values at up to 128 dims. With the queries, the buffers
// take 96 KiB at the most, which some cards just have.
template <uint32_t n_dims_> struct Shape {
    static constexpr uint32_t n_dims = n_dims_;
    static constexpr uint32_t n_value_dims = n_dims > 128 ? 128 : n_dims;
    static constexpr uint32_t n_key_parts = n_dims / n_value_dims, n_part_keys = n_tile_keys / n_key_parts;
    static constexpr uint32_t n_parts = n_key_parts + 1;
    static constexpr uint32_t q_bytes = n_block_rows * 2 * n_dims, part_bytes = n_tile_keys * 2 * n_value_dims;
    static constexpr uint32_t n_buffers = n_dims > 128 ? 2 : 4;
    static constexpr uint32_t n_bytes = q_bytes + n_buffers * part_bytes;
};

// A block's work on some rows of a kv head. `shared` is the address of the queries, behind which the buffers are.
template <typename Shape, typename W> struct Block {
    const Chunk<W>& chunk;
    Work& work;
    uint32_t shared;

    static constexpr uint32_t n_dims = Shape::n_dims, n_value_dims = Shape::n_value_dims;
    static constexpr uint32_t n_key_parts = Shape::n_key_parts, n_parts = Shape::n_parts;
    static constexpr bool may_share = n_value_dims == n_dims;
    using Rows = FlashRows<n_value_dims>;

    // Keys that a token sees before its own, at the most.
    __device__ uint32_t n_before() const { return chunk.window - 1; }

    __device__ uint32_t first_tile() const { return work.seen.first / n_tile_keys; }
    __device__ uint32_t n_tiles() const { return work.seen.last / n_tile_keys - first_tile() + 1; }

    __device__ SharedTile<n_dims> queries() const { return {shared}; }

    // Where part i is: tiles have n_parts.
    __device__ uint32_t part(uint32_t i) const
    {
        return shared + Shape::q_bytes + i % Shape::n_buffers * Shape::part_bytes;
    }

    // Writes down the rows of a tile, a thread each, and the block's share of their keys.
    __device__ void begin(uint32_t kv_head, uint32_t tile, uint32_t share) const
    {
        const uint32_t first_row = tile * n_block_rows;
        const uint64_t position = chunk.position[here(0)], oldest = position - min(position, uint64_t(n_before()));
        const uint32_t chunk_position = uint32_t(position - oldest / period * period), n_shared = chunk.n_shared_heads();
        const uint32_t last_row = chunk.n_rows() - 1;
        const uint32_t thread = here(threadIdx.x);
        if (thread < n_block_rows) {
            const uint32_t row = first_row + thread, token = min(row, last_row) / n_shared;
            work.own[thread] = chunk_position + token;
            work.range_log2[thread] = range_log2(uint32_t(min(position + token, uint64_t(n_before()))));
            const uint32_t head = kv_head * n_shared + row % n_shared;
            work.index[thread] = row <= last_row ? token * chunk.n_heads + head : no_row;
        }
        if (thread == 0) {
            work.scale = score_scale(chunk.head_dim);
            work.chunk = chunk_position;
            work.slot_of_zero = uint32_t(position % chunk.n_slots) - chunk_position;
            work.kv_head = kv_head;
            work.first_dim = 0;
            const uint32_t last_token = min(first_row + n_block_rows - 1, last_row) / n_shared;
            const uint32_t first_token = first_row / n_shared;
            work.seen = seen_from(chunk_position + first_token, chunk_position + last_token, n_before());
            const uint32_t log2 = range_log2(uint32_t(min(position + first_token, uint64_t(n_before()))));
            const bool is_even = log2 == range_log2(uint32_t(min(position + last_token, uint64_t(n_before()))));
            work.part = tile * chunk.n_kv_heads + kv_head;
            work.share = share;
            work.n_shares = 1;
            if (are_shared() && is_even && log2 > min_range_log2) take_share(log2);
        }
        __syncthreads();  // who reads this did not write it
    }

    __device__ bool are_shared() const { return may_share && chunk.n_tiles() <= n_shared_tiles; }

    // Of a tile of rows and kv head, shares or not.
    __device__ uint32_t n_turns() const { return are_shared() ? max_shares : 1; }

    // The share is a range. There may be fewer than shares.
    __device__ void take_share(uint32_t log2) const
    {
        const uint32_t first_range = work.seen.first >> log2, first = first_range + work.share << log2;
        work.n_shares = (work.seen.last >> log2) - first_range + 1;
        work.seen = {max(work.seen.first, first), min(work.seen.last, first + (1u << log2) - 1)};
    }

    // Copies rows of n_row_dims dims, each thread its piece of some of them: row_at(row) is where one is, or null.
    template <uint32_t n_row_dims, uint32_t n, typename At>
    __device__ void copy_rows(SharedTile<n_row_dims> to, const bf16* valid, uint32_t n_dims_there, At row_at) const
    {
        constexpr uint32_t n_row_pieces = n_row_dims / 8, n_pass_rows = n_threads / n_row_pieces;
        const uint32_t piece = here(threadIdx.x) % n_row_pieces;
#pragma unroll 4
        for (uint32_t row = here(threadIdx.x) / n_row_pieces; row < n; row += n_pass_rows) {
            const bf16* from = 8 * piece < n_dims_there ? row_at(row) : nullptr;
            copy_async(to.at(row, piece), from != nullptr ? from + 8 * piece : valid, from != nullptr);
        }
    }

    __device__ void load_queries() const
    {
        copy_rows<n_dims, n_block_rows>(queries(), chunk.q, chunk.head_dim, [&](uint32_t row) {
            const uint32_t index = work.index[row];
            return index != no_row ? chunk.q + size_t(index) * chunk.head_dim : nullptr;
        });
    }

    // Some keys of the chunk's kv head, or values, at dims from `first_dim` on. Those that no row sees become zeros,
    // whatever lies there.
    template <uint32_t n_row_dims, uint32_t n>
    __device__ void load_rows(
        uint32_t to, const bf16* ring, const bf16* of_chunk, uint32_t first_key, uint32_t first_dim) const
    {
        const uint32_t row_dim = chunk.n_kv_heads * chunk.head_dim, dim = work.kv_head * chunk.head_dim + first_dim;
        const uint32_t n_dims_there = max(chunk.head_dim, first_dim) - first_dim;
        copy_rows<n_row_dims, n>({to}, of_chunk, n_dims_there, [&](uint32_t row) -> const bf16* {
            const uint32_t key = first_key + row, slot = work.slot_of_zero + key;
            if (!work.seen.has(key)) return nullptr;
            if (key >= work.chunk) return of_chunk + size_t(key - work.chunk) * row_dim + dim;
            return ring + (size_t(chunk.layer) * chunk.n_slots + min(slot, slot + chunk.n_slots)) * row_dim + dim;
        });
    }

    __device__ void load_part(uint32_t i) const
    {
        if (i < n_tiles() * n_parts) {
            const uint32_t key = (first_tile() + i / n_parts) * n_tile_keys, which = i % n_parts;
            if (which < n_key_parts)
                load_rows<n_dims, Shape::n_part_keys>(
                    part(i), chunk.k_ring, chunk.k, key + which * Shape::n_part_keys, 0);
            else load_rows<n_value_dims, n_tile_keys>(part(i), chunk.v_ring, chunk.v, key, work.first_dim);
        }
        end_group();
    }

    // Waits for part i, and starts to load into the buffer of the part before it.
    __device__ void next(uint32_t i) const
    {
        wait_for_groups<Shape::n_buffers - 2>();
        __syncthreads();  // every thread's copies are there, and every warp is done with the part before
        load_part(i + Shape::n_buffers - 1);
    }

    __device__ void run() const
    {
        if (may_share && work.share >= work.n_shares) return __syncthreads();  // all have read that
        load_queries();
        for (;;) {
            pass();
            const bool is_last = work.first_dim + n_value_dims >= n_dims;
            __syncthreads();  // all have read that, and shared memory is free
            if (is_last) return;
            if (threadIdx.x == 0) work.first_dim += n_value_dims;
            __syncthreads();  // who reads this did not write it
        }
    }

    // One pass over the keys, for values at the dims from `first_dim` on.
    __device__ void pass() const
    {
#pragma unroll 1
        for (uint32_t i = 0; i < Shape::n_buffers - 1; i++) load_part(i);
        Rows rows;
#pragma unroll 1
        for (uint32_t i = 0; i < n_tiles(); i++) attend(rows, i);
        wait_for_groups<0>();
        __syncthreads();  // every warp is done with the last part, and all buffers are free for results
        if constexpr (may_share)
            if (work.n_shares > 1 && !meet(rows)) return;
        const SharedTile<n_value_dims> results = {part(0)};
        if (work.index[warp_row()] != no_row) {
            rows.template finish<W>(results, warp_row());
            __syncwarp();  // the lanes have written what others store
            store(results);
        }
    }

    // Where this thread's state of a share is, one float4 every n_threads.
    __device__ float4* state_of(uint32_t share) const
    {
        constexpr uint32_t n_state = n_value_dims / 8 + 1;
        return chunk.states + size_t(work.part * max_shares + share) * n_state * n_threads + here(threadIdx.x);
    }

    // Whether this block is the last with a share of its rows. Then they have what all shares have.
    __device__ bool meet(Rows& rows) const
    {
        const bool is_row = work.index[warp_row()] != no_row;
        rows.end_range(0);
        rows.end_range(1);
        if (is_row) rows.template store<n_threads>(state_of(work.share));
        if (!is_last_block(chunk.tickets + work.part, work.n_shares - 1)) return false;
        rows = Rows();
#pragma unroll 1
        for (uint32_t share = 0; is_row && share < work.n_shares; share++)
            rows.template add_stored<n_threads>(state_of(share));
        return true;
    }

    // Whether a row of the warp sees a key of tile i. Nobody's rows see none.
    __device__ bool has_seen_keys(uint32_t i) const
    {
        const uint32_t first = warp_row(), key = (first_tile() + i) * n_tile_keys;
        const Span seen = seen_from(work.own[first], work.own[first + n_warp_rows - 1], n_before());
        return work.index[first] != no_row && key <= seen.last && key + n_tile_keys > seen.first;
    }

    // Adds tile i.
    __device__ void attend(Rows& rows, uint32_t i) const
    {
        const bool is_seen = __any_sync(~0u, has_seen_keys(i));  // all lanes agree, which the compiler does not know
        const uint32_t key = (first_tile() + i) * n_tile_keys;
        typename Rows::Scores scores = {};  // seen or not, so that their registers are free for others elsewhere
        score<0>(scores, i, is_seen);
        if constexpr (n_key_parts > 1) score<1>(scores, i, is_seen);
        const uint32_t values = i * n_parts + n_key_parts;
        next(values);
        if (!is_seen) return;
        Rows::scale(scores, work.scale);
        const uint32_t* own = work.own + warp_row();
        const uint32_t first_own = own[0], last_own = own[n_warp_rows - 1];
        const bool is_whole =
            key + n_tile_keys - 1 <= first_own && key >= seen_from(last_own, last_own, n_before()).first;
        if (!is_whole) Rows::mask(scores, own, n_before(), key);
        rows.add(scores, SharedTile<n_value_dims>{part(values)}.at(lane() % 16, lane() / 16));
        end_ranges(rows, key + n_tile_keys);
    }

    // Scores a part of the keys.
    template <uint32_t which>
    __device__ void score(typename Rows::Scores& scores, uint32_t i, bool is_seen) const
    {
        const uint32_t keys = i * n_parts + which;
        next(keys);
        if (is_seen)
            Rows::template score<n_dims, which * Shape::n_part_keys, Shape::n_part_keys>(
                scores, queries().at(warp_row() + lane() / 4, lane() % 4),
                SharedTile<n_dims>{part(keys)}.at(lane() / 4, lane() % 4));
    }

    // Ranges of rows that end before a key, which tiles begin with.
    __device__ void end_ranges(Rows& rows, uint32_t key) const
    {
#pragma unroll
        for (uint32_t h = 0; h < 2; h++) {
            const uint32_t log2 = work.range_log2[warp_row() + 8 * h + lane() / 4];
            if ((key & ((1u << log2) - 1)) == 0) rows.end_range(h);
        }
    }

    static __device__ uint32_t lane() { return here(threadIdx.x) % 32; }
    static __device__ uint32_t warp_row() { return here(threadIdx.x) / 32 * n_warp_rows; }

    // Stores a warp's rows, 16 bytes a lane.
    __device__ void store(const SharedTile<n_value_dims>& results) const
    {
        constexpr uint32_t n_row_pieces = n_value_dims / 8;
#pragma unroll 4
        for (uint32_t i = lane(); i < n_warp_rows * n_row_pieces; i += 32) {
            const uint32_t row = warp_row() + i / n_row_pieces, piece = i % n_row_pieces, index = work.index[row];
            const uint32_t dim = work.first_dim + 8 * piece;
            if (index == no_row || dim >= chunk.head_dim) continue;
            W* to = chunk.out + size_t(index) * chunk.head_dim + dim;
            *reinterpret_cast<uint4*>(to) = load_shared(results.at(row, piece));
        }
    }
};

template <typename Shape, typename W> __device__ void attend_rows(const Chunk<W>& chunk, Work& work, uint32_t shared)
{
    const Block<Shape, W> block = {chunk, work, shared};
    for (uint32_t i = blockIdx.x;; i += gridDim.x) {
        const uint32_t n_tiles = chunk.n_tiles(), n_kv_heads = here(chunk.n_kv_heads), n_shares = block.n_turns();
        if (i >= n_tiles * n_kv_heads * n_shares) return;
        const uint32_t tile = n_tiles - 1 - i / n_kv_heads / n_shares;  // the last see the most keys, and come first
        block.begin(i % n_kv_heads, tile, i / n_kv_heads % n_shares);
        block.run();
    }
}

template <typename W>
__device__ void prefill_attention(
    const bf16* q, const bf16* k_ring, const bf16* v_ring, const bf16* k_chunk, const bf16* v_chunk,
    const uint64_t* position, W* out, float* states, uint32_t* tickets, uint32_t n_tokens, uint32_t n_heads,
    uint32_t n_kv_heads, uint32_t head_dim, uint32_t n_slots, uint32_t window, uint32_t layer)
{
    __shared__ Work work;
    extern __shared__ __align__(512) uint4 memory[];
    const uint32_t shared = uint32_t(__cvta_generic_to_shared(memory));
    const Chunk<W> chunk = {q, k_ring, v_ring, k_chunk, v_chunk, position, out, reinterpret_cast<float4*>(states),
                            tickets, n_tokens, n_heads, n_kv_heads, head_dim, n_slots, window, layer};
    if (head_dim > 128) attend_rows<Shape<256>>(chunk, work, shared);
    else if (head_dim > 64) attend_rows<Shape<128>>(chunk, work, shared);
    else attend_rows<Shape<64>>(chunk, work, shared);
}

extern "C" __global__ __launch_bounds__(256, 1) void prefill_attention_bf16(
    const bf16* __restrict__ q, const bf16* __restrict__ k_ring, const bf16* __restrict__ v_ring,
    const bf16* __restrict__ k_chunk, const bf16* __restrict__ v_chunk, const uint64_t* __restrict__ position,
    bf16* __restrict__ out, float* __restrict__ states, uint32_t* __restrict__ tickets, uint32_t n_tokens,
    uint32_t n_heads, uint32_t n_kv_heads, uint32_t head_dim, uint32_t n_slots, uint32_t window, uint32_t layer)
{
    prefill_attention(
        q, k_ring, v_ring, k_chunk, v_chunk, position, out, states, tickets, n_tokens, n_heads, n_kv_heads, head_dim,
        n_slots, window, layer);
}

extern "C" __global__ __launch_bounds__(256, 1) void prefill_attention_f16(
    const bf16* __restrict__ q, const bf16* __restrict__ k_ring, const bf16* __restrict__ v_ring,
    const bf16* __restrict__ k_chunk, const bf16* __restrict__ v_chunk, const uint64_t* __restrict__ position,
    f16* __restrict__ out, float* __restrict__ states, uint32_t* __restrict__ tickets, uint32_t n_tokens,
    uint32_t n_heads, uint32_t n_kv_heads, uint32_t head_dim, uint32_t n_slots, uint32_t window, uint32_t layer)
{
    prefill_attention(
        q, k_ring, v_ring, k_chunk, v_chunk, position, out, states, tickets, n_tokens, n_heads, n_kv_heads, head_dim,
        n_slots, window, layer);
}
