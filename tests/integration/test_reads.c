/* Reads, and the operator's requests. */
#include "base/clock.h"
#include "tests/lib/peer.h"
#include "tests/lib/sale.h"

#include <criterion/criterion.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

struct scene {
    struct daemon daemon;
    struct tgc_client *client;
};

static void open_scene(struct scene *scene, uint64_t stock_units)
{
    *scene = (struct scene){0};
    daemon_start(&scene->daemon, "--threads", "2", NULL);
    scene->client = sale_client(&scene->daemon);
    sale_create(scene->client, 1, "A", stock_units, 0);
}

static void close_scene(struct scene *scene)
{
    tgc_close(scene->client);
    daemon_end(&scene->daemon);
}

/* --- reads --- */

static Tidegate__V1__Response *get_order(struct tgc_client *client, uint64_t order_id)
{
    Tidegate__V1__GetOrderRequest get = TIDEGATE__V1__GET_ORDER_REQUEST__INIT;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    get.order_id = order_id;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_GET_ORDER;
    request.get_order = &get;
    return sale_call(client, &request);
}

Test(reads, an_order_comes_back_as_it_was_placed)
{
    struct scene scene;
    open_scene(&scene, 10);
    struct tg_order placed = sale_order(1, "A", UINT64_MAX, 3);
    placed.channel = TG_CHANNEL_MAX;
    placed.external_id = (const uint8_t *)"\0any bytes\xff at all, thirty-two..";
    placed.external_bytes = TG_EXTERNAL_BYTES_MAX;
    struct tg_answer answer = sale_place(scene.client, &placed);
    sale_assert_verdict(answer.verdict, TG_ACCEPTED);

    Tidegate__V1__Response *response = get_order(scene.client, answer.order_id);
    sale_assert_verdict(response->get_order->verdict, TG_OK);
    const Tidegate__V1__Order *order = response->get_order->order;
    cr_assert_eq(order->order_id, answer.order_id);
    cr_assert_eq(order->request_id.len, TG_REQUEST_ID_BYTES);
    cr_assert_arr_eq(order->request_id.data, placed.request_id, TG_REQUEST_ID_BYTES);
    cr_assert_eq(order->sale_id, 1);
    cr_assert_str_eq(order->sku, "A");
    cr_assert_eq(order->user_id, UINT64_MAX);
    cr_assert_eq(order->quantity, 3);
    cr_assert_eq(order->unit_price_minor, SALE_PRICE);
    cr_assert_eq(order->channel, TG_CHANNEL_MAX);
    cr_assert_eq(order->external_id.len, TG_EXTERNAL_BYTES_MAX);
    cr_assert_arr_eq(order->external_id.data, placed.external_id, TG_EXTERNAL_BYTES_MAX);
    cr_assert_eq(order->accepted_at_ms, answer.accepted_at_ms);
    cr_assert_eq(order->state, TIDEGATE__V1__ORDER_STATE__ORDER_STATE_RESERVED);
    tgc_response_free(response);
    close_scene(&scene);
}

Test(reads, an_order_that_is_not_there_is_unknown)
{
    struct scene scene;
    open_scene(&scene, 10);
    const uint64_t ids[] = {0, 1, 1024, UINT64_MAX};
    for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
        Tidegate__V1__Response *response = get_order(scene.client, ids[i]);
        sale_assert_verdict(response->get_order->verdict, TG_UNKNOWN_ORDER);
        cr_assert_null(response->get_order->order);
        tgc_response_free(response);
    }
    close_scene(&scene);
}

static Tidegate__V1__Response *list_orders(struct tgc_client *client, uint64_t after,
                                           uint64_t sale_id, uint32_t limit)
{
    Tidegate__V1__ListOrdersRequest list = TIDEGATE__V1__LIST_ORDERS_REQUEST__INIT;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    list.after_order_id = after;
    list.sale_id = sale_id;
    list.limit = limit;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_LIST_ORDERS;
    request.list_orders = &list;
    return sale_call(client, &request);
}

