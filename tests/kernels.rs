//! Every kernel against f64, on random shapes that straddle tiles, warps and the ring.

mod common;

mod kernels {
    mod product;
    mod qkv;
    mod residual;
    mod gate_up;
    mod lm_head;
    mod copy;
    mod tile;
    mod embed;
    mod embed_tiled;
    mod rms_norm;
    mod matvec;
    mod matmul;
    mod rope;
    mod attention;
    mod ring_write;
    mod swiglu;
    mod argmax;
    mod advance;
}
