// Integers that a block of 1024 threads adds up in bins, and where a running sum over the bins reaches a number.
#pragma once
#include "common.cuh"

constexpr uint32_t block_size = 1024, n_warps = block_size / 32;
constexpr uint32_t digit_bits = 7, n_bins = 1 << digit_bits, max_chunks = 2 * block_size;
constexpr uint32_t none = ~0u;  // of the bins, or of the chunks

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

// The sum over a warp, which is below 2^53: neither the lower 21 bits of the amounts nor those above overflow then. All
// tokens of a row together amount to 2^49 at the most.
__device__ inline uint64_t warp_sum(uint64_t amount)
{
    const uint32_t low = __reduce_add_sync(~0u, uint32_t(amount) & 0x1fffff);
    return low + (uint64_t(__reduce_add_sync(~0u, uint32_t(amount >> 21))) << 21);
}

// Amounts in shared memory, all zero to begin with: of bins, or of chunks of a row.
//
// Every lane has a copy of each bin, in its own bank: whatever bins the lanes of a warp add to, none waits for another.
// Shared memory adds 32 bits natively, so what is carried beyond them, which is rare, is counted apart.
struct alignas(16) Bins {
    union {
        uint32_t copies[n_bins][32];
        uint64_t chunks[max_chunks];
    };
    uint32_t carried[n_bins];
    uint64_t of_warps[n_warps];
    uint32_t found;
    uint64_t before, within;

    __device__ void clear()
    {
        for (uint32_t chunk = threadIdx.x; chunk < max_chunks; chunk += block_size) chunks[chunk] = 0;
        if (threadIdx.x < n_bins) carried[threadIdx.x] = 0;
    }

    __device__ void add(uint32_t bin, uint32_t amount)
    {
        const uint32_t was = atomicAdd(&copies[bin][lane_index()], amount);
        if (was + amount < amount) atomicAdd(&carried[bin], 1);
    }

    // Finds where a running sum over the bins reaches `need(total)`, which is not 0: `found` is this bin, or none if none
    // does, `within` what it holds, and `before` what those before it do. Returns the total, and empties the bins.
    template <typename Need> __device__ uint64_t find(Need need)
    {
        constexpr uint32_t n_own = n_bins / n_warps;
        __syncthreads();  // the bins are filled, and nobody still reads what the last call found
        const uint32_t first = n_own * warp_index();
        uint32_t own_carried = 0;
        if (lane_index() < n_own) {
            own_carried = carried[first + lane_index()];
            carried[first + lane_index()] = 0;
        }
        uint32_t own[n_own], any = own_carried;
#pragma unroll
        for (uint32_t i = 0; i < n_own; i++) any |= own[i] = copies[first + i][lane_index()];
        uint64_t amounts[n_own] = {}, sum = 0;
        if (__any_sync(~0u, any != 0)) {  // most bins are empty
#pragma unroll
            for (uint32_t i = 0; i < n_own; i++) {
                sum += amounts[i] = warp_sum(own[i]) + (uint64_t(__shfl_sync(~0u, own_carried, i)) << 32);
                copies[first + i][lane_index()] = 0;
            }
        }
        uint64_t below, needed;
        const uint64_t total = reach(sum, need, below, needed);
        if (lane_index() == 0 && below < needed && needed <= below + sum) {
#pragma unroll
            for (uint32_t i = 0; i < n_own; i++) {
                if (below < needed && needed <= below + amounts[i]) stop(first + i, below, amounts[i]);
                below += amounts[i];
            }
        }
        __syncthreads();  // one thread has found it, all read it
        return total;
    }

    // The same over the chunks.
    template <typename Need> __device__ uint64_t find_chunk(Need need)
    {
        __syncthreads();  // the chunks are filled, and nobody still reads what the last call found
        const uint32_t chunk = 2 * threadIdx.x;
        ulonglong2& own = reinterpret_cast<ulonglong2&>(chunks[chunk]);
        const uint64_t one = own.x, other = own.y;
        own = make_ulonglong2(0, 0);
        const uint64_t sum = warp_sum(one + other);
        uint64_t below, needed;
        const uint64_t total = reach(sum, need, below, needed);
        if (below < needed && needed <= below + sum) {  // in the chunks of this warp
            below += inclusive_scan(one + other) - one - other;
            if (below < needed && needed <= below + one) stop(chunk, below, one);
            else if (below + one < needed && needed <= below + one + other) stop(chunk + 1, below + one, other);
        }
        __syncthreads();  // one thread has found it, all read it
        return total;
    }

private:
    __device__ void stop(uint32_t at, uint64_t what_is_before, uint64_t what_it_holds)
    {
        found = at;
        before = what_is_before;
        within = what_it_holds;
    }

    // From the sum of each warp: what the warps before this one hold, what is needed, and the total.
    template <typename Need> __device__ uint64_t reach(uint64_t sum, Need need, uint64_t& below, uint64_t& needed)
    {
        if (lane_index() == 0) of_warps[warp_index()] = sum;
        if (threadIdx.x == 0) found = none;
        __syncthreads();  // every warp reads what all have written
        const uint64_t of_warp = of_warps[lane_index()], total = warp_sum(of_warp);
        below = warp_sum(lane_index() < warp_index() ? of_warp : 0);
        needed = need(total);
        return total;
    }
};

__shared__ Bins bins;
