#!/bin/sh
# Writes a seccomp profile for containers that run tidegated: the one that is installed, and io_uring.
#
# usage: container-seccomp.sh [PROFILE] >tidegate-seccomp.json
set -eu

profile=${1:-/usr/share/containers/seccomp.json}
jq '.syscalls += [{"names": ["io_uring_setup", "io_uring_enter", "io_uring_register"], "action": "SCMP_ACT_ALLOW"}]' \
    "$profile"
