#include "server/metrics.h"

#include "base/clock.h"
#include "base/count.h"
#include "base/mem.h"
#include "server/board.h"
#include "server/exchange.h"
#include "server/exposition.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Sales of which there are gauges: those that can sell, newest first. */
#define SALES_TOLD_MAX 100

#define CORE_NAME_BYTES 32

/* What is being written, and what it is read from. */
struct writing {
    struct srv_exposition out;
    struct srv_admin *admin;
    const struct srv_server *server;
    uint64_t threads;
};

static void one(struct writing *w, const char *name, const char *type, const char *help,
                uint64_t value)
{
    srv_family(&w->out, name, type, help);
    srv_sample(&w->out, NULL, 0, value);
}

static void one_real(struct writing *w, const char *name, const char *type, const char *help,
                     double value)
{
    srv_family(&w->out, name, type, help);
    srv_sample_real(&w->out, NULL, 0, value);
}

static void labelled(struct writing *w, const char *label, const char *value, uint64_t sample)
{
    struct srv_label labels[] = {{label, value}};
    srv_sample(&w->out, labels, 1, sample);
}

static double seconds_of(const struct timespec *time)
{
    return (double)time->tv_sec + (double)time->tv_nsec / 1e9;
}

/* --- the process --- */

static void write_build(struct writing *w)
{
    srv_family(&w->out, "tidegate_build_info", "gauge", "Always 1; the version is in the label.");
    labelled(w, "version", TG_VERSION, 1);
}

static void write_process(struct writing *w)
{
    struct timespec used;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    one_real(w, "process_start_time_seconds", "gauge", "Unix time at which the daemon was ready.",
             (double)w->server->started_at_ms / 1000);
    one_real(w, "process_cpu_seconds_total", "counter", "Processor time of all threads.",
             seconds_of(&used));
    one(w, "process_resident_memory_bytes", "gauge", "Resident memory.", tg_mem_resident_bytes());
}

static void write_thread(struct writing *w, const char *name, pthread_t thread)
{
    struct srv_label labels[] = {{"thread", name}};
    struct timespec used;
    clockid_t clock;
    if (pthread_getcpuclockid(thread, &clock) == 0 && clock_gettime(clock, &used) == 0)
        srv_sample_real(&w->out, labels, 1, seconds_of(&used));
}

/* The kernel counts these anyway: the threads spend nothing on being watched. */
static void write_threads(struct writing *w)
{
    srv_family(&w->out, "tidegate_thread_cpu_seconds_total", "counter",
               "Processor time of a thread; its rate is the share of a core that it keeps busy.");
    for (uint64_t i = 0; i < w->threads; i++) {
        char name[CORE_NAME_BYTES];
        snprintf(name, sizeof(name), "core%" PRIu64, i);
        write_thread(w, name, w->server->cores[i].thread);
    }
    write_thread(w, "writer", w->server->writer.thread);
    write_thread(w, "admin", pthread_self());
}

/* jemalloc's, which builds for sanitizers leave out. */
int mallctl(const char *name, void *old, size_t *old_bytes, void *new, size_t new_bytes)
    __attribute__((weak));

static void write_allocator(struct writing *w)
{
    static const struct {
        const char *name, *metric, *help;
    } figures[] = {
        {"stats.allocated", "tidegate_jemalloc_allocated_bytes", "Bytes that the program holds."},
        {"stats.active", "tidegate_jemalloc_active_bytes", "Bytes in pages that hold any of them."},
        {"stats.resident", "tidegate_jemalloc_resident_bytes",
         "Bytes in resident pages, its own included."},
        {"stats.mapped", "tidegate_jemalloc_mapped_bytes", "Bytes in mapped extents."},
        {"stats.retained", "tidegate_jemalloc_retained_bytes",
         "Bytes of address space kept for later."},
    };
    uint64_t epoch = 1;
    if (!mallctl || mallctl("epoch", NULL, NULL, &epoch, sizeof(epoch)) != 0)
        return;
    for (size_t i = 0; i < sizeof(figures) / sizeof(figures[0]); i++) {
        size_t value, bytes = sizeof(value);
        if (mallctl(figures[i].name, &value, &bytes, NULL, 0) == 0)
            one(w, figures[i].metric, "gauge", figures[i].help, value);
    }
}

