/* team open, join, show, list. */
#include "ctl/placing.h"
#include "ctl/text.h"
#include "proto/codec.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* --- open and join --- */

/* --quantity and --price; the price that is not given is `price_minor`. */
static bool seat_options(const struct ctl *ctl, int64_t price_minor,
                         Tidegate__V1__PlaceOrderRequest *body)
{
    uint64_t quantity = 1, price = (uint64_t)price_minor;
    if (!ctl_uint_option(ctl, "quantity", 1, TG_QUANTITY_MAX, &quantity) ||
        !ctl_uint_option(ctl, "price", 0, TG_PRICE_MINOR_MAX, &price))
        return false;
    body->quantity = (uint32_t)quantity;
    body->unit_price_minor = (int64_t)price;
    return true;
}

/* The item's price for the captain, or for those who join. */
static enum ctl_exit seat_price(struct ctl *ctl, const Tidegate__V1__PlaceOrderRequest *body,
                                bool captain, int64_t *price_minor)
{
    Tidegate__V1__Response *response;
    enum ctl_exit code = ctl_item(ctl, body->sale_id, body->sku, &response);
    if (code)
        return code;
    const Tidegate__V1__SaleItem *item = response->get_item->status->item;
    *price_minor =
        captain && item->captain_price_minor ? item->captain_price_minor : item->sale_price_minor;
    tgc_response_free(response);
    return CTL_DONE;
}

/* Reads quantity and price into the order, whose sale and SKU are known. */
static enum ctl_exit fill_seat(struct ctl *ctl, Tidegate__V1__PlaceOrderRequest *body, bool captain)
{
    int64_t price_minor = 0;
    if (!ctl_option_value(ctl, "price")) {
        enum ctl_exit code = seat_price(ctl, body, captain, &price_minor);
        if (code)
            return code;
    }
    return seat_options(ctl, price_minor, body) ? CTL_DONE : CTL_USAGE;
}

/* Asks for the seat; the two answers hold the same order. */
static enum ctl_exit take_seat(struct ctl *ctl, struct ctl_placing *placing,
                               Tidegate__V1__Request *request, uint64_t team_id)
{
    static const Tidegate__V1__PlaceOrderResponse none = TIDEGATE__V1__PLACE_ORDER_RESPONSE__INIT;
    Tidegate__V1__Response *response;
    enum ctl_exit code = ctl_ask(ctl, request, placing->repeat, &response);
    if (code)
        return code;
    bool opens = response->kind_case == TIDEGATE__V1__RESPONSE__KIND_OPEN_TEAM;
    const Tidegate__V1__PlaceOrderResponse *order =
        opens ? response->open_team->order : response->join_team->order;
    if (opens)
        team_id = response->open_team->team_id;
    ctl_placing_print(ctl, placing, order ? order : &none,
                      json_pack("{s:o}", "team_id", ctl_json_id(team_id)));
    code = ctl_judge(response);
    if (!code && !ctl->json)
        printf("%s team %" PRIu64 "; the seat counts when its order is paid\n",
               opens ? "opened" : "joined", team_id);
    tgc_response_free(response);
    return code;
}

enum ctl_exit ctl_team_open(struct ctl *ctl)
{
    struct ctl_placing placing;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    Tidegate__V1__OpenTeamRequest open = TIDEGATE__V1__OPEN_TEAM_REQUEST__INIT;
    enum ctl_exit code = ctl_placing_begin(ctl, &placing);
    if (code)
        return code;
    const char *sku = ctl->arguments[1];
    if (!ctl_id_argument(ctl, 0, "the sale id", &placing.body.sale_id))
        return CTL_USAGE;
    if (!tg_sku_is_valid((struct tg_bytes){(const uint8_t *)sku, strlen(sku)}))
        return ctl_misused(ctl, "the SKU \"%.64s\" must be 1 to 32 printable ASCII bytes", sku);
    placing.body.sku = (char *)(uintptr_t)sku; /* protobuf-c only reads it */
    code = fill_seat(ctl, &placing.body, true);
    if (code)
        return code;
    open.order = &placing.body;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_OPEN_TEAM;
    request.open_team = &open;
    return take_seat(ctl, &placing, &request, 0);
}

