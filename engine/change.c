#include "engine/change.h"

#include "base/assert.h"
#include "base/hash.h"
#include "base/planted.h"

#include <stddef.h>
#include <string.h>

/* --- blocks --- */

bool eng_change_room(const struct eng_shard *shard, const struct eng_unit *unit, uint32_t records,
                     uint32_t changes, uint32_t teams)
{
    uint32_t count = unit->count + records;
    return count > 0 && count <= TG_UNIT_RECORDS_MAX &&
           tg_journal_reserve_ahead(unit->journal, count - 1) &&
           changes <= TG_CHANGES_MAX - shard->changes_used &&
           teams <= TG_CHANGES_MAX - shard->teams_used;
}

struct tg_change *eng_change_take(struct eng_shard *shard)
{
    if (shard->changes_used == TG_CHANGES_MAX)
        return NULL;
    struct tg_change *change;
    if (shard->change_free != 0) {
        change = &shard->changes[shard->change_free - 1];
        shard->change_free = change->next_free;
    } else {
        change = &shard->changes[shard->change_high_water++];
    }
    shard->changes_used++;
    memset(change, 0, offsetof(struct tg_change, row));
    memset(&change->life, 0, offsetof(struct tg_life, commands));
    change->slot = ENG_SLOT_NONE;
    return change;
}

void eng_change_free(struct eng_shard *shard, struct tg_change *change)
{
    tg_assert(shard->changes_used > 0);
    change->next_free = shard->change_free;
    shard->change_free = (uint32_t)(change - shard->changes) + 1;
    shard->changes_used--;
}

struct tg_team *eng_change_team_take(struct eng_shard *shard)
{
    if (shard->teams_used == TG_CHANGES_MAX)
        return NULL;
    struct tg_team *team;
    if (shard->team_free != 0) {
        team = &shard->teams[shard->team_free - 1];
        shard->team_free = (uint32_t)team->team_id; /* the next free one, while it is free */
    } else {
        team = &shard->teams[shard->team_high_water++];
    }
    shard->teams_used++;
    memset(team, 0, offsetof(struct tg_team, seats));
    return team;
}

void eng_change_team_free(struct eng_shard *shard, struct tg_team *team)
{
    tg_assert(shard->teams_used > 0);
    team->team_id = shard->team_free;
    shard->team_free = (uint32_t)(team - shard->teams) + 1;
    shard->teams_used--;
}

/* The arrays lie at the end of their struct, so that the rest is one piece. */
_Static_assert(offsetof(struct tg_life, commands) < offsetof(struct tg_life, payments) &&
                   offsetof(struct tg_life, payments) < offsetof(struct tg_life, refunds),
               "eng_life_copy copies what is before the commands as one");

void eng_life_copy(struct tg_life *to, const struct tg_life *from)
{
    memcpy(to, from, offsetof(struct tg_life, commands));
    memcpy(to->commands, from->commands, from->command_count * sizeof(from->commands[0]));
    memcpy(to->payments, from->payments, from->payment_count * sizeof(from->payments[0]));
    memcpy(to->refunds, from->refunds, from->refund_count * sizeof(from->refunds[0]));
}

void eng_row_copy(struct tg_order_row *to, const struct tg_order_row *from)
{
    memcpy(to, from, offsetof(struct tg_order_row, lines));
    memcpy(to->lines, from->lines, from->line_count * sizeof(from->lines[0]));
}

void eng_team_copy(struct tg_team *to, const struct tg_team *from)
{
    memcpy(to, from, offsetof(struct tg_team, seats));
    memcpy(to->seats, from->seats, from->seat_count * sizeof(from->seats[0]));
}

/* --- units of records --- */

static struct tg_record *next_record(struct eng_unit *unit, enum tg_record_kind kind, uint32_t item,
                                     int64_t now_ms)
{
    if (unit->count > 0)
        tg_journal_reserve_ahead(unit->journal, unit->count - 1)->more = 1;
    struct tg_record *record = tg_journal_reserve_ahead(unit->journal, unit->count);
    tg_assert(record && unit->count < TG_UNIT_RECORDS_MAX);
    unit->count++;
    record->kind = (uint8_t)kind;
    record->outcome = 0;
    record->more = 0;
    record->item = item;
    record->order_id = 0;
    record->at_ms = now_ms;
    return record;
}

void eng_unit_change(struct eng_unit *unit, struct tg_change *change, int64_t now_ms)
{
    struct tg_record *record = next_record(unit, TG_RECORD_CHANGE, change->row.item, now_ms);
    record->change = change;
    if (!change->creates)
        record->order_id = change->row.order_id;
}

void eng_unit_team(struct eng_unit *unit, struct tg_team *team, enum tg_event_type event,
                   int64_t now_ms)
{
    struct tg_record *record = next_record(unit, TG_RECORD_TEAM, team->item, now_ms);
    record->team.team = team;
    record->team.event = (uint8_t)event;
}

