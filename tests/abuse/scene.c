#include "tests/abuse/scene.h"
#include "tests/lib/tree.h"

#include "client/tidegate.h"
#include "net/conn.h"
#include "server/control.h"
#include "server/lanes.h"
#include "server/life.h"
#include "server/show.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define CALL_MS  10000
#define DRAIN_MS 30000
#define BATCH    TG_BATCH_ORDERS_MAX
#define MIB      ((uint64_t)1 << 20)

/* Of each accepted order that is remembered, counted and has a deadline: docs/operations.md. */
#define ORDER_BYTES         90
/* Of a block of the heap beside its own bytes, and of what the allocator keeps for later. */
#define HEAP_FACTOR_PERCENT 150

void scene_fail(const char *what)
{
    fprintf(stderr, "abuse: %s%s%s\n", what, errno ? ": " : "", errno ? strerror(errno) : "");
    exit(3);
}

/* --- filling it --- */

struct filler {
    struct tgc_client *client;
    struct scene *scene;
    uint64_t ids; /* request ids so far */
};

static Tidegate__V1__Response *call(struct filler *filler, Tidegate__V1__Request *request)
{
    Tidegate__V1__Response *response;
    struct tg_fault fault;
    errno = 0;
    if (tgc_call(filler->client, request, CALL_MS, &response, &fault) != TG_ERR_OK)
        scene_fail(fault.text);
    return response;
}

static void expect(Tidegate__V1__Response *response, int verdict, const char *what)
{
    errno = 0;
    if (tgc_outcome_of(response).verdict != verdict)
        scene_fail(what);
    tgc_response_free(response);
}

static void create_sale(struct filler *filler, uint64_t sale_id, uint32_t items, uint64_t stock,
                        uint32_t team_size)
{
    static Tidegate__V1__SaleItem item[SCENE_ITEMS];
    static Tidegate__V1__SaleItem *pointers[SCENE_ITEMS];
    static char skus[SCENE_ITEMS][8];
    Tidegate__V1__GroupBuyRules rules = TIDEGATE__V1__GROUP_BUY_RULES__INIT;
    Tidegate__V1__CreateSaleRequest create = TIDEGATE__V1__CREATE_SALE_REQUEST__INIT;
    Tidegate__V1__Sale sale = TIDEGATE__V1__SALE__INIT;
    for (uint32_t i = 0; i < items; i++) {
        snprintf(skus[i], sizeof(skus[i]), i == 0 ? SCENE_SKU : "S%u", i);
        tidegate__v1__sale_item__init(&item[i]);
        item[i].sku = skus[i];
        item[i].sale_price_minor = SCENE_PRICE;
        item[i].list_price_minor = SCENE_PRICE;
        item[i].stock_units = stock;
        item[i].captain_price_minor = team_size > 0 ? SCENE_PRICE : 0;
        pointers[i] = &item[i];
    }
    sale.sale_id = sale_id;
    sale.kind = team_size > 0 ? TIDEGATE__V1__SALE_KIND__SALE_KIND_GROUP_BUY
                              : TIDEGATE__V1__SALE_KIND__SALE_KIND_SECKILL;
    sale.name = (char *)(uintptr_t) "abuse";
    sale.currency = (char *)(uintptr_t)SCENE_CURRENCY;
    sale.starts_at_ms = (int64_t)(time(NULL) - 60) * 1000;
    sale.ends_at_ms = (int64_t)(time(NULL) + 86400) * 1000;
    sale.payment_window_s = 7200;
    rules.team_size = team_size;
    rules.teams_per_user_max = 1;
    sale.group_buy = team_size > 0 ? &rules : NULL;
    create.sale = &sale;
    create.items = pointers;
    create.n_items = items;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_CREATE_SALE;
    request.create_sale = &create;
    expect(call(filler, &request), TG_OK, "a sale was not created");
}

