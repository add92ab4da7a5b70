#include "ctl/saleview.h"

#include <inttypes.h>
#include <stdio.h>

static const char *kind_name(const Tidegate__V1__Sale *sale, char name[CTL_NAME_BYTES])
{
    return ctl_enum_name(&tidegate__v1__sale_kind__descriptor, (int)sale->kind, name);
}

static const char *deadline_name(const Tidegate__V1__GroupBuyRules *rules,
                                 char name[CTL_NAME_BYTES])
{
    return ctl_enum_name(&tidegate__v1__team_deadline__descriptor, (int)rules->at_deadline, name);
}

/* --- text --- */

static void group_buy_facts(struct ctl_table *table, const Tidegate__V1__GroupBuyRules *rules)
{
    char name[CTL_NAME_BYTES];
    ctl_fact(table, "team size", "%" PRIu32, rules->team_size);
    ctl_fact(table, "team lifetime", "%" PRIu32 " s", rules->team_lifetime_s);
    if (rules->teams_per_user_max)
        ctl_fact(table, "teams per user", "%" PRIu32, rules->teams_per_user_max);
    ctl_fact(table, "joiners", "%s", rules->new_buyers_only ? "new buyers only" : "everybody");
    if ((int)rules->at_deadline == TG_DEADLINE_AUTO_COMPLETE)
        ctl_fact(table, "at deadline", "%s from %" PRIu32 " paid seats on",
                 deadline_name(rules, name), rules->team_size_min);
    else
        ctl_fact(table, "at deadline", "%s", deadline_name(rules, name));
}

void ctl_sale_print(const Tidegate__V1__Sale *sale, int64_t now_ms)
{
    struct ctl_table table;
    char time[CTL_TIME_BYTES], name[CTL_NAME_BYTES], money[CTL_MONEY_BYTES];
    ctl_facts_init(&table);
    ctl_fact(&table, "sale", "%" PRIu64, sale->sale_id);
    ctl_fact(&table, "name", "%s", sale->name);
    ctl_fact(&table, "kind", "%s", kind_name(sale, name));
    ctl_fact(&table, "state", "%s", ctl_sale_phase(sale, now_ms, name));
    ctl_fact(&table, "starts", "%s", ctl_time_text(sale->starts_at_ms, time));
    ctl_fact(&table, "ends", "%s", ctl_time_text(sale->ends_at_ms, time));
    ctl_fact(&table, "currency", "%s", sale->currency);
    ctl_fact(&table, "pay within", "%" PRIu32 " s", sale->payment_window_s);
    ctl_fact(&table, "auto-refund", "up to %s",
             ctl_money_text(sale->refund_auto_max_minor, sale->currency, money));
    if (sale->group_buy)
        group_buy_facts(&table, sale->group_buy);
    for (size_t i = 0; i < sale->n_channel_shares; i++)
        ctl_fact(&table, i ? "" : "shares", "channel %" PRIu32 ": %" PRIu32 "%%",
                 sale->channel_shares[i]->channel, sale->channel_shares[i]->percent);
    ctl_fact(&table, "items", "%" PRIu32, sale->item_count);
    ctl_table_end(&table);
}

/* --- JSON --- */

static json_t *group_buy_json(const Tidegate__V1__GroupBuyRules *rules)
{
    char name[CTL_NAME_BYTES];
    return json_pack("{s:I, s:I, s:I, s:b, s:s, s:I}", "team_size", (json_int_t)rules->team_size,
                     "team_lifetime_s", (json_int_t)rules->team_lifetime_s, "teams_per_user_max",
                     (json_int_t)rules->teams_per_user_max, "new_buyers_only",
                     (int)rules->new_buyers_only, "at_deadline", deadline_name(rules, name),
                     "team_size_min", (json_int_t)rules->team_size_min);
}

static json_t *shares_json(const Tidegate__V1__Sale *sale)
{
    json_t *shares = json_array();
    for (size_t i = 0; i < sale->n_channel_shares; i++)
        json_array_append_new(
            shares, json_pack("{s:I, s:I}", "channel", (json_int_t)sale->channel_shares[i]->channel,
                              "percent", (json_int_t)sale->channel_shares[i]->percent));
    return shares;
}

json_t *ctl_sale_json(const Tidegate__V1__Sale *sale)
{
    char kind[CTL_NAME_BYTES], state[CTL_NAME_BYTES];
    ctl_enum_name(&tidegate__v1__sale_state__descriptor, (int)sale->state, state);
    json_t *json =
        json_pack("{s:o, s:s, s:s, s:o, s:o, s:I, s:I, s:I, s:I, s:I, s:o}", "sale_id",
                  ctl_json_id(sale->sale_id), "kind", kind_name(sale, kind), "state", state, "name",
                  ctl_json_text(sale->name), "currency", ctl_json_text(sale->currency),
                  "starts_at_ms", (json_int_t)sale->starts_at_ms, "ends_at_ms",
                  (json_int_t)sale->ends_at_ms, "item_count", (json_int_t)sale->item_count,
                  "payment_window_s", (json_int_t)sale->payment_window_s, "refund_auto_max_minor",
                  (json_int_t)sale->refund_auto_max_minor, "channel_shares", shares_json(sale));
    if (json && sale->group_buy)
        json_object_set_new(json, "group_buy", group_buy_json(sale->group_buy));
    return json;
}
