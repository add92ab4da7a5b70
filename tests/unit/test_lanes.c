/* The lanes of a core, with the rest of the core played by this file: the engine accepts everything
 * (a record more in flight), and completions are taken when a test says so. */
#include "server/lanes.h"
#include "server/life.h"
#include "server/server.h"

#include <criterion/criterion.h>
#include <string.h>

#define BACKLOG 64

static struct srv_server server;
static struct srv_core core;
static struct eng_engine engine;
static struct eng_shard shard;
static struct tg_record records[TG_JOURNAL_RECORDS];

/* What was decided, in order, and what was answered at once. */
static uint32_t decided_count;
static uint64_t decided_users[4 * SRV_LANE_ORDERS];
static enum tg_lane decided_lanes[4 * SRV_LANE_ORDERS];
static uint8_t last_external[TG_EXTERNAL_BYTES_MAX];
static uint32_t delivered_count;
static uint32_t late_count; /* of them, not decided in time */
static uint32_t replied_count;
static bool refuse_all;
static struct srv_reply reply;
static uint32_t reply_room; /* answers that the ring to another core takes */

bool srv_orders_decide(struct srv_core *at, struct eng_item *item, const struct tg_order *order,
                       const struct srv_address *address, struct tg_answer *answer)
{
    cr_assert_eq(item->item, 1);
    cr_assert_eq(address->correlation_id, order->user_id);
    decided_users[decided_count] = order->user_id;
    decided_lanes[decided_count] = (enum tg_lane)order->lane;
    decided_count++;
    if (order->external_bytes)
        memcpy(last_external, order->external_id, order->external_bytes);
    if (!refuse_all)
        tg_journal_append(&at->journal);
    *answer = (struct tg_answer){.verdict = TG_SOLD_OUT};
    return refuse_all;
}

/* A request that places an order makes a record as well; it is told by its number. */
void srv_life_go_on(struct srv_core *at, struct srv_control *control)
{
    decided_users[decided_count] = control->address.correlation_id;
    decided_lanes[decided_count] = (enum tg_lane)control->placing.order.lane;
    decided_count++;
    tg_journal_append(&at->journal);
}

void srv_orders_deliver(struct srv_core *at, const struct srv_address *address,
                        const struct tg_answer *answer)
{
    cr_assert_eq(address->core, at->core);
    late_count += answer->verdict == TG_UNSPECIFIED;
    cr_assert(answer->verdict == TG_SOLD_OUT || answer->verdict == TG_UNSPECIFIED);
    delivered_count++;
}

struct srv_reply *srv_core_reply_slot(struct srv_core *at, uint32_t to)
{
    cr_assert_neq(at->core, to);
    return reply_room > 0 ? &reply : NULL;
}

void srv_core_push_reply(struct srv_core *at, uint32_t to)
{
    (void)at;
    cr_assert_eq(reply.address.core, to);
    replied_count++;
    reply_room--;
}

void eng_shard_prefetch(const struct eng_shard *at, const struct eng_item *item,
                        const struct tg_order *order)
{
    cr_assert(at == &shard && item->item == 1 && order->quantity == 1);
}

static void set_up(void)
{
    struct tg_fault fault;
    static struct eng_item items[2] = {{.item = 0}, {.item = 1}};
    server.config.lane_backlog = BACKLOG;
    server.config.lane_vip_weight = 8;
    server.config.lane_prepaid_weight = 4;
    server.config.lane_flash_weight = 1;
    engine.catalog.items = items;
    shard.engine = &engine;
    core.server = &server;
    core.shard = &shard;
    tg_journal_init(&core.journal, records);
    cr_assert_eq(srv_lanes_create(&core, &fault), TG_ERR_OK);
}

static void tear_down(void)
{
    srv_lanes_destroy(&core);
}

TestSuite(lanes, .init = set_up, .fini = tear_down);

/* --- moves --- */

/* Fills the journal up to the backlog, as orders did that needed no lane. */
static void make_backlog(void)
{
    while (tg_journal_in_flight(&core.journal) < BACKLOG)
        tg_journal_append(&core.journal);
}

/* `count` of the records in flight complete. */
static void complete(uint32_t count)
{
    core.journal.completed += count;
}

static bool put_from(enum tg_lane lane, uint64_t user_id, uint16_t from)
{
    struct tg_order order = {.user_id = user_id, .quantity = 1, .lane = (uint8_t)lane};
    struct srv_address address = {.correlation_id = user_id, .core = from};
    return srv_lanes_put(&core, &engine.catalog.items[1], &order, &address);
}

