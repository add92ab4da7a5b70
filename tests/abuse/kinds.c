/* The abusers: what each of them sends, and how. docs/abuse.md tells what stands against them. */
#include "tests/abuse/storm.h"

#include "base/clock.h"
#include "base/rng.h"
#include "proto/codec.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BATCH_ORDERS       1000
#define LARGE_BYTES        TG_FRAME_BATCH_BYTES_MAX
#define CYCLE_REQUESTS     1024 /* that differ, of those who repeat themselves */
#define HOT_CHANGES        4096
/* An unknown field of a Request, whose tag and length take three bytes each. */
#define PADDING_FIELD      3000
#define PADDING_HEAD_BYTES 6

/* --- pieces --- */

static void put_bytes(struct storm_bytes *out, const void *bytes, size_t size)
{
    memcpy(storm_room(out, size), bytes, size);
    out->size += size;
}

static void put_request(struct storm_bytes *out, const Tidegate__V1__Request *request)
{
    size_t size = tidegate__v1__request__get_packed_size(request);
    uint8_t *at = storm_room(out, size + TG_FRAME_PREFIX_BYTES_MAX);
    size_t prefix = tg_frame_prefix(at, (uint32_t)size);
    out->size += prefix + tidegate__v1__request__pack(request, at + prefix);
}

static struct tg_order order_of(const struct scene *scene, uint64_t sale_id, uint64_t number)
{
    struct tg_order order = {.sale_id = sale_id,
                             .user_id = 2 * SCENE_SHELF_USER + number,
                             .unit_price_minor = SCENE_PRICE,
                             .sku = (const uint8_t *)SCENE_SKU,
                             .sku_bytes = sizeof(SCENE_SKU) - 1,
                             .quantity = 1};
    uint64_t words[2] = {tg_mix64(scene->seed ^ 0xab05e), number};
    memcpy(order.request_id, words, sizeof(words));
    return order;
}

static void put_order(struct storm_bytes *out, const struct tg_order *order, uint64_t correlation)
{
    uint8_t *at = storm_room(out, TG_ORDER_FRAME_BYTES_MAX);
    out->size += tg_order_frame(at, correlation, order);
}

/* A PlaceOrders of `count` orders, numbered from `number` on; all the same one when `is_one`. */
static void put_batch(struct storm_bytes *out, const struct scene *scene, uint64_t sale_id,
                      uint32_t count, uint64_t number, bool is_one)
{
    static Tidegate__V1__PlaceOrderRequest orders[TG_BATCH_ORDERS_MAX];
    static Tidegate__V1__PlaceOrderRequest *pointers[TG_BATCH_ORDERS_MAX];
    static uint8_t ids[TG_BATCH_ORDERS_MAX][TG_REQUEST_ID_BYTES];
    Tidegate__V1__PlaceOrdersRequest batch = TIDEGATE__V1__PLACE_ORDERS_REQUEST__INIT;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    for (uint32_t i = 0; i < count; i++) {
        struct tg_order order = order_of(scene, sale_id, number + (is_one ? 0 : i));
        memcpy(ids[i], order.request_id, TG_REQUEST_ID_BYTES);
        tidegate__v1__place_order_request__init(&orders[i]);
        orders[i].request_id = (ProtobufCBinaryData){.len = TG_REQUEST_ID_BYTES, .data = ids[i]};
        orders[i].sale_id = sale_id;
        orders[i].sku = (char *)(uintptr_t)SCENE_SKU;
        orders[i].user_id = order.user_id;
        orders[i].quantity = 1;
        orders[i].unit_price_minor = SCENE_PRICE;
        pointers[i] = &orders[i];
    }
    batch.orders = pointers;
    batch.n_orders = count;
    request.correlation_id = 1;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_PLACE_ORDERS;
    request.place_orders = &batch;
    put_request(out, &request);
}

/* --- connections that say little --- */

/* The length of a frame of 60,000 bytes, and ten of them. */
static void build_unfilled(const struct scene *scene, uint32_t conn, struct storm_bytes *out)
{
    (void)scene;
    (void)conn;
    out->size += tg_frame_prefix(storm_room(out, TG_FRAME_PREFIX_BYTES_MAX), 60000);
    put_bytes(out, "\x08\x01\x12\x00\x00\x00\x00\x00\x00\x00", 10);
}

