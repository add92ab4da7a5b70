#!/bin/sh
# Installs the Debian packages that are missing for what is asked for: build, test, lint, docs,
# fuzz, memcheck, bench, peers, monitoring, deb, boot, examples, container or page.
# As root, else with sudo, else it prints the one line to run by hand and fails.
set -eu

build='gcc make pkg-config liburing-dev libjemalloc-dev liblmdb-dev libprotobuf-c-dev
       protobuf-c-compiler protobuf-compiler libxxhash-dev libinih-dev libjansson-dev libssl-dev
       libmicrohttpd-dev libgnutls28-dev libjs-chart.js libnghttp2-dev grpc-proto'
test='libcriterion-dev python3'
lint='clang-format clang-tidy cppcheck'
docs='protobuf-compiler python3 python3-protobuf'
fuzz='clang libclang-rt-14-dev'
memcheck='valgrind libc6-dbg'
bench='valgrind jq'
peers='redis-server postgresql'
monitoring='prometheus'
interop='python3-grpcio python3-protobuf openssl'
# Node of another source than Debian's brings its own npm.
command -v npm >/dev/null 2>&1 || interop="$interop nodejs npm"
deb='debhelper dpkg-dev fakeroot lintian man-db mandoc systemd'
boot='debootstrap systemd-container'
examples='python3 python3-protobuf python3-grpcio python3-grpc-tools'
container='runc jq golang-github-containers-common'
page='python3 chromium fonts-inter fonts-wqy-microhei'
# Node's own packages bring npm with node, under another name.
command -v npm >/dev/null 2>&1 || { page="$page npm" && examples="$examples npm"; }

wanted=''
for set in "$@"; do
    case $set in
    build) wanted="$wanted $build" ;;
    test) wanted="$wanted $test" ;;
    lint) wanted="$wanted $lint" ;;
    docs) wanted="$wanted $docs" ;;
    fuzz) wanted="$wanted $fuzz" ;;
    memcheck) wanted="$wanted $memcheck" ;;
    bench) wanted="$wanted $bench" ;;
    peers) wanted="$wanted $peers" ;;
    monitoring) wanted="$wanted $monitoring" ;;
    interop) wanted="$wanted $interop" ;;
    deb) wanted="$wanted $deb" ;;
    boot) wanted="$wanted $boot" ;;
    examples) wanted="$wanted $examples" ;;
    container) wanted="$wanted $container" ;;
    page) wanted="$wanted $page" ;;
    *) echo "deps.sh: no such set: $set (build, test, lint, docs, fuzz, memcheck, bench, peers, monitoring, deb, boot, examples, container, page)" >&2; exit 2 ;;
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
# The lists of a fresh machine may be old or absent.
$as apt-get update -qq

# A service that a package brings is not started, nor enabled, and no database cluster is made for it:
# what is benched runs on directories of its own.
policy=/usr/sbin/policy-rc.d
clusters=/etc/postgresql-common/createcluster.d
cluster=$clusters/tidegate-bench.conf
undo=''
case "$missing " in *' redis-server '* | *' postgresql '* | *' prometheus '*)
    undo='true'
    if [ ! -e $policy ]; then
        printf '#!/bin/sh\nexit 101\n' | $as tee $policy >/dev/null
        $as chmod 755 $policy
        undo="$undo; $as rm -f $policy"
    fi
    if [ ! -e /etc/postgresql-common ]; then
        $as mkdir -p $clusters
        echo 'create_main_cluster = false' | $as tee $cluster >/dev/null
        undo="$undo; $as rm -f $cluster"
    fi
    trap "$undo" EXIT
    ;;
esac
$as env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 $install >/dev/null
for service in redis-server postgresql prometheus; do
    case "$missing " in *" $service "*)
        ! command -v systemctl >/dev/null 2>&1 || $as systemctl disable $service >/dev/null 2>&1 || true
        ! command -v update-rc.d >/dev/null 2>&1 || $as update-rc.d $service disable >/dev/null 2>&1 || true
        ;;
    esac
done
