#include "tests/lib/ledger.h"

#include <criterion/criterion.h>
#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

#define ORDERS_MAX   65536
#define TEAMS_MAX    16384
#define MESSAGES_MAX 65536
#define AT           "seed %#lx, %u orders", ledger->seed, ledger->order_count

/* --- what storage keeps --- */

struct ledger_order *ledger_find(struct ledger *ledger, uint64_t order_id)
{
    uint32_t low = 0;
    uint32_t high = ledger->order_count;
    while (low < high) { /* ids grow */
        uint32_t middle = (low + high) / 2;
        if (ledger->orders[middle].row.order_id < order_id)
            low = middle + 1;
        else
            high = middle;
    }
    bool found = low < ledger->order_count && ledger->orders[low].row.order_id == order_id;
    return found ? &ledger->orders[low] : NULL;
}

struct tg_team *ledger_team(struct ledger *ledger, uint64_t team_id)
{
    for (uint32_t i = 0; i < ledger->team_count; i++)
        if (ledger->teams[i].team_id == team_id)
            return &ledger->teams[i];
    return NULL;
}

static struct eng_item *item_of(struct ledger *ledger, const struct tg_order_row *row)
{
    return &ledger->engine.catalog.items[row->item];
}

static enum eng_load load_order(void *context, uint64_t order_id, struct tg_order_row *row,
                                struct tg_life *life, bool *has_life)
{
    struct ledger *ledger = context;
    struct ledger_order *order = ledger_find(ledger, order_id);
    if (ledger->unreadable)
        return ENG_UNREADABLE;
    if (!order)
        return ENG_ABSENT;
    *row = order->row;
    *life = order->life;
    *has_life = order->has_life;
    return ENG_LOADED;
}

static enum eng_load load_team(void *context, uint64_t team_id, struct tg_team *team)
{
    struct ledger *ledger = context;
    struct tg_team *known = ledger_team(ledger, team_id);
    if (ledger->unreadable)
        return ENG_UNREADABLE;
    if (!known)
        return ENG_ABSENT;
    *team = *known;
    return ENG_LOADED;
}

static enum eng_load load_ingested(void *context, const uint8_t request_id[TG_REQUEST_ID_BYTES],
                                   uint64_t *order_id)
{
    struct ledger *ledger = context;
    for (uint32_t i = 0; i < ledger->order_count; i++) {
        const struct tg_order_row *row = &ledger->orders[i].row;
        if (!(row->flags & TG_ORDER_INGESTED) ||
            memcmp(row->request_id, request_id, TG_REQUEST_ID_BYTES) != 0)
            continue;
        *order_id = row->order_id;
        return ENG_LOADED;
    }
    return ENG_ABSENT;
}

/* --- making it --- */

struct ledger *ledger_create(uint32_t shards)
{
    /* Journals stand on cache lines of their own. */
    struct ledger *ledger = aligned_alloc(alignof(struct ledger), sizeof(*ledger));
    cr_assert(ledger);
    memset(ledger, 0, sizeof(*ledger));
    struct eng_config config = {
        .shards = shards,
        .sales_max = 8,
        .items_max = LEDGER_ITEMS_MAX,
        .orders_max = ORDERS_MAX,
        .holdings_max = 65536,
        .timers_max = 2 * ORDERS_MAX,
        .request_ttl_ms = 1000ll * 3600 * 1000,
        .now_ms = LEDGER_START_MS,
        .hash_seed = 7,
    };
    struct tg_fault fault;
    cr_assert_eq(eng_engine_create(&config, &ledger->engine, &fault), TG_ERR_OK, "%s", fault.text);
    for (uint32_t i = 0; i < shards; i++) {
        tg_journal_init(&ledger->journals[i], calloc(TG_JOURNAL_RECORDS, sizeof(struct tg_record)));
        ledger->engine.shards[i].loader = (struct eng_loader){
            .context = ledger,
            .order = load_order,
            .team = load_team,
            .ingested = load_ingested,
        };
    }
    ledger->orders = calloc(ORDERS_MAX, sizeof(*ledger->orders));
    ledger->teams = calloc(TEAMS_MAX, sizeof(*ledger->teams));
    ledger->messages = calloc(MESSAGES_MAX, sizeof(*ledger->messages));
    ledger->now_ms = LEDGER_START_MS;
    return ledger;
}