Test(reads, orders_are_listed_by_page_and_by_sale)
{
    struct scene scene;
    open_scene(&scene, 100);
    sale_create(scene.client, 2, "B", 100, 0);
    for (uint64_t user = 0; user < 30; user++)
        sale_assert_verdict(sale_buy(scene.client, user % 3 ? 1 : 2, user % 3 ? "A" : "B", user, 1),
                            TG_ACCEPTED);
    cr_assert_eq(sale_list(scene.client, 0, NULL, NULL), 30);
    cr_assert_eq(sale_list(scene.client, 1, NULL, NULL), 20);
    cr_assert_eq(sale_list(scene.client, 2, NULL, NULL), 10);

    uint64_t after = 0, seen = 0;
    for (bool end = false; !end;) {
        Tidegate__V1__Response *response = list_orders(scene.client, after, 0, 7);
        cr_assert(response->list_orders->n_orders <= 7);
        seen += response->list_orders->n_orders;
        after = response->list_orders->next_after_order_id;
        end = response->list_orders->end;
        tgc_response_free(response);
    }
    cr_assert_eq(seen, 30);
    close_scene(&scene);
}

Test(reads, a_page_above_the_largest_and_an_unknown_sale_are_named)
{
    struct scene scene;
    open_scene(&scene, 100);
    Tidegate__V1__Response *response = list_orders(scene.client, 0, 0, TG_ORDERS_PAGE_MAX + 1);
    sale_assert_verdict(response->list_orders->verdict, TG_INVALID_ARGUMENT);
    cr_assert_str_eq(response->list_orders->field, "limit");
    tgc_response_free(response);
    response = list_orders(scene.client, 0, 99, 0);
    sale_assert_verdict(response->list_orders->verdict, TG_UNKNOWN_SALE);
    tgc_response_free(response);
    response = list_orders(scene.client, UINT64_MAX, 0, 0);
    sale_assert_verdict(response->list_orders->verdict, TG_OK);
    cr_assert_eq(response->list_orders->n_orders, 0);
    cr_assert(response->list_orders->end);
    tgc_response_free(response);
    close_scene(&scene);
}

Test(reads, the_largest_page_of_the_largest_orders_fits)
{
    struct scene scene;
    open_scene(&scene, TG_STOCK_UNITS_MAX);
    static struct tg_order orders[TG_BATCH_ORDERS_MAX];
    static struct tg_answer answers[TG_BATCH_ORDERS_MAX];
    static const char sku[] = "01234567890123456789012345678901";
    Tidegate__V1__CreateSaleRequest *message = sale_message(UINT64_MAX, sku, TG_STOCK_UNITS_MAX);
    message->items[0]->sale_price_minor = TG_PRICE_MINOR_MAX;
    sale_assert_verdict(sale_create_message(scene.client, message, ""), TG_OK);
    for (int i = 0; i < TG_BATCH_ORDERS_MAX; i++) {
        orders[i] = sale_order(UINT64_MAX, sku, UINT64_MAX, 1000);
        orders[i].unit_price_minor = TG_PRICE_MINOR_MAX;
        orders[i].channel = TG_CHANNEL_MAX;
        orders[i].external_id = (const uint8_t *)sku;
        orders[i].external_bytes = TG_EXTERNAL_BYTES_MAX;
    }
    sale_place_batch(scene.client, orders, TG_BATCH_ORDERS_MAX, answers);
    for (int i = 0; i < TG_BATCH_ORDERS_MAX; i++)
        sale_assert_verdict(answers[i].verdict, TG_ACCEPTED);
    Tidegate__V1__Response *response = list_orders(scene.client, 0, 0, TG_ORDERS_PAGE_MAX);
    cr_assert_eq(response->list_orders->n_orders, TG_ORDERS_PAGE_MAX);
    tgc_response_free(response);
    close_scene(&scene);
}

