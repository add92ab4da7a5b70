/* What a server must survive: bytes that are no frames, frames that are no messages, messages that
 * are out of range. After each, another connection is served as if nothing had happened. */
#include "tests/lib/peer.h"
#include "tests/lib/sale.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

/* A daemon with sale 1 and item "A", a peer that misbehaves and a client that does not. */
struct scene {
    struct daemon daemon;
    struct peer peer;
    struct tgc_client *other;
    uint64_t served; /* orders of the other */
};

static void open_scene(struct scene *scene)
{
    *scene = (struct scene){0};
    daemon_start(&scene->daemon, NULL);
    scene->other = sale_client(&scene->daemon);
    sale_create(scene->other, 1, "A", 1000000, 0);
    peer_open(&scene->peer, &scene->daemon);
}

static void expect_served(struct scene *scene)
{
    sale_assert_verdict(sale_buy(scene->other, 1, "A", 99, 1), TG_ACCEPTED);
    scene->served++;
    cr_assert_eq(sale_available(scene->other, 1, "A"), 1000000 - scene->served);
}

static void close_scene(struct scene *scene)
{
    expect_served(scene);
    peer_close(&scene->peer);
    tgc_close(scene->other);
    daemon_end(&scene->daemon);
}

static void reopen(struct scene *scene)
{
    expect_served(scene);
    peer_close(&scene->peer);
    peer_open(&scene->peer, &scene->daemon);
}

/* Sends the bytes: one error answer with this code must come, and the end. */
static void expect_refused(struct scene *scene, const void *bytes, size_t size,
                           Tidegate__V1__ErrorCode code)
{
    peer_send(&scene->peer, bytes, size);
    peer_expect_error(&scene->peer, code, 0);
    peer_expect_end(&scene->peer);
    reopen(scene);
}

/* --- frames --- */

Test(frames, a_length_that_is_no_varint_is_refused)
{
    struct scene scene;
    open_scene(&scene);
    const Tidegate__V1__ErrorCode code = TIDEGATE__V1__ERROR_CODE__ERROR_CODE_MALFORMED_FRAME;
    expect_refused(&scene, "\x80\x00", 2, code);                 /* overlong zero */
    expect_refused(&scene, "\x85\x80\x00", 3, code);             /* overlong five */
    expect_refused(&scene, "\x80\x80\x80\x80\x80\x01", 6, code); /* six bytes */
    expect_refused(&scene, "\xff\xff\xff\xff\x1f", 5, code);     /* 33 bits */
    expect_refused(&scene, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 10, code);
    close_scene(&scene);
}

Test(frames, one_that_is_too_large_is_refused_at_its_first_bytes)
{
    struct scene scene;
    open_scene(&scene);
    uint8_t bytes[64];
    const struct {
        uint32_t kind;
        uint32_t size;
    } frames[] = {
        {TIDEGATE__V1__REQUEST__KIND_PLACE_ORDER, TG_FRAME_BYTES_MAX + 1},
        {TIDEGATE__V1__REQUEST__KIND_GET_ORDER, TG_FRAME_BYTES_MAX + 1},
        {TIDEGATE__V1__REQUEST__KIND_PLACE_ORDERS, TG_FRAME_BATCH_BYTES_MAX + 1},
        {TIDEGATE__V1__REQUEST__KIND_CREATE_SALE, TG_FRAME_BATCH_BYTES_MAX + 1},
        {TIDEGATE__V1__REQUEST__KIND_PLACE_ORDERS, UINT32_MAX},
    };
    for (size_t i = 0; i < sizeof(frames) / sizeof(frames[0]); i++) {
        uint8_t *end = bytes + tg_frame_prefix(bytes, frames[i].size);
        end = peer_put_number(end, 1, 42);
        end = peer_put_varint(end, (uint64_t)frames[i].kind << 3 | 2);
        end = peer_put_varint(end, frames[i].size - 8);
        memset(end, 0, 16);
        expect_refused(&scene, bytes, (size_t)(end - bytes) + 16,
                       TIDEGATE__V1__ERROR_CODE__ERROR_CODE_FRAME_TOO_LARGE);
    }
    close_scene(&scene);
}

