#!/bin/sh
# The benchmark: the machine's limits, Tidegate and its peers, in one run, interleaved; medians and
# spread, held against the targets of figures.txt.
#
# In each round every figure's measurements follow each other, in an order that changes from round to
# round, so that a slow minute of the machine slows both sides of a ratio. Each measurement of Tidegate
# is on a fresh daemon and database (--threads 1), is audited, and has no number when its audit fails.
# What takes long is measured once, at the end: the grown database, memory, growth, instructions.
#
# Everything runs on loopback, on ports and in a directory of its own (DIR); what was started is stopped
# and the directory removed at the end, also on Ctrl-C.
#
# usage: bench/run.sh BUILD [PART]...    PART: limits tidegate redis postgres grown memory idle
#                                              instructions growth; all without. peers: what has a
#                                              peer, and the peers
# environment: ROUNDS (5), SECONDS_EACH (10), QUICK=1 (1 round of 2 s, everything small),
#   GROWN_ORDERS (20000000), STALL_SECONDS (300), GROWTH ("100000 1000000 10000000"),
#   MEMORY_ORDERS (4000000), DIR (/tmp), OUT (BUILD/bench/bench.json)
set -eu

build=${1:?usage: bench/run.sh BUILD [PART]...}
shift
here=$(dirname "$0")
. "$here/lib.sh"
. "$here/tidegate.sh"
. "$here/long.sh"
. "$here/peers/redis.sh"
. "$here/peers/postgres.sh"

quick=${QUICK:-}
rounds=${ROUNDS:-${quick:+1}}
rounds=${rounds:-5}
seconds=${SECONDS_EACH:-${quick:+2}}
seconds=${seconds:-10}
grown_orders=${GROWN_ORDERS:-${quick:+500000}}
grown_orders=${grown_orders:-20000000}
stall_seconds=${STALL_SECONDS:-${quick:+5}}
stall_seconds=${stall_seconds:-300}
growth=${GROWTH:-${quick:+100000}}
growth=${growth:-100000 1000000 10000000}
memory_orders=${MEMORY_ORDERS:-${quick:+400000}}
memory_orders=${memory_orders:-4000000}
out=${OUT:-$build/bench/bench.json}
what="${*:-${ONLY:-limits tidegate redis postgres grown memory idle instructions growth}}"
parts=" $what "
[ "$what" != peers ] || parts=' tidegate redis postgres '

bench_begin "${DIR:-/tmp}"
measured=$bench_dir/measured
growth_rows=$bench_dir/growth
round=0
: >"$measured"
: >"$growth_rows"

has() { case $parts in *" $1 "*) return 0 ;; esac; return 1; }

# keep NAME VALUE: one measurement of this round.
keep() {
    echo "$round $1 $2" >>"$measured"
    bench_say "  round $round  $1  $2"
}
measurement() { awk -v name="$1" '$2 == name { value = $3 } END { print value }' "$measured"; }

# --- limits ---

# limit PROGRAM option...: its result is left in limit.json
limit() {
    program=$1
    shift
    rm -rf "$bench_dir/limit"
    mkdir "$bench_dir/limit"
    [ "$program" = echo ] || set -- --dir "$bench_dir/limit" "$@"
    "$build/bench/$program" --seconds "$seconds" --json "$@" >"$bench_dir/limit.json"
    rm -rf "$bench_dir/limit"
}
# keep_limit NAME FIELD
keep_limit() { keep "$1" "$(jq -r ".$2" "$bench_dir/limit.json")"; }

measure_limit() {
    case $1 in
    echo.sold-out-1) limit echo --in-flight 1 --answer sold-out ;;
    echo.*) limit echo --in-flight "${1#echo.}" ;;
    lmdb.*) limit append --batch "${1#lmdb.}" ;;
    sync) limit sync ;;
    esac
    case $1 in
    sync)
        keep_limit sync.p50-us p50_us
        keep_limit sync.p99-us p99_us
        keep_limit sync.max-us max_us
        ;;
    *) keep_limit "$1" per_s ;;
    esac
    if [ "$1" = lmdb.1 ]; then
        keep_limit lmdb.commit-p50-us commit_p50_us
        keep_limit lmdb.commit-p99-us commit_p99_us
    fi
}

