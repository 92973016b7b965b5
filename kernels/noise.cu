// Fills a weight with noise, where the products read it (tiles.cuh): a model of that shape without its weights.
//
//   tiles  [n_row_tiles, n_groups, 2, 32, 8]  of a matrix [n_out, n_in], n_in a multiple of 8
//
// An element is a function of the seed, its row and its column (src/noise.rs says which, on the host): of either sign,
// of sizes spread over eight powers of two below 2^-4, and never zero. `pair_distance` is that of tile.cu. Rows and
// columns beyond the matrix are zero, as everywhere.
//
// Right for every grid: a thread makes 16 bytes at a time, 8 elements of a row.
#include "tiles.cuh"

// Two elements from a number: fmix32 of MurmurHash3 (Appleby), whose every bit depends on every bit of the number.
__device__ inline uint32_t noise_pair(uint32_t number)
{
    number = (number ^ number >> 16) * 0x85ebca6b;
    number = (number ^ number >> 13) * 0xc2b2ae35;
    number ^= number >> 16;
    // In each half: sign and mantissa are random, the exponent is that of 2^-5 less three random bits.
    return (number & 0x807f807f) | (0x3d003d00 - (number & 0x03800380));
}

extern "C" __global__ __launch_bounds__(256) void noise(
    bf16* __restrict__ tiles, uint32_t n_out, uint32_t n_in, uint32_t pair_distance, uint32_t seed)
{
    const uint32_t n_groups = n_column_groups(n_in), n_pieces = ceil_div(n_out, tile_rows) * n_groups * 64;
    uint4* pieces = reinterpret_cast<uint4*>(tiles);  // [n_pieces]
    for (uint32_t piece = blockIdx.x * blockDim.x + threadIdx.x; piece < n_pieces; piece += gridDim.x * blockDim.x) {
        const uint32_t lane = piece % 32, half = piece / 32 % 2, row_tile = piece / 64 / n_groups;
        const uint32_t column = (piece / 64 % n_groups * 4 + lane % 4) * piece_columns;
        uint32_t row = row_tile * tile_rows + half * 8 + lane / 4;
        if (pair_distance != 0) {
            const uint32_t pair = row_tile * 8 + lane / 4;
            row = pair / pair_distance * 2 * pair_distance + pair % pair_distance + half * pair_distance;
        }
        const uint32_t first = (row * (n_in / 8) + column / 8) * 4;  // of the matrix's pairs of elements
        const bool is_inside = row < n_out && column < n_in;
        uint4 it;
        it.x = is_inside ? noise_pair(first ^ seed) : 0;
        it.y = is_inside ? noise_pair((first + 1) ^ seed) : 0;
        it.z = is_inside ? noise_pair((first + 2) ^ seed) : 0;
        it.w = is_inside ? noise_pair((first + 3) ^ seed) : 0;
        pieces[piece] = it;
    }
}