Test(reads, an_item_shows_its_sale_and_its_numbers)
{
    struct scene scene;
    open_scene(&scene, 10);
    Tidegate__V1__GetItemRequest get = TIDEGATE__V1__GET_ITEM_REQUEST__INIT;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    get.sale_id = 1;
    get.sku = (char *)(uintptr_t) "A";
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_GET_ITEM;
    request.get_item = &get;
    Tidegate__V1__Response *response = sale_call(scene.client, &request);
    sale_assert_verdict(response->get_item->verdict, TG_OK);
    cr_assert_str_eq(response->get_item->sale->name, "Singles Day");
    cr_assert_str_eq(response->get_item->sale->currency, "CNY");
    cr_assert_eq(response->get_item->sale->state, TIDEGATE__V1__SALE_STATE__SALE_STATE_ACTIVE);
    cr_assert_eq(response->get_item->status->item->list_price_minor, 2 * SALE_PRICE);
    cr_assert_eq(response->get_item->status->available_units, 10);
    tgc_response_free(response);

    get.sku = (char *)(uintptr_t) "B";
    response = sale_call(scene.client, &request);
    sale_assert_verdict(response->get_item->verdict, TG_UNKNOWN_ITEM);
    tgc_response_free(response);
    get.sale_id = 9;
    response = sale_call(scene.client, &request);
    sale_assert_verdict(response->get_item->verdict, TG_UNKNOWN_SALE);
    tgc_response_free(response);
    close_scene(&scene);
}

Test(reads, the_server_tells_its_time)
{
    struct scene scene;
    open_scene(&scene, 10);
    Tidegate__V1__GetServerTimeRequest get = TIDEGATE__V1__GET_SERVER_TIME_REQUEST__INIT;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_GET_SERVER_TIME;
    request.get_server_time = &get;
    int64_t before_ms = tg_clock_wall_ns() / TG_NS_PER_MS;
    Tidegate__V1__Response *response = sale_call(scene.client, &request);
    int64_t after_ms = tg_clock_wall_ns() / TG_NS_PER_MS;
    int64_t told_ms = response->get_server_time->server_time_ms;
    tgc_response_free(response);
    cr_assert(told_ms >= before_ms && told_ms <= after_ms, "%lld is not in %lld .. %lld",
              (long long)told_ms, (long long)before_ms, (long long)after_ms);
    close_scene(&scene);
}

static Tidegate__V1__Response *get_stats(struct tgc_client *client)
{
    Tidegate__V1__GetStatsRequest get = TIDEGATE__V1__GET_STATS_REQUEST__INIT;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_GET_STATS;
    request.get_stats = &get;
    return sale_call(client, &request);
}

static uint64_t answers_of(const Tidegate__V1__GetStatsResponse *stats, int verdict)
{
    for (size_t i = 0; i < stats->n_answers; i++)
        if ((int)stats->answers[i]->verdict == verdict)
            return stats->answers[i]->count;
    return 0;
}

Test(reads, the_server_tells_what_it_has_done)
{
    struct scene scene;
    open_scene(&scene, 3);
    Tidegate__V1__Response *before = get_stats(scene.client);
    for (uint64_t user = 1; user <= 5; user++) {
        struct tg_order order = sale_order(1, "A", user, 1);
        sale_place(scene.client, &order);
    }
    Tidegate__V1__Response *after = get_stats(scene.client);
    const Tidegate__V1__GetStatsResponse *b = before->get_stats, *a = after->get_stats;
    cr_assert_eq(answers_of(a, TG_ACCEPTED) - answers_of(b, TG_ACCEPTED), 3);
    cr_assert_eq(answers_of(a, TG_SOLD_OUT) - answers_of(b, TG_SOLD_OUT), 2);
    /* They came one after the other, so each had a commit of its own; the start of the sale may
     * have come between. */
    cr_assert_geq(a->commits - b->commits, 3);
    cr_assert_geq(a->commit_records - b->commit_records, 3);
    cr_assert_geq(a->sequence - b->sequence, 3);
    uint64_t told = 0;
    for (size_t i = 0; i < a->n_commit_us; i++)
        told += a->commit_us[i]->count;
    cr_assert_eq(told, a->commits, "each commit is in the histogram");
    cr_assert(a->connections_open >= 1 && a->frames > b->frames && a->resident_bytes > 0 &&
              a->data_file_bytes > 0 && a->cpu_ns >= b->cpu_ns);
    tgc_response_free(before);
    tgc_response_free(after);
    close_scene(&scene);
}

