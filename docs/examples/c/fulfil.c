/* A back office in C: follows the events of the outbox, hands confirmed orders to the warehouse,
 * pays back what is due, and acks what it has done. docs/quickstart-backend.md walks through it.
 *
 * usage: fulfil [HOST:PORT [SECONDS]]      (ends when nothing came for SECONDS; without end when
 * not given)
 */
#include "client/tidegate.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GROUP       "warehouse"
#define WAIT_MS     1000  /* a long poll */
#define PATIENCE_MS 60000 /* of a back office: a restart of the server fits in */

/* Sends a request that is safe to repeat, until it is answered. NULL: not in all this time. */
static Tidegate__V1__Response *ask(struct tgc_client *client, Tidegate__V1__Request *request)
{
    Tidegate__V1__Response *response;
    struct tg_fault fault;
    if (tgc_call_until_answered(client, request, PATIENCE_MS, &response, &fault) == TG_ERR_OK)
        return response;
    fprintf(stderr, "fulfil: %s\n", fault.text);
    return NULL;
}

/* A name in the outbox, kept by the server. Made once: the second time it is there. */
static bool create_group(struct tgc_client *client)
{
    Tidegate__V1__CreateGroupRequest create = TIDEGATE__V1__CREATE_GROUP_REQUEST__INIT;
    create.group = (char *)GROUP;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_CREATE_GROUP;
    request.create_group = &create;
    Tidegate__V1__Response *response = ask(client, &request);
    int verdict = response ? (int)response->create_group->verdict : TG_UNSPECIFIED;
    tgc_response_free(response);
    return verdict == TG_OK || verdict == TG_GROUP_EXISTS;
}

/* Changes an order. The request id is made of the event, so whoever handles the event again, after
 * a crash, asks for the same change, and gets the first answer. */
static bool change(struct tgc_client *client, const Tidegate__V1__Event *event,
                   Tidegate__V1__ChangeOrderRequest *change, const char *done)
{
    uint8_t request_id[TG_REQUEST_ID_BYTES] = "fulfil";
    memcpy(request_id + 8, &event->sequence, sizeof(event->sequence));
    change->request_id = (ProtobufCBinaryData){sizeof(request_id), request_id};
    change->order_id = event->order_id;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_CHANGE_ORDER;
    request.change_order = change;
    Tidegate__V1__Response *response = ask(client, &request);
    if (!response)
        return false;
    int verdict = response->change_order->verdict;
    printf("order %" PRIu64 ": %s\n", event->order_id,
           verdict == TG_OK ? done : tg_verdict_name(verdict));
    tgc_response_free(response);
    /* Any other answer says that the order has gone on without us; these two, that it was not done.
     */
    return verdict != TG_BUSY && verdict != TG_STORAGE_FULL;
}

/* The warehouse takes the parcel; from now on the order can be sent back, not cancelled. */
static bool hand_over(struct tgc_client *client, const Tidegate__V1__Event *event)
{
    const Tidegate__V1__Order *order = event->order;
    if (order->n_lines == 0)
        printf("order %" PRIu64 ": %u of %s\n", order->order_id, order->quantity, order->sku);
    for (size_t i = 0; i < order->n_lines; i++) /* a cart */
        printf("order %" PRIu64 ": %u of %s\n", order->order_id, order->lines[i]->quantity,
               order->lines[i]->sku);
    Tidegate__V1__AdvanceOrder advance = TIDEGATE__V1__ADVANCE_ORDER__INIT;
    advance.to = TIDEGATE__V1__ORDER_STATE__ORDER_STATE_SHIPPED;
    Tidegate__V1__ChangeOrderRequest message = TIDEGATE__V1__CHANGE_ORDER_REQUEST__INIT;
    message.change_case = TIDEGATE__V1__CHANGE_ORDER_REQUEST__CHANGE_ADVANCE;
    message.advance = &advance;
    return change(client, event, &message, "shipped");
}

/* The payment gateway pays back, under an id that we choose, so that it pays once; then we say so.
 */
