#include "engine/shard.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/planted.h"
#include "engine/change.h"
#include "engine/count.h"

#include <stdlib.h>
#include <string.h>

/* A sweep looks at this part of a table, so that a whole round takes so many sweeps: rarely while
 * there is room, often when more than half of it is used. */
#define SWEEPS_A_ROUND_EASY   16384
#define SWEEPS_A_ROUND_URGENT 256
#define SWEEP_SLOTS_MIN       512
#define SWEEP_BUCKETS_MIN     96 /* each with up to seven entries elsewhere in memory */

/* --- memory --- */

/* An order and its team can be locked for one change, and an order longer than its change lives,
 * while other shards are asked for units. */
#define LOCKS_MAX (2 * TG_CHANGES_MAX)

static enum tg_error create_pools(struct eng_shard *shard, struct tg_fault *fault)
{
    shard->changes = tg_mem_map(TG_CHANGES_MAX * sizeof(*shard->changes));
    shard->teams = tg_mem_map(TG_CHANGES_MAX * sizeof(*shard->teams));
    if (shard->changes && shard->teams)
        return TG_ERR_OK;
    return tg_fault_set(fault, TG_ERR_NOMEM, "no memory for %d changes", TG_CHANGES_MAX);
}

/* The catalogue shard's wheel holds the start and the end of every sale besides: room for those to
 * come is promised from the beginning, so that no sale finds the wheel full of orders. */
static enum tg_error create_wheel(struct eng_shard *shard, const struct eng_config *config,
                                  struct tg_fault *fault)
{
    if (shard->shard == 0)
        shard->timers_promised = 2 * config->sales_max;
    return eng_wheel_create(&shard->wheel, config->timers_max + shard->timers_promised,
                            config->now_ms, fault);
}

static enum tg_error create_shard(struct eng_shard *shard, const struct eng_config *config,
                                  struct tg_fault *fault)
{
    enum tg_error error =
        eng_requests_create(&shard->requests, config->orders_max, config->hash_seed, fault);
    if (error == TG_ERR_OK)
        error =
            eng_holdings_create(&shard->holdings, config->holdings_max, config->hash_seed, fault);
    if (error == TG_ERR_OK)
        error = eng_locks_create(&shard->locks, LOCKS_MAX, fault);
    if (error == TG_ERR_OK)
        error = create_wheel(shard, config, fault);
    return error == TG_ERR_OK ? create_pools(shard, fault) : error;
}

static void destroy_shard(struct eng_shard *shard)
{
    eng_requests_destroy(&shard->requests);
    eng_holdings_destroy(&shard->holdings);
    eng_locks_destroy(&shard->locks);
    eng_wheel_destroy(shard->wheel);
    tg_mem_unmap(shard->changes, TG_CHANGES_MAX * sizeof(*shard->changes));
    tg_mem_unmap(shard->teams, TG_CHANGES_MAX * sizeof(*shard->teams));
}

enum tg_error eng_engine_create(const struct eng_config *config, struct eng_engine *engine,
                                struct tg_fault *fault)
{
    *engine = (struct eng_engine){.config = *config};
    size_t shards_bytes = config->shards * sizeof(*engine->shards);
    engine->shards = aligned_alloc(alignof(struct eng_shard), shards_bytes);
    engine->groups = calloc(1, sizeof(*engine->groups));
    if (engine->shards)
        memset(engine->shards, 0, shards_bytes);
    enum tg_error error = TG_ERR_OK;
    if (!engine->shards || !engine->groups)
        error = tg_fault_set(fault, TG_ERR_NOMEM, "no memory for %u shards", config->shards);
    if (error == TG_ERR_OK)
        error = eng_catalog_create(&engine->catalog, config->sales_max, config->items_max,
                                   config->shards, config->hash_seed, fault);
    for (uint32_t i = 0; i < config->shards && error == TG_ERR_OK; i++) {
        engine->shards[i].engine = engine;
        engine->shards[i].shard = i;
        error = create_shard(&engine->shards[i], config, fault);
    }
    if (error != TG_ERR_OK)
        eng_engine_destroy(engine);
    return error;
}

