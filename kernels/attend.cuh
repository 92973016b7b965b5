// What warps do with a tile of 64 keys: loading, scores, softmax and weighted values. decode_attention.cu says why.
//
// n_parts warps share a tile, 1, 2 or 4 for heads of up to 64, 128 or 256 dims. Each scores its part of the keys at all
// dims, and weighs the values of all keys at 64 of the dims, so that a lane has 64 registers of keys and 64 of values.
// Between the two the warps tell each other their greatest scores and then their weights, through shared memory.
//
// Lane 4*g + c of a warp is in row g and column c of mma's fragments (PTX ISA,
// #warp-level-matrix-fragment-mma-16816-float). Elements are dealt out to fragments so that what a lane needs is 16
// bytes of memory, eight elements ("dims") of one key:
//
//   scores  K (16 keys x 16 dims) Q^T (16 dims x 8 queries). A lane has dims 32*i + 8*c of the keys g and g + 8, and of
//           query g: its first four elements are those of one mma, the second four of the next. That permutes the dims
//           of a sum, the same for both factors.
//   values  V^T (16 dims x 16 keys) P^T (16 keys x 8 queries). A lane has dims 64*part + 8*g of the keys 2*c, 2*c + 1,
//           2*c + 8 and 2*c + 9, which is the layout that ldmatrix.trans would make of them. Four mma take two of the
//           eight dims each, as their rows g and g + 8.
#pragma once
#include "softmax.cuh"

constexpr uint32_t n_warps = 8, n_columns = 8, max_tokens = 8;
constexpr uint32_t no_key = 0xffff0000;  // past all that anybody sees, and so are the 63 after it. {no_key, 0} is no key

// Which thread of the block this is, `here`.
struct Thread {
    uint32_t index = here(threadIdx.x), warp, lane;
    uint32_t row, column;  // of the lane in mma's fragments

    __device__ Thread()
    {
        warp = index / 32, lane = index % 32;
        row = lane / 4, column = lane % 4;
    }
};

// The keys and values of one kv head and layer, in pieces of 16 bytes.
struct Cache {
    const bf16 *k_ring, *v_ring, *k_staged, *v_staged;  // the kernel's parameters: they take no registers
    uint32_t row_pieces;  // from one position to the next
    uint32_t first_piece;  // of the kv head
    uint32_t head_dim, n_slots, layer;
    uint32_t slot_of_zero, first_staged;

    template <typename Step, typename Tokens>
    __device__ Cache(const Step& step, const Tokens& tokens, uint32_t kv_head)
    {
        k_ring = step.k_ring, v_ring = step.v_ring, k_staged = step.k_staged, v_staged = step.v_staged;
        row_pieces = step.n_kv_heads * step.head_dim / 8, first_piece = kv_head * step.head_dim / 8;
        head_dim = step.head_dim, n_slots = step.n_slots, layer = step.layer;
        slot_of_zero = tokens.slot_of_zero;
        first_staged = step.n_staged == 0 ? no_key : tokens.position;
    }

    // Where a key, and its value, is in the rings, or in staging, then with the highest bit set.
    __device__ uint32_t piece(uint32_t key) const
    {
        const uint32_t slot = slot_of_zero + key;
        return key < first_staged ? (layer * n_slots + min(slot, slot + n_slots)) * row_pieces + first_piece
                                  : ((layer * 8 + key - first_staged) * row_pieces + first_piece) | is_staged;
    }

    __device__ const bf16* k(uint32_t piece) const { return at(piece & is_staged ? k_staged : k_ring, piece); }
    __device__ const bf16* v(uint32_t piece) const { return at(piece & is_staged ? v_staged : v_ring, piece); }
    static __device__ const bf16* at(const bf16* rows, uint32_t piece)
    {
        return rows + size_t(piece & ~is_staged) * 8;
    }

    // Some dims; where the head has no such dims, which then count for nothing, others.
    __device__ uint32_t there(uint32_t dim) const { return dim < head_dim ? dim : 0; }

    static constexpr uint32_t is_staged = 1u << 31;
};

// A lane's part of eight queries. It is loaded where it is used, from L1: registers are for keys and values.
struct Queries {
    const bf16* q;  // query g
    uint32_t head_dim;
    Span keys[2];  // that the queries 2*c and 2*c + 1 see

    // Dims 32*i + 8*c and on of query g, or zeros if there are none.
    __device__ uint4 load(uint32_t i, const Thread& thread) const
    {
        const uint32_t dim = 32 * i + 8 * thread.column;
        return dim < head_dim ? load_packed(q + dim) : uint4{};
    }
};

