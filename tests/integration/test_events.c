/* The outbox as its readers see it: pages, long polls, subscriptions, consumer groups, retention;
 * with a real daemon that is killed now and then. */
#include "base/clock.h"
#include "tests/lib/life.h"
#include "tests/lib/peer.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* --- requests in one line each --- */

static char *text(const char *literal)
{
    return (char *)(uintptr_t)literal;
}

static Tidegate__V1__ConsumeEventsRequest consume_message(const char *group, uint64_t after,
                                                          uint32_t max)
{
    Tidegate__V1__ConsumeEventsRequest message = TIDEGATE__V1__CONSUME_EVENTS_REQUEST__INIT;
    message.group = text(group);
    message.after_sequence = after;
    message.max = max;
    return message;
}

static Tidegate__V1__Response *consume(struct tgc_client *client,
                                       Tidegate__V1__ConsumeEventsRequest *message)
{
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_CONSUME_EVENTS;
    request.consume_events = message;
    return sale_call(client, &request);
}

/* What a page says of itself. */
struct page {
    enum tg_verdict verdict;
    uint32_t count;
    uint64_t begin; /* sequence of its first event, and of its last */
    uint64_t end;
    uint64_t next;
    uint64_t first;
    uint64_t last;
    uint64_t offset;
    char field[32];
};

/* The page in short; its sequences must grow. Frees it. */
static struct page page_of(Tidegate__V1__Response *response)
{
    const Tidegate__V1__ConsumeEventsResponse *answer = response->consume_events;
    struct page page = {
        .verdict = (enum tg_verdict)answer->verdict,
        .count = (uint32_t)answer->n_events,
        .next = answer->next_sequence,
        .first = answer->first_sequence,
        .last = answer->last_sequence,
        .offset = answer->offset,
    };
    strncpy(page.field, answer->field, sizeof(page.field) - 1);
    for (size_t i = 0; i < answer->n_events; i++) {
        cr_assert_gt(answer->events[i]->sequence, page.end);
        page.end = answer->events[i]->sequence;
        page.begin = page.begin == 0 ? page.end : page.begin;
    }
    cr_assert(page.next >= page.end);
    tgc_response_free(response);
    return page;
}

static struct page read_page(struct tgc_client *client, const char *group, uint64_t after,
                             uint32_t max)
{
    Tidegate__V1__ConsumeEventsRequest message = consume_message(group, after, max);
    return page_of(consume(client, &message));
}

struct group_answer {
    enum tg_verdict verdict;
    uint64_t offset;
    char field[32];
};

/* Asks again while another change of the group is on its way. */
static struct group_answer group_call(struct tgc_client *client, Tidegate__V1__Request *request)
{
    for (;;) {
        struct group_answer answer = {0};
        const char *field = "";
        Tidegate__V1__Response *response = sale_call(client, request);
        if (response->kind_case == TIDEGATE__V1__RESPONSE__KIND_CREATE_GROUP) {
            answer.verdict = (enum tg_verdict)response->create_group->verdict;
            answer.offset = response->create_group->offset;
            field = response->create_group->field;
        } else if (response->kind_case == TIDEGATE__V1__RESPONSE__KIND_ACK_EVENTS) {
            answer.verdict = (enum tg_verdict)response->ack_events->verdict;
            answer.offset = response->ack_events->offset;
            field = response->ack_events->field;
        } else {
            answer.verdict = (enum tg_verdict)response->delete_group->verdict;
        }
        strncpy(answer.field, field, sizeof(answer.field) - 1);
        tgc_response_free(response);
        if (answer.verdict != TG_BUSY)
            return answer;
    }
}

static struct group_answer create_group_at(struct tgc_client *client, const char *group,
                                           uint64_t after, bool from_now)
{
    Tidegate__V1__CreateGroupRequest create = TIDEGATE__V1__CREATE_GROUP_REQUEST__INIT;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    create.group = text(group);
    create.after_sequence = after;
    create.from_now = from_now;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_CREATE_GROUP;
    request.create_group = &create;
    return group_call(client, &request);
}

static void create_group(struct tgc_client *client, const char *group)
{
    sale_assert_verdict(create_group_at(client, group, 0, false).verdict, TG_OK);
}

static struct group_answer ack(struct tgc_client *client, const char *group, uint64_t sequence)
{
    Tidegate__V1__AckEventsRequest message = TIDEGATE__V1__ACK_EVENTS_REQUEST__INIT;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    message.group = text(group);
    message.sequence = sequence;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_ACK_EVENTS;
    request.ack_events = &message;
    return group_call(client, &request);
}

static enum tg_verdict delete_group(struct tgc_client *client, const char *group)
{
    Tidegate__V1__DeleteGroupRequest message = TIDEGATE__V1__DELETE_GROUP_REQUEST__INIT;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    message.group = text(group);
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_DELETE_GROUP;
    request.delete_group = &message;
    return group_call(client, &request).verdict;
}

static Tidegate__V1__Response *list_groups(struct tgc_client *client)
{
    Tidegate__V1__ListGroupsRequest message = TIDEGATE__V1__LIST_GROUPS_REQUEST__INIT;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_LIST_GROUPS;
    request.list_groups = &message;
    return sale_call(client, &request);
}

/* The offset and lag of a group that must be listed. */
static struct Tidegate__V1__Group listed(struct tgc_client *client, const char *group)
{
    struct Tidegate__V1__Group found = TIDEGATE__V1__GROUP__INIT;
    Tidegate__V1__Response *response = list_groups(client);
    size_t count = 0;
    for (size_t i = 0; i < response->list_groups->n_groups; i++) {
        if (strcmp(response->list_groups->groups[i]->group, group) != 0)
            continue;
        found = *response->list_groups->groups[i];
        count++;
    }
    cr_assert_eq(count, 1, "the group is listed %zu times", count);
    found.group = text(group);
    tgc_response_free(response);
    return found;
}

