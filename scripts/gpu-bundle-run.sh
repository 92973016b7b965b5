#!/usr/bin/env bash
# Tests and measures the gale beside this file on the machine's GPU, and says what it found.
#
#   run.sh OUT [quick|full]    quick, the default, ends within 4 minutes, full within 9; OUT is new or empty
#
#   OUT/results.json           everything, for programs; scripts/import-results files it in gale's repository
#   OUT/summary.md             the same for people
#   OUT/*.svg, *.gold, logs/   pictures, what the card's instructions compute, what each step printed
#
# Needs Linux on x86-64 with glibc 2.34 (of 2021) or newer, gzip and an NVIDIA driver; libcublas, of a CUDA toolkit or
# of a Python package, and python3 with torch for comparisons with them. Each step has a time limit, and one that fails
# does not keep the others from running. Exits with 1 if one failed, 2 on wrong usage.
#
#   GALE_DEVICE=cuda:1         another GPU than the first; or emulator, which tries all of this on the CPU, in small
#   GALE_SHAPE=smollm2-1.7b    another shape than mistral-7b, which takes 16 GB of device memory
#   GALE_SECONDS=100           less time for the whole of it
#   GALE_SMOLLM2=DIR           what scripts/get-model makes: adds the test of that model, which is skipped without it
set -uo pipefail
export LC_ALL=C

usage() {
    sed -n '2,/^set/{/^# \{0,1\}/s///p}' "${BASH_SOURCE[0]}"
}
fail() {
    echo "run.sh: $*" >&2
    exit 1
}
refuse() {
    echo "run.sh: $*; run.sh --help says more" >&2
    exit 2
}

case ${1-} in -h | --help) usage && exit ;; esac
[ $# -ge 1 ] && [ $# -le 2 ] || refuse "expected OUT and a mode, found $# arguments"
mode=${2-quick} device=${GALE_DEVICE:-cuda}
case $mode in
    quick) deadline=225 ;;
    full) deadline=525 ;;
    *) refuse "expected quick or full, found $mode" ;;
esac
deadline=${GALE_SECONDS:-$deadline}
[[ $deadline =~ ^[0-9]+$ ]] || refuse "GALE_SECONDS: expected a number, found $deadline"
[[ $device =~ ^(cuda(:[0-9]+)?|emulator)$ ]] || refuse "GALE_DEVICE: expected cuda, cuda:N or emulator, found $device"
mkdir -p "$1" || fail "cannot write $1"
out=$(cd "$1" && pwd) || exit
[ -z "$(ls -A "$out")" ] || fail "$out: expected a new or an empty folder, so that results do not mix; found files"
mkdir "$out/logs" || fail "cannot write $out"
if [ -n "${GALE_SMOLLM2:-}" ]; then GALE_SMOLLM2=$(cd "$GALE_SMOLLM2" && pwd) || exit; fi

