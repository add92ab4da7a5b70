#include "loadgen/feed.h"

#include "base/hash.h"
#include "loadgen/complain.h"

#include <inttypes.h>
#include <string.h>

#define complain(feed, what, ...)                                                                  \
    lg_complain((feed)->findings.example, sizeof((feed)->findings.example),                        \
                &(feed)->findings.what, __VA_ARGS__)

static void complain_of_event(struct lg_feed *feed, uint64_t *count,
                              const Tidegate__V1__Event *event, const char *what)
{
    lg_complain(feed->findings.example, sizeof(feed->findings.example), count,
                "event %" PRIu64 ", %s, of order %" PRIu64 ": %s", event->sequence,
                tg_event_type_name((int)event->type), event->order_id, what);
}

static void impossible(struct lg_feed *feed, const Tidegate__V1__Event *event, const char *what)
{
    complain_of_event(feed, &feed->findings.impossible, event, what);
}

/* --- the diagrams, as docs/order-life.md and docs/group-buy.md draw them --- */

/* The state behind an event of an order, 0 for one that changes none. */
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
    return states[type];
}

#define FROM(state) (1u << TG_ORDER_##state)

/* The states from which a state may be entered; bit 0: no state yet. */
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
        [TG_ORDER_REFUND_DUE] = FROM(CONFIRMED) | FROM(SHIPPED) | FROM(DELIVERED) | FROM(EXPIRED) |
                                FROM(CANCELLED) | FROM(TEAM_FAILED) | FROM(REFUNDED),
        [TG_ORDER_REFUNDED] = FROM(REFUND_DUE),
    };
    return before[state];
}

/* The state of a team behind an event, 0 for one that changes none. */
static int team_state_behind(int type)
{
    return type == TG_EVENT_TEAM_OPENED      ? TG_TEAM_OPEN
           : type == TG_EVENT_TEAM_FORMED    ? TG_TEAM_STATE_FORMED
           : type == TG_EVENT_TEAM_FAILED    ? TG_TEAM_STATE_FAILED
           : type == TG_EVENT_TEAM_DISSOLVED ? TG_TEAM_DISSOLVED
                                             : 0;
}

/* A team is PENDING (0 here) without an event that says so; one that ended stays as it is. */
static bool team_may_become(int state, int from)
{
    if (state == TG_TEAM_OPEN)
        return from == 0;
    if (state == TG_TEAM_STATE_FORMED)
        return from == TG_TEAM_OPEN;
    return from == 0 || from == TG_TEAM_OPEN;
}

static bool is_of_team(int type)
{
    return type >= TG_EVENT_TEAM_OPENED && type <= TG_EVENT_TEAM_CAPTAIN_CHANGED;
}

static bool is_of_sale(int type)
{
    return type == TG_EVENT_SALE_STARTED || type == TG_EVENT_SALE_ENDED;
}

/* --- replaying --- */

/* Of an order, or a team, of before the group only the end is seen. */
static bool from_the_beginning(const struct lg_feed *feed, uint64_t order_id)
{
    return order_id >> TG_PARTITION_BITS > feed->behind;
}

static void replay_team(struct lg_feed *feed, const Tidegate__V1__Event *event)
{
    int state = team_state_behind((int)event->type);
    struct lg_order_entry *entry = lg_ledger_entry(feed->ledger, event->team_id);
    if (!entry) {
        feed->no_memory = true;
        return;
    }
    feed->own_events += entry->deeds != 0;
    if (state == 0 || !from_the_beginning(feed, event->team_id))
        return;
    if (!team_may_become(state, entry->told_team_state))
        impossible(feed, event, "its team is in no state for it");
    entry->told_team_state = (uint8_t)state;
}

static void replay_order(struct lg_feed *feed, const Tidegate__V1__Event *event)
{
    int type = (int)event->type, state = state_behind(type);
    struct lg_order_entry *entry = lg_ledger_entry(feed->ledger, event->order_id);
    if (!entry) {
        feed->no_memory = true;
        return;
    }
    feed->own_events += entry->deeds != 0;
    entry->last_sequence = event->sequence;
    if (!from_the_beginning(feed, event->order_id))
        return;
    if (type == TG_EVENT_ORDER_PLACED && event->order_id >> TG_PARTITION_BITS != event->sequence)
        impossible(feed, event, "its id names another event");
    if (state == 0 && entry->told_state == 0)
        impossible(feed, event, "the order was not placed");
    if (state != 0 && !(states_before(state) & 1u << entry->told_state))
        impossible(feed, event, "the order is in no state for it");
    if (state != 0)
        entry->told_state = (uint8_t)state;
    if (type == TG_EVENT_REFUND_DUE)
        entry->told_due_minor += event->amount_minor;
    if (type == TG_EVENT_REFUND_RECORDED)
        entry->told_refunded_minor += event->amount_minor;
}

