/* What Tidegate promises, told once more: a naive model of sales, orders, teams and money.
 *
 * Written from docs/order-life.md, docs/group-buy.md, docs/protocol.md and docs/outbox.md (where
 * they are silent it follows the engine: docs/simulation.md), and sharing nothing with the engine
 * but the names of the contract (proto/verdict.h): plain arrays, linear scans, no hash, no timer,
 * no row. The simulation asks it before each decision of the
 * engine, and the two must agree.
 *
 *   m_place, m_change, m_expire ... -- M_FINAL --> the answer that must be given
 *        |
 *        +-- M_WAIT: behind a change of the same order or team that is not durable
 *        +-- M_ACQUIRE: units on several shards are to be held first: m_hold, m_release
 *        +-- M_RECORDED: a change under way (`change`); what it takes is taken now
 *                 |
 *                 +-- m_commit (durable) or m_refuse --> m_settle for each shard
 *
 * m_crash loses whatever was not durable. Identities inside are places in the arrays.
 */
#ifndef TG_TESTS_SIM_MODEL_H
#define TG_TESTS_SIM_MODEL_H

#include "proto/verdict.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    M_SALES = 4,
    M_ITEMS = 16,
    M_ORDERS = 2048,
    M_TEAMS = 512,
    M_CHANGES = 1024,
    M_HOLDS = 256,
    M_LINES = 4,
    M_SEATS = 6,
    M_PAYMENTS = 16, /* these three as docs/order-life.md says */
    M_REFUNDS = 16,
    M_COMMANDS = 16,
    M_PARTITIONS = 1024,
    M_CHAINS = 1024,
    M_SEQUENCES = 16384,
    M_COUNTS_KEPT_MS = 24 * 3600 * 1000,
    M_LADDER = 2,
    M_GROUPS = 4,
    M_NONE = -1,
};

enum m_policy {
    M_RESERVE = 1,
    M_ON_PLACE,
    M_ON_PAYMENT,
};

enum m_units {
    M_FREE,
    M_RESERVED,
    M_SOLD,
};

struct m_sale {
    int64_t starts_at_ms, ends_at_ms, window_ms, refund_auto_max;
    int first_item, item_count;
    bool is_paused, is_closed, state_in_flight, started, ended;
    int share_channel, share_percent; /* percent 0: no share */
    int team_size, team_size_min;     /* team_size 0: no group-buy */
    int64_t team_lifetime_ms;
    int teams_per_user;
    bool new_buyers_only, auto_complete;
};

struct m_item {
    int sale, policy, shard, partition, limit, per_order_max, ladder_steps;
    int ladder_size[M_LADDER];
    int64_t ladder_price[M_LADDER];
    int64_t price, captain_price;
    int64_t initial, restocked, available, reserved, sold, held; /* as the shard has them */
    int64_t durable_restocked;
    bool adjust_in_flight;
};

struct m_line {
    int item;
    int64_t quantity, price;
};

struct m_payment {
    uint8_t id;
    bool is_foreign; /* not in the sale's currency */
    uint16_t channel;
    int64_t amount, paid_at_ms;
};

enum m_kind {
    M_PLAIN = 1,
    M_CART,
    M_OPEN,
    M_JOIN,
    M_INGEST,
};

/* A new order as it is asked for. */
struct m_request {
    uint64_t id[2]; /* of an ingested order, made of its channel and external id */
    enum m_kind kind;
    int user, channel, external, line_count;
    struct m_line lines[M_LINES];
    uint64_t team_id; /* M_JOIN */
    bool new_buyer;
    bool is_paid; /* M_INGEST */
    struct m_payment payment;
    int64_t ordered_at_ms;
};

enum m_command_kind {
    M_PAY = 1,
    M_CANCEL,
    M_EXTEND,
    M_REFUND,
    M_APPROVE,
    M_REJECT,
    M_REPAID,
    M_ADVANCE,
};

struct m_command {
    uint64_t id[2];
    uint64_t order_id;
    enum m_command_kind kind;
    int by, to, number;
    int64_t deadline_ms, amount;
    bool restock;
    struct m_payment payment;
};

struct m_money_in {
    struct m_payment what;
    int status, verdict, refund;
};