# --- the sides, by the name of the measurement ---

measure_tidegate() {
    case $1 in
    tidegate.accepted-64)
        tidegate_rate accepted_per_s durable 64 64 1
        cp "$bench_dir/report.json" "$bench_dir/accepted-64.json"
        ;;
    tidegate.accepted-1) tidegate_rate accepted_per_s durable 64 1 1 ;;
    tidegate.batch-1000) tidegate_rate accepted_per_s durable 64 1 1000 ;;
    tidegate.one-p50-us) tidegate_rate latency_us.p50 durable 1 1 1 ;;
    tidegate.sold-out-64) tidegate_rate responses_per_s sold-out 64 64 1 ;;
    tidegate.sold-out-1) tidegate_rate responses_per_s sold-out 64 1 1 ;;
    tidegate.many-skus-64) tidegate_rate accepted_per_s many-skus 64 64 1 ;;
    tidegate.half)
        tidegate_half
        return
        ;;
    esac
    keep "$1" "$result"
}

measure_redis() {
    setting=${1%%.*}
    redis_start "${setting#redis-}"
    case $1 in
    *.accepted-*) result=$(redis_rate 1000000000 64 "${1##*-}" "$seconds") ;;
    *.sold-out-*) result=$(redis_rate 0 64 "${1##*-}" "$seconds") ;;
    esac
    keep "$1" "$result"
    redis_stop
}

measure_postgres() {
    postgres_start
    [ -n "$postgres_clients" ] || postgres_find "$((seconds > 3 ? 3 : seconds))"
    case $1 in
    postgres.accepted) result=$(postgres_rate 1000000000 "$seconds") ;;
    postgres.sold-out) result=$(postgres_rate 0 "$seconds") ;;
    esac
    keep "$1" "$result"
    postgres_stop
}

# The part that a measurement belongs to.
part_of() {
    case $1 in
    tidegate.*) echo tidegate ;;
    redis-*) echo redis ;;
    postgres.*) echo postgres ;;
    *) echo limits ;;
    esac
}

# What is compared stands in one line.
groups='tidegate.accepted-64 redis-always.accepted-64 redis-everysec.accepted-64 postgres.accepted tidegate.many-skus-64
tidegate.accepted-1 redis-always.accepted-1 redis-everysec.accepted-1
tidegate.batch-1000 lmdb.1000
tidegate.one-p50-us lmdb.1
tidegate.sold-out-64 redis-always.sold-out-64 postgres.sold-out
tidegate.sold-out-1 echo.sold-out-1
tidegate.half
echo.1 echo.16 echo.64 echo.256
lmdb.100 lmdb.4000 lmdb.16000
sync'

reversed() {
    back=''
    for name in $1; do back="$name $back"; done
    echo "$back"
}

interleaved() {
    echo "$groups" | if [ "$what" = peers ]; then grep -e redis -e postgres; else cat; fi >"$bench_dir/groups"
    while read -r group <&3; do
        [ $((round % 2)) -eq 1 ] || group=$(reversed "$group")
        for name in $group; do
            part=$(part_of "$name")
            case $part in
            limits) side=limit ;;
            *) side=$part ;;
            esac
            if has "$part"; then "measure_$side" "$name"; fi
        done
    done 3<"$bench_dir/groups"
}

bench_say "$(bench_processor), $(nproc) cores, Linux $(uname -r), $(stat -f -c %T "$bench_dir");" \
    "$rounds rounds, $seconds s each"
while [ $round -lt "$rounds" ]; do
    round=$((round + 1))
    interleaved
done
if has grown; then long_grown; fi
if has memory; then long_memory; fi
if has idle; then long_idle; fi
if has instructions; then long_instructions; fi
if has growth; then long_growth; fi

# --- the result ---

