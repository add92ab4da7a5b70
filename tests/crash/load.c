/* The world of the load, what its answers teach, and how it runs; think.c says what is asked for.
 */
#include "tests/crash/load_inner.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WAIT_MS       10000
#define WIDTH_ANSWERS 64   /* after so many another number of actors is busy */
#define EXPIRY_MS     3000 /* what is unpaid has expired by then */
#define EXPIRY_ACK_MS 100

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

static const struct phase phases[] = {
    {.name = "seckill", .shares = {[WISH_PLACE] = 85, [WISH_CHANGE] = 15}},
    {.name = "lifecycle", .shares = {[WISH_PLACE] = 25, [WISH_CHANGE] = 75}},
    {.name = "groupbuy", .shares = {[WISH_OPEN] = 15, [WISH_JOIN] = 35, [WISH_CHANGE] = 50}},
    {.name = "cart", .shares = {[WISH_CART] = 50, [WISH_CHANGE] = 50}},
    {.name = "ingest", .shares = {[WISH_INGEST] = 20, [WISH_CHANGE] = 80}},
    {.name = "operators", .shares = {[WISH_OPERATE] = 55, [WISH_PLACE] = 30, [WISH_CHANGE] = 15}},
    {.name = "outbox",
     .shares = {[WISH_GROUP] = 35, [WISH_READ] = 20, [WISH_CHANGE] = 35, [WISH_PLACE] = 10}},
    {.name = "full disk",
     .shares = {[WISH_PLACE] = 25,
                [WISH_CART] = 10,
                [WISH_OPEN] = 5,
                [WISH_JOIN] = 5,
                [WISH_INGEST] = 5,
                [WISH_CHANGE] = 40,
                [WISH_OPERATE] = 5,
                [WISH_GROUP] = 5},
     .is_full = true},
    {.name = "dead reader",
     .shares = {[WISH_PLACE] = 30, [WISH_CHANGE] = 50, [WISH_GROUP] = 10, [WISH_READ] = 10},
     .has_reader = true},
    {.name = "mixed",
     .shares = {[WISH_PLACE] = 20,
                [WISH_CART] = 10,
                [WISH_OPEN] = 5,
                [WISH_JOIN] = 10,
                [WISH_INGEST] = 3,
                [WISH_CHANGE] = 35,
                [WISH_OPERATE] = 6,
                [WISH_GROUP] = 6,
                [WISH_READ] = 5}},
};

/* Of the loads that go on behind a power cut. */
static const struct phase phase_again = {.name = "goes on",
                                         .shares = {[WISH_PLACE] = 25,
                                                    [WISH_CART] = 10,
                                                    [WISH_OPEN] = 5,
                                                    [WISH_JOIN] = 8,
                                                    [WISH_INGEST] = 3,
                                                    [WISH_CHANGE] = 35,
                                                    [WISH_OPERATE] = 4,
                                                    [WISH_GROUP] = 5,
                                                    [WISH_READ] = 5}};

_Noreturn void load_fail(const char *what)
{
    fprintf(stderr, "crash: the load: %s\n", what);
    exit(CRASH_EXIT_UNABLE);
}

uint32_t load_draw(struct load *load, uint64_t bound)
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
    load->replays += answer->replayed ? 1 : 0;
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
        load_fail(answer->message);
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

