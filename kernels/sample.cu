// Chooses the next token, and moves the sequence on to it: the last kernel of a step.
//
//   params    [30]                   struct Params: what the request asks for
//   logits    [n_rows, vocab_size]
//   bias      [vocab_size]           read if the request has one
//   scores    [vocab_size]           scratch: the logits with bias and penalties, if there are any
//   counts    [vocab_size]           how often the request generated the token; bit 31: it is in the prompt
//   best      [n_rows]               each row's likeliest token: ~rank (sample.cuh), or 0 if there is none;
//                                    taken by this kernel, which leaves 0 in the rows up to its own
//   tokens    [n_rows]               the chosen one becomes the first
//   position  [1]                    of the first row's token; that of the chosen one afterwards
//   stop      [1]                    not 0: the sequence has ended, and nothing but `best` is touched
//   records   [n_records, 32]        in the host's memory: what was chosen, for it to read when it likes
//
// The row is that of the token before the chosen one. What the options mean and in which order they
// apply is said in src/sampler.rs. The random number is a function of seed and position.
//
// The host may launch a step before it has read the record of the one before: if that one ended the
// sequence, the step finds `stop` set.
//
// Right for every grid: one block does it.
#include "sample.cuh"

constexpr uint32_t max_eos = 16, max_top = 20, no_token = ~0u;
constexpr float log2_e = 1.44269504f;
constexpr uint32_t ignore_eos = 1, has_bias = 2, has_penalties = 4;  // flags

struct Params {
    float temperature;  // 0: the likeliest
    uint32_t top_k;     // 0: off
    float top_p, min_p;
    float repetition_penalty, frequency_penalty, presence_penalty;
    uint32_t n_top;     // tokens to record with their probabilities
    uint64_t seed;
    uint64_t end;       // the position at which there is no token any more
    uint32_t flags, n_eos;
    uint32_t eos[max_eos];
};
static_assert(sizeof(Params) == 30 * sizeof(uint32_t), "the host's words");

constexpr uint32_t not_finished = 0, finished_by_eos = 1, finished_by_end = 2, finished_by_nothing = 3;

// What the host reads. A probability is 2^((logit - max) / ln 2) / (sum / 2^31), before any option applies.
struct Record {
    uint64_t position;  // of the token; written last
    uint32_t token, finished;
    float logit, max;
    uint64_t sum;       // 0 if no probabilities were asked for
    uint64_t n_top, unused[3];
    struct { uint32_t token; float logit; } top[max_top];  // from the likeliest on
    uint64_t unused_too[4];
};
static_assert(sizeof(Record) == 32 * sizeof(uint64_t), "the host's words");

// Philox4x32-10 (Salmon et al., SC 2011), 64 random bits for each (seed, position).
__device__ uint64_t random_bits(uint64_t seed, uint64_t position)
{
    uint32_t counter[4] = {uint32_t(position), uint32_t(position >> 32), 0, 0};
    uint32_t key[2] = {uint32_t(seed), uint32_t(seed >> 32)};
    for (uint32_t round = 0; round < 10; round++) {
        const uint64_t a = uint64_t(counter[0]) * 0xd2511f53, b = uint64_t(counter[2]) * 0xcd9e8d57;
        counter[0] = uint32_t(b >> 32) ^ counter[1] ^ key[0];
        counter[1] = uint32_t(b);
        counter[2] = uint32_t(a >> 32) ^ counter[3] ^ key[1];
        counter[3] = uint32_t(a);
        key[0] += 0x9e3779b9;
        key[1] += 0xbb67ae85;
    }
    return uint64_t(counter[1]) << 32 | counter[0];
}

// The least whole number that is not below p * total, for 0 < p < 1.
__device__ uint64_t share_of(float p, uint64_t total)
{
    const uint64_t share = p < 0x1p-64f ? 1 : __float2ull_rz(p * 0x1p64f);  // exact from 2^-40 on
    return __umul64hi(share, total) + (share * total != 0);
}

