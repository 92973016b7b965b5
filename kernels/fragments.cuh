// Operands of tensor cores on their way: from global to shared memory, from there to registers, and multiplied.
//
// Shared memory holds tiles of 16-bit elements. The 16-byte pieces of a row change places by xor, so that the same piece
// of eight rows, which ldmatrix takes, is in eight different sets of banks, and so are four neighbouring pieces of two
// rows, which eight lanes load at once, and so is a row:
//
//   row 0   piece 0 1 2 3 4 5 6 7         row 2   piece 1 0 3 2 5 4 7 6
//   row 1   piece 4 5 6 7 0 1 2 3         ..
#pragma once
#include "async_copy.cuh"
#include "mma.cuh"

// A number, so that what follows from it is computed here: the compiler would do it at the kernel's beginning and keep
// the results in registers, which are all needed.
__device__ inline uint32_t here(uint32_t it)
{
    asm volatile("" : "+r"(it));
    return it;
}

// A tile [n_rows, n_dims] in shared memory; n_dims a multiple of 64.
template <uint32_t n_dims> struct SharedTile {
    uint32_t address;

    static constexpr uint32_t row_bytes = 2 * n_dims;

    // Of a row's elements 8 * piece and on.
    __device__ uint32_t at(uint32_t row, uint32_t piece) const
    {
        return address + row * row_bytes + (piece ^ (row % 2 * 4 + row / 2 % 4)) * 16;
    }
};

// The address of two pieces further, `i` times, from one with an even piece: rows are aligned, so that a bit of the
// piece is a bit of the address.
__device__ inline uint32_t piece_pair(uint32_t address, uint32_t i) { return address ^ i * 32; }

// The same of four pieces, from one of the first four.
__device__ inline uint32_t four_pieces(uint32_t address, uint32_t i) { return address ^ i * 64; }

// Four 8x8 matrices with rows and columns exchanged: lane 8*i + j has the address of row j of matrix i, and gets the rows
// 2*c and 2*c + 1 of column g of each, with lane = 4*g + c. #warp-level-matrix-instructions-ldmatrix
__device__ inline void load_transposed(uint32_t (&to)[4], uint32_t address)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(address)
                 : "memory");
}

// 16 bytes of shared memory, and four.
__device__ inline uint4 load_shared(uint32_t address)
{
    uint4 it;
    asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(it.x), "=r"(it.y), "=r"(it.z), "=r"(it.w)
                 : "r"(address)
                 : "memory");
    return it;
}

__device__ inline void store_shared(uint32_t address, uint32_t it)
{
    asm volatile("st.shared.u32 [%0], %1;" : : "r"(address), "r"(it) : "memory");
}

// 2^x; results below 2^-126 become 0, and 2^0 is 1. #floating-point-instructions-ex2
__device__ inline float exp2_approx(float x)
{
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
