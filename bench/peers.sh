#!/bin/sh
# Tidegate and Redis side by side, in one run, on one machine, interleaved; medians of the rates and
# of the rounds' ratios.
#
# Redis does what Tidegate promises of an order: EVALSHA of one script with limit check, stock check,
# DECRBY, SADD, XADD, under appendonly yes and appendfsync always, driven by redis-benchmark with the
# same connections and pipeline (its best of one and two client threads). Both sides share the two
# cores with their load generator. Everything runs on loopback, on private ports, in a temporary
# directory, and is stopped and removed at the end.
#
# usage: bench/peers.sh BUILD      environment: ROUNDS (5), SECONDS_EACH (10), OUT (peers.json)
set -eu

build=${1:?usage: bench/peers.sh BUILD}
rounds=${ROUNDS:-5}
seconds=${SECONDS_EACH:-10}
out=${OUT:-$build/peers.json}
connections=64
dir=$(mktemp -d /tmp/tidegate-peers.XXXXXX)
redis_pid=''
daemon_pid=''

stop() {
    [ -z "$redis_pid" ] || kill "$redis_pid" 2>/dev/null || true
    [ -z "$daemon_pid" ] || kill "$daemon_pid" 2>/dev/null || true
    wait 2>/dev/null || true
    redis_pid=''
    daemon_pid=''
}
trap 'stop; rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM

say() { printf '%s\n' "$*" >&2; }

# --- Redis ---

redis_port=17379
redis_cli() { redis-cli -p $redis_port "$@"; }

start_redis() {
    mkdir -p "$dir/redis"
    redis-server --port $redis_port --bind 127.0.0.1 --dir "$dir/redis" --save '' \
        --appendonly yes --appendfsync always --daemonize no >"$dir/redis.log" 2>&1 &
    redis_pid=$!
    until redis_cli ping >/dev/null 2>&1; do sleep 0.1; done
}

# KEYS: stock, users who bought, orders. ARGV: user, quantity, price, request id: what an order is. One
# order for each user. Stock first, so that the sold-out path is as short as it can be.
script='
if tonumber(redis.call("GET", KEYS[1])) < tonumber(ARGV[2]) then return -1 end
if redis.call("SISMEMBER", KEYS[2], ARGV[1]) == 1 then return -2 end
redis.call("DECRBY", KEYS[1], ARGV[2])
redis.call("SADD", KEYS[2], ARGV[1])
redis.call("XADD", KEYS[3], "*", "u", ARGV[1], "q", ARGV[2], "p", ARGV[3], "r", ARGV[4])
return 1'

# redis_rate STOCK PIPELINE REQUESTS -> orders/s, the better of one and two client threads
redis_rate() {
    best=0
    for threads in 1 2; do
        redis_cli flushall >/dev/null
        redis_cli set stock "$1" >/dev/null
        sha=$(redis_cli script load "$script")
        rate=$(redis-benchmark -p $redis_port -c $connections -P "$2" -n "$3" -r 1000000000000 \
            --threads $threads --csv EVALSHA "$sha" 3 stock users orders __rand_int__ 1 9900 r-__rand_int__ |
            tail -n 1 | cut -d '"' -f 4)
        best=$(echo "$best $rate" | awk '{ print ($1 > $2) ? $1 : $2 }')
    done
    echo "$best"
}

# --- Tidegate ---

start_daemon() {
    "$build/tidegated" --data-dir "$dir/tidegate" --listen 127.0.0.1:0 --threads 1 \
        >"$dir/ready" 2>"$dir/daemon.log" &
    daemon_pid=$!
    until grep -q ready "$dir/ready"; do sleep 0.1; done
    server=$(sed 's/.* on \([^ ]*\) .*/\1/' "$dir/ready")
}

# One field of a flat line of the report.
field() { sed -n "s/.*\"$2\": *\([0-9.]*\).*/\1/p" "$1" | head -n 1; }

# tidegate_rate SCENARIO PIPELINE FIELD -> per second
tidegate_rate() {
    "$build/tidegate-load" --server "$server" --scenario "$1" --connections $connections \
        --pipeline "$2" --batch 1 --rate max --duration "${seconds}s" --warmup 1s --quiet \
        --json "$dir/report.json" >"$dir/report.txt" 2>&1 || {
        say "the run failed its audit or did not finish:"
        cat "$dir/report.txt" >&2
        exit 1
    }
    field "$dir/report.json" "$3"
}

# --- the run ---

median() { sort -n | awk '{ v[NR] = $1 } END { print (NR % 2) ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }

say "machine: $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), $(nproc) cores," \
    "Linux $(uname -r), $(stat -f -c %T "$dir"), $(redis-server --version | cut -d ' ' -f 3)"
say "each figure: median of $rounds interleaved rounds of $seconds s, $connections connections"

# name, scenario, pipeline, field of the report, stock in Redis, Redis requests a second (to size -n)
cases='accepted-1 durable 1 accepted_per_s 1000000000 40000
accepted-64 durable 64 accepted_per_s 1000000000 130000
sold-out-64 sold-out 64 responses_per_s 0 450000'

round=1
while [ "$round" -le "$rounds" ]; do
    echo "$cases" | while read -r name scenario pipeline report_field stock per_second; do
        start_redis
        redis_rate "$stock" "$pipeline" $((per_second * seconds)) >>"$dir/$name.redis"
        stop
        rm -rf "$dir/redis"
        start_daemon
        tidegate_rate "$scenario" "$pipeline" "$report_field" >>"$dir/$name.tidegate"
        stop
        rm -rf "$dir/tidegate"
        say "round $round  $name: redis $(tail -n 1 "$dir/$name.redis")/s," \
            "tidegate $(tail -n 1 "$dir/$name.tidegate")/s"
    done
    round=$((round + 1))
done

{
    printf '{\n  "connections": %s,\n  "rounds": %s,\n  "seconds": %s' $connections "$rounds" "$seconds"
    echo "$cases" | while read -r name rest; do
        redis=$(median <"$dir/$name.redis")
        tidegate=$(median <"$dir/$name.tidegate")
        # The machine's speed changes from round to round: the ratio is the median of the rounds'.
        ratio=$(paste "$dir/$name.tidegate" "$dir/$name.redis" | awk '{ print $1 / $2 }' | median)
        printf ',\n  "%s": {"redis_per_s": %.0f, "tidegate_per_s": %.0f, "ratio": %.2f}' "$name" \
            "$redis" "$tidegate" "$ratio"
    done
    printf '\n}\n'
} >"$out"

awk -F'"' 'BEGIN { printf "%-14s %14s %14s %8s\n", "figure", "redis/s", "tidegate/s", "ratio" }
/redis_per_s/ { split($0, n, /[:,}]/); printf "%-14s %14d %14d %8.2f\n", $2, n[3], n[5], n[7] }' "$out"
say "written to $out"
