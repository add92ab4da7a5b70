#!/bin/sh
# The daemon itself under ThreadSanitizer, with the network, its timers and its writer: three cores,
# every story that tidegate-load can play, one reader of the outbox that acks and one that does not, one
# of the admin listener's stream that asks for everything else with each snapshot, then a drain and a start on what they left. Lanes fill early and the outbox keeps little, so that
# both have work to do.
#
# Prints every race that was found. Exits 1 for one, or when an audit or the database is not right.
#
# usage: scripts/tsan_daemon.sh DAEMON_BUILD TOOLS_BUILD
set -eu

daemon_build=${1:?usage: scripts/tsan_daemon.sh DAEMON_BUILD TOOLS_BUILD}
tools=${2:?usage: scripts/tsan_daemon.sh DAEMON_BUILD TOOLS_BUILD}
dir=$(mktemp -d /tmp/tidegate-tsan.XXXXXX)
daemon=''
readers=''

cleanup() {
    for pid in $readers; do kill "$pid" 2>/dev/null || true; done
    [ -z "$daemon" ] || kill -9 "$daemon" 2>/dev/null || true
    rm -rf "$dir"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

ctl() { "$tools/tidegatectl" --server "$server" "$@"; }

daemon_start() {
    : >"$dir/ready"
    TSAN_OPTIONS="second_deadlock_stack=1:log_path=$dir/race" "$daemon_build/tidegated" \
        --data-dir "$dir/data" --listen 127.0.0.1:0 --admin-listen 127.0.0.1:0 --threads 3 --set server.lane_backlog=64 \
        --set engine.orders_max=3000000 --set engine.holdings_max=3000000 \
        --set engine.timers_max=3000000 --set storage.map_gib=4 --set events.keep_s=2 \
        --set events.keep_mib=1 >"$dir/ready" 2>"$dir/daemon.log" &
    daemon=$!
    while ! grep -q ready "$dir/ready"; do
        kill -0 "$daemon" 2>/dev/null || { cat "$dir/daemon.log" >&2; exit 1; }
        sleep 0.05
    done
}
daemon_stop() {
    kill "$daemon"
    wait "$daemon" || { echo "  the daemon exited with $?" >&2; status=1; }
    daemon=''
}

daemon_start
server=$(sed 's/.* ready on \([^ ]*\) .*/\1/' "$dir/ready")

ctl events group-create tsan >/dev/null
ctl events tail --group tsan --follow --ack >"$dir/events" 2>"$dir/events.log" &
readers=$!
ctl events tail --follow >/dev/null 2>&1 &
readers="$readers $!"
admin=$(sed 's/.* admin=\([^ ]*\).*/\1/' "$dir/ready")
python3 - "http://$admin" >"$dir/admin" 2>&1 <<'END' &
import sys, urllib.request

stream = urllib.request.urlopen(sys.argv[1] + "/api/stream")
while stream.readline():
    for path in ("/metrics", "/api/sales", "/api/alerts", "/readyz", "/"):
        urllib.request.urlopen(sys.argv[1] + path).read()
    print("asked", flush=True)
END
readers="$readers $!"

status=0
play() { # SCENARIO CONNECTIONS PIPELINE
    if "$tools/tidegate-load" --server "$server" --scenario "$1" --connections "$2" \
        --pipeline "$3" --duration 3s --seed 1 >"$dir/report" 2>&1; then
        echo "  $1 of $2: $(sed -n 's/^ *audit *//p' "$dir/report" | head -n 1)"
    else
        echo "  $1 of $2 failed:" >&2
        cat "$dir/report" >&2
        status=1
    fi
}
for scenario in cart lifecycle groupbuy ingest seckill; do
    play "$scenario" 12 8
done
# A lone caller's core makes the commits itself, and hands them to the writer and back.
play lifecycle 1 1

for pid in $readers; do kill "$pid" 2>/dev/null || true; done
readers=''
daemon_stop
# Once more: recovery reads on one thread and restores the engine on another.
daemon_start
echo "  recovery: $(sed -n 's/.* recovered \(.*\) in .*/\1/p' "$dir/daemon.log")"
daemon_stop
[ -s "$dir/events" ] || { echo '  no event was read' >&2; cat "$dir/events.log" >&2; status=1; }
grep -q asked "$dir/admin" || { echo '  the admin listener was not read' >&2; cat "$dir/admin" >&2; status=1; }
echo "  $(wc -l <"$dir/events") events were read as they came"
for race in "$dir"/race.*; do
    [ ! -e "$race" ] || { cat "$race" >&2; status=1; }
done
"$tools/tidegatectl" verify --data-dir "$dir/data" >"$dir/verify" 2>&1 || {
    cat "$dir/verify" >&2
    status=1
}
[ "$status" -eq 0 ] && echo '  no race; every audit passed and the database is right'
exit "$status"