// What the warps of a tile tell each other.
template <uint32_t n_parts> struct Exchange {
    float (*maxima)[n_columns];  // [n_parts], of each warp's scores
    uint32_t (*weights)[n_columns];  // [n_tile_keys], bf16 pairs: the high part in the upper half

    // The weights of every eighth key, from one of the first eight on. A swap of neighbours in every other four keys
    // lets lanes read without conflicts.
    __device__ uint32_t* from(uint32_t key, uint32_t column) const { return &weights[key ^ (key / 4 % 2)][column]; }

    // What these warps wrote before, they may read now.
    __device__ void wait() const
    {
        if constexpr (n_parts == 1) __syncwarp();
        else
            asm volatile("bar.sync %0, %1;" ::"r"(1 + Thread().warp / n_parts), "n"(32 * n_parts) : "memory");
    }
};

// A softmax over a tile's keys: a lane's part of it.
struct TileSoftmax {
    float max[2];  // of the queries 2*c and 2*c + 1
    float sum;  // of the weights of query g, in the first of the tile's warps
    float values[4][4];  // dims 64*part + 8*g + 2*r + {0, 1} of the queries 2*c and 2*c + 1, in the order of mma

    // Dims 64*part + 8*g + 4*half .. + 4 of query 2*c + e.
    __device__ float4 values_of(uint32_t half, uint32_t e) const
    {
        const auto &a = values[2 * half], &b = values[2 * half + 1];
        return make_float4(a[e], a[e + 2], b[e], b[e + 2]);
    }
};