/* What is read is durable, and so are the orders beside it. */
static bool take_read(struct load *load, const Tidegate__V1__Response *response, uint64_t position)
{
    if (response->kind_case == TIDEGATE__V1__RESPONSE__KIND_GET_ORDER) {
        if (response->get_order->order)
            learn_life(load, response->get_order->order, position);
        return response->get_order->order != NULL;
    }
    const Tidegate__V1__ConsumeEventsResponse *page = response->consume_events;
    for (size_t i = 0; i < page->n_events; i++) {
        struct fact_event fact = {.sequence = page->events[i]->sequence,
                                  .answered = position,
                                  .print = facts_print_event_message(page->events[i])};
        facts_add(&load->facts->events, &fact, sizeof(fact));
        if (page->events[i]->order)
            learn_life(load, page->events[i]->order, position);
    }
    return page->n_events > 0;
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
    case WISH_READ:
        return take_read(actor->load, response, position);
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
        load_fail(response->error->message);
    load->refusals += tgc_outcome_of(response).verdict == TG_STORAGE_FULL;
    load->done[actor->wish.kind] += take(actor, response, position);
    load->seen[actor->wish.kind]++;
    load->answers++;
    if (actor->target)
        actor->target->is_busy = false;
    actor->is_busy = false;
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
        load_fail(fault.text);
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

static void set_full(struct load *load, uint32_t full)
{
    atomic_store_explicit(&load->log->full, full, memory_order_relaxed);
}

static void play(struct load *load, const struct phase *phase, uint32_t answers)
{
    static const uint32_t widths[] = {1, 3, 12, ACTORS};
    uint64_t end = load->answers + answers, change = 0;
    uint32_t width = 1;
    begin_phase(load, phase->name);
    while (load->answers < end) {
        if (load->answers >= change) {
            width = widths[load_draw(load, sizeof(widths) / sizeof(widths[0]))];
            change = load->answers + WIDTH_ANSWERS;
            if (phase->is_full)
                set_full(load, load_draw(load, 3));
        }
        for (uint32_t i = 0; i < width; i++)
            if (!load->actors[i].is_busy && load_think(&load->actors[i], phase))
                send(&load->actors[i]);
        if (in_flight(load))
            receive(load);
    }
    drain(load);
    set_full(load, CRASH_ROOM);
}

/* With a full disk, orders must have been refused and others not; with a reader that dies, its
 * snapshot was held all the time. */
static void play_with(struct load *load, struct host *host, const struct phase *phase,
                      uint32_t answers)
{
    uint64_t refusals = load->refusals;
    pid_t reader = phase->has_reader ? host_hold_snapshot(host) : 0;
    play(load, phase, answers);
    if (reader)
        host_end_reader(reader);
    if (phase->is_full && (load->refusals == refusals || load->log->refused == 0))
        load_fail("the disk was never full");
}

static void do_now(struct load *load)
{
    send(&load->actors[0]);
    drain(load);
}

/* What the database says of it that the load begins on; false: it is not there. */
static bool find_target(struct target *target, const struct photo *photo)
{
    const struct facts_list *list = photo ? &photo->facts.registers : NULL;
    for (uint64_t i = 0; list && i < list->count; i++) {
        const struct fact_register *fact = FACTS_AT(fact_register, *list, i);
        if (fact->key == target->key) {
            target->value = fact->value;
            target->changes = 1; /* the photograph's fact is the first */
            return true;
        }
    }
    return false;
}

static void make_sale(struct load *load, const struct wish_sale *plan, const struct photo *photo)
{
    struct actor *actor = &load->actors[0];
    struct sale *sale = load_new_sale(load, plan);
    find_target(&sale->stock, photo);
    if (find_target(&sale->state, photo) || plan->sale_id >= FIRST_EXTRA_ID)
        return;
    *actor = (struct actor){
        .load = load,
        .target = &sale->state,
        .wish = {.kind = WISH_OPERATE, .sale = &sale->plan, .operation = WISH_CREATE_SALE}};
    do_now(load);
    if (sale->state.value != TG_SALE_ACTIVE)
        load_fail("a sale was refused");
}

static void make_group(struct load *load, struct group *group, const char *name,
                       const struct photo *photo)
{
    struct actor *actor = &load->actors[0];
    group->name = name;
    load_target_begin(&group->offset, "group", 0, name);
    if (find_target(&group->offset, photo))
        return;
    *actor =
        (struct actor){.load = load,
                       .target = &group->offset,
                       .wish = {.kind = WISH_GROUP, .group = name, .operation = WISH_CREATE_GROUP}};
    do_now(load);
}

/* Creates what is not there. */
static void make_world(struct load *load, const struct photo *photo)
{
    static const char *const names[] = {"passing", "erp", "crm", "wms"};
    uint32_t sales = load->past ? load->past->sale_count : SALES;
    for (uint32_t i = 0; i < sales; i++)
        make_sale(load, load->past ? &load->past->sales[i].plan : &plans[i], photo);
    for (uint32_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        make_group(load, &load->groups[i], names[i], photo);
    for (uint32_t i = 0; i < ACTORS; i++)
        load->actors[i] = (struct actor){.load = load};
}

/* Its newest orders and teams are those that changes go for. */
static void know_photo(struct load *load, const struct photo *photo)
{
    for (uint64_t i = 0; i < photo->orders.count; i++) {
        const struct photo_order *order = FACTS_AT(photo_order, photo->orders, i);
        load->pool[load->pool_count++ % POOL] = (struct known){.order_id = order->order_id,
                                                               .amount_minor = order->amount_minor,
                                                               .state = order->state,
                                                               .refunds = order->refunds};
        if (order->team_id == order->order_id) {
            load->team_skus[load->team_count % POOL] = order->sku;
            load->teams[load->team_count++ % POOL] = order->team_id;
        }
    }
    load->sequence_max = photo->sequence_max;
}

static void log_in(struct load *load, const struct host *host)
{
    struct tg_fault fault;
    struct tgc_options options = {.server = host->address};
    if (tgc_open(&options, &load->client, &fault) != TG_ERR_OK)
        load_fail(fault.text);
}

/* Killed while nobody waits for an answer but timers fire; found again as it was. */
static void restart(struct load *load, struct host *host)
{
    tgc_close(load->client);
    host_kill(host);
    host_start(host);
    log_in(load, host);
}

/* All that is unpaid expires; acks keep the outbox small meanwhile. */
static void let_expire(struct load *load)
{
    static const struct phase acks = {.name = "expiry", .shares = {[WISH_GROUP] = 100}};
    begin_phase(load, acks.name);
    for (int waited_ms = 0; waited_ms < EXPIRY_MS; waited_ms += EXPIRY_ACK_MS) {
        for (uint32_t i = 0; i < 4; i++)
            if (load_think(&load->actors[i], &acks))
                send(&load->actors[i]);
        drain(load);
        usleep(EXPIRY_ACK_MS * 1000);
    }
}

static void tell(const struct load *load)
{
    static const char *const names[WISH_KINDS] = {"place",  "cart",    "open",  "join", "ingest",
                                                  "change", "operate", "group", "read"};
    fprintf(stderr, "crash: %" PRIu64 " answers (done/asked):", load->answers);
    for (uint32_t i = 0; i < WISH_KINDS; i++)
        fprintf(stderr, " %s %" PRIu64 "/%" PRIu64, names[i], load->done[i], load->seen[i]);
    fprintf(stderr, "; refused by a full disk %" PRIu64 ", told again %" PRIu64 "\n",
            load->refusals, load->replays);
}

static struct load *load_begin(struct host *host, struct crash_log *log, uint64_t seed,
                               struct facts *facts)
{
    struct load *load = calloc(1, sizeof(*load));
    if (!load)
        load_fail("no memory");
    load->log = log;
    load->facts = facts;
    tg_rng_init(&load->rng, seed);
    begin_phase(load, "start");
    host_start(host);
    log_in(load, host);
    return load;
}

static void load_end(struct load *load, struct host *host)
{
    tell(load);
    tgc_close(load->client);
    load->client = NULL;
    host_stop(host);
}

struct load *load_run(struct host *host, struct crash_log *log, uint64_t seed, uint32_t answers,
                      struct facts *facts)
{
    struct load *load = load_begin(host, log, seed, facts);
    make_world(load, NULL);
    for (uint32_t i = 0; i < sizeof(phases) / sizeof(phases[0]); i++) {
        play_with(load, host, &phases[i], answers);
        if (i == sizeof(phases) / sizeof(phases[0]) / 2)
            restart(load, host);
    }
    let_expire(load);
    load_end(load, host);
    return load;
}

struct load *load_go_on(struct host *host, struct crash_log *log, uint64_t seed, uint32_t answers,
                        const struct load *past, uint64_t past_cut, const struct photo *photo,
                        struct facts *facts)
{
    struct load *load = load_begin(host, log, seed, facts);
    load->past = past;
    load->past_cut = past_cut;
    load->wishes = past ? (past->wishes >> 32 << 32) + (1ull << 32) : 0;
    for (uint64_t i = 0; i < photo->facts.orders.count; i++)
        facts_add(&facts->orders, FACTS_AT(fact_order, photo->facts.orders, i),
                  sizeof(struct fact_order));
    for (uint64_t i = 0; i < photo->facts.lives.count; i++)
        facts_add(&facts->lives, FACTS_AT(fact_life, photo->facts.lives, i),
                  sizeof(struct fact_life));
    for (uint64_t i = 0; i < photo->facts.registers.count; i++)
        facts_add(&facts->registers, FACTS_AT(fact_register, photo->facts.registers, i),
                  sizeof(struct fact_register));
    know_photo(load, photo);
    make_world(load, photo);
    play_with(load, host, &phase_again, answers);
    load_end(load, host);
    return load;
}

void load_free(struct load *load)
{
    if (load)
        free(load->history.at);
    free(load);
}
