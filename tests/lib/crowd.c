#include "tests/lib/crowd.h"

#include "base/clock.h"
#include "base/rng.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

/* --- connections --- */

static void connect_all(struct crowd *crowd, const struct daemon *daemon)
{
    for (int i = 0; i < CROWD_CLIENTS; i++)
        crowd->clients[i] = sale_client(daemon);
    crowd->ended = false;
}

static void disconnect_all(struct crowd *crowd)
{
    for (int i = 0; i < CROWD_CLIENTS; i++)
        tgc_close(crowd->clients[i]);
}

void crowd_open(struct crowd *crowd, const struct daemon *daemon, uint64_t sale_id, const char *sku,
                uint64_t seed)
{
    *crowd = (struct crowd){
        .orders = calloc(CROWD_ORDERS_MAX, sizeof(*crowd->orders)),
        .sku = sku,
        .sale_id = sale_id,
        .seed = seed,
    };
    cr_assert(crowd->orders);
    connect_all(crowd, daemon);
}

void crowd_close(struct crowd *crowd)
{
    disconnect_all(crowd);
    free(crowd->orders);
}

void crowd_reconnect(struct crowd *crowd, const struct daemon *daemon)
{
    disconnect_all(crowd);
    for (uint32_t i = 0; i < crowd->asked; i++)
        crowd->orders[i].asked = 0;
    connect_all(crowd, daemon);
}

/* --- asking --- */

uint32_t crowd_in_flight(const struct crowd *crowd)
{
    uint32_t count = 0;
    for (int i = 0; i < CROWD_CLIENTS; i++)
        count += tgc_in_flight(crowd->clients[i]);
    return count;
}

static void on_answer(void *context, const Tidegate__V1__Response *response)
{
    struct crowd_order *order = context;
    struct crowd *crowd = order->crowd;
    cr_assert_eq((int)response->kind_case, TIDEGATE__V1__RESPONSE__KIND_PLACE_ORDER);
    const Tidegate__V1__PlaceOrderResponse *answer = response->place_order;
    order->asked = 0;
    if (answer->verdict == TIDEGATE__V1__VERDICT__VERDICT_BUSY) {
        crowd->busy++; /* no decision: it is asked again as if the answer were lost */
        return;
    }
    order->verdict = (uint8_t)answer->verdict;
    crowd->answered++;
    if (order->verdict != TG_ACCEPTED)
        return;
    cr_assert_neq(answer->order_id, 0);
    cr_assert(order->order_id == 0 || order->order_id == answer->order_id, "two orders of one id");
    order->order_id = answer->order_id;
    crowd->accepted++;
}

static struct tg_order order_of(const struct crowd *crowd, uint32_t number)
{
    const struct crowd_order *order = &crowd->orders[number];
    struct tg_order wire = {
        .sale_id = crowd->sale_id,
        .user_id = order->user_id,
        .unit_price_minor = SALE_PRICE,
        .sku = (const uint8_t *)crowd->sku,
        .sku_bytes = (uint8_t)strlen(crowd->sku),
        .quantity = order->quantity,
    };
    uint64_t id[2] = {crowd->seed, number};
    memcpy(wire.request_id, id, sizeof(id));
    return wire;
}

/* False when the connection is lost; what was not sent is asked again later. */
static bool ask(struct crowd *crowd, uint32_t number)
{
    struct crowd_order *order = &crowd->orders[number];
    struct tgc_client *client = crowd->clients[number % CROWD_CLIENTS];
    struct tg_order wire = order_of(crowd, number);
    Tidegate__V1__PlaceOrderRequest message = sale_order_message(&wire);
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_PLACE_ORDER;
    request.place_order = &message;
    struct tg_fault fault;
    enum tg_error error;
    while ((error = tgc_send(client, &request, on_answer, order, &fault)) == TG_ERR_FULL) {
        error = tgc_poll(client, DAEMON_WAIT_MS, &fault);
        if (error != TG_ERR_OK)
            break;
    }
    order->asked = error == TG_ERR_OK;
    if (error != TG_ERR_OK)
        crowd->ended = true;
    return error == TG_ERR_OK;
}