void ledger_destroy(struct ledger *ledger)
{
    for (uint32_t i = 0; i < ledger->engine.config.shards; i++)
        free(ledger->journals[i].records);
    eng_engine_destroy(&ledger->engine);
    free(ledger->orders);
    free(ledger->teams);
    free(ledger->messages);
    free(ledger);
}

struct tg_sale_def *ledger_sale(uint64_t sale_id, uint32_t item_count)
{
    struct tg_sale_def *def = tg_sale_def_create(item_count);
    def->sale_id = sale_id;
    def->kind = TG_SALE_SECKILL;
    def->name_bytes = 1;
    def->name[0] = 's';
    memcpy(def->currency, "EUR", TG_CURRENCY_BYTES);
    def->starts_at_ms = LEDGER_START_MS;
    def->ends_at_ms = LEDGER_START_MS + 24ll * 3600 * 1000;
    def->payment_window_s = TG_PAYMENT_WINDOW_S_DEFAULT;
    for (uint32_t i = 0; i < item_count; i++) {
        struct tg_item_def *item = &def->items[i];
        item->sku_bytes = 1;
        item->sku[0] = (uint8_t)('A' + i);
        item->list_price_minor = 100;
        item->sale_price_minor = 100;
        item->stock_units = 10;
        item->stock_policy = TG_POLICY_RESERVE;
    }
    return def;
}

struct tg_sale_def *ledger_group_buy(uint64_t sale_id, uint32_t item_count)
{
    struct tg_sale_def *def = ledger_sale(sale_id, item_count);
    def->kind = TG_SALE_GROUP_BUY;
    def->team = (struct tg_team_rules){
        .team_size = 3,
        .at_deadline = TG_DEADLINE_FAIL,
        .team_lifetime_s = 3600,
    };
    return def;
}

struct eng_item *ledger_add(struct ledger *ledger, struct tg_sale_def *def)
{
    bool full;
    cr_assert_eq(eng_sale_def_check(def), TG_FIELD_NONE, "%s",
                 tg_field_name(eng_sale_def_check(def)));
    cr_assert_eq(eng_catalog_prepare(&ledger->engine.catalog, def, &full), TG_OK);
    eng_engine_publish_sale(&ledger->engine, def);
    struct eng_item *first = &ledger->engine.catalog.items[def->items[0].item];
    for (uint32_t i = 0; i < def->item_count; i++)
        ledger->stock[def->items[i].item] = eng_item_stock(first + i);
    for (uint32_t i = 0; i < ledger->engine.config.shards; i++)
        ledger->timers_promised[i] = ledger->engine.shards[i].timers_promised;
    free(def);
    return first;
}

/* --- deciding --- */

static struct eng_shard *shard_of(struct ledger *ledger, uint64_t order_id)
{
    uint64_t partition = order_id & (TG_PARTITIONS - 1);
    return &ledger->engine.shards[partition % ledger->engine.config.shards];
}

static struct eng_unit unit_of(struct ledger *ledger, const struct eng_shard *shard)
{
    return (struct eng_unit){.journal = &ledger->journals[shard->shard]};
}

/* Every decision ends here. */
static enum eng_step append(struct eng_unit *unit, enum eng_step step)
{
    cr_assert_eq(step == ENG_RECORDED, unit->count > 0);
    if (unit->count > 0)
        tg_journal_append_unit(unit->journal, unit->count);
    return step;
}

static void next_request(struct ledger *ledger, uint8_t request_id[TG_REQUEST_ID_BYTES])
{
    ledger->next_request++;
    memset(request_id, 0, TG_REQUEST_ID_BYTES);
    memcpy(request_id, &ledger->next_request, sizeof(ledger->next_request));
}

struct tg_order ledger_order_of(struct ledger *ledger, uint64_t user_id, int64_t price)
{
    struct tg_order order = {.user_id = user_id, .unit_price_minor = price, .quantity = 1};
    next_request(ledger, order.request_id);
    return order;
}

struct eng_decision ledger_place(struct ledger *ledger, struct eng_item *item,
                                 const struct tg_order *order)
{
    struct tg_journal *journal = &ledger->journals[item->shard];
    struct eng_decision decision;
    eng_shard_place(&ledger->engine.shards[item->shard], item, order, ledger->now_ms,
                    tg_journal_reserve(journal), &decision);
    if (decision.verdict == TG_ACCEPTED && !decision.replayed)
        tg_journal_append(journal);
    return decision;
}