/* --- timers --- */

bool eng_timers_promise(struct eng_shard *shard, uint32_t count)
{
    if (eng_wheel_room(shard->wheel) < (uint64_t)shard->timers_promised + count)
        return false;
    shard->timers_promised += count;
    return true;
}

void eng_timers_return(struct eng_shard *shard, uint32_t count)
{
    tg_assert(shard->timers_promised >= count);
    shard->timers_promised -= count;
}

void eng_timer_set(struct eng_shard *shard, int64_t due_ms, uint64_t id)
{
    eng_timers_return(shard, 1);
    bool added = eng_wheel_add(shard->wheel, due_ms, id);
    tg_assert(added);
}

/* --- request ids --- */

/* Of what nearly every body is made of; the seed is secret, so nobody finds two that meet. */
static uint64_t fingerprint(uint64_t seed, uint64_t user_id, int64_t unit_price_minor,
                            uint32_t channel, const void *external_id, size_t external_bytes)
{
    uint64_t tail = external_bytes ? tg_hash(external_id, external_bytes, seed ^ user_id) : user_id;
    return tg_hash_words((uint64_t)unit_price_minor ^ ((uint64_t)channel << 48), tail, seed);
}

struct eng_body eng_body_of(const struct eng_shard *shard, const struct eng_item *item,
                            const struct tg_order *order)
{
    return (struct eng_body){
        .fingerprint =
            fingerprint(shard->engine->config.hash_seed, order->user_id, order->unit_price_minor,
                        order->channel, order->external_id, order->external_bytes),
        .unit_price_minor = order->unit_price_minor,
        .item = item->item,
        .quantity = order->quantity,
    };
}

struct eng_body eng_body_of_row(const struct eng_engine *engine, const struct tg_order_row *row)
{
    uint64_t seed = engine->config.hash_seed;
    struct eng_body body = {
        .fingerprint = fingerprint(seed, row->user_id, row->unit_price_minor, row->channel,
                                   row->external_id, row->external_bytes),
        .unit_price_minor = row->unit_price_minor,
        .item = row->item,
        .quantity = row->quantity,
    };
    if (row->flags == 0)
        return body;
    /* A captain's team has the number of the order, which is not known yet when it is decided. */
    uint64_t team_id = row->flags & TG_ORDER_JOINER ? row->team_id : 0;
    body.fingerprint = tg_hash_words(body.fingerprint ^ row->flags, team_id, seed);
    if (row->line_count > 0)
        body.fingerprint =
            tg_hash(row->lines, row->line_count * sizeof(row->lines[0]), body.fingerprint);
    return body;
}

_Static_assert(sizeof(struct tg_line) == 16, "lines are hashed as bytes: there is no padding");

bool eng_request_elsewhere(const struct eng_engine *engine, uint32_t shard,
                           const struct eng_request_key *key)
{
    for (uint32_t i = 0; i < engine->config.shards; i++)
        if (i != shard && eng_requests_find(&engine->shards[i].requests, key) != ENG_SLOT_NONE)
            return true;
    return false;
}

static bool same_body(const struct eng_body *a, const struct eng_body *b)
{
    bool same = a->fingerprint == b->fingerprint && a->item == b->item &&
                a->quantity == b->quantity && a->unit_price_minor == b->unit_price_minor;
    return same || TG_PLANTED(RETRY_NOT_COMPARED);
}

static void conflict(struct eng_decision *decision)
{
    eng_decide(decision, TG_REQUEST_ID_CONFLICT, TG_FIELD_NONE);
}

static void replay(struct eng_decision *decision, uint64_t order_id, int64_t unit_price_minor,
                   int64_t accepted_at_ms)
{
    eng_decide(decision, TG_ACCEPTED, TG_FIELD_NONE);
    decision->replayed = true;
    decision->answer = (struct tg_answer){
        .verdict = TG_ACCEPTED,
        .replayed = 1,
        .order_id = order_id,
        .unit_price_minor = unit_price_minor,
        .accepted_at_ms = accepted_at_ms,
    };
}

void eng_decide_by_row(const struct eng_engine *engine, const struct tg_order_row *row,
                       const struct eng_body *body, struct eng_decision *decision)
{
    struct eng_body known = eng_body_of_row(engine, row);
    if (same_body(&known, body))
        replay(decision, row->order_id, row->unit_price_minor, row->accepted_at_ms);
    else
        conflict(decision);
}

