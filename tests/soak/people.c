#include "tests/soak/people.h"

#include "base/clock.h"
#include "base/rng.h"
#include "client/tidegate.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SALE_ID        77
#define SKUS           2 /* on two shards */
#define GROUP          "soak"
#define PRICE_MINOR    9900
#define STOCK_UNITS    1000000000u
#define PAY_WINDOW_S   2 /* nobody pays: every unit returns */
#define WAIT_MS        30000
#define PROBE_NS       (TG_NS_PER_S / PEOPLE_PROBES_PER_S)
#define PROBES_MAX     8192 /* in flight */
/* Orders at the beginning, and as many expiries: every journal (TG_JOURNAL_RECORDS in a shard) has
 * gone round and is resident before anything is measured. */
#define BURST_ORDERS   140000
#define PAGE_EVENTS    1024
#define POLL_MS        500
#define VISIT_US       50000
#define VISIT_ORDERS   200
#define LEAVE_EARLY_IN 4 /* one visitor in so many */

/* The first one is kept. */
__attribute__((format(printf, 2, 3))) static void fault(struct people *people, const char *format,
                                                        ...)
{
    va_list list;
    va_start(list, format);
    pthread_mutex_lock(&people->lock);
    if (people->fault[0] == '\0')
        vsnprintf(people->fault, sizeof(people->fault), format, list);
    pthread_mutex_unlock(&people->lock);
    va_end(list);
}

static bool leaving(const struct people *people)
{
    return atomic_load_explicit(&people->leave, memory_order_relaxed);
}

static void count(_Atomic uint64_t *counter, uint64_t more)
{
    atomic_fetch_add_explicit(counter, more, memory_order_relaxed);
}

static const char *const skus[SKUS] = {"SOAK-1", "SOAK-2"};

static struct tgc_client *connect_to(struct people *people, const char *who)
{
    struct tgc_client *client;
    struct tg_fault why;
    struct tgc_options options = {.server = people->server, .window = PROBES_MAX};
    if (tgc_open(&options, &client, &why) == TG_ERR_OK)
        return client;
    fault(people, "%s cannot connect: %s", who, why.text);
    return NULL;
}

/* The answer, whose verdict must be OK; NULL after a fault. */
static Tidegate__V1__Response *ask(struct people *people, struct tgc_client *client,
                                   Tidegate__V1__Request *request, const char *who)
{
    Tidegate__V1__Response *response;
    struct tg_fault why;
    if (tgc_call(client, request, WAIT_MS, &response, &why) != TG_ERR_OK) {
        fault(people, "%s has no answer: %s", who, why.text);
        return NULL;
    }
    int verdict = tgc_outcome_of(response).verdict;
    if (verdict == TG_OK)
        return response;
    fault(people, "%s is answered %s", who, tg_verdict_name((enum tg_verdict)verdict));
    tgc_response_free(response);
    return NULL;
}

/* --- the probe --- */

/* An order on its way. */
struct errand {
    struct people *people;
    int64_t due_ns;
};

struct probe {
    struct tgc_client *client;
    struct tg_rng rng;
    uint64_t sent;
    struct errand errands[PROBES_MAX];
};

static void on_answer(void *context, const Tidegate__V1__Response *response)
{
    const struct errand *errand = context;
    struct people *people = errand->people;
    int verdict = tgc_outcome_of(response).verdict;
    if (verdict == TG_BUSY)
        count(&people->busy, 1);
    else if (verdict != TG_ACCEPTED)
        fault(people, "the probe is answered %s", tg_verdict_name((enum tg_verdict)verdict));
    pthread_mutex_lock(&people->lock);
    tg_histogram_record(&people->latency, (uint64_t)(tg_clock_mono_ns() - errand->due_ns), 1);
    pthread_mutex_unlock(&people->lock);
}