static void fill_order(struct filler *filler, Tidegate__V1__PlaceOrderRequest *order,
                       uint8_t id[TG_REQUEST_ID_BYTES], uint64_t sale_id)
{
    uint64_t words[2] = {filler->scene->seed, ++filler->ids};
    memcpy(id, words, sizeof(words));
    tidegate__v1__place_order_request__init(order);
    order->request_id = (ProtobufCBinaryData){.len = TG_REQUEST_ID_BYTES, .data = id};
    order->sale_id = sale_id;
    order->sku = (char *)(uintptr_t)SCENE_SKU;
    order->user_id = SCENE_SHELF_USER + filler->ids;
    order->quantity = 1;
    order->unit_price_minor = SCENE_PRICE;
}

static void fill_shelf(struct filler *filler)
{
    static Tidegate__V1__PlaceOrderRequest orders[BATCH], *pointers[BATCH];
    static uint8_t ids[BATCH][TG_REQUEST_ID_BYTES];
    for (uint32_t placed = 0; placed < SCENE_SHELF_ORDERS; placed += BATCH) {
        Tidegate__V1__PlaceOrdersRequest batch = TIDEGATE__V1__PLACE_ORDERS_REQUEST__INIT;
        for (uint32_t i = 0; i < BATCH; i++) {
            fill_order(filler, &orders[i], ids[i], SCENE_SHELF);
            pointers[i] = &orders[i];
        }
        batch.orders = pointers;
        batch.n_orders = BATCH;
        Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
        request.kind_case = TIDEGATE__V1__REQUEST__KIND_PLACE_ORDERS;
        request.place_orders = &batch;
        Tidegate__V1__Response *response = call(filler, &request);
        const Tidegate__V1__PlaceOrdersResponse *answer = response->place_orders;
        errno = 0;
        for (size_t i = 0; i < answer->n_results; i++)
            if ((enum tg_verdict)answer->results[i]->verdict != TG_ACCEPTED)
                scene_fail("an order of the shelf was refused");
        if (answer->n_results != BATCH)
            scene_fail("the shelf was not filled");
        filler->scene->hot_order_id = answer->results[0]->order_id;
        tgc_response_free(response);
    }
    filler->scene->filled_at_ms = (int64_t)time(NULL) * 1000;
    filler->scene->hot_deadline_ms = filler->scene->filled_at_ms + 3 * 3600 * 1000;
}

/* Teams whose captain has paid: they can be joined, and so are listed. */
static void open_teams(struct filler *filler)
{
    for (uint32_t i = 0; i < SCENE_TEAMS; i++) {
        uint8_t id[TG_REQUEST_ID_BYTES];
        Tidegate__V1__PlaceOrderRequest order;
        Tidegate__V1__OpenTeamRequest open = TIDEGATE__V1__OPEN_TEAM_REQUEST__INIT;
        Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
        fill_order(filler, &order, id, SCENE_GROUP_BUY);
        open.order = &order;
        request.kind_case = TIDEGATE__V1__REQUEST__KIND_OPEN_TEAM;
        request.open_team = &open;
        Tidegate__V1__Response *response = call(filler, &request);
        uint64_t order_id = response->open_team->order->order_id;
        expect(response, TG_ACCEPTED, "a team was not opened");
        Tidegate__V1__ChangeOrderRequest change = TIDEGATE__V1__CHANGE_ORDER_REQUEST__INIT;
        Tidegate__V1__Payment payment = TIDEGATE__V1__PAYMENT__INIT;
        id[0] ^= 1;
        change.request_id = order.request_id;
        change.order_id = order_id;
        change.change_case = TIDEGATE__V1__CHANGE_ORDER_REQUEST__CHANGE_RECORD_PAYMENT;
        change.record_payment = &payment;
        payment.payment_id = order.request_id;
        payment.amount_minor = SCENE_PRICE;
        payment.currency = (char *)(uintptr_t)SCENE_CURRENCY;
        request.kind_case = TIDEGATE__V1__REQUEST__KIND_CHANGE_ORDER;
        request.change_order = &change;
        expect(call(filler, &request), TG_OK, "a captain's payment was refused");
    }
}

