// Choosing among the tokens of a row without sorting them, exactly and always the same way.
//
// Every token has a rank, which orders them from the likeliest on:
//
//   rank = order << 32 | token      order: 32 bits that grow as the logit falls, so equals go by their ids
//
// and an amount, an integer: 1, to count tokens, or its share of the probability in units of 2^-40 of
// the likeliest token's. Integers can be added in any order, so all sums here are exact, and what is
// chosen does not depend on who adds first. What is below half a unit weighs nothing.
//
// The rank at which the amounts, added from the likeliest on, reach what is needed (k tokens, or the
// share p of all) is found by its digits (radix selection): a pass puts the amounts of all ranks that
// begin with the digits found so far into bins by the next digit, and a running sum over the bins says
// which it is. Three passes find the order, and where equals are cut apart, two more the token.
//
// The functions are called by all threads of the one block that works; what it shares are the globals `bins` and `shared`.
#pragma once
#include "common.cuh"

constexpr uint32_t block_size = 1024, n_warps = block_size / 32;
constexpr uint32_t n_bins = 2 * block_size;
constexpr uint32_t chunk_len = 128;  // tokens that a warp loads at once: 16 bytes a lane
constexpr uint32_t max_vocab_size = n_bins * chunk_len;
constexpr uint64_t certain = 1ull << 40;  // the weight of the likeliest token
constexpr uint64_t all_ranks = ~0ull;

__device__ inline uint32_t lane_index() { return threadIdx.x % 32; }
__device__ inline uint32_t warp_index() { return threadIdx.x / 32; }

// False for NaN, too: such a token is never chosen.
__device__ inline bool is_possible(float logit) { return logit > -INFINITY; }

__device__ inline uint64_t rank_of(float logit, uint32_t token)
{
    const uint32_t bits = __float_as_uint(logit + 0.f);  // -0 is 0
    const uint32_t ascending = bits & 0x80000000 ? ~bits : bits | 0x80000000;
    return uint64_t(~ascending) << 32 | token;
}

__device__ inline float logit_of(uint64_t rank)
{
    const uint32_t ascending = ~uint32_t(rank >> 32);
    return __uint_as_float(ascending & 0x80000000 ? ascending & 0x7fffffff : ~ascending);
}

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

// The least rank of the block.
__device__ inline uint64_t block_min(uint64_t rank, uint64_t (&of_warps)[n_warps])
{
    for (uint32_t pass = 0; pass < 2; pass++) {
        for (uint32_t step = 16; step > 0; step /= 2) rank = min(rank, __shfl_xor_sync(~0u, rank, step));
        if (pass == 1) break;
        if (lane_index() == 0) of_warps[warp_index()] = rank;
        __syncthreads();  // every warp reads what all have written
        rank = of_warps[lane_index()];
    }
    return rank;
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

        const uint64_t sum = inclusive_scan(one + other);
        if (lane_index() == 31) of_warps[warp_index()] = sum;
        if (threadIdx.x == 0) found = n_bins;
        __syncthreads();  // every warp reads what all have written
        const uint64_t warps = inclusive_scan(of_warps[lane_index()]);
        const uint64_t total = __shfl_sync(~0u, warps, 31);
        const uint64_t until = __shfl_sync(~0u, warps, warp_index()) - of_warps[warp_index()] + sum;

        const uint64_t needed = need(total), below = until - one - other;
        if (below < needed && needed <= until) {
            const bool is_other = below + one < needed;
            found = bin + is_other;
            before = is_other ? below + one : below;
            within = is_other ? other : one;
        }
        __syncthreads();  // one thread has found it, all read it
        return total;
    }
};

__shared__ Bins bins;

// What the tokens of one row score, and what they amount to.
struct Scores {
    const float* logits;     // [vocab_size]
    const float* bias;       // [vocab_size], or null
    const uint32_t* counts;  // [vocab_size], or null; see sample.cu
    uint32_t vocab_size;
    float penalty_of_positive, penalty_of_negative;  // factors
    float frequency_penalty, presence_penalty;
    float max, scale;  // of the weights: 2^((score - max) * scale)
    uint64_t last;     // the rank up to which tokens amount to anything
    uint64_t least;    // and the weight from which on they do
    bool is_counted;   // each amounts to 1, not to its weight

    __device__ float adjust(float logit, float bias, uint32_t count) const
    {
        logit += bias;
        if (count != 0) logit *= logit > 0.f ? penalty_of_positive : penalty_of_negative;
        const uint32_t n_generated = count & 0x7fffffff;
        if (n_generated != 0) logit -= float(n_generated) * frequency_penalty + presence_penalty;
        return logit;
    }

    __device__ uint64_t weight(float score) const
    {
        if (score == max) return certain;  // also where both are infinite
        float share;
        asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(share) : "f"((score - max) * scale));
        return __float2ull_rn(share * float(certain));
    }

    __device__ uint64_t amount(float score, uint64_t rank) const
    {
        if (!is_possible(score) || rank > last) return 0;
        if (is_counted) return 1;
        const uint64_t it = weight(score);
        return it >= least ? it : 0;
    }
};

// Four elements, whatever is past the last one. Rows of a multiple of four begin at a multiple of 16 bytes.
template <typename T>
__device__ inline void load_four(const T* from, uint32_t vocab_size, uint32_t token, T past_end, T (&to)[4])
{
    if (vocab_size % 4 == 0 && token < vocab_size) {
        reinterpret_cast<uint4&>(to) = __ldca(reinterpret_cast<const uint4*>(from + token));
    } else {
#pragma unroll
        for (uint32_t i = 0; i < 4; i++) to[i] = token + i < vocab_size ? __ldca(from + token + i) : past_end;
    }
}

