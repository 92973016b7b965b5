// Attends from each token of a chunk to the keys in its window, at the speed of tensor cores.
//
//   q                 [n_tokens, n_heads, head_dim]              turned, not scaled; n_tokens <= n_slots
//   k_ring, v_ring    [n_layers, n_slots, n_kv_heads, head_dim]  positions before the chunk, p at slot p % n_slots
//   k_chunk, v_chunk  [n_tokens, n_kv_heads, head_dim]           the chunk's own, which are not in the ring yet
//   position          [1]                                        of token 0
//   out               [n_tokens, n_heads, head_dim]              in the weights' type: it feeds the O projection
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
// Tiles arrive in two or four buffers by cp.async: while the warps work on one, the next are on their way. One barrier a
// tile says both that all threads' copies are there and that nobody reads the tile before, whose buffer is filled next.
//
// A key outside the window weighs exactly 0, and a tile of such keys leaves maximum, sum and values as they are, so a
// row's bits depend on its position, its window and the keys in it: not on the chunk it came in, the other rows, the
// grid or where keys lie. (0 times infinity is NaN: keys and values that some row sees must be finite.)
//
// A weight meets the values as the sum of two bf16: docs/tuning.md says what that costs and brings.
//
// A block has as many rows as its dynamic shared memory holds: 256, or 128 where there are too few for all
// multiprocessors; heads wider than 128 have 128. Right for every grid; a block for each tile of rows is fastest.
#include "flash.cuh"

constexpr uint32_t n_warps = 8, n_threads = 32 * n_warps;

template <typename W> struct Chunk {
    const bf16 *q, *k_ring, *v_ring, *k, *v;
    const uint64_t* position;
    W* out;
    uint32_t n_tokens, n_heads, n_kv_heads, head_dim, n_slots, window, layer;

    __device__ uint32_t n_shared_heads() const { return here(n_heads) / n_kv_heads; }
    __device__ uint32_t n_rows() const { return n_tokens * n_shared_heads(); }  // of a kv head
};

constexpr uint32_t no_row = ~0u;

// What a block is at. It is in shared memory, since all registers have other work. Positions are counted from a multiple
// of 64 that is not past any key seen, so that 32 bits hold them.
struct Work {
    uint32_t chunk;  // the position of token 0
    uint32_t slot_of_zero;  // that position 0 has: if below 0, so huge, n_slots too few
    uint32_t kv_head;
    Span seen;  // by some row
    uint32_t own[256];  // the positions of the rows' tokens; past the end that of the last token
    uint32_t index[256];  // of the rows in q and out, or no_row
};

__device__ inline uint32_t n_bytes_of_dynamic_shared_memory()
{
    uint32_t n;
    asm("mov.u32 %0, %%dynamic_smem_size;" : "=r"(n));
    return n;
}

// Sizes of a block of 16 * n_sixteens rows a warp, for heads of up to n_dims. A tile's n_keys, which go into the bits,
// depend on n_dims alone; they are few enough for a warp's registers. Each buffer is for keys and values of a tile, and
// they take 80 KiB with low blocks, and 96 with high ones, which some cards just have.
template <uint32_t n_dims_, uint32_t n_sixteens_> struct Shape {
    static constexpr uint32_t n_dims = n_dims_, n_sixteens = n_sixteens_;
    static constexpr uint32_t n_warp_rows = 16 * n_sixteens, n_rows = n_warps * n_warp_rows;
    static constexpr uint32_t n_keys = n_dims > 128 ? 16 : n_dims > 64 ? 32 : 64;
    static constexpr uint32_t q_bytes = n_rows * 2 * n_dims, tile_bytes = n_keys * 2 * n_dims;
    static constexpr uint32_t n_buffers = n_dims * n_sixteens > 128 ? 2 : n_dims > 64 ? 3 : 4;
    static constexpr uint32_t n_bytes = q_bytes + n_buffers * 2 * tile_bytes;
};