static void replay(struct lg_feed *feed, const Tidegate__V1__Event *event)
{
    int type = (int)event->type;
    if (type <= 0 || type >= TG_EVENT_TYPE_COUNT)
        impossible(feed, event, "it is of no type");
    else if (is_of_sale(type))
        return;
    else if (event->order_id == 0 || (is_of_team(type) && event->team_id == 0))
        impossible(feed, event, "it is of nothing");
    else if (is_of_team(type))
        replay_team(feed, event);
    else
        replay_order(feed, event);
}

/* --- reading --- */

static uint64_t print_of(const Tidegate__V1__Event *event)
{
    const uint64_t facts[] = {
        event->sequence,
        (uint64_t)event->type,
        event->order_id,
        (uint64_t)event->at_ms,
        (uint64_t)event->amount_minor,
        event->team_id,
        event->refund_number,
        event->sale_id,
    };
    return tg_hash(facts, sizeof(facts), 0);
}

static void take_again(struct lg_feed *feed, const Tidegate__V1__Event *event)
{
    feed->findings.repeated++;
    if (feed->sequence - event->sequence < LG_FEED_RECENT && event->sequence > feed->behind &&
        feed->prints[event->sequence % LG_FEED_RECENT] != print_of(event))
        complain_of_event(feed, &feed->findings.altered, event, "it was another event before");
}

static void take(struct lg_feed *feed, const Tidegate__V1__Event *event)
{
    if (event->sequence <= feed->sequence) {
        take_again(feed, event);
        return;
    }
    feed->sequence = event->sequence;
    feed->prints[event->sequence % LG_FEED_RECENT] = print_of(event);
    feed->findings.events++;
    replay(feed, event);
}

/* Where the first event of a page must stand. Behind the group's offset that is known only as far
 * as an ack without an answer may have moved it. */
static bool begins_right(const struct lg_feed *feed, uint64_t after, uint64_t first)
{
    return after != 0 ? first == after + 1
                      : first > feed->offset && first <= feed->asked_offset + 1;
}

static void take_events(struct lg_feed *feed, uint64_t after,
                        const Tidegate__V1__ConsumeEventsResponse *page)
{
    if (page->n_events > 0 && !begins_right(feed, after, page->events[0]->sequence))
        complain_of_event(feed, &feed->findings.missing, page->events[0],
                          "not the one that comes next");
    for (size_t i = 0; i < page->n_events; i++) {
        if (i > 0 && page->events[i]->sequence != page->events[i - 1]->sequence + 1)
            complain_of_event(feed, &feed->findings.missing, page->events[i],
                              "events before it are missing");
        take(feed, page->events[i]);
    }
    /* Nothing was filtered, so an answer has read no further than its last event. */
    if (page->next_sequence > feed->sequence) {
        complain(feed, missing, "events from %" PRIu64 " to %" PRIu64 " are passed over",
                 feed->sequence + 1, page->next_sequence);
        feed->sequence = page->next_sequence;
    }
}

static void regressed(struct lg_feed *feed, const char *what, uint64_t from, uint64_t to)
{
    complain(feed, regressions, "%s went back from %" PRIu64 " to %" PRIu64, what, from, to);
}

void lg_feed_begin(struct lg_feed *feed, struct lg_ledger *ledger, uint64_t offset)
{
    memset(feed, 0, sizeof(*feed));
    feed->ledger = ledger;
    feed->behind = feed->sequence = feed->offset = feed->asked_offset = feed->newest = offset;
}

bool lg_feed_page(struct lg_feed *feed, uint64_t after,
                  const Tidegate__V1__ConsumeEventsResponse *page)
{
    int verdict = (int)page->verdict;
    if (verdict == TG_EVENTS_DROPPED) {
        complain(feed, missing,
                 "events up to %" PRIu64 " were dropped, the group had acked %" PRIu64,
                 page->first_sequence - 1, feed->offset);
        return false;
    }
    if (verdict == TG_UNKNOWN_GROUP) {
        complain(feed, regressions, "the group is not there any more, it had acked %" PRIu64,
                 feed->offset);
        return false;
    }
    if (verdict != TG_OK)
        return false;
    if (page->offset < feed->offset)
        regressed(feed, "the group's offset", feed->offset, page->offset);
    if (page->last_sequence < feed->newest)
        regressed(feed, "the newest event", feed->newest, page->last_sequence);
    feed->newest = page->last_sequence;
    take_events(feed, after, page);
    return true;
}

void lg_feed_asks_ack(struct lg_feed *feed)
{
    feed->asked_offset = feed->sequence;
}

void lg_feed_acked(struct lg_feed *feed, const Tidegate__V1__AckEventsResponse *answer)
{
    if ((int)answer->verdict != TG_OK) /* BUSY or STORAGE_FULL: the next one does it */
        return;
    if (answer->offset < feed->offset)
        regressed(feed, "the group's offset", feed->offset, answer->offset);
    feed->offset = answer->offset;
}

bool lg_feed_ok(const struct lg_feed_findings *findings)
{
    return findings->missing + findings->altered + findings->impossible + findings->regressions ==
           0;
}
