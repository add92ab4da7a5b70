# PostgreSQL as a peer. To be read with `.` behind bench/lib.sh.
#
# One row for each SKU, one prepared statement for each order, which is its own transaction: the units are
# taken if they are there, and the order is inserted; its request id is unique, and so is the user, which
# is the limit of one for each. Two requests of one id or one user cannot both be there, and a refusal
# takes nothing. Settings are the fastest that are still durable; over a Unix socket, with the number of
# clients at which it is best.

postgres_pid=''
postgres_dir=''
postgres_clients='' # the best, once it is known
postgres_bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1)

# It does not run as root: then it runs as the user that its package made. A prefix and no function, so
# that the process that is started in the background is the server itself.
postgres_as=''
[ "$(id -u)" -ne 0 ] || postgres_as='setpriv --reuid postgres --regid postgres --clear-groups'

postgres_options='fsync=on synchronous_commit=on full_page_writes=on wal_level=minimal max_wal_senders=0
shared_buffers=1GB wal_buffers=64MB max_wal_size=16GB checkpoint_timeout=1h wal_compression=off
wal_sync_method=fdatasync commit_delay=0 autovacuum_naptime=10s jit=off max_connections=100'

postgres_settings() {
    # shellcheck disable=SC2086
    echo "PostgreSQL $("$postgres_bin/postgres" --version | sed 's/[^0-9]*\([0-9.]*\).*/\1/')," \
        $postgres_options "- pgbench -M prepared over a Unix socket, one order a transaction," \
        "the best of 1, 8, 16, 32 and 64 clients"
}

postgres_tool() {
    tool=$1
    shift
    PGHOST=$postgres_dir PGPORT=5432 PGUSER=bench PGDATABASE=postgres "$postgres_bin/$tool" "$@"
}
postgres_answers() { postgres_tool psql -qAtc 'select 1'; }

# In a directory beside $bench_dir, which belongs to its user.
postgres_start() {
    [ -n "$postgres_bin" ] || bench_die 'there is no PostgreSQL in /usr/lib/postgresql'
    postgres_dir=$(mktemp -d "${bench_dir%/*}/tidegate-bench-pg.XXXXXX")
    bench_also_remove "$postgres_dir"
    [ "$(id -u)" -ne 0 ] || chown postgres:postgres "$postgres_dir"
    chmod 755 "$postgres_dir"
    # From a directory that its user may enter.
    (cd "$postgres_dir" && $postgres_as "$postgres_bin/initdb" -D "$postgres_dir/data" -U bench \
        --auth=trust --no-locale -E UTF8 >"$postgres_dir/initdb.log" 2>&1) ||
        bench_die "initdb failed: $(tail -n 3 "$postgres_dir/initdb.log")"
    for option in $postgres_options; do echo "$option"; done >>"$postgres_dir/data/postgresql.conf"
    printf "listen_addresses=''\nunix_socket_directories='%s'\nunix_socket_permissions=0777\n" \
        "$postgres_dir" >>"$postgres_dir/data/postgresql.conf"
    $postgres_as "$postgres_bin/postgres" -D "$postgres_dir/data" -p 5432 >"$bench_dir/postgres.log" 2>&1 &
    postgres_pid=$!
    bench_started $postgres_pid INT # a fast shutdown: does not wait for clients
    bench_until 60 postgres_answers ||
        bench_die "PostgreSQL did not start: $(tail -n 3 "$bench_dir/postgres.log")"
    cat >"$bench_dir/order.sql" <<'SQL'
\set high random(1, 4611686018427387903)
\set low random(1, 4611686018427387903)
\set buyer random(1, 1000000000000)
WITH taken AS (
    UPDATE items SET available = available - 1, reserved = reserved + 1
    WHERE sku = 'A01-001-M-BL' AND available >= 1 RETURNING sku, price_minor)
INSERT INTO orders (request_high, request_low, sku, user_id, quantity, price_minor)
SELECT :high, :low, sku, :buyer, 1, price_minor FROM taken;
SQL
}

postgres_stop() {
    [ -z "$postgres_pid" ] || bench_stop "$postgres_pid"
    postgres_pid=''
    rm -rf "$postgres_dir"
}

# postgres_tables STOCK: as new.
postgres_tables() {
    postgres_tool psql -q -v ON_ERROR_STOP=1 >"$bench_dir/psql.log" 2>&1 <<SQL || bench_die "psql: $(cat "$bench_dir/psql.log")"
DROP TABLE IF EXISTS orders, items;
CREATE TABLE items (sku text PRIMARY KEY, price_minor bigint NOT NULL, stock bigint NOT NULL,
    available bigint NOT NULL CHECK (available >= 0), reserved bigint NOT NULL DEFAULT 0,
    CHECK (available + reserved = stock)) WITH (fillfactor = 10);
CREATE TABLE orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    request_high bigint NOT NULL, request_low bigint NOT NULL, sku text NOT NULL,
    user_id bigint NOT NULL, quantity integer NOT NULL, price_minor bigint NOT NULL,
    accepted_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (request_high, request_low), UNIQUE (sku, user_id));
INSERT INTO items VALUES ('A01-001-M-BL', 9900, $1, $1);
CHECKPOINT;
SQL
}

# postgres_tps CLIENTS SECONDS -> transactions/s
postgres_tps() {
    postgres_tool pgbench -n -M prepared -c "$1" -j "$(($1 > 1 ? 2 : 1))" -T "$2" \
        -f "$bench_dir/order.sql" >"$bench_dir/pgbench.out" 2>"$bench_dir/pgbench.log" ||
        bench_die "pgbench: $(cat "$bench_dir/pgbench.log")"
    sed -n 's/^tps = \([0-9.]*\).*/\1/p' "$bench_dir/pgbench.out" | head -n 1
}

# Finds the number of clients at which it is best, in runs of SECONDS; sets postgres_clients.
postgres_find() {
    best=0
    for clients in 1 8 16 32 64; do
        postgres_tables 1000000000
        tps=$(postgres_tps $clients "$1")
        bench_say "    PostgreSQL, $clients clients: $tps orders/s"
        if echo "$tps $best" | awk '{ exit !($1 > $2) }'; then
            best=$tps
            postgres_clients=$clients
        fi
    done
}

# postgres_rate STOCK SECONDS -> orders/s. What it tells must be in the table, to the last order.
postgres_rate() {
    postgres_tables "$1"
    tps=$(postgres_tps "$postgres_clients" "$2")
    [ "$(postgres_tool psql -qAtc 'select reserved = (select count(*) from orders) from items')" = t ] ||
        bench_die 'PostgreSQL: units and orders differ'
    echo "$tps"
}
