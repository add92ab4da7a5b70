#!/bin/sh
# A Criterion program under valgrind's memcheck, for TG_TEST_WRAPPER (scripts/run_tests.sh): each of
# its tests is a child.
#
# usage: tests/memcheck/unit.sh PROGRAM ARGUMENT...
# shellcheck disable=SC2086 # the options are words
exec valgrind $TG_MEMCHECK --trace-children=yes "$@"