void crowd_ask(struct crowd *crowd, uint32_t count)
{
    for (uint32_t i = 0; i < count && !crowd->ended; i++) {
        cr_assert(crowd->asked < CROWD_ORDERS_MAX);
        uint32_t number = crowd->asked++;
        uint64_t random = tg_mix64(crowd->seed ^ number);
        crowd->orders[number] = (struct crowd_order){
            .crowd = crowd, .user_id = random >> 40, .quantity = 1 + (uint32_t)(random % 3)};
        ask(crowd, number);
    }
}

void crowd_ask_lost(struct crowd *crowd)
{
    while (crowd->lost < crowd->asked && crowd->orders[crowd->lost].verdict != 0)
        crowd->lost++;
    for (uint32_t i = crowd->lost; i < crowd->asked && !crowd->ended; i++)
        if (crowd->orders[i].verdict == 0 && !crowd->orders[i].asked)
            ask(crowd, i);
}

/* --- answers --- */

bool crowd_take(struct crowd *crowd)
{
    struct tg_fault fault;
    for (int i = 0; i < CROWD_CLIENTS; i++) {
        if (tgc_in_flight(crowd->clients[i]) == 0)
            continue;
        enum tg_error error = tgc_poll(crowd->clients[i], 0, &fault);
        if (error != TG_ERR_OK && error != TG_ERR_TIMEOUT)
            crowd->ended = true;
    }
    return !crowd->ended;
}

void crowd_finish(struct crowd *crowd)
{
    struct tg_fault fault;
    uint32_t busy;
    do {
        busy = crowd->busy;
        crowd_ask_lost(crowd);
        for (int i = 0; i < CROWD_CLIENTS; i++)
            while (tgc_in_flight(crowd->clients[i]) > 0)
                cr_assert_eq(tgc_poll(crowd->clients[i], DAEMON_WAIT_MS, &fault), TG_ERR_OK, "%s",
                             fault.text);
    } while (crowd->busy > busy);
}

void crowd_take_to_the_end(struct crowd *crowd)
{
    struct tg_fault fault;
    for (int i = 0; i < CROWD_CLIENTS; i++) {
        enum tg_error error = TG_ERR_OK;
        while (tgc_is_connected(crowd->clients[i]) && error == TG_ERR_OK)
            error = tgc_poll(crowd->clients[i], DAEMON_WAIT_MS, &fault);
        cr_assert_neq(error, TG_ERR_TIMEOUT, "the connection never ended");
    }
    crowd->ended = true;
}

/* --- the audit --- */

struct audit {
    struct crowd *crowd;
    uint64_t units;
};

static void on_listed(void *context, const Tidegate__V1__Order *listed)
{
    struct audit *audit = context;
    uint64_t id[2];
    cr_assert_eq(listed->request_id.len, sizeof(id));
    memcpy(id, listed->request_id.data, sizeof(id));
    cr_assert(id[0] == audit->crowd->seed && id[1] < audit->crowd->asked, "an order nobody asked");
    struct crowd_order *order = &audit->crowd->orders[id[1]];
    order->listed++;
    cr_assert_eq(order->listed, 1, "order %llu stands twice", (unsigned long long)id[1]);
    cr_assert_eq(listed->user_id, order->user_id);
    cr_assert_eq(listed->quantity, order->quantity);
    cr_assert(order->order_id == 0 || order->order_id == listed->order_id,
              "the answer named another order");
    audit->units += listed->quantity;
}

uint64_t crowd_audit(struct crowd *crowd)
{
    struct audit audit = {.crowd = crowd};
    for (uint32_t i = 0; i < crowd->asked; i++)
        crowd->orders[i].listed = 0;
    uint64_t count = sale_list(crowd->clients[0], crowd->sale_id, on_listed, &audit);
    for (uint32_t i = 0; i < crowd->asked; i++)
        cr_assert(crowd->orders[i].order_id == 0 || crowd->orders[i].listed == 1,
                  "order %u was ACCEPTED and is not there (seed %llu)", i,
                  (unsigned long long)crowd->seed);
    struct tg_stock stock = sale_stock(crowd->clients[0], crowd->sale_id, crowd->sku);
    cr_assert_eq(stock.reserved_units, audit.units, "%u units reserved, orders of %llu listed",
                 stock.reserved_units, (unsigned long long)audit.units);
    return count;
}