enum eng_step ledger_open(struct ledger *ledger, struct eng_item *item,
                          const struct tg_order *order, struct eng_decision *decision)
{
    struct eng_shard *shard = &ledger->engine.shards[item->shard];
    struct eng_unit unit = unit_of(ledger, shard);
    return append(&unit, eng_team_open(shard, item, order, ledger->now_ms, &unit, decision));
}

enum eng_step ledger_join(struct ledger *ledger, struct eng_item *item, uint64_t team_id,
                          const struct tg_order *order, struct eng_decision *decision)
{
    struct eng_shard *shard = &ledger->engine.shards[item->shard];
    struct eng_unit unit = unit_of(ledger, shard);
    return append(
        &unit, eng_team_join(shard, item, team_id, true, order, ledger->now_ms, &unit, decision));
}

enum eng_step ledger_ingest(struct ledger *ledger, struct eng_item *item,
                            const struct tg_order *order, const struct tg_payment *payment,
                            struct eng_decision *decision)
{
    struct eng_shard *shard = &ledger->engine.shards[item->shard];
    struct eng_unit unit = unit_of(ledger, shard);
    return append(&unit, eng_ingest(shard, item, order, ledger->now_ms, payment, ledger->now_ms,
                                    &unit, decision));
}

struct eng_command ledger_command(struct ledger *ledger, uint64_t order_id,
                                  enum eng_change_kind kind)
{
    struct eng_command command = {.order_id = order_id, .kind = (uint8_t)kind};
    next_request(ledger, command.request_id);
    return command;
}

struct eng_command ledger_payment(struct ledger *ledger, uint64_t order_id, uint8_t number)
{
    struct eng_command command = ledger_command(ledger, order_id, ENG_RECORD_PAYMENT);
    command.payment = (struct tg_payment){
        .amount_minor = ledger_life(ledger, order_id)->amount_minor,
        .paid_at_ms = 1000 + number,
        .id_bytes = 1,
        .id = {number},
    };
    memcpy(command.payment.currency, "EUR", TG_CURRENCY_BYTES);
    return command;
}

enum eng_step ledger_change(struct ledger *ledger, const struct eng_command *command,
                            struct eng_result *result)
{
    struct eng_shard *shard = shard_of(ledger, command->order_id);
    struct eng_unit unit = unit_of(ledger, shard);
    struct eng_take take;
    enum eng_step step =
        eng_life_change(shard, command, ENG_NOT_ASKED, ledger->now_ms, &unit, &take, result);
    cr_assert_neq(step, ENG_ACQUIRE);
    return append(&unit, step);
}

static uint32_t fire_shard(struct ledger *ledger, struct eng_shard *shard)
{
    struct eng_timer timers[64];
    uint32_t fired = 0;
    uint32_t count;
    while ((count = eng_wheel_due(shard->wheel, ledger->now_ms, timers, 64)) > 0 ||
           eng_wheel_next_ms(shard->wheel) <= ledger->now_ms)
        for (uint32_t i = 0; i < count; i++) {
            struct eng_unit unit = unit_of(ledger, shard);
            cr_assert_leq(timers[i].due_ms, ledger->now_ms);
            fired += append(&unit, eng_timer_fire(shard, &timers[i], ledger->now_ms, &unit)) ==
                     ENG_RECORDED;
        }
    return fired;
}

uint32_t ledger_fire(struct ledger *ledger)
{
    uint32_t fired = 0;
    for (uint32_t i = 0; i < ledger->engine.config.shards; i++)
        fired += fire_shard(ledger, &ledger->engine.shards[i]);
    return fired;
}

/* --- the writer --- */

static void move(struct ledger *ledger, uint32_t number, uint8_t units, int64_t difference)
{
    struct tg_stock *stock = &ledger->stock[number];
    uint32_t *counts[] = {&stock->available_units, &stock->reserved_units, &stock->sold_units};
    int64_t count = *counts[units] + difference;
    cr_assert_geq(count, 0, AT);
    *counts[units] = (uint32_t)count;
}

static void move_lines(struct ledger *ledger, const struct tg_order_row *row, uint8_t before,
                       uint8_t after)
{
    for (uint32_t i = 0; i < row->line_count; i++) {
        move(ledger, row->lines[i].item, after, row->lines[i].quantity);
        move(ledger, row->lines[i].item, before, -(int64_t)row->lines[i].quantity);
    }
    if (row->line_count > 0)
        return;
    move(ledger, row->item, after, row->quantity);
    move(ledger, row->item, before, -(int64_t)row->quantity);
}