static bool put(enum tg_lane lane, uint64_t user_id)
{
    return put_from(lane, user_id, 0);
}

static uint32_t decided_in(enum tg_lane lane)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < decided_count; i++)
        count += decided_lanes[i] == lane;
    return count;
}

/* --- promises --- */

Test(lanes, nobody_waits_below_the_backlog_and_all_do_from_there_on)
{
    cr_assert_not(srv_lanes_needed(&core));
    make_backlog();
    cr_assert(srv_lanes_needed(&core));
    complete(1);
    cr_assert_not(srv_lanes_needed(&core));
}

Test(lanes, while_one_waits_nobody_goes_past_it)
{
    make_backlog();
    cr_assert(put(TG_LANE_FLASH, 1));
    complete(BACKLOG);
    cr_assert(srv_lanes_needed(&core), "there is room, but another was first");
    cr_assert(srv_lanes_ready(&core));
    srv_lanes_turn(&core);
    cr_assert_eq(decided_count, 1);
    cr_assert_eq(srv_lanes_waiting(&core), 0);
    cr_assert_not(srv_lanes_needed(&core));
    cr_assert_not(srv_lanes_ready(&core));
}

Test(lanes, a_turn_lets_go_on_what_the_journal_has_room_for)
{
    make_backlog();
    for (uint64_t i = 0; i < 100; i++)
        cr_assert(put(TG_LANE_FLASH, i));
    srv_lanes_turn(&core);
    cr_assert_eq(decided_count, 0);
    complete(10);
    srv_lanes_turn(&core);
    cr_assert_eq(decided_count, 10);
    cr_assert_eq(srv_lanes_waiting(&core), 90);
}

Test(lanes, within_a_lane_the_first_goes_first)
{
    make_backlog();
    /* Several times around the ring. */
    for (uint64_t next = 0; next < 3 * SRV_LANE_ORDERS;) {
        for (int i = 0; i < BACKLOG; i++, next++)
            cr_assert(put(TG_LANE_VIP, next));
        complete(BACKLOG);
        srv_lanes_turn(&core);
    }
    for (uint32_t i = 0; i < decided_count; i++)
        cr_assert_eq(decided_users[i], i);
}

Test(lanes, one_whose_deadline_came_is_answered_undecided)
{
    make_backlog();
    struct tg_order order = {.quantity = 1, .lane = TG_LANE_FLASH};
    for (uint64_t user = 1; user <= 4; user++) {
        order.user_id = user;
        struct srv_address address = {.correlation_id = user,
                                      .core = user == 4 ? 1 : 0,
                                      .deadline_ns = user == 3 ? 2000 : 1000};
        cr_assert(srv_lanes_put(&core, &engine.catalog.items[1], &order, &address));
    }
    core.now_mono_ns = 1000;
    reply_room = 1;
    complete(BACKLOG);
    srv_lanes_turn(&core);
    cr_assert_eq(decided_count, 1);
    cr_assert_eq(decided_users[0], 3);
    cr_assert_eq(late_count, 2);
    cr_assert_eq(replied_count, 1, "to the core that it came from");
    cr_assert_eq(reply.answer.verdict, TG_UNSPECIFIED);
    cr_assert_eq(srv_lanes_waiting(&core), 0);
}

/* Keeps every lane full while `rounds` times as many go on as all weights together. */
static void run_saturated(uint32_t rounds, uint32_t room)
{
    make_backlog();
    for (uint32_t total = 0; total < rounds * 13; total += room) {
        for (int lane = 0; lane < TG_LANES; lane++)
            while (put((enum tg_lane)lane, 7))
                continue;
        complete(room);
        srv_lanes_turn(&core);
    }
}

Test(lanes, full_lanes_share_by_weight)
{
    run_saturated(100, 1);
    cr_assert_eq(decided_in(TG_LANE_VIP), 800);
    cr_assert_eq(decided_in(TG_LANE_PREPAID), 400);
    cr_assert_eq(decided_in(TG_LANE_FLASH), 100);
}

Test(lanes, shares_do_not_depend_on_how_much_room_comes_at_once)
{
    run_saturated(50, 26);
    cr_assert_eq(decided_in(TG_LANE_VIP), 400);
    cr_assert_eq(decided_in(TG_LANE_PREPAID), 200);
    cr_assert_eq(decided_in(TG_LANE_FLASH), 50);
}