Test(frames, one_that_breaks_off_is_dropped_with_its_connection)
{
    struct scene scene;
    open_scene(&scene);
    struct tg_order order = sale_order(1, "A", 1, 1);
    uint8_t frame[TG_ORDER_FRAME_BYTES_MAX];
    size_t size = tg_order_frame(frame, 1, &order);
    for (size_t cut = 0; cut < size; cut++) {
        peer_send(&scene.peer, frame, cut);
        peer_half_close(&scene.peer);
        peer_expect_end(&scene.peer);
        peer_close(&scene.peer);
        peer_open(&scene.peer, &scene.daemon);
    }
    expect_served(&scene);
    cr_assert_eq(sale_list(scene.other, 0, NULL, NULL), scene.served);
    close_scene(&scene);
}

Test(frames, one_that_comes_byte_by_byte_is_served)
{
    struct scene scene;
    open_scene(&scene);
    struct tg_order order = sale_order(1, "A", 1, 1);
    uint8_t frame[TG_ORDER_FRAME_BYTES_MAX];
    size_t size = tg_order_frame(frame, 77, &order);
    for (size_t i = 0; i < size; i++)
        peer_send(&scene.peer, frame + i, 1);
    Tidegate__V1__Response *response = peer_response(&scene.peer);
    cr_assert(response);
    cr_assert_eq(response->correlation_id, 77);
    sale_assert_verdict(response->place_order->verdict, TG_ACCEPTED);
    tidegate__v1__response__free_unpacked(response, NULL);
    scene.served++;
    close_scene(&scene);
}

/* --- messages --- */

Test(messages, what_is_no_protobuf_is_refused)
{
    struct scene scene;
    open_scene(&scene);
    const Tidegate__V1__ErrorCode code = TIDEGATE__V1__ERROR_CODE__ERROR_CODE_MALFORMED_MESSAGE;
    expect_refused(&scene, "\x01\x0f", 2, code);         /* wire type 7 */
    expect_refused(&scene, "\x03\xff\xff\xff", 4, code); /* a tag without end */
    expect_refused(&scene, "\x02\x12\x05", 3, code);     /* five bytes that are not there */
    expect_refused(&scene, "\x04GET ", 5, code);
    expect_refused(&scene, "\x04\x12\x00\x12\x00", 5, code); /* the same kind twice */
    close_scene(&scene);
}

Test(messages, noise_never_harms_others)
{
    struct scene scene;
    open_scene(&scene);
    const uint64_t seed = 20261122;
    uint64_t state = seed;
    uint8_t noise[4096];
    for (int round = 0; round < 100; round++) {
        for (size_t i = 0; i < sizeof(noise); i += 8) {
            state = state * 6364136223846793005ull + 1442695040888963407ull;
            uint64_t word = state ^ (state >> 29);
            memcpy(noise + i, &word, 8);
        }
        if (round % 2 == 0) /* so that half of them get past the length */
            noise[0] &= 0x7f;
        peer_flood(&scene.peer, noise, sizeof(noise), sizeof(noise), 1000);
        peer_close(&scene.peer);
        peer_open(&scene.peer, &scene.daemon);
    }
    expect_served(&scene);
    cr_assert(daemon_runs(&scene.daemon), "seed %llu", (unsigned long long)seed);
    cr_assert_eq(sale_list(scene.other, 0, NULL, NULL), scene.served);
    close_scene(&scene);
}