void eng_engine_destroy(struct eng_engine *engine)
{
    for (uint32_t i = 0; engine->shards && i < engine->config.shards; i++)
        destroy_shard(&engine->shards[i]);
    eng_catalog_destroy(&engine->catalog);
    free(engine->groups);
    engine->groups = NULL;
    free(engine->shards);
    engine->shards = NULL;
}

void eng_shard_extents(const struct eng_shard *shard, struct tg_extent extents[ENG_EXTENTS])
{
    const struct eng_requests *requests = &shard->requests;
    const struct eng_holdings *holdings = &shard->holdings;
    const size_t segment = ENG_SEGMENT_BUCKETS * sizeof(struct eng_bucket);
    const size_t held_segment = ENG_SEGMENT_HOLDINGS * sizeof(struct eng_holding);
    extents[0] = (struct tg_extent){
        .memory = (uint8_t *)requests->entries,
        .size = requests->orders_max * sizeof(struct eng_entry),
        .used = requests->entry_high_water * sizeof(struct eng_entry),
    };
    extents[1] = (struct tg_extent){
        .memory = (uint8_t *)requests->buckets,
        .size = requests->directory.segments_max * segment,
        .used = requests->directory.segment_count * segment,
    };
    extents[2] = (struct tg_extent){
        .memory = (uint8_t *)holdings->slots,
        .size = holdings->directory.segments_max * held_segment,
        .used = holdings->directory.segment_count * held_segment,
    };
    extents[3] = eng_wheel_extent(shard->wheel);
}

/* --- sales --- */

/* The room was promised when the wheel was made. */
static void set_sale_timer(struct eng_engine *engine, enum eng_timer_kind kind, int64_t due_ms,
                           uint32_t sale, bool announced)
{
    struct eng_shard *shard = &engine->shards[0];
    if (announced)
        eng_timers_return(shard, 1);
    else
        eng_timer_set(shard, due_ms, eng_timer_id(kind, sale));
}

static void set_sale_timers(struct eng_engine *engine, const struct tg_sale_def *def)
{
    set_sale_timer(engine, ENG_TIMER_SALE_START, def->starts_at_ms, def->sale,
                   def->announced & TG_ANNOUNCED_START);
    set_sale_timer(engine, ENG_TIMER_SALE_END, def->ends_at_ms, def->sale,
                   def->announced & TG_ANNOUNCED_END);
}

void eng_engine_publish_sale(struct eng_engine *engine, const struct tg_sale_def *def)
{
    eng_catalog_publish(&engine->catalog, def);
    set_sale_timers(engine, def);
}

enum tg_error eng_engine_restore_sale(struct eng_engine *engine, const struct tg_sale_def *def,
                                      const struct tg_stock *stocks, struct tg_fault *fault)
{
    enum tg_error error = eng_catalog_restore(&engine->catalog, def, stocks, fault);
    if (error == TG_ERR_OK)
        set_sale_timers(engine, def);
    return error;
}

/* --- the gate --- */

static void refuse(struct eng_decision *decision, enum tg_verdict verdict)
{
    eng_decide(decision, verdict,
               verdict == TG_INVALID_ARGUMENT ? TG_FIELD_PER_ORDER : TG_FIELD_NONE);
}

/* Of a PlaceOrder: the way into a group-buy is a team. */
static enum tg_verdict gate(const struct eng_item *item, const struct tg_order *order,
                            int64_t now_ms)
{
    if (item->is_team_only)
        return TG_TEAM_REQUIRED;
    return eng_item_gate(item, order->quantity, order->unit_price_minor, now_ms);
}

