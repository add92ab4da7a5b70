# What takes long, and is measured once: the grown database, memory, idleness, instructions, growth. To be
# read with `.` behind bench/tidegate.sh.

# Room for every size that is measured; memory is taken as it is used.
long_room='--set engine.orders_max=134217728 --set engine.holdings_max=134217728 --set engine.timers_max=134217728'

anonymous_bytes() { awk '/^RssAnon:/ { print $2 * 1024 }' "/proc/$daemon_pid/status"; }

# long_fill ORDERS: so many more orders, of a sale of their own, audited.
long_fill() {
    load_run "$bench_dir/fill.json" --scenario durable --connections 16 --pipeline 4 --batch 1000 \
        --retry-share 0 --duration 24h --attempts "$1"
}

# Memory that the host need not find first: bench/limits/warm.c. Three GiB, or a quarter of what there is.
long_warm() {
    "$build/bench/warm" --mib "$(awk '/^MemAvailable/ { mib = $2 / 4096; printf "%d", (mib > 3072) ? 3072 : mib + 1 }' /proc/meminfo)"
}

# Throughput on a database of grown_orders against an empty one, in turns; recovery; the longest commit.
long_grown() {
    bench_say "  a database of $grown_orders orders"
    rm -rf "$bench_dir/grown"
    # shellcheck disable=SC2086
    daemon_start "$build" "$bench_dir/grown" --threads 1 $long_room
    long_fill "$grown_orders"
    daemon_stop
    round=0
    while [ $round -lt "$rounds" ]; do
        round=$((round + 1))
        tidegate_rate accepted_per_s durable 64 64 1
        keep tidegate.empty-64 "$result"
        long_warm
        # shellcheck disable=SC2086
        daemon_start "$build" "$bench_dir/grown" --threads 1 $long_room
        keep tidegate.recovery "$(sed -n 's/.*recovered .*(\([0-9]*\) orders\/s).*/\1/p' "$bench_dir/grown/log")"
        tidegate_load accepted_per_s durable 64 64 1
        keep tidegate.grown-64 "$result"
        daemon_stop
    done
    # shellcheck disable=SC2086
    daemon_start "$build" "$bench_dir/grown" --threads 1 $long_room
    load_run "$bench_dir/report.json" --scenario durable --connections 64 --pipeline 64 \
        --rate "$(echo "$(measurement tidegate.grown-64)" | awk '{ printf "%d", $1 / 2 }')" \
        --duration "${stall_seconds}s"
    keep tidegate.stall-ms "$("$build/tidegatectl" --server "$daemon_server" stats --json | jq '.commit_us.max / 1000')"
    daemon_stop
    rm -rf "$bench_dir/grown"
}

# long_memory_of POLICY: leaves in `result` the anonymous bytes of each further order behind the first quarter
long_memory_of() {
    tidegate_begin
    cat >"$bench_dir/sale.json" <<JSON
{ "sale_id": 1, "kind": "seckill", "name": "memory", "currency": "CNY", "starts_at": "now",
  "ends_at": "+1d", "payment_window_s": 86400,
  "items": [ { "sku": "A01-001-M-BL", "list_price_minor": 19900, "sale_price_minor": 9900,
               "stock_units": 1000000000, "stock_policy": "$1", "per_user_limit": 1000, "per_order_max": 0 } ] }
JSON
    "$build/tidegatectl" --server "$daemon_server" sale create "$bench_dir/sale.json" >/dev/null
    long_memory_fill $((memory_orders / 4))
    before=$(anonymous_bytes)
    long_memory_fill $((memory_orders * 3 / 4))
    after=$(anonymous_bytes)
    tidegate_end
    result=$(echo "$before $after $((memory_orders * 3 / 4))" | awk '{ printf "%.1f", ($2 - $1) / $3 }')
}
long_memory_fill() {
    seed=$((${seed:-0} + 1))
    load_run "$bench_dir/fill.json" --sale 1 --scenario durable --connections 16 --pipeline 4 \
        --batch 1000 --retry-share 0 --users 1G --seed "$seed" --duration 24h --attempts "$1"
}

# An open order waits for its payment: it has a timer beside its request id and its user's count. An
# order of an item that is sold at its placement has all but the timer, as one that was paid.
long_memory() {
    long_memory_of reserve
    keep tidegate.open-bytes "$result"
    long_memory_of on_place
    keep tidegate.closed-bytes "$result"
}

# Processor time of the whole process, in ticks.
ticks() { sed 's/.*) //' "/proc/$daemon_pid/stat" | awk '{ print $12 + $13 }'; }

# After a load, with nobody connected.
long_idle() {
    tidegate_begin
    load_run "$bench_dir/fill.json" --scenario durable --attempts 100000
    sleep 1
    before=$(ticks)
    sleep 10
    after=$(ticks)
    keep tidegate.idle-percent "$(echo "$before $after $(getconf CLK_TCK)" | awk '{ printf "%.2f", ($2 - $1) / $3 / 10 * 100 }')"
    tidegate_end
}

long_instructions() {
    ONLY=daemon-sold-out "$here/micro/daemon.sh" "$build" >"$bench_dir/instructions"
    keep tidegate.instructions "$(cut -d ' ' -f 2 "$bench_dir/instructions")"
}

# growth_row AXIS AT RATE BYTES
growth_row() {
    bench_say "  growth: $2 $1: $3 accepted/s, $4 bytes"
    printf '{"axis": "%s", "at": %s, "accepted_per_s": %s, "resident_bytes": %s}\n' "$@" >>"$growth_rows"
}

# Along one axis at a time: orders in the database; connections, with 4,096 orders in flight on all of them
# together; core threads, with 10,000 items.
long_growth() {
    for orders in $growth; do
        # shellcheck disable=SC2086
        tidegate_begin $long_room
        long_fill "$orders"
        bytes=$(anonymous_bytes)
        tidegate_load accepted_per_s durable 64 64 1
        growth_row orders "$orders" "$result" "$bytes"
        tidegate_end
    done
    for connections in 1 8 64 512 4096; do
        tidegate_begin
        tidegate_load accepted_per_s durable $connections $((4096 / connections)) 1
        growth_row connections $connections "$result" "$(anonymous_bytes)"
        tidegate_end
    done
    for tidegate_threads in 1 2 4; do
        tidegate_begin
        tidegate_load accepted_per_s many-skus 64 64 1
        growth_row threads $tidegate_threads "$result" "$(anonymous_bytes)"
        tidegate_end
    done
    tidegate_threads=1
}