static void event(struct ledger *ledger, uint8_t type)
{
    cr_assert(type > 0 && type < TG_EVENT_TYPE_COUNT, AT);
    ledger->sequence++;
    ledger->events[type]++;
}

static struct ledger_order *add_order(struct ledger *ledger, struct tg_order_row *row)
{
    cr_assert_lt(ledger->order_count, ORDERS_MAX);
    event(ledger, TG_EVENT_ORDER_PLACED);
    row->order_id = ledger->sequence << TG_PARTITION_BITS | item_of(ledger, row)->partition;
    if (row->flags & TG_ORDER_CAPTAIN)
        row->team_id = row->order_id;
    struct ledger_order *order = &ledger->orders[ledger->order_count++];
    *order = (struct ledger_order){.row = *row};
    eng_life_initial(item_of(ledger, row), row, &order->life);
    return order;
}

static void write_order(struct ledger *ledger, struct tg_record *record)
{
    struct tg_order_row row = {
        .user_id = record->order.user_id,
        .unit_price_minor = record->order.unit_price_minor,
        .accepted_at_ms = record->at_ms,
        .item = record->item,
        .quantity = record->order.quantity,
        .channel = record->order.channel,
        .external_bytes = record->order.external_bytes,
    };
    memcpy(row.request_id, record->order.request_id, TG_REQUEST_ID_BYTES);
    memcpy(row.external_id, record->order.external_id, TG_EXTERNAL_BYTES_MAX);
    const struct ledger_order *order = add_order(ledger, &row);
    move_lines(ledger, &row, TG_UNITS_NONE, order->life.units);
    record->order_id = row.order_id;
}

static bool same_but_for_changes(const struct tg_life *a, const struct tg_life *b)
{
    return a->state == b->state && a->units == b->units && a->amount_minor == b->amount_minor &&
           a->payment_deadline_ms == b->payment_deadline_ms && b->payment_count == 0 &&
           b->refund_count == 0 && b->version == 0;
}

static void write_change(struct ledger *ledger, struct tg_record *record)
{
    struct tg_change *change = record->change;
    struct ledger_order *order;
    if (change->creates) {
        order = add_order(ledger, &change->row);
        record->order_id = order->row.order_id;
        if (!change->stores_life)
            cr_assert(same_but_for_changes(&order->life, &change->life), AT);
    } else {
        order = ledger_find(ledger, change->row.order_id);
        cr_assert(order && change->stores_life && change->event_count > 0, AT);
        cr_assert_eq(change->life.version, order->life.version + 1, AT);
        cr_assert_eq(change->units_before, order->life.units, AT);
        cr_assert_eq(change->stands_before, eng_state_stands(order->life.state), AT);
        cr_assert_eq(record->order_id, change->row.order_id, AT);
    }
    move_lines(ledger, &order->row, change->units_before, change->life.units);
    for (uint32_t i = 0; i < change->event_count; i++)
        event(ledger, change->events[i].type);
    change->life.last_event = ledger->sequence;
    order->has_life = change->stores_life;
    order->life = change->life;
}

static void write_team(struct ledger *ledger, struct tg_record *record)
{
    struct tg_team *team = record->team.team;
    uint64_t newest = ledger->orders[ledger->order_count - 1].row.order_id;
    if (team->team_id == 0)
        team->team_id = newest;
    if (team->captain_order_id == 0)
        team->captain_order_id = newest;
    for (uint32_t i = 0; i < team->seat_count; i++)
        if (team->seats[i].order_id == 0)
            team->seats[i].order_id = newest;
    if (record->team.event)
        event(ledger, record->team.event);
    struct tg_team *known = ledger_team(ledger, team->team_id);
    if (known) /* what has ended never changes */
        cr_assert(known->state == TG_TEAM_PENDING || known->state == TG_TEAM_OPEN, AT);
    else
        known = &ledger->teams[ledger->team_count++];
    cr_assert_lt(ledger->team_count, TEAMS_MAX);
    *known = *team;
}

