#include "ctl/orderview.h"

#include "ctl/ctl.h"

#include <inttypes.h>
#include <stdio.h>

#define EXTERNAL_TEXT_BYTES (2 * TG_EXTERNAL_BYTES_MAX + 3)
#define PAYMENT_TEXT_BYTES  (2 * TG_PAYMENT_ID_BYTES_MAX + 3)

/* --- a row --- */

const struct ctl_column ctl_order_columns[CTL_ORDER_COLUMNS] = {
    {"ORDER", true},    {"SALE", true},    {"SKU", false},     {"USER", true},
    {"QUANTITY", true}, {"AMOUNT", true},  {"STATE", false},   {"ACCEPTED", false},
    {"TEAM", true},     {"CHANNEL", true}, {"REQUEST", false}, {"EXTERNAL", false},
};

static const char *state_name(const Tidegate__V1__Order *order, char name[CTL_NAME_BYTES])
{
    return ctl_enum_name(&tidegate__v1__order_state__descriptor, (int)order->state, name);
}

/* Ids of others; 0 is none. */
static void id_cell(struct ctl_table *table, uint64_t id)
{
    if (id)
        ctl_table_cell(table, "%" PRIu64, id);
    else
        ctl_table_cell(table, "-");
}

void ctl_order_row(struct ctl_table *table, const Tidegate__V1__Order *order)
{
    char time[CTL_TIME_BYTES], name[CTL_NAME_BYTES];
    char external[EXTERNAL_TEXT_BYTES], request[CTL_REQUEST_TEXT_BYTES];
    ctl_table_cell(table, "%" PRIu64, order->order_id);
    ctl_table_cell(table, "%" PRIu64, order->sale_id);
    if (order->n_lines)
        ctl_table_cell(table, "(%zu lines)", order->n_lines);
    else
        ctl_table_cell(table, "%s", order->sku);
    ctl_table_cell(table, "%" PRIu64, order->user_id);
    ctl_table_cell(table, "%" PRIu32, order->quantity);
    ctl_table_cell(table, "%" PRId64, order->amount_minor);
    ctl_table_cell(table, "%s", state_name(order, name));
    ctl_table_cell(table, "%s", ctl_time_text(order->accepted_at_ms, time));
    id_cell(table, order->team_id);
    ctl_table_cell(table, "%" PRIu32, order->channel);
    ctl_table_cell(table, "%s", ctl_hex_text(&order->request_id, request, sizeof(request)));
    ctl_table_cell(table, "%s", ctl_bytes_text(&order->external_id, external, sizeof(external)));
}

/* --- a sentence --- */

static int64_t kept_minor(const Tidegate__V1__Order *order)
{
    return order->received_minor - order->refund_due_minor - order->refunded_minor;
}

void ctl_order_print_brief(const Tidegate__V1__Order *order)
{
    char name[CTL_NAME_BYTES];
    printf("order %" PRIu64 " is %s: amount %" PRId64 ", received %" PRId64 ", kept %" PRId64
           ", refund due %" PRId64 ", refunded %" PRId64 "\n",
           order->order_id, state_name(order, name), order->amount_minor, order->received_minor,
           kept_minor(order), order->refund_due_minor, order->refunded_minor);
}

/* --- the whole --- */

static void what_facts(struct ctl_table *table, const Tidegate__V1__Order *order,
                       const char *currency)
{
    char money[CTL_MONEY_BYTES], external[EXTERNAL_TEXT_BYTES], request[CTL_REQUEST_TEXT_BYTES];
    ctl_fact(table, "sale", "%" PRIu64, order->sale_id);
    ctl_fact(table, "user", "%" PRIu64, order->user_id);
    if (!order->n_lines) {
        ctl_fact(table, "sku", "%s", order->sku);
        ctl_fact(table, "quantity", "%" PRIu32, order->quantity);
        ctl_fact(table, "unit price", "%s",
                 ctl_money_text(order->unit_price_minor, currency, money));
    }
    if (order->team_id)
        ctl_fact(table, "team", "%" PRIu64, order->team_id);
    ctl_fact(table, "channel", "%" PRIu32 "%s", order->channel,
             order->ingested ? ", ingested" : "");
    if (order->external_id.len)
        ctl_fact(table, "external id", "%s",
                 ctl_bytes_text(&order->external_id, external, sizeof(external)));
    ctl_fact(table, "request id", "%s", ctl_hex_text(&order->request_id, request, sizeof(request)));
    ctl_fact(table, "version", "%" PRIu32 ", newest event %" PRIu64, order->version,
             order->last_sequence);
}