/* Places `count` orders of one unit and returns the id of the last. */
static uint64_t place_many(struct tgc_client *client, uint32_t count)
{
    uint64_t order_id = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct tg_order order = sale_order(1, "A", i, 1);
        struct tg_answer answer = sale_place(client, &order);
        sale_assert_verdict(answer.verdict, TG_ACCEPTED);
        order_id = answer.order_id;
    }
    return order_id;
}

static void place_batch(struct tgc_client *client, uint32_t count)
{
    struct tg_order orders[1000];
    struct tg_answer answers[1000];
    for (uint32_t i = 0; i < count; i++)
        orders[i] = sale_order(1, "A", i, 1);
    sale_place_batch(client, orders, count, answers);
}

/* A sale whose start is already an event, so that a test's own events are all that follows. */
static struct tgc_client *start(struct daemon *daemon, const char *setting)
{
    daemon_start(daemon, "--set", setting, NULL);
    struct tgc_client *client = sale_client(daemon);
    sale_create(client, 1, "A", 1000000, 0);
    int64_t deadline_ns = tg_clock_mono_ns() + DAEMON_WAIT_MS * TG_NS_PER_MS;
    while (read_page(client, "", 0, 0).last == 0) {
        cr_assert(tg_clock_mono_ns() < deadline_ns, "the sale never started");
        usleep(1000);
    }
    return client;
}

static uint64_t newest(struct tgc_client *client)
{
    return read_page(client, "", 0, 1).last;
}

/* --- pages --- */

Test(events, every_change_of_an_order_is_an_event_and_no_number_is_missing)
{
    struct daemon daemon = {0};
    struct tgc_client *client = start(&daemon, "server.threads=1");
    uint64_t before = newest(client);
    uint64_t first_id = place_many(client, 1), paid_id = place_many(client, 1);
    cr_assert_eq(life_pay(client, paid_id, "p1", SALE_PRICE).verdict, TG_OK);
    cr_assert_eq(life_cancel(client, first_id).verdict, TG_OK);

    static const struct {
        enum tg_event_type type;
        bool of_paid;
        enum tg_order_state state; /* as the order is in the end */
    } want[] = {
        {TG_EVENT_ORDER_PLACED, false, TG_ORDER_CANCELLED},
        {TG_EVENT_ORDER_PLACED, true, TG_ORDER_CONFIRMED},
        {TG_EVENT_ORDER_PAID, true, TG_ORDER_CONFIRMED},
        {TG_EVENT_ORDER_CONFIRMED, true, TG_ORDER_CONFIRMED},
        {TG_EVENT_ORDER_CANCELLED, false, TG_ORDER_CANCELLED},
    };
    Tidegate__V1__ConsumeEventsRequest message = consume_message("", before, 0);
    Tidegate__V1__Response *response = consume(client, &message);
    const Tidegate__V1__ConsumeEventsResponse *page = response->consume_events;
    cr_assert_eq(page->n_events, sizeof(want) / sizeof(want[0]));
    for (size_t i = 0; i < page->n_events; i++) {
        const Tidegate__V1__Event *event = page->events[i];
        cr_assert_eq(event->sequence, before + 1 + i);
        cr_assert_eq((int)event->type, (int)want[i].type, "event %zu is %s", i,
                     tg_event_type_name((int)event->type));
        cr_assert_eq(event->order_id, want[i].of_paid ? paid_id : first_id);
        cr_assert(event->at_ms > 0);
        cr_assert(event->order);
        cr_assert_eq(event->order->order_id, event->order_id);
        cr_assert_eq((int)event->order->state, (int)want[i].state);
        cr_assert_str_eq(event->order->sku, "A");
    }
    cr_assert_eq(page->events[0]->sequence, first_id >> TG_PARTITION_BITS);
    cr_assert_eq(page->events[2]->amount_minor, SALE_PRICE);
    tgc_response_free(response);
    tgc_close(client);
    daemon_end(&daemon);
}

Test(events, pages_of_any_size_give_the_same_events)
{
    struct daemon daemon = {0};
    struct tgc_client *client = start(&daemon, "server.threads=1");
    place_batch(client, 1000);
    uint64_t last = newest(client);
    static const uint32_t sizes[] = {1, 7, 256, 1024};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        uint64_t after = 0;
        for (uint64_t want = 1; want <= last;) {
            struct page page = read_page(client, "", after, sizes[i]);
            sale_assert_verdict(page.verdict, TG_OK);
            cr_assert_eq(page.begin, want);
            cr_assert_eq(page.end, want + page.count - 1);
            cr_assert_eq(page.next, page.end);
            want = page.end + 1;
            after = page.next;
        }
    }
    struct page end = read_page(client, "", last, 0);
    cr_assert_eq(end.count, 0);
    cr_assert_eq(end.next, last);
    tgc_close(client);
    daemon_end(&daemon);
}

/* A sale of 32 items with the longest names there are. */
static void create_wide_sale(struct tgc_client *client, char skus[32][TG_SKU_BYTES_MAX + 1])
{
    Tidegate__V1__SaleItem items[32], *list[32];
    Tidegate__V1__CreateSaleRequest *message = sale_message(2, "", 1000000);
    for (int i = 0; i < 32; i++) {
        snprintf(skus[i], TG_SKU_BYTES_MAX + 1, "A-LONG-NAME-OF-THIRTY-BYTES---%02d", i);
        items[i] = *message->items[0];
        items[i].sku = skus[i];
        list[i] = &items[i];
    }
    message->items = list;
    message->n_items = 32;
    sale_assert_verdict(sale_create_message(client, message, ""), TG_OK);
}