Test(messages, an_empty_or_unknown_request_is_answered_and_the_connection_stays)
{
    struct scene scene;
    open_scene(&scene);
    uint8_t body[32];
    const Tidegate__V1__ErrorCode code = TIDEGATE__V1__ERROR_CODE__ERROR_CODE_UNKNOWN_REQUEST;
    peer_frame(&scene.peer, NULL, 0);
    peer_expect_error(&scene.peer, code, 0);
    uint8_t *end = peer_put_number(body, 1, 5);
    peer_frame(&scene.peer, body, (size_t)(end - body));
    peer_expect_error(&scene.peer, code, 5);
    end = peer_put_bytes(peer_put_number(body, 1, 6), 1000, "later", 5);
    peer_frame(&scene.peer, body, (size_t)(end - body));
    peer_expect_error(&scene.peer, code, 6);

    Tidegate__V1__GetServerTimeRequest get = TIDEGATE__V1__GET_SERVER_TIME_REQUEST__INIT;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    request.correlation_id = 7;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_GET_SERVER_TIME;
    request.get_server_time = &get;
    peer_request(&scene.peer, &request);
    Tidegate__V1__Response *response = peer_response(&scene.peer);
    cr_assert(response && response->correlation_id == 7);
    cr_assert_eq((int)response->kind_case, TIDEGATE__V1__RESPONSE__KIND_GET_SERVER_TIME);
    tidegate__v1__response__free_unpacked(response, NULL);
    close_scene(&scene);
}

Test(messages, a_kind_that_does_not_unpack_is_refused)
{
    struct scene scene;
    open_scene(&scene);
    const uint32_t kinds[] = {
        TIDEGATE__V1__REQUEST__KIND_PLACE_ORDERS,    TIDEGATE__V1__REQUEST__KIND_GET_ORDER,
        TIDEGATE__V1__REQUEST__KIND_LIST_ORDERS,     TIDEGATE__V1__REQUEST__KIND_GET_ITEM,
        TIDEGATE__V1__REQUEST__KIND_GET_SERVER_TIME, TIDEGATE__V1__REQUEST__KIND_CREATE_SALE,
        TIDEGATE__V1__REQUEST__KIND_LIST_SALES,      TIDEGATE__V1__REQUEST__KIND_GET_SALE,
        TIDEGATE__V1__REQUEST__KIND_PAUSE_SALE,      TIDEGATE__V1__REQUEST__KIND_RESUME_SALE,
        TIDEGATE__V1__REQUEST__KIND_CLOSE_SALE,      TIDEGATE__V1__REQUEST__KIND_ADJUST_STOCK,
    };
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        uint8_t body[32];
        uint8_t *end = peer_put_bytes(peer_put_number(body, 1, 9), kinds[i], "\x0f", 1);
        peer_frame(&scene.peer, body, (size_t)(end - body));
        peer_expect_error(&scene.peer, TIDEGATE__V1__ERROR_CODE__ERROR_CODE_MALFORMED_MESSAGE, 9);
        peer_expect_end(&scene.peer);
        reopen(&scene);
    }
    close_scene(&scene);
}

Test(messages, orders_before_a_bad_frame_are_answered)
{
    struct scene scene;
    open_scene(&scene);
    uint8_t bytes[3 * TG_ORDER_FRAME_BYTES_MAX];
    size_t size = 0;
    for (uint64_t i = 1; i <= 2; i++) {
        struct tg_order order = sale_order(1, "A", i, 1);
        size += tg_order_frame(bytes + size, i, &order);
    }
    memcpy(bytes + size, "\x01\x0f", 2);
    peer_send(&scene.peer, bytes, size + 2);
    int accepted = 0, errors = 0;
    Tidegate__V1__Response *response;
    while ((response = peer_response(&scene.peer))) {
        if (response->kind_case == TIDEGATE__V1__RESPONSE__KIND_ERROR)
            errors++;
        else
            accepted += response->place_order->verdict == TIDEGATE__V1__VERDICT__VERDICT_ACCEPTED;
        tidegate__v1__response__free_unpacked(response, NULL);
    }
    cr_assert_eq(accepted, 2);
    cr_assert_eq(errors, 1);
    scene.served += 2;
    close_scene(&scene);
}