// A lane's part of the keys and values of a tile.
template <uint32_t n_parts> struct Tile {
    static constexpr uint32_t n_scored = n_tile_keys / 16 / n_parts;  // steps of 16 keys that a warp scores
    uint4 k[n_scored][2 * n_parts][2];  // dims 32*i + 8*c of the keys g and g + 8 of a step
    uint4 v[n_tile_keys / 16][4];  // dims 64*part + 8*g of the keys 2*c, 2*c + 1, 2*c + 8 and 2*c + 9 of a step

    // A lane knows where the keys `lane` and `lane` + 32 of the tile are. All are loaded: where nobody sees a key,
    // another one stands for it, for a weight of 0 times something finite.
    __device__ void load(const Cache& cache, const uint32_t (&pieces)[2])
    {
        const Thread thread;
        const uint32_t part = thread.warp % n_parts;
        const auto piece_of = [&](uint32_t step, uint32_t key) {
            return __shfl_sync(~0u, step < 2 ? pieces[0] : pieces[1], step % 2 * 16 + key);
        };
#pragma unroll
        for (uint32_t j = 0; j < n_scored; j++)
#pragma unroll
            for (uint32_t half = 0; half < 2; half++) {
                const bf16* from = cache.k(piece_of(part * n_scored + j, thread.row + 8 * half));
#pragma unroll
                for (uint32_t i = 0; i < 2 * n_parts; i++)
                    k[j][i][half] = load_packed_once(from + cache.there(32 * i + 8 * thread.column));
            }
        const uint32_t dim = cache.there(64 * part + 8 * thread.row);
#pragma unroll
        for (uint32_t step = 0; step < n_tile_keys / 16; step++)
#pragma unroll
            for (uint32_t i = 0; i < 4; i++)
                v[step][i] = load_packed_once(
                    cache.v(piece_of(step, 2 * thread.column + 8 * (i / 2) + i % 2) + dim / 8));
    }

    // Its softmax, with `first` the position of its first key.
    __device__ TileSoftmax attend(
        const Exchange<n_parts>& exchange, uint32_t first, const Queries& queries, float scale) const
    {
        TileSoftmax it = {{lowest, lowest}};
        float scores[n_scored][4];
        score(scores, first, queries, scale);
        find_maxima(it.max, exchange, scores);
        weigh(exchange, scores, it.max);
        exchange.wait();
        add_values(it, exchange);
        return it;
    }

private:
    // In the layout of mma's result: the keys g and g + 8 of a step, the queries 2*c and 2*c + 1. Those of keys that a
    // query does not see are -inf, for a weight of exactly 0.
    __device__ void score(float (&scores)[n_scored][4], uint32_t first, const Queries& queries, float scale) const
    {
        const Thread thread;
#pragma unroll
        for (uint32_t j = 0; j < n_scored; j++) {
            const uint32_t step = thread.warp % n_parts * n_scored + j;
            float it[4] = {};
#pragma unroll
            for (uint32_t i = 0; i < 2 * n_parts; i++) {
                const uint4 a = k[j][i][0], b = k[j][i][1], q = queries.load(i, thread);
                mma(it, {a.x, b.x, a.y, b.y}, q.x, q.y, bf16());
                mma(it, {a.z, b.z, a.w, b.w}, q.z, q.w, bf16());
            }
#pragma unroll
            for (uint32_t e = 0; e < 4; e++) {
                const uint32_t key = first + 16 * step + thread.row + e / 2 * 8;
                scores[j][e] = queries.keys[e % 2].has(key) ? it[e] * scale : -INFINITY;
            }
        }
    }

    // Of all keys of the tile.
    static __device__ void
    find_maxima(float (&max)[2], const Exchange<n_parts>& exchange, const float (&scores)[n_scored][4])
    {
        const Thread thread;
#pragma unroll
        for (uint32_t e = 0; e < 2; e++) {
#pragma unroll
            for (uint32_t j = 0; j < n_scored; j++) max[e] = fmaxf(max[e], fmaxf(scores[j][e], scores[j][e + 2]));
#pragma unroll
            for (uint32_t step = 4; step < 32; step *= 2)
                max[e] = fmaxf(max[e], __shfl_xor_sync(~0u, max[e], step));
        }
        if constexpr (n_parts > 1) {
            const auto at = [&](uint32_t part) {
                return reinterpret_cast<float2*>(&exchange.maxima[part][2 * thread.column]);
            };
            if (thread.row == 0) *at(thread.warp % n_parts) = make_float2(max[0], max[1]);
            exchange.wait();
#pragma unroll
            for (uint32_t part = 0; part < n_parts; part++) {
                max[0] = fmaxf(max[0], at(part)->x);
                max[1] = fmaxf(max[1], at(part)->y);
            }
        }
    }

    // Tells the weights of the keys that this warp has scored.
    static __device__ void
    weigh(const Exchange<n_parts>& exchange, const float (&scores)[n_scored][4], const float (&max)[2])
    {
        const Thread thread;
        uint32_t* to = exchange.from(thread.row, 2 * thread.column) + thread.warp % n_parts * n_scored * 16 * n_columns;
#pragma unroll
        for (uint32_t j = 0; j < n_scored; j++)
#pragma unroll
            for (uint32_t half = 0; half < 2; half++) {
                const float a = scores[j][2 * half], b = scores[j][2 * half + 1];
                const WeightPair pair(exp2_approx(a - max[0]), exp2_approx(b - max[1]));
                *reinterpret_cast<uint2*>(to + (2 * j + half) * 8 * n_columns) = make_uint2(
                    __byte_perm(pair.low, pair.high, 0x5410), __byte_perm(pair.low, pair.high, 0x7632));
            }
    }

    // Adds the values of all keys, and the weights.
    __device__ void add_values(TileSoftmax& it, const Exchange<n_parts>& exchange) const
    {
        const Thread thread;
        const uint32_t* even = exchange.from(2 * thread.column, thread.row);
        const uint32_t* odd = exchange.from(2 * thread.column + 1, thread.row);
#pragma unroll
        for (uint32_t step = 0; step < n_tile_keys / 16; step++) {
            uint32_t high[2], low[2];  // of the keys 2*c and 2*c + 1, or 2*c + 8 and 2*c + 9, and query g
#pragma unroll
            for (uint32_t half = 0; half < 2; half++) {
                const uint32_t a = even[(2 * step + half) * 8 * n_columns];
                const uint32_t b = odd[(2 * step + half) * 8 * n_columns];
                high[half] = __byte_perm(a, b, 0x7632);
                low[half] = __byte_perm(a, b, 0x5410);
                if (thread.warp % n_parts == 0) add_weights(it.sum, high[half], low[half]);
            }
#pragma unroll
            for (uint32_t r = 0; r < 4; r++) {
                const uint32_t a = word(v[step][0], r), b = word(v[step][1], r);
                const uint32_t c = word(v[step][2], r), d = word(v[step][3], r);
                const uint32_t dims[4] = {
                    __byte_perm(a, b, 0x5410), __byte_perm(a, b, 0x7632), __byte_perm(c, d, 0x5410),
                    __byte_perm(c, d, 0x7632)};
                mma(it.values[r], dims, high[0], high[1], bf16());
                mma(it.values[r], dims, low[0], low[1], bf16());
            }
        }
        it.sum = add_four_lanes(it.sum);
    }

    static __device__ uint32_t word(const uint4& of, uint32_t i)
    {
        return i == 0 ? of.x : i == 1 ? of.y : i == 2 ? of.z : of.w;
    }
};