Test(events, a_page_of_large_orders_ends_before_it_outgrows_its_frame)
{
    struct daemon daemon = {0};
    struct tgc_client *client = start(&daemon, "server.threads=1");
    char skus[32][TG_SKU_BYTES_MAX + 1];
    struct life_line lines[32];
    create_wide_sale(client, skus);
    for (int i = 0; i < 32; i++)
        lines[i] = (struct life_line){.sku = skus[i], .quantity = 1};
    for (uint64_t i = 0; i < TG_EVENTS_PAGE_MAX; i++) {
        Tidegate__V1__Response *response = life_place_cart(client, 2, i, lines, 32);
        sale_assert_verdict(response->place_order->verdict, TG_ACCEPTED);
        tgc_response_free(response);
    }
    uint64_t last = newest(client), after = 0;
    uint32_t pages = 0;
    while (after < last) {
        struct page page = read_page(client, "", after, TG_EVENTS_PAGE_MAX);
        sale_assert_verdict(page.verdict, TG_OK);
        cr_assert_eq(page.begin, after + 1);
        cr_assert_eq(page.end, after + page.count);
        cr_assert_eq(page.next, page.end);
        after = page.next;
        pages++;
    }
    cr_assert_gt(pages, 1, "all of it was one page: the orders are too small to show anything");
    tgc_close(client);
    daemon_end(&daemon);
}

Test(events, a_filter_leaves_out_other_types_and_says_how_far_it_read)
{
    struct daemon daemon = {0};
    struct tgc_client *client = start(&daemon, "server.threads=1");
    uint64_t before = newest(client);
    uint64_t order_id = place_many(client, 10);
    cr_assert_eq(life_pay(client, order_id, "p1", SALE_PRICE).verdict, TG_OK);
    place_many(client, 10);

    Tidegate__V1__EventType types[] = {TIDEGATE__V1__EVENT_TYPE__EVENT_TYPE_ORDER_CONFIRMED,
                                       TIDEGATE__V1__EVENT_TYPE__EVENT_TYPE_ORDER_PAID};
    Tidegate__V1__ConsumeEventsRequest message = consume_message("", before, 0);
    message.types = types;
    message.n_types = 2;
    message.without_orders = true;
    Tidegate__V1__Response *response = consume(client, &message);
    cr_assert_eq(response->consume_events->n_events, 2);
    cr_assert(!response->consume_events->events[0]->order, "it was asked without orders");
    struct page page = page_of(response);
    cr_assert_eq(page.begin, before + 11);
    cr_assert_eq(page.next, page.last);
    tgc_close(client);
    daemon_end(&daemon);
}

/* --- long polls --- */

struct polled {
    uint32_t answers;
    struct page page;
};

static void on_polled(void *context, const Tidegate__V1__Response *response)
{
    struct polled *polled = context;
    cr_assert_eq(response->kind_case, TIDEGATE__V1__RESPONSE__KIND_CONSUME_EVENTS);
    polled->answers++;
    polled->page.verdict = (enum tg_verdict)response->consume_events->verdict;
    polled->page.count = (uint32_t)response->consume_events->n_events;
    polled->page.next = response->consume_events->next_sequence;
    if (polled->page.count > 0)
        polled->page.begin = response->consume_events->events[0]->sequence;
}

/* Sends a poll without waiting for it; a read behind it makes sure that it has been looked at. */
static void send_poll(struct tgc_client *client, Tidegate__V1__ConsumeEventsRequest *message,
                      uint32_t wait_ms, struct polled *polled)
{
    struct tg_fault fault;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_CONSUME_EVENTS;
    request.consume_events = message;
    message->wait_ms = wait_ms;
    *polled = (struct polled){0};
    cr_assert_eq(tgc_send(client, &request, on_polled, polled, &fault), TG_ERR_OK, "%s",
                 fault.text);
    newest(client);
}

static void wait_for_answer(struct tgc_client *client, const struct polled *polled)
{
    struct tg_fault fault;
    while (polled->answers == 0)
        cr_assert_eq(tgc_poll(client, DAEMON_WAIT_MS, &fault), TG_ERR_OK, "%s", fault.text);
    cr_assert_eq(polled->answers, 1);
}

Test(events, a_long_poll_is_answered_when_an_order_is_placed)
{
    struct daemon daemon = {0};
    struct tgc_client *reader = start(&daemon, "server.threads=1");
    struct tgc_client *buyer = sale_client(&daemon);
    uint64_t before = newest(reader);
    for (int i = 0; i < 20; i++) {
        struct polled polled;
        int64_t sent_ns = tg_clock_mono_ns();
        Tidegate__V1__ConsumeEventsRequest message = consume_message("", before + (uint64_t)i, 0);
        send_poll(reader, &message, TG_EVENTS_WAIT_MS_MAX, &polled);
        cr_assert_eq(polled.answers, 0);
        place_many(buyer, 1);
        wait_for_answer(reader, &polled);
        sale_assert_verdict(polled.page.verdict, TG_OK);
        cr_assert_eq(polled.page.count, 1);
        cr_assert_eq(polled.page.begin, before + (uint64_t)i + 1);
        cr_assert(tg_clock_mono_ns() - sent_ns < TG_EVENTS_WAIT_MS_MAX * TG_NS_PER_MS / 2,
                  "it was its time that ended, not the wait");
    }
    tgc_close(buyer);
    tgc_close(reader);
    daemon_end(&daemon);
}

Test(events, a_long_poll_without_events_is_answered_when_its_time_is_over)
{
    struct daemon daemon = {0};
    struct tgc_client *client = start(&daemon, "server.idle_timeout_s=1");
    uint64_t before = newest(client);
    struct polled polled;
    int64_t sent_ns = tg_clock_mono_ns();
    Tidegate__V1__ConsumeEventsRequest message = consume_message("", before, 0);
    /* Longer than a connection may be idle: whoever waits for an answer is not idle. */
    send_poll(client, &message, 2500, &polled);
    wait_for_answer(client, &polled);
    sale_assert_verdict(polled.page.verdict, TG_OK);
    cr_assert_eq(polled.page.count, 0);
    cr_assert_eq(polled.page.next, before);
    cr_assert(tg_clock_mono_ns() - sent_ns >= 2500 * TG_NS_PER_MS, "answered before its time");
    tgc_close(client);
    daemon_end(&daemon);
}