static Tidegate__V1__Response *list_sales(struct tgc_client *client, uint32_t offset,
                                          uint32_t limit)
{
    Tidegate__V1__ListSalesRequest list = TIDEGATE__V1__LIST_SALES_REQUEST__INIT;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    list.offset = offset;
    list.limit = limit;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_LIST_SALES;
    request.list_sales = &list;
    return sale_call(client, &request);
}

Test(reads, sales_are_listed_in_the_order_of_their_creation)
{
    struct scene scene;
    open_scene(&scene, 10);
    const uint64_t ids[] = {1, 77, 5, UINT64_MAX, 6};
    for (int i = 1; i < 5; i++)
        sale_create(scene.client, ids[i], "A", 1, 0);
    tgc_close(scene.client);
    daemon_kill(&scene.daemon);
    daemon_restart(&scene.daemon);
    scene.client = sale_client(&scene.daemon);
    for (uint32_t offset = 0; offset < 8; offset++) {
        Tidegate__V1__Response *response = list_sales(scene.client, offset, 2);
        sale_assert_verdict(response->list_sales->verdict, TG_OK);
        cr_assert_eq(response->list_sales->total, 5);
        cr_assert_eq(response->list_sales->n_sales, offset > 4 ? 0 : offset == 4 ? 1 : 2);
        for (size_t i = 0; i < response->list_sales->n_sales; i++)
            cr_assert_eq(response->list_sales->sales[i]->sale_id, ids[offset + i]);
        tgc_response_free(response);
    }
    Tidegate__V1__Response *response = list_sales(scene.client, 0, TG_SALES_PAGE_MAX + 1);
    sale_assert_verdict(response->list_sales->verdict, TG_INVALID_ARGUMENT);
    cr_assert_str_eq(response->list_sales->field, "limit");
    tgc_response_free(response);
    close_scene(&scene);
}

static Tidegate__V1__Response *get_sale(struct tgc_client *client, uint64_t sale_id,
                                        uint32_t offset, uint32_t limit)
{
    Tidegate__V1__GetSaleRequest get = TIDEGATE__V1__GET_SALE_REQUEST__INIT;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    get.sale_id = sale_id;
    get.item_offset = offset;
    get.item_limit = limit;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_GET_SALE;
    request.get_sale = &get;
    return sale_call(client, &request);
}

Test(reads, a_sale_shows_its_items_by_page_in_their_order)
{
    struct scene scene;
    open_scene(&scene, 10);
    sale_create_many(scene.client, 2, 1500, 3);
    uint32_t seen = 0;
    while (seen < 1500) {
        Tidegate__V1__Response *response = get_sale(scene.client, 2, seen, TG_ITEMS_PAGE_MAX);
        sale_assert_verdict(response->get_sale->verdict, TG_OK);
        cr_assert_eq(response->get_sale->sale->item_count, 1500);
        cr_assert(response->get_sale->n_items > 0);
        for (size_t i = 0; i < response->get_sale->n_items; i++, seen++) {
            char sku[16];
            snprintf(sku, sizeof(sku), "S%u", seen);
            cr_assert_str_eq(response->get_sale->items[i]->item->sku, sku);
        }
        tgc_response_free(response);
    }
    Tidegate__V1__Response *response = get_sale(scene.client, 2, 0, TG_ITEMS_PAGE_MAX + 1);
    sale_assert_verdict(response->get_sale->verdict, TG_INVALID_ARGUMENT);
    cr_assert_str_eq(response->get_sale->field, "item_limit");
    tgc_response_free(response);
    response = get_sale(scene.client, 3, 0, 0);
    sale_assert_verdict(response->get_sale->verdict, TG_UNKNOWN_SALE);
    tgc_response_free(response);
    close_scene(&scene);
}

/* --- reads of a sale that is being created --- */