static struct tgc_client *connect_client(const struct scene *scene)
{
    struct tgc_options options = {.server = scene->node.address};
    struct tgc_client *client;
    struct tg_fault fault;
    errno = 0;
    if (tgc_open(&options, &client, &fault) != TG_ERR_OK)
        scene_fail(fault.text);
    return client;
}

static void fill(struct scene *scene)
{
    struct filler filler = {.client = connect_client(scene), .scene = scene};
    create_sale(&filler, SCENE_SALE, 1, TG_STOCK_UNITS_MAX, 0);
    create_sale(&filler, SCENE_SOLD_OUT, 1, 0, 0);
    create_sale(&filler, SCENE_SHELF, SCENE_ITEMS, 1000000, 0);
    create_sale(&filler, SCENE_GROUP_BUY, 1, 1000000, TG_TEAM_SIZE_MAX);
    fill_shelf(&filler);
    open_teams(&filler);
    tgc_close(filler.client);
}

/* --- the daemon --- */

static void add_setting(struct scene *scene, char *text, size_t size, const char *key, int value)
{
    snprintf(text, size, "%s=%d", key, value);
    node_arg(&scene->node, "--set");
    node_arg(&scene->node, text);
}

void scene_open(struct scene *scene, uint64_t seed)
{
    static char settings[5][48];
    const char *parent = getenv("TMPDIR");
    struct rlimit limit = {0};
    *scene = (struct scene){.seed = seed};
    snprintf(scene->root, sizeof(scene->root), "%.60s/tidegate-abuse-XXXXXX",
             parent ? parent : "/tmp");
    if (!mkdtemp(scene->root))
        scene_fail(scene->root);
    node_init(&scene->node, scene->root);
    add_setting(scene, settings[0], 48, "server.connections_max", SCENE_CONNECTIONS);
    add_setting(scene, settings[1], 48, "server.held_memory_mib", SCENE_HELD_MIB);
    add_setting(scene, settings[2], 48, "server.output_memory_mib", SCENE_OUTPUT_MIB);
    add_setting(scene, settings[3], 48, "server.frame_timeout_s", SCENE_FRAME_TIMEOUT);
    add_setting(scene, settings[4], 48, "server.write_timeout_s", SCENE_WRITE_TIMEOUT);
    errno = 0;
    if (!node_spawn(&scene->node) || node_ready(&scene->node, CALL_MS) != 1)
        scene_fail(node_log_tail(&scene->node));
    getrlimit(RLIMIT_NOFILE, &limit);
    scene->connections =
        limit.rlim_cur < SCENE_CONNECTIONS ? (uint32_t)limit.rlim_cur : SCENE_CONNECTIONS;
    fill(scene);
    scene->anon_bytes_start = scene_anon_bytes(scene);
}

/* --- looking --- */

uint64_t scene_anon_bytes(const struct scene *scene)
{
    char path[64], line[256];
    unsigned long long kib = 0;
    snprintf(path, sizeof(path), "/proc/%d/status", (int)scene->node.proc.pid);
    FILE *file = fopen(path, "re");
    while (file && fgets(line, sizeof(line), file))
        if (sscanf(line, "RssAnon: %llu kB", &kib) == 1)
            break;
    if (file)
        fclose(file);
    return kib * 1024;
}

double scene_cpu_seconds(const struct scene *scene)
{
    char path[64];
    unsigned long long user = 0, system = 0;
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)scene->node.proc.pid);
    FILE *file = fopen(path, "re");
    if (!file)
        return 0;
    if (fscanf(file, "%*d %*s %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu", &user,
               &system) != 2)
        user = system = 0;
    fclose(file);
    return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