/* --- orders out of range --- */

/* The order must be refused, the field named, and the connection stay. */
static void expect_field(struct scene *scene, const Tidegate__V1__PlaceOrderRequest *message,
                         const char *field)
{
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_PLACE_ORDER;
    request.place_order = (Tidegate__V1__PlaceOrderRequest *)(uintptr_t)message;
    Tidegate__V1__Response *response = sale_call(scene->other, &request);
    sale_assert_verdict(response->place_order->verdict, TG_INVALID_ARGUMENT);
    cr_assert_str_eq(response->place_order->field, field);
    cr_assert(response->place_order->message[0] != '\0');
    tgc_response_free(response);
    expect_served(scene);
}

static Tidegate__V1__PlaceOrderRequest good_message(void)
{
    static struct tg_order order;
    order = sale_order(1, "A", 1, 1);
    return sale_order_message(&order);
}

Test(orders_out_of_range, a_request_id_that_is_not_16_bytes_is_named)
{
    struct scene scene;
    open_scene(&scene);
    static uint8_t bytes[1024];
    const size_t sizes[] = {0, 1, 15, 17, 32, 1024};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        Tidegate__V1__PlaceOrderRequest message = good_message();
        message.request_id = (ProtobufCBinaryData){.len = sizes[i], .data = bytes};
        expect_field(&scene, &message, "request_id");
    }
    close_scene(&scene);
}

Test(orders_out_of_range, a_quantity_is_1_to_a_million)
{
    struct scene scene;
    open_scene(&scene);
    const uint32_t quantities[] = {0, TG_QUANTITY_MAX + 1, INT32_MAX, UINT32_MAX - 1, UINT32_MAX};
    for (size_t i = 0; i < sizeof(quantities) / sizeof(quantities[0]); i++) {
        Tidegate__V1__PlaceOrderRequest message = good_message();
        message.quantity = quantities[i];
        expect_field(&scene, &message, "quantity");
    }
    close_scene(&scene);
}

/* Sends an order whose number `field` is `value`, as no generated encoder would write it; the
 * field that the answer names. */
static void expect_raw_field(struct scene *scene, uint32_t field, uint64_t value, const char *name)
{
    uint8_t order[128], body[160];
    uint8_t *end = peer_put_bytes(order, 1, "0123456789abcdef", 16);
    end = peer_put_bytes(peer_put_number(end, 2, 1), 3, "A", 1);
    end = peer_put_number(peer_put_number(peer_put_number(end, 4, 1), 5, 1), 6, SALE_PRICE);
    end = peer_put_number(end, field, value); /* the last one counts */
    end =
        peer_put_bytes(body, TIDEGATE__V1__REQUEST__KIND_PLACE_ORDER, order, (size_t)(end - order));
    peer_frame(&scene->peer, body, (size_t)(end - body));
    Tidegate__V1__Response *response = peer_response(&scene->peer);
    cr_assert(response);
    sale_assert_verdict(response->place_order->verdict, TG_INVALID_ARGUMENT);
    cr_assert_str_eq(response->place_order->field, name);
    tidegate__v1__response__free_unpacked(response, NULL);
    expect_served(scene);
}

Test(orders_out_of_range, numbers_beyond_their_32_bits_are_not_cut)
{
    struct scene scene;
    open_scene(&scene);
    expect_raw_field(&scene, 5, (1ull << 32) + 1, "quantity");
    expect_raw_field(&scene, 5, UINT64_MAX, "quantity");
    expect_raw_field(&scene, 7, (1ull << 32), "channel");
    expect_raw_field(&scene, 6, UINT64_MAX, "unit_price_minor");
    close_scene(&scene);
}

