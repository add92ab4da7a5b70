#!/bin/bash
# Runs the examples of the quick starts, each against a daemon of its own, and holds what they print
# against what the pages show (docs/examples/*.txt; the ids of orders may differ).
#
# usage: scripts/examples.sh BUILD
set -uo pipefail

cd "$(dirname "$0")/.." || exit 1
build=$(realpath "${1:?usage: scripts/examples.sh BUILD}")
work=$(mktemp -d /tmp/tidegate-examples.XXXXXX)
daemon=''
failed=0
trap '[ -z "$daemon" ] || kill -KILL "$daemon" 2>/dev/null; rm -rf "$work"' EXIT

options=()     # of the daemon, besides
ctl_options=() # of tidegatectl

serve() { # [HOST:PORT [HOST:PORT]]: a daemon, where it was when that is said; sets server and grpc
    : >"$work/ready"
    "$build/tidegated" --data-dir "$work/data" --listen "${1:-127.0.0.1:0}" \
        --grpc-listen "${2:-127.0.0.1:0}" --threads 1 "${options[@]}" >"$work/ready" 2>>"$work/daemon.log" &
    daemon=$!
    while ! grep -q ready "$work/ready"; do
        kill -0 "$daemon" 2>/dev/null || { cat "$work/daemon.log"; exit 1; }
        sleep 0.02
    done
    server=$(sed 's/.* ready on \([^ ]*\) .*/\1/' "$work/ready")
    grpc=$(sed 's/.* grpc=\([^ ]*\).*/\1/' "$work/ready")
}

start() { # on a new directory, and with the shop
    rm -rf "$work/data"
    serve
    "$build/tidegatectl" --server "$server" "${ctl_options[@]}" sale create docs/examples/shop.json >/dev/null || exit 1
}

crash() {
    kill -KILL "$daemon"
    wait "$daemon" 2>/dev/null
    daemon=''
}

stop() { # and look whether every promise holds
    kill "$daemon"
    wait "$daemon" || return 1
    daemon=''
    "$build/tidegatectl" verify --data-dir "$work/data" >"$work/verify" 2>&1 || { cat "$work/verify"; return 1; }
}

check() { # WHAT COMMAND...
    local what=$1
    shift
    if "$@" >"$work/out" 2>&1; then
        echo "ok    $what"
    else
        failed=$((failed + 1))
        echo "FAIL  $what"
        sed 's/^/      /' "$work/out"
    fi
}

# Ids of orders are what the server makes them; all else is compared.
without_ids() { sed -E 's/order [0-9]+/order N/g'; }

prints() { # EXPECTED COMMAND...: exits 0 and prints that
    local expected=$1
    shift
    "$@" >"$work/printed" 2>"$work/complained" || { cat "$work/printed" "$work/complained"; return 1; }
    diff <(without_ids <"$expected") <(without_ids <"$work/printed")
}

prints_nothing() {
    "$@" >"$work/printed" 2>&1 || { cat "$work/printed"; return 1; }
    [ ! -s "$work/printed" ] || { cat "$work/printed"; return 1; }
}

# The daemon dies; the back office starts while nobody is there, and does its work when somebody is.
prints_after_a_crash() { # EXPECTED COMMAND...
    local expected=$1 started
    shift
    crash
    "$@" >"$work/printed" 2>"$work/complained" &
    started=$!
    sleep 0.5
    kill -0 "$started" || { cat "$work/complained"; return 1; } # it gave up
    serve "$server" "$grpc"
    wait "$started" || { cat "$work/printed" "$work/complained"; return 1; }
    diff <(without_ids <"$expected") <(without_ids <"$work/printed")
}

# --- C, with what `make install` installs and the command that the page shows ---

make --no-print-directory -s BUILD="$build" DESTDIR="$work/root" PREFIX=/usr install >"$work/out" 2>&1 ||
    { cat "$work/out"; exit 1; }
