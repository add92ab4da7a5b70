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

start() { # a daemon on a new directory, and the shop
    rm -rf "$work/data" "$work/ready"
    "$build/tidegated" --data-dir "$work/data" --listen 127.0.0.1:0 --threads 1 \
        >"$work/ready" 2>"$work/daemon.log" &
    daemon=$!
    while ! grep -q ready "$work/ready" 2>/dev/null; do
        kill -0 "$daemon" 2>/dev/null || { cat "$work/daemon.log"; exit 1; }
        sleep 0.02
    done
    server=$(sed 's/.* ready on \([^ ]*\) .*/\1/' "$work/ready")
    "$build/tidegatectl" --server "$server" sale create docs/examples/shop.json >/dev/null || exit 1
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

# The three programs' story is one: a checkout, then the back office, which finds nothing twice.
story() { # LANGUAGE SERVER CHECKOUT... -- FULFIL...
    local language=$1 server=$2 checkout=()
    shift 2
    while [ "$1" != -- ]; do
        checkout+=("$1")
        shift
    done
    shift
    check "$language: checkout" prints docs/examples/checkout.txt "${checkout[@]}" "$server"
    check "$language: fulfil" prints docs/examples/fulfil.txt "$@" "$server" 1
    check "$language: fulfil once more finds nothing" prints_nothing "$@" "$server" 1
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
story C "$server" "$work/checkout" -- "$work/fulfil"
check 'C: every promise holds' stop

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