Test(orders_out_of_range, a_price_is_0_to_a_trillion)
{
    struct scene scene;
    open_scene(&scene);
    const int64_t prices[] = {-1, INT64_MIN, TG_PRICE_MINOR_MAX + 1, INT64_MAX};
    for (size_t i = 0; i < sizeof(prices) / sizeof(prices[0]); i++) {
        Tidegate__V1__PlaceOrderRequest message = good_message();
        message.unit_price_minor = prices[i];
        expect_field(&scene, &message, "unit_price_minor");
    }
    close_scene(&scene);
}

Test(orders_out_of_range, a_sku_is_1_to_32_printable_bytes)
{
    struct scene scene;
    open_scene(&scene);
    static char page[4096];
    memset(page, 'A', sizeof(page) - 1);
    const char *skus[] = {
        "",  "012345678901234567890123456789012", "A B", " ", "A\n", "\x7f", "A\x01", "\xc3\xa9",
        page};
    for (size_t i = 0; i < sizeof(skus) / sizeof(skus[0]); i++) {
        Tidegate__V1__PlaceOrderRequest message = good_message();
        message.sku = (char *)(uintptr_t)skus[i];
        expect_field(&scene, &message, "sku");
    }
    close_scene(&scene);
}

Test(orders_out_of_range, a_nul_inside_a_sku_does_not_end_it)
{
    struct scene scene;
    open_scene(&scene);
    uint8_t order[128], body[160];
    uint8_t *end = peer_put_bytes(order, 1, "0123456789abcdef", 16);
    end = peer_put_bytes(peer_put_number(end, 2, 1), 3, "A\0B", 3);
    end = peer_put_number(peer_put_number(end, 5, 1), 6, SALE_PRICE);
    end =
        peer_put_bytes(body, TIDEGATE__V1__REQUEST__KIND_PLACE_ORDER, order, (size_t)(end - order));
    peer_frame(&scene.peer, body, (size_t)(end - body));
    Tidegate__V1__Response *response = peer_response(&scene.peer);
    cr_assert(response);
    sale_assert_verdict(response->place_order->verdict, TG_INVALID_ARGUMENT);
    cr_assert_str_eq(response->place_order->field, "sku");
    tidegate__v1__response__free_unpacked(response, NULL);
    /* the same through a read */
    uint8_t get[32];
    end = peer_put_bytes(peer_put_number(get, 1, 1), 2, "A\0B", 3);
    end = peer_put_bytes(body, TIDEGATE__V1__REQUEST__KIND_GET_ITEM, get, (size_t)(end - get));
    peer_frame(&scene.peer, body, (size_t)(end - body));
    response = peer_response(&scene.peer);
    cr_assert(response);
    sale_assert_verdict(response->get_item->verdict, TG_UNKNOWN_ITEM);
    tidegate__v1__response__free_unpacked(response, NULL);
    close_scene(&scene);
}

Test(orders_out_of_range, the_other_fields_are_named_too)
{
    struct scene scene;
    open_scene(&scene);
    static uint8_t bytes[64];
    Tidegate__V1__PlaceOrderRequest message = good_message();
    message.sale_id = 0;
    expect_field(&scene, &message, "sale_id");
    message = good_message();
    message.channel = TG_CHANNEL_MAX + 1;
    expect_field(&scene, &message, "channel");
    message = good_message();
    message.external_id = (ProtobufCBinaryData){.len = TG_EXTERNAL_BYTES_MAX + 1, .data = bytes};
    expect_field(&scene, &message, "external_id");
    close_scene(&scene);
}

Test(orders_out_of_range, above_the_items_maximum_is_named)
{
    struct scene scene;
    open_scene(&scene);
    Tidegate__V1__CreateSaleRequest *sale = sale_message(2, "A", 100);
    sale->items[0]->per_order_max = 3;
    sale_assert_verdict(sale_create_message(scene.other, sale, ""), TG_OK);
    Tidegate__V1__PlaceOrderRequest message = good_message();
    message.sale_id = 2;
    message.quantity = 4;
    expect_field(&scene, &message, "quantity");
    sale_assert_verdict(sale_buy(scene.other, 2, "A", 1, 3), TG_ACCEPTED);
    close_scene(&scene);
}