/* In flight, or kept. */
static void decide_by_slot(const struct eng_shard *shard, uint32_t slot,
                           const struct eng_body *body, struct eng_decision *decision)
{
    const struct eng_order *order = &shard->requests.orders[slot];
    struct eng_body known = {.fingerprint = order->fingerprint,
                             .unit_price_minor = order->unit_price_minor,
                             .item = order->item,
                             .quantity = order->quantity};
    if (!same_body(&known, body)) {
        conflict(decision);
        return;
    }
    replay(decision, order->order_id, order->unit_price_minor, order->accepted_at_ms);
    decision->in_flight = order->order_id == 0;
    decision->slot = slot;
    decision->generation = order->generation;
}

/* The index has matches. Of orders with this very id the youngest decides: one in a slot, else the
 * one with the greatest order id. */
static enum eng_load decide_by_matches(const struct eng_shard *shard,
                                       const struct eng_request_key *key,
                                       const struct eng_body *body, struct eng_decision *decision)
{
    const struct eng_requests *requests = &shard->requests;
    struct tg_order_row row;
    struct tg_life life;
    bool has_life;
    uint64_t youngest = 0;
    uint32_t place;
    for (uint32_t i = 0; (place = eng_requests_match(requests, key, i)) != ENG_SLOT_NONE; i++) {
        if (eng_place_is_slot(place)) {
            decide_by_slot(shard, place, body, decision);
            return ENG_LOADED;
        }
        uint64_t order_id = eng_requests_entry(requests, place)->order_id;
        if (order_id < youngest)
            continue;
        if (shard->loader.order(shard->loader.context, order_id, &row, &life, &has_life) !=
            ENG_LOADED) {
            eng_decide(decision, TG_BUSY, TG_FIELD_NONE); /* orders stay: it cannot be absent */
            return ENG_UNREADABLE;
        }
        if (memcmp(row.request_id, key->words, TG_REQUEST_ID_BYTES) != 0)
            continue;
        eng_decide_by_row(shard->engine, &row, body, decision);
        youngest = order_id;
    }
    return youngest != 0 ? ENG_LOADED : ENG_ABSENT;
}

enum eng_load eng_request_known(const struct eng_shard *shard, const struct eng_request_key *key,
                                const struct eng_body *body, struct eng_decision *decision)
{
    enum eng_load known = ENG_ABSENT;
    if (eng_requests_find(&shard->requests, key) != ENG_SLOT_NONE)
        known = decide_by_matches(shard, key, body, decision);
    if (known != ENG_ABSENT || !eng_request_elsewhere(shard->engine, shard->shard, key))
        return known;
    conflict(decision);
    return ENG_LOADED;
}

static void fill_slot(struct eng_order *slot, const struct eng_body *body, int64_t now_ms)
{
    slot->order_id = 0;
    slot->fingerprint = body->fingerprint;
    slot->unit_price_minor = body->unit_price_minor;
    slot->accepted_at_ms = now_ms;
    slot->item = body->item;
    slot->quantity = body->quantity;
}

uint32_t eng_request_bind(struct eng_shard *shard, const struct eng_request_key *key,
                          const struct eng_body *body, int64_t now_ms,
                          struct eng_decision *decision)
{
    uint32_t slot = eng_requests_insert(&shard->requests, key);
    if (slot == ENG_SLOT_NONE) {
        eng_decide(decision, TG_BUSY, TG_FIELD_NONE);
        return ENG_SLOT_NONE;
    }
    /* The id is visible from here on. If another shard shows it too, one of the two may have been
     * accepted: this one steps back, and the caller, who sent two bodies under one id, hears so. */
    fill_slot(&shard->requests.orders[slot], body, now_ms);
    if (eng_request_elsewhere(shard->engine, shard->shard, key)) {
        eng_requests_remove(&shard->requests, slot);
        conflict(decision);
        return ENG_SLOT_NONE;
    }
    eng_decide(decision, TG_ACCEPTED, TG_FIELD_NONE);
    decision->slot = slot;
    decision->generation = shard->requests.orders[slot].generation;
    return slot;
}

void eng_request_settle(struct eng_shard *shard, uint32_t slot, uint64_t order_id)
{
    if (order_id != 0)
        eng_requests_durable(&shard->requests, slot, order_id);
    else
        eng_requests_remove(&shard->requests, slot);
}

/* --- taking --- */

void eng_take_of_change(struct eng_take *take, const struct tg_change *change)
{
    const struct tg_order_row *row = &change->row;
    take->user_id = row->user_id;
    take->channel = row->channel;
    take->units_before = change->units_before;
    take->units_after = change->life.units;
    take->stands_before = change->stands_before;
    take->stands_after = change->stands_after;
    take->gated = false;
    take->held = false;
    take->durable = false;
    take->line_count = row->line_count > 0 ? row->line_count : 1;
    take->lines[0] = (struct tg_line){
        .item = row->item, .quantity = row->quantity, .unit_price_minor = row->unit_price_minor};
    memcpy(take->lines, row->lines, row->line_count * sizeof(row->lines[0]));
}
