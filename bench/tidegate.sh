# Measurements of Tidegate. To be read with `.` behind bench/lib.sh, by bench/run.sh, whose `build`,
# `seconds`, `keep` and `measurement` it uses.

# Core threads of a daemon under test, but where growth is measured over them.
tidegate_threads=1

tidegate_begin() {
    rm -rf "$bench_dir/tidegate"
    daemon_start "$build" "$bench_dir/tidegate" --threads "$tidegate_threads" "$@"
}
tidegate_end() {
    daemon_stop
    rm -rf "$bench_dir/tidegate"
}

# What follows is called, not put into $(): a daemon that is started in a subshell would not be known to
# the one who stops it. The figure is left in `result`.

# tidegate_load FIELD SCENARIO CONNECTIONS IN-FLIGHT BATCH option...: the field of the report of a run on
# the daemon that is there
tidegate_load() {
    wanted=$1
    scenario=$2
    connections=$3
    pipeline=$4
    batch=$5
    shift 5
    load_run "$bench_dir/report.json" --scenario "$scenario" --connections "$connections" \
        --pipeline "$pipeline" --batch "$batch" --warmup 1s --duration "${seconds}s" "$@"
    result=$(jq -r ".$wanted" "$bench_dir/report.json")
}

# tidegate_rate: the same, on a daemon and a database of its own
tidegate_rate() {
    tidegate_begin
    tidegate_load "$@"
    tidegate_end
}

# Open loop at half of what the closed loop of this round reached with 64 in flight.
tidegate_half() {
    full=$(measurement tidegate.accepted-64)
    [ -n "$full" ] || return 0
    half=$(echo "$full" | awk '{ printf "%d", $1 / 2 }')
    tidegate_rate latency_us.p99 durable 64 64 1 --rate "$half"
    keep tidegate.half-rate "$half"
    keep tidegate.half-p99-ms "$(echo "$result" | awk '{ print $1 / 1000 }')"
    keep tidegate.half-p999-ms "$(jq -r '.latency_us.p999 / 1000' "$bench_dir/report.json")"
}