/* --- batches --- */

static void send_batch(struct scene *scene, uint32_t count)
{
    struct tg_order order = sale_order(1, "A", 1, 1);
    uint8_t head[TG_BATCH_HEAD_BYTES_MAX];
    uint8_t *elements = malloc((size_t)count * TG_ORDER_FRAME_BYTES_MAX + 1);
    size_t size = 0;
    cr_assert(elements);
    for (uint32_t i = 0; i < count; i++)
        size += tg_orders_element(elements + size, &order);
    peer_send(&scene->peer, head, tg_orders_head(head, 3, size));
    peer_send(&scene->peer, elements, size);
    free(elements);
}

Test(batches, of_none_or_too_many_are_refused_as_a_whole)
{
    struct scene scene;
    open_scene(&scene);
    const uint32_t counts[] = {0, TG_BATCH_ORDERS_MAX + 1};
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        send_batch(&scene, counts[i]);
        Tidegate__V1__Response *response = peer_response(&scene.peer);
        cr_assert(response);
        sale_assert_verdict(response->place_orders->verdict, TG_INVALID_ARGUMENT);
        cr_assert_str_eq(response->place_orders->field, "orders");
        cr_assert_eq(response->place_orders->n_results, 0);
        cr_assert_eq(response->correlation_id, 3);
        tidegate__v1__response__free_unpacked(response, NULL);
        expect_served(&scene); /* and nothing else was taken from the stock */
    }
    close_scene(&scene);
}

Test(batches, a_bad_order_does_not_spoil_the_others)
{
    struct scene scene;
    open_scene(&scene);
    struct tg_order orders[4];
    struct tg_answer answers[4];
    for (int i = 0; i < 4; i++)
        orders[i] = sale_order(1, "A", 1, 1);
    orders[0].quantity = 0;
    orders[2].sale_id = 0;
    sale_place_batch(scene.other, orders, 4, answers);
    for (int i = 0; i < 4; i++)
        sale_assert_verdict(answers[i].verdict, i % 2 ? TG_ACCEPTED : TG_INVALID_ARGUMENT);
    scene.served += 2;
    close_scene(&scene);
}

/* --- sales out of range --- */

/* Each changes one thing that makes a good sale bad. */
static void no_id(Tidegate__V1__CreateSaleRequest *m)
{
    m->sale->sale_id = 0;
}
static void no_sale(Tidegate__V1__CreateSaleRequest *m)
{
    m->sale = NULL;
}
static void no_kind(Tidegate__V1__CreateSaleRequest *m)
{
    m->sale->kind = 0;
}
static void odd_kind(Tidegate__V1__CreateSaleRequest *m)
{
    m->sale->kind = 257;
}
static void no_name(Tidegate__V1__CreateSaleRequest *m)
{
    m->sale->name = NULL;
}
static void name_of_two_lines(Tidegate__V1__CreateSaleRequest *m)
{
    m->sale->name = (char *)(uintptr_t) "a\nb";
}
static void name_of_no_utf8(Tidegate__V1__CreateSaleRequest *m)
{
    m->sale->name = (char *)(uintptr_t) "Singles\xff";
}
static void name_that_breaks_off(Tidegate__V1__CreateSaleRequest *m)
{
    m->sale->name = (char *)(uintptr_t) "\xe7\xa7";
}
static void small_currency(Tidegate__V1__CreateSaleRequest *m)
{
    m->sale->currency = (char *)(uintptr_t) "cny";
}
static void long_currency(Tidegate__V1__CreateSaleRequest *m)
{
    m->sale->currency = (char *)(uintptr_t) "CNYX";
}
static void starts_before_1970(Tidegate__V1__CreateSaleRequest *m)
{
    m->sale->starts_at_ms = -1;
}
static void ends_before_it_starts(Tidegate__V1__CreateSaleRequest *m)
{
    m->sale->ends_at_ms = m->sale->starts_at_ms - 1;
}
static void ends_as_it_starts(Tidegate__V1__CreateSaleRequest *m)
{
    m->sale->ends_at_ms = m->sale->starts_at_ms;
}
static void never_ends(Tidegate__V1__CreateSaleRequest *m)
{
    m->sale->ends_at_ms = INT64_MAX;
}
static void no_items(Tidegate__V1__CreateSaleRequest *m)
{
    m->n_items = 0;
}
static void no_sku(Tidegate__V1__CreateSaleRequest *m)
{
    m->items[0]->sku = NULL;
}
static void control_sku(Tidegate__V1__CreateSaleRequest *m)
{
    m->items[0]->sku = (char *)(uintptr_t) "A\x02";
}
static void long_sku(Tidegate__V1__CreateSaleRequest *m)
{
    m->items[0]->sku = (char *)(uintptr_t) "012345678901234567890123456789012";
}
static void below_price(Tidegate__V1__CreateSaleRequest *m)
{
    m->items[0]->sale_price_minor = -1;
}
static void absurd_price(Tidegate__V1__CreateSaleRequest *m)
{
    m->items[0]->sale_price_minor = TG_PRICE_MINOR_MAX + 1;
}
static void below_list_price(Tidegate__V1__CreateSaleRequest *m)
{
    m->items[0]->list_price_minor = INT64_MIN;
}
static void absurd_stock(Tidegate__V1__CreateSaleRequest *m)
{
    m->items[0]->stock_units = TG_STOCK_UNITS_MAX + 1ull;
}
static void wrapping_stock(Tidegate__V1__CreateSaleRequest *m)
{
    m->items[0]->stock_units = (1ull << 32) + 1;
}

