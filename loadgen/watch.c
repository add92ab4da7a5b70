#include "loadgen/watch.h"

#include "base/clock.h"
#include "loadgen/target.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LOOK_EVERY_NS    (50 * TG_NS_PER_MS)
#define RETRY_NS         (20 * TG_NS_PER_MS)
#define RECONNECT_TRY_MS 200
#define CLOSE_MS         2000
#define END_LOOK_MS      100
#define ORDERS_A_PAGE    500
#define REST_NS_MAX      (120 * TG_NS_PER_S)
#define REST_WAIT_US     100000
/* One look in so many acks; one begins again behind the last ack. */
#define ACK_EVERY        4
#define CRASH_EVERY      16

_Static_assert(ACK_EVERY *TG_EVENTS_PAGE_MAX < LG_FEED_RECENT, "what comes again is remembered");
_Static_assert(CRASH_EVERY % ACK_EVERY == 0, "a crash comes in the turn of an ack, before it");

static enum tg_error stop_with(struct lg_watch *watch, const char *what, int verdict)
{
    return tg_fault_set(&watch->fault, TG_ERR_PROTOCOL, "%s was answered %s", what,
                        tg_verdict_name(verdict));
}

/* --- requests --- */

/* A request with room for any body that this file sends. */
struct wire {
    Tidegate__V1__Request request;
    union {
        Tidegate__V1__GetSaleRequest sale;
        Tidegate__V1__ConsumeEventsRequest consume;
        Tidegate__V1__AckEventsRequest ack;
        Tidegate__V1__CreateGroupRequest create;
        Tidegate__V1__DeleteGroupRequest delete;
        Tidegate__V1__ListOrdersRequest orders;
        Tidegate__V1__GetTeamRequest team;
    };
};

static void fill_get_sale(struct wire *wire, const struct lg_watch *watch, uint32_t offset)
{
    tidegate__v1__request__init(&wire->request);
    tidegate__v1__get_sale_request__init(&wire->sale);
    wire->sale.sale_id = watch->sale_id;
    wire->sale.item_offset = offset;
    wire->sale.item_limit = TG_ITEMS_PAGE_MAX;
    wire->request.kind_case = TIDEGATE__V1__REQUEST__KIND_GET_SALE;
    wire->request.get_sale = &wire->sale;
}

static void fill_consume(struct wire *wire, struct lg_watch *watch)
{
    tidegate__v1__request__init(&wire->request);
    tidegate__v1__consume_events_request__init(&wire->consume);
    wire->consume.group = watch->group;
    wire->consume.after_sequence = watch->after;
    wire->consume.max = TG_EVENTS_PAGE_MAX;
    wire->consume.without_orders = 1;
    wire->request.kind_case = TIDEGATE__V1__REQUEST__KIND_CONSUME_EVENTS;
    wire->request.consume_events = &wire->consume;
}

static void fill_ack(struct wire *wire, struct lg_watch *watch)
{
    tidegate__v1__request__init(&wire->request);
    tidegate__v1__ack_events_request__init(&wire->ack);
    wire->ack.group = watch->group;
    wire->ack.sequence = watch->feed.sequence;
    wire->request.kind_case = TIDEGATE__V1__REQUEST__KIND_ACK_EVENTS;
    wire->request.ack_events = &wire->ack;
}

/* --- while stories go on --- */

/* An answer of another kind is an error: that the database cannot be read, say. */
static bool is_kind(struct lg_watch *watch, const Tidegate__V1__Response *response, int kind,
                    const char *what)
{
    if ((int)response->kind_case == kind)
        return true;
    const char *words = response->kind_case == TIDEGATE__V1__RESPONSE__KIND_ERROR
                            ? response->error->message
                            : "another kind of answer";
    tg_fault_set(&watch->fault, TG_ERR_PROTOCOL, "%s was answered with an error: %s", what, words);
    return false;
}

static void on_sale(void *context, const Tidegate__V1__Response *response)
{
    struct lg_watch *watch = context;
    watch->looking = false;
    if (!is_kind(watch, response, TIDEGATE__V1__RESPONSE__KIND_GET_SALE, "GetSale"))
        return;
    const Tidegate__V1__GetSaleResponse *page = response->get_sale;
    if ((int)page->verdict != TG_OK) {
        lg_world_sale_lost(&watch->world);
        stop_with(watch, "GetSale", (int)page->verdict);
        return;
    }
    watch->world.samples++;
    for (size_t i = 0; i < page->n_items; i++)
        lg_world_look(&watch->world, page->items[i]);
}