// A token of those that the filters leave.
__device__ uint32_t draw(const Params& request)
{
    if (0 < request.top_k && request.top_k < shared.vocab_size) {
        change([](Scores& it) { it.is_counted = true; });
        shortlist(request.top_k);
        const uint64_t last = select(request.top_k);
        change([&](Scores& it) {
            it.is_counted = false;
            it.set_last(last);
        });
    }
    if (request.top_p < 1.f) {
        const uint64_t sum = total(), enough = share_of(request.top_p, sum);
        // All tokens that weigh less than this together fit into what is not needed: the sum is reached
        // without them, and few are left to put into bins.
        change([&](Scores& it) { it.least = uint32_t((sum - enough) >> (32 - __clz(it.vocab_size - 1))); });
        const uint64_t last = select(enough);
        change([&](Scores& it) { it.set_last(last); });
    }
    change([&](Scores& it) { it.least = __float2uint_rn(request.min_p * float(certain)); });
    return pick(shared.random);
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

// Adds bias and penalties to the logits, for all that follows, and returns the rank of the token that is the likeliest
// then; no_rank if none is possible.
__device__ __noinline__ uint64_t adjust(
    const Params& request, const float* bias, const uint32_t* counts, float* scores)
{
    const uint32_t vocab_size = shared.vocab_size;
    const float penalty = request.repetition_penalty, inverse = 1.f / penalty;
    uint64_t first = no_rank;
    for (uint32_t token = 4 * threadIdx.x; token < vocab_size; token += 4 * block_size) {
        float logits[4], biases[4] = {};
        uint32_t seen[4] = {};
        load_four(shared.row, vocab_size, token, NAN, logits);
        if (request.flags & has_bias) load_four(bias, vocab_size, token, 0.f, biases);
        if (request.flags & has_penalties) load_four(counts, vocab_size, token, 0u, seen);
#pragma unroll
        for (uint32_t i = 0; i < 4; i++) {
            float score = logits[i] + biases[i];
            if (seen[i] != 0) score *= score > 0.f ? inverse : penalty;
            const uint32_t n_generated = seen[i] & 0x7fffffff;
            if (n_generated != 0) score -= float(n_generated) * request.frequency_penalty + request.presence_penalty;
            if (is_possible(score)) first = min(first, rank_of(score, token + i));
            logits[i] = score;
        }
        store_four(scores, vocab_size, token, logits);
    }
    change([&](Scores& it) { it.row = scores; });
    return block_min(first, bins.of_warps);
}

// The likeliest tokens of the model's own distribution, in order.
__device__ void record_top(uint32_t n_top, Record& record)
{
    __shared__ uint64_t top[max_top];
    __shared__ uint32_t n_found;
    const uint64_t sum = total();
    change([&](Scores& it) {
        it.is_counted = true;
        n_found = 0;
    });
    shortlist(n_top);
    const uint64_t last = select(n_top);
    for_each_four(shared, [&](uint32_t, const Four& four) {
#pragma unroll
        for (uint32_t i = 0; i < 4; i++) {
            const uint64_t rank = rank_of(four.scores[i], four.tokens[i]);
            if (is_possible(four.scores[i]) && rank <= last) top[atomicAdd(&n_found, 1)] = rank;
        }
    });
    change([](Scores& it) {
        it.is_counted = false;
        it.unlist();
        it.set_last_possible();
    });
    if (threadIdx.x < n_found) {
        const uint64_t rank = top[threadIdx.x];
        uint32_t place = 0;
        for (uint32_t i = 0; i < n_found; i++) place += top[i] < rank;
        record.top[place] = {uint32_t(rank), logit_of(rank)};
    }
    if (threadIdx.x == 0) {
        record.sum = sum;
        record.n_top = n_found;
    }
}

__device__ bool is_eos(const Params& params, uint32_t token)
{
    bool found = false;
    for (uint32_t i = 0; i < params.n_eos; i++) found |= params.eos[i] == token;
    return found && !(params.flags & ignore_eos);
}

extern "C" __global__ __launch_bounds__(1024) void sample(
    const uint32_t* __restrict__ params, const float* __restrict__ logits, const float* __restrict__ bias,
    float* __restrict__ scores, uint32_t* __restrict__ counts, uint64_t* __restrict__ best, uint32_t* __restrict__ tokens,
    uint64_t* __restrict__ position, uint32_t* __restrict__ stop, uint64_t* __restrict__ records,
    uint32_t row, uint32_t vocab_size, uint32_t n_records)
{
    if (blockIdx.x != 0) return;
    const Params& request = *reinterpret_cast<const Params*>(params);
    const bool is_stopped = *stop != 0;
    const uint64_t next = *position + row + 1;
    uint64_t first = ~best[row];  // the rank of the likeliest
    const float max = logit_of(first);
    bins.clear();
    change([&](Scores& it) {
        it = {};
        it.row = logits + size_t(row) * vocab_size;
        it.vocab_size = it.n = vocab_size;
        it.max = max;
        it.scale = log2_e;
        it.set_last_possible();
    });
    if (threadIdx.x <= row) best[threadIdx.x] = 0;
    if (is_stopped) return;

    Record& record = reinterpret_cast<Record*>(records)[next % n_records];
    if (request.n_top != 0 && is_possible(max)) record_top(request.n_top, record);
    if (request.flags & (has_bias | has_penalties)) first = adjust(request, bias, counts, scores);
    uint32_t token = is_possible(logit_of(first)) ? uint32_t(first) : no_token;
    if (token != no_token && request.temperature > 0.f) {
        change([&](Scores& it) {
            it.max = logit_of(first);
            it.scale = log2_e / request.temperature;
            it.random = random_bits(request.seed, next);
        });
        token = draw(request);
    }

    __syncthreads();  // the record's list is written before its position, and counts are read
    if (threadIdx.x != 0) return;
    const uint32_t finished = token == no_token         ? finished_by_nothing
                              : is_eos(request, token)  ? finished_by_eos
                              : next + 1 >= request.end ? finished_by_end
                                                        : not_finished;
    if (token != no_token) {
        tokens[0] = token;
        *position = next;
        counts[token]++;
        if (request.n_top != 0) record.logit = logits[size_t(row) * vocab_size + token];
    }
    *stop = finished != not_finished;
    record.token = token;
    record.finished = finished;
    record.max = max;
    if (request.n_top == 0) record.sum = 0;
    asm volatile("st.release.sys.u64 [%0], %1;" ::"l"(&record.position), "l"(next) : "memory");
}
