#include "tests/crash/load.h"

#include "base/clock.h"
#include "base/rng.h"
#include "tests/crash/wish.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ACTORS         64
#define POOL           256 /* orders that changes go for */
#define WAIT_MS        10000
#define WIDTH_ANSWERS  64   /* after so many another number of actors is busy */
#define EXPIRY_MS      3000 /* what is unpaid has expired by then */
#define EXPIRY_ACK_MS  100
#define EXTRA_SALES    24 /* that operators create meanwhile */
#define FIRST_EXTRA_ID 100
#define SALES_MAX      64

/* --- the world ---------------------------------------------------------------------------------
 */

/* A value that one actor at a time changes: a register of facts.h. */
struct target {
    uint64_t key;
    uint64_t changes;
    uint64_t value; /* as acknowledged */
    char name[32];
    bool is_busy;
};

struct sale {
    struct wish_sale plan;
    struct target state;
    struct target stock; /* units adjusted of its first item */
};

struct group {
    const char *name;
    struct target offset;
};

/* An order as it was last seen. */
struct known {
    uint64_t order_id;
    int64_t amount_minor;
    int state; /* Tidegate__V1__OrderState */
    uint32_t refunds;
};

struct load;

/* One client with at most one request in flight. */
struct actor {
    struct load *load;
    bool is_busy;
    struct wish wish;
    struct target *target; /* of OPERATE and GROUP */
    uint64_t sent;         /* position */
};

struct load {
    const struct crash_log *log;
    struct facts *facts;
    struct tgc_client *client;
    struct tg_rng rng;
    struct actor actors[ACTORS];
    struct wish last[WISH_KINDS]; /* the last that was sent, to be sent again */
    struct sale sales[SALES_MAX];
    uint32_t sale_count;
    struct group groups[4];
    struct known pool[POOL];
    uint64_t pool_count; /* ever put in */
    uint64_t teams[POOL];
    uint32_t team_skus[POOL];
    uint64_t team_count; /* ever opened */
    uint64_t wishes;
    uint64_t answers;
    uint64_t sequence_max; /* the newest that was seen */
    uint64_t seen[WISH_KINDS], done[WISH_KINDS];
};

enum {
    SALE_HOT,
    SALE_RESERVE,
    SALE_ON_PAYMENT,
    SALE_ON_PLACE,
    SALE_CHANNELS,
    SALE_TEAMS,
    SALES
};

static const struct wish_sale plans[SALES] = {
    [SALE_HOT] = {.sale_id = 1, .items = 2, .stock_units = 400, .per_user_limit = 2, .policy = 1},
    [SALE_RESERVE] = {.sale_id = 2, .items = 20, .stock_units = 150, .policy = 1},
    [SALE_ON_PAYMENT] = {.sale_id = 3, .items = 10, .stock_units = 60, .policy = 3},
    [SALE_ON_PLACE] = {.sale_id = 4, .items = 10, .stock_units = 100, .policy = 2},
    [SALE_CHANNELS] =
        {.sale_id = 5, .items = 8, .stock_units = 800, .policy = 1, .has_shares = true},
    [SALE_TEAMS] =
        {.sale_id = 6, .items = 3, .stock_units = 1000, .policy = 1, .is_group_buy = true},
};

struct phase {
    const char *name;
    uint32_t shares[WISH_KINDS];
};

static const struct phase phases[] = {
    {"seckill", {[WISH_PLACE] = 85, [WISH_CHANGE] = 15}},
    {"lifecycle", {[WISH_PLACE] = 25, [WISH_CHANGE] = 75}},
    {"groupbuy", {[WISH_OPEN] = 15, [WISH_JOIN] = 35, [WISH_CHANGE] = 50}},
    {"cart", {[WISH_CART] = 50, [WISH_CHANGE] = 50}},
    {"ingest", {[WISH_INGEST] = 20, [WISH_CHANGE] = 80}},
    {"operators", {[WISH_OPERATE] = 55, [WISH_PLACE] = 30, [WISH_CHANGE] = 15}},
    {"outbox", {[WISH_GROUP] = 50, [WISH_CHANGE] = 40, [WISH_PLACE] = 10}},
    {"mixed",
     {[WISH_PLACE] = 20,
      [WISH_CART] = 10,
      [WISH_OPEN] = 5,
      [WISH_JOIN] = 10,
      [WISH_INGEST] = 3,
      [WISH_CHANGE] = 40,
      [WISH_OPERATE] = 6,
      [WISH_GROUP] = 6}},
};

