#include "tests/lib/depot.h"

#include "proto/verdict.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void depot_open(struct depot *depot)
{
    enum tg_error error = sto_env_open(&depot->options, &depot->env, &depot->fault);
    cr_assert_eq(error, TG_ERR_OK, "%s", depot->fault.text);
}

struct depot *depot_make(uint64_t map_bytes)
{
    struct depot *depot = calloc(1, sizeof(*depot));
    cr_assert_not_null(depot);
    snprintf(depot->dir, sizeof(depot->dir), "/tmp/tidegate-test-storage-XXXXXX");
    cr_assert_not_null(mkdtemp(depot->dir));
    depot->options = (struct sto_options){.data_dir = depot->dir,
                                          .map_bytes = map_bytes,
                                          .items_max = DEPOT_ITEMS_MAX,
                                          .readers_max = 4};
    depot_open(depot);
    return depot;
}

void depot_close(struct depot *depot)
{
    if (depot->env)
        sto_env_close(depot->env);
    depot->env = NULL;
}

void depot_unlink(const struct depot *depot)
{
    char path[128];
    const char *names[] = {"data.mdb", "lock.mdb", "lock"};
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof(path), "%s/%s", depot->dir, names[i]);
        unlink(path);
    }
    rmdir(depot->dir);
}

void depot_free(struct depot *depot)
{
    depot_close(depot);
    depot_unlink(depot);
    free(depot);
}

void depot_reopen(struct depot *depot)
{
    depot_close(depot);
    depot_open(depot);
}

/* --- records --- */

struct tg_record depot_order(struct depot *depot, uint32_t item, uint64_t user, uint32_t quantity)
{
    struct tg_record record = {
        .kind = TG_RECORD_ORDER,
        .item = item,
        .at_ms = DEPOT_AT_MS,
        .order = {
            .channel = 3, .user_id = user, .unit_price_minor = DEPOT_PRICE, .quantity = quantity}};
    depot->requests++;
    memcpy(record.order.request_id, &depot->requests, sizeof(depot->requests));
    record.order.external_bytes = (uint8_t)(depot->requests % (TG_EXTERNAL_BYTES_MAX + 1));
    memset(record.order.external_id, 'x', record.order.external_bytes);
    return record;
}

struct tg_order_row depot_order_row(struct depot *depot, uint32_t item, uint64_t user,
                                    uint32_t quantity)
{
    struct tg_record record = depot_order(depot, item, user, quantity);
    struct tg_order_row row = {.user_id = user,
                               .unit_price_minor = DEPOT_PRICE,
                               .accepted_at_ms = record.at_ms,
                               .item = item,
                               .quantity = quantity,
                               .channel = record.order.channel,
                               .external_bytes = record.order.external_bytes};
    memcpy(row.request_id, record.order.request_id, sizeof(row.request_id));
    memcpy(row.external_id, record.order.external_id, sizeof(row.external_id));
    return row;
}

struct tg_record depot_adjust(uint32_t item, int64_t delta_units)
{
    return (struct tg_record){
        .kind = TG_RECORD_ADJUST,
        .item = item,
        .at_ms = DEPOT_AT_MS,
        .adjust = {.delta_units = delta_units, .reason_bytes = 5, .reason = "count"}};
}

struct tg_sale_def *depot_sale(uint32_t sale, uint32_t first, uint32_t count, uint32_t stock_units)
{
    struct tg_sale_def *def = tg_sale_def_create(count);
    cr_assert_not_null(def);
    def->sale_id = sale + 1000;
    def->sale = sale;
    def->kind = TG_SALE_SECKILL;
    def->state = TG_SALE_ACTIVE;
    def->name_bytes = 4;
    memcpy(def->name, "Sale", 4);
    memcpy(def->currency, "EUR", 3);
    def->starts_at_ms = 1;
    def->ends_at_ms = 2;
    def->payment_window_s = TG_PAYMENT_WINDOW_S_DEFAULT;
    for (uint32_t i = 0; i < count; i++) {
        def->items[i] = (struct tg_item_def){.item = first + i,
                                             .list_price_minor = 2999,
                                             .sale_price_minor = DEPOT_PRICE,
                                             .stock_units = stock_units,
                                             .per_user_limit = 2,
                                             .stock_policy = TG_POLICY_RESERVE};
        def->items[i].sku_bytes =
            (uint8_t)snprintf((char *)def->items[i].sku, TG_SKU_BYTES_MAX, "SKU-%u", first + i);
    }
    return def;
}

void depot_sale_of_teams(struct tg_sale_def *def, uint8_t team_size)
{
    def->kind = TG_SALE_GROUP_BUY;
    def->team = (struct tg_team_rules){.team_size = team_size,
                                       .at_deadline = TG_DEADLINE_FAIL,
                                       .team_lifetime_s = TG_TEAM_LIFETIME_S_DEFAULT};
}

struct tg_change *depot_change(struct depot *depot, uint32_t item, uint64_t user, uint32_t quantity)
{
    struct tg_change *change = calloc(1, sizeof(*change));
    cr_assert_not_null(change);
    change->creates = true;
    change->row = depot_order_row(depot, item, user, quantity);
    change->life.state = TG_ORDER_RESERVED;
    change->life.units = TG_UNITS_RESERVED;
    change->life.amount_minor = quantity * (int64_t)DEPOT_PRICE;
    change->life.payment_deadline_ms = DEPOT_AT_MS + 900000;
    return change;
}

static void event_add(struct tg_change *change, uint8_t type, int64_t amount_minor)
{
    change->events[change->event_count++] =
        (struct tg_change_event){.type = type, .amount_minor = amount_minor};
}

