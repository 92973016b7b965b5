// Attends from each token to the keys in its window: those in the ring and those of its own chunk.
//
//   q                 [n_tokens, n_heads, head_dim]     turned; head_dim a multiple of 8, up to 256
//   k_ring, v_ring    [n_slots, n_kv_heads, head_dim]   positions before the chunk, at position % n_slots
//   k_chunk, v_chunk  [n_tokens, n_kv_heads, head_dim]  the chunk itself, which is not yet in the ring
//   position          [1]                               of token 0
//   out               [n_tokens, n_heads, head_dim]     in the weights' type: it feeds the O projection
//
// The token at position i sees the keys j with i - window < j <= i, itself included; a window of
// 2^32 - 1 is none. The ring must hold those before the chunk: min(window - 1, position) <= n_slots.
// Query head h reads kv head h / (n_heads / n_kv_heads) (GQA, arXiv 2305.13245).
//
// One block a token and head. Keys are dealt out by their absolute positions, n_keys * n_groups at a
// time to each warp in turn; within a warp a group of lanes holds a key, eight elements a lane. A
// group keeps the maximum, the sum and the weighted values of what it has seen (online softmax,
// arXiv 1805.02867); a key outside the window changes none of the three. The groups' results are then
// added in a fixed order. So the bits of a row depend on its position, its window and the keys in it,
// and not on how the tokens were cut into chunks.
//
// Right for every grid; a block for each token and head is fastest.
#include "common.cuh"

constexpr uint32_t n_block_warps = 8, max_head_dim = 256;
constexpr uint32_t n_keys = 4;  // keys of a group at once: so many loads are in flight, and they share a rescaling

