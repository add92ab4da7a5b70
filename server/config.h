/* What an operator can set, where each setting comes from, and its default.
 *
 * Defaults, then the INI file named by --config, then the command line; the last one wins. A key
 * that nobody knows, or a value out of its range, is an error with the line and what it must be.
 * On SIGHUP all of it is read again, and what can be changed under way is taken over.
 */
#ifndef TG_SERVER_CONFIG_H
#define TG_SERVER_CONFIG_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* X(section, name, default, smallest, largest, unit, reload, help): every number that can be set.
 * `unit` is "" for a plain count. `reload` is 1 when SIGHUP takes a new value over: whoever reads
 * such a key beside the main thread reads it with tg_count_read. */
#define SRV_NUMBERS(X)                                                                             \
    X(server, threads, 1, 1, 64, "", 0, "core threads, each with one shard")                       \
    X(server, connections_max, 16384, 1, 1000000, "", 0, "connections on one core thread")         \
    X(server, in_flight_max, 16384, 1, 1000000, "", 0,                                             \
      "orders unanswered on one connection before it is not read")                                 \
    X(server, output_bytes_max, 262144, 4096, 1073741824, "bytes", 0,                              \
      "answers unsent on one connection before it is not read")                                    \
    X(server, output_memory_mib, 512, 1, 65536, "MiB", 0,                                          \
      "unsent answers of all connections of one core")                                             \
    X(server, held_memory_mib, 256, 6, 4095, "MiB", 0,                                             \
      "received, not yet handled, of all connections of a core")                                   \
    X(server, idle_timeout_s, 600, 1, 31536000, "seconds", 0,                                      \
      "a connection without traffic is closed")                                                    \
    X(server, frame_timeout_s, 30, 1, 86400, "seconds", 0,                                         \
      "a frame must be complete in this time")                                                     \
    X(server, write_timeout_s, 10, 1, 86400, "seconds", 0,                                         \
      "a reader that does not read is closed")                                                     \
    X(server, drain_timeout_s, 30, 1, 86400, "seconds", 1, "time to finish after SIGTERM")         \
    X(server, lane_backlog, 16384, 1, 65536, "", 0,                                                \
      "records in flight in a shard beyond which orders wait in lanes")                            \
    X(server, lane_vip_weight, 8, 1, 1000, "", 0, "VIP orders that go on in one round")            \
    X(server, lane_prepaid_weight, 4, 1, 1000, "", 0, "PREPAID orders that go on in one round")    \
    X(server, lane_flash_weight, 1, 1, 1000, "", 0, "FLASH orders that go on in one round")        \
    X(events, keep_s, 604800, 1, 315360000, "seconds", 1, "age at which events may be dropped")    \
    X(events, keep_mib, 16384, 1, 67108864, "MiB", 1,                                              \
      "size of the outbox beyond which the oldest may go")                                         \
    X(engine, sales_max, 16384, 1, 10000000, "", 0, "sales, open and closed")                      \
    X(engine, items_max, 1048576, 1, 100000000, "", 0, "items of all sales")                       \
    X(engine, orders_max, 33554432, 16, 1000000000, "", 0,                                         \
      "accepted orders remembered for retries, in all shards together")                            \
    X(engine, holdings_max, 33554432, 16, 1000000000, "", 0,                                       \
      "(user, item) pairs counted for limits, in all shards together")                             \
    X(engine, timers_max, 67108864, 1024, 1000000000, "", 0,                                       \
      "payment deadlines that wait, in all shards together")                                       \
    X(engine, request_ttl_s, 86400, 1, 31536000, "seconds", 0,                                     \
      "how long an accepted request id is remembered")                                             \
    X(tls, handshake_timeout_s, 10, 1, 3600, "seconds", 0,                                         \
      "a TLS handshake must be complete in this time")                                             \
    X(grpc, calls_max, 256, 1, 1024, "", 0, "calls at a time on one connection")                   \
    X(admin, clients_max, 256, 8, 65536, "", 0, "connections to the admin listener")               \
    X(admin, clients_per_address_max, 64, 1, 65536, "", 0, "the same from one address")            \
    X(admin, streams_max, 64, 1, 1024, "", 0, "streams of snapshots, one for each open live page") \
    X(admin, stock_series_max, 1000, 0, 100000, "", 0,                                             \
      "items that have stock series of their own in /metrics")                                     \
    X(admin, low_stock_percent, 10, 0, 100, "%", 1,                                                \
      "an item with no more of its initial stock left is low; 0: none is")                         \
    X(admin, lag_alert_ms, 1000, 1, 3600000, "ms", 1,                                              \
      "orders that wait longer for their commit are an alert")                                     \
    X(admin, disk_alert_mib, 1024, 0, 67108864, "MiB", 1,                                          \
      "less free space where the database is is an alert")                                         \
    X(security, requests_per_s, 0, 0, 1000000000, "", 1,                                           \
      "requests other than orders of a tenant in a second; 0: no limit")                           \
    X(security, orders_per_s, 0, 0, 1000000000, "", 1,                                             \
      "orders of a tenant in a second; 0: no limit")                                               \
    X(security, connections_per_address, 0, 0, 1000000, "", 1,                                     \
      "connections of one address on all cores together; 0: no limit")                             \
    X(storage, map_gib, 256, 1, 65536, "GiB", 0, "largest size of the database file")              \
    X(storage, map_mib, 0, 0, 1048576, "MiB", 0, "the same in MiB, for tests; 0: map_gib counts")  \
    X(storage, free_mib_min, 64, 0, 1048576, "MiB", 0,                                             \
      "orders are refused as STORAGE_FULL when the filesystem has less free")