Test(events, a_filtered_poll_sleeps_through_other_events)
{
    struct daemon daemon = {0};
    struct tgc_client *reader = start(&daemon, "server.threads=1");
    struct tgc_client *buyer = sale_client(&daemon);
    uint64_t before = newest(reader);
    Tidegate__V1__EventType types[] = {TIDEGATE__V1__EVENT_TYPE__EVENT_TYPE_ORDER_CANCELLED};
    Tidegate__V1__ConsumeEventsRequest message = consume_message("", before, 0);
    message.types = types;
    message.n_types = 1;
    struct polled polled;
    send_poll(reader, &message, TG_EVENTS_WAIT_MS_MAX, &polled);
    uint64_t order_id = place_many(buyer, 50);
    newest(reader);
    cr_assert_eq(polled.answers, 0);
    cr_assert_eq(life_cancel(buyer, order_id).verdict, TG_OK);
    wait_for_answer(reader, &polled);
    cr_assert_eq(polled.page.count, 1);
    cr_assert_eq(polled.page.begin, before + 51);
    tgc_close(buyer);
    tgc_close(reader);
    daemon_end(&daemon);
}

#define POLLS_MAX      4096 /* SRV_WAITERS_MAX */
#define CONN_POLLS_MAX 256  /* SRV_CONN_WAITERS_MAX */
#define POLLERS        (POLLS_MAX / CONN_POLLS_MAX)

/* Long polls for what comes behind `after`, from one connection. */
static void send_polls(struct tgc_client *client, const char *group, uint64_t after, uint32_t count,
                       struct polled *polled)
{
    for (uint32_t i = 0; i < count; i++) {
        Tidegate__V1__ConsumeEventsRequest message = consume_message(group, after, 0);
        send_poll(client, &message, TG_EVENTS_WAIT_MS_MAX, &polled[i]);
    }
    newest(client);
}

static uint32_t count_busy(const struct polled *polled, uint32_t count)
{
    uint32_t busy = 0;
    for (uint32_t i = 0; i < count; i++) {
        cr_assert(polled[i].answers == 0 || polled[i].page.verdict == TG_BUSY);
        busy += polled[i].answers == 1;
    }
    return busy;
}

Test(events, one_connection_has_its_part_of_the_places_for_polls_and_no_more)
{
    struct daemon daemon = {0};
    struct tgc_client *client = start(&daemon, "server.threads=1");
    struct tgc_client *other = sale_client(&daemon);
    uint64_t before = newest(client);
    static struct polled polled[CONN_POLLS_MAX + 44], others;
    send_polls(client, "", before, CONN_POLLS_MAX + 44, polled);
    cr_assert_eq(count_busy(polled, CONN_POLLS_MAX + 44), 44);
    send_polls(other, "", before, 1, &others);
    cr_assert_eq(others.answers, 0, "there is room for others");
    place_many(other, 1);
    for (int i = 0; i < CONN_POLLS_MAX; i++)
        wait_for_answer(client, &polled[i]);
    /* The places are free again. */
    send_polls(client, "", newest(client), CONN_POLLS_MAX + 1, polled);
    cr_assert_eq(count_busy(polled, CONN_POLLS_MAX + 1), 1);
    tgc_close(other);
    tgc_close(client);
    daemon_end(&daemon);
}

Test(events, too_many_polls_at_once_are_busy_and_the_others_still_wait)
{
    struct daemon daemon = {0};
    struct tgc_client *client = start(&daemon, "server.threads=1");
    uint64_t before = newest(client);
    static struct polled polled[POLLERS + 1][CONN_POLLS_MAX];
    struct tgc_client *pollers[POLLERS + 1];
    for (int i = 0; i <= POLLERS; i++) {
        pollers[i] = sale_client(&daemon);
        send_polls(pollers[i], "", before, CONN_POLLS_MAX, polled[i]);
        cr_assert_eq(count_busy(polled[i], CONN_POLLS_MAX), i < POLLERS ? 0 : CONN_POLLS_MAX);
    }
    place_many(client, 1);
    for (int i = 0; i < POLLERS; i++) {
        for (int j = 0; j < CONN_POLLS_MAX; j++) {
            wait_for_answer(pollers[i], &polled[i][j]);
            cr_assert_eq(polled[i][j].page.count, 1);
        }
    }
    for (int i = 0; i <= POLLERS; i++)
        tgc_close(pollers[i]);
    tgc_close(client);
    daemon_end(&daemon);
}

/* --- consumer groups --- */

Test(events, a_group_begins_where_it_was_told_to)
{
    struct daemon daemon = {0};
    struct tgc_client *client = start(&daemon, "server.threads=1");
    place_many(client, 10);
    uint64_t last = newest(client);
    create_group(client, "all");
    sale_assert_verdict(create_group_at(client, "behind", 4, false).verdict, TG_OK);
    struct group_answer now = create_group_at(client, "now", 4, true);
    sale_assert_verdict(now.verdict, TG_OK);
    cr_assert_eq(now.offset, last);
    cr_assert_eq(read_page(client, "all", 0, 0).begin, 1);
    cr_assert_eq(read_page(client, "behind", 0, 0).begin, 5);
    cr_assert_eq(read_page(client, "now", 0, 0).count, 0);
    cr_assert_eq(listed(client, "all").lag, last);
    cr_assert_eq(listed(client, "behind").lag, last - 4);
    cr_assert_eq(listed(client, "now").lag, 0);
    place_many(client, 1);
    cr_assert_eq(read_page(client, "now", 0, 0).begin, last + 1);
    cr_assert_eq(read_page(client, "all", last, 0).begin, last + 1,
                 "`after` goes before the group");
    tgc_close(client);
    daemon_end(&daemon);
}