static void take_page(struct lg_watch *watch, const Tidegate__V1__ConsumeEventsResponse *page)
{
    if (!lg_feed_page(&watch->feed, watch->after, page))
        stop_with(watch, "ConsumeEvents", (int)page->verdict);
    else if (watch->feed.no_memory)
        tg_fault_set(&watch->fault, TG_ERR_NOMEM, "no memory to remember the events");
}

static void on_page(void *context, const Tidegate__V1__Response *response)
{
    struct lg_watch *watch = context;
    watch->reading = false;
    if (!is_kind(watch, response, TIDEGATE__V1__RESPONSE__KIND_CONSUME_EVENTS, "ConsumeEvents"))
        return;
    take_page(watch, response->consume_events);
    /* Behind the newest event there is time; before it there is none. */
    if (watch->feed.sequence < watch->feed.newest)
        watch->look_at_ns = 0;
}

static void on_ack(void *context, const Tidegate__V1__Response *response)
{
    struct lg_watch *watch = context;
    watch->reading = false;
    if (is_kind(watch, response, TIDEGATE__V1__RESPONSE__KIND_ACK_EVENTS, "AckEvents"))
        lg_feed_acked(&watch->feed, response->ack_events);
}

static void look_at_books(struct lg_watch *watch)
{
    struct wire wire;
    struct tg_fault unheard;
    uint32_t pages = (watch->item_count + TG_ITEMS_PAGE_MAX - 1) / TG_ITEMS_PAGE_MAX;
    fill_get_sale(&wire, watch, (uint32_t)(watch->looks % pages) * TG_ITEMS_PAGE_MAX);
    watch->looking = tgc_send(watch->client, &wire.request, on_sale, watch, &unheard) == TG_ERR_OK;
}

/* One at a time, so that it is known which ack a page knows of. */
static void read_outbox(struct lg_watch *watch)
{
    struct wire wire;
    struct tg_fault unheard;
    tgc_on_response *on_response = on_page;
    bool crash = watch->looks % CRASH_EVERY == CRASH_EVERY - 1;
    if (!crash && watch->looks % ACK_EVERY == ACK_EVERY - 1 &&
        watch->feed.sequence > watch->feed.offset) {
        lg_feed_asks_ack(&watch->feed);
        fill_ack(&wire, watch);
        on_response = on_ack;
    } else {
        watch->after = crash ? 0 : watch->feed.sequence;
        fill_consume(&wire, watch);
    }
    watch->reading =
        tgc_send(watch->client, &wire.request, on_response, watch, &unheard) == TG_ERR_OK;
}

static void connect_again(struct lg_watch *watch, int64_t now_ns)
{
    struct tg_fault unheard;
    watch->looking = watch->reading = false;
    if (now_ns < watch->retry_at_ns)
        return;
    if (tgc_reconnect(watch->client, RECONNECT_TRY_MS, &unheard) != TG_ERR_OK)
        watch->retry_at_ns = tg_clock_mono_ns() + RETRY_NS;
}

void lg_watch_turn(struct lg_watch *watch, int64_t now_ns)
{
    struct tg_fault fault;
    if (!tgc_is_connected(watch->client)) {
        connect_again(watch, now_ns);
        return;
    }
    if (tgc_poll(watch->client, 0, &fault) == TG_ERR_PROTOCOL)
        watch->fault = fault;
    if (watch->looking || watch->reading || watch->fault.error || now_ns < watch->look_at_ns ||
        !tgc_is_connected(watch->client))
        return;
    watch->look_at_ns = now_ns + LOOK_EVERY_NS;
    look_at_books(watch);
    read_outbox(watch);
    watch->looks++;
}

/* --- at the end --- */

static enum tg_error ask(struct lg_watch *watch, struct wire *wire,
                         Tidegate__V1__Response **response, struct tg_fault *fault)
{
    return tgc_call_until_answered(watch->client, &wire->request, watch->patience_ms, response,
                                   fault);
}

/* As far as the newest event at its first page: others may go on ordering. */
static enum tg_error read_to_now(struct lg_watch *watch, struct tg_fault *fault)
{
    uint64_t target = 0;
    do {
        struct wire wire;
        Tidegate__V1__Response *response;
        watch->after = watch->feed.sequence;
        fill_consume(&wire, watch);
        enum tg_error error = ask(watch, &wire, &response, fault);
        if (error)
            return error;
        uint64_t before = watch->feed.sequence;
        take_page(watch, response->consume_events);
        tgc_response_free(response);
        target = target ? target : watch->feed.newest;
        if (watch->fault.error)
            return *fault = watch->fault, fault->error;
        if (watch->feed.sequence == before)
            break;
    } while (watch->feed.sequence < target);
    return TG_ERR_OK;
}