/* The oldest version of TLS that is spoken. */
enum srv_tls_version {
    SRV_TLS_1_2,
    SRV_TLS_1_3,
};

struct srv_config {
    char data_dir[4096];
    char listen[280];
    char admin_listen[280]; /* "": no admin listener */
    char grpc_listen[280];  /* "": no gRPC listener */
    bool insecure;          /* listen beyond loopback although nothing authenticates callers */
    /* PEM files, for all listeners; "" for none. The files are read again on SIGHUP. */
    char tls_certificate[1024]; /* TLS is on when this and the key are set */
    char tls_key[1024];
    char tls_client_ca[1024]; /* callers must show a certificate that one of these has signed */
    uint64_t tls_version_min; /* enum srv_tls_version */
    char token_file[1024];    /* whose tokens are asked for on all listeners; "" for none */
    char audit_log[1024];     /* what operators did; "" for none */
    uint64_t log_level;       /* enum tg_log_level */
    uint64_t log_format;      /* enum tg_log_format */
#define SRV_NUMBER_FIELD(section, name, initial, low, high, unit, reload, help) uint64_t name;
    SRV_NUMBERS(SRV_NUMBER_FIELD)
#undef SRV_NUMBER_FIELD
};

/* Fills in the defaults. */
void srv_config_init(struct srv_config *config);

/* Reads an INI file over what is there. */
enum tg_error srv_config_load(struct srv_config *config, const char *path, struct tg_fault *fault);

/* Sets one key as the file would: section, name, text. */
enum tg_error srv_config_set(struct srv_config *config, const char *section, const char *name,
                             const char *value, struct tg_fault *fault);

/* Whether the whole makes sense: a data directory is named, and so on. */
enum tg_error srv_config_check(const struct srv_config *config, struct tg_fault *fault);

/* A key whose value differs, told by srv_config_reload: "server.drain_timeout_s", both values as
 * the file would have them, and whether the new one is in force from now on. */
typedef void srv_config_changed(void *context, const char *key, const char *before,
                                const char *after, bool in_force);

/* Takes over from `fresh`, which srv_config_check has passed, what can be changed while the daemon
 * runs; everything else stays as it is. Tells of every difference; returns how many there are.
 * Main thread, while others may read `running`. */
uint32_t srv_config_reload(struct srv_config *running, const struct srv_config *fresh,
                           srv_config_changed *changed, void *context);

/* Writes every key with its default, range and meaning: the reference in --help. */
void srv_config_describe(void);

/* Writes the documented example file: every key, commented out at its default. It can be loaded;
 * packaging/tidegate.conf.example is what this writes. */
void srv_config_write_example(FILE *file);

/* Writes every key with the value that is in force, as a file that can be loaded. */
void srv_config_write(const struct srv_config *config, FILE *file);

#endif