Test(events, what_a_group_may_not_be_asked_is_refused)
{
    struct daemon daemon = {0};
    struct tgc_client *client = start(&daemon, "server.threads=1");
    uint64_t last = newest(client);
    create_group(client, "g");
    sale_assert_verdict(create_group_at(client, "g", 0, false).verdict, TG_GROUP_EXISTS);
    static const char *const bad[] = {
        "", "a b", "a/b", "\xc3\xbc",
        "x2345678901234567890123456789012345678901234567890123456789012345"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct group_answer answer = create_group_at(client, bad[i], 0, false);
        sale_assert_verdict(answer.verdict, TG_INVALID_ARGUMENT);
        cr_assert_str_eq(answer.field, "group");
    }
    struct group_answer beyond = create_group_at(client, "h", last + 1, false);
    sale_assert_verdict(beyond.verdict, TG_INVALID_ARGUMENT);
    cr_assert_str_eq(beyond.field, "sequence");
    beyond = ack(client, "g", last + 1);
    sale_assert_verdict(beyond.verdict, TG_INVALID_ARGUMENT);
    cr_assert_str_eq(beyond.field, "sequence");
    sale_assert_verdict(ack(client, "none", 0).verdict, TG_UNKNOWN_GROUP);
    sale_assert_verdict(delete_group(client, "none"), TG_UNKNOWN_GROUP);
    sale_assert_verdict(read_page(client, "none", 0, 0).verdict, TG_UNKNOWN_GROUP);

    struct page page = read_page(client, "a b", 0, 0);
    cr_assert_str_eq(page.field, "group");
    page = read_page(client, "", 0, TG_EVENTS_PAGE_MAX + 1);
    sale_assert_verdict(page.verdict, TG_INVALID_ARGUMENT);
    cr_assert_str_eq(page.field, "max");
    Tidegate__V1__ConsumeEventsRequest message = consume_message("", 0, 0);
    message.wait_ms = TG_EVENTS_WAIT_MS_MAX + 1;
    cr_assert_str_eq(page_of(consume(client, &message)).field, "wait_ms");
    Tidegate__V1__EventType types[] = {(Tidegate__V1__EventType)TG_EVENT_TYPE_COUNT};
    message = consume_message("", 0, 0);
    message.types = types;
    message.n_types = 1;
    cr_assert_str_eq(page_of(consume(client, &message)).field, "types");
    tgc_close(client);
    daemon_end(&daemon);
}

Test(events, an_offset_survives_a_crash_and_never_goes_back)
{
    struct daemon daemon = {0};
    struct tgc_client *client = start(&daemon, "server.threads=1");
    place_many(client, 20);
    create_group(client, "g");
    create_group(client, "gone");
    struct group_answer answer = ack(client, "g", 12);
    sale_assert_verdict(answer.verdict, TG_OK);
    cr_assert_eq(answer.offset, 12);
    sale_assert_verdict(delete_group(client, "gone"), TG_OK);
    tgc_close(client);
    daemon_kill(&daemon);
    daemon_restart(&daemon);
    client = sale_client(&daemon);
    cr_assert_eq(listed(client, "g").offset, 12);
    sale_assert_verdict(read_page(client, "gone", 0, 0).verdict, TG_UNKNOWN_GROUP);
    answer = ack(client, "g", 5);
    sale_assert_verdict(answer.verdict, TG_OK);
    cr_assert_eq(answer.offset, 12);
    cr_assert_eq(read_page(client, "g", 0, 0).begin, 13);
    tgc_close(client);
    daemon_end(&daemon);
}

/* A consumer that remembers what it has handled, and is told everything at least once. */
struct consumer {
    uint64_t handled; /* the last sequence */
    uint64_t repeated;
};

static void handle_page(struct consumer *consumer, struct page page)
{
    sale_assert_verdict(page.verdict, TG_OK);
    for (uint64_t sequence = page.begin; page.count > 0 && sequence <= page.end; sequence++) {
        if (sequence <= consumer->handled) {
            consumer->repeated++;
            continue;
        }
        cr_assert_eq(sequence, consumer->handled + 1, "an event was left out");
        consumer->handled = sequence;
    }
}

Test(events, a_consumer_that_remembers_handles_each_event_once_whatever_crashes)
{
    struct daemon daemon = {0};
    struct tgc_client *client = start(&daemon, "server.threads=1");
    struct consumer consumer = {0};
    create_group(client, "g");
    for (int crash = 0; crash < 5; crash++) {
        place_batch(client, 200);
        for (int i = 0; i < 8; i++) {
            struct page page = read_page(client, "g", i % 4 == 0 ? 0 : consumer.handled, 16);
            handle_page(&consumer, page);
            if (i % 3 == 0)
                sale_assert_verdict(ack(client, "g", page.next).verdict, TG_OK);
        }
        tgc_close(client);
        daemon_kill(&daemon);
        daemon_restart(&daemon);
        client = sale_client(&daemon);
    }
    uint64_t last = newest(client);
    while (consumer.handled < last) {
        struct page page = read_page(client, "g", 0, 100);
        handle_page(&consumer, page);
        sale_assert_verdict(ack(client, "g", page.next).verdict, TG_OK);
    }
    cr_assert_gt(consumer.repeated, 0, "nothing came twice: the test shows nothing");
    cr_assert_eq(consumer.handled, 1 + 5 * 200);
    tgc_close(client);
    daemon_end(&daemon);
}

/* --- subscriptions --- */

struct subscriber {
    struct tgc_client *client;
    uint64_t expected; /* the next sequence, 0: any that is larger */
    uint64_t received;
    uint64_t pages;
    uint64_t next; /* next_sequence of the last page */
    int last_verdict;
};

static void on_pushed(void *context, const Tidegate__V1__Response *response)
{
    struct subscriber *subscriber = context;
    cr_assert_eq(response->kind_case, TIDEGATE__V1__RESPONSE__KIND_SUBSCRIBE_EVENTS);
    const Tidegate__V1__SubscribeEventsResponse *page = response->subscribe_events;
    subscriber->last_verdict = (int)page->verdict;
    if ((int)page->verdict != TG_OK)
        return;
    cr_assert_leq(page->n_events, TG_EVENTS_PAGE_DEFAULT);
    for (size_t i = 0; i < page->n_events; i++) {
        if (subscriber->expected != 0)
            cr_assert_eq(page->events[i]->sequence, subscriber->expected++);
        subscriber->received++;
    }
    subscriber->pages++;
    subscriber->next = page->next_sequence;
}