static bool probe_send(struct people *people, struct probe *probe, int64_t due_ns)
{
    uint64_t id[2] = {tg_rng_next(&probe->rng), tg_rng_next(&probe->rng)};
    Tidegate__V1__PlaceOrderRequest order = TIDEGATE__V1__PLACE_ORDER_REQUEST__INIT;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    struct errand *errand = &probe->errands[probe->sent++ % PROBES_MAX];
    struct tg_fault why;
    *errand = (struct errand){.people = people, .due_ns = due_ns};
    order.request_id = (ProtobufCBinaryData){.len = sizeof(id), .data = (uint8_t *)id};
    order.sale_id = SALE_ID;
    order.sku = (char *)(uintptr_t)skus[probe->sent % SKUS];
    order.user_id = 1 + tg_rng_below(&probe->rng, 100000);
    order.quantity = 1;
    order.unit_price_minor = PRICE_MINOR;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_PLACE_ORDER;
    request.place_order = &order;
    if (tgc_send(probe->client, &request, on_answer, errand, &why) == TG_ERR_OK)
        return true;
    fault(people, "the probe cannot send: %s", why.text);
    return false;
}

/* Takes answers until `until_ns`; false when the connection is lost. */
static bool probe_listen(struct people *people, struct probe *probe, int64_t until_ns)
{
    struct tg_fault why;
    for (int64_t left_ns; (left_ns = until_ns - tg_clock_mono_ns()) > 0;) {
        uint32_t wait_ms = (uint32_t)((left_ns + TG_NS_PER_MS - 1) / TG_NS_PER_MS);
        enum tg_error error = tgc_poll(probe->client, wait_ms, &why);
        if (error != TG_ERR_OK && error != TG_ERR_TIMEOUT) {
            fault(people, "the probe has lost its connection: %s", why.text);
            return false;
        }
    }
    return true;
}

static bool probe_open(struct people *people, struct probe *probe)
{
    tg_rng_init(&probe->rng, people->seed ^ (uint64_t)tg_clock_wall_ns());
    probe->client = connect_to(people, "the probe");
    return probe->client != NULL;
}

/* Waits until no more than `most` orders have no answer. */
static bool probe_settle(struct people *people, struct probe *probe, uint32_t most)
{
    int64_t until_ns = tg_clock_mono_ns() + WAIT_MS * TG_NS_PER_MS;
    while (tgc_in_flight(probe->client) > most && tg_clock_mono_ns() < until_ns)
        if (!probe_listen(people, probe, tg_clock_mono_ns() + TG_NS_PER_MS))
            return false;
    if (tgc_in_flight(probe->client) <= most)
        return true;
    fault(people, "%u orders of the probe have no answer", tgc_in_flight(probe->client));
    return false;
}

/* As fast as it goes. */
static bool burst(struct people *people, struct probe *probe)
{
    bool goes_on = true;
    for (uint32_t i = 0; goes_on && i < BURST_ORDERS; i++) {
        if (tgc_in_flight(probe->client) > PROBES_MAX / 2)
            goes_on = probe_settle(people, probe, PROBES_MAX / 4);
        goes_on = goes_on && probe_send(people, probe, tg_clock_mono_ns());
    }
    return goes_on && probe_settle(people, probe, 0);
}

static void *probe_run(void *argument)
{
    struct people *people = argument;
    struct probe *probe = people->probe;
    int64_t due_ns = tg_clock_mono_ns();
    bool goes_on = true;
    while (goes_on && !leaving(people)) {
        goes_on = probe_send(people, probe, due_ns);
        due_ns += PROBE_NS;
        goes_on = goes_on && probe_listen(people, probe, due_ns);
    }
    if (goes_on)
        probe_settle(people, probe, 0);
    return NULL;
}

/* --- the consumer --- */