static void money_facts(struct ctl_table *table, const Tidegate__V1__Order *order,
                        const char *currency)
{
    const struct {
        const char *name;
        int64_t minor;
    } all[] = {{"amount", order->amount_minor},
               {"received", order->received_minor},
               {"kept", kept_minor(order)},
               {"refund due", order->refund_due_minor},
               {"refunded", order->refunded_minor}};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        char money[CTL_MONEY_BYTES];
        ctl_fact(table, all[i].name, "%s %s", ctl_money_text(all[i].minor, currency, money),
                 currency);
    }
}

/* The steps that were taken, in the order in which they can be; which of the three ends it was is
 * told by who ended it and by the state. */
static void time_facts(struct ctl_table *table, const Tidegate__V1__Order *order)
{
    const struct {
        const char *name;
        int64_t at_ms;
    } all[] = {{"accepted", order->accepted_at_ms},   {"pay before", order->payment_deadline_ms},
               {"paid", order->paid_at_ms},           {"confirmed", order->confirmed_at_ms},
               {"shipped", order->shipped_at_ms},     {"delivered", order->delivered_at_ms},
               {"completed", order->completed_at_ms}, {"ended", order->ended_at_ms},
               {"refunded", order->refunded_at_ms}};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        char time[CTL_TIME_BYTES];
        if (all[i].at_ms)
            ctl_fact(table, all[i].name, "%s", ctl_time_text(all[i].at_ms, time));
    }
}

static void print_head(const Tidegate__V1__Order *order, const char *currency)
{
    struct ctl_table table;
    char name[CTL_NAME_BYTES], by[CTL_NAME_BYTES];
    ctl_facts_init(&table);
    ctl_fact(&table, "order", "%" PRIu64, order->order_id);
    ctl_fact(&table, "state", "%s", state_name(order, name));
    if (order->cancelled_by)
        ctl_fact(
            &table, "cancelled by", "%s",
            ctl_enum_name(&tidegate__v1__cancelled_by__descriptor, (int)order->cancelled_by, by));
    what_facts(&table, order, currency);
    money_facts(&table, order, currency);
    time_facts(&table, order);
    ctl_table_end(&table);
}

static void print_lines(const Tidegate__V1__Order *order, const char *currency)
{
    static const struct ctl_column columns[] = {
        {"SKU", false}, {"QUANTITY", true}, {"PRICE", true}};
    struct ctl_table table;
    ctl_table_init(&table, columns, 3);
    for (size_t i = 0; i < order->n_lines; i++) {
        const Tidegate__V1__OrderLine *line = order->lines[i];
        char money[CTL_MONEY_BYTES];
        ctl_table_cell(&table, "%s", line->sku);
        ctl_table_cell(&table, "%" PRIu32, line->quantity);
        ctl_table_cell(&table, "%s", ctl_money_text(line->unit_price_minor, currency, money));
    }
    putchar('\n');
    ctl_table_end(&table);
}

static void print_payments(const Tidegate__V1__Order *order)
{
    static const struct ctl_column columns[] = {
        {"PAYMENT", false}, {"AMOUNT", true}, {"CURRENCY", false}, {"CHANNEL", true},
        {"STATUS", false},  {"PAID", false},  {"RECORDED", false},
    };
    struct ctl_table table;
    ctl_table_init(&table, columns, sizeof(columns) / sizeof(columns[0]));
    for (size_t i = 0; i < order->n_payments; i++) {
        const Tidegate__V1__Payment *p = order->payments[i];
        char id[PAYMENT_TEXT_BYTES], money[CTL_MONEY_BYTES], name[CTL_NAME_BYTES];
        char time[CTL_TIME_BYTES];
        ctl_table_cell(&table, "%s", ctl_bytes_text(&p->payment_id, id, sizeof(id)));
        ctl_table_cell(&table, "%s", ctl_money_text(p->amount_minor, p->currency, money));
        ctl_table_cell(&table, "%s", p->currency);
        ctl_table_cell(&table, "%" PRIu32, p->channel);
        ctl_table_cell(
            &table, "%s",
            ctl_enum_name(&tidegate__v1__payment_status__descriptor, (int)p->status, name));
        ctl_table_cell(&table, "%s", ctl_when_text(p->paid_at_ms, time));
        ctl_table_cell(&table, "%s", ctl_when_text(p->recorded_at_ms, time));
    }
    putchar('\n');
    ctl_table_end(&table);
}

