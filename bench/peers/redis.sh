# Redis as a peer. To be read with `.` behind bench/lib.sh.
#
# It does what Tidegate promises of an order: EVALSHA of one script with stock check, limit check, DECRBY,
# SADD and XADD, with appendonly yes. Driven by redis-benchmark with the same connections and, as its
# pipeline, the same number in flight; the best of one and two client threads.

redis_pid=''
redis_port=''

redis_tool() { redis-cli -h 127.0.0.1 -p "$redis_port" "$@"; }
redis_answers() { [ "$(redis_tool ping 2>/dev/null)" = PONG ]; }

redis_settings() {
    echo "Redis $(redis-server --version | sed 's/.*v=\([^ ]*\).*/\1/'), appendonly yes, appendfsync $1," \
        "save '', EVALSHA of one script, redis-benchmark -c CONNECTIONS -P IN-FLIGHT, best of --threads 1 and 2"
}

# redis_start always|everysec: on a port of its own, in $bench_dir/redis.
redis_start() {
    tries=0
    while :; do
        redis_port=$((20000 + ($$ + tries * 997) % 20000))
        rm -rf "$bench_dir/redis"
        mkdir -p "$bench_dir/redis"
        redis-server --port "$redis_port" --bind 127.0.0.1 --dir "$bench_dir/redis" --save '' \
            --appendonly yes --appendfsync "$1" --daemonize no >"$bench_dir/redis.log" 2>&1 &
        redis_pid=$!
        bench_started $redis_pid
        # Ours, and not somebody else's who has the port: that one is alive, and it answers.
        sleep 0.2
        kill -0 $redis_pid 2>/dev/null && bench_until 20 redis_answers && break
        bench_stop $redis_pid
        tries=$((tries + 1))
        [ $tries -lt 10 ] || bench_die "redis-server did not start: $(tail -n 3 "$bench_dir/redis.log")"
    done
}

redis_stop() {
    [ -z "$redis_pid" ] || bench_stop "$redis_pid"
    redis_pid=''
    rm -rf "$bench_dir/redis"
}

# KEYS: stock, users who bought, orders. ARGV: user, quantity, price, request id: what an order is. One
# order for each user. Stock first, so that the sold-out path is as short as it can be.
redis_script='
if tonumber(redis.call("GET", KEYS[1])) < tonumber(ARGV[2]) then return -1 end
if redis.call("SISMEMBER", KEYS[2], ARGV[1]) == 1 then return -2 end
redis.call("DECRBY", KEYS[1], ARGV[2])
redis.call("SADD", KEYS[2], ARGV[1])
redis.call("XADD", KEYS[3], "*", "u", ARGV[1], "q", ARGV[2], "p", ARGV[3], "r", ARGV[4])
return 1'

# redis_empty STOCK: as new.
redis_empty() {
    redis_tool flushall >/dev/null
    redis_tool set stock "$1" >/dev/null
    redis_sha=$(redis_tool script load "$redis_script")
}

# -r is an int: a larger number, and every order has the user 0.
# redis_requests THREADS CONNECTIONS IN-FLIGHT REQUESTS -> orders/s
redis_requests() {
    redis-benchmark -h 127.0.0.1 -p "$redis_port" -c "$2" -P "$3" -n "$4" -r 2147483647 \
        --threads "$1" --csv EVALSHA "$redis_sha" 3 stock users orders __rand_int__ 1 9900 \
        r-__rand_int__ 2>/dev/null | tail -n 1 | cut -d '"' -f 4
}

# redis_rate STOCK CONNECTIONS IN-FLIGHT SECONDS -> orders/s. A short run tells how many requests are
# SECONDS' worth. Without stock the answers are refusals; with it, the script's answers are counted: each
# order must be in the stream.
redis_rate() {
    best=0
    for threads in 1 2; do
        redis_empty "$1"
        probe=$(redis_requests $threads "$2" "$3" $(($2 * $3 * 8)))
        wanted=$(echo "$probe $4 $2 $3" | awk '{ n = int($1 * $2); m = $3 * $4; print (n > m ? n : m) }')
        redis_empty "$1" # each run of redis-benchmark draws the same users
        rate=$(redis_requests $threads "$2" "$3" "$wanted")
        placed=$(redis_tool xlen orders)
        # Who drew a user that bought before was refused: one in some thousand.
        if [ "$1" -gt 0 ] && [ $((placed * 100)) -lt $((wanted * 99)) ]; then
            bench_die "Redis placed $placed of $wanted orders"
        fi
        best=$(echo "$best $rate" | awk '{ print ($1 > $2 + 0) ? $1 : $2 }')
    done
    echo "$best"
}
