#include "loadgen/feed.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define FEED_MS      5000u
#define PAGE_MAX     TG_EVENTS_PAGE_MAX
/* A page is read again so often, though it is acked: a consumer that crashed before its ack. */
#define REREAD_EVERY 16

static void complain(struct lg_feed *feed, uint64_t *count, const char *what, uint64_t sequence,
                     uint64_t order_id)
{
    if ((*count)++ == 0 && !feed->findings.example[0])
        snprintf(feed->findings.example, sizeof(feed->findings.example),
                 "event %" PRIu64 " of order %" PRIu64 ": %s", sequence, order_id, what);
}

/* --- the diagram, as docs/order-life.md draws it --- */

/* The state behind an event, 0 for one that changes none. */
static int state_behind(int type)
{
    static const uint8_t states[TG_EVENT_TYPE_COUNT] = {
        [TG_EVENT_ORDER_PLACED] = TG_ORDER_RESERVED,
        [TG_EVENT_ORDER_PAID] = TG_ORDER_PAID,
        [TG_EVENT_ORDER_AWAITING_TEAM] = TG_ORDER_AWAITING_TEAM,
        [TG_EVENT_ORDER_CONFIRMED] = TG_ORDER_CONFIRMED,
        [TG_EVENT_ORDER_SHIPPED] = TG_ORDER_SHIPPED,
        [TG_EVENT_ORDER_DELIVERED] = TG_ORDER_DELIVERED,
        [TG_EVENT_ORDER_COMPLETED] = TG_ORDER_COMPLETED,
        [TG_EVENT_ORDER_EXPIRED] = TG_ORDER_EXPIRED,
        [TG_EVENT_ORDER_CANCELLED] = TG_ORDER_CANCELLED,
        [TG_EVENT_ORDER_TEAM_FAILED] = TG_ORDER_TEAM_FAILED,
        [TG_EVENT_ORDER_REFUND_DUE] = TG_ORDER_REFUND_DUE,
        [TG_EVENT_ORDER_REFUNDED] = TG_ORDER_REFUNDED,
    };
    return type > 0 && type < TG_EVENT_TYPE_COUNT ? states[type] : 0;
}

#define FROM(state) (1u << TG_ORDER_##state)

/* The states from which a state may be entered. */
static uint32_t states_before(int state)
{
    static const uint32_t before[TG_ORDER_STATE_COUNT] = {
        [TG_ORDER_RESERVED] = 1u,
        [TG_ORDER_PAID] = FROM(RESERVED) | FROM(EXPIRED),
        [TG_ORDER_AWAITING_TEAM] = FROM(PAID),
        [TG_ORDER_CONFIRMED] = FROM(PAID) | FROM(AWAITING_TEAM),
        [TG_ORDER_SHIPPED] = FROM(CONFIRMED),
        [TG_ORDER_DELIVERED] = FROM(SHIPPED),
        [TG_ORDER_COMPLETED] = FROM(DELIVERED),
        [TG_ORDER_EXPIRED] = FROM(RESERVED),
        [TG_ORDER_CANCELLED] = FROM(RESERVED) | FROM(AWAITING_TEAM),
        [TG_ORDER_TEAM_FAILED] = FROM(AWAITING_TEAM),
        [TG_ORDER_REFUND_DUE] = FROM(RESERVED) | FROM(CONFIRMED) | FROM(SHIPPED) | FROM(DELIVERED) |
                                FROM(EXPIRED) | FROM(CANCELLED) | FROM(TEAM_FAILED) |
                                FROM(REFUNDED),
        [TG_ORDER_REFUNDED] = FROM(REFUND_DUE),
    };
    return before[state];
}

static void replay(struct lg_feed *feed, const Tidegate__V1__Event *event)
{
    int state = state_behind((int)event->type);
    if (event->order_id == 0 || state == 0)
        return;
    struct lg_entry_of_order *entry = lg_ledger_entry(feed->ledger, event->order_id);
    if (!entry)
        return;
    /* An order of before this group began: its history starts in the middle. */
    bool known = entry->history_state != 0 || state == TG_ORDER_RESERVED;
    if (known && !(states_before(state) & 1u << entry->history_state))
        complain(feed, &feed->findings.impossible, tg_event_type_name((int)event->type),
                 event->sequence, event->order_id);
    entry->history_state = (uint8_t)state;
    entry->last_sequence = event->sequence;
}

/* --- reading --- */

static void take(struct lg_feed *feed, const Tidegate__V1__Event *event)
{
    if (event->sequence <= feed->sequence) {
        feed->findings.repeated++;
        return;
    }
    if (event->sequence != feed->sequence + 1)
        complain(feed, &feed->findings.missing, "events before it are missing", event->sequence,
                 event->order_id);
    feed->sequence = event->sequence;
    feed->findings.events++;
    replay(feed, event);
}