static Tidegate__V1__SubscribeEventsRequest subscribe_message(const char *group,
                                                              uint32_t max_unacked)
{
    Tidegate__V1__SubscribeEventsRequest message = TIDEGATE__V1__SUBSCRIBE_EVENTS_REQUEST__INIT;
    message.group = text(group);
    message.max_unacked = max_unacked;
    return message;
}

static void subscribe(struct subscriber *subscriber,
                      const Tidegate__V1__SubscribeEventsRequest *message)
{
    struct tg_fault fault;
    cr_assert_eq(tgc_subscribe(subscriber->client, message, on_pushed, subscriber, &fault),
                 TG_ERR_OK, "%s", fault.text);
}

/* Takes what comes until `received` events are there, and then some time longer. */
static void take_until(struct subscriber *subscriber, uint64_t received)
{
    struct tg_fault fault;
    while (subscriber->received < received)
        cr_assert_eq(tgc_poll(subscriber->client, DAEMON_WAIT_MS, &fault), TG_ERR_OK, "%s",
                     fault.text);
    while (tgc_poll(subscriber->client, 50, &fault) == TG_ERR_OK)
        continue;
}

Test(events, a_subscription_pushes_pauses_at_its_window_and_goes_on_when_acked)
{
    struct daemon daemon = {0};
    struct tgc_client *buyer = start(&daemon, "server.threads=1");
    struct subscriber subscriber = {.client = sale_client(&daemon)};
    subscriber.expected = newest(buyer) + 1;
    sale_assert_verdict(create_group_at(buyer, "g", 0, true).verdict, TG_OK);
    Tidegate__V1__SubscribeEventsRequest message = subscribe_message("g", 10);
    subscribe(&subscriber, &message);
    place_many(buyer, 5);
    take_until(&subscriber, 5);
    place_batch(buyer, 45);
    for (uint64_t received = 10; received <= 50; received += 10) {
        take_until(&subscriber, received);
        cr_assert_eq(subscriber.received, received, "beyond its window");
        sale_assert_verdict(ack(buyer, "g", subscriber.next).verdict, TG_OK);
    }
    /* Half a window: half of it may follow. */
    place_batch(buyer, 100);
    take_until(&subscriber, 60);
    sale_assert_verdict(ack(buyer, "g", subscriber.next - 5).verdict, TG_OK);
    take_until(&subscriber, 65);
    cr_assert_eq(subscriber.received, 65);
    tgc_close(subscriber.client);
    tgc_close(buyer);
    daemon_end(&daemon);
}

Test(events, a_slow_subscriber_gets_everything_in_the_end)
{
    struct daemon daemon = {0};
    struct tgc_client *buyer = start(&daemon, "server.output_bytes_max=4096");
    struct subscriber subscriber = {.client = sale_client(&daemon)};
    subscriber.expected = newest(buyer) + 1;
    sale_assert_verdict(create_group_at(buyer, "g", 0, true).verdict, TG_OK);
    Tidegate__V1__SubscribeEventsRequest message = subscribe_message("g", TG_UNACKED_MAX);
    subscribe(&subscriber, &message);
    for (int i = 0; i < 20; i++)
        place_batch(buyer, 1000); /* nobody reads meanwhile */
    take_until(&subscriber, 20000);
    cr_assert_eq(subscriber.received, 20000);
    tgc_close(subscriber.client);
    tgc_close(buyer);
    daemon_end(&daemon);
}

Test(events, a_filtered_subscription_goes_on_over_events_that_it_hides)
{
    struct daemon daemon = {0};
    struct tgc_client *buyer = start(&daemon, "server.threads=1");
    struct subscriber subscriber = {.client = sale_client(&daemon)};
    sale_assert_verdict(create_group_at(buyer, "g", 0, true).verdict, TG_OK);
    Tidegate__V1__EventType types[] = {TIDEGATE__V1__EVENT_TYPE__EVENT_TYPE_ORDER_CANCELLED};
    Tidegate__V1__SubscribeEventsRequest message = subscribe_message("g", 2);
    message.types = types;
    message.n_types = 1;
    subscribe(&subscriber, &message);
    for (int i = 0; i < 5; i++)
        place_batch(buyer, 1000);
    uint64_t hidden = newest(buyer);
    struct tg_fault fault;
    while (subscriber.next + 1024 < hidden)
        cr_assert_eq(tgc_poll(subscriber.client, DAEMON_WAIT_MS, &fault), TG_ERR_OK);
    cr_assert_eq(subscriber.received, 0);
    cr_assert_leq(subscriber.pages, 6, "%llu empty pages", (unsigned long long)subscriber.pages);
    for (int i = 0; i < 5; i++)
        cr_assert_eq(life_cancel(buyer, place_many(buyer, 1)).verdict, TG_OK);
    for (uint64_t received = 1; received <= 5; received++) {
        take_until(&subscriber, received);
        if (received < 5)
            cr_assert_leq(subscriber.received, received + 1, "beyond its window");
        received = subscriber.received;
        sale_assert_verdict(ack(buyer, "g", subscriber.next).verdict, TG_OK);
    }
    cr_assert_eq(subscriber.received, 5);
    tgc_close(subscriber.client);
    tgc_close(buyer);
    daemon_end(&daemon);
}

