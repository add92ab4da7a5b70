/* order show, order list: what is durable. */
#include "ctl/ctl.h"
#include "ctl/orderview.h"

#include <inttypes.h>
#include <stdio.h>

enum ctl_exit ctl_order_show(struct ctl *ctl)
{
    uint64_t order_id;
    Tidegate__V1__Response *response;
    char currency[CTL_CURRENCY_BYTES];
    if (!ctl_id_argument(ctl, 0, "the order id", &order_id))
        return CTL_USAGE;
    enum ctl_exit code = ctl_order(ctl, order_id, &response);
    if (code)
        return code;
    const Tidegate__V1__Order *order = response->get_order->order;
    if (ctl->json) {
        ctl_json_print(ctl_order_json(order));
    } else {
        /* An order does not carry its currency. */
        code = ctl_currency(ctl, order->sale_id, currency);
        if (!code)
            ctl_order_print(order, currency);
    }
    tgc_response_free(response);
    return code;
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
            ctl_json_print(ctl_order_json(page->orders[i]));
        else
            ctl_order_row(&listing->table, page->orders[i]);
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
    ctl_table_init(&listing.table, ctl_order_columns, CTL_ORDER_COLUMNS);
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
