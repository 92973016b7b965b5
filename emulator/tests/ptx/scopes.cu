extern "C" __global__ void scopes(int* out, int n) {
#pragma unroll
    for (int i = 0; i < 3; i++)
        asm volatile(
            "{\n"
            "    .reg .pred done;\n"
            "    .reg .b32 t<2>;\n"
            "    mov.u32 t0, 017;\n"
            "WAIT:\n"
            "    add.s32 t0, t0, -0x1F;\n"
            "    {.reg .b16 low,high;mov.b32 {low,high}, t0;mov.b32 t1, {high,low};}\n"
            "    setp.eq.u32 done, t1, %1;\n"
            "    @done bra.uni EXIT;\n"
            "    @!done bra WAIT;\n"
            "EXIT:\n"
            "    mov.u32 %0, t1;\n"
            "}" : "=r"(out[i]) : "r"(n));
    out[3] = __shfl_xor_sync(~0u, out[4], 1) + __any_sync(~0u, n > 3) + warpSize + (int)clock64();
}
