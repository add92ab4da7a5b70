#!/bin/sh
# gRPC clients that Tidegate did not write, against a real daemon.
#   run.sh BUILD [fast]        the closing line counts the checks of all of them
set -eu
build=$1
extent=${2:-all}
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
directory=$(mktemp -d /tmp/tidegate-interop-XXXXXX)
daemon=''
trap 'if [ -n "$daemon" ]; then kill "$daemon" 2>/dev/null && wait "$daemon"; fi; rm -rf "$directory"' EXIT
trap 'exit 1' INT TERM

# start OPTION...: a daemon; its gRPC listener is at $address.
start() {
    : >"$directory/ready"
    "$build/tidegated" --data-dir "$directory/data" --listen 127.0.0.1:0 --grpc-listen 127.0.0.1:0 \
        --threads 2 --set storage.map_mib=512 "$@" >"$directory/ready" 2>>"$directory/log" &
    daemon=$!
    tries=0
    until grep -q ' grpc=' "$directory/ready"; do
        tries=$((tries + 1))
        if [ $tries -gt 100 ] || ! kill -0 "$daemon" 2>/dev/null; then
            cat "$directory/log"
            exit 1
        fi
        sleep 0.1
    done
    address=$(sed 's/.* grpc=\([^ ]*\).*/\1/' "$directory/ready")
}

# It drains, and says so with its status.
stop() {
    kill "$daemon"
    wait "$daemon" || failed=$((failed + 1))
    daemon=''
}

passed=0
failed=0
client() {
    told=$directory/told
    timeout 120 "$@" >"$told" 2>&1 || true
    cat "$told"
    counts=$(sed -n 's/^\([0-9]*\) passed, \([0-9]*\) failed$/\1 \2/p' "$told" | tail -n 1)
    [ -n "$counts" ] || counts='0 1' # it did not come to its end
    passed=$((passed + ${counts% *}))
    failed=$((failed + ${counts#* }))
}
descriptors=$root/build/gen/descriptors.bin
start
client /usr/bin/python3 "$here/python_client.py" "$address" 101 "$descriptors"
client node "$here/grpc_js.mjs" "$address" 102 "$root" "$extent"
client node "$here/connect.mjs" "$address" 103 "$descriptors"
stop

keys=$directory/keys
mkdir -m 700 "$keys"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=localhost \
    -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout "$keys/key" -out "$keys/cert" 2>/dev/null
"$build/tidegatectl" token create --tenant a --role submit --file "$keys/tokens" >"$keys/submit"
"$build/tidegatectl" token create --tenant a --role read --file "$keys/tokens" >"$keys/read"
start --set "tls.certificate=$keys/cert" --set "tls.key=$keys/key" \
    --set "security.token_file=$keys/tokens"
client /usr/bin/python3 "$here/secure_client.py" "$address" "$descriptors" "$keys/cert" \
    "$keys/submit" "$keys/read"
stop
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
