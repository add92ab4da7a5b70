#include "engine/shard.h"

#include "base/assert.h"
#include "base/hash.h"

#include <stdlib.h>
#include <string.h>

/* A sweep looks at this part of a table, so that a whole round takes so many sweeps: rarely while
 * there is room, often when more than half of it is used. */
#define SWEEPS_A_ROUND_EASY   16384
#define SWEEPS_A_ROUND_URGENT 256
#define SWEEP_SLOTS_MIN       512

enum tg_error eng_engine_create(const struct eng_config *config, struct eng_engine *engine,
                                struct tg_fault *fault)
{
    *engine = (struct eng_engine){.config = *config};
    size_t shards_bytes = config->shards * sizeof(*engine->shards);
    engine->shards = aligned_alloc(alignof(struct eng_shard), shards_bytes);
    if (!engine->shards)
        return tg_fault_set(fault, TG_ERR_NOMEM, "no memory for %u shards", config->shards);
    memset(engine->shards, 0, shards_bytes);
    enum tg_error error = eng_catalog_create(&engine->catalog, config->sales_max, config->items_max,
                                             config->shards, config->hash_seed, fault);
    for (uint32_t i = 0; i < config->shards && error == TG_ERR_OK; i++) {
        struct eng_shard *shard = &engine->shards[i];
        shard->engine = engine;
        shard->shard = i;
        error = eng_requests_create(&shard->requests, config->orders_max, config->hash_seed, fault);
        if (error == TG_ERR_OK)
            error = eng_holdings_create(&shard->holdings, config->holdings_max, config->hash_seed,
                                        fault);
    }
    if (error != TG_ERR_OK)
        eng_engine_destroy(engine);
    return error;
}

void eng_engine_destroy(struct eng_engine *engine)
{
    for (uint32_t i = 0; engine->shards && i < engine->config.shards; i++) {
        eng_requests_destroy(&engine->shards[i].requests);
        eng_holdings_destroy(&engine->shards[i].holdings);
    }
    eng_catalog_destroy(&engine->catalog);
    free(engine->shards);
    engine->shards = NULL;
}

/* --- request ids --- */

/* What the body says beyond user, item and quantity, which the slot holds by themselves. */
static uint64_t fingerprint(uint64_t seed, int64_t unit_price_minor, uint32_t channel,
                            const void *external_id, size_t external_bytes)
{
    uint64_t tail = external_bytes ? tg_hash(external_id, external_bytes, seed) : seed;
    return tg_hash_words((uint64_t)unit_price_minor ^ ((uint64_t)channel << 48), tail, seed);
}

/* The shard other than `shard` that knows the id, or NULL. One table look-up for each. */
static const struct eng_shard *known_elsewhere(const struct eng_engine *engine, uint32_t shard,
                                               const struct eng_request_key *key)
{
    for (uint32_t i = 0; i < engine->config.shards; i++)
        if (i != shard && eng_requests_find(&engine->shards[i].requests, key) != ENG_SLOT_NONE)
            return &engine->shards[i];
    return NULL;
}

static void decide_known(const struct eng_shard *shard, const struct eng_item *item,
                         const struct tg_order *order, uint32_t slot, struct eng_decision *decision)
{
    const struct eng_order *known = &shard->requests.orders[slot];
    bool same = known->user_id == order->user_id && known->item == item->item &&
                known->quantity == order->quantity &&
                known->fingerprint == fingerprint(shard->engine->config.hash_seed,
                                                  order->unit_price_minor, order->channel,
                                                  order->external_id, order->external_bytes);
    *decision = (struct eng_decision){
        .verdict = same ? TG_ACCEPTED : TG_REQUEST_ID_CONFLICT,
        .replayed = same,
        .in_flight = known->order_id == 0,
        .slot = slot,
        .generation = known->generation,
    };
}

/* --- the gate --- */

static void refuse(struct eng_decision *decision, enum tg_verdict verdict)
{
    *decision = (struct eng_decision){
        .verdict = verdict,
        .field = verdict == TG_INVALID_ARGUMENT ? TG_FIELD_PER_ORDER : TG_FIELD_NONE,
    };
}

bool eng_gate_refuses(const struct eng_engine *engine, const struct eng_item *item,
                      const struct tg_order *order, int64_t now_ms, struct eng_decision *decision)
{
    enum tg_verdict verdict = eng_item_gate(item, order->quantity, order->unit_price_minor, now_ms);
    if (verdict == TG_ACCEPTED)
        return false;
    /* A retry of an accepted order gets its first answer, however sold out the item is by now. */
    struct eng_request_key key = eng_request_key(order->request_id, engine->config.hash_seed);
    if (known_elsewhere(engine, engine->config.shards, &key))
        return false;
    refuse(decision, verdict);
    return true;
}