middle() { # of one measurement, or null
    awk -v name="$1" '$2 == name && $3 != "null" { print $3 }' "$measured" | sort -n |
        awk '{ v[NR] = $1 } END { if (NR) printf "%.9g", NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2; else printf "null" }'
}
pairs() { # PREFIX NAME... -> "NAME": middle, ...
    prefix=$1
    shift
    between=''
    for name in "$@"; do
        printf '%s"%s": %s' "$between" "$name" "$(middle "$prefix$name")"
        between=', '
    done
}
peer() { # NAME FIGURE MEASUREMENT SETTINGS
    [ "$(middle "$3")" != null ] || return 0
    printf '%s{"name": "%s", "figure": "%s", "per_s": %s, "settings": "%s"}' "$peer_between" "$1" "$2" \
        "$(middle "$3")" "$4"
    peer_between=', '
}
peers_json() {
    peer_between=''
    if has redis; then
        for setting in always everysec; do
            for figure in accepted-64 accepted-1 sold-out-64; do
                peer "redis appendfsync $setting" $figure redis-$setting.$figure "$(redis_settings $setting)"
            done
        done
    fi
    if has postgres; then
        peer postgresql accepted-64 postgres.accepted "$(postgres_settings); here $postgres_clients"
        peer postgresql sold-out-64 postgres.sold-out "$(postgres_settings); here $postgres_clients"
    fi
}

mkdir -p "$(dirname "$out")"
{
    printf '{\n"machine": {"cpu": "%s", "cores": %s, "kernel": "%s", "filesystem": "%s"},\n' \
        "$(bench_processor)" "$(nproc)" "$(uname -r)" "$(stat -f -c %T "$bench_dir")"
    printf '"rounds": %s, "seconds_each": %s, "grown_orders": %s, "stall_seconds": %s,\n' \
        "$rounds" "$seconds" "$grown_orders" "$stall_seconds"
    if has limits; then
        printf '"limits": {"echo_per_s": {%s},\n' "$(pairs echo. 1 16 64 256 sold-out-1)"
        printf '  "lmdb_records_per_s": {%s},\n' "$(pairs lmdb. 1 100 1000 4000 16000)"
        printf '  "lmdb_commit_us_p50": %s, "lmdb_commit_us_p99": %s,\n' "$(middle lmdb.commit-p50-us)" \
            "$(middle lmdb.commit-p99-us)"
        printf '  "fdatasync_us_p50": %s, "fdatasync_us_p99": %s, "fdatasync_us_max": %s},\n' \
            "$(middle sync.p50-us)" "$(middle sync.p99-us)" "$(middle sync.max-us)"
    else
        echo '"limits": null,'
    fi
    printf '"peers": [%s],\n' "$(peers_json)"
    printf '"figures": %s,\n' "$(awk -v json=1 -f "$here/judge.awk" "$here/figures.txt" "$measured")"
    printf '"growth": [%s],\n' "$(paste -sd, "$growth_rows")"
    printf '"measured": [%s]\n}\n' "$(awk '{ printf "%s{\"round\": %s, \"name\": \"%s\", \"value\": %s}", (NR > 1 ? ", " : ""), $1, $2, ($3 == "" ? "null" : $3) }' "$measured")"
} >"$bench_dir/bench.json"
jq . "$bench_dir/bench.json" >"$out"

awk -f "$here/judge.awk" "$here/figures.txt" "$measured"
# The peers that no target is about, and the limits.
awk '$2 !~ /^tidegate\./ { if (!($2 in seen)) { seen[$2] = ++n; name[n] = $2 } } END { for (i = 1; i <= n; i++) print name[i] }' \
    "$measured" | while read -r name; do printf '%-28s %s\n' "$name" "$(middle "$name")"; done
if [ -s "$growth_rows" ]; then jq -r '.growth[] | [.axis, .at, .accepted_per_s, .resident_bytes] | @tsv' "$out"; fi
for setting in always everysec; do
    if has redis; then redis_settings $setting; fi
done
if has postgres; then echo "$(postgres_settings); here $postgres_clients"; fi
# The report of the headline run, with limits and peers beside it, for tidegate-load's page.
if [ -s "$bench_dir/accepted-64.json" ]; then
    jq -s '.[0] * {limits: .[1].limits, peers: .[1].peers}' "$bench_dir/accepted-64.json" "$out" \
        >"$(dirname "$out")/accepted-64.json"
fi
bench_say "written to $out"