void depot_change_pay(struct tg_change *change)
{
    struct tg_life *life = &change->life;
    struct tg_payment *payment = &life->payments[life->payment_count++];
    payment->amount_minor = life->amount_minor;
    payment->paid_at_ms = payment->recorded_at_ms = DEPOT_AT_MS + 1000;
    memcpy(payment->currency, "EUR", 3);
    payment->status = TG_PAYMENT_APPLIED;
    payment->id_bytes = 2;
    memcpy(payment->id, "p1", 2);
    life->state = TG_ORDER_CONFIRMED;
    life->units = TG_UNITS_SOLD;
    life->received_minor += life->amount_minor;
    life->payment_deadline_ms = 0;
    life->paid_at_ms = life->confirmed_at_ms = DEPOT_AT_MS + 1000;
    life->version++;
    change->stores_life = true;
    event_add(change, TG_EVENT_ORDER_PAID, life->amount_minor);
    event_add(change, TG_EVENT_ORDER_CONFIRMED, 0);
}

void depot_change_expire(struct tg_change *change)
{
    struct tg_life *life = &change->life;
    life->state = TG_ORDER_EXPIRED;
    life->units = TG_UNITS_NONE;
    life->ended_at_ms = life->payment_deadline_ms;
    life->payment_deadline_ms = 0;
    life->version++;
    change->stores_life = true;
    event_add(change, TG_EVENT_ORDER_EXPIRED, 0);
}

void depot_change_again(struct tg_change *change)
{
    change->creates = false;
    change->units_before = change->life.units;
    change->event_count = 0;
}

struct tg_record depot_change_record(struct tg_change *change)
{
    return (struct tg_record){.kind = TG_RECORD_CHANGE,
                              .item = change->row.item,
                              .at_ms = DEPOT_AT_MS + 2000,
                              .change = change};
}

/* --- commits --- */

enum sto_result depot_commit(struct depot *depot, struct tg_record *records, uint32_t count)
{
    struct sto_batch batch = {.spans = {{records, count}}, .span_count = 1};
    return sto_commit(depot->env, &batch, &depot->fault);
}

void depot_commit_all(struct depot *depot, struct tg_record *records, uint32_t count)
{
    cr_assert_eq(depot_commit(depot, records, count), STO_DURABLE, "%s", depot->fault.text);
}

void depot_commit_def(struct depot *depot, struct tg_sale_def *def)
{
    struct tg_record record = {.kind = TG_RECORD_SALE, .sale = def};
    depot_commit_all(depot, &record, 1);
    free(def);
}

void depot_commit_sale(struct depot *depot, uint32_t sale, uint32_t first, uint32_t count,
                       uint32_t stock_units)
{
    depot_commit_def(depot, depot_sale(sale, first, count, stock_units));
}

uint64_t depot_commit_orders(struct depot *depot, uint32_t item, uint32_t count)
{
    struct tg_record *records = calloc(count, sizeof(*records));
    for (uint32_t i = 0; i < count; i++)
        records[i] = depot_order(depot, item, i, 1);
    depot_commit_all(depot, records, count);
    uint64_t last = records[count - 1].order_id;
    free(records);
    return last;
}

/* --- recovery into memory --- */

static bool on_sale(void *context, const struct tg_sale_def *def, const struct tg_stock *stocks,
                    struct tg_fault *fault)
{
    struct depot_found *found = context;
    (void)fault;
    size_t bytes = sizeof(*def) + def->item_count * sizeof(struct tg_item_def);
    cr_assert_eq(found->order_count, 0, "sales come before orders");
    found->sales[found->sale_count] = malloc(bytes);
    memcpy(found->sales[found->sale_count++], def, bytes);
    for (uint32_t i = 0; i < def->item_count; i++)
        found->stocks[def->items[i].item] = stocks[i];
    return true;
}

static bool on_group(void *context, const struct tg_group *group, struct tg_fault *fault)
{
    struct depot_found *found = context;
    (void)group;
    (void)fault;
    found->group_count++;
    return true;
}

static bool on_order(void *context, const struct tg_order_row *row, const struct tg_life *life,
                     struct tg_fault *fault)
{
    struct depot_found *found = context;
    if (found->order_count == found->orders_max) {
        tg_fault_set(fault, TG_ERR_FULL, "raise orders_max");
        return false;
    }
    found->orders[found->order_count++] = *row;
    found->life_count += life != NULL;
    return true;
}

static bool on_team(void *context, const struct tg_team *team, struct tg_fault *fault)
{
    struct depot_found *found = context;
    (void)team;
    (void)fault;
    found->team_count++;
    return true;
}

enum tg_error depot_recover(struct depot *depot, struct depot_found *found, uint32_t orders_max)
{
    *found = (struct depot_found){.orders = calloc(orders_max + 1, sizeof(*found->orders)),
                                  .orders_max = orders_max};
    struct sto_recovery recovery = {
        .context = found, .sale = on_sale, .group = on_group, .order = on_order, .team = on_team};
    return sto_recover(depot->env, &recovery, &found->stats, &depot->fault);
}

void depot_found_free(struct depot_found *found)
{
    for (uint32_t i = 0; i < found->sale_count; i++)
        free(found->sales[i]);
    free(found->orders);
}

void depot_restart(struct depot *depot)
{
    struct depot_found *found = malloc(sizeof(*found));
    depot_reopen(depot);
    cr_assert_eq(depot_recover(depot, found, 100000), TG_ERR_OK, "%s", depot->fault.text);
    depot_found_free(found);
    free(found);
}

void depot_expect_sound(struct depot *depot)
{
    struct sto_verify_report report;
    depot_close(depot);
    cr_assert_eq(sto_verify(depot->dir, NULL, NULL, NULL, &report, &depot->fault), TG_ERR_OK, "%s",
                 depot->fault.text);
    depot_restart(depot);
}
