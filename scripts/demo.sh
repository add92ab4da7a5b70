#!/bin/sh
# The demo: a seckill of 10,000 units, a million attempts by 200,000 users, and a crash in the middle.
#
# Starts a daemon on an empty directory, lets tidegate-load play the sale, kills the daemon with
# SIGKILL while the units are going, starts it again on the same directory, lets the sale finish, and
# shows the proof: the audit of every answer, and an offline check of the whole database.
#
# usage: scripts/demo.sh BUILD
set -eu

build=${1:?usage: scripts/demo.sh BUILD}
stock=10000
users=200000
attempts=1000000
rate=100000
dir=$(mktemp -d /tmp/tidegate-demo.XXXXXX)
daemon=''
load=''

cleanup() {
    [ -z "$load" ] || kill "$load" 2>/dev/null || true
    [ -z "$daemon" ] || kill -9 "$daemon" 2>/dev/null || true
    rm -rf "$dir"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

# start ADDRESS: starts the daemon and waits until it is ready.
start() {
    : >"$dir/ready"
    "$build/tidegated" --data-dir "$dir/data" --listen "$1" --threads 1 >"$dir/ready" \
        2>>"$dir/daemon.log" &
    daemon=$!
    while ! grep -q ready "$dir/ready"; do
        kill -0 "$daemon" 2>/dev/null || { cat "$dir/daemon.log" >&2; exit 1; }
        sleep 0.01
    done
    server=$(sed 's/.* ready on \([^ ]*\) .*/\1/' "$dir/ready")
}

ctl() { "$build/tidegatectl" --server "$server" "$@"; }

# Units reserved in the one sale there is.
reserved() {
    sale=$(ctl sale list --json 2>/dev/null | sed -n 's/.*"sale_id": *"\([0-9]*\)".*/\1/p' | head -n 1)
    [ -n "$sale" ] || { echo 0; return; }
    ctl sale show "$sale" --json 2>/dev/null |
        sed -n 's/.*"reserved_units": *\([0-9]*\).*/\1/p' | head -n 1 | grep . || echo 0
}

echo "Tidegate demo: $stock units, $users users, $attempts attempts, one crash. Under a minute."
echo
start 127.0.0.1:0
echo "1. A daemon listens on $server, on an empty data directory."

"$build/tidegate-load" --server "$server" --scenario seckill --stock $stock --users $users \
    --attempts $attempts --connections 64 --pipeline 16 --batch 1 --rate $rate --duration 5m \
    --seed 1 --json "$dir/report.json" >"$dir/report.txt" 2>"$dir/load.log" &
load=$!
echo "2. tidegate-load opens a sale and sends $rate orders a second over 64 connections."

units=0
while [ "$units" -lt $((stock / 5)) ] && kill -0 "$load" 2>/dev/null; do units=$(reserved); done
kill -9 "$daemon"
wait "$daemon" 2>/dev/null || true
echo "3. SIGKILL, with some $units units taken, the last of them not on the disk and not answered yet."

start "$server"
recovery=$(sed -n 's/.*\(recovered .*\); every promise.*/\1/p' "$dir/daemon.log" | tail -n 1)
echo "4. Started again on the same directory: $recovery."
echo "   The load generator reconnects and sends every unanswered order again, under its old id."
echo

status=0
wait "$load" || status=$?
load=''
cat "$dir/report.txt"
[ "$status" -eq 0 ] || cat "$dir/load.log" >&2
echo

kill "$daemon"
wait "$daemon" || { echo "the daemon did not drain" >&2; exit 1; }
daemon=''
echo "5. SIGTERM: the daemon drained and exited 0. The whole database, checked offline:"
echo
"$build/tidegatectl" verify --data-dir "$dir/data" || status=1
echo
if [ "$status" -eq 0 ]; then
    echo "Every promise held: never oversold, nothing accepted lost, nothing doubled, through a crash."
else
    echo "A PROMISE WAS BROKEN: see above." >&2
fi
exit "$status"
