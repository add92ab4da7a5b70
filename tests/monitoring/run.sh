#!/bin/sh
# Holds docs/operations/ and the list of metrics in docs/admin.md against a daemon that runs: promtool
# reads the configuration, the rules, their unit tests and the metrics; check.py looks that every name
# that is used exists.
#
# usage: tests/monitoring/run.sh BUILD
set -eu

build=${1:?usage: tests/monitoring/run.sh BUILD}
work=$(mktemp -d)
pid=
trap '[ -z "$pid" ] || kill "$pid" 2>/dev/null; wait; rm -rf "$work"' EXIT

say() {
    echo "monitoring: $*"
}

"$build/tidegated" --data-dir "$work/data" --listen 127.0.0.1:0 --admin-listen 127.0.0.1:0 --threads 2 \
    >"$work/ready" 2>"$work/log" &
pid=$!
for _ in $(seq 600); do
    grep -q ready "$work/ready" && break
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.1
done
server=$(sed -n 's/^tidegated ready on \([^ ]*\) .*/\1/p' "$work/ready")
admin=$(sed -n 's/.* admin=\([^ ]*\).*/\1/p' "$work/ready")
[ -n "$admin" ] || { say "the daemon did not start: $(cat "$work/log")"; exit 1; }

ctl() {
    "$build/tidegatectl" --server "$server" "$@" >"$work/ctl" || { cat "$work/ctl"; exit 1; }
}
ctl sale create docs/examples/seckill.json
ctl order place 1 A01-001-M-BL --user 7
ctl events group-create erp
python3 -c "import sys, urllib.request as u; sys.stdout.write(u.urlopen(sys.argv[1]).read().decode())" \
    "http://$admin/metrics" >"$work/metrics"

promtool check metrics <"$work/metrics"
say "metrics: promtool finds nothing"
for check in 'check config docs/operations/prometheus.yml' 'check rules docs/operations/alerts.yml' \
    'test rules docs/operations/alerts.test.yml'; do
    # shellcheck disable=SC2086
    promtool $check >"$work/promtool" 2>&1 || { cat "$work/promtool"; exit 1; }
    say "promtool $check"
done
python3 tests/monitoring/check.py "$work/metrics"