static void build_one_order(const struct scene *scene, uint32_t conn, struct storm_bytes *out)
{
    struct tg_order order = order_of(scene, SCENE_SOLD_OUT, conn);
    put_order(out, &order, 1);
}

/* A batch of exactly the largest size: what its orders leave is a field that nobody knows. */
static void build_large_whole(const struct scene *scene, uint32_t conn, struct storm_bytes *out)
{
    struct storm_bytes batch = {0};
    struct tg_bytes body;
    size_t used;
    put_batch(&batch, scene, SCENE_SOLD_OUT, TG_BATCH_ORDERS_MAX, 0, false);
    if (tg_frame_next((struct tg_bytes){batch.bytes, batch.size}, &body, &used) != TG_FRAME_WHOLE)
        scene_fail("a batch is no frame");
    uint8_t head[2 * TG_FRAME_PREFIX_BYTES_MAX], *at = head;
    size_t padding = LARGE_BYTES - body.size - PADDING_HEAD_BYTES;
    at += tg_frame_prefix(at, PADDING_FIELD << 3 | 2);
    at += tg_frame_prefix(at, (uint32_t)padding);
    (void)conn;
    out->size += tg_frame_prefix(storm_room(out, TG_FRAME_PREFIX_BYTES_MAX), LARGE_BYTES);
    put_bytes(out, body.data, body.size);
    put_bytes(out, head, (size_t)(at - head));
    memset(storm_room(out, padding), 0, padding);
    out->size += padding;
    free(batch.bytes);
}

static void build_large_cut(const struct scene *scene, uint32_t conn, struct storm_bytes *out)
{
    build_large_whole(scene, conn, out);
    out->size--;
}

static void build_garbage(const struct scene *scene, uint32_t conn, struct storm_bytes *out)
{
    struct tg_rng rng;
    tg_rng_init(&rng, scene->seed + conn);
    size_t size = 1 + tg_rng_below(&rng, 4000);
    uint8_t *at = storm_room(out, size);
    for (size_t i = 0; i < size; i++)
        at[i] = (uint8_t)tg_rng_next(&rng);
    out->size += size;
}

/* --- orders --- */

static void build_refused_orders(const struct scene *scene, uint32_t conn, struct storm_bytes *out)
{
    for (uint64_t i = 0; i < CYCLE_REQUESTS; i++) {
        struct tg_order order = order_of(scene, SCENE_SOLD_OUT, conn * CYCLE_REQUESTS + i);
        put_order(out, &order, i);
    }
}

static void build_refused_batches(const struct scene *scene, uint32_t conn, struct storm_bytes *out)
{
    put_batch(out, scene, SCENE_SOLD_OUT, BATCH_ORDERS, conn * BATCH_ORDERS, false);
}

static void build_duplicates(const struct scene *scene, uint32_t conn, struct storm_bytes *out)
{
    put_batch(out, scene, SCENE_SHELF, BATCH_ORDERS, conn, true);
}

/* The same few orders, again and again, from many connections. */
static void build_retries(const struct scene *scene, uint32_t conn, struct storm_bytes *out)
{
    (void)conn;
    for (uint64_t i = 0; i < 16; i++) {
        struct tg_order order = order_of(scene, SCENE_SHELF, 1000000 + i);
        put_order(out, &order, i);
    }
}

/* --- changes --- */

/* A deadline can only be moved on: each abuser begins behind the one before it. */
static void build_hot_order(const struct scene *scene, uint32_t conn, struct storm_bytes *out)
{
    int64_t since_ms = tg_clock_wall_ns() / TG_NS_PER_MS - scene->filled_at_ms;
    int64_t first_ms = scene->hot_deadline_ms + since_ms * 1000;
    for (uint64_t i = 0; i < HOT_CHANGES; i++) {
        uint64_t words[2] = {scene->seed + conn, (uint64_t)first_ms + i};
        Tidegate__V1__ChangeOrderRequest change = TIDEGATE__V1__CHANGE_ORDER_REQUEST__INIT;
        Tidegate__V1__ExtendPayment extend = TIDEGATE__V1__EXTEND_PAYMENT__INIT;
        Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
        change.request_id =
            (ProtobufCBinaryData){.len = TG_REQUEST_ID_BYTES, .data = (uint8_t *)words};
        change.order_id = scene->hot_order_id;
        change.change_case = TIDEGATE__V1__CHANGE_ORDER_REQUEST__CHANGE_EXTEND_PAYMENT;
        change.extend_payment = &extend;
        extend.payment_deadline_ms = first_ms + (int64_t)(i * 64 + conn);
        request.correlation_id = i;
        request.kind_case = TIDEGATE__V1__REQUEST__KIND_CHANGE_ORDER;
        request.change_order = &change;
        put_request(out, &request);
    }
}

