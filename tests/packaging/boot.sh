#!/bin/bash
# Installs, reloads, watches, upgrades, removes and purges the Debian package in a container in which
# systemd boots, under load. Needs root, debootstrap, systemd-nspawn and Debian's mirror the first time.
#
# usage: boot.sh DEBS      (DEBS: the directory with tidegate_*.deb; the container lies in DEBS/root)
set -euo pipefail

debs=$(cd "$1" && pwd)
root=$debs/root
needed='systemd,systemd-sysv,dbus,liburing2,liblmdb0,libprotobuf-c1,libinih1,libjansson4,libjemalloc2'
passed=0

fail() {
    echo "FAIL  $*" >&2
    inside journalctl -u tidegated --no-pager -n 20 >&2 || true
    exit 1
}
ok() {
    passed=$((passed + 1))
    echo "ok    $*"
}
# Runs a command in the container.
inside() {
    nsenter -t "$leader" -m -u -i -n -p env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin \
        DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 "$@"
}
property() { inside systemctl show -P "$1" tidegated; }
# Waits until a command succeeds, 20 s at most.
until_true() {
    local i
    for ((i = 0; i < 100; i++)); do
        "$@" >/dev/null 2>&1 && return
        sleep 0.2
    done
    fail "never true: $*"
}
state_is() { [ "$(property ActiveState)" = "$1" ]; }
restarted_once() { [ "$(property NRestarts)" = 1 ] && state_is active && [ "$(property MainPID)" != "$pid" ]; }
logged() { inside journalctl -u tidegated --no-pager -o cat | grep -- "$1" >/dev/null; }

if [ "$(id -u)" -ne 0 ] || ! command -v systemd-nspawn >/dev/null || ! command -v debootstrap >/dev/null; then
    echo "boot.sh: needs root, systemd-container and debootstrap" >&2
    exit 77
fi
package=$(ls "$debs"/tidegate_*.deb)
[ -e "$root/etc/debian_version" ] || debootstrap --variant=minbase --include="$needed" bookworm "$root" \
    >"$debs/debootstrap.log" 2>&1
[ -s "$root/etc/machine-id" ] || systemd-id128 new >"$root/etc/machine-id"

# The same files under a higher version.
rm -rf "$root/debs" "$debs/next"
mkdir "$root/debs"
dpkg-deb -R "$package" "$debs/next"
sed -i 's/^Version: .*/&+next/' "$debs/next/DEBIAN/control"
dpkg-deb --root-owner-group -b "$debs/next" "$root/debs/next.deb" >/dev/null
rm -rf "$debs/next"
cp "$package" "$root/debs/first.deb"

systemd-nspawn -q -D "$root" -b --private-network --register=no --keep-unit --console=pipe \
    </dev/null >"$debs/boot.log" 2>&1 &
nspawn=$!
leader=''
cleanup() {
    [ -z "$leader" ] || inside dpkg --purge tidegate >/dev/null 2>&1 || true
    kill -TERM "$nspawn" 2>/dev/null || true
    wait "$nspawn" 2>/dev/null || true
}
trap cleanup EXIT
for ((i = 0; i < 100; i++)); do
    leader=$(ps -o pid= --ppid "$nspawn" | tr -d ' ') || true
    [ -z "$leader" ] || ! inside systemctl is-system-running 2>/dev/null | grep 'running\|degraded' >/dev/null || break
    sleep 0.2
done
inside dpkg --purge tidegate >/dev/null 2>&1 || true
rm -rf "$root/var/lib/tidegate"

inside dpkg -i /debs/first.deb >/dev/null 2>&1 || fail 'dpkg -i'
until_true state_is active
[ "$(property StatusText)" = 'serving on 127.0.0.1:7411, 0 orders recovered' ] || fail "status: $(property StatusText)"
ok 'installed, started, READY with its status'