bool eng_gate_refuses(const struct eng_engine *engine, const struct eng_item *item,
                      const struct tg_order *order, int64_t now_ms, struct eng_decision *decision)
{
    enum tg_verdict verdict = gate(item, order, now_ms);
    if (verdict == TG_ACCEPTED || verdict == TG_BUSY)
        return false;
    /* A retry of an accepted order gets its first answer, however sold out the item is by now. */
    struct eng_request_key key = eng_request_key(order->request_id, engine->config.hash_seed);
    if (eng_request_elsewhere(engine, engine->config.shards, &key))
        return false;
    refuse(decision, verdict);
    return true;
}

/* --- placing an order --- */

static struct eng_buyer buyer_of(const struct tg_order *order)
{
    return (struct eng_buyer){.user_id = order->user_id, .channel = order->channel};
}

static void fill_record(struct tg_record *record, const struct eng_item *item,
                        const struct tg_order *order, int64_t now_ms, uint32_t slot)
{
    record->kind = TG_RECORD_ORDER;
    record->outcome = 0;
    record->more = 0;
    record->item = item->item;
    record->order_id = 0;
    record->at_ms = now_ms;
    memcpy(record->order.request_id, order->request_id, TG_REQUEST_ID_BYTES);
    record->order.user_id = order->user_id;
    record->order.channel = order->channel;
    record->order.unit_price_minor = order->unit_price_minor;
    record->order.quantity = order->quantity;
    record->order.slot = slot;
    record->order.external_bytes = order->external_bytes;
    if (order->external_bytes)
        memcpy(record->order.external_id, order->external_id, order->external_bytes);
}

/* Every check that can refuse, before anything moves. */
static enum tg_verdict check(const struct eng_shard *shard, const struct eng_item *item,
                             const struct tg_order *order, struct eng_buyer *buyer, int64_t now_ms)
{
    enum tg_verdict verdict = gate(item, order, now_ms);
    if (verdict != TG_ACCEPTED || !item->is_counted)
        return verdict;
    return eng_count_check(shard, item, buyer, order->quantity);
}

/* A table of no more segments than this, 256 KiB, lies in the cache of its core anyway. */
#define SEGMENTS_CACHED 8

static void prefetch_request(const struct eng_shard *shard,
                             const uint8_t request_id[TG_REQUEST_ID_BYTES])
{
    if (shard->requests.directory.segment_count <= SEGMENTS_CACHED)
        return;
    struct eng_request_key key = eng_request_key(request_id, shard->engine->config.hash_seed);
    eng_requests_prefetch(&shard->requests, &key);
}

void eng_shard_prefetch(const struct eng_shard *shard, const struct eng_item *item,
                        const struct tg_order *order)
{
    prefetch_request(shard, order->request_id);
    uint32_t available = atomic_load_explicit(&item->stock.available_units, memory_order_relaxed);
    if (item->per_user_limit != 0 && available != 0)
        eng_holdings_prefetch(&shard->holdings, order->user_id, item->item);
}

/* An order of this item sets a payment timer. */
static uint32_t timers_of(const struct eng_item *item)
{
    return item->stock_policy != TG_POLICY_ON_PLACE;
}

/* Binds the id and counts the order; false with `decision` refused, and nothing left behind. */
static bool take_place(struct eng_shard *shard, const struct eng_item *item,
                       const struct tg_order *order, const struct eng_buyer *buyer,
                       const struct eng_request_key *key, int64_t now_ms,
                       struct eng_decision *decision)
{
    if (!eng_timers_promise(shard, timers_of(item))) {
        refuse(decision, TG_BUSY);
        return false;
    }
    struct eng_body body = eng_body_of(shard, item, order);
    uint32_t slot = eng_request_bind(shard, key, &body, now_ms, decision);
    if (slot == ENG_SLOT_NONE)
        goto err_after_promise;
    if (item->is_counted && !eng_count_add(shard, item, buyer, order->quantity)) {
        refuse(decision, TG_BUSY);
        goto err_after_bind;
    }
    return true;

err_after_bind:
    if (!TG_PLANTED(ID_KEPT_WHEN_FULL))
        eng_request_settle(shard, slot, 0);
err_after_promise:
    eng_timers_return(shard, timers_of(item));
    return false;
}