/* All items: first their names, then, orders and teams being read, their books. */
static enum tg_error read_items(struct lg_watch *watch, struct lg_world *world,
                                void (*judge)(struct lg_world *, const Tidegate__V1__ItemStatus *),
                                struct tg_fault *fault)
{
    for (uint32_t offset = 0; offset < watch->item_count;) {
        struct wire wire;
        Tidegate__V1__Response *response;
        fill_get_sale(&wire, watch, offset);
        enum tg_error error = ask(watch, &wire, &response, fault);
        if (error)
            return error;
        const Tidegate__V1__GetSaleResponse *page = response->get_sale;
        int verdict = (int)page->verdict;
        size_t count = page->n_items;
        if (verdict == TG_OK && page->sale && world->now_ms == 0)
            lg_world_rules(world, page->sale, page->server_time_ms);
        for (size_t i = 0; verdict == TG_OK && i < count; i++)
            judge(world, page->items[i]);
        tgc_response_free(response);
        if (verdict != TG_OK || count == 0) {
            watch->sale_is_lost = true;
            return tg_fault_set(fault, TG_ERR_NOTFOUND, "GetSale was answered %s with %zu items",
                                tg_verdict_name(verdict), count);
        }
        offset += (uint32_t)count;
    }
    return TG_ERR_OK;
}

static enum tg_error read_orders(struct lg_watch *watch, struct lg_world *world,
                                 struct tg_fault *fault)
{
    uint64_t after = 0;
    for (bool end = false; !end;) {
        struct wire wire;
        Tidegate__V1__Response *response;
        tidegate__v1__request__init(&wire.request);
        tidegate__v1__list_orders_request__init(&wire.orders);
        wire.orders.after_order_id = after;
        wire.orders.sale_id = watch->sale_id;
        wire.orders.limit = ORDERS_A_PAGE;
        wire.request.kind_case = TIDEGATE__V1__REQUEST__KIND_LIST_ORDERS;
        wire.request.list_orders = &wire.orders;
        enum tg_error error = ask(watch, &wire, &response, fault);
        if (error)
            return error;
        const Tidegate__V1__ListOrdersResponse *page = response->list_orders;
        int verdict = (int)page->verdict;
        for (size_t i = 0; i < page->n_orders; i++)
            lg_world_order(world, page->orders[i]);
        bool goes_on = page->next_after_order_id > after;
        after = page->next_after_order_id;
        end = page->end;
        tgc_response_free(response);
        if (verdict != TG_OK || (!end && !goes_on))
            return tg_fault_set(fault, TG_ERR_PROTOCOL, "ListOrders was answered %s%s",
                                tg_verdict_name(verdict), goes_on ? "" : " and does not go on");
    }
    return TG_ERR_OK;
}

static enum tg_error read_team(struct lg_watch *watch, struct lg_world *world, uint64_t team_id,
                               struct tg_fault *fault)
{
    struct wire wire;
    Tidegate__V1__Response *response;
    tidegate__v1__request__init(&wire.request);
    tidegate__v1__get_team_request__init(&wire.team);
    wire.team.team_id = team_id;
    wire.request.kind_case = TIDEGATE__V1__REQUEST__KIND_GET_TEAM;
    wire.request.get_team = &wire.team;
    enum tg_error error = ask(watch, &wire, &response, fault);
    if (error)
        return error;
    const Tidegate__V1__GetTeamResponse *answer = response->get_team;
    lg_world_team(world, team_id, (int)answer->verdict == TG_OK ? answer->team : NULL);
    tgc_response_free(response);
    return TG_ERR_OK;
}

static enum tg_error read_world(struct lg_watch *watch, bool timers_may_lag, struct tg_fault *fault)
{
    struct lg_world world;
    lg_world_begin(&world, watch->ledger, &watch->world, timers_may_lag);
    enum tg_error error = read_items(watch, &world, lg_world_name, fault);
    if (!error)
        error = read_orders(watch, &world, fault);
    for (uint64_t i = 0; !error && i < world.team_count; i++)
        error = read_team(watch, &world, world.teams[i], fault);
    if (!error)
        error = read_items(watch, &world, lg_world_item, fault);
    if (!error)
        lg_world_finish(&world);
    if (!error && world.no_memory)
        error = tg_fault_set(fault, TG_ERR_NOMEM, "no memory for the audit");
    lg_world_fini(&world);
    return error;
}

/* Takes what the last look asked for, so that no answer of before comes in between. */
static void end_look(struct lg_watch *watch)
{
    struct tg_fault unheard;
    int64_t deadline_ns = tg_clock_mono_ns() + watch->patience_ms * TG_NS_PER_MS;
    while ((watch->looking || watch->reading) && tgc_is_connected(watch->client) &&
           tg_clock_mono_ns() < deadline_ns)
        tgc_poll(watch->client, END_LOOK_MS, &unheard);
    if (watch->looking || watch->reading) /* its answer must not come any more */
        tgc_reconnect(watch->client, RECONNECT_TRY_MS, &unheard);
}

