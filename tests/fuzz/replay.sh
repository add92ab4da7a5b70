#!/bin/sh
# Gives every fuzz target its seeds and regressions, without libFuzzer. Exits 1 when one of them
# breaks a promise, and names it.
#
# usage: replay.sh BUILD TARGET...
set -u

build=$1
shift
here=$(dirname "$0")
FUZZ_DIRECTORY=$(mktemp -d -p /dev/shm tidegate-fuzz-XXXXXX 2>/dev/null || mktemp -d)
export FUZZ_DIRECTORY
trap 'rm -rf "$FUZZ_DIRECTORY"' EXIT
trap 'exit 1' INT TERM
failed=0
for target in "$@"; do
    set -- "$here/corpus/$target"
    [ -d "$here/regressions/$target" ] && set -- "$@" "$here/regressions/$target"
    if told=$(timeout --kill-after=5 120 "$build/tests/fuzz/replay_$target" "$@" 2>&1); then
        printf 'ok    %-40s %s\n' "fuzz_$target" "$(echo "$told" | tail -n 1)"
    else
        failed=1
        printf 'FAIL  %-40s\n' "fuzz_$target"
        echo "$told" | tail -n 40 | sed 's/^/      /'
    fi
done
exit "$failed"