static void refund_row(struct ctl_table *table, const Tidegate__V1__Refund *r, const char *currency)
{
    char money[CTL_MONEY_BYTES], name[CTL_NAME_BYTES], time[CTL_TIME_BYTES];
    char reference[2 * TG_REFUND_REF_BYTES_MAX + 3];
    ctl_table_cell(table, "%" PRIu32, r->number);
    ctl_table_cell(table, "%s", ctl_money_text(r->amount_minor, currency, money));
    ctl_table_cell(table, "%s",
                   ctl_enum_name(&tidegate__v1__refund_cause__descriptor, (int)r->cause, name));
    ctl_table_cell(table, "%s",
                   ctl_enum_name(&tidegate__v1__refund_status__descriptor, (int)r->status, name));
    ctl_table_cell(table, "%s", r->restock ? "yes" : "no");
    ctl_table_cell(table, "%s", ctl_when_text(r->requested_at_ms, time));
    ctl_table_cell(table, "%s", ctl_when_text(r->decided_at_ms, time));
    ctl_table_cell(table, "%s", ctl_when_text(r->refunded_at_ms, time));
    ctl_table_cell(table, "%s", ctl_bytes_text(&r->reference, reference, sizeof(reference)));
    ctl_table_cell(table, "%s", r->reason);
}

static void print_refunds(const Tidegate__V1__Order *order, const char *currency)
{
    static const struct ctl_column columns[] = {
        {"REFUND", true},     {"AMOUNT", true},     {"CAUSE", false},   {"STATUS", false},
        {"RESTOCK", false},   {"REQUESTED", false}, {"DECIDED", false}, {"REFUNDED", false},
        {"REFERENCE", false}, {"REASON", false},
    };
    struct ctl_table table;
    ctl_table_init(&table, columns, sizeof(columns) / sizeof(columns[0]));
    for (size_t i = 0; i < order->n_refunds; i++)
        refund_row(&table, order->refunds[i], currency);
    putchar('\n');
    ctl_table_end(&table);
}

void ctl_order_print(const Tidegate__V1__Order *order, const char *currency)
{
    print_head(order, currency);
    if (order->n_lines)
        print_lines(order, currency);
    if (order->n_payments)
        print_payments(order);
    if (order->n_refunds)
        print_refunds(order, currency);
}

/* --- JSON --- */

static json_t *lines_json(const Tidegate__V1__Order *order)
{
    json_t *lines = json_array();
    for (size_t i = 0; i < order->n_lines; i++)
        json_array_append_new(
            lines, json_pack("{s:o, s:I, s:I}", "sku", ctl_json_text(order->lines[i]->sku),
                             "quantity", (json_int_t)order->lines[i]->quantity, "unit_price_minor",
                             (json_int_t)order->lines[i]->unit_price_minor));
    return lines;
}

static json_t *payment_json(const Tidegate__V1__Payment *p)
{
    char id[PAYMENT_TEXT_BYTES], name[CTL_NAME_BYTES];
    return json_pack(
        "{s:s, s:I, s:o, s:I, s:s, s:I, s:I}", "payment_id",
        ctl_bytes_text(&p->payment_id, id, sizeof(id)), "amount_minor", (json_int_t)p->amount_minor,
        "currency", ctl_json_text(p->currency), "channel", (json_int_t)p->channel, "status",
        ctl_enum_name(&tidegate__v1__payment_status__descriptor, (int)p->status, name),
        "paid_at_ms", (json_int_t)p->paid_at_ms, "recorded_at_ms", (json_int_t)p->recorded_at_ms);
}