static void build_ingest(const struct scene *scene, uint32_t conn, struct storm_bytes *out)
{
    static Tidegate__V1__IngestOrder orders[TG_INGEST_ORDERS_MAX];
    static Tidegate__V1__IngestOrder *pointers[TG_INGEST_ORDERS_MAX];
    static char ids[TG_INGEST_ORDERS_MAX][16];
    Tidegate__V1__IngestOrdersRequest ingest = TIDEGATE__V1__INGEST_ORDERS_REQUEST__INIT;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    for (uint32_t i = 0; i < TG_INGEST_ORDERS_MAX; i++) {
        int size = snprintf(ids[i], sizeof(ids[i]), "%u-%u", conn, i);
        tidegate__v1__ingest_order__init(&orders[i]);
        orders[i].channel = 7;
        orders[i].external_id =
            (ProtobufCBinaryData){.len = (size_t)size, .data = (uint8_t *)ids[i]};
        orders[i].sale_id = SCENE_SOLD_OUT;
        orders[i].sku = (char *)(uintptr_t)SCENE_SKU;
        orders[i].user_id = i + 1;
        orders[i].quantity = 1;
        orders[i].unit_price_minor = SCENE_PRICE;
        orders[i].ordered_at_ms = tg_clock_wall_ns() / TG_NS_PER_MS;
        pointers[i] = &orders[i];
    }
    (void)scene;
    ingest.orders = pointers;
    ingest.n_orders = TG_INGEST_ORDERS_MAX;
    request.correlation_id = 1;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_INGEST_ORDERS;
    request.ingest_orders = &ingest;
    put_request(out, &request);
}

/* --- reads --- */

static void build_order_pages(const struct scene *scene, uint32_t conn, struct storm_bytes *out)
{
    Tidegate__V1__ListOrdersRequest list = TIDEGATE__V1__LIST_ORDERS_REQUEST__INIT;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    (void)scene;
    (void)conn;
    list.limit = TG_ORDERS_PAGE_MAX;
    request.correlation_id = 1;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_LIST_ORDERS;
    request.list_orders = &list;
    put_request(out, &request);
}

static void build_team_pages(const struct scene *scene, uint32_t conn, struct storm_bytes *out)
{
    Tidegate__V1__ListTeamsRequest list = TIDEGATE__V1__LIST_TEAMS_REQUEST__INIT;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    (void)scene;
    (void)conn;
    list.sale_id = SCENE_GROUP_BUY;
    list.limit = TG_TEAMS_PAGE_MAX;
    request.correlation_id = 1;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_LIST_TEAMS;
    request.list_teams = &list;
    put_request(out, &request);
}

static void build_item_pages(const struct scene *scene, uint32_t conn, struct storm_bytes *out)
{
    Tidegate__V1__GetSaleRequest get = TIDEGATE__V1__GET_SALE_REQUEST__INIT;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    (void)scene;
    (void)conn;
    get.sale_id = SCENE_SHELF;
    get.item_limit = TG_ITEMS_PAGE_MAX;
    request.correlation_id = 1;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_GET_SALE;
    request.get_sale = &get;
    put_request(out, &request);
}

static void put_consume(struct storm_bytes *out, uint64_t correlation_id, uint64_t after,
                        uint32_t wait_ms)
{
    Tidegate__V1__ConsumeEventsRequest consume = TIDEGATE__V1__CONSUME_EVENTS_REQUEST__INIT;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    consume.after_sequence = after;
    consume.max = TG_EVENTS_PAGE_MAX;
    consume.wait_ms = wait_ms;
    request.correlation_id = correlation_id;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_CONSUME_EVENTS;
    request.consume_events = &consume;
    put_request(out, &request);
}