/* --- placing an order --- */

static void fill_slot(struct eng_shard *shard, struct eng_order *slot, const struct eng_item *item,
                      const struct tg_order *order, int64_t now_ms)
{
    slot->order_id = 0;
    slot->user_id = order->user_id;
    slot->fingerprint = fingerprint(shard->engine->config.hash_seed, order->unit_price_minor,
                                    order->channel, order->external_id, order->external_bytes);
    slot->accepted_at_ms = now_ms;
    slot->item = item->item;
    slot->quantity = order->quantity;
}

static void fill_record(struct tg_record *record, const struct eng_item *item,
                        const struct tg_order *order, int64_t now_ms, uint32_t slot)
{
    record->kind = TG_RECORD_ORDER;
    record->outcome = 0;
    record->channel = order->channel;
    record->item = item->item;
    record->order_id = 0;
    record->at_ms = now_ms;
    memcpy(record->order.request_id, order->request_id, TG_REQUEST_ID_BYTES);
    record->order.user_id = order->user_id;
    record->order.unit_price_minor = order->unit_price_minor;
    record->order.quantity = order->quantity;
    record->order.slot = slot;
    record->order.external_bytes = order->external_bytes;
    if (order->external_bytes)
        memcpy(record->order.external_id, order->external_id, order->external_bytes);
}

/* Every check that can refuse, before anything moves. */
static enum tg_verdict check(const struct eng_shard *shard, const struct eng_item *item,
                             const struct tg_order *order, int64_t now_ms)
{
    enum tg_verdict verdict = eng_item_gate(item, order->quantity, order->unit_price_minor, now_ms);
    if (verdict != TG_ACCEPTED || item->per_user_limit == 0)
        return verdict;
    uint64_t held = eng_holdings_units(&shard->holdings, order->user_id, item->item);
    return held + order->quantity > item->per_user_limit ? TG_LIMIT_REACHED : TG_ACCEPTED;
}

void eng_shard_prefetch(const struct eng_shard *shard, const struct eng_item *item,
                        const struct tg_order *order)
{
    struct eng_request_key key =
        eng_request_key(order->request_id, shard->engine->config.hash_seed);
    eng_requests_prefetch(&shard->requests, &key);
    uint32_t available = atomic_load_explicit(&item->stock.available_units, memory_order_relaxed);
    if (item->per_user_limit != 0 && available != 0)
        eng_holdings_prefetch(&shard->holdings, order->user_id, item->item);
}

void eng_shard_place(struct eng_shard *shard, struct eng_item *item, const struct tg_order *order,
                     int64_t now_ms, struct tg_record *record, struct eng_decision *decision)
{
    tg_assert(item->shard == shard->shard);
    struct eng_engine *engine = shard->engine;
    struct eng_request_key key = eng_request_key(order->request_id, engine->config.hash_seed);

    uint32_t slot = eng_requests_find(&shard->requests, &key);
    if (slot != ENG_SLOT_NONE) {
        decide_known(shard, item, order, slot, decision);
        return;
    }
    enum tg_verdict verdict = check(shard, item, order, now_ms);
    if (verdict != TG_ACCEPTED) {
        bool conflict = known_elsewhere(engine, shard->shard, &key) != NULL;
        refuse(decision, conflict ? TG_REQUEST_ID_CONFLICT : verdict);
        return;
    }
    if (!record || (slot = eng_requests_insert(&shard->requests, &key)) == ENG_SLOT_NONE) {
        refuse(decision, TG_BUSY);
        return;
    }
    /* The id is visible from here on. If another shard shows it too, one of the two may have been
     * accepted: this one steps back, and the caller, who sent two bodies under one id, hears so. */
    fill_slot(shard, &shard->requests.orders[slot], item, order, now_ms);
    if (known_elsewhere(engine, shard->shard, &key)) {
        eng_requests_remove(&shard->requests, slot);
        refuse(decision, TG_REQUEST_ID_CONFLICT);
        return;
    }
    if (item->per_user_limit != 0 &&
        !eng_holdings_add(&shard->holdings, order->user_id, item->item, order->quantity)) {
        eng_requests_remove(&shard->requests, slot);
        refuse(decision, TG_BUSY);
        return;
    }
    eng_item_move(item, -(int64_t)order->quantity, order->quantity, 0, 0);
    item->orders_in_flight++;
    fill_record(record, item, order, now_ms, slot);
    *decision = (struct eng_decision){
        .verdict = TG_ACCEPTED,
        .slot = slot,
        .generation = shard->requests.orders[slot].generation,
    };
}

