/* Carts: one order over several items, all or nothing. */
#include "engine/cart.h"

#include "base/assert.h"
#include "engine/work.h"

#include <string.h>

static const struct eng_item *item_of(const struct eng_shard *shard, const struct tg_line *line)
{
    tg_assert(line->item < shard->engine->catalog.items_max);
    return &shard->engine->catalog.items[line->item];
}

static void row_of_cart(struct tg_order_row *row, const struct eng_cart *cart, int64_t now_ms)
{
    *row = (struct tg_order_row){
        .user_id = cart->user_id,
        .accepted_at_ms = now_ms,
        .item = cart->lines[0].item,
        .channel = cart->channel,
        .flags = TG_ORDER_CART,
        .external_bytes = cart->external_bytes,
        .line_count = cart->line_count,
    };
    memcpy(row->request_id, cart->request_id, TG_REQUEST_ID_BYTES);
    if (cart->external_bytes != 0)
        memcpy(row->external_id, cart->external_id, cart->external_bytes);
    for (uint32_t i = 0; i < cart->line_count; i++) {
        row->lines[i] = cart->lines[i];
        row->quantity += cart->lines[i].quantity;
    }
}

/* What no single line shows: one policy for all, so that the order's units are in one place, and an
 * amount that can be paid. */
static enum tg_field check_lines(const struct eng_shard *shard, const struct eng_cart *cart)
{
    uint8_t policy = item_of(shard, &cart->lines[0])->stock_policy;
    int64_t amount = 0;
    for (uint32_t i = 0; i < cart->line_count; i++) {
        const struct tg_line *line = &cart->lines[i];
        const struct eng_item *item = item_of(shard, line);
        if (item->is_team_only || item->stock_policy != policy)
            return TG_FIELD_LINES_POLICY;
        if (line->quantity > TG_QUANTITY_MAX)
            return TG_FIELD_LINE_QUANTITY;
        amount += line->quantity * line->unit_price_minor; /* two of them fit int64 */
        if (amount > TG_AMOUNT_MINOR_MAX)
            return TG_FIELD_LINE_PRICE;
    }
    return TG_FIELD_NONE;
}

/* A cart with an unknown item cannot be had; whether its other lines could is told all the same,
 * from published words. */
static bool has_wrong_line(const struct eng_shard *shard, const struct eng_cart *cart,
                           int64_t now_ms, enum tg_verdict refusals[TG_ORDER_LINES_MAX],
                           enum tg_verdict *verdict)
{
    if (eng_refusal_of(cart->wrong, cart->asked_count) == TG_ACCEPTED)
        return false;
    for (uint32_t i = 0; i < cart->line_count; i++) {
        const struct tg_line *line = &cart->lines[i];
        refusals[i] =
            eng_item_gate(item_of(shard, line), line->quantity, line->unit_price_minor, now_ms);
    }
    *verdict = TG_ACCEPTED;
    for (uint32_t i = 0; *verdict == TG_ACCEPTED; i++)
        *verdict = cart->wrong[i] != TG_ACCEPTED ? cart->wrong[i] : refusals[cart->line_of[i]];
    return true;
}

/* Takes the units, here and now or (ENG_ACQUIRE) elsewhere first, and binds the id. */
static enum eng_step take_cart(struct eng_work *work, enum eng_acquired acquired,
                               struct eng_take *take, struct eng_decision *decision,
                               enum tg_verdict refusals[TG_ORDER_LINES_MAX])
{
    eng_work_take_fill(work, (enum tg_units)work->change->life.units);
    work->take.gated = true;
    if (acquired == ENG_TAKEN)
        return eng_work_bind(work, decision);
    if (acquired != ENG_NOT_ASKED)
        return eng_refuse(decision, TG_BUSY);
    if (!eng_work_take_is_own(work)) {
        *take = work->take;
        return ENG_ACQUIRE;
    }
    enum tg_verdict verdict = eng_work_take(work, work->now_ms, refusals);
    return verdict == TG_ACCEPTED ? eng_work_bind(work, decision) : eng_refuse(decision, verdict);
}

enum eng_step eng_cart_place(struct eng_shard *shard, const struct eng_cart *cart,
                             enum eng_acquired acquired, int64_t now_ms, struct eng_unit *unit,
                             struct eng_take *take, struct eng_decision *decision,
                             enum tg_verdict refusals[TG_ORDER_LINES_MAX])
{
    struct tg_order_row row;
    struct eng_work work;
    enum tg_verdict verdict;
    const struct eng_item *home = item_of(shard, &cart->lines[0]);
    tg_assert(home->shard == shard->shard && cart->line_count > 0);
    take->line_count = 0;
    for (uint32_t i = 0; i < cart->line_count; i++)
        refusals[i] = TG_ACCEPTED;
    row_of_cart(&row, cart, now_ms);
    enum eng_step step = eng_row_known(shard, &row, decision);
    /* The lines that are wrong are not in the row, nor were they in any that was accepted. */
    if (step == ENG_FINAL && decision->replayed &&
        eng_refusal_of(cart->wrong, cart->asked_count) != TG_ACCEPTED)
        return eng_refuse(decision, TG_REQUEST_ID_CONFLICT);
    if (step != ENG_RECORDED)
        return step;
    enum tg_field field = check_lines(shard, cart);
    if (field != TG_FIELD_NONE)
        return eng_refuse_field(decision, field);
    if (has_wrong_line(shard, cart, now_ms, refusals, &verdict))
        return eng_refuse(decision, verdict);
    eng_work_begin(&work, shard, unit, now_ms);
    if (!eng_change_room(shard, unit, 1, 1, 0))
        return eng_refuse(decision, TG_BUSY);

    eng_work_create(&work, home, &row);
    step = take_cart(&work, acquired, take, decision, refusals);
    if (step == ENG_RECORDED)
        return eng_work_record(&work);
    eng_work_drop(&work, false);
    return step;
}