/* --- orders --- */

static void write_orders(struct writing *w)
{
    srv_family(&w->out, "tidegate_orders_total", "counter", "Answers to orders, by verdict.");
    for (uint32_t verdict = 1; verdict < TG_VERDICT_COUNT; verdict++) {
        uint64_t count = 0;
        for (uint64_t i = 0; i < w->threads; i++)
            count += tg_count_read(&w->server->cores[i].stats.verdicts[verdict]);
        /* Those of orders are always there, so that their rates are; others when they were seen. */
        if (count > 0 || verdict <= TG_STORAGE_FULL)
            labelled(w, "verdict", tg_verdict_name((int)verdict), count);
    }
    uint64_t replayed = 0;
    for (uint64_t i = 0; i < w->threads; i++)
        replayed += tg_count_read(&w->server->cores[i].stats.replayed);
    one(w, "tidegate_orders_replayed_total", "counter",
        "Retries that were given the answer of the first request; ACCEPTED counts them too.",
        replayed);
}

/* One family with a sample for each core. */
static void write_cores(struct writing *w, const char *name, const char *type, const char *help,
                        uint64_t (*value)(const struct srv_core *core))
{
    srv_family(&w->out, name, type, help);
    for (uint64_t i = 0; i < w->threads; i++) {
        char core[CORE_NAME_BYTES];
        snprintf(core, sizeof(core), "%" PRIu64, i);
        labelled(w, "core", core, value(&w->server->cores[i]));
    }
}

#define CORE_FIGURE_AS(name, field)                                                                \
    static uint64_t name##_of(const struct srv_core *core)                                         \
    {                                                                                              \
        return tg_count_read(&core->stats.field);                                                  \
    }
#define CORE_FIGURE(name) CORE_FIGURE_AS(name, name)
CORE_FIGURE(connections_accepted)
CORE_FIGURE(connections_refused)
CORE_FIGURE(connections_timed_out)
CORE_FIGURE(connections_overflowed)
CORE_FIGURE(frames)
CORE_FIGURE(bad_frames)
CORE_FIGURE(turns)
CORE_FIGURE(bytes_received)
CORE_FIGURE(bytes_sent)
CORE_FIGURE(unauthenticated)
CORE_FIGURE(denied)
CORE_FIGURE(limited)
CORE_FIGURE(lane_orders)
CORE_FIGURE_AS(grpc_connections, grpc.connections)
CORE_FIGURE_AS(grpc_calls, grpc.calls)
CORE_FIGURE_AS(grpc_cancelled, grpc.cancelled)
CORE_FIGURE_AS(grpc_refused, grpc.refused)
CORE_FIGURE_AS(grpc_broken, grpc.broken)

static uint64_t connections_of(const struct srv_core *core)
{
    uint64_t closed = tg_count_read(&core->stats.connections_closed);
    uint64_t accepted = tg_count_read(&core->stats.connections_accepted);
    return accepted > closed ? accepted - closed : 0; /* not read at one moment */
}

static void write_connections(struct writing *w)
{
    write_cores(w, "tidegate_connections", "gauge", "Connections that are open.", connections_of);
    write_cores(w, "tidegate_connections_accepted_total", "counter", "Connections accepted.",
                connections_accepted_of);
    write_cores(w, "tidegate_connections_refused_total", "counter",
                "Connections turned away at the limit.", connections_refused_of);
    write_cores(w, "tidegate_connections_timed_out_total", "counter",
                "Connections closed for slowness or idleness.", connections_timed_out_of);
    write_cores(w, "tidegate_connections_overflowed_total", "counter",
                "Connections closed for want of output memory.", connections_overflowed_of);
    write_cores(w, "tidegate_frames_total", "counter", "Frames received.", frames_of);
    write_cores(w, "tidegate_bad_frames_total", "counter", "Frames that could not be read.",
                bad_frames_of);
    write_cores(w, "tidegate_received_bytes_total", "counter", "Bytes received on the wire.",
                bytes_received_of);
    write_cores(w, "tidegate_sent_bytes_total", "counter", "Bytes sent on the wire.",
                bytes_sent_of);
    write_cores(w, "tidegate_loop_turns_total", "counter", "Turns of a core's loop.", turns_of);
}