static void fail(const char *what)
{
    fprintf(stderr, "crash: the load: %s\n", what);
    exit(2);
}

static int64_t now_ms(void)
{
    return tg_clock_wall_ns() / TG_NS_PER_MS;
}

static uint32_t draw(struct load *load, uint64_t bound)
{
    return (uint32_t)tg_rng_below(&load->rng, bound);
}

/* --- facts -------------------------------------------------------------------------------------
 */

static void learn_order(struct actor *actor, uint32_t i,
                        const Tidegate__V1__PlaceOrderResponse *answer, uint64_t position)
{
    struct load *load = actor->load;
    struct facts_asked asked = wish_asked(&actor->wish, i);
    asked.accepted_at_ms = answer->accepted_at_ms;
    if (actor->wish.kind == WISH_OPEN)
        asked.team_id = answer->order_id;
    struct fact_order fact = {
        .order_id = answer->order_id, .answered = position, .print = facts_print_asked(&asked)};
    facts_add(&load->facts->orders, &fact, sizeof(fact));
    if (answer->replayed)
        return;
    load->pool[load->pool_count++ % POOL] =
        (struct known){.order_id = answer->order_id,
                       .amount_minor = wish_amount(&actor->wish, i),
                       .state = TIDEGATE__V1__ORDER_STATE__ORDER_STATE_RESERVED};
    if (actor->wish.kind == WISH_OPEN) {
        load->team_skus[load->team_count % POOL] = actor->wish.skus[0];
        load->teams[load->team_count++ % POOL] = answer->order_id;
    }
}

static void learn_life(struct load *load, const Tidegate__V1__Order *order, uint64_t position)
{
    struct fact_life fact = {.order_id = order->order_id,
                             .version = order->version,
                             .answered = position,
                             .print = facts_print_message(order)};
    facts_add(&load->facts->lives, &fact, sizeof(fact));
    if (order->last_sequence > load->sequence_max)
        load->sequence_max = order->last_sequence;
    for (uint32_t i = 0; i < POOL; i++) {
        if (load->pool[i].order_id == order->order_id) {
            load->pool[i].state = (int)order->state;
            load->pool[i].refunds = (uint32_t)order->n_refunds;
        }
    }
}

static void learn_value(struct load *load, struct target *target, uint64_t sent, uint64_t position,
                        uint64_t value)
{
    struct fact_register fact = {.key = target->key,
                                 .order = target->changes++,
                                 .sent = sent,
                                 .answered = position,
                                 .value = value};
    memcpy(fact.name, target->name, sizeof(fact.name));
    target->value = value;
    facts_add(&load->facts->registers, &fact, sizeof(fact));
}

/* --- answers -----------------------------------------------------------------------------------
 */

static bool take_order(struct actor *actor, uint32_t i,
                       const Tidegate__V1__PlaceOrderResponse *answer, uint64_t position)
{
    if (answer->verdict == (Tidegate__V1__Verdict)TG_INVALID_ARGUMENT)
        fail(answer->message);
    if (answer->verdict != (Tidegate__V1__Verdict)TG_ACCEPTED)
        return false;
    learn_order(actor, i, answer, position);
    return true;
}

static bool take_ingest(struct actor *actor, const Tidegate__V1__IngestOrdersResponse *answer,
                        uint64_t position)
{
    bool took = false;
    for (size_t i = 0; i < answer->n_results; i++)
        took |= take_order(actor, (uint32_t)i, answer->results[i], position);
    return took;
}

static bool take_change(struct load *load, const Tidegate__V1__ChangeOrderResponse *answer,
                        uint64_t position)
{
    if (answer->order)
        learn_life(load, answer->order, position);
    return answer->verdict == (Tidegate__V1__Verdict)TG_OK ||
           answer->verdict == (Tidegate__V1__Verdict)TG_REFUND_DUE;
}

static void take_sale(struct actor *actor, uint64_t position)
{
    struct sale *sale = (struct sale *)(uintptr_t)actor->wish.sale;
    learn_value(actor->load, &sale->state, actor->sent, position, TG_SALE_ACTIVE);
    learn_value(actor->load, &sale->stock, actor->sent, position, 0);
}

