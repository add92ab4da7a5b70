#!/bin/sh
# Builds the Debian packages in a copy of the tree, and holds them against lintian: an error fails.
#
# usage: deb.sh OUTPUT      (OUTPUT: a directory, such as build/deb; its packages are replaced)
set -eu

cd "$(dirname "$0")/.."
mkdir -p "$1"
out=$(cd "$1" && pwd)
version=$(cat VERSION)
packaged=$(dpkg-parsechangelog -l packaging/debian/changelog -S Version)
if [ "$packaged" != "$version" ]; then
    echo "deb.sh: VERSION is $version, the newest entry of packaging/debian/changelog $packaged" >&2
    exit 1
fi

# What a build reads. The work tree as it is, also what is not committed yet.
copy=$out/tidegate-$version
rm -rf "$copy"
mkdir "$copy"
cp -a Makefile VERSION LICENSE README.md CHANGELOG.md base client ctl docs engine loadgen net packaging \
    proto scripts server storage "$copy"
mkdir "$copy/bench"
cp -a bench/scenarios "$copy/bench"
mv "$copy/packaging/debian" "$copy/debian"

rm -f "$out"/*.deb "$out"/*.changes "$out"/*.buildinfo
(cd "$copy" && DEB_BUILD_OPTIONS="${DEB_BUILD_OPTIONS:-parallel=$(nproc)}" \
    dpkg-buildpackage --build=binary --unsigned-changes --no-pre-clean) >"$out/build.log" 2>&1 || {
    tail -n 40 "$out/build.log" >&2
    exit 1
}
rm -rf "$copy"
lintian --fail-on error --tag-display-limit 0 "$out"/*.changes
ls -l "$out"/*.deb