enum ctl_exit ctl_team_join(struct ctl *ctl)
{
    struct ctl_placing placing;
    Tidegate__V1__Response *team;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    Tidegate__V1__JoinTeamRequest join = TIDEGATE__V1__JOIN_TEAM_REQUEST__INIT;
    enum ctl_exit code = ctl_placing_begin(ctl, &placing);
    if (code)
        return code;
    if (!ctl_id_argument(ctl, 0, "the team id", &join.team_id))
        return CTL_USAGE;
    code = ctl_team(ctl, join.team_id, &team);
    if (code)
        return code;
    placing.body.sale_id = team->get_team->team->sale_id;
    placing.body.sku = team->get_team->team->sku;
    code = fill_seat(ctl, &placing.body, false);
    if (!code) {
        join.order = &placing.body;
        join.new_buyer = ctl_option_value(ctl, "new-buyer") != NULL;
        request.kind_case = TIDEGATE__V1__REQUEST__KIND_JOIN_TEAM;
        request.join_team = &join;
        code = take_seat(ctl, &placing, &request, join.team_id);
    }
    tgc_response_free(team);
    return code;
}

/* --- show --- */

static const char *team_state(const Tidegate__V1__Team *team, char name[CTL_NAME_BYTES])
{
    return ctl_enum_name(&tidegate__v1__team_state__descriptor, (int)team->state, name);
}

static json_t *members_json(const Tidegate__V1__Team *team)
{
    json_t *members = json_array();
    for (size_t i = 0; i < team->n_members; i++) {
        const Tidegate__V1__TeamMember *m = team->members[i];
        json_array_append_new(
            members, json_pack("{s:o, s:o, s:b, s:b, s:I}", "order_id", ctl_json_id(m->order_id),
                               "user_id", ctl_json_id(m->user_id), "paid", (int)m->paid, "captain",
                               (int)m->captain, "joined_at_ms", (json_int_t)m->joined_at_ms));
    }
    return members;
}

static json_t *team_json(const Tidegate__V1__Team *team)
{
    char name[CTL_NAME_BYTES];
    return json_pack("{s:o, s:o, s:o, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:b, s:I}", "team_id",
                     ctl_json_id(team->team_id), "sale_id", ctl_json_id(team->sale_id), "sku",
                     ctl_json_text(team->sku), "state", team_state(team, name), "size",
                     (json_int_t)team->size, "claimed", (json_int_t)team->claimed, "paid",
                     (json_int_t)team->paid, "opened_at_ms", (json_int_t)team->opened_at_ms,
                     "deadline_ms", (json_int_t)team->deadline_ms, "ended_at_ms",
                     (json_int_t)team->ended_at_ms, "auto_completed", (int)team->auto_completed,
                     "unit_price_minor", (json_int_t)team->unit_price_minor);
}

static void print_head(const Tidegate__V1__Team *team, const char *currency)
{
    struct ctl_table table;
    char name[CTL_NAME_BYTES], time[CTL_TIME_BYTES], money[CTL_MONEY_BYTES];
    ctl_facts_init(&table);
    ctl_fact(&table, "team", "%" PRIu64, team->team_id);
    ctl_fact(&table, "state", "%s%s", team_state(team, name),
             team->auto_completed ? ", auto-completed" : "");
    ctl_fact(&table, "sale", "%" PRIu64, team->sale_id);
    ctl_fact(&table, "sku", "%s", team->sku);
    ctl_fact(&table, "seats", "%" PRIu32 " of %" PRIu32 " claimed, %" PRIu32 " paid", team->claimed,
             team->size, team->paid);
    ctl_fact(&table, "opened", "%s", ctl_time_text(team->opened_at_ms, time));
    ctl_fact(&table, "deadline", "%s", ctl_time_text(team->deadline_ms, time));
    if (team->ended_at_ms)
        ctl_fact(&table, "ended", "%s", ctl_time_text(team->ended_at_ms, time));
    if ((int)team->state == TG_TEAM_STATE_FORMED)
        ctl_fact(&table, "price", "%s %s", ctl_money_text(team->unit_price_minor, currency, money),
                 currency);
    ctl_table_end(&table);
}

