#!/bin/sh
# A whole daemon under callgrind: instructions of user space from receive to send, all threads, per
# sold-out refusal and per accepted order. Prints lines as bench/micro/check.awk reads them.
#
# One daemon takes a small load and a large one; the difference, by the difference of orders, leaves
# start and connections out. What is asked for beside orders (the sale, the generator's look at the
# daemon's counters, the pages of the audit) is left out with all that srv_control_request calls; and what
# is left of the audit by doing it a second time, from the log of the run, which is subtracted.
#
# usage: bench/micro/daemon.sh BUILD     environment: ONLY, FEW (20000), MANY (120000), PROFILE=dir
set -eu

build=${1:?usage: bench/micro/daemon.sh BUILD}
here=$(dirname "$0")
. "$here/../lib.sh"
few=${FEW:-20000}
many=${MANY:-120000}
bench_begin /dev/shm

cat >"$bench_dir/small.ini" <<'INI'
[storage]
map_gib = 1
[engine]
orders_max = 1000000
holdings_max = 1000000
timers_max = 1000000
INI

dumps=0
others=0
# instructions -> those since the last call, of all threads, but for requests that are no plain orders;
# sets `counted`
instructions() {
    callgrind_control --dump "$daemon_pid" >/dev/null 2>&1 || bench_die 'callgrind does not answer'
    dumps=$((dumps + 1))
    awk -v without=srv_control_request -f "$here/orders.awk" \
        "$bench_dir/callgrind.out.$dumps" >"$bench_dir/counted" || bench_die 'callgrind told no total'
    read -r counted calls <"$bench_dir/counted"
    others=$((others + calls))
}

# load SCENARIO ATTEMPTS -> sets `work`: of the load without its audit
load() {
    rm -f "$bench_dir/log"
    load_run "$bench_dir/report.json" --scenario "$1" --attempts "$2" --connections 64 --pipeline 64 \
        --retry-share 0 --audit-log "$bench_dir/log"
    instructions
    both=$counted
    load_run "$bench_dir/audit.json" --audit "$bench_dir/log"
    instructions
    work=$((both - counted))
}

# count FIGURE SCENARIO WHAT
count() {
    DAEMON_UNDER="env LD_PRELOAD=$build/bench/nowait.so valgrind --fair-sched=yes --tool=callgrind
        --callgrind-out-file=$bench_dir/callgrind.out" \
        daemon_start "$build" "$bench_dir/daemon" --threads 1 --config "$bench_dir/small.ini"
    dumps=0
    others=0
    instructions
    load "$2" "$few"
    small=$work
    load "$2" "$many"
    # Of each load its sale at least.
    [ $others -ge 2 ] || bench_die 'srv_control_request is not in the profile: what is the entry now?'
    echo "$1 $(awk -v less="$small" -v more="$work" -v n=$((many - few)) \
        'BEGIN { printf "%.1f", (more - less) / n }') $3"
    daemon_stop
    [ -z "${PROFILE:-}" ] || cp "$bench_dir"/callgrind.out.* "$PROFILE"
    rm -rf "$bench_dir/daemon" "$bench_dir"/callgrind.out*
}

case " ${ONLY:-daemon-sold-out daemon-accepted} " in *' daemon-sold-out '*)
    count daemon-sold-out sold-out 'a sold-out refusal, receive to send, 64 in flight on 64 connections'
    ;;
esac
case " ${ONLY:-daemon-sold-out daemon-accepted} " in *' daemon-accepted '*)
    count daemon-accepted durable 'an accepted order, receive to send, core and writer, likewise'
    ;;
esac