static bool pay_back(struct tgc_client *client, const Tidegate__V1__Event *event)
{
    char reference[TG_REFUND_REF_BYTES_MAX + 1];
    int bytes = snprintf(reference, sizeof(reference), "%" PRIu64 "-%u", event->order_id,
                         event->refund_number);
    printf("order %" PRIu64 ": refund %u of %" PRId64 ".%02d\n", event->order_id,
           event->refund_number, event->amount_minor / 100, (int)(event->amount_minor % 100));
    Tidegate__V1__RecordRefund refund = TIDEGATE__V1__RECORD_REFUND__INIT;
    refund.number = event->refund_number;
    refund.reference = (ProtobufCBinaryData){(size_t)bytes, (uint8_t *)reference};
    Tidegate__V1__ChangeOrderRequest message = TIDEGATE__V1__CHANGE_ORDER_REQUEST__INIT;
    message.change_case = TIDEGATE__V1__CHANGE_ORDER_REQUEST__CHANGE_RECORD_REFUND;
    message.record_refund = &refund;
    return change(client, event, &message, "paid back");
}

/* What is behind the group's place, after a wait of WAIT_MS when there is nothing yet. */
static Tidegate__V1__Response *consume(struct tgc_client *client)
{
    Tidegate__V1__EventType types[] = {TIDEGATE__V1__EVENT_TYPE__EVENT_TYPE_ORDER_CONFIRMED,
                                       TIDEGATE__V1__EVENT_TYPE__EVENT_TYPE_REFUND_DUE};
    Tidegate__V1__ConsumeEventsRequest consume = TIDEGATE__V1__CONSUME_EVENTS_REQUEST__INIT;
    consume.group = (char *)GROUP;
    consume.wait_ms = WAIT_MS;
    consume.types = types;
    consume.n_types = sizeof(types) / sizeof(types[0]);
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_CONSUME_EVENTS;
    request.consume_events = &consume;
    return ask(client, &request);
}

/* Everything up to `sequence` is done: it will not be told again. */
static bool ack(struct tgc_client *client, uint64_t sequence)
{
    Tidegate__V1__AckEventsRequest ack = TIDEGATE__V1__ACK_EVENTS_REQUEST__INIT;
    ack.group = (char *)GROUP;
    ack.sequence = sequence;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_ACK_EVENTS;
    request.ack_events = &ack;
    Tidegate__V1__Response *response = ask(client, &request);
    bool acked = response && (int)response->ack_events->verdict == TG_OK;
    tgc_response_free(response);
    return acked;
}

/* One page: handle, then ack. False: not all of it is done; it comes again. */
static bool work(struct tgc_client *client, const Tidegate__V1__ConsumeEventsResponse *page)
{
    for (size_t i = 0; i < page->n_events; i++) {
        const Tidegate__V1__Event *event = page->events[i];
        bool handled = event->type == TIDEGATE__V1__EVENT_TYPE__EVENT_TYPE_REFUND_DUE
                           ? pay_back(client, event)
                           : hand_over(client, event);
        if (!handled)
            return false;
    }
    return ack(client, page->next_sequence);
}

int main(int argc, char **argv)
{
    struct tgc_tls tls = {.ca = getenv("TIDEGATE_CA")};
    struct tgc_options options = {
        .server = argc > 1 ? argv[1] : "127.0.0.1:7411",
        .token = getenv("TIDEGATE_TOKEN"), /* when the server asks for one */
        .tls = tls.ca ? &tls : NULL,       /* when it has a certificate, of that authority */
    };
    int seconds_left = argc > 2 ? atoi(argv[2]) : -1;
    struct tgc_client *client;
    struct tg_fault fault;
    if (tgc_open(&options, &client, &fault) != TG_ERR_OK) {
        fprintf(stderr, "fulfil: %s\n", fault.text);
        return 1;
    }
    bool works = create_group(client);
    while (works && seconds_left != 0) {
        Tidegate__V1__Response *response = consume(client);
        works = response && (int)response->consume_events->verdict == TG_OK &&
                work(client, response->consume_events);
        if (works && response->consume_events->n_events == 0)
            seconds_left -= seconds_left > 0;
        tgc_response_free(response);
    }
    tgc_close(client);
    return works ? 0 : 1;
}