enum {
    YOUNG_ITEMS = 3000,
    YOUNG_SALES = 30,
    POLLERS = 8, /* some on each core */
    POLLS = 100, /* by each poller, half of them of the sale and half of its first item */
};

/* Does not wait for the answer. */
static void ask_for_sale(struct peer *operator, uint64_t sale_id)
{
    static Tidegate__V1__SaleItem items[YOUNG_ITEMS];
    static Tidegate__V1__SaleItem *pointers[YOUNG_ITEMS];
    static char skus[YOUNG_ITEMS][8];
    Tidegate__V1__CreateSaleRequest *message = sale_message(sale_id, "S0", 10);
    for (uint32_t i = 0; i < YOUNG_ITEMS; i++) {
        snprintf(skus[i], sizeof(skus[i]), "S%u", i);
        items[i] = *message->items[0];
        items[i].sku = skus[i];
        pointers[i] = &items[i];
    }
    message->n_items = YOUNG_ITEMS;
    message->items = pointers;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_CREATE_SALE;
    request.create_sale = message;
    peer_request(operator, & request);
}

static size_t put_read(uint8_t *at, uint64_t sale_id, bool of_item)
{
    uint8_t get[24], body[32];
    uint8_t *end = peer_put_number(get, 1, sale_id);
    end = of_item ? peer_put_bytes(end, 2, "S0", 2) : peer_put_number(end, 3, 1);
    uint32_t kind =
        of_item ? TIDEGATE__V1__REQUEST__KIND_GET_ITEM : TIDEGATE__V1__REQUEST__KIND_GET_SALE;
    size_t size = (size_t)(peer_put_bytes(body, kind, get, (size_t)(end - get)) - body);
    size_t prefix = tg_frame_prefix(at, (uint32_t)size);
    memcpy(at + prefix, body, size);
    return prefix + size;
}

/* The sale is there as a whole, or not at all. */
static void expect_whole_or_nothing(struct peer *peer, uint64_t sale_id)
{
    Tidegate__V1__Response *response = peer_response(peer);
    cr_assert(response, "the connection is lost");
    bool of_item = response->kind_case == TIDEGATE__V1__RESPONSE__KIND_GET_ITEM;
    int verdict = (int)(of_item ? response->get_item->verdict : response->get_sale->verdict);
    if (verdict == TG_OK) {
        const Tidegate__V1__Sale *sale =
            of_item ? response->get_item->sale : response->get_sale->sale;
        const Tidegate__V1__ItemStatus *status =
            of_item ? response->get_item->status : response->get_sale->items[0];
        cr_assert_eq(sale->sale_id, sale_id);
        cr_assert_eq(sale->item_count, YOUNG_ITEMS);
        cr_assert_str_eq(status->item->sku, "S0");
    } else {
        sale_assert_verdict(verdict, TG_UNKNOWN_SALE);
    }
    tidegate__v1__response__free_unpacked(response, NULL);
}

static void send_polls(struct peer *pollers, uint64_t sale_id)
{
    static uint8_t reads[POLLS * 40];
    size_t size = 0;
    for (int i = 0; i < POLLS; i++)
        size += put_read(reads + size, sale_id, i % 2 == 0);
    for (int i = 0; i < POLLERS; i++)
        peer_send(&pollers[i], reads, size);
}

static void expect_polls(struct peer *pollers, uint64_t sale_id)
{
    for (int i = 0; i < POLLERS * POLLS; i++)
        expect_whole_or_nothing(&pollers[i % POLLERS], sale_id);
}

/* Keeps every core busy with reads of the sale until the operator has an answer. */
static void poll_sale(struct peer *pollers, const struct peer *operator, uint64_t sale_id)
{
    struct pollfd answered = {.fd = operator->fd, .events = POLLIN};
    send_polls(pollers, sale_id);
    while (poll(&answered, 1, 0) == 0) {
        send_polls(pollers, sale_id); /* there is always more to do than what is waited for */
        expect_polls(pollers, sale_id);
    }
    expect_polls(pollers, sale_id);
}