static bool take_operation(struct actor *actor, const Tidegate__V1__Response *response,
                           uint64_t position)
{
    struct target *target = actor->target;
    if (tgc_outcome_of(response).verdict != TG_OK)
        return false;
    switch (actor->wish.operation) {
    case WISH_CREATE_SALE:
        take_sale(actor, position);
        return true;
    case WISH_PAUSE:
        learn_value(actor->load, target, actor->sent, position, TG_SALE_PAUSED);
        return true;
    case WISH_RESUME:
        learn_value(actor->load, target, actor->sent, position, TG_SALE_ACTIVE);
        return true;
    case WISH_CLOSE:
        learn_value(actor->load, target, actor->sent, position, TG_SALE_CLOSED);
        return true;
    case WISH_ADJUST:
        learn_value(actor->load, target, actor->sent, position,
                    target->value + (uint64_t)actor->wish.delta_units);
        return true;
    case WISH_CREATE_GROUP:
        learn_value(actor->load, target, actor->sent, position, response->create_group->offset);
        return true;
    case WISH_ACK:
        learn_value(actor->load, target, actor->sent, position, response->ack_events->offset);
        return true;
    case WISH_DELETE_GROUP:
        learn_value(actor->load, target, actor->sent, position, FACTS_ABSENT);
        return true;
    }
    abort();
}

static bool take(struct actor *actor, const Tidegate__V1__Response *response, uint64_t position)
{
    switch (actor->wish.kind) {
    case WISH_PLACE:
    case WISH_CART:
        return take_order(actor, 0, response->place_order, position);
    case WISH_OPEN:
        return take_order(actor, 0, response->open_team->order, position);
    case WISH_JOIN:
        return take_order(actor, 0, response->join_team->order, position);
    case WISH_INGEST:
        return take_ingest(actor, response->ingest_orders, position);
    case WISH_CHANGE:
        return take_change(actor->load, response->change_order, position);
    case WISH_OPERATE:
    case WISH_GROUP:
        return take_operation(actor, response, position);
    case WISH_KINDS:
        break;
    }
    abort();
}

static void on_response(void *context, const Tidegate__V1__Response *response)
{
    struct actor *actor = context;
    struct load *load = actor->load;
    /* First of all: what the answer rests on lies before this. */
    uint64_t position = crash_log_at(load->log);
    if (response->kind_case == TIDEGATE__V1__RESPONSE__KIND_ERROR)
        fail(response->error->message);
    load->done[actor->wish.kind] += take(actor, response, position);
    load->seen[actor->wish.kind]++;
    load->answers++;
    if (actor->target)
        actor->target->is_busy = false;
    actor->is_busy = false;
}

/* --- wishes ------------------------------------------------------------------------------------
 */

static void draw_lines(struct load *load, struct wish *wish, uint32_t count)
{
    uint32_t first = draw(load, wish->sale->items);
    wish->line_count = count;
    for (uint32_t i = 0; i < count; i++) {
        wish->skus[i] = (first + i) % wish->sale->items;
        wish->quantities[i] = 1 + draw(load, 3);
    }
    wish->user_id = 1 + draw(load, 600);
}

static void wish_place(struct load *load, struct wish *wish)
{
    static const uint8_t choice[] = {SALE_HOT,     SALE_HOT,        SALE_HOT,
                                     SALE_RESERVE, SALE_ON_PAYMENT, SALE_ON_PLACE};
    uint32_t at = choice[draw(load, sizeof(choice))];
    if (load->sale_count > SALES && draw(load, 5) == 0)
        at = SALES + draw(load, load->sale_count - SALES);
    wish->sale = &load->sales[at].plan;
    draw_lines(load, wish, 1);
}

static void wish_cart(struct load *load, struct wish *wish)
{
    wish->sale = &load->sales[SALE_RESERVE + draw(load, 3)].plan;
    draw_lines(load, wish, 2 + draw(load, WISH_LINES_MAX - 1));
}

static void wish_open(struct load *load, struct wish *wish)
{
    wish->sale = &load->sales[SALE_TEAMS].plan;
    draw_lines(load, wish, 1);
}

/* One of the newest teams; without one, a team is opened. */
static void wish_join(struct load *load, struct wish *wish)
{
    wish_open(load, wish);
    uint64_t newest = load->team_count < 6 ? load->team_count : 6;
    if (newest == 0) {
        wish->kind = WISH_OPEN;
        return;
    }
    uint64_t team = load->team_count - 1 - draw(load, newest);
    wish->team_id = load->teams[team % POOL];
    wish->skus[0] = load->team_skus[team % POOL];
}