static void build_event_pages(const struct scene *scene, uint32_t conn, struct storm_bytes *out)
{
    (void)scene;
    put_consume(out, 1, 1 + conn * 1000, 0);
}

/* They wait for events that come only after a trillion others; and for the next one. */
static void build_waiters(const struct scene *scene, uint32_t conn, struct storm_bytes *out)
{
    (void)scene;
    for (uint64_t i = 0; i < 300; i++)
        put_consume(out, i, conn % 2 ? 1000000000000 : SCENE_SHELF_ORDERS, TG_EVENTS_WAIT_MS_MAX);
}

/* Reads of items, whose answers nobody takes. */
static void build_unread(const struct scene *scene, uint32_t conn, struct storm_bytes *out)
{
    if (conn % 2)
        build_item_pages(scene, conn, out);
    else
        build_refused_orders(scene, conn, out);
}

const struct storm_kind storm_kinds[] = {
    {"connections", "connects and goes, as fast as it can", "NET_ACCEPTS a turn", 256, STORM_CHURN,
     false, NULL, 0},
    {"silent", "20,000 connections that never say anything", "connections_max, places kept free",
     STORM_CONNS_MAX, STORM_HOLD, false, NULL, 0},
    {"loris", "2,000 connections, a byte every 50 ms", "frame_timeout_s", 2000, STORM_TRICKLE,
     false, build_one_order, 64},
    {"unfilled", "2,000 frames that begin and never end", "held_memory_mib, frame_timeout_s", 2000,
     STORM_HOLD, false, build_unfilled, 0},
    {"large-cut", "1,000 frames of 1 MiB less a byte", "held_memory_mib, frame_timeout_s", 1000,
     STORM_HOLD, false, build_large_cut, 0},
    {"large", "batches of 4,096 orders on 500 connections", "turns, held_memory_mib", 500,
     STORM_REPEAT, true, build_large_whole, 0},
    {"garbage", "random bytes on new connections", "a bad frame closes", 64, STORM_CHURN, true,
     build_garbage, 64},
    {"unread", "100 connections that ask and never read", "output_bytes_max, write_timeout_s", 100,
     STORM_REPEAT, false, build_unread, 2},
    {"pipeline", "16 connections that order and never wait", "NET_SHARE_BYTES a turn", 16,
     STORM_REPEAT, true, build_refused_orders, 16},
    {"batches", "1,000 refused orders a batch, 16 connections", "turns", 16, STORM_REPEAT, true,
     build_refused_batches, 16},
    {"duplicates", "1,000 times one order a batch, 16 connections", "turns", 16, STORM_REPEAT, true,
     build_duplicates, 16},
    {"retries", "16 orders again and again, 200 connections", "turns, NET_ACCEPTS", 200,
     STORM_CHURN, true, build_retries, 0},
    {"hot-order", "changes of one order from 64 connections", "SRV_DEFERRED_A_TURN, SRV_FENCED_MAX",
     64, STORM_REPEAT, true, build_hot_order, 64},
    {"ingest", "1,024 ingested orders a frame, 8 connections", "SRV_DEFERRED_A_TURN", 8,
     STORM_REPEAT, true, build_ingest, 8},
    {"order-pages", "full pages of orders, 8 connections", "SRV_WORK_A_TURN, pages in pieces", 8,
     STORM_REPEAT, true, build_order_pages, 0},
    {"team-pages", "full pages of teams, 8 connections", "SRV_WORK_A_TURN, pages in pieces", 8,
     STORM_REPEAT, true, build_team_pages, 0},
    {"item-pages", "full pages of items, 8 connections", "SRV_WORK_A_TURN", 8, STORM_REPEAT, true,
     build_item_pages, 0},
    {"event-pages", "full pages of events, 8 connections", "SRV_WORK_A_TURN", 8, STORM_REPEAT, true,
     build_event_pages, 8},
    {"waiters", "6,000 long polls on 20 connections", "SRV_WAITERS_MAX, SRV_CONN_WAITERS_MAX", 20,
     STORM_HOLD, true, build_waiters, 2},
    {NULL, NULL, NULL, 0, STORM_HOLD, false, NULL, 0},
};
