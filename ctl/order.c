#include "ctl/ctl.h"
#include "ctl/text.h"

#include <inttypes.h>
#include <stdio.h>

#define EXTERNAL_TEXT_BYTES (2 * TG_EXTERNAL_BYTES_MAX + 3)
#define REQUEST_TEXT_BYTES  (2 * TG_REQUEST_ID_BYTES + 1)

static const struct ctl_column order_columns[] = {
    {"ORDER", true},    {"SALE", true},     {"SKU", false},      {"USER", true},
    {"QUANTITY", true}, {"PRICE", true},    {"STATE", false},    {"ACCEPTED", false},
    {"CHANNEL", true},  {"REQUEST", false}, {"EXTERNAL", false},
};

static void order_row(struct ctl_table *table, const Tidegate__V1__Order *order)
{
    char time[CTL_TIME_BYTES], external[EXTERNAL_TEXT_BYTES], request[REQUEST_TEXT_BYTES];
    ctl_table_cell(table, "%" PRIu64, order->order_id);
    ctl_table_cell(table, "%" PRIu64, order->sale_id);
    ctl_table_cell(table, "%s", order->sku);
    ctl_table_cell(table, "%" PRIu64, order->user_id);
    ctl_table_cell(table, "%" PRIu32, order->quantity);
    /* An order does not carry its currency, so its price stays in minor units. */
    ctl_table_cell(table, "%" PRId64, order->unit_price_minor);
    ctl_table_cell(table, "%s", ctl_order_state_name((int)order->state));
    ctl_table_cell(table, "%s", ctl_time_text(order->accepted_at_ms, time));
    ctl_table_cell(table, "%" PRIu32, order->channel);
    ctl_table_cell(table, "%s", ctl_hex_text(&order->request_id, request, sizeof(request)));
    ctl_table_cell(table, "%s", ctl_bytes_text(&order->external_id, external, sizeof(external)));
}

static json_t *order_json(const Tidegate__V1__Order *order)
{
    char external[EXTERNAL_TEXT_BYTES], request[REQUEST_TEXT_BYTES];
    return json_pack(
        "{s:o, s:s, s:o, s:o, s:o, s:I, s:I, s:I, s:s, s:I, s:s}", "order_id",
        ctl_json_id(order->order_id), "request_id",
        ctl_hex_text(&order->request_id, request, sizeof(request)), "sale_id",
        ctl_json_id(order->sale_id), "sku", ctl_json_text(order->sku), "user_id",
        ctl_json_id(order->user_id), "quantity", (json_int_t)order->quantity, "unit_price_minor",
        (json_int_t)order->unit_price_minor, "channel", (json_int_t)order->channel, "external_id",
        ctl_bytes_text(&order->external_id, external, sizeof(external)), "accepted_at_ms",
        (json_int_t)order->accepted_at_ms, "state", ctl_order_state_name((int)order->state));
}

enum ctl_exit ctl_order_get(struct ctl *ctl)
{
    Tidegate__V1__Response *response;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    Tidegate__V1__GetOrderRequest body = TIDEGATE__V1__GET_ORDER_REQUEST__INIT;
    static const Tidegate__V1__Order none = TIDEGATE__V1__ORDER__INIT;
    if (!ctl_id_argument(ctl, 0, "the order id", &body.order_id))
        return CTL_USAGE;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_GET_ORDER;
    request.get_order = &body;
    enum ctl_exit code = ctl_call(ctl, &request, &response);
    if (code)
        return code;
    const Tidegate__V1__Order *order =
        response->get_order->order ? response->get_order->order : &none;
    if (ctl->json) {
        ctl_json_print(order_json(order));
    } else {
        struct ctl_table table;
        ctl_table_init(&table, order_columns, sizeof(order_columns) / sizeof(order_columns[0]));
        order_row(&table, order);
        ctl_table_end(&table);
    }
    tgc_response_free(response);
    return CTL_DONE;
}

/* A list on its way through the pages. */
struct listing {
    struct ctl_table table;
    uint64_t sale_id; /* 0: all */
    uint64_t after_order_id;
    uint64_t left; /* orders still to print */
    bool end;
};

static enum ctl_exit list_page(struct ctl *ctl, struct listing *listing)
{
    Tidegate__V1__Response *response;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    Tidegate__V1__ListOrdersRequest body = TIDEGATE__V1__LIST_ORDERS_REQUEST__INIT;
    body.after_order_id = listing->after_order_id;
    body.sale_id = listing->sale_id;
    body.limit =
        (uint32_t)(listing->left < TG_ORDERS_PAGE_MAX ? listing->left : TG_ORDERS_PAGE_MAX);
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_LIST_ORDERS;
    request.list_orders = &body;
    enum ctl_exit code = ctl_call(ctl, &request, &response);
    if (code)
        return code;
    const Tidegate__V1__ListOrdersResponse *page = response->list_orders;
    for (size_t i = 0; i < page->n_orders; i++) {
        if (ctl->json)
            ctl_json_print(order_json(page->orders[i]));
        else
            order_row(&listing->table, page->orders[i]);
    }
    if (!ctl->json && page->n_orders > 0)
        ctl_table_flush(&listing->table);
    listing->left -= page->n_orders < listing->left ? page->n_orders : listing->left;
    listing->end = page->end;
    if (!page->end && page->next_after_order_id <= listing->after_order_id)
        code = ctl_complain(CTL_UNREACHABLE,
                            "%s sends the page after order %" PRIu64
                            " for ever: its list does not go on",
                            ctl->server, listing->after_order_id);
    listing->after_order_id = page->next_after_order_id;
    tgc_response_free(response);
    return code;
}

enum ctl_exit ctl_order_list(struct ctl *ctl)
{
    struct listing listing = {.left = UINT64_MAX};
    if (!ctl_uint_option(ctl, "sale", 1, UINT64_MAX, &listing.sale_id) ||
        !ctl_uint_option(ctl, "after", 0, UINT64_MAX, &listing.after_order_id) ||
        !ctl_uint_option(ctl, "limit", 1, UINT64_MAX, &listing.left))
        return CTL_USAGE;
    ctl_table_init(&listing.table, order_columns, sizeof(order_columns) / sizeof(order_columns[0]));
    enum ctl_exit code;
    do {
        code = list_page(ctl, &listing);
    } while (!code && !listing.end && listing.left > 0);
    if (!ctl->json) {
        if (!code)
            ctl_table_end(&listing.table);
        if (!code && !listing.end)
            fprintf(stderr, "More may follow: go on with --after %" PRIu64 "\n",
                    listing.after_order_id);
    }
    return code;
}