static void write_record(struct ledger *ledger, struct tg_record *record)
{
    switch ((enum tg_record_kind)record->kind) {
    case TG_RECORD_ORDER:
        write_order(ledger, record);
        break;
    case TG_RECORD_CHANGE:
        write_change(ledger, record);
        break;
    case TG_RECORD_TEAM:
        write_team(ledger, record);
        break;
    case TG_RECORD_SALE_EVENT:
        event(ledger, record->sale_event.announced == TG_ANNOUNCED_START ? TG_EVENT_SALE_STARTED
                                                                         : TG_EVENT_SALE_ENDED);
        break;
    case TG_RECORD_ADJUST:
    case TG_RECORD_SALE:
    case TG_RECORD_SALE_STATE:
    case TG_RECORD_FENCE:
    case TG_RECORD_GROUP:
        cr_assert_fail("nobody writes these here");
    }
}

void ledger_commit(struct ledger *ledger, uint32_t shard, bool durable)
{
    struct tg_span spans[2];
    uint32_t count = tg_journal_take(&ledger->journals[shard], TG_JOURNAL_RECORDS, spans);
    for (uint32_t s = 0; s < count; s++)
        for (uint32_t i = 0; i < spans[s].count; i++) {
            struct tg_record *record = &spans[s].records[i];
            if (durable)
                write_record(ledger, record);
            record->outcome = durable ? TG_OUTCOME_DURABLE : TG_OUTCOME_REFUSED;
        }
    tg_journal_publish(&ledger->journals[shard]);
}

/* --- settling --- */

static void tell_others(struct ledger *ledger, uint32_t from, const struct eng_take *spread)
{
    uint64_t shards = eng_take_shards(&ledger->engine, spread);
    for (uint32_t i = 0; i < ledger->engine.config.shards; i++)
        if (i != from && (shards >> i & 1)) {
            cr_assert_lt(ledger->message_tail, MESSAGES_MAX);
            ledger->messages[ledger->message_tail++] =
                (struct ledger_message){.to = i, .take = *spread};
        }
}

static void settle_record(struct ledger *ledger, struct eng_shard *shard,
                          const struct tg_record *record)
{
    struct eng_take spread = {.line_count = 0};
    if (record->kind != TG_RECORD_ORDER)
        eng_life_settle(shard, record, &spread);
    else if (record->outcome == TG_OUTCOME_DURABLE)
        eng_shard_order_durable(shard, record);
    else
        eng_shard_order_refused(shard, record);
    if (spread.line_count > 0)
        tell_others(ledger, shard->shard, &spread);
}

void ledger_settle(struct ledger *ledger, uint32_t shard)
{
    struct tg_record *record;
    uint64_t sequence;
    while ((record = tg_journal_completion(&ledger->journals[shard], &sequence))) {
        settle_record(ledger, &ledger->engine.shards[shard], record);
        tg_journal_release(&ledger->journals[shard]);
    }
}

bool ledger_deliver(struct ledger *ledger)
{
    if (ledger->message_head == ledger->message_tail)
        return false;
    const struct ledger_message *message = &ledger->messages[ledger->message_head++];
    eng_take_settle(&ledger->engine.shards[message->to], &message->take);
    if (ledger->message_head == ledger->message_tail)
        ledger->message_head = ledger->message_tail = 0;
    return true;
}

void ledger_run(struct ledger *ledger, bool durable)
{
    for (uint32_t i = 0; i < ledger->engine.config.shards; i++) {
        ledger_commit(ledger, i, durable);
        ledger_settle(ledger, i);
    }
    while (ledger_deliver(ledger))
        ;
}

/* --- decide, run, look --- */

enum tg_verdict ledger_do(struct ledger *ledger, const struct eng_command *command)
{
    struct eng_result result;
    enum eng_step step = ledger_change(ledger, command, &result);
    cr_assert(step == ENG_FINAL || step == ENG_RECORDED);
    ledger_run(ledger, true);
    ledger_check_rest(ledger);
    return result.verdict;
}

enum tg_verdict ledger_pay(struct ledger *ledger, uint64_t order_id, uint8_t number)
{
    struct eng_command command = ledger_payment(ledger, order_id, number);
    return ledger_do(ledger, &command);
}

enum tg_verdict ledger_cancel(struct ledger *ledger, uint64_t order_id)
{
    struct eng_command command = ledger_command(ledger, order_id, ENG_CANCEL);
    command.cancelled_by = TG_CANCELLED_BY_BUYER;
    return ledger_do(ledger, &command);
}

static uint64_t newest(struct ledger *ledger)
{
    ledger_run(ledger, true);
    ledger_check_rest(ledger);
    return ledger->orders[ledger->order_count - 1].row.order_id;
}