// The scores of four tokens; NaN past the last one.
__device__ inline void load_scores(const Scores& scores, uint32_t token, float (&to)[4])
{
    load_four(scores.logits, scores.vocab_size, token, NAN, to);
    if (scores.bias == nullptr && scores.counts == nullptr) return;
    float bias[4] = {};
    uint32_t counts[4] = {};
    if (scores.bias != nullptr) load_four(scores.bias, scores.vocab_size, token, 0.f, bias);
    if (scores.counts != nullptr) load_four(scores.counts, scores.vocab_size, token, 0u, counts);
#pragma unroll
    for (uint32_t i = 0; i < 4; i++) to[i] = scores.adjust(to[i], bias[i], counts[i]);
}

__shared__ Scores shared;

// One thread changes what all share.
template <typename F> __device__ inline void change(F f)
{
    __syncthreads();  // nobody reads it still
    if (threadIdx.x == 0) f(shared);
    __syncthreads();  // or yet
}

// Calls f(chunk, token, scores) for each four tokens; the lanes of a warp stay together.
template <typename F> __device__ inline void for_each_four(const Scores& scores, F f)
{
    const uint32_t n_chunks = ceil_div(scores.vocab_size, chunk_len);
    for (uint32_t chunk = warp_index(); chunk < n_chunks;) {
        float four[4], next[4];
        load_scores(scores, chunk * chunk_len + 4 * lane_index(), four);
        load_scores(scores, (chunk + n_warps) * chunk_len + 4 * lane_index(), next);  // under way at the same time
#pragma unroll 1
        for (uint32_t i = 0; i < 2 && chunk < n_chunks; i++) {
            f(chunk, chunk * chunk_len + 4 * lane_index(), four);
            for (uint32_t j = 0; j < 4; j++) four[j] = next[j];
            chunk += n_warps;
        }
    }
}

// The rank of the likeliest token; all_ranks if no token is possible.
__device__ __noinline__ uint64_t first_rank()
{
    uint64_t first = all_ranks;
    for_each_four(shared, [&](uint32_t, uint32_t token, const float(&four)[4]) {
#pragma unroll
        for (uint32_t i = 0; i < 4; i++)
            if (is_possible(four[i])) first = min(first, rank_of(four[i], token + i));
    });
    return block_min(first, bins.of_warps);
}

// Puts what the tokens of each chunk amount to into a bin.
__device__ __noinline__ void fill_chunks()
{
    const Scores scores = shared;
    for_each_four(scores, [&](uint32_t chunk, uint32_t token, const float(&four)[4]) {
        uint64_t sum = 0;
#pragma unroll
        for (uint32_t i = 0; i < 4; i++) sum += scores.amount(four[i], rank_of(four[i], token + i));
        sum = warp_sum(sum);
        if (lane_index() == 0) bins.set(chunk, sum);
    });
}

// What all tokens amount to.
__device__ inline uint64_t total()
{
    fill_chunks();
    return bins.find([](uint64_t) { return 1; });
}

// The rank up to which tokens must be taken, from the likeliest on, until their amounts reach `need`; all_ranks if they
// do not.
__device__ __noinline__ uint64_t select(uint64_t need)
{
    const Scores scores = shared;
    uint64_t prefix = 0, is_known = 0;  // the digits found, and where they are
    for (uint32_t digit = 0;; digit++) {
        const uint32_t shift = digit < 3 ? max(53 - 11 * digit, 32) : 11 * (4 - digit);
        for_each_four(scores, [&](uint32_t, uint32_t token, const float(&four)[4]) {
#pragma unroll
            for (uint32_t i = 0; i < 4; i++) {
                const uint64_t rank = rank_of(four[i], token + i);
                const bool is_in = (rank & is_known) == prefix;
                bins.add_warp(uint32_t(rank >> shift) % n_bins, is_in ? scores.amount(four[i], rank) : 0);
            }
        });
        bins.find([&](uint64_t) { return need; });
        if (bins.found == n_bins) return all_ranks;
        prefix |= uint64_t(bins.found) << shift;
        is_known = all_ranks << shift;
        need -= bins.before;
        // All that begin like this are needed if even the last of them is: from the third digit on they are equals.
        const uint64_t least = digit < 2 ? 1 : scores.amount(logit_of(prefix), prefix);
        if (bins.within - need < least) return prefix | ~is_known;
    }
}

// The token at which the amounts, added in the order of the ids, exceed a random share of their sum.
__device__ inline uint32_t pick(uint64_t random)
{
    fill_chunks();
    uint64_t need;
    bins.find([&](uint64_t total) { return need = __umul64hi(random, total) + 1; });

    const Scores scores = shared;
    uint32_t token = bins.found * chunk_len + 4 * lane_index();
    float four[4];
    load_scores(scores, token, four);
    uint64_t amounts[4], sum = 0;
#pragma unroll
    for (uint32_t i = 0; i < 4; i++) sum += amounts[i] = scores.amount(four[i], rank_of(four[i], token + i));
    uint64_t reached = bins.before + inclusive_scan(sum) - sum;
    const uint32_t lanes = __ballot_sync(~0u, reached < need && need <= reached + sum);
    bool is_past = false;
#pragma unroll
    for (uint32_t i = 0; i < 3; i++) {
        reached += amounts[i];
        is_past = is_past || reached >= need;
        token += !is_past;
    }
    return __shfl_sync(~0u, token, __ffs(lanes) - 1);
}