// 2^x; results below 2^-126 become 0. #floating-point-instructions-ex2
__device__ inline float exp2_approx(float x)
{
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

// What a softmax over some keys needs to be continued: values = sum of weight * v, weights = sum of
// weight, where weight = 2^(score - max).
struct Softmax {
    float max, weights, values[8];

    __device__ void rescale(float new_max)
    {
        const float factor = exp2_approx(max - new_max);
        max = new_max;
        weights *= factor;
#pragma unroll
        for (uint32_t i = 0; i < 8; i++) values[i] *= factor;
    }

    __device__ void add(float score, const float (&v)[8])
    {
        const float weight = exp2_approx(score - max);
        weights += weight;
#pragma unroll
        for (uint32_t i = 0; i < 8; i++) values[i] = fmaf(weight, v[i], values[i]);
    }
};

// The keys and values of one kv head, at the eight elements that a lane works on. Keys are counted from
// the chunk's first: -1 is the last in the ring, 0 the first in the chunk.
struct Cache {
    const bf16 *k_ring, *v_ring, *k_chunk, *v_chunk;
    uint32_t row_dim;  // n_kv_heads * head_dim, from one position to the next
    uint32_t n_slots;
    uint32_t first_slot;  // that the chunk will be written to

    __device__ void load(int32_t key, uint4& k, uint4& v) const
    {
        const uint32_t slot = first_slot + key;                         // below 0, so huge, if it wraps
        const uint32_t row = key < 0 ? min(slot, slot + n_slots) : key;
        k = load_packed((key < 0 ? k_ring : k_chunk) + row * row_dim);
        v = load_packed((key < 0 ? v_ring : v_chunk) + row * row_dim);
    }
};

// A lane's place: a group of n_lanes lanes holds a key, and deals with every n_groups-th.
struct Lane {
    uint32_t n_lanes, n_groups, group, warp;

    __device__ explicit Lane(uint32_t head_dim)
    {
        n_lanes = 32;
        while (n_lanes * 4 >= head_dim && n_lanes > 1) n_lanes /= 2;  // the fewest with n_lanes * 8 >= head_dim
        n_groups = 32 / n_lanes;
        group = threadIdx.x % 32 / n_lanes;
        warp = threadIdx.x / 32;
    }

    __device__ uint32_t warp_keys() const { return n_groups * n_keys; }
    __device__ uint32_t block_keys() const { return n_block_warps * warp_keys(); }
};

// One group's share of the keys first..=last, dealt out in rounds that begin at `origin`.
__device__ Softmax attend(
    const Cache& cache, const Lane& lane, const float (&q)[8], int32_t origin, int32_t first, int32_t last)
{
    const int32_t block_keys = lane.block_keys();
    const int32_t start = origin + ((first - origin) & -block_keys);  // of the round that holds `first`

    Softmax softmax = {-3.4e38f};  // below every score, and finite: inf - inf would be NaN
    for (int32_t round = start + lane.warp * lane.warp_keys(); round <= last; round += block_keys) {
        uint4 k[n_keys], v[n_keys];
        bool is_seen[n_keys];
#pragma unroll
        for (uint32_t i = 0; i < n_keys; i++) {
            const int32_t key = round + i * lane.n_groups + lane.group, near = min(max(key, first), last);
            is_seen[i] = key == near;
            cache.load(near, k[i], v[i]);  // for a masked key, of another, whose weight is 0
        }

        float scores[n_keys];
#pragma unroll
        for (uint32_t i = 0; i < n_keys; i++) {
            float k_piece[8];
            unpack<bf16>(k[i], k_piece);
            scores[i] = 0;
#pragma unroll
            for (uint32_t j = 0; j < 8; j++) scores[i] = fmaf(q[j], k_piece[j], scores[i]);
        }
        for (uint32_t step = lane.n_lanes / 2; step > 0; step /= 2)
#pragma unroll
            for (uint32_t i = 0; i < n_keys; i++) scores[i] += __shfl_xor_sync(~0u, scores[i], step);

        float max = softmax.max;
#pragma unroll
        for (uint32_t i = 0; i < n_keys; i++) {
            scores[i] = is_seen[i] ? scores[i] : -INFINITY;  // a weight of exactly 0
            max = fmaxf(max, scores[i]);
        }
        softmax.rescale(max);
#pragma unroll
        for (uint32_t i = 0; i < n_keys; i++) {
            float v_piece[8];
            unpack<bf16>(v[i], v_piece);
            softmax.add(scores[i], v_piece);
        }
    }
    return softmax;
}

// Adds the results of a warp's groups, lane by lane: the same elements of different keys.
__device__ void add_groups(Softmax& softmax, uint32_t n_lanes)
{
    float max = softmax.max;
    for (uint32_t step = n_lanes; step < 32; step *= 2) max = fmaxf(max, __shfl_xor_sync(~0u, max, step));
    softmax.rescale(max);
    for (uint32_t step = n_lanes; step < 32; step *= 2) {
        softmax.weights += __shfl_xor_sync(~0u, softmax.weights, step);
#pragma unroll
        for (uint32_t i = 0; i < 8; i++) softmax.values[i] += __shfl_xor_sync(~0u, softmax.values[i], step);
    }
}

// Adds the warps' results and writes the head's output.
template <typename W>
__device__ void add_warps(const Softmax& softmax, W* out, uint32_t head_dim, uint32_t dim)
{
    __shared__ float maxima[n_block_warps], weights[n_block_warps], values[n_block_warps][max_head_dim];
    const uint32_t warp = threadIdx.x / 32, lane = threadIdx.x % 32;

    __syncthreads();  // the results of the head before have been read
    if (lane == 0) {
        maxima[warp] = softmax.max;
        weights[warp] = softmax.weights;
    }
    if (lane * 8 < head_dim) store8(values[warp] + dim, softmax.values);
    __syncthreads();  // every warp has written what all read now

    if (threadIdx.x < head_dim) {
        float max = maxima[0], weight = 0, value = 0;
#pragma unroll
        for (uint32_t i = 1; i < n_block_warps; i++) max = fmaxf(max, maxima[i]);
#pragma unroll
        for (uint32_t i = 0; i < n_block_warps; i++) {
            const float factor = exp2_approx(maxima[i] - max);
            weight = fmaf(factor, weights[i], weight);
            value = fmaf(factor, values[i][threadIdx.x], value);
        }
        narrow(value / weight, out[threadIdx.x]);
    }
}

template <typename W>
__device__ void attention(
    const bf16* q, const bf16* k_ring, const bf16* v_ring, const bf16* k_chunk, const bf16* v_chunk,
    const uint64_t* position, W* out,
    uint32_t n_tokens, uint32_t n_heads, uint32_t n_kv_heads, uint32_t head_dim, uint32_t n_slots, uint32_t window)
{
    const Lane lane(head_dim);
    const uint32_t piece = threadIdx.x % lane.n_lanes * 8;
    const bool is_spare = piece >= head_dim;  // it loads what the group's first does, and adds nothing
    const uint32_t dim = is_spare ? 0 : piece;
    const float scale = 1.44269504f / sqrtf(head_dim);  // log2(e), for the exponentials are powers of two
    const int32_t origin = -int32_t(*position % lane.block_keys());  // where absolute positions have a multiple

    for (uint32_t item = blockIdx.x; item < n_tokens * n_heads; item += gridDim.x) {
        const uint32_t token = item / n_heads, kv_head = item % n_heads / (n_heads / n_kv_heads);
        const uint32_t n_before = min(*position + token, uint64_t(window - 1));  // keys seen besides its own
        const uint32_t at = kv_head * head_dim + dim;
        const Cache cache = {k_ring + at, v_ring + at, k_chunk + at, v_chunk + at,
                             n_kv_heads * head_dim, n_slots, uint32_t(*position % n_slots)};
        float q_piece[8];
        load8(q + size_t(item) * head_dim + dim, q_piece);
#pragma unroll
        for (uint32_t i = 0; i < 8; i++) q_piece[i] = is_spare ? 0 : q_piece[i] * scale;

        Softmax softmax = attend(cache, lane, q_piece, origin, token - n_before, token);
        add_groups(softmax, lane.n_lanes);
        add_warps(softmax, out + size_t(item) * head_dim, head_dim, dim);
    }
}

extern "C" __global__ __launch_bounds__(256, 3) void attention_bf16(
    const bf16* __restrict__ q, const bf16* __restrict__ k_ring, const bf16* __restrict__ v_ring,
    const bf16* __restrict__ k_chunk, const bf16* __restrict__ v_chunk, const uint64_t* __restrict__ position,
    bf16* __restrict__ out, uint32_t n_tokens, uint32_t n_heads, uint32_t n_kv_heads, uint32_t head_dim,
    uint32_t n_slots, uint32_t window)
{
    attention(
        q, k_ring, v_ring, k_chunk, v_chunk, position, out,
        n_tokens, n_heads, n_kv_heads, head_dim, n_slots, window);
}

extern "C" __global__ __launch_bounds__(256, 3) void attention_f16(
    const bf16* __restrict__ q, const bf16* __restrict__ k_ring, const bf16* __restrict__ v_ring,
    const bf16* __restrict__ k_chunk, const bf16* __restrict__ v_chunk, const uint64_t* __restrict__ position,
    f16* __restrict__ out, uint32_t n_tokens, uint32_t n_heads, uint32_t n_kv_heads, uint32_t head_dim,
    uint32_t n_slots, uint32_t window)
{
    attention(
        q, k_ring, v_ring, k_chunk, v_chunk, position, out,
        n_tokens, n_heads, n_kv_heads, head_dim, n_slots, window);
}