/* Tables of a core that become resident as they are used. */
static uint64_t tables_bytes(void)
{
    return TG_JOURNAL_RECORDS * (sizeof(struct tg_record) + sizeof(struct srv_pending)) +
           SRV_BATCHES_MAX * sizeof(struct srv_batch) +
           (uint64_t)TG_LANES * SRV_LANE_ORDERS * sizeof(struct srv_lane_order) + SRV_ARENA_BYTES +
           SRV_SCRATCH_BYTES + SRV_PAGE_BYTES_MAX + MIB;
}

/* Requests beyond plain orders: those on their way to the disk, in lanes, behind fences, and orders
 * of IngestOrders that wait for their turn. */
static uint64_t heap_bytes(void)
{
    uint64_t controls = TG_JOURNAL_RECORDS + (uint64_t)TG_LANES * SRV_LANE_ORDERS + SRV_FENCED_MAX +
                        SRV_INGESTED_MAX + TG_INGEST_ORDERS_MAX;
    uint64_t ingests = SRV_INGESTS_MAX * TG_INGEST_ORDERS_MAX * sizeof(struct tg_answer);
    return (controls * sizeof(struct srv_control) + ingests) * HEAP_FACTOR_PERCENT / 100;
}

uint64_t scene_anon_bytes_max(const struct scene *scene, uint64_t orders)
{
    uint64_t places = (uint64_t)scene->connections * (sizeof(struct net_conn) + 512);
    return scene->anon_bytes_start + places + SCENE_HELD_MIB * MIB + SCENE_OUTPUT_MIB * MIB +
           tables_bytes() + heap_bytes() + orders * ORDER_BYTES;
}

/* --- the end --- */

static uint64_t count_orders(const struct scene *scene, uint64_t sale_id)
{
    struct filler filler = {.client = connect_client(scene)};
    Tidegate__V1__ListOrdersRequest list = TIDEGATE__V1__LIST_ORDERS_REQUEST__INIT;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    uint64_t count = 0;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_LIST_ORDERS;
    request.list_orders = &list;
    list.sale_id = sale_id;
    list.limit = TG_ORDERS_PAGE_MAX;
    for (bool end = false; !end;) {
        Tidegate__V1__Response *response = call(&filler, &request);
        count += response->list_orders->n_orders;
        list.after_order_id = response->list_orders->next_after_order_id;
        end = response->list_orders->end;
        tgc_response_free(response);
    }
    tgc_close(filler.client);
    return count;
}

static bool verify(const struct scene *scene)
{
    char log[160];
    struct proc proc = {0};
    const char *argv[] = {proc_program("tidegatectl"), "verify", "--data-dir", scene->node.data_dir,
                          NULL};
    snprintf(log, sizeof(log), "%s/verify", scene->root);
    if (!proc_start(&proc, argv, -1, log) || !proc_wait(&proc, DRAIN_MS))
        scene_fail("tidegatectl verify");
    return proc.status == 0;
}

bool scene_close(struct scene *scene, uint64_t accepted, uint64_t unknown)
{
    bool is_clean = true;
    if (!proc_runs(&scene->node.proc)) {
        fprintf(stderr, "abuse: the daemon ended: %s\n", node_log_tail(&scene->node));
        return false;
    }
    uint64_t stored = count_orders(scene, SCENE_SALE);
    if (stored < accepted || stored > accepted + unknown) {
        fprintf(stderr,
                "abuse: %" PRIu64 " orders of honest clients were accepted, %" PRIu64
                " never answered, %" PRIu64 " are stored\n",
                accepted, unknown, stored);
        is_clean = false;
    }
    node_drain(&scene->node);
    if (!node_drained(&scene->node, DRAIN_MS)) {
        fprintf(stderr, "abuse: it did not drain: %s\n", node_log_tail(&scene->node));
        node_kill(&scene->node);
        is_clean = false;
    }
    if (!verify(scene)) {
        fprintf(stderr, "abuse: tidegatectl verify found broken promises in %s\n", scene->root);
        is_clean = false;
    }
    if (is_clean)
        tree_remove(scene->root);
    else
        fprintf(stderr, "abuse: %s is kept\n", scene->root);
    return is_clean;
}
