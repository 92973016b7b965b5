// The end of the model: norm, the logits of every token of the vocabulary, and the best of them.
//
//   weight   tiles of [vocab_size, dim]  see tile.cu
//   x        [n_tokens, dim]             the residual stream; n_tokens <= 8, dim a multiple of 8
//   squares  [n_tokens, ceil(dim / 16)]  of x
//   norm     [dim]
//   logits   [n_tokens, vocab_size]
//   best     [n_tokens]                  raised to the greatest logit's code; 0 is less than any
//
// A code is the logit's bits, made to grow with it, above the complement of the token's id: of equal logits
// the lowest id has the greatest code. NaN and -infinity have none. A maximum does not depend on who compares
// with whom, so neither do the bits of `best`.
//
// Right for every grid; a block has norm_stride(dim) * n_tokens elements of dynamic shared memory.
#include "norm.cuh"

__device__ inline uint64_t code(float logit, uint32_t token)
{
    if (!(logit > -INFINITY)) return 0;
    const uint32_t bits = __float_as_uint(logit + 0.f);  // 0 for -0, which is equal to it
    const uint32_t ordered = bits >> 31 ? ~bits : bits | 0x80000000;
    return uint64_t(ordered) << 32 | uint32_t(~token);
}

template <typename W>
__device__ void lm_head(
    const W* weight, const float* x, const float* squares, const W* norm_weight, float* logits, uint64_t* best,
    uint32_t n_tokens, uint32_t dim, uint32_t vocab_size, float eps)
{
    extern __shared__ uint4 shared[];
    W* h = reinterpret_cast<W*>(shared);
    Product<W> product(weight, dim, ceil_div(vocab_size, tile_rows));
    norm(x, squares, norm_weight, h, n_tokens, dim, eps);

    uint32_t own_token = 0;
    uint64_t own_best = 0;  // of the rows that this thread finishes, always for the same token
    product.run(h, norm_stride(dim), n_tokens, [&](uint32_t tile, uint32_t g, uint32_t token, float low, float high) {
        own_token = token;
        const auto write = [&](uint32_t row, float logit) {
            if (token >= n_tokens || row >= vocab_size) return;
            logits[size_t(token) * vocab_size + row] = logit;
            own_best = max(own_best, code(logit, row));
        };
        write(tile * tile_rows + g, low);
        write(tile * tile_rows + g + 8, high);
    });
#pragma unroll
    for (uint32_t step = 4; step < 32; step *= 2)
        own_best = max(own_best, uint64_t(__shfl_xor_sync(~0u, own_best, step)));  // over g
    if (threadIdx.x % 32 < 4 && own_best > 0)
        atomicMax(reinterpret_cast<unsigned long long*>(best + own_token), own_best);
}

extern "C" __global__ __launch_bounds__(256, 3) void lm_head_bf16(
    const bf16* __restrict__ weight, const float* __restrict__ x, const float* __restrict__ squares,
    const bf16* __restrict__ norm, float* __restrict__ logits, uint64_t* __restrict__ best, uint32_t n_tokens,
    uint32_t dim, uint32_t vocab_size, float eps)
{
    lm_head(weight, x, squares, norm, logits, best, n_tokens, dim, vocab_size, eps);
}

extern "C" __global__ __launch_bounds__(256, 3) void lm_head_f16(
    const f16* __restrict__ weight, const float* __restrict__ x, const float* __restrict__ squares,
    const f16* __restrict__ norm, float* __restrict__ logits, uint64_t* __restrict__ best, uint32_t n_tokens,
    uint32_t dim, uint32_t vocab_size, float eps)
{
    lm_head(weight, x, squares, norm, logits, best, n_tokens, dim, vocab_size, eps);
}
