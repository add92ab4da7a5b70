#!/bin/sh
# Makes the database that bits are turned in: a real daemon, stories of every kind with their lives,
# teams, carts and ingested orders, an outbox that dropped its oldest events (so pages were freed and
# taken again), consumer groups, adjustments, a closed sale.
#
# usage: tests/bitrot/database.sh BUILD DIR [SEED]    leaves DIR/data/data.mdb
set -eu

build=${1:?usage: tests/bitrot/database.sh BUILD DIR [SEED]}
dir=${2:?usage: tests/bitrot/database.sh BUILD DIR [SEED]}
seed=${3:-1}
daemon_pid=''

stop() {
    [ -z "$daemon_pid" ] || kill "$daemon_pid" 2>/dev/null || true
    wait 2>/dev/null || true
    daemon_pid=''
}
trap stop EXIT
trap 'exit 130' INT TERM

"$build/tidegated" --data-dir "$dir/data" --listen 127.0.0.1:0 --threads 2 --set events.keep_s=1 \
    --set storage.map_mib=64 --set storage.free_mib_min=0 >"$dir/ready" 2>"$dir/daemon.log" &
daemon_pid=$!
tries=0
until grep -q ready "$dir/ready"; do
    tries=$((tries + 1))
    [ $tries -lt 200 ] || { echo "database.sh: the daemon is not ready: $dir/daemon.log" >&2; exit 3; }
    sleep 0.1
done
server=$(sed 's/.* on \([^ ]*\) .*/\1/' "$dir/ready")

load() {
    "$build/tidegate-load" --server "$server" --connections 4 --seed "$seed" --quiet "$@" \
        >"$dir/load.log" 2>&1 || { cat "$dir/load.log" >&2; exit 3; }
}
ctl() {
    "$build/tidegatectl" --server "$server" "$@" >"$dir/ctl.log" 2>&1 || { cat "$dir/ctl.log" >&2; exit 3; }
}
for group in erp crm.eu warehouse-7; do
    ctl events group-create "$group"
done
load --scenario seckill --stock 500 --users 1500 --attempts 2500 --limit 2
load --scenario lifecycle --attempts 300
for group in erp crm.eu warehouse-7; do
    ctl events ack "$group" 900
done
load --scenario cart --attempts 150
load --scenario ingest --attempts 12
load --scenario groupbuy --attempts 40 --duration 4s

# A sale by hand: adjustments, and orders with so many refunds that their rows take pages of their
# own.
cat >"$dir/sale.json" <<JSON
{ "sale_id": 77, "kind": "seckill", "name": "rot", "currency": "CNY", "starts_at": "now",
  "ends_at": "+1h", "payment_window_s": 600,
  "items": [ { "sku": "A01", "list_price_minor": 19900, "sale_price_minor": 9900,
               "stock_units": 1000, "per_user_limit": 0, "per_order_max": 0 } ] }
JSON
ctl sale create "$dir/sale.json"
for delta in 5 -3 20 -7; do
    ctl stock adjust 77 A01 --delta $delta --reason "counted again"
done
for user in 1 2 3; do
    ctl order place 77 A01:1:9900 --user $user
    order=$("$build/tidegatectl" --server "$server" --json order list --sale 77 |
        sed -n 's/.*"order_id": *"\{0,1\}\([0-9]*\).*/\1/p' | tail -n 1)
    ctl order pay "$order" --payment-id "payment-of-the-buyer-number-000$user" --amount 9900
    for number in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do
        ctl order refund "$order" --amount $number \
            --reason "refund $number, and as much more to say as 64 bytes allow............"
    done
done
ctl sale close 77
stop
