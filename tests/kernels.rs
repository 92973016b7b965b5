//! Every kernel against f64, on random shapes that straddle tiles, warps and the ring.

mod common;

mod kernels {
    mod copy;
    mod embed;
    mod rms_norm;
    mod matvec;
    mod matmul;
    mod rope;
    mod attention;
    mod ring_write;
    mod swiglu;
    mod argmax;
    mod advance;
    mod sample;
}