// What some tokens see, whose first and last are at these positions.
__device__ inline Span seen_from(uint32_t first_own, uint32_t last_own, uint32_t n_before)
{
    return {first_own - min(first_own, n_before), last_own};
}

// A block's work on some rows of a kv head. `shared` is the address of the queries, behind which the buffers are.
template <typename Shape, typename W> struct Block {
    const Chunk<W>& chunk;
    Work& work;
    uint32_t shared;

    static constexpr uint32_t n_dims = Shape::n_dims, n_keys = Shape::n_keys;
    static constexpr uint32_t n_row_pieces = n_dims / 8;  // of 16 bytes
    static constexpr uint32_t n_pass_rows = n_threads / n_row_pieces;  // that all threads copy at once

    // Keys that a token sees before its own, at the most.
    __device__ uint32_t n_before() const { return chunk.window - 1; }

    __device__ uint32_t first_tile() const { return work.seen.first / n_keys; }
    __device__ uint32_t n_tiles() const { return work.seen.last / n_keys - first_tile() + 1; }

    __device__ SharedTile<n_dims> queries() const { return {shared}; }

    // Where the keys of tile i are, and its values.
    __device__ SharedTile<n_dims> keys(uint32_t i) const
    {
        return {shared + Shape::q_bytes + i % Shape::n_buffers * (2 * Shape::tile_bytes)};
    }

    __device__ SharedTile<n_dims> values(uint32_t i) const { return {keys(i).address + Shape::tile_bytes}; }

    // This thread's piece of each row that it copies, and the first of those rows.
    static __device__ uint32_t piece() { return here(threadIdx.x) % n_row_pieces; }
    static __device__ uint32_t pass_row() { return here(threadIdx.x) / n_row_pieces; }

    // Writes down the rows from `first_row` on, a thread each.
    __device__ void begin(uint32_t kv_head, uint32_t first_row) const
    {
        const uint64_t position = *chunk.position, oldest = position - min(position, uint64_t(n_before()));
        const uint32_t chunk_position = uint32_t(position - oldest / 64 * 64), n_shared = chunk.n_shared_heads();
        const uint32_t last_row = chunk.n_rows() - 1;
        if (threadIdx.x < Shape::n_rows) {
            const uint32_t row = first_row + threadIdx.x, token = min(row, last_row) / n_shared;
            work.own[threadIdx.x] = chunk_position + token;
            const uint32_t head = kv_head * n_shared + row % n_shared;
            work.index[threadIdx.x] = row <= last_row ? token * chunk.n_heads + head : no_row;
        }
        if (threadIdx.x == 0) {
            work.chunk = chunk_position;
            work.slot_of_zero = uint32_t(position % chunk.n_slots) - chunk_position;
            work.kv_head = kv_head;
            const uint32_t last_token = min(first_row + Shape::n_rows - 1, last_row) / n_shared;
            work.seen =
                seen_from(chunk_position + first_row / n_shared, chunk_position + last_token, n_before());
        }
        __syncthreads();  // who reads this did not write it
    }

    __device__ void load_queries() const
    {
        const bool is_dim = 8 * piece() < chunk.head_dim;
#pragma unroll 4
        for (uint32_t row = pass_row(); row < Shape::n_rows; row += n_pass_rows) {
            const uint32_t index = work.index[row];
            const bool is_there = is_dim && index != no_row;
            const size_t offset = is_there ? size_t(index) * chunk.head_dim + 8 * piece() : 0;
            copy_async(queries().at(row, piece()), chunk.q + offset, is_there);
        }
    }

    // Keys and values that no row sees become zeros, whatever lies there.
    __device__ void load_tile(uint32_t i) const
    {
        if (i < n_tiles()) {
            const bool is_dim = 8 * piece() < chunk.head_dim;
            const uint32_t row_dim = chunk.n_kv_heads * chunk.head_dim;
            const uint32_t dim = work.kv_head * chunk.head_dim + (is_dim ? 8 * piece() : 0);
#pragma unroll
            for (uint32_t j = 0; j < n_keys; j += n_pass_rows) {
                const uint32_t row = j + pass_row(), key = (first_tile() + i) * n_keys + row;
                const uint32_t near = max(work.seen.first, min(key, work.seen.last));
                const uint32_t slot = work.slot_of_zero + near;
                const bool is_in_ring = near < work.chunk, is_there = is_dim && key == near;
                const size_t from_row = is_in_ring ? size_t(chunk.layer) * chunk.n_slots + min(slot, slot + chunk.n_slots)
                                                   : near - work.chunk;
                const size_t from = from_row * row_dim + dim;
                copy_async(keys(i).at(row, piece()), (is_in_ring ? chunk.k_ring : chunk.k) + from, is_there);
                copy_async(values(i).at(row, piece()), (is_in_ring ? chunk.v_ring : chunk.v) + from, is_there);
            }
        }
        end_group();
    }

    // Waits for tile i, and starts to load into the buffer of the tile before it.
    __device__ void next(uint32_t i) const
    {
        wait_for_groups<Shape::n_buffers - 2>();
        __syncthreads();  // every thread's copies are there, and every warp is done with the tile before
        load_tile(i + Shape::n_buffers - 1);
    }

    __device__ void run() const
    {
        load_queries();
#pragma unroll
        for (uint32_t i = 0; i < Shape::n_buffers - 1; i++) load_tile(i);

        FlashRows<n_dims, Shape::n_sixteens, n_keys> rows;
        for (uint32_t i = 0; i < n_tiles(); i++) {
            next(i);
            if (has_seen_keys(i)) attend(rows, i);
        }
        if (work.index[warp_row()] != no_row) {
            __syncwarp();  // the lanes have read the queries, which the results replace
            rows.template finish<W>(queries(), warp_row());
            __syncwarp();  // the lanes have written what others store
            store();
        }
        __syncthreads();  // shared memory is free for other rows
    }

    // Whether a row of the warp sees a key of tile i. Nobody's rows see none.
    __device__ bool has_seen_keys(uint32_t i) const
    {
        const uint32_t first = warp_row(), key = (first_tile() + i) * n_keys;
        const Span seen = seen_from(work.own[first], work.own[first + Shape::n_warp_rows - 1], n_before());
        return work.index[first] != no_row && key <= seen.last && key + n_keys > seen.first;
    }

    // Adds tile i.
    template <typename Rows> __device__ void attend(Rows& rows, uint32_t i) const
    {
        typename Rows::Scores scores;
        const uint32_t q = queries().at(warp_row() + lane() % 16, lane() / 16);
        Rows::score(scores, q, keys(i).at(lane() / 16 * 8 + lane() % 8, lane() / 8 % 2));
        const uint32_t* own = work.own + warp_row();
        const uint32_t first_own = own[0], last_own = own[Shape::n_warp_rows - 1];
        const uint32_t key = (first_tile() + i) * n_keys;
        const bool is_whole = key + n_keys - 1 <= first_own && key >= seen_from(last_own, last_own, n_before()).first;
        if (!is_whole) Rows::mask(scores, own, n_before(), key);
        rows.weigh(scores, 1.44269504f / sqrtf(chunk.head_dim));  // log2(e), for the exponentials are powers of two
        rows.add(scores, values(i).at(lane() % 16, lane() / 16));
    }

    static __device__ uint32_t lane() { return here(threadIdx.x) % 32; }
    static __device__ uint32_t warp_row() { return here(threadIdx.x) / 32 * Shape::n_warp_rows; }

    // Stores a warp's rows, 16 bytes a lane.
    __device__ void store() const
    {
#pragma unroll 4
        for (uint32_t i = lane(); i < Shape::n_warp_rows * n_row_pieces; i += 32) {
            const uint32_t row = warp_row() + i / n_row_pieces, piece = i % n_row_pieces, index = work.index[row];
            if (index == no_row || 8 * piece >= chunk.head_dim) continue;
            W* to = chunk.out + size_t(index) * chunk.head_dim + 8 * piece;
            *reinterpret_cast<uint4*>(to) = load_shared(queries().at(row, piece));
        }
    }
};

