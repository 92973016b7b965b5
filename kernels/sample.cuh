// Choosing among the tokens of a row without sorting them, exactly and always the same way.
//
// Every token has a rank, which orders them from the likeliest on:
//
//   rank = order << 32 | token      order: 32 bits that grow as the logit falls, so equals go by their ids
//
// and an amount, an integer: 1, to count tokens, or its share of the probability in units of 2^-31 of
// the likeliest token's. Integers can be added in any order, so all sums here are exact, and what is
// chosen does not depend on who adds first. What is below half a unit weighs nothing.
//
// The rank at which the amounts, added from the likeliest on, reach what is needed (k tokens, or the
// share p of all) is found by its digits (radix selection): a pass puts the amounts of all ranks that
// begin with the digits found so far into bins by the next digit, and a running sum over the bins says
// which it is. Ranks count from the likeliest token's on. The first digit says how long the distance in
// order is and how it begins, which leaves few tokens wherever the row is peaked; each further one has
// seven bits. Three or four more find the order, and where equals are cut apart, three the token. As soon
// as few tokens are left to choose among they are listed in shared memory, for later passes to look at
// these alone; the list is in no order, and nothing depends on it.
//
// The functions are called by all threads of the one block that works; what it shares are the globals
// `bins`, `list` and `shared`.
#pragma once
#include "bins.cuh"
#include <float.h>

constexpr uint32_t chunk_len = 128;  // tokens that a warp loads at once: 16 bytes a lane
constexpr uint32_t max_listed = 2048;
constexpr uint32_t certain = 1u << 31;  // the weight of the likeliest token
constexpr uint64_t no_rank = ~0ull;     // after all others

// False for NaN, too: such a token is never chosen.
__device__ inline bool is_possible(float logit) { return logit > -INFINITY; }

__device__ inline uint64_t rank_of(float logit, uint32_t token)
{
    const uint32_t bits = __float_as_uint(logit + 0.f);  // -0 is 0
    return uint64_t(bits & 0x80000000 ? bits : bits ^ 0x7fffffff) << 32 | token;
}

__device__ inline float logit_of(uint64_t rank)
{
    const uint32_t order = uint32_t(rank >> 32);
    return __uint_as_float(order & 0x80000000 ? order : order ^ 0x7fffffff);
}

// The row, and what its tokens amount to.
struct Scores {
    const float* row;  // [vocab_size]
    uint32_t vocab_size;
    float max, scale;  // of the weights: 2^((score - max) * scale)
    float last_score;  // tokens up to this rank amount to something,
    uint32_t last_token;
    uint32_t least;    // if they weigh this,
    bool is_counted;   // and then 1 each, not their weight
    bool is_listed;    // all that do are in `list`
    uint32_t n;        // the tokens of the row, or of the list
    uint64_t random;   // of the draw

    __device__ void set_last(uint64_t rank)
    {
        last_score = logit_of(rank);
        last_token = uint32_t(rank);
    }

    __device__ void unlist()
    {
        is_listed = false;
        n = vocab_size;
    }

    // All that are possible: neither NaN nor -infinity.
    __device__ void set_last_possible() { set_last(rank_of(-FLT_MAX, ~0u)); }

    __device__ uint64_t last() const { return rank_of(last_score, last_token); }

    __device__ uint32_t weight(float score) const
    {
        float share;
        asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(share) : "f"((score - max) * scale));
        return score == max ? certain : __float2uint_rn(share * float(certain));  // both may be infinite
    }

    __device__ bool is_left(float score, uint32_t token) const
    {
        return score > last_score || (score == last_score && token <= last_token);
    }

    __device__ uint32_t amount(float score, uint32_t token) const
    {
        if (!is_left(score, token)) return 0;
        if (is_counted) return 1;
        const uint32_t it = weight(score);
        return it >= least ? it : 0;
    }
};

// Four neighbours of a row, whatever is past its end. Rows of a multiple of four begin at a multiple of 16 bytes.
template <typename T>
__device__ inline void load_four(const T* row, uint32_t vocab_size, uint32_t token, T past_end, T (&to)[4])
{
    if (vocab_size % 4 == 0 && token < vocab_size) {
        reinterpret_cast<uint4&>(to) = __ldca(reinterpret_cast<const uint4*>(row + token));
    } else {
#pragma unroll
        for (uint32_t i = 0; i < 4; i++) to[i] = token + i < vocab_size ? row[token + i] : past_end;
    }
}

__device__ inline void store_four(float* row, uint32_t vocab_size, uint32_t token, const float (&from)[4])
{
    if (vocab_size % 4 == 0 && token < vocab_size) {
        *reinterpret_cast<float4*>(row + token) = make_float4(from[0], from[1], from[2], from[3]);
    } else {
#pragma unroll
        for (uint32_t i = 0; i < 4; i++)
            if (token + i < vocab_size) row[token + i] = from[i];
    }
}

