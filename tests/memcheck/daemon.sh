#!/bin/sh
# The daemon under valgrind's memcheck, for TG_DAEMON_WRAPPER (tests/lib/daemon.c).
#
# Valgrind's address space ends long before the default size of the database's map: a smaller one is
# said first, so that a test's own is the one that holds.
#
# usage: tests/memcheck/daemon.sh TIDEGATED ARGUMENT...
program=$1
shift
# shellcheck disable=SC2086 # the options are words
exec valgrind $TG_MEMCHECK "$program" --set storage.map_gib=8 "$@"