static bool ack(struct people *people, struct tgc_client *client, uint64_t sequence)
{
    Tidegate__V1__AckEventsRequest body = TIDEGATE__V1__ACK_EVENTS_REQUEST__INIT;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    body.group = (char *)(uintptr_t)GROUP;
    body.sequence = sequence;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_ACK_EVENTS;
    request.ack_events = &body;
    Tidegate__V1__Response *response = ask(people, client, &request, "the consumer's ack");
    count(&people->acks, response != NULL);
    tgc_response_free(response);
    return response != NULL;
}

/* Events come without a gap: every type is asked for. */
static bool take_page(struct people *people, const Tidegate__V1__ConsumeEventsResponse *page,
                      uint64_t *after)
{
    for (size_t i = 0; i < page->n_events; i++) {
        if (*after != 0 && page->events[i]->sequence != *after + 1) {
            fault(people, "behind event %" PRIu64 " comes %" PRIu64, *after,
                  page->events[i]->sequence);
            return false;
        }
        *after = page->events[i]->sequence;
    }
    count(&people->events, page->n_events);
    return true;
}

static void *consumer_run(void *argument)
{
    struct people *people = argument;
    struct tgc_client *client = connect_to(people, "the consumer");
    uint64_t after = 0;
    bool goes_on = client != NULL;
    while (goes_on && !leaving(people)) {
        Tidegate__V1__ConsumeEventsRequest body = TIDEGATE__V1__CONSUME_EVENTS_REQUEST__INIT;
        Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
        body.group = (char *)(uintptr_t)GROUP;
        body.after_sequence = after;
        body.max = PAGE_EVENTS;
        body.wait_ms = POLL_MS;
        request.kind_case = TIDEGATE__V1__REQUEST__KIND_CONSUME_EVENTS;
        request.consume_events = &body;
        Tidegate__V1__Response *response = ask(people, client, &request, "the consumer");
        if (!response)
            break;
        bool has_events = response->consume_events->n_events > 0;
        goes_on = take_page(people, response->consume_events, &after);
        tgc_response_free(response);
        goes_on = goes_on && (!has_events || ack(people, client, after));
    }
    tgc_close(client);
    return NULL;
}

/* --- visitors --- */

static void ignore(void *context, const Tidegate__V1__Response *response)
{
    (void)context;
    (void)response;
}

static bool look_at_item(struct people *people, struct tgc_client *client, bool wait)
{
    Tidegate__V1__GetItemRequest body = TIDEGATE__V1__GET_ITEM_REQUEST__INIT;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    struct tg_fault why;
    body.sale_id = SALE_ID;
    body.sku = (char *)(uintptr_t)skus[0];
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_GET_ITEM;
    request.get_item = &body;
    if (!wait)
        return tgc_send(client, &request, ignore, NULL, &why) == TG_ERR_OK;
    Tidegate__V1__Response *response = ask(people, client, &request, "a visitor");
    tgc_response_free(response);
    return response != NULL;
}

/* One page further through all orders, from the first again after the last. */
static bool read_orders(struct people *people, struct tgc_client *client, uint64_t *after)
{
    Tidegate__V1__ListOrdersRequest body = TIDEGATE__V1__LIST_ORDERS_REQUEST__INIT;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    body.after_order_id = *after;
    body.limit = VISIT_ORDERS;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_LIST_ORDERS;
    request.list_orders = &body;
    Tidegate__V1__Response *response = ask(people, client, &request, "a reader of orders");
    if (!response)
        return false;
    *after = response->list_orders->end ? 0 : response->list_orders->next_after_order_id;
    count(&people->pages_read, 1);
    tgc_response_free(response);
    return true;
}

static void *visitors_run(void *argument)
{
    struct people *people = argument;
    uint64_t after = 0, number = 0;
    bool goes_on = true;
    while (goes_on && !leaving(people)) {
        struct tgc_client *client = connect_to(people, "a visitor");
        bool early = ++number % LEAVE_EARLY_IN == 0;
        goes_on = client && look_at_item(people, client, !early) &&
                  (early || read_orders(people, client, &after));
        count(early ? &people->left_early : &people->visits, 1);
        tgc_close(client);
        usleep(VISIT_US);
    }
    return NULL;
}

