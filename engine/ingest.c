/* Orders that other channels took: known by (channel, external id) for ever. */
#include "base/assert.h"
#include "base/hash.h"
#include "engine/work.h"

#include <string.h>

void eng_ingest_id(uint16_t channel, const uint8_t *external_id, size_t external_bytes,
                   uint8_t request_id[TG_REQUEST_ID_BYTES])
{
    uint8_t known_by[2 + TG_EXTERNAL_BYTES_MAX];
    XXH128_canonical_t canonical;
    tg_assert(external_bytes <= TG_EXTERNAL_BYTES_MAX);
    known_by[0] = (uint8_t)channel;
    known_by[1] = (uint8_t)(channel >> 8);
    memcpy(known_by + 2, external_id, external_bytes);
    XXH128_canonicalFromHash(&canonical, XXH3_128bits(known_by, 2 + external_bytes));
    memcpy(request_id, canonical.digest, TG_REQUEST_ID_BYTES);
}

/* --- an order that is known already --- */

/* Compares the order that is stored, and answers. One that comes again with a payment must have
 * that payment: to say "known" of a payment that nobody recorded would lose it. */
static enum eng_step answer_stored(struct eng_work *work, uint64_t order_id,
                                   const struct tg_order_row *row, const struct tg_payment *payment,
                                   struct eng_decision *decision)
{
    struct eng_loader *loader = &work->shard->loader;
    bool has_life;
    if (!eng_change_room(work->shard, work->unit, 1, 1, 0))
        return eng_refuse(decision, TG_BUSY);
    struct tg_change *stored = eng_change_take(work->shard);
    enum eng_load load =
        loader->order(loader->context, order_id, &stored->row, &stored->life, &has_life);
    if (load == ENG_LOADED) {
        struct eng_body body = eng_body_of_row(work->shard->engine, row);
        const struct tg_payment *known = payment ? eng_payment_find(&stored->life, payment) : NULL;
        eng_decide_by_row(work->shard->engine, &stored->row, &body, decision);
        if (payment && !(known && eng_payment_same(known, payment)))
            eng_refuse(decision, TG_REQUEST_ID_CONFLICT);
    }
    eng_change_free(work->shard, stored);
    return load == ENG_LOADED ? ENG_FINAL : ENG_LOAD_FAILED;
}

/* Memory knows the id. ENG_WAIT: whether the payment is the same is seen when it is durable. */
static enum eng_step answer_remembered(struct eng_work *work, const struct tg_order_row *row,
                                       const struct tg_payment *payment,
                                       struct eng_decision *decision)
{
    if (!decision->replayed || !payment)
        return ENG_FINAL;
    if (decision->in_flight)
        return ENG_WAIT;
    return answer_stored(work, decision->answer.order_id, row, payment, decision);
}

/* The database may know an id that memory forgot. ENG_RECORDED: it is new. */
static enum eng_step look_up(struct eng_work *work, const struct tg_order_row *row,
                             const struct tg_payment *payment, struct eng_decision *decision)
{
    struct eng_loader *loader = &work->shard->loader;
    uint64_t order_id;
    switch (loader->ingested(loader->context, row->request_id, &order_id)) {
    case ENG_ABSENT:
        return ENG_RECORDED;
    case ENG_UNREADABLE:
        return ENG_LOAD_FAILED;
    case ENG_LOADED:
        break;
    }
    return answer_stored(work, order_id, row, payment, decision);
}

/* --- a new order --- */

static enum tg_verdict check(const struct eng_item *item, const struct tg_order *order,
                             const struct tg_payment *payment)
{
    if (item->is_team_only)
        return TG_TEAM_REQUIRED;
    if (payment && memcmp(payment->currency, item->sale->currency, TG_CURRENCY_BYTES) != 0)
        return TG_CURRENCY_MISMATCH;
    if (payment && payment->amount_minor != order->unit_price_minor * order->quantity)
        return TG_AMOUNT_MISMATCH;
    return TG_ACCEPTED;
}

