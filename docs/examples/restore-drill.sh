#!/bin/sh
# The restore drill: a backup of the live data directory, restored, verified, started, and taken away again.
# The live daemon goes on meanwhile. docs/operations.md tells why and how often.
#
# usage: restore-drill.sh LIVE DIRECTORY [HOST:PORT]    (the live data directory; a new one; the live daemon)
set -eu

live=${1:?usage: restore-drill.sh LIVE DIRECTORY [HOST:PORT]}
drill=${2:?usage: restore-drill.sh LIVE DIRECTORY [HOST:PORT]}
server=${3:-127.0.0.1:7411}
ctl=${TIDEGATECTL:-tidegatectl}
daemon=${TIDEGATED:-tidegated}

mkdir "$drill"
began=$(date +%s)
"$ctl" backup --data-dir "$live" "$drill/backup"
"$ctl" restore "$drill/backup" "$drill/restored"
"$ctl" verify --data-dir "$drill/restored"

# The restored one starts, and has the sales that the live one has (which may have sold more since).
"$daemon" --data-dir "$drill/restored" --listen 127.0.0.1:0 >"$drill/ready" 2>"$drill/log" &
restored=$!
trap 'kill "$restored" 2>/dev/null || true; wait "$restored" 2>/dev/null || true; rm -rf "$drill"' EXIT
until grep -q ready "$drill/ready"; do
    kill -0 "$restored" || { cat "$drill/log" >&2; exit 1; }
    sleep 0.1
done
address=$(sed 's/.* ready on \([^ ]*\) .*/\1/' "$drill/ready")
echo 'live:'
"$ctl" --server "$server" sale list
echo 'restored:'
"$ctl" --server "$address" sale list
echo "the drill took $(($(date +%s) - began)) s"
