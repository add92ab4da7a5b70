#!/bin/sh
# This tree and an earlier commit of it side by side, in one run, interleaved: has anything become
# slower?
#
# Builds the earlier commit in a temporary directory, then runs each scenario with one daemon and the
# other in turn, with this tree's load generator for both, and prints the median of the rounds'
# ratios. The order within a round changes from round to round. Everything runs on loopback, in a
# temporary directory, and is removed at the end.
#
# usage: bench/against.sh BUILD REVISION    environment: ROUNDS (5), SECONDS_EACH (5)
set -eu

build=${1:?usage: bench/against.sh BUILD REVISION}
revision=${2:?usage: bench/against.sh BUILD REVISION}
rounds=${ROUNDS:-5}
seconds=${SECONDS_EACH:-5}
dir=$(mktemp -d /tmp/tidegate-against.XXXXXX)
daemon_pid=''

stop() {
    [ -z "$daemon_pid" ] || kill "$daemon_pid" 2>/dev/null || true
    wait 2>/dev/null || true
    daemon_pid=''
}
trap 'stop; rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM

say() { printf '%s\n' "$*" >&2; }

git rev-parse --verify --quiet "$revision^{commit}" >/dev/null || { say "there is no commit $revision"; exit 2; }
say "building $(git log -1 --format='%h (%s)' "$revision")"
git archive "$revision" | (mkdir "$dir/earlier" && tar -x -C "$dir/earlier")
make -C "$dir/earlier" -j"$(nproc)" all >"$dir/build.log" 2>&1 || { cat "$dir/build.log" >&2; exit 1; }

# rate BINARY SCENARIO PIPELINE KEY: one run on a fresh database.
rate() {
    rm -rf "$dir/data"
    "$1" --data-dir "$dir/data" --listen 127.0.0.1:0 --threads 1 >"$dir/ready" 2>"$dir/daemon.log" &
    daemon_pid=$!
    until grep -q ready "$dir/ready"; do sleep 0.1; done
    server=$(sed 's/.* on \([^ ]*\) .*/\1/' "$dir/ready")
    "$build/tidegate-load" --server "$server" --scenario "$2" --connections 64 --pipeline "$3" \
        --rate max --duration "${seconds}s" --quiet --json "$dir/run.json" >&2
    stop
    sed -n 's/.*"'"$4"'": *\([0-9.]*\).*/\1/p' "$dir/run.json" | head -n 1
}

median() { sort -n | awk '{ v[NR] = $1 } END { print (NR % 2) ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }

printf '%-12s %9s %14s %14s %8s   %s\n' scenario 'in flight' earlier now ratio 'rounds'
for point in durable:1:accepted_per_s durable:64:accepted_per_s sold-out:64:responses_per_s; do
    scenario=${point%%:*}
    rest=${point#*:}
    pipeline=${rest%%:*}
    key=${rest#*:}
    : >"$dir/earlier.rates"
    : >"$dir/now.rates"
    : >"$dir/ratios"
    for round in $(seq "$rounds"); do
        say "$scenario, $pipeline in flight: round $round of $rounds"
        if [ $((round % 2)) -eq 1 ]; then
            a=$(rate "$dir/earlier/build/tidegated" "$scenario" "$pipeline" "$key")
            b=$(rate "$build/tidegated" "$scenario" "$pipeline" "$key")
        else
            b=$(rate "$build/tidegated" "$scenario" "$pipeline" "$key")
            a=$(rate "$dir/earlier/build/tidegated" "$scenario" "$pipeline" "$key")
        fi
        echo "$a" >>"$dir/earlier.rates"
        echo "$b" >>"$dir/now.rates"
        echo "$a $b" | awk '{ printf "%.3f\n", $2 / $1 }' >>"$dir/ratios"
    done
    printf '%-12s %9s %14.0f %14.0f %8.3f   %s\n' "$scenario" "$pipeline" \
        "$(median <"$dir/earlier.rates")" "$(median <"$dir/now.rates")" \
        "$(median <"$dir/ratios")" "$(tr '\n' ' ' <"$dir/ratios")"
done
