#!/bin/sh
# A million reservations that expire within one second, while 64 connections keep ordering: what do
# the orders notice?
#
# One sale with a short payment window takes ORDERS orders within about a second; a second sale is
# ordered in at a fixed rate (open loop: latency counts from when each order was due), measured in
# slices of two seconds before, during and after the expiry. Prints a line for each slice, and how
# long it took until every unit was back. Everything runs on loopback in a temporary directory.
#
# usage: bench/expiry.sh BUILD    environment: ORDERS (1000000), RATE (20000), WINDOW_S (20)
set -eu

build=${1:?usage: bench/expiry.sh BUILD}
orders=${ORDERS:-1000000}
rate=${RATE:-20000}
window=${WINDOW_S:-20}
dir=$(mktemp -d /tmp/tidegate-expiry.XXXXXX)
daemon_pid=''

stop() {
    [ -z "$daemon_pid" ] || kill "$daemon_pid" 2>/dev/null || true
    wait 2>/dev/null || true
    daemon_pid=''
}
trap 'stop; rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM

"$build/tidegated" --data-dir "$dir/data" --listen 127.0.0.1:0 --threads 1 >"$dir/ready" \
    2>"$dir/daemon.log" &
daemon_pid=$!
until grep -q ready "$dir/ready"; do sleep 0.1; done
server=$(sed 's/.* on \([^ ]*\) .*/\1/' "$dir/ready")

# sale ID WINDOW: one item whose stock never ends.
sale() {
    cat >"$dir/sale.json" <<JSON
{ "sale_id": $1, "kind": "seckill", "name": "expiry $1", "currency": "CNY", "starts_at": "now",
  "ends_at": "+1h", "payment_window_s": $2,
  "items": [ { "sku": "A01-001-M-BL", "list_price_minor": 19900, "sale_price_minor": 9900,
               "stock_units": 1000000000, "per_user_limit": 0, "per_order_max": 0 } ] }
JSON
    "$build/tidegatectl" --server "$server" sale create "$dir/sale.json" >/dev/null
}
sale 1 "$window"
sale 2 86400

reserved() {
    "$build/tidegatectl" --server "$server" sale show 1 --json |
        sed -n 's/.*"reserved_units": *"\{0,1\}\([0-9]*\).*/\1/p' | head -n 1
}

slice() {
    "$build/tidegate-load" --server "$server" --sale 2 --scenario durable --connections 64 \
        --pipeline 64 --rate "$rate" --duration 2s --quiet --json "$dir/slice.json"
    latency=$(sed -n 's/.*"\(p50\|p99\|p999\|max\)": *\([0-9.]*\).*/\2/p' "$dir/slice.json" | head -n 4)
    # shellcheck disable=SC2086
    printf '%-8s %12s %10.0f %10.0f %10.0f %10.0f\n' "$1" "$(reserved)" $latency
}

begun=$(date +%s%N)
"$build/tidegate-load" --server "$server" --sale 1 --scenario durable --connections 16 --pipeline 4 \
    --batch 1000 --rate max --attempts "$orders" --quiet --json "$dir/fill.json"
placed=$(date +%s%N)
echo "$orders reservations placed (with their audit) in $(((placed - begun) / 1000000)) ms; the window is $window s."
printf '%-8s %12s %10s %10s %10s %10s   (latency of %s orders/s, us)\n' slice 'still held' p50 p99 p99.9 max "$rate"
due=$((begun / 1000000 + window * 1000))
while [ $(($(date +%s%N) / 1000000)) -lt $((due - 2500)) ]; do slice before; done
while [ "$(reserved)" -gt 0 ]; do slice during; done
back=$(($(date +%s%N) / 1000000 - due))
slice after
slice after
echo "The last unit was back at most $back ms after the first was due (seen at the end of a slice)."
stop
"$build/tidegatectl" verify --data-dir "$dir/data"
