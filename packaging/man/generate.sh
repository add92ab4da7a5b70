#!/bin/sh
# Writes the manual pages: tidegatectl(1) and tidegate-load(1) out of their --help, tidegate.conf(5) out
# of the table of keys, tidegated(8) as it lies here.
#
# usage: generate.sh BUILD OUTPUT VERSION
set -eu

build=$1
out=$2
version=$3
here=$(dirname "$0")
mkdir -p "$out"

header() { # NAME SECTION
    printf '.\\" Written by packaging/man/generate.sh.\n'
    printf '.TH %s %s 2026-11-22 "Tidegate %s" "Tidegate"\n' "$1" "$2" "$version"
}

see_also() { # the last lines of a page
    printf '.SH SEE ALSO\n'
    while [ $# -gt 1 ]; do
        printf '.BR %s ,\n' "$(echo "$1" | sed 's/-/\\-/g; s/(/ (/')"
        shift
    done
    printf '.BR %s\n' "$(echo "$1" | sed 's/-/\\-/g; s/(/ (/')"
}

# "sale create", "time": the first words of the lines below COMMANDS.
commands() {
    "$build/tidegatectl" --help | sed -n '/^COMMANDS$/,/^[A-Z ]*OPTIONS$/s/^    \([a-z][a-z -]*[a-z]\)   *[a-z].*/\1/p'
}

# The last two sections of the page say what they say in every command's help.
tidegatectl() {
    header TIDEGATECTL 1
    "$build/tidegatectl" --help | awk -v from=4 -f "$here/help.awk"
    commands | while read -r words; do
        printf '.SH "%s"\n' "$words" | tr a-z A-Z | sed 's/-/\\-/g'
        # shellcheck disable=SC2086
        "$build/tidegatectl" $words --help |
            awk -v from=4 -v level=SS -v skip='|NAME|GLOBAL OPTIONS|EXIT CODES|' -f "$here/help.awk"
    done
    see_also 'tidegate-load(1)' 'tidegate.conf(5)' 'tidegated(8)'
}

load() {
    header TIDEGATE-LOAD 1
    "$build/tidegate-load" --help | awk -v from=2 -v lead=1 -f "$here/help.awk"
    printf '.SH COMPARE\n'
    "$build/tidegate-load" compare --help |
        awk -v from=2 -v level=SS -f "$here/help.awk" | sed '/^\.SS/,$!d'
    see_also 'tidegatectl(1)' 'tidegated(8)'
}

conf() {
    header TIDEGATE.CONF 5
    cat "$here/tidegate.conf.head"
    "$build/tidegated" --print-example | awk -f "$here/keys.awk"
    cat "$here/tidegate.conf.tail"
    see_also 'tidegated(8)'
}

daemon() {
    header TIDEGATED 8
    cat "$here/tidegated.8.in"
    see_also 'tidegatectl(1)' 'tidegate-load(1)' 'tidegate.conf(5)' 'systemd.service(5)'
}

tidegatectl >"$out/tidegatectl.1"
load >"$out/tidegate-load.1"
conf >"$out/tidegate.conf.5"
daemon >"$out/tidegated.8"
