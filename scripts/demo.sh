#!/bin/sh
# The demo, in two acts, each with a crash in the middle.
#
# A seckill: 10,000 units, a million attempts by 200,000 users. tidegate-load plays the sale, the
# daemon is killed with SIGKILL while the units are going, starts again on the same directory, and the
# sale goes on to its end. A group-buy: one team by hand, from its opening to the refunds of its
# ladder price; then thousands of teams that form, fail, leave and race, through another SIGKILL.
# Each ends with the proof: the audit of every answer, and an offline check of the whole database.
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

stop() {
    kill "$daemon"
    wait "$daemon" || { echo "the daemon did not drain" >&2; exit 1; }
    daemon=''
}

crash() {
    kill -9 "$daemon"
    wait "$daemon" 2>/dev/null || true
}

# The line of the last start that says what was recovered.
recovered() { sed -n 's/.*\(recovered .*\); every promise.*/\1/p' "$dir/daemon.log" | tail -n 1; }

# finish: waits for the load generator and shows its report.
finish() {
    wait "$load" || status=$?
    load=''
    cat "$dir/report.txt"
    [ "$status" -eq 0 ] || cat "$dir/load.log" >&2
    echo
}

echo "Tidegate demo: two sales, two crashes. Under a minute."
echo
echo "ACT ONE: A SECKILL of $stock units, $users users, $attempts attempts."
echo
status=0
start 127.0.0.1:0
echo "1. A daemon listens on $server, on an empty data directory."

"$build/tidegate-load" --server "$server" --scenario seckill --stock $stock --users $users \
    --attempts $attempts --connections 64 --pipeline 16 --batch 1 --rate $rate --duration 5m \
    --seed 1 --json "$dir/report.json" >"$dir/report.txt" 2>"$dir/load.log" &
load=$!
echo "2. tidegate-load opens a sale and sends $rate orders a second over 64 connections."

units=0
while [ "$units" -lt $((stock / 5)) ] && kill -0 "$load" 2>/dev/null; do units=$(reserved); done
crash
echo "3. SIGKILL, with some $units units taken, the last of them not on the disk and not answered yet."

start "$server"
echo "4. Started again on the same directory: $(recovered)."
echo "   The load generator reconnects and sends every unanswered order again, under its old id."
echo
finish

echo "ACT TWO: A GROUP-BUY. A team of three; the price falls from 49.00 to 39.00 when it is full."
echo
sed 's/"payment_window_s": 600/"payment_window_s": 60/' docs/examples/group-buy.json >"$dir/group.json"
ctl sale create "$dir/group.json" | sed 's/^/   /'
# seat COMMAND...: takes a seat and prints its order id.
seat() { ctl "$@" --json | sed -n 's/.*"order_id":"\([0-9]*\)".*/\1/p'; }
# told COMMAND...: the first line of what it says.
told() { { ctl "$@" 2>&1 || true; } | sed -n '1s/^tidegatectl: //p'; }
team=$(seat team open 2 TEA-100G --user 1)
echo "5. Ada opens team $team.      A friend is too early:  $(told team join "$team" --user 2)"
ctl order pay "$team" --payment-id ada-1 --amount 3900 >/dev/null
second=$(seat team join "$team" --user 2)
third=$(seat team join "$team" --user 3)
echo "6. Ada has paid, Bob and Cem join.  Dee comes last:   $(told team join "$team" --user 4)"
ctl order pay "$second" --payment-id bob-1 --amount 4900 >/dev/null
ctl order pay "$second" --payment-id bob-2 --amount 4900 >/dev/null 2>&1 || true
ctl order pay "$third" --payment-id cem-1 --amount 4900 >/dev/null
echo "7. Bob pays twice, by mistake, and Cem once. The team has formed:"
echo
ctl team show "$team" | sed 's/^/   /'
echo
echo "   What Bob gets back, and what the warehouse and the bookkeepers read:"
echo
ctl order show "$second" | sed -n '/^amount/,/^refunded/s/^/   /p'
ctl events tail --types order_confirmed,refund_due,team_formed | sed 's/^/   /'
echo

"$build/tidegate-load" --server "$server" --scenario groupbuy --connections 16 --pipeline 64 \
    --rate 1500 --duration 4s --seed 1 --json "$dir/report.json" >"$dir/report.txt" 2>"$dir/load.log" &
load=$!
echo "8. tidegate-load opens 1,500 teams a second: they race for seats, leave, pay late, expire."
sleep 2
crash
start "$server"
echo "9. SIGKILL in the middle, and on: $(recovered)."
echo
finish

stop
echo "10. SIGTERM: the daemon drained and exited 0. The whole database, checked offline:"
echo
"$build/tidegatectl" verify --data-dir "$dir/data" || status=1
echo
if [ "$status" -eq 0 ]; then
    echo "Every promise held: never oversold, nothing accepted lost, nothing doubled, no cent astray,"
    echo "through two crashes."
else
    echo "A PROMISE WAS BROKEN: see above." >&2
fi
exit "$status"
