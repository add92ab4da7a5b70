#!/bin/bash
# tidegated in a container of runc, under the seccomp profile that Debian brings for Podman: it must refuse to
# start and say why; and under that of docs/examples/container-seccomp.sh, where it must sell.
#
# usage: container.sh BUILD      (as root; packages runc, jq, golang-github-containers-common)
set -euo pipefail

cd "$(dirname "$0")/../.."
build=$(realpath "${1:?usage: container.sh BUILD}")
work=$(mktemp -d)
name=tidegate-$$
run=''
cleanup() {
    [ -z "$run" ] || runc --root "$work/runc" kill "$name" KILL 2>/dev/null || true
    [ -z "$run" ] || wait "$run" 2>/dev/null || true
    rm -rf "$work"
}
trap cleanup EXIT

# The program and what it is linked to, nothing else: no shell, no writable file but the data.
root=$work/root
mkdir -p "$root"/{bin,data,proc,dev,sys,tmp,etc}
install "$build/tidegated" "$root/bin/"
ldd "$build/tidegated" | grep -o '/[^ ]*' | while read -r library; do install -D "$library" "$root$library"; done

# A profile as engines write it, made what runtimes read: for this machine, and no capabilities.
bundle() { # PROFILE
    (cd "$work" && rm -f config.json && runc spec)
    jq --slurpfile profile "$1" --arg root "$root" '
        .root = {path: $root, readonly: true} | .process.terminal = false | del(.process.rlimits) |
        .process.args = ["/bin/tidegated", "--data-dir", "/data", "--listen", "127.0.0.1:0", "--threads", "1"] |
        .process.capabilities = {} | del(.linux.resources) |
        .linux.namespaces |= map(select(.type != "network" and .type != "cgroup")) |
        .mounts |= map(select(.type != "cgroup")) |
        .mounts += [{destination: "/data", type: "bind", source: ($root + "/data"), options: ["rbind", "rw"]}] |
        .linux.seccomp = ($profile[0] | {
            defaultAction, defaultErrnoRet, architectures: ["SCMP_ARCH_X86_64"],
            syscalls: [.syscalls[] |
                select(((.includes.arches // ["amd64"]) | index("amd64")) and
                       (((.excludes.arches // []) | index("amd64")) | not) and
                       ((.includes.caps // []) == [])) |
                {names, action} + (if .args == [] or .args == null then {} else {args} end) +
                (if .errnoRet == null then {} else {errnoRet} end)]})' "$work/config.json" >"$work/new.json"
    mv "$work/new.json" "$work/config.json"
}

bundle /usr/share/containers/seccomp.json
if (cd "$work" && runc --root "$work/runc" run "$name" >"$work/out" 2>&1); then
    echo "FAIL  it started without io_uring"
    exit 1
fi
grep -q 'io_uring' "$work/out" && grep -q 'seccomp' "$work/out" || { cat "$work/out"; exit 1; }
echo "ok    the profile as installed: $(sed 's/^tidegated: //' "$work/out" | head -c 100)..."

docs/examples/container-seccomp.sh >"$work/profile.json"
bundle "$work/profile.json"
(cd "$work" && exec runc --root "$work/runc" run "$name") >"$work/ready" 2>"$work/log" &
run=$!
until grep -q ready "$work/ready"; do
    kill -0 "$run" 2>/dev/null || { cat "$work/log"; exit 1; }
    sleep 0.05
done
server=$(sed 's/.* ready on \([^ ]*\) .*/\1/' "$work/ready")
"$build/tidegate-load" --server "$server" --scenario seckill --attempts 20000 --duration 1m >"$work/report" ||
    { cat "$work/report" "$work/log"; exit 1; }
echo "ok    with io_uring it sells: $(grep -m1 accepted "$work/report" | tr -s ' ')"
runc --root "$work/runc" kill "$name" TERM
wait "$run" || { cat "$work/log"; exit 1; }
run=''
"$build/tidegatectl" verify --data-dir "$root/data" >"$work/verify" || { cat "$work/verify"; exit 1; }
echo 'ok    it drains, and every promise holds'