pid=$(property MainPID)
inside grep -q '^Seccomp:[[:space:]]*2' "/proc/$pid/status" || fail 'no seccomp filter'
inside grep -q '^NoNewPrivs:[[:space:]]*1' "/proc/$pid/status" || fail 'new privileges'
inside grep -q '^CapEff:[[:space:]]*0*$' "/proc/$pid/status" || fail 'capabilities'
[ "$(inside stat -c '%U %a' /var/lib/tidegate)" = 'tidegate 750' ] || fail 'the data directory'
[ "$(inside stat -c %U "/proc/$pid")" = tidegate ] || fail 'the user'
ok 'runs as tidegate, without capabilities, under the filter'

inside tidegate-load --duration 2s --connections 8 --users 20000 --quiet --reconnect 20s || fail 'load in the sandbox'
ok 'a sale of two seconds in the sandbox, audited'

inside sed -i 's/^#format = text/format = json/; s/^#sales_max = 16384/sales_max = 99/' /etc/tidegate/tidegate.conf
inside systemctl reload tidegated || fail 'reload'
until_true logged '"msg":"configuration read again: 2 keys differ, 1 need a restart"'
if [ "$(property MainPID)" != "$pid" ] || ! state_is active; then fail 'a reload is no restart'; fi
echo 'nonsense = 1' >>"$root/etc/tidegate/tidegate.conf"
! inside systemctl reload tidegated 2>/dev/null || fail 'a reload of a wrong file must fail'
state_is active || fail 'a wrong file ended the daemon'
until_true logged 'there is no key log.nonsense'
sed -i '$d' "$root/etc/tidegate/tidegate.conf"
ok 'reload: takes over, refuses what is wrong, goes on'

inside mkdir -p /run/systemd/system/tidegated.service.d
printf '[Service]\nWatchdogSec=3\n' >"$debs/watchdog.conf"
inside tee /run/systemd/system/tidegated.service.d/test.conf <"$debs/watchdog.conf" >/dev/null
inside systemctl daemon-reload
inside systemctl restart tidegated
until_true state_is active
sleep 5
[ "$(property NRestarts)" = 0 ] || fail 'a watchdog of 3 s fired although all was well'
pid=$(property MainPID)
inside sh -c "kill -STOP $pid"
until_true logged 'Watchdog timeout'
until_true restarted_once
ok 'a daemon that stands still is ended by the watchdog and started again'
inside rm -r /run/systemd/system/tidegated.service.d
inside systemctl daemon-reload

inside tidegate-load --scenario durable --duration 12s --connections 4 --pipeline 4 --quiet --reconnect 30s &
load=$!
sleep 3
pid=$(property MainPID)
inside dpkg --force-confold -i /debs/next.deb >/dev/null 2>&1 || fail 'upgrade'
until_true state_is active
[ "$(property MainPID)" != "$pid" ] || fail 'the upgrade did not restart the daemon'
wait "$load" || fail 'the audit of a load over the upgrade'
inside grep -q '^format = json' /etc/tidegate/tidegate.conf || fail 'the upgrade lost the configuration'
ok 'upgraded under load: the audit holds, the configuration is kept'

inside dpkg -r tidegate >/dev/null 2>&1 || fail 'remove'
! state_is active || fail 'runs on after its removal'
[ -e "$root/var/lib/tidegate/data.mdb" ] || fail 'remove took the database'
[ -e "$root/etc/tidegate/tidegate.conf" ] || fail 'remove took the configuration'
ok 'removed: stopped, data and configuration are kept'
inside dpkg -i /debs/next.deb >/dev/null 2>&1 || fail 'install again'
until_true state_is active
property StatusText | grep ', [1-9][0-9]* orders recovered$' >/dev/null || fail "recovered: $(property StatusText)"
ok 'installed again on the same data'
inside dpkg --purge tidegate >/dev/null 2>&1 || fail 'purge'
[ ! -e "$root/etc/tidegate" ] || fail 'purge left configuration'
[ ! -L "$root/etc/systemd/system/multi-user.target.wants/tidegated.service" ] || fail 'purge left it enabled'
[ -e "$root/var/lib/tidegate/data.mdb" ] || fail 'purge took the database'
ok 'purged: no configuration is left, the database is'
echo "$passed passed, 0 failed"