/* The id, of which the index has a match, is known: `decision` is the answer. */
static bool is_known(const struct eng_shard *shard, const struct eng_item *item,
                     const struct tg_order *order, const struct eng_request_key *key,
                     struct eng_decision *decision)
{
    struct eng_body body = eng_body_of(shard, item, order);
    return eng_request_known(shard, key, &body, decision) != ENG_ABSENT;
}

void eng_shard_place(struct eng_shard *shard, struct eng_item *item, const struct tg_order *order,
                     int64_t now_ms, struct tg_record *record, struct eng_decision *decision)
{
    tg_assert(item->shard == shard->shard);
    struct eng_request_key key =
        eng_request_key(order->request_id, shard->engine->config.hash_seed);

    uint32_t known = eng_requests_find(&shard->requests, &key);
    if (TG_PLANTED(REQUEST_ID_LATE) && eng_place_is_slot(known) &&
        shard->requests.orders[known].order_id == 0)
        known = ENG_SLOT_NONE;
    if (known != ENG_SLOT_NONE && is_known(shard, item, order, &key, decision))
        return;
    struct eng_buyer buyer = buyer_of(order);
    enum tg_verdict verdict = check(shard, item, order, &buyer, now_ms);
    if (verdict != TG_ACCEPTED) {
        bool conflict = eng_request_elsewhere(shard->engine, shard->shard, &key);
        refuse(decision, conflict ? TG_REQUEST_ID_CONFLICT : verdict);
        return;
    }
    if (!record) {
        refuse(decision, TG_BUSY);
        return;
    }
    if (!take_place(shard, item, order, &buyer, &key, now_ms, decision))
        return;
    eng_item_transfer(item, TG_UNITS_NONE, (uint8_t)tg_policy_units(item->stock_policy),
                      order->quantity, 0);
    item->orders_in_flight++;
    fill_record(record, item, order, now_ms, decision->slot);
}

void eng_shard_settle_prefetch(const struct eng_shard *shard, const struct tg_record *record)
{
    tg_assert(record->kind == TG_RECORD_ORDER);
    __builtin_prefetch(&shard->engine->catalog.items[record->item].stock, 1);
    eng_requests_prefetch_slot(&shard->requests, record->order.slot);
    prefetch_request(shard, record->order.request_id);
}

void eng_shard_order_durable(struct eng_shard *shard, const struct tg_record *record)
{
    struct eng_item *item = &shard->engine->catalog.items[record->item];
    eng_request_settle(shard, record->order.slot, record->order_id);
    item->orders_in_flight--;
    int64_t deadline_ms = eng_item_payment_deadline_ms(item, record->at_ms);
    if (deadline_ms != 0)
        eng_timer_set(shard, deadline_ms, eng_timer_id(ENG_TIMER_ORDER, record->order_id));
}

void eng_shard_order_refused(struct eng_shard *shard, const struct tg_record *record)
{
    struct eng_item *item = &shard->engine->catalog.items[record->item];
    struct eng_buyer buyer = {.user_id = record->order.user_id, .channel = record->order.channel};
    uint32_t quantity = record->order.quantity;
    if (!TG_PLANTED(UNITS_LOST_ON_REFUSAL))
        eng_item_transfer(item, (uint8_t)tg_policy_units(item->stock_policy), TG_UNITS_NONE,
                          quantity, 0);
    item->orders_in_flight--;
    if (item->is_counted)
        eng_count_subtract(shard, item, &buyer, quantity);
    eng_request_settle(shard, record->order.slot, 0);
    if (!TG_PLANTED(TIMER_ROOM_LEAKED))
        eng_timers_return(shard, timers_of(item));
}