static void wish_ingest(struct load *load, struct wish *wish)
{
    wish->sale = &load->sales[SALE_CHANNELS].plan;
    draw_lines(load, wish, 1 + draw(load, WISH_LINES_MAX));
    wish->ingest_count = 1 + draw(load, WISH_INGEST_MAX);
}

/* What moves an order in this state on, more often than not. */
static enum wish_change draw_change(struct load *load, const struct known *order)
{
    static const uint8_t shares[WISH_CHANGES] = {
        [WISH_PAY] = 8,     [WISH_CANCEL] = 12, [WISH_EXTEND] = 8,  [WISH_REFUND] = 14,
        [WISH_APPROVE] = 8, [WISH_REJECT] = 4,  [WISH_RECORD] = 12, [WISH_ADVANCE] = 34,
    };
    if (order->state == TIDEGATE__V1__ORDER_STATE__ORDER_STATE_RESERVED && draw(load, 10) < 7)
        return WISH_PAY;
    uint32_t at = draw(load, 100);
    for (uint32_t change = 0;; change++) {
        if (at < shares[change])
            return (enum wish_change)change;
        at -= shares[change];
    }
}

static int next_state(int state)
{
    if (state == TIDEGATE__V1__ORDER_STATE__ORDER_STATE_SHIPPED)
        return TIDEGATE__V1__ORDER_STATE__ORDER_STATE_DELIVERED;
    if (state == TIDEGATE__V1__ORDER_STATE__ORDER_STATE_DELIVERED)
        return TIDEGATE__V1__ORDER_STATE__ORDER_STATE_COMPLETED;
    return TIDEGATE__V1__ORDER_STATE__ORDER_STATE_SHIPPED;
}

static void wish_change(struct load *load, struct wish *wish)
{
    uint64_t known = load->pool_count < POOL ? load->pool_count : POOL;
    if (known == 0) {
        wish->kind = WISH_PLACE;
        wish_place(load, wish);
        return;
    }
    /* The newest half of the time, so that those meet. */
    uint64_t back = draw(load, 2) ? draw(load, known < 12 ? known : 12) : draw(load, known);
    const struct known *order = &load->pool[(load->pool_count - 1 - back) % POOL];
    wish->order_id = order->order_id;
    wish->change = draw_change(load, order);
    wish->refund_number = 1 + draw(load, order->refunds ? order->refunds : 1);
    wish->advance_to = next_state(order->state);
    if (wish->change == WISH_PAY)
        wish->amount_minor = order->amount_minor - (draw(load, 12) == 0);
    else
        wish->amount_minor = draw(load, 2) ? 0 : 100 + draw(load, 500);
}

static void target_begin(struct target *target, const char *kind, uint64_t sale_id,
                         const char *name)
{
    *target = (struct target){.key = facts_key(kind, sale_id, name), .value = FACTS_ABSENT};
    snprintf(target->name, sizeof(target->name), "%s %" PRIu64 "%s%s", kind, sale_id,
             *name ? " " : "", name);
}

static struct sale *new_sale(struct load *load, const struct wish_sale *plan)
{
    struct sale *sale = &load->sales[load->sale_count++];
    sale->plan = *plan;
    target_begin(&sale->state, "state", plan->sale_id, "");
    target_begin(&sale->stock, "stock", plan->sale_id, wish_sku(0));
    return sale;
}

static void wish_create_sale(struct load *load, struct actor *actor)
{
    struct wish_sale plan = {.sale_id = FIRST_EXTRA_ID + load->sale_count,
                             .items = 1 + draw(load, 8),
                             .stock_units = 50,
                             .policy = 1 + (int)draw(load, 3)};
    struct sale *sale = new_sale(load, &plan);
    actor->wish.sale = &sale->plan;
    actor->wish.operation = WISH_CREATE_SALE;
    actor->target = &sale->state;
}

static void wish_state(struct load *load, struct actor *actor, struct sale *sale)
{
    actor->target = &sale->state;
    if (sale->state.value == TG_SALE_PAUSED)
        actor->wish.operation = WISH_RESUME;
    else if (sale->plan.sale_id >= FIRST_EXTRA_ID && draw(load, 6) == 0)
        actor->wish.operation = WISH_CLOSE;
    else
        actor->wish.operation = WISH_PAUSE;
}