template <typename Shape, typename W> __device__ void attend_rows(const Chunk<W>& chunk, Work& work, uint32_t shared)
{
    for (uint32_t i = blockIdx.x;; i += gridDim.x) {
        const uint32_t n_tiles = ceil_div(chunk.n_rows(), Shape::n_rows), n_kv_heads = here(chunk.n_kv_heads);
        if (i >= n_tiles * n_kv_heads) return;
        const uint32_t tile = n_tiles - 1 - i / n_kv_heads;  // the last rows see the most keys, and come first
        const Block<Shape, W> block = {chunk, work, shared};
        block.begin(i % n_kv_heads, tile * Shape::n_rows);
        block.run();
    }
}

template <uint32_t n_dims, typename W> __device__ void attend(const Chunk<W>& chunk, Work& work, uint32_t shared)
{
    using Low = Shape<n_dims, 1>;
    using High = Shape<n_dims, 2>;
    static_assert(Low::n_bytes < High::n_bytes);
    if (n_bytes_of_dynamic_shared_memory() >= High::n_bytes) attend_rows<High>(chunk, work, shared);
    else attend_rows<Low>(chunk, work, shared);
}

template <typename W>
__device__ void prefill_attention(
    const bf16* q, const bf16* k_ring, const bf16* v_ring, const bf16* k_chunk, const bf16* v_chunk,
    const uint64_t* position, W* out, uint32_t n_tokens, uint32_t n_heads, uint32_t n_kv_heads, uint32_t head_dim,
    uint32_t n_slots, uint32_t window, uint32_t layer)
{
    __shared__ Work work;
    extern __shared__ __align__(512) uint4 memory[];
    const uint32_t shared = uint32_t(__cvta_generic_to_shared(memory));
    const Chunk<W> chunk = {q, k_ring, v_ring, k_chunk, v_chunk, position, out,
                            n_tokens, n_heads, n_kv_heads, head_dim, n_slots, window, layer};
    if (head_dim > 128) attend_rows<Shape<256, 1>>(chunk, work, shared);
    else if (head_dim > 64) attend<128>(chunk, work, shared);
    else attend<64>(chunk, work, shared);
}