struct tg_answer eng_shard_answer(const struct eng_shard *shard, uint32_t slot, uint32_t generation)
{
    const struct eng_order *order = &shard->requests.orders[slot];
    if (order->generation != generation)
        return (struct tg_answer){.verdict = TG_STORAGE_FULL};
    tg_assert(order->order_id != 0);
    return (struct tg_answer){
        .verdict = TG_ACCEPTED,
        .order_id = order->order_id,
        .unit_price_minor = order->unit_price_minor,
        .accepted_at_ms = order->accepted_at_ms,
    };
}

void eng_shard_fence(struct eng_shard *shard, uint32_t slot, uint32_t generation, int64_t now_ms,
                     struct tg_record *record)
{
    record->kind = TG_RECORD_FENCE;
    record->outcome = 0;
    record->more = 0;
    record->at_ms = now_ms;
    record->fence.slot = slot;
    record->fence.generation = generation;
    if (slot != ENG_SLOT_NONE)
        eng_requests_keep(&shard->requests, slot);
}

void eng_shard_fence_settle(struct eng_shard *shard, const struct tg_record *record)
{
    tg_assert(record->kind == TG_RECORD_FENCE);
    if (record->fence.slot != ENG_SLOT_NONE)
        eng_requests_let_go(&shard->requests, record->fence.slot, record->fence.generation);
}

/* --- restoring an order --- */

static enum tg_error restore_count(struct eng_engine *engine, const struct tg_order_row *row,
                                   const struct tg_line *line, struct tg_fault *fault)
{
    const struct eng_item *item = &engine->catalog.items[line->item];
    struct eng_shard *shard = &engine->shards[item->shard];
    struct eng_buyer buyer = {.user_id = row->user_id, .channel = row->channel};
    if (!item->is_counted || eng_count_add(shard, item, &buyer, line->quantity))
        return TG_ERR_OK;
    return tg_fault_set(fault, TG_ERR_FULL,
                        "more than %u users hold limited items: raise engine.holdings_max",
                        shard->holdings.count_max);
}

static enum tg_error restore_counts(struct eng_engine *engine, const struct tg_order_row *row,
                                    struct tg_fault *fault)
{
    struct tg_line line = {.item = row->item, .quantity = row->quantity};
    enum tg_error error = TG_ERR_OK;
    if (row->line_count == 0)
        return restore_count(engine, row, &line, fault);
    for (uint32_t i = 0; i < row->line_count && error == TG_ERR_OK; i++)
        error = restore_count(engine, row, &row->lines[i], fault);
    return error;
}

static struct eng_shard *shard_of(const struct eng_engine *engine, const struct tg_order_row *row)
{
    tg_assert(row->item < engine->catalog.item_count);
    return &engine->shards[engine->catalog.items[row->item].shard];
}

enum tg_error eng_engine_restore_timer(struct eng_engine *engine, const struct tg_order_row *row,
                                       const struct tg_life *life, struct tg_fault *fault)
{
    struct eng_shard *shard = shard_of(engine, row);
    const struct eng_item *item = &engine->catalog.items[row->item];
    int64_t deadline_ms = eng_item_payment_deadline_ms(item, row->accepted_at_ms);
    if (life)
        deadline_ms = life->state == TG_ORDER_RESERVED ? life->payment_deadline_ms : 0;
    if (deadline_ms == 0 || TG_PLANTED(TIMER_NOT_RESTORED))
        return TG_ERR_OK;
    if (!eng_timers_promise(shard, 1))
        return tg_fault_set(fault, TG_ERR_FULL,
                            "more than %u orders wait for payment in one shard: raise "
                            "engine.timers_max",
                            shard->engine->config.timers_max);
    eng_timer_set(shard, deadline_ms, eng_timer_id(ENG_TIMER_ORDER, row->order_id));
    return TG_ERR_OK;
}