__shared__ Scores shared;

// One thread changes what all share.
template <typename F> __device__ inline void change(F f)
{
    __syncthreads();  // nobody reads it still
    if (threadIdx.x == 0) f(shared);
    __syncthreads();  // or yet
}

// The tokens up to the last rank, when they are few.
struct List {
    float scores[max_listed];
    uint32_t tokens[max_listed];
    uint32_t n;  // that there would be, were there room
};

__shared__ List list;

struct Four {
    float scores[4];
    uint32_t tokens[4];
};

// Four tokens of a chunk, of the row or of the list; their scores are NaN past the last one.
__device__ inline void load_chunk(const Scores& scores, uint32_t chunk, Four& to)
{
    if (scores.is_listed) {
#pragma unroll
        for (uint32_t i = 0; i < 4; i++) {
            const uint32_t entry = chunk * chunk_len + 32 * i + lane_index();
            to.scores[i] = entry < scores.n ? list.scores[entry] : NAN;
            to.tokens[i] = entry < scores.n ? list.tokens[entry] : 0;
        }
    } else {
        const uint32_t token = chunk * chunk_len + 4 * lane_index();
        load_four(scores.row, scores.vocab_size, token, NAN, to.scores);
#pragma unroll
        for (uint32_t i = 0; i < 4; i++) to.tokens[i] = token + i;
    }
}

// Calls f(chunk, four) for each four tokens; the lanes of a warp stay together.
template <typename F> __device__ inline void for_each_four(const Scores& scores, F f)
{
    const uint32_t n_chunks = ceil_div(scores.n, chunk_len);
    for (uint32_t chunk = warp_index(); chunk < n_chunks;) {
        Four four, next;
        load_chunk(scores, chunk, four);
        load_chunk(scores, chunk + n_warps, next);  // under way at the same time
#pragma unroll 1
        for (uint32_t i = 0; i < 2 && chunk < n_chunks; i++) {
            f(chunk, four);
            four = next;
            chunk += n_warps;
        }
    }
}

// Lists the tokens up to the last rank, if they are not too many.
__device__ __noinline__ void shrink()
{
    change([](Scores&) { list.n = 0; });
    const Scores scores = shared;
    for_each_four(scores, [&](uint32_t, const Four& four) {
#pragma unroll
        for (uint32_t i = 0; i < 4; i++) {
            const bool is_left = scores.is_left(four.scores[i], four.tokens[i]);
            const uint32_t lanes = __ballot_sync(~0u, is_left);
            if (lanes == 0) continue;
            uint32_t entry = 0;
            if (lane_index() == 0) entry = atomicAdd(&list.n, __popc(lanes));
            entry = __shfl_sync(~0u, entry, 0) + __popc(lanes & ((1u << lane_index()) - 1));
            if (is_left && entry < max_listed) {
                list.scores[entry] = four.scores[i];
                list.tokens[entry] = four.tokens[i];
            }
        }
    });
    change([](Scores& it) {
        it.is_listed = list.n <= max_listed;
        it.n = it.is_listed ? list.n : it.vocab_size;
    });
}

__device__ uint64_t select(uint64_t need);

// Lists the k likeliest tokens and not many more. Each thread knows the best of its own; k of them are as good as the
// k-th of those, so no token after it is needed.
__device__ __noinline__ void shortlist(uint32_t k)
{
    if (k > block_size) return;
    float best = -INFINITY;
    uint32_t best_token = 0;
    for_each_four(shared, [&](uint32_t, const Four& four) {
#pragma unroll
        for (uint32_t i = 0; i < 4; i++) {
            best_token = four.scores[i] > best ? four.tokens[i] : best_token;
            best = fmaxf(best, four.scores[i]);
        }
    });
    list.scores[threadIdx.x] = best;
    list.tokens[threadIdx.x] = best_token;
    change([](Scores& it) {
        it.is_listed = true;
        it.n = block_size;
    });
    const uint64_t last = select(k);
    change([&](Scores& it) {
        it.unlist();
        it.set_last(last);
    });
    shrink();
}

// Says what the tokens of each chunk amount to, of the row or of the list.
__device__ __noinline__ void fill_chunks()
{
    const Scores scores = shared;
    for_each_four(scores, [&](uint32_t chunk, const Four& four) {
        uint64_t sum = 0;
#pragma unroll
        for (uint32_t i = 0; i < 4; i++) sum += scores.amount(four.scores[i], four.tokens[i]);
        sum = warp_sum(sum);
        if (lane_index() == 0) bins.chunks[chunk] = sum;
    });
}

// What all tokens amount to.
__device__ inline uint64_t total()
{
    fill_chunks();
    return bins.find_chunk([](uint64_t) { return 1; });
}

