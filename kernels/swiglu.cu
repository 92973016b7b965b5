// Gates one half of each token's row by the other (SwiGLU, arXiv 2002.05202, equation 6).
//
//   gate_up  [n_tokens, 2, hidden_dim]  the gate, then what it gates; hidden_dim a multiple of 8
//   y        [n_tokens, hidden_dim]     gate / (1 + exp(-gate)) * up, rounded once, to the weights' type
//
// Right for every grid.
#include "common.cuh"

__device__ inline float silu(float x) { return x / (1 + expf(-x)); }

template <typename W>
__device__ void swiglu(const float* gate_up, W* y, uint32_t n_tokens, uint32_t hidden_dim)
{
    for (uint32_t token = blockIdx.x; token < n_tokens; token += gridDim.x) {
        const float* gate = gate_up + size_t(token) * 2 * hidden_dim;  // [hidden_dim]
        const float* up = gate + hidden_dim;                           // [hidden_dim]
        for (uint32_t i = (blockIdx.y * blockDim.x + threadIdx.x) * 8; i < hidden_dim; i += gridDim.y * blockDim.x * 8) {
            float gates[8], ups[8];
            load8(gate + i, gates);
            load8(up + i, ups);
#pragma unroll
            for (uint32_t j = 0; j < 8; j++) ups[j] *= silu(gates[j]);
            store8(y + size_t(token) * hidden_dim + i, ups);
        }
    }
}

extern "C" __global__ __launch_bounds__(128) void swiglu_bf16(
    const float* __restrict__ gate_up, bf16* __restrict__ y, uint32_t n_tokens, uint32_t hidden_dim)
{
    swiglu(gate_up, y, n_tokens, hidden_dim);
}

extern "C" __global__ __launch_bounds__(128) void swiglu_f16(
    const float* __restrict__ gate_up, f16* __restrict__ y, uint32_t n_tokens, uint32_t hidden_dim)
{
    swiglu(gate_up, y, n_tokens, hidden_dim);
}
