#!/bin/sh
# What an SRE runs before a sale, against the daemon that will serve it (on a data directory of its own:
# the sales that are played stay there). docs/quickstart-sre.md walks through it.
#
# usage: before-the-sale.sh [HOST:PORT [DURATION [DIRECTORY]]]     (of each step; for the reports)
set -eu

server=${1:-127.0.0.1:7411}
duration=${2:-30s}
reports=${3:-reports}
load=${TIDEGATE_LOAD:-tidegate-load}
p99=${P99:-50ms} # what a buyer is to wait at most, but for one in a hundred
mkdir -p "$reports"

# The sale as it will be: a hot item, more buyers than units, an open loop at the rate that is expected.
"$load" --server "$server" --scenario seckill --stock 10000 --users 200000 --connections 64 \
    --rate 20000 --duration "$duration" --max-p99 "$p99" --max-errors 0 \
    --json "$reports/sale.json" --html "$reports/sale.html" --junit "$reports/sale.xml"

# How far the machine goes while every order has to be on the disk: the rate at which p99 is too long.
"$load" --server "$server" --saturate "p99<=$p99" --scenario durable --connections 64 \
    --rate 20000 --duration "$duration" --json "$reports/saturation.json"

# What comes after: orders that are paid, late, twice, cancelled, refunded, shipped, with their races.
"$load" --server "$server" --scenario lifecycle --connections 16 --rate 500 --duration "$duration" \
    --json "$reports/lifecycle.json"