enum tg_error eng_engine_restore_request(struct eng_engine *engine, const struct tg_order_row *row,
                                         int64_t now_ms, struct tg_fault *fault)
{
    struct eng_requests *requests = &shard_of(engine, row)->requests;
    if (row->accepted_at_ms < now_ms - engine->config.request_ttl_ms)
        return TG_ERR_OK;
    struct eng_request_key key = eng_request_key(row->request_id, engine->config.hash_seed);
    if (eng_requests_restore(requests, &key, row->order_id, row->accepted_at_ms))
        return TG_ERR_OK;
    return tg_fault_set(fault, TG_ERR_FULL,
                        "more than %u orders to remember in one shard: raise "
                        "engine.orders_max or lower engine.request_ttl_s",
                        requests->orders_max);
}

enum tg_error eng_engine_restore_counts(struct eng_engine *engine, const struct tg_order_row *row,
                                        const struct tg_life *life, int64_t now_ms,
                                        struct tg_fault *fault)
{
    tg_assert(row->item < engine->catalog.item_count);
    bool stands = !life || eng_state_stands(life->state);
    if (!stands || eng_item_counts_are_gone(&engine->catalog.items[row->item], now_ms) ||
        TG_PLANTED(COUNT_NOT_RESTORED))
        return TG_ERR_OK;
    return restore_counts(engine, row, fault);
}

enum tg_error eng_engine_restore_order(struct eng_engine *engine, const struct tg_order_row *row,
                                       const struct tg_life *life, int64_t now_ms,
                                       struct tg_fault *fault)
{
    enum tg_error error = eng_engine_restore_counts(engine, row, life, now_ms, fault);
    if (error == TG_ERR_OK)
        error = eng_engine_restore_timer(engine, row, life, fault);
    return error == TG_ERR_OK ? eng_engine_restore_request(engine, row, now_ms, fault) : error;
}

void eng_engine_restore_request_prefetch(const struct eng_engine *engine,
                                         const struct tg_order_row *row)
{
    struct eng_request_key key = eng_request_key(row->request_id, engine->config.hash_seed);
    eng_requests_prefetch(&shard_of(engine, row)->requests, &key);
}

/* The lines of a cart beyond the first are few, and not asked for. */
void eng_engine_restore_counts_prefetch(const struct eng_engine *engine,
                                        const struct tg_order_row *row)
{
    if (engine->catalog.items[row->item].per_user_limit != 0)
        eng_holdings_prefetch(&shard_of(engine, row)->holdings, row->user_id, row->item);
}

/* --- an operator's adjustment --- */

static void fill_adjust_record(struct tg_record *record, const struct eng_item *item,
                               const struct eng_adjust *adjust, int64_t delta, int64_t now_ms)
{
    record->kind = TG_RECORD_ADJUST;
    record->outcome = 0;
    record->more = 0;
    record->item = item->item;
    record->order_id = 0;
    record->at_ms = now_ms;
    record->adjust.delta_units = delta;
    record->adjust.reason_bytes = adjust->reason_bytes;
    memcpy(record->adjust.reason, adjust->reason, adjust->reason_bytes);
}