/* Who callers are: all 0 where no tokens are asked for. */
static void write_identity(struct writing *w)
{
    write_cores(w, "tidegate_unauthenticated_total", "counter",
                "Requests refused for want of a token in force.", unauthenticated_of);
    write_cores(w, "tidegate_denied_total", "counter",
                "Requests refused because the token does not have the role.", denied_of);
    write_cores(w, "tidegate_limited_total", "counter",
                "Requests refused by the limits of a tenant.", limited_of);
}

/* All 0 without a gRPC listener. */
static void write_grpc(struct writing *w)
{
    static const char *const codes[NET_GRPC_CODE_COUNT] = {
        [NET_GRPC_OK] = "OK",
        [NET_GRPC_CANCELLED] = "CANCELLED",
        [NET_GRPC_UNKNOWN] = "UNKNOWN",
        [NET_GRPC_INVALID_ARGUMENT] = "INVALID_ARGUMENT",
        [NET_GRPC_DEADLINE_EXCEEDED] = "DEADLINE_EXCEEDED",
        [NET_GRPC_NOT_FOUND] = "NOT_FOUND",
        [NET_GRPC_PERMISSION_DENIED] = "PERMISSION_DENIED",
        [NET_GRPC_RESOURCE_EXHAUSTED] = "RESOURCE_EXHAUSTED",
        [NET_GRPC_UNIMPLEMENTED] = "UNIMPLEMENTED",
        [NET_GRPC_INTERNAL] = "INTERNAL",
        [NET_GRPC_UNAVAILABLE] = "UNAVAILABLE",
        [NET_GRPC_UNAUTHENTICATED] = "UNAUTHENTICATED",
    };
    write_cores(w, "tidegate_grpc_connections_total", "counter", "Connections that spoke gRPC.",
                grpc_connections_of);
    write_cores(w, "tidegate_grpc_calls_total", "counter", "Calls that began.", grpc_calls_of);
    write_cores(w, "tidegate_grpc_cancelled_total", "counter",
                "Calls that the caller cancelled before their status.", grpc_cancelled_of);
    write_cores(w, "tidegate_grpc_refused_total", "counter",
                "Other protocols and requests that are no gRPC, turned away.", grpc_refused_of);
    write_cores(w, "tidegate_grpc_broken_total", "counter",
                "Connections that broke HTTP/2, or its bounds.", grpc_broken_of);
    srv_family(&w->out, "tidegate_grpc_statuses_total", "counter", "Statuses sent, by code.");
    for (int code = 0; code < NET_GRPC_CODE_COUNT; code++) {
        uint64_t sent = 0;
        for (uint64_t i = 0; i < w->threads; i++)
            sent += tg_count_read(&w->server->cores[i].stats.grpc.ended[code]);
        if (codes[code])
            labelled(w, "code", codes[code], sent);
    }
}

/* Of the native and the gRPC listeners; all 0 without TLS. */
static void write_tls(struct writing *w)
{
    struct tls_stats stats = {0};
    if (w->server->tls)
        tls_context_stats(w->server->tls, &stats);
    one(w, "tidegate_tls_sessions", "gauge", "TLS sessions that are open.", stats.open);
    one(w, "tidegate_tls_handshakes_total", "counter", "TLS handshakes that succeeded.",
        stats.handshakes);
    one(w, "tidegate_tls_resumed_total", "counter", "Of these, by a ticket.", stats.resumed);
    one(w, "tidegate_tls_failures_total", "counter",
        "TLS sessions that failed before they were open.", stats.failed);
    one_real(w, "tidegate_tls_certificate_expiry_seconds", "gauge",
             "Unix time at which the certificate in force ends; 0 without TLS.",
             (double)stats.expires_at_ms / 1000);
}

/* --- queues and the writer --- */

