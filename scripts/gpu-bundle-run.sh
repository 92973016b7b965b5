#!/usr/bin/env bash
# Runs doctor, all tests and a benchmark of the gale beside this file, on the machine's GPU.
#
#   run.sh OUT [DEVICE]    DEVICE as for `gale --device`: cuda (the default), cuda:N or emulator
#
# Needs Linux on x86-64 with gzip and, unless DEVICE is emulator, an NVIDIA driver. Each step has a time limit, and one that
# fails does not keep the others from running. Writes OUT/summary.md and a log a step; exits with 1 if a step failed.
# MODEL=DIR measures that model, not the tiny one of the bundle; GALE_SMOLLM2=DIR (what scripts/get-model makes) adds the
# test of that model, which is skipped without it.
set -uo pipefail

if [ $# -lt 1 ] || [ $# -gt 2 ]; then
    echo "usage: run.sh OUT [cuda|cuda:N|emulator]" >&2
    exit 2
fi
mkdir -p "$1" || exit
out=$(cd "$1" && pwd)
if [ -n "${MODEL:-}" ]; then MODEL=$(cd "$MODEL" && pwd) || exit; fi
if [ -n "${GALE_SMOLLM2:-}" ]; then GALE_SMOLLM2=$(cd "$GALE_SMOLLM2" && pwd) || exit; fi
device=${2:-cuda}
cd "$(dirname "$0")" || exit
for packed in bin/*.gz lib/*.gz tests/*.gz; do
    [ ! -e "$packed" ] || gunzip "$packed" || exit
done

export GALE_DEVICE=$device GALE_TEST_DEVICE=$device GALE_GOLDEN=$PWD/golden
if [ "$device" != emulator ]; then export REQUIRE_GPU=1; fi

model=${MODEL:-golden/synth/mis_w16_gqa2_hd128}
n_failed=0
summary=$out/summary.md

# step NAME LIMIT_S COMMAND...
step() {
    local name=$1 limit_s=$2 log=$out/$1.log start=$SECONDS code=0 result last
    shift 2
    echo "== $name"
    timeout --kill-after 10 "$limit_s" "$@" >"$log" 2>&1 </dev/null || code=$?
    case $code in
        0) result=ok ;;
        124 | 137) result="stopped after $limit_s s" ;;
        *) result="exit $code" ;;
    esac
    if [ "$code" != 0 ]; then
        n_failed=$((n_failed + 1))
        tail -n 20 "$log"
    fi
    last=$(grep '^test result:' "$log" | tail -n 1)
    echo "   $result, $((SECONDS - start)) s"
    echo "| $name | $result | $((SECONDS - start)) | ${last//|/\\|} |" >>"$summary"
}

{
    echo "# gale $(cat commit) on $device"
    echo
    echo "- $(date -u '+%Y-%m-%d %H:%M UTC'), $(uname -srm), $(nproc) processors"
    nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.mem --format=csv,noheader 2>/dev/null | sed 's/^/- /'
    echo
    echo '| step | result | s | tests |'
    echo '| --- | --- | --- | --- |'
} >"$summary"

step doctor 120 bin/gale doctor --device "$device"
for test in tests/*; do
    step "$(basename "$test")" 900 "$test"
done
step bench 900 bin/gale bench -m "$model" --device "$device"

for name in doctor bench; do
    printf '\n## %s\n\n```\n' "$name"
    cat "$out/$name.log"
    echo '```'
done >>"$summary"

echo "$summary, steps that failed: $n_failed"
[ "$n_failed" = 0 ]