/* Reads it all once; `*at_rest`: nothing happened to the sale meanwhile, and the findings hold.
 * Orders that expire while they are read would differ from their history. */
static enum tg_error audit_once(struct lg_watch *watch, bool timers_may_lag, bool *at_rest,
                                struct tg_fault *fault)
{
    const struct lg_world_findings before = watch->world;
    uint64_t events = watch->feed.own_events;
    enum tg_error error = read_world(watch, timers_may_lag, fault);
    if (!error)
        error = read_to_now(watch, fault);
    *at_rest = !error && watch->feed.own_events == events;
    if (!*at_rest)
        watch->world = before;
    if (watch->sale_is_lost)
        lg_world_sale_lost(&watch->world);
    return error;
}

enum tg_error lg_watch_audit(struct lg_watch *watch, bool timers_may_lag, struct tg_fault *fault)
{
    int64_t begun_ns = tg_clock_mono_ns();
    bool at_rest = false;
    end_look(watch);
    enum tg_error error = read_to_now(watch, fault);
    while (!error && !at_rest) {
        error = audit_once(watch, timers_may_lag, &at_rest, fault);
        if (error || at_rest)
            break;
        if (tg_clock_mono_ns() - begun_ns > REST_NS_MAX)
            return tg_fault_set(fault, TG_ERR_TIMEOUT,
                                "the sale did not come to rest, so it cannot be audited: is "
                                "somebody else ordering in it?");
        usleep(REST_WAIT_US);
    }
    return error;
}

/* --- opening and closing --- */

static enum tg_error make_group(struct lg_watch *watch, struct tg_fault *fault)
{
    struct wire wire;
    Tidegate__V1__Response *response;
    tidegate__v1__request__init(&wire.request);
    tidegate__v1__create_group_request__init(&wire.create);
    wire.create.group = watch->group;
    wire.create.from_now = 1;
    wire.request.kind_case = TIDEGATE__V1__REQUEST__KIND_CREATE_GROUP;
    wire.request.create_group = &wire.create;
    enum tg_error error = ask(watch, &wire, &response, fault);
    if (error)
        return error;
    int verdict = (int)response->create_group->verdict;
    lg_feed_begin(&watch->feed, watch->ledger, response->create_group->offset);
    tgc_response_free(response);
    /* It exists when the answer to a first try was lost: the name is this sale's alone. */
    watch->has_group = verdict == TG_OK || verdict == TG_GROUP_EXISTS;
    return watch->has_group ? TG_ERR_OK
                            : tg_fault_set(fault, TG_ERR_PROTOCOL, "CreateGroup was answered %s",
                                           tg_verdict_name(verdict));
}

enum tg_error lg_watch_open(struct lg_watch *watch, const char *server, uint64_t sale_id,
                            uint32_t item_count, int64_t patience_ns, struct lg_ledger *ledger,
                            struct tg_fault *fault)
{
    int64_t patience_ms = patience_ns / TG_NS_PER_MS;
    memset(watch, 0, sizeof(*watch));
    watch->server = server;
    watch->sale_id = sale_id;
    watch->item_count = item_count;
    watch->patience_ms = (uint32_t)(patience_ms > 1000 ? patience_ms : 1000);
    watch->ledger = ledger;
    snprintf(watch->group, sizeof(watch->group), "load-%" PRIu64, sale_id);
    struct tgc_options options = lg_target_options(server);
    enum tg_error error = tgc_open(&options, &watch->client, fault);
    return error ? error : make_group(watch, fault);
}

static void remove_group(struct lg_watch *watch)
{
    struct wire wire;
    Tidegate__V1__Response *response;
    struct tg_fault unheard;
    tidegate__v1__request__init(&wire.request);
    tidegate__v1__delete_group_request__init(&wire.delete);
    wire.delete.group = watch->group;
    wire.request.kind_case = TIDEGATE__V1__REQUEST__KIND_DELETE_GROUP;
    wire.request.delete_group = &wire.delete;
    if (tgc_call_until_answered(watch->client, &wire.request, CLOSE_MS, &response, &unheard) ==
        TG_ERR_OK)
        tgc_response_free(response);
}

void lg_watch_close(struct lg_watch *watch)
{
    if (watch->client && watch->has_group && tgc_is_connected(watch->client))
        remove_group(watch);
    tgc_close(watch->client);
    watch->client = NULL;
}