struct m_money_out {
    int64_t amount;
    int cause, status;
    bool restock;
};

struct m_seen {
    struct m_command what;
    int verdict, refund;
};

struct m_order {
    bool used, durable, settled; /* settled: its shard knows that it is durable */
    uint32_t made;               /* a number of its own: places are used again */
    struct m_request body;
    uint64_t id;
    int home, team; /* a place, or M_NONE */
    int state, units, cancelled_by;
    int64_t amount, received, due, refunded, deadline_ms;
    int64_t accepted_at_ms, paid_at_ms, confirmed_at_ms, shipped_at_ms, delivered_at_ms;
    int64_t completed_at_ms, ended_at_ms, refunded_at_ms;
    int payment_count, refund_count, seen_count;
    uint32_t events[TG_EVENT_TYPE_COUNT]; /* of each type, ORDER_PLACED among them */
    uint32_t event_count;
    struct m_money_in payments[M_PAYMENTS];
    struct m_money_out refunds[M_REFUNDS];
    struct m_seen seen[M_COMMANDS];
};

struct m_seat {
    int order, user;
    int64_t joined_at_ms, paid_at_ms;
};

struct m_team {
    bool used, durable, auto_completed;
    uint64_t id;
    int opener_user, captain, item, state, seat_count, size;
    int64_t opened_at_ms, deadline_ms, ended_at_ms, price;
    uint32_t events[TG_EVENT_TYPE_COUNT];
    uint32_t event_count;
    struct m_seat seats[M_SEATS];
};

/* Units that are taken together. */
struct m_take {
    int user, channel, line_count, before, after;
    bool begins; /* to stand */
    bool gated;
    struct m_line lines[M_LINES];
};

struct m_moved {
    int order;
    int before, after; /* units */
    bool stood, stands;
    bool locked; /* by this change */
};

enum m_change_kind {
    M_CHANGE_ORDERS,
    M_CHANGE_ADJUST,
    M_CHANGE_STATE,
    M_CHANGE_SALE_EVENT,
    M_CHANGE_SALE, /* a new one */
    M_CHANGE_GROUP,
};

enum m_group_change {
    M_GROUP_MADE,
    M_GROUP_MADE_NOW,
    M_GROUP_ACKED,
    M_GROUP_GONE,
};

/* A named place in the outbox. */
struct m_group {
    bool exists, is_coming, in_flight, is_durable;
    uint64_t offset, durable_offset;
    uint64_t first; /* the oldest event that must be kept for it */
};

/* A change between its decision and the last shard that has settled it. */
struct m_change {
    bool used, committed, creates, was_held, locked_team;
    enum m_change_kind kind;
    int home, count, team, item, sale;
    int locks; /* the team that it has locked, with locked_team */
    int state; /* wanted: of a sale, or the type of its event */
    int64_t delta;
    uint64_t shards; /* that have not settled it */
    struct m_moved moved[M_SEATS + 1];
};

struct m_hold {
    bool used;
    int shard;
    struct m_take take;
};

enum m_step {
    M_FINAL,
    M_WAIT,
    M_ACQUIRE,
    M_RECORDED,
};

/* What was asked of other shards before. */
enum m_acquired {
    M_NOT_ASKED,
    M_TAKEN,
    M_NOT_TAKEN,
    M_TAKE_BUSY,
};

struct m_answer {
    enum m_step step;
    int verdict;
    bool replayed;
    int order;     /* that a new order is, or that it repeats */
    uint32_t made; /* which one in that place */
    int refund;    /* number, 0: none */
    int change;    /* M_RECORDED */
};

