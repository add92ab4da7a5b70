#include "client/tidegate.h"

#define OUTCOME(body, retry)                                                                       \
    ((struct tgc_outcome){(int)(body)->verdict, (retry), (body)->field, (body)->message})
#define OUTCOME_BARE(body, retry) ((struct tgc_outcome){(int)(body)->verdict, (retry), "", ""})

/* A server that leaves the order of a team's answer out has said nothing. */
static struct tgc_outcome outcome_of_seat(const Tidegate__V1__PlaceOrderResponse *order)
{
    return order ? OUTCOME(order, order->retry_after_ms)
                 : (struct tgc_outcome){TG_UNSPECIFIED, 0, "", ""};
}

struct tgc_outcome tgc_outcome_of(const Tidegate__V1__Response *r)
{
    switch (r->kind_case) {
    case TIDEGATE__V1__RESPONSE__KIND_PLACE_ORDER:
        return OUTCOME(r->place_order, r->place_order->retry_after_ms);
    case TIDEGATE__V1__RESPONSE__KIND_PLACE_ORDERS:
        return OUTCOME(r->place_orders, r->place_orders->retry_after_ms);
    case TIDEGATE__V1__RESPONSE__KIND_GET_ORDER:
        return OUTCOME_BARE(r->get_order, 0);
    case TIDEGATE__V1__RESPONSE__KIND_LIST_ORDERS:
        return OUTCOME(r->list_orders, 0);
    case TIDEGATE__V1__RESPONSE__KIND_GET_ITEM:
        return OUTCOME(r->get_item, 0);
    case TIDEGATE__V1__RESPONSE__KIND_WATCH_ITEM:
        return OUTCOME(r->watch_item, r->watch_item->retry_after_ms);
    case TIDEGATE__V1__RESPONSE__KIND_CREATE_SALE:
        return OUTCOME(r->create_sale, r->create_sale->retry_after_ms);
    case TIDEGATE__V1__RESPONSE__KIND_LIST_SALES:
        return OUTCOME(r->list_sales, 0);
    case TIDEGATE__V1__RESPONSE__KIND_GET_SALE:
        return OUTCOME(r->get_sale, 0);
    case TIDEGATE__V1__RESPONSE__KIND_PAUSE_SALE:
        return OUTCOME_BARE(r->pause_sale, r->pause_sale->retry_after_ms);
    case TIDEGATE__V1__RESPONSE__KIND_RESUME_SALE:
        return OUTCOME_BARE(r->resume_sale, r->resume_sale->retry_after_ms);
    case TIDEGATE__V1__RESPONSE__KIND_CLOSE_SALE:
        return OUTCOME_BARE(r->close_sale, r->close_sale->retry_after_ms);
    case TIDEGATE__V1__RESPONSE__KIND_ADJUST_STOCK:
        return OUTCOME(r->adjust_stock, r->adjust_stock->retry_after_ms);
    case TIDEGATE__V1__RESPONSE__KIND_CHANGE_ORDER:
        return OUTCOME(r->change_order, r->change_order->retry_after_ms);
    case TIDEGATE__V1__RESPONSE__KIND_INGEST_ORDERS:
        return OUTCOME(r->ingest_orders, r->ingest_orders->retry_after_ms);
    case TIDEGATE__V1__RESPONSE__KIND_OPEN_TEAM:
        return outcome_of_seat(r->open_team->order);
    case TIDEGATE__V1__RESPONSE__KIND_JOIN_TEAM:
        return outcome_of_seat(r->join_team->order);
    case TIDEGATE__V1__RESPONSE__KIND_GET_TEAM:
        return OUTCOME_BARE(r->get_team, 0);
    case TIDEGATE__V1__RESPONSE__KIND_LIST_TEAMS:
        return OUTCOME(r->list_teams, 0);
    case TIDEGATE__V1__RESPONSE__KIND_CONSUME_EVENTS:
        return OUTCOME(r->consume_events, 0);
    case TIDEGATE__V1__RESPONSE__KIND_SUBSCRIBE_EVENTS:
        return OUTCOME(r->subscribe_events, 0);
    case TIDEGATE__V1__RESPONSE__KIND_ACK_EVENTS:
        return OUTCOME(r->ack_events, r->ack_events->retry_after_ms);
    case TIDEGATE__V1__RESPONSE__KIND_CREATE_GROUP:
        return OUTCOME(r->create_group, r->create_group->retry_after_ms);
    case TIDEGATE__V1__RESPONSE__KIND_LIST_GROUPS:
        return OUTCOME_BARE(r->list_groups, 0);
    case TIDEGATE__V1__RESPONSE__KIND_DELETE_GROUP:
        return OUTCOME_BARE(r->delete_group, r->delete_group->retry_after_ms);
    case TIDEGATE__V1__RESPONSE__KIND_AUTHENTICATE:
        return OUTCOME_BARE(r->authenticate, 0);
    case TIDEGATE__V1__RESPONSE__KIND_GET_SERVER_TIME:
    case TIDEGATE__V1__RESPONSE__KIND_GET_STATS:
        return (struct tgc_outcome){TG_OK, 0, "", ""};
    case TIDEGATE__V1__RESPONSE__KIND_ERROR:
    case TIDEGATE__V1__RESPONSE__KIND__NOT_SET:
    case _TIDEGATE__V1__RESPONSE__KIND__CASE_IS_INT_SIZE:
        break;
    }
    return (struct tgc_outcome){TG_UNSPECIFIED, 0, "", ""};
}
