#!/bin/bash
# What operators get beside the programs: installation, manual, completion, configuration, service.
#
# usage: run.sh BUILD [DEBS]     (DEBS: also builds the packages there, and boots them: boot.sh)
set -uo pipefail

cd "$(dirname "$0")/../.." || exit 1
build=$1
debs=${2:-}
work=$(mktemp -d)
passed=0
failed=0
daemon=''
trap '[ -z "$daemon" ] || kill -KILL "$daemon" 2>/dev/null; rm -rf "$work"' EXIT

check() { # WHAT COMMAND...
    local what=$1
    shift
    if "$@" >"$work/out" 2>&1; then
        passed=$((passed + 1))
        echo "ok    $what"
    else
        failed=$((failed + 1))
        echo "FAIL  $what"
        sed 's/^/      /' "$work/out"
    fi
}

# --- installation ---

# Everything that is installed lies below DESTDIR and PREFIX.
installs() {
    make --no-print-directory BUILD="$build" DESTDIR="$work/root" PREFIX=/opt/tide install || return 1
    local file
    for file in bin/tidegated bin/tidegatectl bin/tidegate-load lib/libtidegate.a \
        include/tidegate/client/tidegate.h share/tidegate/tidegate/v1/tidegate.proto \
        share/man/man1/tidegatectl.1 share/man/man1/tidegate-load.1 share/man/man5/tidegate.conf.5 \
        share/man/man8/tidegated.8 share/bash-completion/completions/tidegated \
        share/bash-completion/completions/tidegatectl lib/systemd/system/tidegated.service \
        lib/sysusers.d/tidegate.conf share/doc/tidegate/tidegate.conf.example; do
        [ -s "$work/root/opt/tide/$file" ] || { echo "not installed: $file"; return 1; }
    done
    [ "$(find "$work/root" -maxdepth 2 -printf '%P ')" = ' opt opt/tide ' ] || { ls "$work/root"/*; return 1; }
    ! grep -r '@[A-Z]*@' "$work/root/opt/tide/lib/systemd" || return 1
    grep -q '^ExecStart=/opt/tide/bin/tidegated ' "$work/root/opt/tide/lib/systemd/system/tidegated.service"
}

# systemd's own reading of the unit. It looks for the program, and for the manual in the system.
unit_is_sound() {
    sed -e "s,@BINDIR@,$(realpath "$build")," -e '/^Documentation=/d' packaging/systemd/tidegated.service \
        >"$work/tidegated.service"
    systemd-analyze verify --man=no "$work/tidegated.service" 2>"$work/verify"
    ! grep "tidegated.service" "$work/verify"
}

unit_is_tight() { # systemd's own figure, 0 (safe) to 10
    systemd-analyze security --offline=yes --threshold=15 "$work/tidegated.service" --no-pager
}

# --- manual ---

manual_is_clean() {
    local page
    for page in "$build"/man/*; do
        [ -z "$(mandoc -T lint -W warning "$page")" ] || { mandoc -T lint -W warning "$page"; return 1; }
        MANWIDTH=100 man --warnings -l "$page" 2>"$work/warnings" >/dev/null
        [ ! -s "$work/warnings" ] || { cat "$work/warnings"; return 1; }
    done
}

options_of() { "$@" --help | grep -o -- '--[a-z][a-z0-9-]*' | sort -u; }

# The page, as people read it.
page() { MANWIDTH=200 man -l "$build/man/$1" 2>/dev/null | col -b; }

names_options() { # PAGE PROGRAM [COMMAND]
    local option missing=0
    page "$1" >"$work/page"
    shift
    for option in $(options_of "$@"); do
        grep -q -- "$option\b" "$work/page" || { echo "the page says nothing of $option"; missing=1; }
    done
    [ "$(options_of "$@" | wc -l)" -gt 1 ] && return $missing
}

commands() { "$build/tidegatectl" --help | sed -n '/^COMMANDS$/,/^$/s/^    \([a-z][a-z -]*[a-z]\)  .*/\1/p'; }

names_commands() {
    local words missing=0
    [ "$(commands | wc -l)" -gt 20 ] || return 1
    page tidegatectl.1 >"$work/page"
    while read -r words; do
        grep -qi "^$words$" "$work/page" || { echo "no section of $words"; missing=1; }
        # shellcheck disable=SC2086
        names_options tidegatectl.1 "$build/tidegatectl" $words || missing=1
    done < <(commands)
    return $missing
}

names_keys() {
    local key missing=0
    page tidegate.conf.5 >"$work/page"
    for key in $("$build/tidegated" --help | sed -n 's/^  [a-z]*\.\([a-z_]*\) .*/\1/p'); do
        grep -q "^ *$key\( \|$\)" "$work/page" || { echo "the page says nothing of $key"; missing=1; }
    done
    [ "$(grep -c 'Default:' "$work/page")" -gt 25 ] && return $missing
}

# --- completion ---

completes() { # LINE WORD...: the last word of the line can become each of the words
    local line=$1 found word
    shift
    found=$(PATH="$(realpath "$build"):$PATH" bash --norc -c '
        . packaging/completion/tidegate.bash
        read -ra COMP_WORDS <<<"$1"
        case $1 in *" ") COMP_WORDS+=("") ;; esac
        COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
        spec=$(complete -p "${COMP_WORDS[0]}")
        set -- "${COMP_WORDS[0]}" "$spec"
        spec=${2#*-F }
        "${spec%% *}" "$1"
        printf "%s\n" "${COMPREPLY[@]}"' - "$line")
    for word in "$@"; do
        case $word in
        !*) ! grep -qx -- "${word#!}" <<<"$found" || { echo "'$line' offers ${word#!}"; return 1; } ;;
        *) grep -qx -- "$word" <<<"$found" || { echo "'$line' does not offer $word but: $found"; return 1; } ;;
        esac
    done
}

completion_works() {
    mkdir -p "$work/here/data" && touch "$work/here/a.json"
    completes 'tidegated --' --data-dir --check-config --config --help &&
        completes 'tidegated --ch' --check-config '!--config' &&
        completes 'tidegated --set server.thr' server.threads= '!server.listen=' &&
        completes "tidegated --data-dir $work/here/" "$work/here/data" "!$work/here/a.json" &&
        completes 'tidegatectl ' sale order events verify &&
        completes 'tidegatectl sa' sale '!order' &&
        completes 'tidegatectl sale ' create list show '!pay' &&
        completes "tidegatectl --tls-ca $work/here/a.json sale c" create close &&
        completes 'tidegatectl --server x:1 sale c' create close &&
        completes 'tidegatectl order pay 7 --' --payment-id --amount --server &&
        completes 'tidegatectl verify --da' --data-dir &&
        completes "tidegatectl sale create $work/here/a" "$work/here/a.json" &&
        completes 'tidegatectl --' --server --timeout --json &&
        completes 'tidegate-load --scenario ' seckill durable ingest &&
        completes 'tidegate-load --max-p9' --max-p99 --max-p999 &&
        completes 'tidegate-load c' compare &&
        completes 'tidegate-load compare --m' --margin
}

# --- configuration and service ---

refused() { # STATUS WORDS COMMAND...
    local status=$1 words=$2 told code
    shift 2
    told=$("$@" 2>&1)
    code=$?
    if [ $code -ne "$status" ] || ! grep -qF -- "$words" <<<"$told"; then
        echo "exit $code: $told"
        return 1
    fi
}

checks_config() {
    local tidegated=$build/tidegated
    printf '[server]\nthreads = 2\n[storage]\ndata_dir = %s\n' "$work/never" >"$work/good.conf"
    printf '[server]\n\nthread = 2\n' >"$work/bad.conf"
    "$tidegated" --config "$work/good.conf" --set log.level=warn --check-config >"$work/in-force" || return 1
    [ ! -e "$work/never" ] || { echo 'the check made the data directory'; return 1; }
    grep '^threads = 2 ; default 1$' "$work/in-force" || return 1
    grep '^level = warn ; default info$' "$work/in-force" || return 1
    "$tidegated" --config "$work/in-force" --check-config | diff "$work/in-force" - || return 1
    refused 2 "$work/bad.conf, line 3: there is no key server.thread. Did you mean server.threads?" \
        "$tidegated" --config "$work/bad.conf" --check-config &&
        refused 2 'no data directory' "$tidegated" --check-config &&
        refused 2 'is not a loopback address' "$tidegated" --data-dir "$work/d" --listen 0.0.0.0:1 --check-config &&
        refused 2 'cannot read /nonexistent' "$tidegated" --config /nonexistent --check-config
}

# A manager of services for one daemon, told to it by NOTIFY_SOCKET.
until_told() { # FILE WORDS
    local i
    for ((i = 0; i < 300; i++)); do
        ! grep -qF -- "$2" "$1" 2>/dev/null || return 0
        sleep 0.05
    done
    echo "never told: $2"
    cat "$1"
    return 1
}

service_works() {
    local manager code
    python3 tests/packaging/manager.py "$work/notify" >"$work/told" &
    manager=$!
    until_told "$work/told" listening || return 1
    cp packaging/tidegate.conf.example "$work/live.conf"
    sed -i "s,^data_dir = .*,data_dir = $work/data,; s,^#listen = .*,listen = 127.0.0.1:0," "$work/live.conf"
    NOTIFY_SOCKET=$work/notify WATCHDOG_USEC=600000 "$build/tidegated" --config "$work/live.conf" \
        --set storage.map_mib=64 >/dev/null 2>"$work/log" &
    daemon=$!
    until_told "$work/told" 'READY=1|STATUS=serving on 127.0.0.1:' && until_told "$work/told" 'WATCHDOG=1' || return 1

    sed -i 's,^#format = text,format = json,; s,^#items_max = .*,items_max = 5,' "$work/live.conf"
    kill -HUP $daemon
    until_told "$work/log" '"msg":"configuration read again: 2 keys differ, 1 need a restart"' &&
        until_told "$work/log" 'engine.items_max stays 1048576: a restart would make it 5' &&
        until_told "$work/told" 'RELOADING=1|MONOTONIC_USEC=' || return 1
    echo 'levle = warn' >>"$work/live.conf"
    kill -HUP $daemon
    until_told "$work/log" 'Did you mean log.level?' && kill -0 $daemon || return 1

    # Who stands still feeds nothing; who goes on does again.
    kill -STOP $daemon
    local before after
    sleep 0.3
    before=$(grep -c WATCHDOG "$work/told")
    sleep 1
    after=$(grep -c WATCHDOG "$work/told")
    kill -CONT $daemon
    [ "$before" -eq "$after" ] || { echo "fed while it stood still"; return 1; }

    kill -TERM $daemon
    wait $daemon
    code=$?
    daemon=''
    wait $manager
    if [ $code -ne 0 ] || ! grep -q 'STOPPING=1' "$work/told"; then
        echo "exit $code"
        cat "$work/told" "$work/log"
        return 1
    fi
    python3 -c 'import json, sys
for line in open(sys.argv[1]):
    if line.startswith("{"): assert {"ts", "level", "at", "thread", "msg"} <= set(json.loads(line))' "$work/log"
}

check 'make install honours DESTDIR and PREFIX' installs
check 'systemd understands the unit' unit_is_sound
check 'systemd finds the unit tight (1.5 of 10 at most)' unit_is_tight
check 'the manual is clean for mandoc and man' manual_is_clean
check 'tidegated(8) names every option' names_options tidegated.8 "$build/tidegated"
check 'tidegate-load(1) names every option' names_options tidegate-load.1 "$build/tidegate-load"
check 'tidegate-load(1) names every option of compare' names_options tidegate-load.1 "$build/tidegate-load" compare
check 'tidegatectl(1) names every command and its options' names_commands
check 'tidegate.conf(5) names every key' names_keys
check 'completion offers what --help says' completion_works
check 'the packaged example is what the program prints' \
    diff packaging/tidegate.conf.example <("$build/tidegated" --print-example)
check 'the newest changelog entry is VERSION' \
    [ "$(dpkg-parsechangelog -l packaging/debian/changelog -S Version)" = "$(cat VERSION)" ]
check '--check-config tells what is in force, or what is wrong' checks_config
check 'READY, RELOADING, WATCHDOG and STOPPING are told' service_works
if [ -n "$debs" ]; then
    check 'the packages are built, lintian finds no error' packaging/deb.sh "$debs"
    check 'they install, start, reload, upgrade and go in a container' tests/packaging/boot.sh "$debs"
fi
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
