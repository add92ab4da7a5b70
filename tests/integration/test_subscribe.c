/* A subscription through the client library, against a real daemon. */
#include "tests/lib/life.h"
#include "tests/lib/sale.h"

#include <criterion/criterion.h>

#define WINDOW 4

struct feed {
    struct tgc_client *client;
    uint64_t last_sequence;
    uint32_t events;
};

static void take_events(void *context, const Tidegate__V1__Response *response)
{
    struct feed *feed = context;
    const Tidegate__V1__SubscribeEventsResponse *answer = response->subscribe_events;
    sale_assert_verdict(answer->verdict, TG_OK);
    for (size_t i = 0; i < answer->n_events; i++) {
        cr_assert_gt(answer->events[i]->sequence, feed->last_sequence);
        feed->last_sequence = answer->events[i]->sequence;
        feed->events++;
    }
}

static void poll_until(struct feed *feed, uint32_t events)
{
    struct tg_fault fault;
    while (feed->events < events)
        cr_assert_eq(tgc_poll(feed->client, DAEMON_WAIT_MS, &fault), TG_ERR_OK, "%s", fault.text);
}

Test(subscribe, events_are_pushed_as_they_come_and_as_far_as_they_are_acked, .timeout = 120)
{
    struct daemon daemon = {0};
    daemon_start(&daemon, NULL);
    struct tgc_client *buyer = sale_client(&daemon);
    struct feed feed = {.client = sale_client(&daemon)};
    Tidegate__V1__SubscribeEventsRequest subscribe = TIDEGATE__V1__SUBSCRIBE_EVENTS_REQUEST__INIT;
    subscribe.group = (char *)(uintptr_t) "erp";
    subscribe.max_unacked = WINDOW;
    Tidegate__V1__EventType placed = TIDEGATE__V1__EVENT_TYPE__EVENT_TYPE_ORDER_PLACED;
    subscribe.types = &placed;
    subscribe.n_types = 1;
    life_create_group(buyer, "erp");
    sale_create(buyer, 1, "A", 100, 0);
    cr_assert_eq(tgc_subscribe(feed.client, &subscribe, take_events, &feed, NULL), TG_ERR_OK);
    for (uint64_t user = 1; user <= 2; user++)
        sale_assert_verdict(sale_buy(buyer, 1, "A", user, 1), TG_ACCEPTED);
    poll_until(&feed, 2);
    for (uint64_t user = 3; user <= 10; user++)
        sale_assert_verdict(sale_buy(buyer, 1, "A", user, 1), TG_ACCEPTED);
    while (feed.events < 10) {
        uint32_t before = feed.events;
        /* Events are handed out while it waits. */
        sale_assert_verdict(life_ack(feed.client, "erp", feed.last_sequence), TG_OK);
        poll_until(&feed, before + 1);
        cr_assert_leq(feed.events - before, WINDOW, "more than the window at a time");
    }
    tgc_close(feed.client);
    tgc_close(buyer);
    daemon_end(&daemon);
}
