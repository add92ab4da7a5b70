#!/bin/sh
# Orders per second over gRPC: a daemon and bench/grpc/flood.c, 64 connections x 32 streams.
#   run.sh BUILD [SECONDS]
set -eu
build=$1
seconds=${2:-8}
directory=$(mktemp -d /tmp/tidegate-bench-grpc-XXXXXX)
daemon=''
trap 'if [ -n "$daemon" ]; then kill "$daemon" 2>/dev/null && wait "$daemon"; fi; rm -rf "$directory"' EXIT
trap 'exit 1' INT TERM

"$build/tidegated" --data-dir "$directory/data" --listen 127.0.0.1:0 --grpc-listen 127.0.0.1:0 \
    --threads 1 >"$directory/ready" 2>"$directory/log" &
daemon=$!
until grep -q ' grpc=' "$directory/ready"; do
    kill -0 "$daemon" 2>/dev/null || { cat "$directory/log"; exit 1; }
    sleep 0.1
done
native=$(sed 's/.*ready on \([^ ]*\) .*/\1/' "$directory/ready")
grpc=$(sed 's/.* grpc=\([^ ]*\).*/\1/' "$directory/ready")
cat >"$directory/sale.json" <<END
{"sale_id": 1, "kind": "seckill", "name": "bench", "currency": "CNY",
 "starts_at": "now", "ends_at": "+1h", "items": [
 {"sku": "A", "list_price_minor": 100, "sale_price_minor": 100, "stock_units": 900000000,
  "per_user_limit": 0, "per_order_max": 0},
 {"sku": "B", "list_price_minor": 100, "sale_price_minor": 100, "stock_units": 0,
  "per_user_limit": 0, "per_order_max": 0}]}
END
"$build/tidegatectl" --server "$native" sale create "$directory/sale.json" >/dev/null
echo 'accepted:'
"$build/bench/flood" "$grpc" 1 A 100 64 32 "$seconds"
echo 'sold out:'
"$build/bench/flood" "$grpc" 1 B 100 64 32 "$seconds"
if [ -n "${PERF:-}" ]; then
    perf record -q -g -o "$PERF" -p "$daemon" -- sleep 3 &
    "$build/bench/flood" "$grpc" 1 A 100 64 32 4
fi