static void print_members(const Tidegate__V1__Team *team)
{
    static const struct ctl_column columns[] = {
        {"ORDER", true}, {"USER", true}, {"JOINED", false}, {"PAID", false}, {"CAPTAIN", false}};
    struct ctl_table table;
    ctl_table_init(&table, columns, 5);
    for (size_t i = 0; i < team->n_members; i++) {
        const Tidegate__V1__TeamMember *member = team->members[i];
        char time[CTL_TIME_BYTES];
        ctl_table_cell(&table, "%" PRIu64, member->order_id);
        ctl_table_cell(&table, "%" PRIu64, member->user_id);
        ctl_table_cell(&table, "%s", ctl_time_text(member->joined_at_ms, time));
        ctl_table_cell(&table, "%s", member->paid ? "yes" : "no");
        ctl_table_cell(&table, "%s", member->captain ? "yes" : "no");
    }
    putchar('\n');
    ctl_table_end(&table);
}

enum ctl_exit ctl_team_show(struct ctl *ctl)
{
    uint64_t team_id;
    Tidegate__V1__Response *response;
    char currency[CTL_CURRENCY_BYTES];
    if (!ctl_id_argument(ctl, 0, "the team id", &team_id))
        return CTL_USAGE;
    enum ctl_exit code = ctl_team(ctl, team_id, &response);
    if (code)
        return code;
    const Tidegate__V1__Team *team = response->get_team->team;
    if (ctl->json) {
        json_t *json = team_json(team);
        if (json)
            json_object_set_new(json, "members", members_json(team));
        ctl_json_print(json);
    } else {
        code = ctl_currency(ctl, team->sale_id, currency);
        if (!code)
            print_head(team, currency);
        if (!code && team->n_members)
            print_members(team);
    }
    tgc_response_free(response);
    return code;
}

/* --- list --- */

static const struct ctl_column team_columns[] = {
    {"TEAM", true},    {"SKU", false}, {"STATE", false},  {"SIZE", true},
    {"CLAIMED", true}, {"PAID", true}, {"OPENED", false}, {"DEADLINE", false},
};

static void team_row(struct ctl_table *table, const Tidegate__V1__Team *team)
{
    char name[CTL_NAME_BYTES], time[CTL_TIME_BYTES];
    ctl_table_cell(table, "%" PRIu64, team->team_id);
    ctl_table_cell(table, "%s", team->sku);
    ctl_table_cell(table, "%s", team_state(team, name));
    ctl_table_cell(table, "%" PRIu32, team->size);
    ctl_table_cell(table, "%" PRIu32, team->claimed);
    ctl_table_cell(table, "%" PRIu32, team->paid);
    ctl_table_cell(table, "%s", ctl_time_text(team->opened_at_ms, time));
    ctl_table_cell(table, "%s", ctl_time_text(team->deadline_ms, time));
}

/* One page; the request goes on behind it. */
static enum ctl_exit list_page(struct ctl *ctl, struct ctl_table *table,
                               Tidegate__V1__ListTeamsRequest *body, bool *end)
{
    Tidegate__V1__Response *response;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_LIST_TEAMS;
    request.list_teams = body;
    enum ctl_exit code = ctl_call(ctl, &request, &response);
    if (code)
        return code;
    const Tidegate__V1__ListTeamsResponse *page = response->list_teams;
    for (size_t i = 0; i < page->n_teams; i++) {
        if (ctl->json)
            ctl_json_print(team_json(page->teams[i]));
        else
            team_row(table, page->teams[i]);
    }
    *end = page->end;
    if (!page->end && page->next_after_team_id <= body->after_team_id)
        code = ctl_complain(CTL_UNREACHABLE,
                            "%s sends the page after team %" PRIu64
                            " for ever: its list does not go on",
                            ctl->server, body->after_team_id);
    body->after_team_id = page->next_after_team_id;
    tgc_response_free(response);
    return code;
}

enum ctl_exit ctl_team_list(struct ctl *ctl)
{
    bool end = false;
    struct ctl_table table;
    Tidegate__V1__ListTeamsRequest body = TIDEGATE__V1__LIST_TEAMS_REQUEST__INIT;
    if (!ctl_id_argument(ctl, 0, "the sale id", &body.sale_id))
        return CTL_USAGE;
    body.limit = TG_TEAMS_PAGE_MAX;
    ctl_table_init(&table, team_columns, sizeof(team_columns) / sizeof(team_columns[0]));
    enum ctl_exit code;
    do {
        code = list_page(ctl, &table, &body, &end);
    } while (!code && !end);
    if (!ctl->json && !code)
        ctl_table_end(&table);
    return code;
}