cd "$(dirname "${BASH_SOURCE[0]}")" || exit
for packed in bin/*.gz lib/*.gz tests/*.gz; do
    [ ! -e "$packed" ] || gunzip "$packed" || fail "cannot unpack $packed"
done
said=$(bin/gale --version 2>&1) || fail "bin/gale cannot start; expected x86-64 Linux, glibc 2.34 or newer, found: $said"
export GALE_DEVICE=$device GALE_TEST_DEVICE=$device GALE_GOLDEN=$PWD/golden
if [ "$device" != emulator ]; then export REQUIRE_GPU=1; fi

# --- what is written ------------------------------------------------------------------------------------------------

date=$(date -u +%Y-%m-%dT%H:%M:%SZ)
host="$(uname -srm), $(nproc) processors, $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)"
card=unknown driver=unknown
n_failed=0
steps=()   # an object of JSON each
rows=()    # of the summary's table
outputs=() # steps that left OUT/NAME.json

# A string of JSON.
quoted() {
    local text
    text=$(tr -d '\000-\010\013-\037\177' <<<"$1")
    text=${text//\\/\\\\} text=${text//\"/\\\"} text=${text//$'\t'/\\t} text=${text//$'\n'/\\n}
    printf '"%s"' "$text"
}

# All that is known so far, so that a machine that goes away leaves what it has found.
write_results() { # IS_COMPLETE
    local name separator=
    {
        echo '{'
        echo "\"commit\": $(quoted "$(cat commit)"), \"date\": \"$date\", \"mode\": \"$mode\", \"device\": \"$device\","
        echo "\"card\": $(quoted "$card"), \"driver\": $(quoted "$driver"), \"host\": $(quoted "$host"),"
        echo "\"shape\": $(quoted "$shape"), \"seconds\": $SECONDS, \"is_complete\": $1, \"n_failed\": $n_failed,"
        echo "\"doctor\": $(quoted "$(cat "$out/logs/doctor.log" 2>/dev/null)"),"
        echo '"steps": ['
        (IFS=$'\n' && echo "${steps[*]}") | sed '$!s/$/,/'
        echo '],'
        echo '"outputs": {'
        for name in "${outputs[@]}"; do
            echo "$separator\"$name\":"
            cat "$out/$name.json"
            separator=,
        done
        echo '}}'
    } >"$out/results.part"
    mv "$out/results.part" "$out/results.json"
}

# table FILE DEPTH KEY...: rows of Markdown, one for each object of gale's JSON that is so many levels deep
table() {
    awk -v depth="$2" -v keys="${*:3}" '
        BEGIN { n = split(keys, key, " "); for (i = 1; i <= n; i++) is_key[key[i]] = 1 }
        match($0, /^ *"[a-z0-9_]+": /) {
            name = $1; gsub(/[":]/, "", name)
            if (match($0, /^ */) && RLENGTH == 2 * depth + 2 && name in is_key) {
                value = substr($0, index($0, ": ") + 2)
                gsub(/^"|"?,?$/, "", value)
                cell[name] = value ~ /^-?[0-9]+\.[0-9]/ ? sprintf("%.2f", value) : value == "null" ? "" : value
            }
        }
        match($0, /^ *}/) && RLENGTH == 2 * depth + 1 {
            for (i = 1; i <= n; i++) printf "| %s ", cell[key[i]]
            print "|"
            split("", cell)
        }' "$1"
}

# section TITLE PATTERN DEPTH KEY...: such a table of all outputs whose names fit
section() {
    local title=$1 pattern=$2 name found=
    shift 2
    for name in "${outputs[@]}"; do
        [[ $name == $pattern ]] || continue
        if [ -z "$found" ]; then
            printf '\n## %s\n\n' "$title"
            printf '| %s ' "${@:2}" && echo '|'
            printf '| --- %.0s' "${@:2}" && echo '|'
            found=1
        fi
        table "$out/$name.json" "$@"
    done
}

write_summary() {
    {
        echo "# gale $(cut -c -12 commit) on $card"
        echo
        if [ "$device" = emulator ]; then echo '**The emulator ran this: no time below says anything about a GPU.**'; fi
        printf -- '- %s\n' "$date, $mode, driver $driver" "$host" "$SECONDS s, steps that failed: $n_failed"
        echo
        echo '| step | result | s | tests passed | |'
        echo '| --- | --- | ---: | --- | --- |'
        printf '%s\n' "${rows[@]}"
        section "Whole model, $shape" 'bench-*' 1 test avg_ts stddev_ts ttft_ms p50_ms p99_ms gb_per_s percent_of_read \
            percent_of_copy is_spread_over_2_percent
        section 'A step, kernel by kernel' profile-step 2 kernel calls us bytes flops gb_per_s
        section 'A chunk, kernel by kernel' profile-chunk 2 kernel calls us bytes flops gb_per_s
        section 'Kernels alone, cold' 'kernel-*' 0 kernel m n k window depth p50_us p99_us gb_per_s tflops \
            percent_of_read cublas_p50_us time_ratio_to_cublas
        # Why nothing stands there, once.
        grep -hm 1 '"cublas_error": "' "$out"/kernel-*.json 2>/dev/null |
            sed -n '1s/^ *"cublas_error": "\(.*\)",*$/\n- cuBLAS: not compared, \1/p'
        section 'Attention: what a window of 4096 leaves' attention 1 n_tokens time_ratio mma_ratio
        section 'Loading' 'load-*' 0 from read_gb read_s read_gb_per_s upload_s upload_gb_per_s compile_s load_s all_s
        printf '\n## doctor\n\n```\n%s\n```\n' "$(cat "$out/logs/doctor.log")"
    } >"$out/summary.md"
}