/* The gate is asked at the time of the order, and at our price: the channel's is its own. */
static enum tg_verdict take_units(struct eng_work *work, const struct eng_item *item, bool paid,
                                  int64_t ordered_at_ms)
{
    enum tg_verdict refusals[TG_ORDER_LINES_MAX];
    eng_work_take_fill(work, paid ? TG_UNITS_SOLD : (enum tg_units)work->change->life.units);
    work->take.gated = true;
    work->take.lines[0].unit_price_minor = item->sale_price_minor;
    if (eng_work_counts_are_gone(work))
        return TG_ENDED;
    return eng_work_take(work, ordered_at_ms, refusals);
}

static void confirm(struct eng_work *work, const struct tg_payment *payment)
{
    struct tg_change *change = work->change;
    change->stores_life = true;
    change->life.units = TG_UNITS_SOLD;
    eng_payment_add(&change->life, payment, TG_PAYMENT_APPLIED, work->now_ms);
    eng_move_make(change, ENG_MOVE_PAY, work->now_ms);
    eng_move_make(change, ENG_MOVE_CONFIRM, work->now_ms);
}

/* Binds the id, which the database did not know a moment ago. By now another shard may have taken
 * the same order for another item, made it durable and forgotten the id. But one of two that bind
 * it sees the other's word in the index, unless that is forgotten: so who looks into the database
 * behind its own word finds the order there. With one shard nobody else can have taken it. */
static enum eng_step bind(struct eng_work *work, struct eng_decision *decision)
{
    struct eng_loader *loader = &work->shard->loader;
    uint64_t order_id;
    enum eng_step step = eng_work_bind(work, decision);
    if (step != ENG_RECORDED || work->shard->engine->config.shards == 1)
        return step;
    switch (loader->ingested(loader->context, work->change->row.request_id, &order_id)) {
    case ENG_ABSENT:
        return ENG_RECORDED;
    case ENG_LOADED:
        step = eng_refuse(decision, TG_REQUEST_ID_CONFLICT);
        break;
    case ENG_UNREADABLE:
        step = ENG_LOAD_FAILED;
        break;
    }
    eng_request_settle(work->shard, work->change->slot, 0);
    return step;
}

static enum eng_step create(struct eng_work *work, const struct eng_item *item,
                            const struct tg_order_row *row, int64_t ordered_at_ms,
                            const struct tg_payment *payment, struct eng_decision *decision)
{
    if (!eng_change_room(work->shard, work->unit, 1, 1, 0))
        return eng_refuse(decision, TG_BUSY);
    eng_work_create(work, item, row);
    enum tg_verdict verdict = take_units(work, item, payment != NULL, ordered_at_ms);
    if (verdict != TG_ACCEPTED)
        return eng_refuse(decision, verdict);
    if (payment)
        confirm(work, payment);
    return bind(work, decision);
}

enum eng_step eng_ingest(struct eng_shard *shard, struct eng_item *item,
                         const struct tg_order *order, int64_t ordered_at_ms,
                         const struct tg_payment *payment, int64_t now_ms, struct eng_unit *unit,
                         struct eng_decision *decision)
{
    struct tg_order_row row;
    struct eng_work work;
    tg_assert(item->shard == shard->shard);
    eng_work_begin(&work, shard, unit, now_ms);
    eng_row_of_order(&row, item, order, TG_ORDER_INGESTED, 0, now_ms);
    enum eng_step step = eng_row_known(shard, &row, decision);
    if (step == ENG_FINAL)
        return answer_remembered(&work, &row, payment, decision);
    if (step == ENG_RECORDED)
        step = look_up(&work, &row, payment, decision);
    if (step != ENG_RECORDED)
        return step;
    enum tg_verdict verdict = check(item, order, payment);
    if (verdict != TG_ACCEPTED)
        return eng_refuse(decision, verdict);
    step = create(&work, item, &row, ordered_at_ms, payment, decision);
    if (step == ENG_RECORDED)
        return eng_work_record(&work);
    eng_work_drop(&work, false);
    return step;
}