constexpr uint32_t token_bits = 18;  // of an id: the launcher lets no more tokens in

// The first digit of a distance in order: how long it is, and the two bits after its first.
__device__ inline uint32_t first_digit(uint32_t distance)
{
    const uint32_t log = 31 - __clz(distance | 2);
    return distance < 4 ? distance : 4 * (log - 1) + (distance >> (log - 2)) % 4;
}

// The bits of the distances with that first digit that are not known from it.
__device__ inline uint32_t n_unknown_bits(uint32_t digit) { return digit < 4 ? 0 : digit / 4 - 1; }

// The least of the distances with that first digit.
__device__ inline uint32_t least_distance(uint32_t digit)
{
    return digit < 4 ? digit : (4 + digit % 4) << n_unknown_bits(digit);
}

// The rank up to which tokens must be taken, from the likeliest on, until their amounts reach `need`; the last that
// amounts to something if they do not. Leaves a shorter list, if it can.
__device__ __noinline__ uint64_t select(uint64_t need)
{
    const uint64_t likeliest = rank_of(shared.max, 0);  // ranks count from it on
    uint64_t prefix = 0;       // the digits found
    uint32_t n_unknown = 64;   // bits after them
    for (;;) {
        const bool is_first = n_unknown == 64;
        const uint32_t shift = n_unknown > 32    ? max(n_unknown - digit_bits, 32)
                               : n_unknown == 32 ? token_bits - digit_bits
                                                 : n_unknown - min(n_unknown, digit_bits);
        const uint64_t is_known = is_first ? 0 : ~0ull << n_unknown;
        const Scores scores = shared;
        for_each_four(scores, [&](uint32_t, const Four& four) {
#pragma unroll
            for (uint32_t i = 0; i < 4; i++) {
                const uint64_t rank = rank_of(four.scores[i], four.tokens[i]) - likeliest;
                const bool is_in = (rank & is_known) == prefix;
                const uint32_t amount = is_in ? scores.amount(four.scores[i], four.tokens[i]) : 0;
                if (amount == 0) continue;
                bins.add(is_first ? first_digit(uint32_t(rank >> 32)) : uint32_t(rank >> shift) % n_bins, amount);
            }
        });
        bins.find([&](uint64_t) { return need; });
        if (bins.found == none) return scores.last();
        n_unknown = is_first ? 32 + n_unknown_bits(bins.found) : shift;
        prefix |= is_first ? uint64_t(least_distance(bins.found)) << 32 : uint64_t(bins.found) << shift;
        need -= bins.before;
        // All that begin like this are needed if even the last of them is. Once the order is known they are equals.
        const uint64_t start = likeliest + prefix, end = likeliest + (prefix | ~(~0ull << n_unknown));
        const uint32_t least = n_unknown > 32 ? 1 : scores.amount(logit_of(start), uint32_t(start));
        const uint64_t last = end < start ? scores.last() : min(end, scores.last());  // it may be past all ranks
        if (bins.within - need < least) return last;
        if (is_first && !scores.is_listed) {
            change([&](Scores& it) { it.set_last(last); });
            shrink();
        }
    }
}

// The same among the tokens of the list, by their ids: the token at which their amounts reach `need`.
__device__ inline uint32_t select_id(uint64_t need)
{
    const Scores scores = shared;
    uint32_t prefix = 0;
    for (uint32_t n_unknown = token_bits; n_unknown > 0;) {
        const uint32_t shift = n_unknown - min(n_unknown, digit_bits);
        for_each_four(scores, [&](uint32_t, const Four& four) {
#pragma unroll
            for (uint32_t i = 0; i < 4; i++) {
                const bool is_in = four.tokens[i] >> n_unknown == prefix >> n_unknown;
                const uint32_t amount = is_in ? scores.amount(four.scores[i], four.tokens[i]) : 0;
                if (amount != 0) bins.add((four.tokens[i] >> shift) % n_bins, amount);
            }
        });
        bins.find([&](uint64_t) { return need; });
        prefix |= bins.found << shift;
        need -= bins.before;
        n_unknown = shift;
    }
    return prefix;
}

// The token at which the amounts, added in the order of the ids, exceed a random share of their sum.
__device__ inline uint32_t pick(uint64_t random)
{
    fill_chunks();
    uint64_t need;
    bins.find_chunk([&](uint64_t total) { return need = __umul64hi(random, total) + 1; });
    if (shared.is_listed) return select_id(need);

    const Scores scores = shared;
    uint32_t token = bins.found * chunk_len + 4 * lane_index();
    float four[4];
    load_four(scores.row, scores.vocab_size, token, NAN, four);
    uint64_t amounts[4], sum = 0;
#pragma unroll
    for (uint32_t i = 0; i < 4; i++) sum += amounts[i] = scores.amount(four[i], token + i);
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