extern "C" __global__ __launch_bounds__(256, 1) void prefill_attention_bf16(
    const bf16* __restrict__ q, const bf16* __restrict__ k_ring, const bf16* __restrict__ v_ring,
    const bf16* __restrict__ k_chunk, const bf16* __restrict__ v_chunk, const uint64_t* __restrict__ position,
    bf16* __restrict__ out, uint32_t n_tokens, uint32_t n_heads, uint32_t n_kv_heads, uint32_t head_dim,
    uint32_t n_slots, uint32_t window, uint32_t layer)
{
    prefill_attention(
        q, k_ring, v_ring, k_chunk, v_chunk, position, out, n_tokens, n_heads, n_kv_heads, head_dim, n_slots, window,
        layer);
}

extern "C" __global__ __launch_bounds__(256, 1) void prefill_attention_f16(
    const bf16* __restrict__ q, const bf16* __restrict__ k_ring, const bf16* __restrict__ v_ring,
    const bf16* __restrict__ k_chunk, const bf16* __restrict__ v_chunk, const uint64_t* __restrict__ position,
    f16* __restrict__ out, uint32_t n_tokens, uint32_t n_heads, uint32_t n_kv_heads, uint32_t head_dim,
    uint32_t n_slots, uint32_t window, uint32_t layer)
{
    prefill_attention(
        q, k_ring, v_ring, k_chunk, v_chunk, position, out, n_tokens, n_heads, n_kv_heads, head_dim, n_slots, window,
        layer);
}