uint64_t ledger_buy(struct ledger *ledger, struct eng_item *item, uint64_t user_id)
{
    struct tg_order order = ledger_order_of(ledger, user_id, item->sale_price_minor);
    cr_assert_eq(ledger_place(ledger, item, &order).verdict, TG_ACCEPTED);
    return newest(ledger);
}

uint64_t ledger_opened(struct ledger *ledger, struct eng_item *item, uint64_t user_id)
{
    struct tg_order order = ledger_order_of(ledger, user_id, item->captain_price_minor);
    struct eng_decision decision;
    cr_assert_eq(ledger_open(ledger, item, &order, &decision), ENG_RECORDED, "%s",
                 tg_verdict_name((int)decision.verdict));
    return newest(ledger);
}

uint64_t ledger_joined(struct ledger *ledger, struct eng_item *item, uint64_t team_id,
                       uint64_t user_id)
{
    struct tg_order order = ledger_order_of(ledger, user_id, item->sale_price_minor);
    struct eng_decision decision;
    cr_assert_eq(ledger_join(ledger, item, team_id, &order, &decision), ENG_RECORDED, "%s",
                 tg_verdict_name((int)decision.verdict));
    return newest(ledger);
}

void ledger_wait(struct ledger *ledger, int64_t ms)
{
    ledger->now_ms += ms;
    ledger_fire(ledger);
    ledger_run(ledger, true);
    ledger_check_rest(ledger);
}

const struct tg_life *ledger_life(struct ledger *ledger, uint64_t order_id)
{
    const struct ledger_order *order = ledger_find(ledger, order_id);
    cr_assert(order);
    return &order->life;
}

enum tg_order_state ledger_state(struct ledger *ledger, uint64_t order_id)
{
    return (enum tg_order_state)ledger_life(ledger, order_id)->state;
}

/* --- invariants --- */

static void check_money(struct ledger *ledger, const struct tg_life *life)
{
    int64_t received = 0;
    int64_t sums[TG_REFUND_REFUNDED + 1] = {0};
    for (uint32_t i = 0; i < life->payment_count; i++)
        if (life->payments[i].status <= TG_PAYMENT_REFUND_DUE)
            received += life->payments[i].amount_minor;
    for (uint32_t i = 0; i < life->refund_count; i++)
        sums[life->refunds[i].status] += life->refunds[i].amount_minor;
    cr_assert_eq(life->received_minor, received, AT);
    cr_assert_eq(life->refund_due_minor, sums[TG_REFUND_DUE_STATUS], AT);
    cr_assert_eq(life->refunded_minor, sums[TG_REFUND_REFUNDED], AT);
    cr_assert_leq(sums[TG_REFUND_DUE_STATUS] + sums[TG_REFUND_REFUNDED] + sums[TG_REFUND_WAITING],
                  received, AT);
}

/* What each state says of the order's money and times. */
static void check_state(struct ledger *ledger, const struct tg_life *life)
{
    int64_t kept = life->received_minor - life->refund_due_minor - life->refunded_minor;
    switch ((enum tg_order_state)life->state) {
    case TG_ORDER_RESERVED:
        cr_assert_eq(life->received_minor, 0, AT);
        break;
    case TG_ORDER_AWAITING_TEAM:
        cr_assert(kept == life->amount_minor && life->paid_at_ms != 0, AT);
        cr_assert_eq(life->units, TG_UNITS_SOLD, AT);
        break;
    case TG_ORDER_CONFIRMED:
    case TG_ORDER_SHIPPED:
    case TG_ORDER_DELIVERED:
    case TG_ORDER_COMPLETED:
        cr_assert(life->paid_at_ms != 0 && life->confirmed_at_ms != 0, AT);
        cr_assert_eq(life->units, TG_UNITS_SOLD, AT);
        break;
    case TG_ORDER_EXPIRED:
    case TG_ORDER_CANCELLED:
    case TG_ORDER_TEAM_FAILED:
        cr_assert(life->received_minor == 0 && life->ended_at_ms != 0, AT);
        cr_assert_eq(life->units, TG_UNITS_NONE, AT);
        break;
    case TG_ORDER_REFUND_DUE:
        cr_assert(kept == 0 && life->refund_due_minor > 0, AT);
        break;
    case TG_ORDER_REFUNDED:
        cr_assert(kept == 0 && life->refund_due_minor == 0 && life->refunded_at_ms != 0, AT);
        break;
    case TG_ORDER_PAID:
    case TG_ORDER_STATE_COUNT:
        cr_assert_fail("nothing rests there");
    }
}

