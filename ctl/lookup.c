/* Small questions that a command asks before, or after, its own. */
#include "ctl/ctl.h"

#include <stdio.h>

/* A server that says OK and leaves out what it was asked for. */
static enum ctl_exit left_out(struct ctl *ctl, const char *what, Tidegate__V1__Response **response)
{
    tgc_response_free(*response);
    *response = NULL;
    return ctl_complain(CTL_UNREACHABLE, "%s answers without the %s that was asked for",
                        ctl->server, what);
}

enum ctl_exit ctl_currency(struct ctl *ctl, uint64_t sale_id, char currency[CTL_CURRENCY_BYTES])
{
    Tidegate__V1__Response *response;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    Tidegate__V1__GetSaleRequest body = TIDEGATE__V1__GET_SALE_REQUEST__INIT;
    body.sale_id = sale_id;
    body.item_limit = 1;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_GET_SALE;
    request.get_sale = &body;
    enum ctl_exit code = ctl_call(ctl, &request, &response);
    if (code)
        return code;
    if (!response->get_sale->sale)
        return left_out(ctl, "sale", &response);
    snprintf(currency, CTL_CURRENCY_BYTES, "%s", response->get_sale->sale->currency);
    tgc_response_free(response);
    return CTL_DONE;
}

enum ctl_exit ctl_item(struct ctl *ctl, uint64_t sale_id, const char *sku,
                       Tidegate__V1__Response **response)
{
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    Tidegate__V1__GetItemRequest body = TIDEGATE__V1__GET_ITEM_REQUEST__INIT;
    body.sale_id = sale_id;
    body.sku = (char *)(uintptr_t)sku; /* protobuf-c only reads it */
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_GET_ITEM;
    request.get_item = &body;
    enum ctl_exit code = ctl_call(ctl, &request, response);
    if (code)
        return code;
    const Tidegate__V1__GetItemResponse *item = (*response)->get_item;
    return item->sale && item->status && item->status->item ? CTL_DONE
                                                            : left_out(ctl, "item", response);
}

enum ctl_exit ctl_order(struct ctl *ctl, uint64_t order_id, Tidegate__V1__Response **response)
{
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    Tidegate__V1__GetOrderRequest body = TIDEGATE__V1__GET_ORDER_REQUEST__INIT;
    body.order_id = order_id;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_GET_ORDER;
    request.get_order = &body;
    enum ctl_exit code = ctl_call(ctl, &request, response);
    if (code)
        return code;
    return (*response)->get_order->order ? CTL_DONE : left_out(ctl, "order", response);
}

enum ctl_exit ctl_team(struct ctl *ctl, uint64_t team_id, Tidegate__V1__Response **response)
{
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    Tidegate__V1__GetTeamRequest body = TIDEGATE__V1__GET_TEAM_REQUEST__INIT;
    body.team_id = team_id;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_GET_TEAM;
    request.get_team = &body;
    enum ctl_exit code = ctl_call(ctl, &request, response);
    if (code)
        return code;
    return (*response)->get_team->team ? CTL_DONE : left_out(ctl, "team", response);
}