Test(reads, a_sale_that_is_being_created_is_read_as_a_whole_or_not_at_all)
{
    struct daemon daemon = {0};
    daemon_start(&daemon, "--threads", "2", NULL);
    struct peer operator, pollers[POLLERS];
    peer_open(&operator, & daemon);
    for (int i = 0; i < POLLERS; i++)
        peer_open(&pollers[i], &daemon);
    for (uint64_t sale_id = 1; sale_id <= YOUNG_SALES; sale_id++) {
        ask_for_sale(&operator, sale_id);
        poll_sale(pollers, &operator, sale_id);
        Tidegate__V1__Response *response = peer_response(&operator);
        cr_assert(response);
        sale_assert_verdict(response->create_sale->verdict, TG_OK);
        tidegate__v1__response__free_unpacked(response, NULL);
    }
    cr_assert(daemon_runs(&daemon));
    peer_close(&operator);
    for (int i = 0; i < POLLERS; i++)
        peer_close(&pollers[i]);
    daemon_end(&daemon);
}

/* --- operators --- */

Test(operators, stock_moves_by_a_difference_and_the_books_balance)
{
    struct scene scene;
    open_scene(&scene, 10);
    sale_assert_verdict(sale_buy(scene.client, 1, "A", 1, 4), TG_ACCEPTED);
    sale_assert_verdict(sale_adjust(scene.client, 1, "A", 5), TG_OK);
    sale_assert_verdict(sale_adjust(scene.client, 1, "A", -8), TG_OK);
    struct tg_stock stock = sale_stock(scene.client, 1, "A");
    cr_assert_eq(stock.available_units, 3);
    cr_assert_eq(stock.reserved_units, 4);
    cr_assert_eq(stock.restocked_units, -3);
    sale_assert_verdict(sale_adjust(scene.client, 1, "A", -4), TG_INSUFFICIENT_STOCK);
    sale_assert_verdict(sale_adjust(scene.client, 1, "A", INT64_MIN), TG_INSUFFICIENT_STOCK);
    cr_assert_eq(sale_available(scene.client, 1, "A"), 3);

    tgc_close(scene.client);
    daemon_kill(&scene.daemon);
    daemon_restart(&scene.daemon);
    scene.client = sale_client(&scene.daemon);
    stock = sale_stock(scene.client, 1, "A");
    cr_assert_eq(stock.available_units, 3);
    cr_assert_eq(stock.restocked_units, -3);
    close_scene(&scene);
}

Test(operators, sold_out_ends_with_new_stock)
{
    struct scene scene;
    open_scene(&scene, 1);
    sale_assert_verdict(sale_buy(scene.client, 1, "A", 1, 1), TG_ACCEPTED);
    sale_assert_verdict(sale_buy(scene.client, 1, "A", 2, 1), TG_SOLD_OUT);
    sale_assert_verdict(sale_adjust(scene.client, 1, "A", 1), TG_OK);
    sale_assert_verdict(sale_buy(scene.client, 1, "A", 2, 1), TG_ACCEPTED);
    sale_assert_verdict(sale_buy(scene.client, 1, "A", 3, 1), TG_SOLD_OUT);
    close_scene(&scene);
}

Test(operators, compare_and_set_changes_only_what_was_expected)
{
    struct scene scene;
    open_scene(&scene, 10);
    sale_assert_verdict(sale_compare_and_set(scene.client, 1, "A", 9, 20), TG_STOCK_CHANGED);
    cr_assert_eq(sale_available(scene.client, 1, "A"), 10);
    sale_assert_verdict(sale_compare_and_set(scene.client, 1, "A", 10, 20), TG_OK);
    cr_assert_eq(sale_available(scene.client, 1, "A"), 20);
    sale_assert_verdict(sale_compare_and_set(scene.client, 1, "A", 10, 20), TG_STOCK_CHANGED);
    sale_assert_verdict(sale_compare_and_set(scene.client, 1, "A", 20, 0), TG_OK);
    cr_assert_eq(sale_available(scene.client, 1, "A"), 0);
    sale_assert_verdict(sale_compare_and_set(scene.client, 1, "A", 0, 0), TG_OK);
    close_scene(&scene);
}