Test(sales_out_of_range, are_refused_by_field)
{
    static const struct {
        void (*spoil)(Tidegate__V1__CreateSaleRequest *message);
        const char *field;
    } cases[] = {
        {no_sale, "sale"},
        {no_id, "sale_id"},
        {no_kind, "sale.kind"},
        {odd_kind, "sale.kind"},
        {no_name, "sale.name"},
        {name_of_two_lines, "sale.name"},
        {name_of_no_utf8, "sale.name"},
        {name_that_breaks_off, "sale.name"},
        {small_currency, "sale.currency"},
        {long_currency, "sale.currency"},
        {starts_before_1970, "sale.starts_at_ms"},
        {ends_before_it_starts, "sale.ends_at_ms"},
        {ends_as_it_starts, "sale.ends_at_ms"},
        {never_ends, "sale.ends_at_ms"},
        {no_items, "items"},
        {no_sku, "items.sku"},
        {control_sku, "items.sku"},
        {long_sku, "items.sku"},
        {below_price, "items.sale_price_minor"},
        {absurd_price, "items.sale_price_minor"},
        {below_list_price, "items.list_price_minor"},
        {absurd_stock, "items.stock_units"},
        {wrapping_stock, "items.stock_units"},
    };
    struct scene scene;
    open_scene(&scene);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        Tidegate__V1__CreateSaleRequest *message = sale_message(2, "A", 1);
        cases[i].spoil(message);
        sale_assert_verdict(sale_create_message(scene.other, message, cases[i].field),
                            TG_INVALID_ARGUMENT);
        sale_assert_verdict(sale_buy(scene.other, 2, "A", 1, 1), TG_UNKNOWN_SALE);
        expect_served(&scene);
    }
    close_scene(&scene);
}

Test(sales_out_of_range, a_sku_stands_once)
{
    struct scene scene;
    open_scene(&scene);
    Tidegate__V1__CreateSaleRequest *message = sale_message(2, "A", 1);
    Tidegate__V1__SaleItem *twice[] = {message->items[0], message->items[0]};
    message->items = twice;
    message->n_items = 2;
    sale_assert_verdict(sale_create_message(scene.other, message, "items.sku"),
                        TG_INVALID_ARGUMENT);
    close_scene(&scene);
}
