#!/bin/sh
# Counted instructions of user space, held against bench/micro/baseline.json. Instructions, because time
# on a shared machine is noise.
#
# The loops of bench/micro/micro.c run under cachegrind (without its caches): a run of N + M iterations
# less a run of N, by M. Then a whole daemon under callgrind: bench/micro/daemon.sh. Same compiler, same
# library, same counts: whoever changes those writes the baseline anew. Prints a table with the change in
# percent; exits 3 when a figure grew by more than 3 %.
#
# usage: bench/micro/run.sh BUILD
# environment: BASELINE=write (stores what was counted), ONLY="decode-order ring" (these figures),
#              LIMIT (3: percent), OUT (BUILD/bench/micro.json)
set -eu

build=${1:?usage: bench/micro/run.sh BUILD}
here=$(dirname "$0")
. "$here/../lib.sh"
limit=${LIMIT:-3}
only=${ONLY:-}
baseline=$here/baseline.json
out=${OUT:-$build/bench/micro.json}
bench_begin
memory=$(mktemp -d /dev/shm/tidegate-micro.XXXXXX)
bench_also_remove "$memory"
counts=$bench_dir/counts

wanted() {
    [ -z "$only" ] && return 0
    case " $only " in *" $1 "*) return 0 ;; esac
    return 1
}

# counted CASE COUNT RUN -> instructions
counted() {
    rm -rf "$memory/data"
    mkdir "$memory/data"
    valgrind --tool=cachegrind --cache-sim=no --cachegrind-out-file=/dev/null \
        "$build/bench/micro" "$1" "$2" "$3" "$memory/data" >"$bench_dir/valgrind" 2>&1 ||
        bench_die "$1 failed: $(cat "$bench_dir/valgrind")"
    sed -n 's/.*I *refs: *//p' "$bench_dir/valgrind" | tr -d ,
}

what_of() {
    case $1 in
    decide-accept) echo 'an order of an item sold at once, decided and settled when durable, 1,000 in flight' ;;
    decide-settle) echo 'an order decided, and settled when durable, its timer set' ;;
    decide-refuse) echo 'an order decided: eng_shard_place, SOLD_OUT' ;;
    gate) echo 'an order refused by another core, from published words' ;;
    ring) echo 'an element over a ring: reserve, push, front, pop' ;;
    decode-order) echo 'a frame of one order: cut, envelope, order' ;;
    encode-accepted) echo 'the frame of an answer ACCEPTED' ;;
    encode-refused) echo 'the frame of an answer SOLD_OUT' ;;
    writer-put) echo 'a record in sto_commit, in batches of 1,000' ;;
    esac
}

: >"$counts"
for case in $("$build/bench/micro" --list); do
    wanted "$case" || continue
    few=32000 # multiples of every case's step
    many=160000
    less=$(counted "$case" $many $few)
    more=$(counted "$case" $many $many)
    echo "$case $less $more $((many - few)) $(what_of "$case")" |
        awk '{ printf "%s %.1f", $1, ($3 - $2) / $4; for (i = 5; i <= NF; i++) printf " %s", $i; print "" }' >>"$counts"
done
if wanted daemon-sold-out || wanted daemon-accepted; then
    ONLY=$only "$here/daemon.sh" "$build" >>"$counts" || bench_die 'the daemon was not counted'
fi

mkdir -p "$(dirname "$out")"
{
    printf '{\n  "compiler": "%s",\n  "libc": "%s",\n  "valgrind": "%s",\n  "processor": "%s"' \
        "$(${CC:-gcc} --version | head -n 1)" "$(getconf GNU_LIBC_VERSION)" "$(valgrind --version)" \
        "$(bench_processor)"
    awk '{ printf ",\n  \"%s\": %s", $1, $2 } END { print "\n}" }' "$counts"
} >"$out"

if [ "${BASELINE:-}" = write ]; then
    [ -z "$only" ] || bench_die 'BASELINE=write stores all figures: not with ONLY='
    cp "$out" "$baseline"
    bench_say "stored in $baseline"
fi
for key in compiler libc valgrind processor; do
    stored=$(sed -n "s/.*\"$key\": \"\(.*\)\".*/\1/p" "$baseline")
    now=$(sed -n "s/.*\"$key\": \"\(.*\)\".*/\1/p" "$out")
    [ "$stored" = "$now" ] ||
        echo "Mind: the stored figures are of another $key ($stored; here $now)."
done
awk -v limit="$limit" ${only:+-v only=1} -f "$here/check.awk" "$baseline" "$counts"