static void check_seat(struct ledger *ledger, const struct tg_team *team,
                       const struct tg_seat *seat)
{
    const struct ledger_order *order = ledger_find(ledger, seat->order_id);
    cr_assert(order && order->row.team_id == team->team_id, AT);
    cr_assert_eq(order->row.user_id, seat->user_id, AT);
    switch ((enum tg_team_state)team->state) {
    case TG_TEAM_PENDING:
    case TG_TEAM_OPEN:
        cr_assert_eq(order->life.state,
                     seat->paid_at_ms ? TG_ORDER_AWAITING_TEAM : TG_ORDER_RESERVED, AT);
        break;
    case TG_TEAM_STATE_FORMED:
        cr_assert(order->life.confirmed_at_ms != 0 && seat->paid_at_ms != 0, AT);
        break;
    case TG_TEAM_STATE_FAILED:
    case TG_TEAM_DISSOLVED:
        cr_assert_eq(order->life.confirmed_at_ms, 0, AT);
        break;
    }
}

static void check_team(struct ledger *ledger, const struct tg_team *team)
{
    bool captain = false;
    cr_assert_leq(team->seat_count, team->size, AT);
    for (uint32_t i = 0; i < team->seat_count; i++) {
        check_seat(ledger, team, &team->seats[i]);
        captain = captain || team->seats[i].order_id == team->captain_order_id;
        for (uint32_t j = 0; j < i; j++)
            cr_assert_neq(team->seats[i].user_id, team->seats[j].user_id, AT);
    }
    if (team->state <= TG_TEAM_STATE_FORMED)
        cr_assert(captain, AT);
    if (team->state == TG_TEAM_OPEN || team->state == TG_TEAM_STATE_FORMED)
        cr_assert_neq(ledger_find(ledger, team->captain_order_id)->life.paid_at_ms, 0, AT);
}

/* A member that waits has its seat, and a team that is not over. */
static void check_member(struct ledger *ledger, const struct ledger_order *order)
{
    bool waits =
        order->life.state == TG_ORDER_RESERVED || order->life.state == TG_ORDER_AWAITING_TEAM;
    const struct tg_team *team = ledger_team(ledger, order->row.team_id);
    cr_assert(team, AT);
    bool seated = false;
    for (uint32_t i = 0; i < team->seat_count; i++)
        seated = seated || team->seats[i].order_id == order->row.order_id;
    if (waits)
        cr_assert(seated && team->state <= TG_TEAM_OPEN, AT);
    if (order->life.confirmed_at_ms != 0)
        cr_assert(seated && team->state == TG_TEAM_STATE_FORMED, AT);
}

static void check_stock(struct ledger *ledger)
{
    uint64_t units[LEDGER_ITEMS_MAX][TG_UNITS_SOLD + 1];
    memset(units, 0, sizeof(units));
    for (uint32_t i = 0; i < ledger->order_count; i++) {
        const struct ledger_order *order = &ledger->orders[i];
        for (uint32_t l = 0; l < order->row.line_count; l++)
            units[order->row.lines[l].item][order->life.units] += order->row.lines[l].quantity;
        if (order->row.line_count == 0)
            units[order->row.item][order->life.units] += order->row.quantity;
    }
    for (uint32_t i = 0; i < LEDGER_ITEMS_MAX; i++) {
        const struct tg_stock *stock = &ledger->stock[i];
        cr_assert(tg_stock_holds(stock), "item %u, seed %#lx", i, ledger->seed);
        cr_assert_eq(stock->reserved_units, units[i][TG_UNITS_RESERVED], AT);
        cr_assert_eq(stock->sold_units, units[i][TG_UNITS_SOLD], AT);
    }
}

void ledger_check(struct ledger *ledger)
{
    check_stock(ledger);
    for (uint32_t i = 0; i < ledger->order_count; i++) {
        const struct ledger_order *order = &ledger->orders[i];
        check_money(ledger, &order->life);
        check_state(ledger, &order->life);
        if (order->row.team_id != 0)
            check_member(ledger, order);
    }
    for (uint32_t i = 0; i < ledger->team_count; i++)
        check_team(ledger, &ledger->teams[i]);
}

/* --- at rest --- */

