// Integers that a block of 1024 threads adds up in bins, and where a running sum over the bins reaches a number.
#pragma once
#include "common.cuh"

constexpr uint32_t block_size = 1024, n_warps = block_size / 32;
constexpr uint32_t n_bins = 2 * block_size;

__device__ inline uint32_t lane_index() { return threadIdx.x % 32; }
__device__ inline uint32_t warp_index() { return threadIdx.x / 32; }

// What the lanes up to this one hold together.
__device__ inline uint64_t inclusive_scan(uint64_t value)
{
    for (uint32_t step = 1; step < 32; step *= 2) {
        const uint64_t below = __shfl_up_sync(~0u, value, step);
        if (lane_index() >= step) value += below;
    }
    return value;
}

// The sum over a warp of amounts below 2^43, whose halves of 21 and 22 bits cannot overflow.
__device__ inline uint64_t warp_sum(uint64_t amount)
{
    const uint32_t low = __reduce_add_sync(~0u, uint32_t(amount) & 0x1fffff);
    return low + (uint64_t(__reduce_add_sync(~0u, uint32_t(amount >> 21))) << 21);
}

// Amounts in shared memory, all zero to begin with. It adds 32 bits natively, so they are kept in halves.
struct Bins {
    uint32_t low[n_bins], high[n_bins];
    uint64_t of_warps[n_warps];
    uint32_t found;
    uint64_t before, within;

    __device__ void clear()
    {
        for (uint32_t bin = threadIdx.x; bin < n_bins; bin += block_size) low[bin] = high[bin] = 0;
    }

    __device__ void set(uint32_t bin, uint64_t amount)
    {
        low[bin] = uint32_t(amount);
        high[bin] = uint32_t(amount >> 32);
    }

    __device__ void add(uint32_t bin, uint64_t amount)
    {
        const uint32_t added = uint32_t(amount), was = atomicAdd(&low[bin], added);
        const uint32_t carried = uint32_t(amount >> 32) + (was + added < added);
        if (carried != 0) atomicAdd(&high[bin], carried);
    }

    // For a whole warp, in which an amount may be 0. Where all go into one bin they are added up
    // first: equal logits would otherwise queue for it.
    __device__ void add_warp(uint32_t bin, uint64_t amount)
    {
        const uint32_t lanes = __ballot_sync(~0u, amount != 0);
        if (lanes == 0) return;
        const uint32_t first = __ffs(lanes) - 1, first_bin = __shfl_sync(~0u, bin, first);
        if (__all_sync(~0u, amount == 0 || bin == first_bin)) {
            const uint64_t sum = warp_sum(amount);
            amount = lane_index() == first ? sum : 0;
        }
        if (amount != 0) add(bin, amount);
    }

    // Finds where a running sum over the bins reaches `need(total)`, which is not 0: `found` is this bin, or n_bins if
    // none does, `within` what it holds, and `before` what those before it do. Returns the total, and empties the bins.
    template <typename Need> __device__ uint64_t find(Need need)
    {
        __syncthreads();  // the bins are filled, and nobody still reads what the last call found
        const uint32_t bin = 2 * threadIdx.x;
        uint2& lows = reinterpret_cast<uint2&>(low[bin]);
        uint2& highs = reinterpret_cast<uint2&>(high[bin]);
        const uint64_t one = uint64_t(highs.x) << 32 | lows.x, other = uint64_t(highs.y) << 32 | lows.y;
        lows = highs = make_uint2(0, 0);

        uint64_t sum = one + other;
        if (__any_sync(~0u, sum != 0))
            for (uint32_t step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(~0u, sum, step);
        if (lane_index() == 0) of_warps[warp_index()] = sum;
        if (threadIdx.x == 0) found = n_bins;
        __syncthreads();  // every warp reads what all have written
        const uint64_t warps = inclusive_scan(of_warps[lane_index()]);
        const uint64_t total = __shfl_sync(~0u, warps, 31), until = __shfl_sync(~0u, warps, warp_index());

        const uint64_t needed = need(total);
        if (until - sum < needed && needed <= until) {  // in the bins of this warp
            const uint64_t below = until - sum + inclusive_scan(one + other) - one - other;
            if (below < needed && needed <= below + one + other) {
                const bool is_other = below + one < needed;
                found = bin + is_other;
                before = is_other ? below + one : below;
                within = is_other ? other : one;
            }
        }
        __syncthreads();  // one thread has found it, all read it
        return total;
    }
};

__shared__ Bins bins;
