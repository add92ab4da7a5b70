/* An engine with everything around it in one thread: what storage keeps, as plain arrays; a writer
 * that makes journals durable or refuses them; the messages between shards. Each part moves when
 * the test says so, so that every order of events can be played.
 *
 *   decide (eng_*, ledger_*) --> ledger_commit (durable or not) --> ledger_settle -->
 * ledger_deliver
 *
 * ledger_check states the invariants of docs/order-life.md and docs/group-buy.md over what is
 * durable, and holds at every moment; ledger_check_rest adds what holds when nothing is under way:
 * the memory of the engine is that of the durable orders, and nothing is locked, held or lost.
 */
#ifndef TG_TESTS_LEDGER_H
#define TG_TESTS_LEDGER_H

#include "engine/cart.h"
#include "engine/life.h"

#define LEDGER_SHARDS_MAX 2
#define LEDGER_ITEMS_MAX  32
#define LEDGER_START_MS   1000000

struct ledger_order {
    struct tg_order_row row;
    struct tg_life life;
    bool has_life;
};

/* What has to be told to another shard. */
struct ledger_message {
    uint32_t to;
    struct eng_take take;
};

struct ledger {
    struct eng_engine engine;
    struct tg_journal journals[LEDGER_SHARDS_MAX];
    struct ledger_order *orders;
    uint32_t order_count;
    struct tg_team *teams;
    uint32_t team_count;
    struct tg_stock stock[LEDGER_ITEMS_MAX]; /* as the writer keeps it: by differences */
    struct ledger_message *messages;
    uint32_t message_head, message_tail;
    uint32_t timers_promised[LEDGER_SHARDS_MAX]; /* while nothing is in flight */
    uint64_t sequence;
    uint64_t next_request;
    int64_t now_ms;
    bool unreadable;                      /* the loader fails */
    uint64_t events[TG_EVENT_TYPE_COUNT]; /* durable ones, by type */
    uint64_t seed;                        /* named when a check fails */
};

struct ledger *ledger_create(uint32_t shards);
void ledger_destroy(struct ledger *ledger);

/* A definition with `item_count` items of 10 units at 100, in a window that is open for a day;
 * payment within 900 s. Change it, then add it: returns its first item and frees it. */
struct tg_sale_def *ledger_sale(uint64_t sale_id, uint32_t item_count);
/* The same of a group-buy of teams of 3 that live an hour. */
struct tg_sale_def *ledger_group_buy(uint64_t sale_id, uint32_t item_count);
struct eng_item *ledger_add(struct ledger *ledger, struct tg_sale_def *def);

/* --- deciding; what is accepted lies in the journal --- */

/* One unit at `price`, with a request id of its own. */
struct tg_order ledger_order_of(struct ledger *ledger, uint64_t user_id, int64_t price);
struct eng_decision ledger_place(struct ledger *ledger, struct eng_item *item,
                                 const struct tg_order *order);
enum eng_step ledger_open(struct ledger *ledger, struct eng_item *item,
                          const struct tg_order *order, struct eng_decision *decision);
enum eng_step ledger_join(struct ledger *ledger, struct eng_item *item, uint64_t team_id,
                          const struct tg_order *order, struct eng_decision *decision);
enum eng_step ledger_ingest(struct ledger *ledger, struct eng_item *item,
                            const struct tg_order *order, const struct tg_payment *payment,
                            struct eng_decision *decision);

/* Commands with a request id of their own. */
struct eng_command ledger_command(struct ledger *ledger, uint64_t order_id,
                                  enum eng_change_kind kind);
/* Payment number `number` of the order's amount, in full. */
struct eng_command ledger_payment(struct ledger *ledger, uint64_t order_id, uint8_t number);
/* Decides with nothing acquired; ENG_ACQUIRE fails the test. */
enum eng_step ledger_change(struct ledger *ledger, const struct eng_command *command,
                            struct eng_result *result);
/* Fires every timer of all shards that is due; returns how many units that recorded. */
uint32_t ledger_fire(struct ledger *ledger);

/* --- the way to the disk and back --- */

void ledger_commit(struct ledger *ledger, uint32_t shard, bool durable);
void ledger_settle(struct ledger *ledger, uint32_t shard);
/* Hands over the oldest message; false: there is none. */
bool ledger_deliver(struct ledger *ledger);
/* All of it until nothing is under way. */
void ledger_run(struct ledger *ledger, bool durable);

/* --- decide, run, look --- */

/* The verdict of the change, once it is durable. */
enum tg_verdict ledger_do(struct ledger *ledger, const struct eng_command *command);
enum tg_verdict ledger_pay(struct ledger *ledger, uint64_t order_id, uint8_t number);
enum tg_verdict ledger_cancel(struct ledger *ledger, uint64_t order_id);
/* The id of an order that must be accepted. */
uint64_t ledger_buy(struct ledger *ledger, struct eng_item *item, uint64_t user_id);
uint64_t ledger_opened(struct ledger *ledger, struct eng_item *item, uint64_t user_id);
uint64_t ledger_joined(struct ledger *ledger, struct eng_item *item, uint64_t team_id,
                       uint64_t user_id);
/* Time goes on, timers fire, all becomes durable. */
void ledger_wait(struct ledger *ledger, int64_t ms);

struct ledger_order *ledger_find(struct ledger *ledger, uint64_t order_id);
const struct tg_life *ledger_life(struct ledger *ledger, uint64_t order_id);
enum tg_order_state ledger_state(struct ledger *ledger, uint64_t order_id);
struct tg_team *ledger_team(struct ledger *ledger, uint64_t team_id);

void ledger_check(struct ledger *ledger);
void ledger_check_rest(struct ledger *ledger);

#endif