# --- how it runs ----------------------------------------------------------------------------------------------------

# record NAME RESULT SECONDS NOTE: what became of a step
record() {
    local name=$1 result=$2 seconds=$3 note=$4 tests='' passed=null failed=null log=$out/logs/$1.log
    case $result in failed | stopped) n_failed=$((n_failed + 1)) ;; esac
    if [ -e "$log" ]; then
        tests=$(sed -nE 's/^test result:.* ([0-9]+) passed; ([0-9]+) failed.*/\1 \2/p' "$log" | tail -n 1)
    fi
    if [ -n "$tests" ]; then passed=${tests% *} failed=${tests#* }; fi
    steps+=("{\"step\": \"$name\", \"result\": \"$result\", \"seconds\": $seconds, \"tests_passed\": $passed, \
\"tests_failed\": $failed, \"note\": $(quoted "$note")}")
    rows+=("| $name | $result | $seconds | ${tests:+$passed of $((passed + failed))} | ${note//|/\\|} |")
    echo "== $name: $result, $seconds s${note:+, $note}"
    write_results false
}

# run STDOUT NAME LIMIT COMMAND...: a step, which gets LIMIT seconds, or those that are left; true if it ended well
run() {
    local stdout=$1 name=$2 limit=$3 log=$out/logs/$2.log code=0 result note=
    local start=$SECONDS left=$((deadline - SECONDS))
    shift 3
    if [ "$left" -lt 3 ]; then
        record "$name" stopped 0 'no time was left'
        return 1
    fi
    if [ "$left" -lt "$limit" ]; then limit=$left; fi
    : >"$log"
    timeout --kill-after 3 "$limit" "$@" >>"$stdout" 2>>"$log" </dev/null || code=$?
    case $code in
        0) result=ok ;;
        3) result=skipped ;; # by itself: what it needs is not there
        124 | 137) result=stopped note="after $limit s" ;;
        *) result=failed note="exit status $code" ;;
    esac
    if [ $result != ok ]; then
        tail -n 20 "$log"
        note=${note:+$note: }$(grep -vE '^(note:.*)?$' "$log" | tail -n 1)
    fi
    record "$name" $result $((SECONDS - start)) "$note"
    return $code
}

# step NAME LIMIT COMMAND...: what it prints is in logs/.
step() {
    run "$out/logs/$1.log" "$@"
}

# The same for a command that prints JSON, which is kept in OUT/NAME.json.
measure() {
    if run "$out/$1.json" "$@"; then keep "$1"; else rm -f "$out/$1.json"; fi
}

# OUT/NAME.json is whole.
keep() {
    outputs+=("$1")
    write_results false
}

skip() { # NAME REASON
    record "$1" skipped 0 "$2"
}

# --- what runs, by its worth: time may run out -----------------------------------------------------------------------

if [ "$device" = emulator ]; then
    shape=${GALE_SHAPE:-tiny} prompt=16 generate=4 window=32 depths=(48) prompts=(40)
    library=(--library lib/libcuda_emulator.so) load=tiny load_bytes=1000000
    heads='--heads 4 --kv-heads 2 --head-dim 16'
    kernels=('gate_up --m 1 --n 320 --k 64' 'residual --m 1 --n 64 --k 160' "qkv --m 1 --k 64 $heads"
        "decode_attention --m 1 --window 32 --depth 32 $heads" 'residual --m 1 --n 64 --k 64'
        'lm_head --m 1 --n 304 --k 64')
    chunks=('prefill_gate_up --m 24 --n 320 --k 64' 'prefill_residual --m 24 --n 64 --k 160'
        "prefill_attention --m 24 --window 32 --depth 32 $heads" "prefill_qkv --m 24 --k 64 $heads"
        'prefill_residual --m 24 --n 64 --k 64')
    long_chunks=('prefill_gate_up --m 40 --n 320 --k 64')