Test(lanes, no_lane_waits_longer_than_one_round_of_the_others)
{
    run_saturated(100, 5);
    uint32_t since[TG_LANES] = {0}, longest[TG_LANES] = {0};
    for (uint32_t i = 0; i < decided_count; i++) {
        for (int lane = 0; lane < TG_LANES; lane++) {
            since[lane]++;
            longest[lane] = since[lane] > longest[lane] ? since[lane] : longest[lane];
        }
        since[decided_lanes[i]] = 0;
    }
    cr_assert_eq(longest[TG_LANE_VIP], 4 + 1 + 1);
    cr_assert_eq(longest[TG_LANE_PREPAID], 8 + 1 + 1);
    cr_assert_eq(longest[TG_LANE_FLASH], 8 + 4 + 1);
}

Test(lanes, an_empty_lane_leaves_its_share_to_the_others)
{
    make_backlog();
    for (uint64_t i = 0; i < 500; i++)
        cr_assert(put(TG_LANE_PREPAID, i) && put(TG_LANE_FLASH, i));
    for (int i = 0; i < 100; i++) {
        complete(5);
        srv_lanes_turn(&core);
    }
    cr_assert_eq(decided_in(TG_LANE_PREPAID), 400);
    cr_assert_eq(decided_in(TG_LANE_FLASH), 100);
}

Test(lanes, a_full_lane_takes_no_more_and_the_others_do)
{
    make_backlog();
    for (uint64_t i = 0; i < SRV_LANE_ORDERS; i++)
        cr_assert(put(TG_LANE_FLASH, i));
    cr_assert_not(put(TG_LANE_FLASH, 0));
    cr_assert(put(TG_LANE_VIP, 0));
    cr_assert_eq(srv_lanes_waiting(&core), SRV_LANE_ORDERS + 1);
}

Test(lanes, an_order_goes_on_with_its_own_external_id)
{
    uint8_t external_id[] = "abc";
    struct tg_order order = {
        .user_id = 1, .quantity = 1, .external_id = external_id, .external_bytes = 3};
    struct srv_address address = {.correlation_id = 1};
    make_backlog();
    cr_assert(srv_lanes_put(&core, &engine.catalog.items[1], &order, &address));
    memset(external_id, 0, sizeof(external_id)); /* the frame goes */
    complete(1);
    srv_lanes_turn(&core);
    cr_assert_arr_eq(last_external, "abc", 3);
}

Test(lanes, a_request_that_places_an_order_waits_like_an_order)
{
    struct srv_control control = {.kind = TIDEGATE__V1__REQUEST__KIND_OPEN_TEAM};
    control.address.correlation_id = 77;
    control.placing.order.lane = TG_LANE_PREPAID;
    make_backlog();
    cr_assert(put(TG_LANE_PREPAID, 1));
    cr_assert(srv_lanes_put_control(&core, TG_LANE_PREPAID, &control));
    cr_assert(put(TG_LANE_PREPAID, 2));
    cr_assert_eq(srv_lanes_waiting(&core), 3);
    complete(BACKLOG);
    srv_lanes_turn(&core);
    cr_assert_eq(decided_count, 3);
    cr_assert(decided_users[0] == 1 && decided_users[1] == 77 && decided_users[2] == 2);
    cr_assert_eq(srv_lanes_waiting(&core), 0);
}

Test(lanes, refusals_go_back_the_way_they_came)
{
    make_backlog();
    refuse_all = true;
    reply_room = 2;
    for (uint64_t i = 0; i < 3; i++)
        cr_assert(put_from(TG_LANE_FLASH, i, 0));
    for (uint64_t i = 3; i < 6; i++)
        cr_assert(put_from(TG_LANE_FLASH, i, 5));
    complete(1);
    srv_lanes_turn(&core);
    cr_assert_eq(delivered_count, 3);
    cr_assert_eq(replied_count, 2);
    cr_assert_eq(srv_lanes_waiting(&core), 1, "the ring is full: the last stays");
    cr_assert(srv_lanes_ready(&core), "and the core does not sleep on it");
    reply_room = 1;
    srv_lanes_turn(&core);
    cr_assert_eq(replied_count, 3);
    cr_assert_eq(decided_count, 6);
}

Test(lanes, a_turn_ends_although_refusals_make_no_backlog)
{
    make_backlog();
    refuse_all = true;
    for (uint64_t i = 0; i < SRV_LANE_ORDERS; i++)
        cr_assert(put(TG_LANE_FLASH, i));
    complete(1);
    srv_lanes_turn(&core);
    cr_assert_lt(decided_count, SRV_LANE_ORDERS);
    cr_assert(srv_lanes_ready(&core));
    for (int i = 0; i < 100 && srv_lanes_waiting(&core) > 0; i++)
        srv_lanes_turn(&core);
    cr_assert_eq(decided_count, SRV_LANE_ORDERS);
}