void eng_shard_order_durable(struct eng_shard *shard, const struct tg_record *record)
{
    struct eng_order *order = &shard->requests.orders[record->order.slot];
    tg_assert(order->order_id == 0 && order->quantity == record->order.quantity);
    order->order_id = record->order_id;
    shard->engine->catalog.items[record->item].orders_in_flight--;
}

void eng_shard_order_refused(struct eng_shard *shard, const struct tg_record *record)
{
    struct eng_item *item = &shard->engine->catalog.items[record->item];
    uint32_t quantity = record->order.quantity;
    eng_item_move(item, quantity, -(int64_t)quantity, 0, 0);
    item->orders_in_flight--;
    if (item->per_user_limit != 0)
        eng_holdings_subtract(&shard->holdings, record->order.user_id, record->item, quantity);
    eng_requests_remove(&shard->requests, record->order.slot);
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
        .unit_price_minor = shard->engine->catalog.items[order->item].sale_price_minor,
        .accepted_at_ms = order->accepted_at_ms,
    };
}

enum tg_error eng_engine_restore_order(struct eng_engine *engine, const struct tg_order_row *row,
                                       int64_t now_ms, struct tg_fault *fault)
{
    tg_assert(row->item < engine->catalog.item_count);
    struct eng_item *item = &engine->catalog.items[row->item];
    struct eng_shard *shard = &engine->shards[item->shard];
    bool over = now_ms >= item->ends_at_ms || eng_sale_state(item->sale) == TG_SALE_CLOSED;
    if (item->per_user_limit != 0 && !over &&
        !eng_holdings_add(&shard->holdings, row->user_id, row->item, row->quantity))
        return tg_fault_set(fault, TG_ERR_FULL,
                            "more than %u users hold limited items: raise engine.holdings_max",
                            shard->holdings.count_max);
    if (row->accepted_at_ms < now_ms - engine->config.request_ttl_ms)
        return TG_ERR_OK;

    struct eng_request_key key = eng_request_key(row->request_id, engine->config.hash_seed);
    /* Two orders may own one id when the time to live was shorter once: the younger one counts. */
    uint32_t slot = eng_requests_find(&shard->requests, &key);
    if (slot == ENG_SLOT_NONE)
        slot = eng_requests_insert(&shard->requests, &key);
    if (slot == ENG_SLOT_NONE)
        return tg_fault_set(fault, TG_ERR_FULL,
                            "more than %u orders to remember in one shard: raise "
                            "engine.orders_max or lower engine.request_ttl_s",
                            shard->requests.orders_max);
    struct eng_order *order = &shard->requests.orders[slot];
    order->order_id = row->order_id;
    order->user_id = row->user_id;
    order->fingerprint = fingerprint(engine->config.hash_seed, row->unit_price_minor, row->channel,
                                     row->external_id, row->external_bytes);
    order->accepted_at_ms = row->accepted_at_ms;
    order->item = row->item;
    order->quantity = row->quantity;
    return TG_ERR_OK;
}

/* --- an operator's adjustment --- */

static void fill_adjust_record(struct tg_record *record, const struct eng_item *item,
                               const struct eng_adjust *adjust, int64_t delta, int64_t now_ms)
{
    record->kind = TG_RECORD_ADJUST;
    record->outcome = 0;
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

static bool item_is_over(void *context, uint32_t number)
{
    const struct sweep *sweep = context;
    const struct eng_item *item = &sweep->engine->catalog.items[number];
    return item->orders_in_flight == 0 &&
           (sweep->now_ms >= item->ends_at_ms || eng_sale_state(item->sale) == TG_SALE_CLOSED);
}

static uint32_t sweep_slots(uint32_t slots, uint32_t count, uint32_t count_max)
{
    bool urgent = count > count_max / 2;
    return SWEEP_SLOTS_MIN + slots / (urgent ? SWEEPS_A_ROUND_URGENT : SWEEPS_A_ROUND_EASY);
}

uint32_t eng_shard_sweep(struct eng_shard *shard, int64_t now_ms)
{
    struct sweep sweep = {.engine = shard->engine, .now_ms = now_ms};
    struct eng_requests *requests = &shard->requests;
    struct eng_holdings *holdings = &shard->holdings;
    uint32_t holding_slots = holdings->directory.segment_count * ENG_SEGMENT_HOLDINGS;
    return eng_requests_sweep(
               requests, now_ms - shard->engine->config.request_ttl_ms,
               sweep_slots(requests->high_water, requests->count, requests->orders_max)) +
           eng_holdings_sweep(holdings, item_is_over, &sweep,
                              sweep_slots(holding_slots, holdings->count, holdings->count_max));
}