static void check_memory_stock(struct ledger *ledger)
{
    for (uint32_t i = 0; i < ledger->engine.catalog.item_count; i++) {
        const struct eng_item *item = &ledger->engine.catalog.items[i];
        struct tg_stock stock = eng_item_stock(item);
        cr_assert_eq(stock.available_units, ledger->stock[i].available_units, "item %u: %u %u", i,
                     stock.available_units, ledger->stock[i].available_units);
        cr_assert_eq(stock.reserved_units, ledger->stock[i].reserved_units, AT);
        cr_assert_eq(stock.sold_units, ledger->stock[i].sold_units, AT);
        cr_assert_eq(atomic_load(&item->stock.held_units), 0, AT);
        cr_assert_eq(item->orders_in_flight, 0, AT);
    }
}

/* Adds what one line of a standing order counts for. */
static void count_line(struct ledger *ledger, struct eng_holdings *counted,
                       const struct tg_order_row *row, const struct tg_line *line)
{
    const struct eng_item *item = &ledger->engine.catalog.items[line->item];
    const struct eng_sale *sale = item->sale;
    struct eng_holdings *holdings = &counted[item->shard];
    if (item->per_user_limit != 0)
        eng_holdings_add(holdings, row->user_id, item->item, line->quantity);
    for (uint32_t i = 0; i < sale->share_count; i++)
        if (sale->shares[i].channel == row->channel)
            eng_holdings_add(holdings, row->channel, ENG_HELD_CHANNEL | item->item, line->quantity);
    if (sale->team.new_buyers_only)
        eng_holdings_add(holdings, row->user_id, ENG_HELD_ORDERS | sale->sale, 1);
}

static void count_orders(struct ledger *ledger, struct eng_holdings *counted)
{
    for (uint32_t i = 0; i < ledger->order_count; i++) {
        const struct ledger_order *order = &ledger->orders[i];
        struct tg_line line = {.item = order->row.item, .quantity = order->row.quantity};
        if (!eng_state_stands(order->life.state))
            continue;
        for (uint32_t l = 0; l < order->row.line_count; l++)
            count_line(ledger, counted, &order->row, &order->row.lines[l]);
        if (order->row.line_count == 0)
            count_line(ledger, counted, &order->row, &line);
    }
    for (uint32_t i = 0; i < ledger->team_count; i++) {
        const struct tg_team *team = &ledger->teams[i];
        const struct eng_item *item = &ledger->engine.catalog.items[team->item];
        if (team->state <= TG_TEAM_OPEN && item->sale->team.teams_per_user_max != 0)
            eng_holdings_add(&counted[item->shard], team->opener_user_id,
                             ENG_HELD_TEAMS | item->sale->sale, 1);
    }
}

/* The engine holds what the durable orders that stand add up to, and no more. */
static void check_holdings(struct ledger *ledger)
{
    struct eng_holdings counted[LEDGER_SHARDS_MAX];
    struct tg_fault fault;
    uint32_t shards = ledger->engine.config.shards;
    for (uint32_t i = 0; i < shards; i++)
        cr_assert_eq(eng_holdings_create(&counted[i], 65536, 7, &fault), TG_ERR_OK);
    count_orders(ledger, counted);
    for (uint32_t i = 0; i < shards; i++) {
        const struct eng_holdings *holdings = &ledger->engine.shards[i].holdings;
        cr_assert_eq(holdings->count, counted[i].count, AT);
        uint32_t slots = counted[i].directory.segment_count * ENG_SEGMENT_HOLDINGS;
        for (uint32_t s = 0; s < slots; s++) {
            const struct eng_holding *held = &counted[i].slots[s];
            if (held->units != 0)
                cr_assert_eq(eng_holdings_units(holdings, held->user_id, held->item), held->units,
                             AT);
        }
        eng_holdings_destroy(&counted[i]);
    }
}

void ledger_check_rest(struct ledger *ledger)
{
    ledger_check(ledger);
    check_memory_stock(ledger);
    check_holdings(ledger);
    for (uint32_t i = 0; i < ledger->engine.config.shards; i++) {
        const struct eng_shard *shard = &ledger->engine.shards[i];
        cr_assert_eq(shard->locks.count, 0, AT);
        cr_assert_eq(shard->changes_used, 0, AT);
        cr_assert_eq(shard->teams_used, 0, AT);
        cr_assert_eq(shard->timers_promised, ledger->timers_promised[i], AT);
    }
}