flags=$(sed -n 's/^cc checkout.c -o checkout //p' docs/quickstart-platform.md)
for name in checkout fulfil; do
    # shellcheck disable=SC2086
    check "C: $name compiles" cc -std=gnu11 -Wall -Wextra -Wconversion -Werror "docs/examples/c/$name.c" \
        -o "$work/$name" ${flags//\/usr/$work/root/usr} -L"$work/root/usr/lib"
done
start
check 'C: checkout' prints docs/examples/checkout.txt "$work/checkout" "$server"
check 'C: fulfil' prints docs/examples/fulfil.txt "$work/fulfil" "$server" 1
check 'C: fulfil once more finds nothing' prints_nothing "$work/fulfil" "$server" 1
check 'C: every promise holds' stop

# --- Node and Python, over gRPC, from the .proto alone ---

over_grpc() { # LANGUAGE CHECKOUT FULFIL: command lines
    local language=$1 checkout fulfil
    read -ra checkout <<<"$2"
    read -ra fulfil <<<"$3"
    start
    check "$language: checkout" prints docs/examples/checkout.txt "${checkout[@]}" "$grpc"
    check "$language: fulfil, through a crash" prints_after_a_crash docs/examples/fulfil.txt "${fulfil[@]}" "$grpc" 2
    check "$language: fulfil once more finds nothing" prints_nothing "${fulfil[@]}" "$grpc" 1
    check "$language: every promise holds" stop
}

node=$build/examples/node
mkdir -p "$node" && cp docs/examples/node/* "$node/"
[ "$node/node_modules/.package-lock.json" -nt docs/examples/node/package-lock.json ] ||
    (cd "$node" && npm ci --ignore-scripts --no-audit --no-fund >"$work/out" 2>&1) || { cat "$work/out"; exit 1; }
export TIDEGATE_PROTO=$PWD/proto
over_grpc Node "node $node/checkout.js" "node $node/fulfil.js"

# Debian's python3 has Debian's grpcio, whatever else PATH finds first.
python=/usr/bin/python3
$python -m grpc_tools.protoc --proto_path=proto --python_out="$work" --grpc_python_out="$work" \
    tidegate/v1/tidegate.proto tidegate/v1/service.proto || exit 1
export PYTHONPATH=$work PYTHONDONTWRITEBYTECODE=1
over_grpc Python "$python docs/examples/python/checkout.py" "$python docs/examples/python/fulfil.py"

# --- with TLS and tokens: a checkout needs submit, the back office consume, submit and, for its group, operate ---

token() { # ROLES: makes one
    "$build/tidegatectl" token create --tenant shop --role "$1" --file "$work/tokens"
}

fails_with() { # WORD COMMAND...
    local word=$1
    shift
    ! "$@" >"$work/printed" 2>&1 && grep -qi "$word" "$work/printed" || { cat "$work/printed"; return 1; }
}

with() { TIDEGATE_TOKEN=$1 "${@:2}"; } # TOKEN COMMAND...

openssl req -x509 -newkey rsa:2048 -noenc -days 1 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1 \
    -keyout "$work/key.pem" -out "$work/ca.pem" 2>"$work/out" || { cat "$work/out"; exit 1; }
: >"$work/tokens"
chmod 600 "$work/tokens"
checkout_token=$(token submit) || exit 1
office_token=$(token consume,submit,operate) || exit 1
options=(--set "security.token_file=$work/tokens" --set "tls.certificate=$work/ca.pem" --set "tls.key=$work/key.pem")
ctl_options=(--tls --tls-ca "$work/ca.pem")
TIDEGATE_TOKEN=$office_token start
check 'C: no TLS, no order' fails_with TLS with "$checkout_token" "$work/checkout" "$server"
export TIDEGATE_CA=$work/ca.pem
check 'C: no token, no order' fails_with token "$work/checkout" "$server"
check 'Node: no token, no order' fails_with token node "$node/checkout.js" "$grpc"
check 'Python: no token, no order' fails_with token $python docs/examples/python/checkout.py "$grpc"
check 'C: checkout with TLS and a token' with "$checkout_token" \
    prints docs/examples/checkout.txt "$work/checkout" "$server"
check 'Python: fulfil with TLS and a token' with "$office_token" \
    prints docs/examples/fulfil.txt $python docs/examples/python/fulfil.py "$grpc" 1
check 'Node: checkout with TLS and a token' with "$checkout_token" \
    prints docs/examples/checkout.txt node "$node/checkout.js" "$grpc"
check 'C: fulfil with TLS and a token' with "$office_token" \
    prints docs/examples/fulfil.txt "$work/fulfil" "$server" 1
check 'Python: checkout with TLS and a token' with "$checkout_token" \
    prints docs/examples/checkout.txt $python docs/examples/python/checkout.py "$grpc"
check 'Node: fulfil with TLS and a token' with "$office_token" \
    prints docs/examples/fulfil.txt node "$node/fulfil.js" "$grpc" 1
check 'with TLS and tokens: every promise holds' stop
unset TIDEGATE_CA
options=()
ctl_options=()

# --- the SRE's steps, short, and the drill beside the daemon that sold ---

start
check 'before the sale' env TIDEGATE_LOAD="$build/tidegate-load" P99=10s docs/examples/before-the-sale.sh \
    "$server" 1s "$work/reports"
for report in sale.json sale.html sale.xml saturation.json lifecycle.json; do
    check "report $report" test -s "$work/reports/$report"
done
check 'the restore drill' env TIDEGATECTL="$build/tidegatectl" TIDEGATED="$build/tidegated" \
    docs/examples/restore-drill.sh "$work/data" "$work/drill" "$server"
cp "$work/out" "$work/drilled"
sales() { sed -n "/^$1:/,/^$2/{/^[0-9]/p}" "$work/drilled"; } # FROM TO
check 'the restored sales are the live ones' test -n "$(sales live restored)" -a \
    "$(sales live restored)" = "$(sales restored 'the drill')"
check 'before the sale: every promise holds' stop

[ "$failed" -eq 0 ] || { echo "examples: $failed failed"; exit 1; }
echo 'examples: all print what the pages show'
