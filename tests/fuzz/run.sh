#!/bin/sh
# Runs fuzz targets one after the other under libFuzzer and tells of each: runs, coverage (libFuzzer's
# `ft`, features reached), seconds, crashes. Exits 1 when an input broke a promise, and names it.
#
# usage: run.sh BUILD SECONDS CORPUS TARGET...
#        SECONDS for all targets together; CORPUS: a directory whose <target>/ grows from run to run,
#        or '' for one that is forgotten. Seeds are tests/fuzz/corpus/<target>/.
set -u

build=$1
seconds=$2
corpus=$3
shift 3
here=$(dirname "$0")
kept=$build/fuzz/crashes
each=$((seconds / $#))
[ "$each" -gt 0 ] || each=1
work=$(mktemp -d -p /dev/shm tidegate-fuzz-XXXXXX 2>/dev/null || mktemp -d)
export FUZZ_DIRECTORY="$work"
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
mkdir -p "$kept"

# What a target may need at once; the ledger of `life` and the core of `request` map more than the rest.
export ASAN_OPTIONS="${ASAN_OPTIONS:-}:detect_leaks=1:quarantine_size_mb=32"
export UBSAN_OPTIONS="${UBSAN_OPTIONS:-}:print_stacktrace=1"

failed=0
printf '%-10s %12s %10s %8s %8s\n' target runs ft seconds crashes
for target in "$@"; do
    grown=${corpus:-$work}/$target
    log=$work/$target.log
    regressions=$here/regressions/$target
    [ -d "$regressions" ] || regressions=
    mkdir -p "$grown"
    echo "$target: $each s" >&2
    # shellcheck disable=SC2086 # an empty name is no argument
    "$build/fuzz/$target" -dict="$here/$target.dict" -max_len=4096 -max_total_time="$each" \
        -timeout=20 -rss_limit_mb=3072 -print_final_stats=1 -artifact_prefix="$kept/$target-" \
        "$grown" "$here/corpus/$target" $regressions >"$log" 2>&1
    status=$?
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    took=$(sed -n 's/^stat::.*//; s/^Done [0-9]* runs in \([0-9]*\) second.*/\1/p' "$log")
    ft=$(sed -n 's/.* ft: \([0-9]*\) .*/\1/p' "$log" | tail -n 1)
    printf '%-10s %12s %10s %8s %8s\n' "$target" "${runs:--}" "${ft:--}" "${took:--}" \
        "$([ "$status" -eq 0 ] && echo 0 || echo 1)"
    if [ "$status" -ne 0 ]; then
        failed=1
        sed -n '/ERROR\|SUMMARY\|runtime error\|\.c:[0-9]*: \|broken promise\|^    #/p' "$log" |
            head -n 40 | sed 's/^/    /'
        # Without an input the program failed by itself: then all that it said counts.
        input=$(sed -n 's/.*Test unit written to //p' "$log" | tail -n 1)
        [ -n "$input" ] || tail -n 20 "$log" | sed 's/^/    /'
        echo "    input: ${input:-none}; again with: $build/fuzz/$target ${input:-}"
        echo "    keep it as a file of $here/regressions/$target/, and make fuzz-replay"
    fi
done
exit "$failed"