Test(events, a_group_that_is_deleted_ends_those_who_wait_for_it)
{
    struct daemon daemon = {0};
    struct tgc_client *client = start(&daemon, "server.threads=1");
    struct subscriber subscriber = {.client = sale_client(&daemon)};
    struct tgc_client *poller = sale_client(&daemon);
    uint64_t last = newest(client);
    sale_assert_verdict(create_group_at(client, "g", 0, true).verdict, TG_OK);
    Tidegate__V1__SubscribeEventsRequest message = subscribe_message("g", 0);
    subscribe(&subscriber, &message);
    newest(subscriber.client);
    struct polled polled;
    Tidegate__V1__ConsumeEventsRequest poll = consume_message("g", last, 0);
    send_poll(poller, &poll, TG_EVENTS_WAIT_MS_MAX, &polled);
    sale_assert_verdict(delete_group(client, "g"), TG_OK);
    /* A new group of the same name is not the one that they waited for. */
    sale_assert_verdict(create_group_at(client, "g", 0, true).verdict, TG_OK);
    wait_for_answer(poller, &polled);
    sale_assert_verdict(polled.page.verdict, TG_UNKNOWN_GROUP);
    struct tg_fault fault;
    while (subscriber.last_verdict == 0)
        cr_assert_eq(tgc_poll(subscriber.client, DAEMON_WAIT_MS, &fault), TG_ERR_OK);
    sale_assert_verdict(subscriber.last_verdict, TG_UNKNOWN_GROUP);
    cr_assert_eq(tgc_in_flight(subscriber.client), 0);
    tgc_close(poller);
    tgc_close(subscriber.client);
    tgc_close(client);
    daemon_end(&daemon);
}

Test(events, a_subscription_needs_a_group_and_a_window_in_range)
{
    struct daemon daemon = {0};
    struct tgc_client *client = start(&daemon, "server.threads=1");
    static const struct {
        const char *group;
        uint32_t max_unacked;
        enum tg_verdict verdict;
    } cases[] = {
        {"", 0, TG_INVALID_ARGUMENT},
        {"none", 0, TG_UNKNOWN_GROUP},
        {"g", TG_UNACKED_MAX + 1, TG_INVALID_ARGUMENT},
    };
    create_group(client, "g");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct subscriber subscriber = {.client = client};
        Tidegate__V1__SubscribeEventsRequest message =
            subscribe_message(cases[i].group, cases[i].max_unacked);
        subscribe(&subscriber, &message);
        newest(client);
        sale_assert_verdict(subscriber.last_verdict, cases[i].verdict);
    }
    tgc_close(client);
    daemon_end(&daemon);
}

Test(events, subscribers_on_every_core_are_woken_by_orders_and_acks_of_any)
{
    struct daemon daemon = {0};
    struct tgc_client *buyer = start(&daemon, "server.threads=4");
    struct subscriber subscribers[12] = {0};
    uint64_t last = newest(buyer);
    char name[8] = "g00";
    for (uint32_t i = 0; i < 12; i++) {
        name[1] = (char)('a' + i);
        sale_assert_verdict(create_group_at(buyer, name, 0, true).verdict, TG_OK);
        subscribers[i] = (struct subscriber){.client = sale_client(&daemon), .expected = last + 1};
        Tidegate__V1__SubscribeEventsRequest message = subscribe_message(name, 3);
        subscribe(&subscribers[i], &message);
        newest(subscribers[i].client);
    }
    place_batch(buyer, 9);
    struct tg_fault fault;
    for (uint64_t received = 3; received <= 9; received += 3) {
        for (uint32_t i = 0; i < 12; i++) {
            while (subscribers[i].received < received)
                cr_assert_eq(tgc_poll(subscribers[i].client, DAEMON_WAIT_MS, &fault), TG_ERR_OK);
            cr_assert_eq(subscribers[i].received, received);
            name[1] = (char)('a' + i);
            sale_assert_verdict(ack(buyer, name, subscribers[i].next).verdict, TG_OK);
        }
    }
    for (uint32_t i = 0; i < 12; i++)
        tgc_close(subscribers[i].client);
    tgc_close(buyer);
    daemon_end(&daemon);
}

Test(events, after_a_start_what_was_there_before_is_pushed_without_a_new_order)
{
    struct daemon daemon = {0};
    struct tgc_client *client = start(&daemon, "server.threads=1");
    place_many(client, 5);
    uint64_t last = newest(client);
    create_group(client, "g");
    tgc_close(client);
    daemon_kill(&daemon);
    daemon_restart(&daemon);
    client = sale_client(&daemon);
    Tidegate__V1__Response *response = list_groups(client);
    cr_assert_eq(response->list_groups->last_sequence, last);
    cr_assert_eq(response->list_groups->first_sequence, 1);
    tgc_response_free(response);
    cr_assert_eq(listed(client, "g").lag, last);
    struct subscriber subscriber = {.client = sale_client(&daemon), .expected = 1};
    Tidegate__V1__SubscribeEventsRequest message = subscribe_message("g", 4);
    subscribe(&subscriber, &message);
    take_until(&subscriber, 4);
    sale_assert_verdict(ack(client, "g", 4).verdict, TG_OK);
    take_until(&subscriber, last);
    cr_assert_eq(create_group_at(client, "now", 0, true).offset, last);
    tgc_close(subscriber.client);
    tgc_close(client);
    daemon_end(&daemon);
}

/* --- ends --- */

Test(events, a_drain_answers_those_who_poll_and_ends_those_who_subscribe)
{
    struct daemon daemon = {0};
    struct tgc_client *client = start(&daemon, "server.threads=1");
    struct subscriber subscriber = {.client = sale_client(&daemon)};
    struct tgc_client *poller = sale_client(&daemon);
    uint64_t last = newest(client);
    create_group(client, "g");
    sale_assert_verdict(ack(client, "g", last).verdict, TG_OK);
    Tidegate__V1__SubscribeEventsRequest message = subscribe_message("g", 0);
    subscribe(&subscriber, &message);
    newest(subscriber.client);
    struct polled polled;
    Tidegate__V1__ConsumeEventsRequest poll = consume_message("g", 0, 0);
    send_poll(poller, &poll, TG_EVENTS_WAIT_MS_MAX, &polled);
    int64_t stopped_ns = tg_clock_mono_ns();
    cr_assert_eq(kill(daemon.pid, SIGTERM), 0);
    wait_for_answer(poller, &polled);
    sale_assert_verdict(polled.page.verdict, TG_OK);
    cr_assert_eq(polled.page.count, 0);
    struct tg_fault fault;
    enum tg_error error;
    while ((error = tgc_poll(subscriber.client, DAEMON_WAIT_MS, &fault)) == TG_ERR_OK)
        continue;
    cr_assert_eq(error, TG_ERR_CLOSED, "%s", fault.text);
    tgc_close(poller);
    tgc_close(subscriber.client);
    tgc_close(client);
    cr_assert_eq(daemon_wait(&daemon), 0);
    cr_assert(tg_clock_mono_ns() - stopped_ns < 20 * TG_NS_PER_S, "the drain waited for a poll");
    daemon_end(&daemon);
}