else
    shape=${GALE_SHAPE:-mistral-7b} prompt=512 generate=128 window=4096 depths=(16384 32768) prompts=(64 128 2048 8192 32768)
    library=() load=$shape load_bytes=16000000000
    kernels=('gate_up --m 1 --n 28672 --k 4096' 'residual --m 1 --n 4096 --k 14336' 'qkv --m 1 --k 4096'
        'decode_attention --m 1 --window 4096 --depth 4096' 'residual --m 1 --n 4096 --k 4096'
        'lm_head --m 1 --n 32000 --k 4096')
    chunks=('prefill_gate_up --m 512 --n 28672 --k 4096' 'prefill_residual --m 512 --n 4096 --k 14336'
        'prefill_attention --m 512 --window 4096 --depth 4096' 'prefill_qkv --m 512 --k 4096'
        'prefill_residual --m 512 --n 4096 --k 4096')
    long_chunks=("${chunks[@]/--m 512/--m 2048}")
fi
if [ "$mode" = quick ] && [ "$device" != emulator ]; then load=smollm2-135m load_bytes=400000000; fi

bench() { # NAME OPTION...
    measure "$1" 60 bin/gale bench --shape "$shape" -o json "${@:2}"
}

# Adds the folder of a Python package's libcublas to those where the dynamic linker looks.
find_cublas() {
    local packages folder
    packages=$(python3 -c 'import sysconfig; print(sysconfig.get_path("purelib"))' 2>/dev/null) || return
    folder=$(find "$packages/nvidia" -name 'libcublas.so.*' -printf '%h' -quit 2>/dev/null)
    if [ -n "$folder" ]; then libraries=(env LD_LIBRARY_PATH="${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$folder"); fi
}

# On a card a product, which alone has columns, is compared with cuBLAS's, or says that there is none.
kernel() { # "NAME OPTION..."
    local words name i more=()
    read -ra words <<<"$1"
    name=kernel-${words[0]}
    for ((i = 2; i < ${#words[@]}; i += 2)); do name+=-${words[i]}; done
    if [[ $device != emulator && $1 == *' --k '* ]]; then more=(--cublas); fi
    measure "$name" 30 "${libraries[@]}" bin/gale bench -o json --kernel "${words[@]}" "${more[@]}"
}

profile() { # NAME OPTION...
    measure "profile-$1" 60 bin/gale profile --shape "$shape" --json --svg "$out/roofline-$1.svg" "${@:2}"
}

# All of a tests/ executable; on the emulator, where make test runs them, a few seconds of it.
device_test() { # PATH
    local name limit=60 only=()
    name=$(basename "$1")
    if [ "$name" = kernels ]; then limit=90; fi
    case "$device $name" in 'emulator kernels' | 'emulator model') only=(window) ;; esac
    step "$name" $limit "$1" "${only[@]}"
}

# PyTorch and transformers on the same card, where they are installed.
compare_with_peers() {
    local limit=150 options=(--device cuda --gale bin/gale) visible=()
    if [ "$mode" = quick ]; then limit=60 options+=(--quick); fi
    case $device in
        emulator) options=(--device cpu --tiny) ;;
        cuda:*) visible=(CUDA_VISIBLE_DEVICES="${device#cuda:}" GALE_DEVICE=cuda) ;; # the only one that they see
    esac
    if [ "$limit" -gt $((deadline - SECONDS)) ]; then limit=$((deadline - SECONDS)); fi
    if ! command -v python3 >/dev/null; then
        skip peers 'there is no python3'
    elif [ ! -e peers ]; then
        skip peers 'this bundle has none'
    else
        options+=(--json "$out/peers.json" --seconds $((limit - 5)))
        step peers "$limit" env "${visible[@]}" python3 peers "${options[@]}"
        if [ -s "$out/peers.json" ]; then keep peers; fi # always whole, see there
    fi
}