struct model {
    int shards, sale_count, item_count;
    int sales_to_come, items_to_come; /* those that may be created, included */
    bool creation_in_flight, creation_durable;
    bool is_full; /* a bounded table is: what would be recorded is BUSY instead */
    uint32_t orders_made;
    uint64_t sequence, event_first;
    struct m_group groups[M_GROUPS];
    struct m_sale sales[M_SALES];
    struct m_item items[M_ITEMS];
    /* What is looked at for every order lies side by side. */
    int order_count;            /* places in use, holes among them */
    uint64_t keys[M_ORDERS][2]; /* request ids, in chains: place + 1, 0 ends it */
    int16_t first_with[M_CHAINS], next_with[M_ORDERS];
    int16_t order_at[M_SEQUENCES]; /* the order that has this sequence, or M_NONE */
    struct {
        uint8_t counted; /* a bit for each line */
        uint8_t line_count;
        uint8_t items[M_LINES];
        uint16_t user, channel;
        uint32_t quantities[M_LINES];
    } counts[M_ORDERS];
    bool locked[M_ORDERS];
    bool remembered[M_ORDERS]; /* by its request id */
    int team_count;
    bool team_locked[M_TEAMS], team_counted[M_TEAMS];
    struct m_order orders[M_ORDERS];
    struct m_order next_orders[M_ORDERS];
    struct m_team teams[M_TEAMS];
    struct m_team next_teams[M_TEAMS];
    struct m_change changes[M_CHANGES];
    struct m_hold holds[M_HOLDS];
    int change_high, hold_high;
};

/* Items are numbered through the sales in their order; fill the rules, then call this. */
void m_begin(struct model *m, int shards);
/* Room for one more order, team and change. */
bool m_has_room(const struct model *m);

/* --- decisions --- */

/* PlaceOrder for one item, OpenTeam, JoinTeam and one of IngestOrders. */
struct m_answer m_place(struct model *m, const struct m_request *request, int64_t now_ms);
/* A cart; with M_ACQUIRE and M_TAKEN `take` is what is held. */
struct m_answer m_cart(struct model *m, const struct m_request *request, enum m_acquired acquired,
                       int64_t now_ms, struct m_take *take);
struct m_answer m_change(struct model *m, const struct m_command *command, enum m_acquired acquired,
                         int64_t now_ms, struct m_take *take);
/* Takes a shard's lines, or none, with a verdict for each line. */
bool m_hold(struct model *m, const struct m_take *take, int shard, int64_t now_ms,
            int verdicts[M_LINES]);
void m_release(struct model *m, const struct m_take *take, int shard);
/* A timer of an order, of a team, of a sale: M_RECORDED, M_WAIT, or M_FINAL (it means nothing). */
struct m_answer m_expire(struct model *m, uint64_t order_id, int64_t now_ms);
struct m_answer m_team_deadline(struct model *m, uint64_t team_id, int64_t now_ms);
struct m_answer m_sale_event(struct model *m, int sale, bool is_end, int64_t now_ms);
struct m_answer m_adjust(struct model *m, int number, bool compare, int64_t expected,
                         int64_t delta);
/* To TG_SALE_ACTIVE, TG_SALE_PAUSED or TG_SALE_CLOSED (proto/verdict.h). */
struct m_answer m_sale_state(struct model *m, int sale, int wanted);
/* The sale behind the last one, whose rules are filled in. */
struct m_answer m_sale_create(struct model *m);
/* `from_now`: behind the newest event when it is durable, whatever `behind` says. */
struct m_answer m_group_create(struct model *m, int number, bool from_now, uint64_t behind);
struct m_answer m_group_ack(struct model *m, int number, uint64_t sequence);
struct m_answer m_group_delete(struct model *m, int number);

/* --- the way to the disk and back --- */

void m_commit(struct model *m, int number);
void m_refuse(struct model *m, int number);
void m_settle(struct model *m, int number, int shard);
void m_crash(struct model *m);

/* --- looking --- */

int m_find(const struct model *m, uint64_t order_id); /* a durable order, or M_NONE */
int m_find_team(const struct model *m, uint64_t team_id);
/* The order's request id is past its time and forgotten; or it came back, the clock went back. */
void m_remember_order(struct model *m, int place, bool remembered);
/* Late payments and other channels' orders are not counted any more: the item's sale is over since
 * a day, or closed. */
bool m_counts_are_gone(const struct model *m, int item, int64_t now_ms);
/* After a commit: what breaks a promise about what was dropped of the outbox, or NULL. */
const char *m_retained(struct model *m, uint64_t event_first);
int64_t m_user_units(const struct model *m, int item, int user);
/* What breaks a promise in the model itself, or NULL. */
const char *m_broken(const struct model *m);

#endif