static json_t *refund_json(const Tidegate__V1__Refund *r)
{
    char reference[2 * TG_REFUND_REF_BYTES_MAX + 3], cause[CTL_NAME_BYTES], status[CTL_NAME_BYTES];
    return json_pack(
        "{s:I, s:I, s:s, s:s, s:b, s:o, s:s, s:I, s:I, s:I}", "number", (json_int_t)r->number,
        "amount_minor", (json_int_t)r->amount_minor, "cause",
        ctl_enum_name(&tidegate__v1__refund_cause__descriptor, (int)r->cause, cause), "status",
        ctl_enum_name(&tidegate__v1__refund_status__descriptor, (int)r->status, status), "restock",
        (int)r->restock, "reason", ctl_json_text(r->reason), "reference",
        ctl_bytes_text(&r->reference, reference, sizeof(reference)), "requested_at_ms",
        (json_int_t)r->requested_at_ms, "decided_at_ms", (json_int_t)r->decided_at_ms,
        "refunded_at_ms", (json_int_t)r->refunded_at_ms);
}

static void set_numbers(json_t *json, const Tidegate__V1__Order *order)
{
    const struct {
        const char *key;
        int64_t value;
    } all[] = {{"amount_minor", order->amount_minor},
               {"received_minor", order->received_minor},
               {"kept_minor", kept_minor(order)},
               {"refund_due_minor", order->refund_due_minor},
               {"refunded_minor", order->refunded_minor},
               {"payment_deadline_ms", order->payment_deadline_ms},
               {"paid_at_ms", order->paid_at_ms},
               {"confirmed_at_ms", order->confirmed_at_ms},
               {"shipped_at_ms", order->shipped_at_ms},
               {"delivered_at_ms", order->delivered_at_ms},
               {"completed_at_ms", order->completed_at_ms},
               {"ended_at_ms", order->ended_at_ms},
               {"refunded_at_ms", order->refunded_at_ms},
               {"version", order->version}};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        json_object_set_new(json, all[i].key, json_integer(all[i].value));
}

json_t *ctl_order_json(const Tidegate__V1__Order *order)
{
    char external[EXTERNAL_TEXT_BYTES], request[CTL_REQUEST_TEXT_BYTES];
    char state[CTL_NAME_BYTES], by[CTL_NAME_BYTES];
    json_t *json = json_pack(
        "{s:o, s:s, s:o, s:o, s:o, s:I, s:I, s:I, s:s, s:I, s:s}", "order_id",
        ctl_json_id(order->order_id), "request_id",
        ctl_hex_text(&order->request_id, request, sizeof(request)), "sale_id",
        ctl_json_id(order->sale_id), "sku", ctl_json_text(order->sku), "user_id",
        ctl_json_id(order->user_id), "quantity", (json_int_t)order->quantity, "unit_price_minor",
        (json_int_t)order->unit_price_minor, "channel", (json_int_t)order->channel, "external_id",
        ctl_bytes_text(&order->external_id, external, sizeof(external)), "accepted_at_ms",
        (json_int_t)order->accepted_at_ms, "state", state_name(order, state));
    if (!json)
        ctl_out_of_memory();
    set_numbers(json, order);
    if (order->cancelled_by)
        json_object_set_new(json, "cancelled_by",
                            json_string(ctl_enum_name(&tidegate__v1__cancelled_by__descriptor,
                                                      (int)order->cancelled_by, by)));
    json_object_set_new(json, "team_id", ctl_json_id(order->team_id));
    json_object_set_new(json, "last_sequence", ctl_json_id(order->last_sequence));
    json_object_set_new(json, "ingested", json_boolean(order->ingested));
    json_object_set_new(json, "lines", lines_json(order));
    json_t *payments = json_array(), *refunds = json_array();
    for (size_t i = 0; i < order->n_payments; i++)
        json_array_append_new(payments, payment_json(order->payments[i]));
    for (size_t i = 0; i < order->n_refunds; i++)
        json_array_append_new(refunds, refund_json(order->refunds[i]));
    json_object_set_new(json, "payments", payments);
    json_object_set_new(json, "refunds", refunds);
    return json;
}