static uint64_t pending_of(const struct srv_core *core)
{
    /* acquire: the tail that is read behind it is not older */
    uint64_t durable = atomic_load_explicit(&core->journal.durable, memory_order_acquire);
    return atomic_load_explicit(&core->journal.tail, memory_order_relaxed) - durable;
}

/* Messages in the rings towards a core. */
static uint64_t ring_messages(const struct srv_core *core, const struct tg_ring *rings)
{
    uint64_t threads = core->server->config.threads, messages = 0;
    for (uint64_t from = 0; from < threads; from++) {
        const struct tg_ring *ring = &rings[from * threads + core->core];
        uint64_t head = atomic_load_explicit(&ring->head, memory_order_acquire);
        messages += atomic_load_explicit(&ring->tail, memory_order_relaxed) - head;
    }
    return messages;
}

static uint64_t requests_of(const struct srv_core *core)
{
    return ring_messages(core, core->server->requests);
}

static uint64_t replies_of(const struct srv_core *core)
{
    return ring_messages(core, core->server->replies);
}

static void write_queues(struct writing *w)
{
    write_cores(w, "tidegate_journal_pending_records", "gauge",
                "Records that were decided and are not durable yet.", pending_of);
    write_cores(w, "tidegate_lane_orders", "gauge", "Orders that wait in lanes.", lane_orders_of);
    write_cores(w, "tidegate_ring_request_messages", "gauge",
                "Requests of other cores that wait for this one.", requests_of);
    write_cores(w, "tidegate_ring_reply_messages", "gauge",
                "Answers of other cores that wait for this one.", replies_of);
    one_real(w, "tidegate_watermark_lag_seconds", "gauge",
             "How long, at least, the oldest record waits for its commit; below half a second it "
             "is 0.",
             (double)srv_recent_lag_ns(&w->admin->watch.recent) / 1e9);
}

static void write_commits(struct writing *w)
{
    static const uint64_t bounds_us[] = {100,     200,     500,     1000,    2000,   5000,
                                         10000,   20000,   50000,   100000,  200000, 500000,
                                         1000000, 2000000, 5000000, 10000000};
    static const uint64_t bounds_records[] = {1,   2,   4,    8,    16,   32,   64,   128,
                                              256, 512, 1024, 2048, 4096, 8192, 16384};
    const struct srv_commit_stats *stats = &w->server->writer.stats;
    srv_family(&w->out, "tidegate_commit_seconds", "histogram",
               "Time of a commit, from its first record to durable.");
    srv_histogram(&w->out, &stats->commit_us, bounds_us, sizeof(bounds_us) / sizeof(bounds_us[0]),
                  tg_count_read(&stats->commit_us_sum), 1e6);
    srv_family(&w->out, "tidegate_commit_batch_records", "histogram", "Records of a commit.");
    srv_histogram(&w->out, &stats->batch, bounds_records,
                  sizeof(bounds_records) / sizeof(bounds_records[0]),
                  tg_count_read(&stats->records), 1);
    one(w, "tidegate_commits_refused_total", "counter",
        "Batches that were refused because the storage is full.", tg_count_read(&stats->refused));
    one(w, "tidegate_storage_full", "gauge", "1 while orders are refused as STORAGE_FULL.",
        atomic_load_explicit(&w->server->writer.storage_full, memory_order_relaxed));
}

/* --- the outbox --- */

static void write_outbox(struct writing *w)
{
    uint64_t newest = atomic_load_explicit(&w->server->sequence, memory_order_acquire);
    one(w, "tidegate_events_total", "counter",
        "Durable orders and events: the sequence of the newest.", newest);
    one(w, "tidegate_events_first_sequence", "gauge", "The oldest event that is kept.",
        atomic_load_explicit(&w->server->event_first, memory_order_acquire));
    srv_family(&w->out, "tidegate_consumer_group_behind_events", "gauge",
               "Events that a consumer group has not acked.");
    for (int place = 0; place < TG_GROUPS_MAX; place++) {
        struct tg_group group;
        char name[TG_GROUP_NAME_BYTES_MAX + 1];
        if (!eng_groups_get(w->server->engine.groups, place, &group))
            continue;
        snprintf(name, sizeof(name), "%.*s", group.name_bytes, group.name);
        labelled(w, "group", name, newest > group.offset ? newest - group.offset : 0);
    }
}

