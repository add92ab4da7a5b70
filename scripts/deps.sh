#!/bin/sh
# Installs the Debian packages that are missing for what is asked for: build, test, lint, fuzz or
# peers.
# As root, else with sudo, else it prints the one line to run by hand and fails.
set -eu

build='gcc make pkg-config liburing-dev libjemalloc-dev liblmdb-dev libprotobuf-c-dev
       protobuf-c-compiler protobuf-compiler libxxhash-dev libinih-dev libjansson-dev'
test='libcriterion-dev'
lint='clang-format clang-tidy cppcheck'
fuzz='clang libclang-rt-14-dev'
peers='redis-server'

wanted=''
for set in "$@"; do
    case $set in
    build) wanted="$wanted $build" ;;
    test) wanted="$wanted $test" ;;
    lint) wanted="$wanted $lint" ;;
    fuzz) wanted="$wanted $fuzz" ;;
    peers) wanted="$wanted $peers" ;;
    *) echo "deps.sh: no such set: $set (build, test, lint, fuzz, peers)" >&2; exit 2 ;;
    esac
done

missing=''
for package in $wanted; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' ||
        missing="$missing $package"
done
[ -n "$missing" ] || exit 0

install="apt-get install -y --no-install-recommends$missing"
if [ "$(id -u)" -eq 0 ]; then
    as=''
elif command -v sudo >/dev/null 2>&1; then
    as='sudo'
else
    echo "Packages are missing, and this is neither root nor is there sudo. As root, run:" >&2
    echo "    apt-get update && $install" >&2
    exit 1
fi
echo "installing:$missing"
export DEBIAN_FRONTEND=noninteractive
# The lists of a fresh machine may be old or absent; a service that a package brings must not start.
$as apt-get update -qq
$as env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 $install >/dev/null