/* --- all of them --- */

static bool make_sale(struct people *people, struct tgc_client *client)
{
    Tidegate__V1__CreateSaleRequest body = TIDEGATE__V1__CREATE_SALE_REQUEST__INIT;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    Tidegate__V1__Sale sale = TIDEGATE__V1__SALE__INIT;
    Tidegate__V1__SaleItem of_skus[SKUS], *items[SKUS];
    int64_t now_ms = tg_clock_wall_ns() / TG_NS_PER_MS;
    sale.sale_id = SALE_ID;
    sale.kind = TIDEGATE__V1__SALE_KIND__SALE_KIND_SECKILL;
    sale.name = (char *)(uintptr_t) "Soak";
    sale.currency = (char *)(uintptr_t) "CNY";
    sale.starts_at_ms = now_ms - 1000;
    sale.ends_at_ms = now_ms + 30 * 86400 * 1000ll;
    sale.payment_window_s = PAY_WINDOW_S;
    for (int i = 0; i < SKUS; i++) {
        items[i] = &of_skus[i];
        tidegate__v1__sale_item__init(items[i]);
        items[i]->sku = (char *)(uintptr_t)skus[i];
        items[i]->list_price_minor = items[i]->sale_price_minor = PRICE_MINOR;
        items[i]->stock_units = STOCK_UNITS;
    }
    body.sale = &sale;
    body.n_items = SKUS;
    body.items = items;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_CREATE_SALE;
    request.create_sale = &body;
    Tidegate__V1__Response *response = ask(people, client, &request, "the sale of the probe");
    tgc_response_free(response);
    return response != NULL;
}

static bool make_group(struct people *people, struct tgc_client *client)
{
    Tidegate__V1__CreateGroupRequest body = TIDEGATE__V1__CREATE_GROUP_REQUEST__INIT;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    body.group = (char *)(uintptr_t)GROUP;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_CREATE_GROUP;
    request.create_group = &body;
    Tidegate__V1__Response *response = ask(people, client, &request, "the consumer group");
    tgc_response_free(response);
    return response != NULL;
}

bool people_start(struct people *people, const char *server, uint64_t seed)
{
    static void *(*const runs[])(void *) = {probe_run, consumer_run, visitors_run};
    *people = (struct people){.server = server, .seed = seed};
    pthread_mutex_init(&people->lock, NULL);
    struct tgc_client *client = connect_to(people, "the operator");
    people->probe = calloc(1, sizeof(*people->probe));
    bool made = people->probe && client && make_sale(people, client) &&
                make_group(people, client) && probe_open(people, people->probe) &&
                burst(people, people->probe);
    tgc_close(client);
    tg_histogram_reset(&people->latency);
    for (size_t i = 0; made && i < sizeof(runs) / sizeof(runs[0]); i++) {
        made = pthread_create(&people->threads[i], NULL, runs[i], people) == 0;
        people->thread_count += made;
    }
    return made;
}

void people_take(struct people *people, struct tg_histogram *latency)
{
    pthread_mutex_lock(&people->lock);
    *latency = people->latency;
    tg_histogram_reset(&people->latency);
    pthread_mutex_unlock(&people->lock);
}

bool people_fault(struct people *people, char *text, size_t size)
{
    pthread_mutex_lock(&people->lock);
    snprintf(text, size, "%s", people->fault);
    pthread_mutex_unlock(&people->lock);
    return text[0] != '\0';
}

void people_stop(struct people *people)
{
    atomic_store_explicit(&people->leave, true, memory_order_relaxed);
    for (uint32_t i = 0; i < people->thread_count; i++)
        pthread_join(people->threads[i], NULL);
    people->thread_count = 0;
    if (people->probe)
        tgc_close(people->probe->client);
    free(people->probe);
    people->probe = NULL;
}
