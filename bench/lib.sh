# What the scripts of bench/ share. To be read with `.`, under `set -eu`.
#
# bench_begin makes one private directory (bench_dir) and sees to it that at the end, also on Ctrl-C,
# every process that bench_start started is stopped and every directory removed. Nothing else is
# stopped: processes are known by their ids, never by name. Ports are private: the daemon's is picked by
# the kernel, the peers' are tried until one is free.

bench_dir=''
bench_removes=''
bench_pids=''

bench_say() { printf '%s\n' "$*" >&2; }
bench_die() {
    bench_say "$*"
    exit 1
}

bench_end() {
    for started in $bench_pids; do kill -s "${started#*:}" "${started%:*}" 2>/dev/null || true; done
    for started in $bench_pids; do wait "${started%:*}" 2>/dev/null || true; done
    bench_pids=''
    for path in $bench_dir $bench_removes; do rm -rf "$path"; done
}

# bench_begin [DIR]: the private directory is made in DIR, or in /tmp.
bench_begin() {
    trap bench_end EXIT
    trap 'exit 130' INT TERM HUP PIPE
    bench_dir=$(mktemp -d "${1:-/tmp}/tidegate-bench.XXXXXX")
}
bench_also_remove() { bench_removes="$bench_removes $1"; }

# bench_started PID [SIGNAL]: stop it at the end, by TERM or the signal.
bench_started() { bench_pids="$bench_pids $1:${2:-TERM}"; }
# bench_stop PID: stop it now, and wait for it.
bench_stop() {
    others=''
    for started in $bench_pids; do
        if [ "${started%:*}" = "$1" ]; then
            kill -s "${started#*:}" "$1" 2>/dev/null || true
            wait "$1" 2>/dev/null || true
        else
            others="$others $started"
        fi
    done
    bench_pids=$others
}

# bench_until SECONDS COMMAND...: until it succeeds; fails when it does not in that time.
bench_until() {
    tries=$(($1 * 20))
    shift
    until "$@" >/dev/null 2>&1; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || return 1
        sleep 0.05
    done
}

bench_processor() { sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1; }

# --- the daemon under test ---

daemon_pid=''
daemon_server=''

# daemon_start BUILD DIR [option]...: on DIR/data, which may be there from before. Sets daemon_pid and
# daemon_server; the environment DAEMON_UNDER is put in front of it.
daemon_start() {
    daemon_build=$1
    daemon_dir=$2
    shift 2
    mkdir -p "$daemon_dir"
    : >"$daemon_dir/ready"
    # shellcheck disable=SC2086
    ${DAEMON_UNDER:-} "$daemon_build/tidegated" --data-dir "$daemon_dir/data" --listen 127.0.0.1:0 \
        "$@" >"$daemon_dir/ready" 2>"$daemon_dir/log" &
    daemon_pid=$!
    bench_started $daemon_pid
    bench_until "${DAEMON_READY_S:-600}" daemon_is_ready ||
        bench_die "the daemon did not start: $(tail -n 3 "$daemon_dir/log")"
    grep -q ready "$daemon_dir/ready" || bench_die "the daemon ended: $(tail -n 3 "$daemon_dir/log")"
    daemon_server=$(sed -n 's/.* on \([^ ]*\) .*/\1/p' "$daemon_dir/ready" | head -n 1)
}
daemon_is_ready() { grep -q ready "$daemon_dir/ready" || ! kill -0 "$daemon_pid"; }
daemon_stop() {
    [ -z "$daemon_pid" ] || bench_stop "$daemon_pid"
    daemon_pid=''
}

# load_run REPORT option...: one run of the load generator; fails with its text when its audit fails.
load_run() {
    report=$1
    shift
    "$daemon_build/tidegate-load" --server "$daemon_server" --quiet --json "$report" "$@" \
        >"$report.text" 2>&1 || {
        bench_say "the run failed its audit or did not finish: $*"
        cat "$report.text" >&2
        return 1
    }
}