/* As many polls as there are places, less one, and a subscription; then all connections end.
 * Returns how many of them found no place. */
static uint32_t wait_and_vanish(const struct daemon *daemon, uint64_t last)
{
    static struct polled polled[POLLERS][CONN_POLLS_MAX];
    struct tgc_client *gone[POLLERS];
    uint32_t busy = 0;
    memset(polled, 0, sizeof(polled));
    for (int i = 0; i < POLLERS; i++) {
        gone[i] = sale_client(daemon);
        uint32_t count = i > 0 ? CONN_POLLS_MAX : CONN_POLLS_MAX - 1;
        send_polls(gone[i], "g", last, count, polled[i]);
        busy += count_busy(polled[i], count);
    }
    struct subscriber subscriber = {.client = gone[0]};
    Tidegate__V1__SubscribeEventsRequest message = subscribe_message("g", 0);
    subscribe(&subscriber, &message);
    newest(gone[0]);
    busy += subscriber.last_verdict == TG_BUSY;
    for (int i = 0; i < POLLERS; i++)
        tgc_close(gone[i]);
    return busy;
}

Test(events, whoever_goes_away_while_waiting_leaves_nothing_behind)
{
    struct daemon daemon = {0};
    struct tgc_client *client = start(&daemon, "server.threads=1");
    create_group(client, "g");
    uint64_t last = newest(client);
    sale_assert_verdict(ack(client, "g", last).verdict, TG_OK);
    int64_t deadline_ns = tg_clock_mono_ns() + DAEMON_WAIT_MS * TG_NS_PER_MS;
    for (int rounds = 0; rounds < 3;) {
        /* The end of one connection and the beginning of the next can be seen in any order. */
        rounds += wait_and_vanish(&daemon, last) == 0;
        cr_assert(tg_clock_mono_ns() < deadline_ns, "there is never room again");
        usleep(10 * 1000);
    }
    tgc_close(client);
    daemon_end(&daemon);
}

Test(events, a_peer_that_sends_no_more_gets_the_answer_to_its_poll)
{
    struct daemon daemon = {0};
    struct tgc_client *client = start(&daemon, "server.threads=1");
    uint64_t last = newest(client);
    struct peer peer;
    peer_open(&peer, &daemon);
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    Tidegate__V1__ConsumeEventsRequest message = consume_message("", last, 0);
    message.wait_ms = TG_EVENTS_WAIT_MS_MAX;
    request.correlation_id = 7;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_CONSUME_EVENTS;
    request.consume_events = &message;
    peer_request(&peer, &request);
    peer_half_close(&peer);
    Tidegate__V1__Response *response = peer_response(&peer);
    cr_assert(response);
    cr_assert_eq(response->correlation_id, 7);
    cr_assert_eq(response->kind_case, TIDEGATE__V1__RESPONSE__KIND_CONSUME_EVENTS);
    tidegate__v1__response__free_unpacked(response, NULL);
    peer_expect_end(&peer);
    peer_close(&peer);
    tgc_close(client);
    daemon_end(&daemon);
}

/* --- retention --- */

/* Orders whose payments are events with rows of their own. */
static void place_and_pay(struct tgc_client *client, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        cr_assert_eq(life_pay(client, place_many(client, 1), "p", SALE_PRICE).verdict, TG_OK);
}

Test(events, what_nobody_needs_is_dropped_and_what_a_group_has_not_acked_is_not)
{
    struct daemon daemon = {0};
    struct tgc_client *client = start(&daemon, "events.keep_s=1");
    create_group(client, "slow");
    place_and_pay(client, 30);
    uint64_t acked = newest(client) / 2;
    sale_assert_verdict(ack(client, "slow", acked).verdict, TG_OK);
    int64_t deadline_ns = tg_clock_mono_ns() + DAEMON_WAIT_MS * TG_NS_PER_MS;
    struct page page;
    do {
        cr_assert(tg_clock_mono_ns() < deadline_ns, "nothing is dropped");
        usleep(100 * 1000);
        place_many(client, 1); /* a commit drops a little */
        page = read_page(client, "slow", 0, 0);
        sale_assert_verdict(page.verdict, TG_OK);
        cr_assert_eq(page.begin, acked + 1, "the group lost what it has not acked");
    } while (page.first <= acked - 3 || !daemon_log_has(&daemon, "'slow'"));

    struct page older = read_page(client, "", 1, 0);
    sale_assert_verdict(older.verdict, TG_EVENTS_DROPPED);
    cr_assert_eq(older.count, 0);
    cr_assert_eq(older.first, page.first);
    cr_assert_eq(read_page(client, "", 0, 0).begin, page.first, "0 is the first event kept");
    cr_assert_eq(listed(client, "slow").lag, newest(client) - acked);

    /* The group that held it back is gone, and so are the events. */
    sale_assert_verdict(delete_group(client, "slow"), TG_OK);
    while (page.first <= acked + 1) {
        cr_assert(tg_clock_mono_ns() < deadline_ns, "it is still held back");
        usleep(100 * 1000);
        place_many(client, 1);
        page = read_page(client, "", 0, 1);
    }
    /* Orders are never dropped. */
    cr_assert_geq(sale_list(client, 1, NULL, NULL), 30);
    tgc_close(client);
    daemon_kill(&daemon);
    daemon_restart(&daemon);
    client = sale_client(&daemon);
    cr_assert_geq(read_page(client, "", 0, 1).first, page.first);
    tgc_close(client);
    daemon_end(&daemon);
}
