/* The offline check of what binds orders together: teams and their members, both ways, and the
 * ingested orders and the ids that they are known by. */
#include "storage/check.h"

#include "proto/verdict.h"
#include "storage/rows.h"

#include <string.h>

/* --- a member, seen from its order --- */

static const struct tg_seat *seat_of(const struct tg_team *team, uint64_t order_id)
{
    for (uint8_t i = 0; i < team->seat_count; i++) {
        if (team->seats[i].order_id == order_id)
            return &team->seats[i];
    }
    return NULL;
}

static bool is_kept(uint8_t state)
{
    return state == TG_ORDER_CONFIRMED || state == TG_ORDER_SHIPPED ||
           state == TG_ORDER_DELIVERED || state == TG_ORDER_COMPLETED;
}

static bool is_waiting(uint8_t state)
{
    return state == TG_ORDER_RESERVED || state == TG_ORDER_PAID || state == TG_ORDER_AWAITING_TEAM;
}

/* Whether an order in this state can have this seat (NULL: none, or none any more) in its team. */
static bool member_fits(const struct tg_team *team, const struct tg_seat *seat, uint8_t state)
{
    if (!seat)
        return !is_kept(state) && !is_waiting(state);
    switch ((enum tg_team_state)team->state) {
    case TG_TEAM_PENDING:
    case TG_TEAM_OPEN:
        return state == (seat->paid_at_ms ? TG_ORDER_AWAITING_TEAM : TG_ORDER_RESERVED);
    case TG_TEAM_STATE_FORMED:
        return is_kept(state) || state == TG_ORDER_REFUND_DUE || state == TG_ORDER_REFUNDED;
    case TG_TEAM_STATE_FAILED:
    case TG_TEAM_DISSOLVED:
        return !is_kept(state) && !is_waiting(state);
    }
    return false;
}

static const char *team_state_name(uint8_t state)
{
    switch ((enum tg_team_state)state) {
    case TG_TEAM_PENDING:
        return "PENDING";
    case TG_TEAM_OPEN:
        return "OPEN";
    case TG_TEAM_STATE_FORMED:
        return "FORMED";
    case TG_TEAM_STATE_FAILED:
        return "FAILED";
    case TG_TEAM_DISSOLVED:
        return "DISSOLVED";
    }
    return "UNSPECIFIED";
}

void sto_check_member(struct sto_check *c, const struct tg_order_row *row, uint8_t state)
{
    MDB_val value;
    struct tg_team team;
    if (!sto_check_get(c, c->tables.teams, row->team_id, &value)) {
        sto_check_find(c, &c->report->orphan_orders,
                       "table orders, row %llu: its team %llu does not exist",
                       (unsigned long long)row->order_id, (unsigned long long)row->team_id);
        return;
    }
    /* A damaged team is found in its own table. */
    if (sto_row_team_decode(value.mv_data, value.mv_size, row->team_id, &team))
        return;
    const struct tg_seat *seat = seat_of(&team, row->order_id);
    if (!member_fits(&team, seat, state))
        sto_check_find(c, &c->report->broken_teams,
                       "table orders, row %llu: it is %s %s in team %llu, which is %s",
                       (unsigned long long)row->order_id, tg_order_state_name(state),
                       !seat              ? "without a seat"
                       : seat->paid_at_ms ? "with a paid seat"
                                          : "with a seat that is not paid",
                       (unsigned long long)row->team_id, team_state_name(team.state));
}

/* --- a team, seen from its seats --- */

static void seat_judge(struct sto_check *c, const struct tg_team *team, uint8_t place)
{
    const struct tg_seat *seat = &team->seats[place];
    struct tg_order_row row;
    MDB_val unread;
    if (!sto_check_get(c, c->tables.orders, seat->order_id, &unread)) {
        sto_check_find(c, &c->report->orphan_orders,
                       "table teams, row %llu: the order %llu of a seat does not exist",
                       (unsigned long long)team->team_id, (unsigned long long)seat->order_id);
        return;
    }
    if (sto_check_order(c, seat->order_id, &row) &&
        (row.team_id != team->team_id || row.user_id != seat->user_id || row.item != team->item))
        sto_check_find(c, &c->report->broken_teams,
                       "table teams, row %llu: the order %llu of a seat is of team %llu, user "
                       "%llu and item %u; the seat says user %llu and the team item %u",
                       (unsigned long long)team->team_id, (unsigned long long)seat->order_id,
                       (unsigned long long)row.team_id, (unsigned long long)row.user_id, row.item,
                       (unsigned long long)seat->user_id, team->item);
    for (uint8_t i = 0; i < place; i++) {
        if (team->seats[i].user_id == seat->user_id || team->seats[i].order_id == seat->order_id)
            sto_check_find(c, &c->report->broken_teams,
                           "table teams, row %llu: user %llu has two seats",
                           (unsigned long long)team->team_id, (unsigned long long)seat->user_id);
    }
}