static enum tg_error consume(struct lg_feed *feed, uint64_t after, bool *end,
                             struct tg_fault *fault)
{
    Tidegate__V1__ConsumeEventsRequest body = TIDEGATE__V1__CONSUME_EVENTS_REQUEST__INIT;
    body.group = feed->group;
    body.after_sequence = after;
    body.max = PAGE_MAX;
    body.without_orders = 1;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_CONSUME_EVENTS;
    request.consume_events = &body;
    Tidegate__V1__Response *response;
    enum tg_error error = tgc_call(feed->client, &request, FEED_MS, &response, fault);
    if (error)
        return error;
    const Tidegate__V1__ConsumeEventsResponse *page = response->consume_events;
    if ((int)page->verdict != TG_OK)
        error = tg_fault_set(fault, TG_ERR_PROTOCOL, "ConsumeEvents was answered %s",
                             tg_verdict_name((int)page->verdict));
    for (size_t i = 0; !error && i < page->n_events; i++)
        take(feed, page->events[i]);
    *end = !error && page->next_sequence >= page->last_sequence;
    if (!error && page->offset < feed->offset)
        complain(feed, &feed->findings.regressions, "the offset went back", page->offset, 0);
    tgc_response_free(response);
    return error;
}

static enum tg_error ack(struct lg_feed *feed, struct tg_fault *fault)
{
    Tidegate__V1__AckEventsRequest body = TIDEGATE__V1__ACK_EVENTS_REQUEST__INIT;
    body.group = feed->group;
    body.sequence = feed->sequence;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_ACK_EVENTS;
    request.ack_events = &body;
    Tidegate__V1__Response *response;
    enum tg_error error = tgc_call(feed->client, &request, FEED_MS, &response, fault);
    if (error)
        return error;
    const Tidegate__V1__AckEventsResponse *answer = response->ack_events;
    if ((int)answer->verdict == TG_OK && answer->offset < feed->offset)
        complain(feed, &feed->findings.regressions, "the offset went back", answer->offset, 0);
    if ((int)answer->verdict == TG_OK)
        feed->offset = answer->offset;
    tgc_response_free(response);
    return TG_ERR_OK;
}

enum tg_error lg_feed_step(struct lg_feed *feed, bool *end, struct tg_fault *fault)
{
    *end = false;
    if (!tgc_is_connected(feed->client) && tgc_reconnect(feed->client, FEED_MS, fault) != TG_ERR_OK)
        return TG_ERR_OK;
    /* Now and then as after a crash, from the last ack; else from what was handled. */
    bool again = feed->findings.events % REREAD_EVERY == 0;
    enum tg_error error = consume(feed, again ? 0 : feed->sequence, end, fault);
    if (!error && feed->sequence > feed->offset)
        error = ack(feed, fault);
    /* A connection that went is no fault of the feed; an answer that says so is. */
    return tgc_is_connected(feed->client) ? error : TG_ERR_OK;
}

/* --- opening and closing --- */

static enum tg_error make_group(struct lg_feed *feed, struct tg_fault *fault)
{
    Tidegate__V1__CreateGroupRequest body = TIDEGATE__V1__CREATE_GROUP_REQUEST__INIT;
    body.group = feed->group;
    body.from_now = 1;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_CREATE_GROUP;
    request.create_group = &body;
    Tidegate__V1__Response *response;
    enum tg_error error =
        tgc_call_until_answered(feed->client, &request, FEED_MS, &response, fault);
    if (error)
        return error;
    int verdict = (int)response->create_group->verdict;
    feed->sequence = feed->offset = feed->behind = response->create_group->offset;
    tgc_response_free(response);
    return verdict == TG_OK ? TG_ERR_OK
                            : tg_fault_set(fault, TG_ERR_PROTOCOL, "CreateGroup was answered %s",
                                           tg_verdict_name(verdict));
}

enum tg_error lg_feed_open(struct lg_feed *feed, const char *server, struct lg_ledger *ledger,
                           uint64_t sale_id, struct tg_fault *fault)
{
    *feed = (struct lg_feed){.ledger = ledger, .sale_id = sale_id};
    snprintf(feed->group, sizeof(feed->group), "load-%" PRIu64, sale_id);
    struct tgc_options options = {.server = server};
    enum tg_error error = tgc_open(&options, &feed->client, fault);
    if (error)
        return error;
    error = make_group(feed, fault);
    if (error)
        lg_feed_close(feed);
    return error;
}

void lg_feed_remove(struct lg_feed *feed)
{
    Tidegate__V1__DeleteGroupRequest body = TIDEGATE__V1__DELETE_GROUP_REQUEST__INIT;
    body.group = feed->group;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_DELETE_GROUP;
    request.delete_group = &body;
    Tidegate__V1__Response *response;
    struct tg_fault unheard;
    if (tgc_call_until_answered(feed->client, &request, FEED_MS, &response, &unheard) == TG_ERR_OK)
        tgc_response_free(response);
}

void lg_feed_close(struct lg_feed *feed)
{
    tgc_close(feed->client);
    feed->client = NULL;
}

bool lg_feed_ok(const struct lg_feed_findings *findings)
{
    return findings->missing + findings->impossible + findings->regressions == 0;
}