# A model directory on the disk of OUT, which is loaded from there and, the second time, from memory.
load_model() {
    local dir=$out/model shard from
    if [ "$(df --output=avail -B1 "$out" | tail -n 1)" -lt "$load_bytes" ]; then
        skip load "$load needs $((load_bytes / 1000000000 + 1)) GB of disk, and $out has less"
        return
    fi
    step synth 120 sh -c 'bin/gale synth --shape "$1" -o "$2" && sync "$2"/*' sh "$load" "$dir" || return
    for shard in "$dir"/*.safetensors; do
        dd if="$shard" iflag=nocache count=0 status=none # has the system forget what it holds of the file
    done
    for from in disk memory; do
        if step "load-from-$from" 60 bin/gale generate -v -m "$dir" --ids 1 -n 1; then
            load_times $from <"$out/logs/load-from-$from.log" >"$out/load-from-$from.json"
            keep "load-from-$from"
        fi
    done
}

# The lines of `gale generate -v` as JSON: `  read  1.00 s  14.5 GB, 14.5 GB/s`, `all  1.45 s  ...`.
load_times() { # FROM
    awk -v from="\"$1\"" '
        BEGIN { put("from", from) }
        function put(key, value) { printf "%s\n  \"%s\": %s", n++ ? "," : "{", key, value }
        / s  / && match($0, /^ *[a-z -]+ [ 0-9.]* s  /) {
            name = $0; sub(/^ +/, "", name); sub(/  .*/, "", name); gsub(/[ -]/, "_", name)
            rest = $0; sub(/^ *[a-z-]+( [a-z]+)? +/, "", rest); split(rest, word, " ")
            put(name "_s", word[1])
            if (word[4] == "GB,") { put(name "_gb", word[3]); put(name "_gb_per_s", word[5]) }
        }
        END { print "\n}" }'
}

libraries=()
if [ "$device" != emulator ]; then find_cublas; fi

trap 'rm -rf "$out/model"' EXIT
if step doctor 90 bin/gale doctor; then
    card=$(sed -nE 's/^device +(.*), compute capability.*/\1/p' "$out/logs/doctor.log")
fi
if [ "$device" = emulator ]; then
    driver=none
elif smi=$(nvidia-smi --query-gpu=driver_version --format=csv,noheader 2>/dev/null); then
    driver=${smi%%$'\n'*}
fi

bench bench-begin -p "$prompt" -n "$generate"
bench bench-window -p 0 -n "$generate" -d "$window"
profile step -d $((window - 1))
profile chunk -d "$window" -p "$prompt"
for path in tests/*; do
    device_test "$path"
done
measure attention 60 bin/gale bench --attention -o json --svg "$out/attention.svg"
for it in "${kernels[@]}" "${chunks[@]}"; do
    kernel "$it"
done
if [ "$mode" = full ]; then
    for n in "${prompts[@]}"; do bench "bench-prompt-$n" -p "$n" -n 0 -r 3; done
    for n in "${depths[@]}"; do bench "bench-depth-$n" -p 0 -n "$generate" -d "$n" -r 3; done
fi
load_model
gold=$(tr -cs '[:alnum:]' - <<<"${card,,}")
step capture 60 bin/gpu-capture "${library[@]}" -o "$out/${gold%-}.gold"
if [ "$mode" = full ]; then
    for it in "${long_chunks[@]}"; do kernel "$it"; done
fi
compare_with_peers

write_results true
write_summary
echo "$out/summary.md, $SECONDS s, steps that failed: $n_failed"
[ "$n_failed" = 0 ]