static void team_judge(struct sto_check *c, const struct tg_team *team)
{
    unsigned long long team_id = team->team_id;
    MDB_val unread;
    struct tg_order_row opener;
    if (team->seat_count > team->size)
        sto_check_find(c, &c->report->broken_teams,
                       "table teams, row %llu: %u seats are taken, and it has %u", team_id,
                       team->seat_count, team->size);
    /* Seats that were not paid are gone from a team that failed: then perhaps all. */
    bool is_left = team->state == TG_TEAM_DISSOLVED ||
                   (team->state == TG_TEAM_STATE_FAILED && team->seat_count == 0);
    if (!is_left && !seat_of(team, team->captain_order_id))
        sto_check_find(c, &c->report->broken_teams,
                       "table teams, row %llu: its captain's order %llu has no seat", team_id,
                       (unsigned long long)team->captain_order_id);
    if (!sto_check_get(c, c->tables.orders, team->team_id, &unread))
        sto_check_find(c, &c->report->orphan_orders,
                       "table teams, row %llu: the order that opened it does not exist", team_id);
    else if (!seat_of(team, team->team_id) && sto_check_order(c, team->team_id, &opener) &&
             opener.item != team->item) /* what has a seat is looked at with it */
        sto_check_find(c, &c->report->broken_teams,
                       "table teams, row %llu: it is of item %u, the order that opened it of %u",
                       team_id, team->item, opener.item);
    for (uint8_t i = 0; i < team->seat_count; i++)
        seat_judge(c, team, i);
}

static bool team_visit(void *context, const MDB_val *key, const MDB_val *value)
{
    struct sto_check *c = context;
    uint64_t team_id;
    struct tg_team team;
    c->report->teams++;
    if (!sto_key_read(key, &team_id, sizeof(team_id))) {
        sto_check_find_key(c, "teams");
        return true;
    }
    const char *problem = sto_row_team_decode(value->mv_data, value->mv_size, team_id, &team);
    if (problem)
        sto_check_find_damage(c, "teams", team_id, problem);
    else
        team_judge(c, &team);
    return true;
}

enum tg_error sto_check_teams(struct sto_check *c)
{
    return sto_check_walk(c, c->tables.teams, team_visit);
}

/* --- ingested orders --- */

void sto_check_is_ingested(struct sto_check *c, const struct tg_order_row *row)
{
    MDB_val unread;
    if (!sto_check_find_row(c, c->tables.ingested, row->request_id, sizeof(row->request_id),
                            &unread))
        sto_check_find(c, &c->report->duplicate_requests,
                       "table ingested: order %llu is not there, and could be taken again",
                       (unsigned long long)row->order_id);
}

static bool ingested_visit(void *context, const MDB_val *key, const MDB_val *value)
{
    struct sto_check *c = context;
    uint8_t request_id[TG_REQUEST_ID_BYTES];
    uint64_t order_id;
    struct tg_order_row row;
    MDB_val unread;
    if (!sto_key_read(key, request_id, sizeof(request_id))) {
        sto_check_find_key(c, "ingested");
        return true;
    }
    const char *problem =
        sto_row_ingested_decode(value->mv_data, value->mv_size, request_id, &order_id);
    if (problem) {
        uint64_t first_bytes;
        memcpy(&first_bytes, request_id, sizeof(first_bytes));
        sto_check_find_damage(c, "ingested", first_bytes, problem);
    } else if (!sto_check_get(c, c->tables.orders, order_id, &unread)) {
        sto_check_find(c, &c->report->orphan_orders,
                       "table ingested: its order %llu does not exist",
                       (unsigned long long)order_id);
    } else if (sto_check_order(c, order_id, &row) &&
               (!(row.flags & TG_ORDER_INGESTED) ||
                memcmp(row.request_id, request_id, sizeof(request_id)) != 0)) {
        sto_check_find(c, &c->report->orphan_orders,
                       "table ingested: its order %llu is another request's",
                       (unsigned long long)order_id);
    }
    return true;
}

enum tg_error sto_check_ingested(struct sto_check *c)
{
    return sto_check_walk(c, c->tables.ingested, ingested_visit);
}
