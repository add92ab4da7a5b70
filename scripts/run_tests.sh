#!/bin/sh
# Runs Criterion test programs one after the other and counts: the last line is
# "N passed, N failed". Exits 1 when a test failed, a program died, or nothing ran.
#
# usage: run_tests.sh SECONDS PROGRAM...     (SECONDS: the most that one program may take)
#
# With TG_TEST_WRAPPER each program is run by that one, such as tests/memcheck/unit.sh.
set -u

limit=$1
shift
passed=0
failed=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT

for program in "$@"; do
    timeout --kill-after=5 "$limit" ${TG_TEST_WRAPPER:-} "$program" --color=never >"$log" 2>&1
    status=$?
    # [====] Synthesis: Tested: 5 | Passing: 5 | Failing: 0 | Crashing: 0
    counts=$(sed -n 's/.*Tested: *\([0-9]*\) *| *Passing: *\([0-9]*\).*/\1 \2/p' "$log" | tail -n 1)
    tested=${counts% *}
    ok=${counts#* }
    if [ -z "$counts" ]; then
        tested=1
        ok=0
    elif [ "$status" -ne 0 ] && [ "$tested" -eq "$ok" ]; then
        tested=$((tested + 1)) # the tests passed and the program failed: a leak, a time-out
    fi
    passed=$((passed + ok))
    failed=$((failed + tested - ok))
    if [ "$status" -eq 0 ]; then
        printf 'ok    %-40s %s tests\n' "$(basename "$program")" "$ok"
    else
        printf 'FAIL  %-40s exit %s, %s of %s passed\n' "$(basename "$program")" "$status" "$ok" "$tested"
        sed 's/^/      /' "$log"
    fi
done
[ "$passed" -gt 0 ] || failed=$((failed + 1))
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
