#!/bin/sh
# Test programs under valgrind's memcheck: the unit tests themselves, the daemons of the integration
# tests. Whatever memcheck reports fails the run, whether a test noticed or not. A test that fails
# here and passes in `make check` was too slow for what it waits for: it is shown, and is no finding.
#
# Leaks are LeakSanitizer's (make asan): memcheck would look through gigabytes of a daemon's mapped
# and untouched tables for pointers.
#
# Exits 1 when memcheck found something, 3 when no program ran under it.
#
# usage: tests/memcheck/run.sh REPORTS UNIT_PROGRAM... -- INTEGRATION_PROGRAM...
set -u

reports=${1:?usage: tests/memcheck/run.sh REPORTS UNIT_PROGRAM... -- INTEGRATION_PROGRAM...}
shift
units=''
while [ $# -gt 0 ] && [ "$1" != -- ]; do
    units="$units $1"
    shift
done
[ $# -eq 0 ] || shift

rm -rf "$reports"
mkdir -p "$reports" || exit 3
reports=$(cd "$reports" && pwd)
# The lock is handed round in turn, so that no thread of a daemon starves the others.
export TG_MEMCHECK="-q --leak-check=no --fair-sched=yes --num-callers=24 --error-exitcode=99 \
    --error-markers=MEMCHECK-FOUND,MEMCHECK-END --suppressions=tests/memcheck/memcheck.supp \
    --log-file=$reports/%p"

# shellcheck disable=SC2086 # the programs are words
[ -z "$units" ] || TG_TEST_WRAPPER=tests/memcheck/unit.sh scripts/run_tests.sh 1800 $units
[ $# -eq 0 ] || TG_DAEMON_WRAPPER=tests/memcheck/daemon.sh scripts/run_tests.sh 1800 "$@"

processes=$(find "$reports" -type f | wc -l)
found=$(cat "$reports"/* 2>/dev/null | grep -c MEMCHECK-FOUND)
[ "$found" -eq 0 ] || grep -l MEMCHECK-FOUND "$reports"/* | xargs cat >&2
echo "memcheck: $processes processes, $found errors"
[ "$processes" -gt 0 ] || exit 3
[ "$found" -eq 0 ]