/* --- storage --- */

static void write_storage(struct writing *w)
{
    struct sto_figures figures;
    struct tg_fault fault;
    one(w, "tidegate_disk_free_bytes", "gauge", "Free space where the database is.",
        w->admin->watch.alerts.disk_free_bytes);
    if (sto_read_figures(w->admin->watch.reader, &figures, &fault) != TG_ERR_OK)
        return;
    one(w, "tidegate_db_map_bytes", "gauge", "Largest size of the database.", figures.map_bytes);
    one(w, "tidegate_db_file_bytes", "gauge", "Size of the database's file.", figures.file_bytes);
    one(w, "tidegate_db_free_bytes", "gauge", "Of these, in pages that can be used again.",
        figures.free_bytes);
    one(w, "tidegate_db_readers", "gauge", "Places for readers that are taken.", figures.readers);
    one(w, "tidegate_db_readers_max", "gauge", "Places for readers.", figures.readers_max);
    srv_family(&w->out, "tidegate_db_rows", "gauge", "Rows of a table.");
    labelled(w, "table", "orders", figures.orders);
    labelled(w, "table", "lives", figures.lives);
    labelled(w, "table", "events", figures.events);
    labelled(w, "table", "teams", figures.teams);
}

/* --- sales and items --- */

/* The sales of which there are gauges. */
struct told {
    const struct eng_sale *sales[SALES_TOLD_MAX];
    uint32_t count;
    uint64_t left_out;
};

static void choose_sales(const struct writing *w, struct told *told)
{
    const struct eng_catalog *catalog = &w->server->engine.catalog;
    int64_t now_ms = tg_clock_wall_ns() / TG_NS_PER_MS;
    told->count = 0;
    told->left_out = 0;
    for (uint32_t i = eng_catalog_sale_count(catalog); i > 0; i--) {
        const struct eng_sale *sale = &catalog->sales[i - 1];
        bool sells = eng_sale_state(sale) != TG_SALE_CLOSED && now_ms >= sale->starts_at_ms &&
                     now_ms < sale->ends_at_ms;
        if (sells && told->count < SALES_TOLD_MAX)
            told->sales[told->count++] = sale;
        else
            told->left_out += sells;
    }
}

/* One family over these sales. */
static void write_sales(struct writing *w, const struct told *told, const char *name,
                        const char *type, const char *help,
                        uint64_t (*value)(const struct srv_watch *watch,
                                          const struct eng_sale *sale))
{
    srv_family(&w->out, name, type, help);
    for (uint32_t i = 0; i < told->count; i++) {
        char sale_id[24];
        snprintf(sale_id, sizeof(sale_id), "%" PRIu64, told->sales[i]->sale_id);
        labelled(w, "sale", sale_id, value(&w->admin->watch, told->sales[i]));
    }
}

static uint64_t placed_of(const struct srv_watch *watch, const struct eng_sale *sale)
{
    return watch->books.sales[sale->sale].placed;
}

static uint64_t paid_of(const struct srv_watch *watch, const struct eng_sale *sale)
{
    return watch->books.sales[sale->sale].paid;
}

static uint64_t confirmed_of(const struct srv_watch *watch, const struct eng_sale *sale)
{
    return watch->books.sales[sale->sale].confirmed;
}

static uint64_t paid_minor_of(const struct srv_watch *watch, const struct eng_sale *sale)
{
    return (uint64_t)watch->books.sales[sale->sale].paid_minor;
}

static void write_stock(struct writing *w, const struct told *told, const char *name,
                        const char *help, uint64_t (*value)(const struct tg_stock *stock))
{
    const struct eng_catalog *catalog = &w->server->engine.catalog;
    uint64_t left = w->server->config.stock_series_max;
    srv_family(&w->out, name, "gauge", help);
    for (uint32_t i = 0; i < told->count; i++) {
        const struct eng_sale *sale = told->sales[i];
        char sale_id[24];
        snprintf(sale_id, sizeof(sale_id), "%" PRIu64, sale->sale_id);
        for (uint32_t j = 0; j < sale->item_count && left > 0; j++, left--) {
            const struct eng_item *item = &catalog->items[sale->first_item + j];
            struct tg_stock stock = eng_item_stock(item);
            struct srv_label labels[] = {{"sale", sale_id}, {"sku", item->sku}};
            srv_sample(&w->out, labels, 2, value(&stock));
        }
    }
}