static void wish_stock(struct load *load, struct actor *actor, struct sale *sale)
{
    actor->target = &sale->stock;
    actor->wish.operation = WISH_ADJUST;
    actor->wish.delta_units = draw(load, 3) ? 1 + draw(load, 20) : -1 - (int64_t)draw(load, 5);
}

/* False when what it would change is being changed. */
static bool wish_operate(struct load *load, struct actor *actor)
{
    if (load->sale_count < SALES + EXTRA_SALES && draw(load, 25) == 0) {
        wish_create_sale(load, actor);
        return true;
    }
    struct sale *sale = &load->sales[draw(load, load->sale_count)];
    actor->wish.sale = &sale->plan;
    if (sale->state.value == FACTS_ABSENT)
        return false;
    if (draw(load, 2))
        wish_stock(load, actor, sale);
    else
        wish_state(load, actor, sale);
    return !actor->target->is_busy;
}

static bool wish_group(struct load *load, struct actor *actor)
{
    uint32_t at = draw(load, sizeof(load->groups) / sizeof(load->groups[0]));
    struct group *group = &load->groups[at];
    bool is_passing = at == 0; /* comes and goes */
    actor->target = &group->offset;
    actor->wish.group = group->name;
    if (group->offset.value == FACTS_ABSENT)
        actor->wish.operation = WISH_CREATE_GROUP;
    else
        actor->wish.operation = is_passing && draw(load, 8) == 0 ? WISH_DELETE_GROUP : WISH_ACK;
    actor->wish.sequence =
        load->sequence_max - (load->sequence_max ? draw(load, 40) % load->sequence_max : 0);
    return !group->offset.is_busy;
}

static enum wish_kind draw_kind(struct load *load, const struct phase *phase)
{
    uint32_t at = draw(load, 100);
    for (uint32_t kind = 0;; kind++) {
        if (at < phase->shares[kind])
            return (enum wish_kind)kind;
        at -= phase->shares[kind];
    }
}

/* Fills a new wish; false when this kind has none at the moment. */
static bool think(struct actor *actor, enum wish_kind kind)
{
    struct load *load = actor->load;
    struct wish *wish = &actor->wish;
    *wish = (struct wish){.kind = kind, .number = ++load->wishes, .at_ms = now_ms()};
    actor->target = NULL;
    switch (kind) {
    case WISH_PLACE:
        wish_place(load, wish);
        return true;
    case WISH_CART:
        wish_cart(load, wish);
        return true;
    case WISH_OPEN:
        wish_open(load, wish);
        return true;
    case WISH_JOIN:
        wish_join(load, wish);
        return true;
    case WISH_INGEST:
        wish_ingest(load, wish);
        return true;
    case WISH_CHANGE:
        wish_change(load, wish);
        return true;
    case WISH_OPERATE:
        return wish_operate(load, actor);
    case WISH_GROUP:
        return wish_group(load, actor);
    case WISH_KINDS:
        break;
    }
    abort();
}

static void send(struct actor *actor)
{
    struct load *load = actor->load;
    actor->is_busy = true;
    if (actor->target)
        actor->target->is_busy = true;
    actor->sent = crash_log_at(load->log);
    wish_send(load->client, &actor->wish, on_response, actor);
}

/* A new wish, or what somebody sent just now, again. */
static void act(struct actor *actor, enum wish_kind kind)
{
    struct load *load = actor->load;
    bool is_safe_to_repeat = kind != WISH_OPERATE && kind != WISH_GROUP;
    if (is_safe_to_repeat && load->last[kind].number && draw(load, 16) == 0) {
        actor->wish = load->last[kind];
        actor->target = NULL;
    } else if (!think(actor, kind)) {
        return;
    } else {
        load->last[actor->wish.kind] = actor->wish;
    }
    send(actor);
}

/* --- the run -----------------------------------------------------------------------------------
 */

static uint32_t in_flight(const struct load *load)
{
    uint32_t busy = 0;
    for (uint32_t i = 0; i < ACTORS; i++)
        busy += load->actors[i].is_busy;
    return busy;
}

static void receive(struct load *load)
{
    struct tg_fault fault;
    if (tgc_poll(load->client, WAIT_MS, &fault) != TG_ERR_OK)
        fail(fault.text);
}

static void drain(struct load *load)
{
    while (in_flight(load))
        receive(load);
}

