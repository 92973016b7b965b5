#!/bin/sh
# Compiles the .cu files of these tests to the .ptx beside them: run it after a change of one. The .ptx are kept in the
# repository, so that the tests need no nvcc. Takes the compiler from NVCC, or from .cuda (scripts/get-nvcc).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
nvcc=${NVCC:-$(find "$here/../../.cuda" -name nvcc -type f | head -n 1)}
for folder in planted correct host; do
    cd "$here/$folder"
    for file in ${*:-*.cu}; do
        [ -f "$file" ] || continue
        "$nvcc" -ptx -O3 -lineinfo -fmad=false -std=c++17 -arch=compute_80 "$file" -o "${file%.cu}.ptx"
        # Only the names of files count: paths differ from machine to machine. ISA 8.0 serves every driver since CUDA 12.
        sed -i -E 's|^(\s*\.file\s+[0-9]+ )".*/([^/"]+)"|\1"\2"|; s|^\.version .*|.version 8.0|' "${file%.cu}.ptx"
    done
done