static uint64_t available_of(const struct tg_stock *stock)
{
    return stock->available_units;
}

static uint64_t reserved_of(const struct tg_stock *stock)
{
    return stock->reserved_units;
}

static uint64_t sold_of(const struct tg_stock *stock)
{
    return stock->sold_units;
}

static uint64_t items_left_out(const struct writing *w, const struct told *told)
{
    uint64_t items = 0, most = w->server->config.stock_series_max;
    for (uint32_t i = 0; i < told->count; i++)
        items += told->sales[i]->item_count;
    return items > most ? items - most : 0;
}

static void write_catalog(struct writing *w)
{
    struct told told;
    choose_sales(w, &told);
    one(w, "tidegate_sales", "gauge", "Sales, open and closed.",
        eng_catalog_sale_count(&w->server->engine.catalog));
    one(w, "tidegate_sales_left_out", "gauge",
        "Open sales beyond those that have series of their own.", told.left_out);
    one(w, "tidegate_items_left_out", "gauge",
        "Items of these sales beyond admin.stock_series_max.", items_left_out(w, &told));
    write_sales(w, &told, "tidegate_sale_attempts_total", "counter", "Orders that were asked for.",
                srv_board_attempts);
    write_sales(w, &told, "tidegate_sale_orders_total", "counter", "Orders accepted.", placed_of);
    write_sales(w, &told, "tidegate_sale_paid_orders_total", "counter", "Orders paid.", paid_of);
    write_sales(w, &told, "tidegate_sale_confirmed_orders_total", "counter", "Orders confirmed.",
                confirmed_of);
    write_sales(w, &told, "tidegate_sale_paid_minor_total", "counter",
                "Money of paid orders (GMV), in minor units of the sale's currency.",
                paid_minor_of);
    one(w, "tidegate_low_stock_items", "gauge",
        "Items of open sales with no more units left than their own threshold.",
        (uint64_t)w->admin->watch.alerts.items.count + w->admin->watch.alerts.items.left_out);
    write_stock(w, &told, "tidegate_item_available_units", "Units that can be bought.",
                available_of);
    write_stock(w, &told, "tidegate_item_reserved_units", "Units held by unpaid orders.",
                reserved_of);
    write_stock(w, &told, "tidegate_item_sold_units", "Units sold.", sold_of);
}

/* --- the listener itself --- */

static void write_admin(struct writing *w)
{
    const struct srv_admin_stats *stats = &w->admin->stats;
    one(w, "tidegate_admin_requests_total", "counter", "Requests to the admin listener.",
        tg_count_read(&stats->requests));
    one(w, "tidegate_admin_errors_total", "counter", "Of these, answered 4xx or 5xx.",
        tg_count_read(&stats->refused));
    one(w, "tidegate_admin_unauthorized_total", "counter",
        "Of these, without a token in force, a certificate, or the role read.",
        tg_count_read(&stats->unauthorized));
    one(w, "tidegate_admin_streams", "gauge", "Streams of snapshots that are open.",
        tg_count_read(&stats->streams));
    one(w, "tidegate_books_behind_events", "gauge",
        "Durable orders and events that the figures of sales do not hold yet.",
        w->admin->watch.books.behind);
}

void srv_metrics_write(struct srv_admin *admin, struct srv_body *body)
{
    struct writing w = {.out = {.body = body},
                        .admin = admin,
                        .server = admin->server,
                        .threads = admin->server->config.threads};
    write_build(&w);
    write_process(&w);
    write_threads(&w);
    write_allocator(&w);
    write_orders(&w);
    write_connections(&w);
    write_identity(&w);
    write_grpc(&w);
    write_tls(&w);
    write_queues(&w);
    write_commits(&w);
    write_outbox(&w);
    write_storage(&w);
    write_catalog(&w);
    write_admin(&w);
}
