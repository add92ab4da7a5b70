/* Orders as CSV: quoting, and columns that are all there is to tell. */
#include "ctl/csv.h"
#include "ctl/orderview.h"

#include <criterion/criterion.h>
#include <string.h>

#define RECORD_BYTES 4096

/* What was written last. */
static char written[RECORD_BYTES];

static FILE *out_open(void)
{
    FILE *out = fmemopen(written, sizeof(written), "w");
    cr_assert_not_null(out);
    return out;
}

static const char *cell(const char *text)
{
    FILE *out = out_open();
    ctl_csv_cell(out, text);
    fclose(out);
    return written;
}

Test(csv, plain_text_stands_as_it_is)
{
    cr_expect_str_eq(cell(""), "");
    cr_expect_str_eq(cell("A01-001-M-BL"), "A01-001-M-BL");
    cr_expect_str_eq(cell("a b;c'd"), "a b;c'd");
}

Test(csv, commas_quotes_and_outer_spaces_are_quoted)
{
    cr_expect_str_eq(cell("a,b"), "\"a,b\"");
    cr_expect_str_eq(cell("5\" disk"), "\"5\"\" disk\"");
    cr_expect_str_eq(cell("\""), "\"\"\"\"");
    cr_expect_str_eq(cell(" a"), "\" a\"");
    cr_expect_str_eq(cell("a "), "\"a \"");
}

Test(csv, nothing_in_a_cell_ends_a_record_or_steers_a_terminal)
{
    cr_expect_str_eq(cell("a\r\nb"), "a??b");
    cr_expect_str_eq(cell("\033[2J\177"), "?[2J?");
}

/* Of a cart, paid once, part of which goes back. */
static json_t *order_json(void)
{
    static Tidegate__V1__Order order = TIDEGATE__V1__ORDER__INIT;
    static Tidegate__V1__OrderLine line = TIDEGATE__V1__ORDER_LINE__INIT;
    static Tidegate__V1__Payment payment = TIDEGATE__V1__PAYMENT__INIT;
    static Tidegate__V1__Refund refund = TIDEGATE__V1__REFUND__INIT;
    static Tidegate__V1__OrderLine *lines[] = {&line};
    static Tidegate__V1__Payment *payments[] = {&payment};
    static Tidegate__V1__Refund *refunds[] = {&refund};
    static char sku[] = "TEA,\"GREEN\"";
    line.sku = sku;
    line.quantity = 2;
    line.unit_price_minor = 300;
    order.order_id = UINT64_MAX;
    order.sale_id = 7;
    order.amount_minor = -5;
    order.cancelled_by = 1;
    order.lines = lines;
    order.n_lines = 1;
    order.payments = payments;
    order.n_payments = 1;
    order.refunds = refunds;
    order.n_refunds = 1;
    return ctl_order_json(&order);
}

static bool is_column(const char *key)
{
    for (const char *const *column = ctl_csv_order_columns; *column; column++)
        if (strcmp(*column, key) == 0)
            return true;
    return false;
}

Test(csv, every_fact_of_an_order_has_a_column_and_every_column_a_fact)
{
    json_t *order = order_json(), *value;
    const char *key;
    json_object_foreach(order, key, value) cr_expect(is_column(key), "%s has no column", key);
    for (const char *const *column = ctl_csv_order_columns; *column; column++)
        cr_expect_not_null(json_object_get(order, *column), "%s is no fact of an order", *column);
    json_decref(order);
}

/* Reads one record back as RFC 4180 has it; the cell of this column, static. */
static const char *cell_of(const char *record, const char *wanted)
{
    static char text[RECORD_BYTES];
    for (const char *const *column = ctl_csv_order_columns; *column; column++) {
        size_t used = 0;
        bool quoted = *record == '"';
        for (record += quoted; *record; record++) {
            if (quoted && record[0] == '"' && record[1] != '"')
                break;
            if (!quoted && (*record == ',' || *record == '\r'))
                break;
            record += quoted && *record == '"';
            text[used++] = *record;
        }
        text[used] = '\0';
        record += quoted;
        if (strcmp(*column, wanted) == 0)
            return text;
        cr_assert_eq(*record++, ',');
    }
    cr_assert_fail("no column %s", wanted);
    return NULL;
}

Test(csv, a_record_can_be_read_back)
{
    json_t *order = order_json();
    FILE *out = out_open();
    ctl_csv_order(out, order);
    fclose(out);
    size_t bytes = strlen(written);
    cr_assert(bytes > 2 && strcmp(written + bytes - 2, "\r\n") == 0);
    cr_expect_str_eq(cell_of(written, "order_id"), "18446744073709551615");
    cr_expect_str_eq(cell_of(written, "amount_minor"), "-5");
    cr_expect_str_eq(cell_of(written, "ingested"), "false");
    cr_expect_str_eq(cell_of(written, "sku"), "");
    json_t *lines = json_loads(cell_of(written, "lines"), 0, NULL);
    cr_expect(json_equal(lines, json_object_get(order, "lines")));
    json_t *refunds = json_loads(cell_of(written, "refunds"), 0, NULL);
    cr_expect(json_equal(refunds, json_object_get(order, "refunds")));
    json_decref(lines);
    json_decref(refunds);
    json_decref(order);
}

Test(csv, the_head_has_as_many_cells_as_a_record)
{
    FILE *out = out_open();
    ctl_csv_order_head(out);
    fclose(out);
    cr_expect_eq(strncmp(written, "order_id,request_id,sale_id,", 28), 0);
    cr_expect_str_eq(cell_of(written, "refunds"), "refunds");
}