Test(operators, stock_that_would_overflow_is_refused)
{
    struct scene scene;
    open_scene(&scene, 10);
    const int64_t too_much[] = {TG_STOCK_UNITS_MAX, TG_STOCK_UNITS_MAX - 9, UINT32_MAX, INT64_MAX};
    for (size_t i = 0; i < sizeof(too_much) / sizeof(too_much[0]); i++)
        sale_assert_verdict(sale_adjust(scene.client, 1, "A", too_much[i]), TG_INVALID_ARGUMENT);
    sale_assert_verdict(sale_compare_and_set(scene.client, 1, "A", 10, TG_STOCK_UNITS_MAX + 1ll),
                        TG_INVALID_ARGUMENT);
    sale_assert_verdict(sale_compare_and_set(scene.client, 1, "A", 10, UINT64_MAX),
                        TG_INVALID_ARGUMENT);
    cr_assert_eq(sale_available(scene.client, 1, "A"), 10);
    sale_assert_verdict(sale_adjust(scene.client, 1, "A", TG_STOCK_UNITS_MAX - 10), TG_OK);
    cr_assert_eq(sale_available(scene.client, 1, "A"), TG_STOCK_UNITS_MAX);
    sale_assert_verdict(sale_adjust(scene.client, 1, "A", 1), TG_INVALID_ARGUMENT);
    close_scene(&scene);
}

Test(operators, an_adjustment_of_nothing_or_of_nobody_is_named)
{
    struct scene scene;
    open_scene(&scene, 10);
    sale_assert_verdict(sale_adjust(scene.client, 1, "A", 0), TG_INVALID_ARGUMENT);
    sale_assert_verdict(sale_adjust(scene.client, 9, "A", 1), TG_UNKNOWN_SALE);
    sale_assert_verdict(sale_adjust(scene.client, 1, "B", 1), TG_UNKNOWN_ITEM);
    sale_assert_verdict(sale_pause(scene.client, 9), TG_UNKNOWN_SALE);
    sale_assert_verdict(sale_resume(scene.client, 9), TG_UNKNOWN_SALE);
    sale_assert_verdict(sale_close(scene.client, 9), TG_UNKNOWN_SALE);
    close_scene(&scene);
}

Test(operators, a_sale_is_created_once)
{
    struct scene scene;
    open_scene(&scene, 10);
    Tidegate__V1__CreateSaleRequest *message = sale_message(1, "B", 99);
    sale_assert_verdict(sale_create_message(scene.client, message, ""), TG_SALE_EXISTS);
    sale_assert_verdict(sale_buy(scene.client, 1, "B", 1, 1), TG_UNKNOWN_ITEM);
    cr_assert_eq(sale_available(scene.client, 1, "A"), 10);
    close_scene(&scene);
}

Test(operators, a_table_that_is_full_is_said_and_nothing_is_lost)
{
    struct daemon daemon = {0};
    daemon_start(&daemon, "--set", "engine.sales_max=2", "--set", "engine.items_max=4", NULL);
    struct tgc_client *client = sale_client(&daemon);
    sale_create_many(client, 1, 3, 10);
    Tidegate__V1__CreateSaleRequest *message = sale_message(2, "A", 1);
    Tidegate__V1__SaleItem second = *message->items[0];
    second.sku = (char *)(uintptr_t) "B";
    Tidegate__V1__SaleItem *two[] = {message->items[0], &second};
    message->items = two;
    message->n_items = 2;
    sale_assert_verdict(sale_create_message(client, message, ""), TG_BUSY);
    sale_create(client, 2, "A", 1, 0);
    sale_assert_verdict(sale_create_message(client, sale_message(3, "A", 1), ""), TG_BUSY);
    sale_assert_verdict(sale_buy(client, 1, "S2", 1, 1), TG_ACCEPTED);
    sale_assert_verdict(sale_buy(client, 2, "A", 1, 1), TG_ACCEPTED);
    tgc_close(client);
    daemon_end(&daemon);
}