enum tg_verdict eng_shard_adjust(struct eng_shard *shard, struct eng_item *item,
                                 const struct eng_adjust *adjust, int64_t now_ms,
                                 struct tg_record *record, bool *changes, enum tg_field *field)
{
    tg_assert(item->shard == shard->shard);
    *changes = false;
    *field = TG_FIELD_NONE;
    if (item->adjust_in_flight || !record)
        return TG_BUSY;
    struct tg_stock stock = eng_item_stock(item);
    if (adjust->compare && adjust->expected_units != stock.available_units)
        return TG_STOCK_CHANGED;
    if (adjust->compare && adjust->new_units > TG_STOCK_UNITS_MAX) {
        *field = TG_FIELD_STOCK_RANGE;
        return TG_INVALID_ARGUMENT;
    }
    int64_t delta =
        adjust->compare ? (int64_t)adjust->new_units - stock.available_units : adjust->delta_units;
    if (delta == 0)
        return TG_OK;
    if (delta < -(int64_t)stock.available_units)
        return TG_INSUFFICIENT_STOCK;
    int64_t books = (int64_t)stock.initial_units + stock.restocked_units;
    if (delta > TG_STOCK_UNITS_MAX - books) {
        *field = TG_FIELD_STOCK_RANGE;
        return TG_INVALID_ARGUMENT;
    }
    if (delta < 0)
        eng_item_move(item, delta, 0, 0, delta);
    item->adjust_in_flight = true;
    fill_adjust_record(record, item, adjust, delta, now_ms);
    *changes = true;
    return TG_OK;
}

void eng_shard_adjust_settle(struct eng_shard *shard, const struct tg_record *record)
{
    struct eng_item *item = &shard->engine->catalog.items[record->item];
    bool durable = record->outcome == TG_OUTCOME_DURABLE;
    int64_t delta = record->adjust.delta_units;
    tg_assert(item->adjust_in_flight);
    item->adjust_in_flight = false;
    if (delta > 0 && durable)
        eng_item_move(item, delta, 0, 0, delta);
    if (delta < 0 && !durable)
        eng_item_move(item, -delta, 0, 0, -delta);
}

/* --- forgetting --- */

struct sweep {
    const struct eng_engine *engine;
    int64_t now_ms;
};

/* Nobody counts on this any more. What is counted for a sale is asked by those who open and join
 * teams alone. A limit is asked by late payments and other channels' orders as well, and one in
 * flight may yet be undone. */
static bool is_over(void *context, uint32_t key)
{
    const struct sweep *sweep = context;
    const struct eng_catalog *catalog = &sweep->engine->catalog;
    uint32_t number = key & ENG_HELD_NUMBER;
    switch ((enum eng_held)(key & ~ENG_HELD_NUMBER)) {
    case ENG_HELD_UNITS:
    case ENG_HELD_CHANNEL:
        return catalog->items[number].orders_in_flight == 0 &&
               eng_item_counts_are_gone(&catalog->items[number], sweep->now_ms);
    case ENG_HELD_TEAMS:
    case ENG_HELD_ORDERS:
        return eng_item_is_over(&catalog->items[catalog->sales[number].first_item], sweep->now_ms);
    }
    return false;
}

/* How much of a table of so many slots, or buckets, the next sweep looks at. */
static uint32_t sweep_part(uint32_t least, uint32_t slots, uint32_t count, uint32_t count_max)
{
    bool urgent = count > count_max / 2;
    return least + slots / (urgent ? SWEEPS_A_ROUND_URGENT : SWEEPS_A_ROUND_EASY);
}

uint32_t eng_shard_sweep(struct eng_shard *shard, int64_t now_ms)
{
    struct sweep sweep = {.engine = shard->engine, .now_ms = now_ms};
    struct eng_requests *requests = &shard->requests;
    struct eng_holdings *holdings = &shard->holdings;
    uint32_t buckets = requests->directory.segment_count * ENG_SEGMENT_BUCKETS;
    uint32_t holding_slots = holdings->directory.segment_count * ENG_SEGMENT_HOLDINGS;
    return eng_requests_sweep(
               requests,
               now_ms - shard->engine->config.request_ttl_ms / (TG_PLANTED(ID_FORGOTTEN_EARLY) + 1),
               sweep_part(SWEEP_BUCKETS_MIN, buckets, requests->count, requests->orders_max)) +
           eng_holdings_sweep(
               holdings, is_over, &sweep,
               sweep_part(SWEEP_SLOTS_MIN, holding_slots, holdings->count, holdings->count_max));
}
