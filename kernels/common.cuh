// What every kernel uses: the two 16-bit types, moving eight elements at a time, sums over lanes.
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <stdint.h>

using bf16 = __nv_bfloat16;
using f16 = __half;

__device__ inline uint32_t ceil_div(uint32_t n, uint32_t size) { return (n + size - 1) / size; }

// Eight neighbouring 16-bit elements: the 16 bytes that one lane moves with one instruction.
template <typename T> __device__ inline uint4 load_packed(const T* from) { return *reinterpret_cast<const uint4*>(from); }

// The same for data that is read once a launch: it does not push anything out of L1.
template <typename T> __device__ inline uint4 load_packed_once(const T* from)
{
    uint4 it;
    asm("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
        : "=r"(it.x), "=r"(it.y), "=r"(it.z), "=r"(it.w)
        : "l"(from));
    return it;
}

// A pair's two elements, the lower half first.
__device__ inline float2 unpack_pair(uint32_t pair, bf16)
{
    return make_float2(__uint_as_float(pair << 16), __uint_as_float(pair & 0xffff0000));  // a bf16 is half a float
}

__device__ inline float2 unpack_pair(uint32_t pair, f16)
{
    float2 it;
    asm("{ .reg .b16 low, high; mov.b32 {low, high}, %2; cvt.f32.f16 %0, low; cvt.f32.f16 %1, high; }"
        : "=f"(it.x), "=f"(it.y)
        : "r"(pair));
    return it;
}

template <typename T> __device__ inline void unpack(uint4 packed, float (&to)[8])
{
    const uint32_t pairs[4] = {packed.x, packed.y, packed.z, packed.w};
#pragma unroll
    for (uint32_t i = 0; i < 4; i++) {
        const float2 pair = unpack_pair(pairs[i], T());
        to[2 * i] = pair.x;
        to[2 * i + 1] = pair.y;
    }
}

// f32 to the model's 16-bit type, to nearest even. bf16 has the range of a float; f16 does not, and
// there a finite value past +-65504 becomes +-65504, since one infinity would turn a whole row into NaN.
// NaN stays NaN.
__device__ inline void narrow(float from, bf16& to) { to = __float2bfloat16(from); }

__device__ inline void narrow(float from, f16& to)
{
    to = __float2half(from > 65504.f ? 65504.f : from < -65504.f ? -65504.f : from);
}

template <typename T> __device__ inline void load8(const T* from, float (&to)[8]) { unpack<T>(load_packed(from), to); }

template <> __device__ inline void load8(const float* from, float (&to)[8])
{
    reinterpret_cast<float4&>(to[0]) = *reinterpret_cast<const float4*>(from);
    reinterpret_cast<float4&>(to[4]) = *reinterpret_cast<const float4*>(from + 4);
}

template <typename T> __device__ inline void store8(T* to, const float (&from)[8])
{
    alignas(16) T it[8];
#pragma unroll
    for (uint32_t i = 0; i < 8; i++) narrow(from[i], it[i]);
    *reinterpret_cast<uint4*>(to) = reinterpret_cast<uint4&>(it);
}

template <> __device__ inline void store8(float* to, const float (&from)[8])
{
    *reinterpret_cast<float4*>(to) = make_float4(from[0], from[1], from[2], from[3]);
    *reinterpret_cast<float4*>(to + 4) = make_float4(from[4], from[5], from[6], from[7]);
}

// The sum over `n_lanes` (a power of two) neighbouring lanes, given to each of them. Every lane adds
// the same two numbers at each step, so all get the same bits.
__device__ inline float lane_sum(float value, uint32_t n_lanes)
{
    for (uint32_t step = n_lanes / 2; step > 0; step /= 2) value += __shfl_xor_sync(~0u, value, step);
    return value;
}