static void begin_phase(struct load *load, const char *name)
{
    struct fact_phase phase = {.begins = crash_log_at(load->log)};
    snprintf(phase.name, sizeof(phase.name), "%s", name);
    facts_add(&load->facts->phases, &phase, sizeof(phase));
}

static void play(struct load *load, const struct phase *phase, uint32_t answers)
{
    static const uint32_t widths[] = {1, 3, 12, ACTORS};
    uint64_t end = load->answers + answers, change = 0;
    uint32_t width = 1;
    begin_phase(load, phase->name);
    while (load->answers < end) {
        if (load->answers >= change) {
            width = widths[draw(load, sizeof(widths) / sizeof(widths[0]))];
            change = load->answers + WIDTH_ANSWERS;
        }
        for (uint32_t i = 0; i < width; i++)
            if (!load->actors[i].is_busy)
                act(&load->actors[i], draw_kind(load, phase));
        if (in_flight(load))
            receive(load);
    }
    drain(load);
}

static void do_now(struct load *load)
{
    send(&load->actors[0]);
    drain(load);
}

static void make_world(struct load *load)
{
    static const char *const names[] = {"passing", "erp", "crm", "wms"};
    struct actor *actor = &load->actors[0];
    for (uint32_t i = 0; i < SALES; i++) {
        struct sale *sale = new_sale(load, &plans[i]);
        *actor = (struct actor){
            .load = load,
            .target = &sale->state,
            .wish = {.kind = WISH_OPERATE, .sale = &sale->plan, .operation = WISH_CREATE_SALE}};
        do_now(load);
        if (sale->state.value != TG_SALE_ACTIVE)
            fail("a sale was refused");
    }
    for (uint32_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct group *group = &load->groups[i];
        group->name = names[i];
        target_begin(&group->offset, "group", 0, names[i]);
        *actor = (struct actor){
            .load = load,
            .target = &group->offset,
            .wish = {.kind = WISH_GROUP, .group = names[i], .operation = WISH_CREATE_GROUP}};
        do_now(load);
    }
}

static void log_in(struct load *load, const struct host *host)
{
    struct tg_fault fault;
    struct tgc_options options = {.server = host->address};
    if (tgc_open(&options, &load->client, &fault) != TG_ERR_OK)
        fail(fault.text);
}

/* Killed while nobody waits for an answer but timers fire; found again as it was. */
static void restart(struct load *load, struct host *host)
{
    begin_phase(load, "restart");
    tgc_close(load->client);
    host_kill(host);
    host_start(host);
    log_in(load, host);
}

/* All that is unpaid expires; acks keep the outbox small meanwhile. */
static void let_expire(struct load *load)
{
    static const struct phase acks = {"expiry", {[WISH_GROUP] = 100}};
    begin_phase(load, acks.name);
    for (int waited_ms = 0; waited_ms < EXPIRY_MS; waited_ms += EXPIRY_ACK_MS) {
        for (uint32_t i = 0; i < 4; i++)
            act(&load->actors[i], WISH_GROUP);
        drain(load);
        usleep(EXPIRY_ACK_MS * 1000);
    }
}

static void tell(const struct load *load)
{
    static const char *const names[WISH_KINDS] = {"place",  "cart",   "open",    "join",
                                                  "ingest", "change", "operate", "group"};
    fprintf(stderr, "crash: %" PRIu64 " answers (done/asked):", load->answers);
    for (uint32_t i = 0; i < WISH_KINDS; i++)
        fprintf(stderr, " %s %" PRIu64 "/%" PRIu64, names[i], load->done[i], load->seen[i]);
    fprintf(stderr, "\n");
}

void load_run(struct host *host, const struct crash_log *log, uint64_t seed, uint32_t answers,
              struct facts *facts)
{
    struct load *load = calloc(1, sizeof(*load));
    if (!load)
        fail("no memory");
    load->log = log;
    load->facts = facts;
    tg_rng_init(&load->rng, seed);
    begin_phase(load, "start");
    host_start(host);
    log_in(load, host);
    make_world(load);
    for (uint32_t i = 0; i < ACTORS; i++)
        load->actors[i] = (struct actor){.load = load};
    for (uint32_t i = 0; i < sizeof(phases) / sizeof(phases[0]); i++) {
        play(load, &phases[i], answers);
        if (i == sizeof(phases) / sizeof(phases[0]) / 2)
            restart(load, host);
    }
    let_expire(load);
    tell(load);
    tgc_close(load->client);
    host_stop(host);
    free(load);
}
