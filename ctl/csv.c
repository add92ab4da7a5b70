#include "ctl/csv.h"

#include "ctl/ctl.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

const char *const ctl_csv_order_columns[] = {
    "order_id",
    "request_id",
    "sale_id",
    "user_id",
    "sku",
    "quantity",
    "unit_price_minor",
    "channel",
    "external_id",
    "accepted_at_ms",
    "state",
    "amount_minor",
    "received_minor",
    "kept_minor",
    "refund_due_minor",
    "refunded_minor",
    "paid_at_ms",
    "confirmed_at_ms",
    "shipped_at_ms",
    "delivered_at_ms",
    "completed_at_ms",
    "ended_at_ms",
    "refunded_at_ms",
    "payment_deadline_ms",
    "cancelled_by",
    "team_id",
    "version",
    "last_sequence",
    "ingested",
    "lines",
    "payments",
    "refunds",
    NULL,
};

static bool needs_quotes(const char *text)
{
    size_t bytes = strlen(text);
    return strpbrk(text, ",\"") || (bytes && (text[0] == ' ' || text[bytes - 1] == ' '));
}

void ctl_csv_cell(FILE *out, const char *text)
{
    bool quoted = needs_quotes(text);
    if (quoted)
        putc_unlocked('"', out);
    for (const char *c = text; *c; c++) {
        bool control = (unsigned char)*c < 0x20 || *c == 0x7f;
        if (*c == '"')
            putc_unlocked('"', out);
        putc_unlocked(control ? '?' : *c, out);
    }
    if (quoted)
        putc_unlocked('"', out);
}

static void value_cell(FILE *out, const json_t *value)
{
    if (json_is_string(value)) {
        ctl_csv_cell(out, json_string_value(value));
    } else if (json_is_integer(value)) {
        fprintf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    } else if (json_is_boolean(value)) {
        fputs(json_is_true(value) ? "true" : "false", out);
    } else if (json_array_size(value) > 0) {
        char *text = json_dumps(value, JSON_COMPACT);
        if (!text)
            ctl_out_of_memory();
        ctl_csv_cell(out, text);
        free(text);
    }
}

void ctl_csv_order_head(FILE *out)
{
    for (const char *const *column = ctl_csv_order_columns; *column; column++)
        fprintf(out, "%s%s", column == ctl_csv_order_columns ? "" : ",", *column);
    fputs("\r\n", out);
}

void ctl_csv_order(FILE *out, const json_t *order)
{
    for (const char *const *column = ctl_csv_order_columns; *column; column++) {
        if (column != ctl_csv_order_columns)
            putc_unlocked(',', out);
        value_cell(out, json_object_get(order, *column));
    }
    fputs("\r\n", out);
}
