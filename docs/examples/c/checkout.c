/* A checkout behind a platform's gateway, in C: places an order, retries until it knows what became
 * of it, and takes in what the payment gateway calls back with. docs/quickstart-platform.md walks
 * through it.
 *
 * usage: checkout [HOST:PORT]      (the sale of docs/examples/shop.json must be there)
 */
#include "client/tidegate.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define SALE_ID     3
#define PRICE_MINOR 2900
#define PATIENCE_MS 5000  /* of a buyer who looks at a spinner */
#define CALLBACK_MS 30000 /* of a payment gateway, which calls again anyway */

static const char sku[] = "CUP-WHITE";

/* What the platform keeps of a checkout, in its own database, before anything is sent. */
struct checkout {
    uint8_t request_id[TG_REQUEST_ID_BYTES]; /* makes every retry safe */
    uint64_t user_id;
    uint64_t order_id; /* 0 until it is ACCEPTED */
};

/* What to tell a buyer who does not get it. */
static const char *say(int verdict)
{
    switch (verdict) {
    case TG_SOLD_OUT:
    case TG_INSUFFICIENT_STOCK:
        return "sold out";
    case TG_LIMIT_REACHED:
        return "you have as many as one buyer may have";
    case TG_PRICE_CHANGED:
        return "the price has changed: look again";
    case TG_NOT_STARTED:
    case TG_ENDED:
    case TG_PAUSED:
        return "the sale is not open";
    case TG_BUSY:
    case TG_STORAGE_FULL:
        return "too many buyers at once: try again";
    default:
        return "this cannot be ordered"; /* a mistake of the platform: its log needs the field */
    }
}

/* Places the order, or finds out what became of it. False: nobody knows yet. */
static bool place(struct tgc_client *client, struct checkout *checkout, int64_t price_minor)
{
    struct tg_order order = {
        .sale_id = SALE_ID,
        .user_id = checkout->user_id,
        .sku = (const uint8_t *)sku,
        .sku_bytes = sizeof(sku) - 1,
        .quantity = 1,
        .unit_price_minor = price_minor, /* what the buyer saw */
    };
    memcpy(order.request_id, checkout->request_id, sizeof(order.request_id));

    /* Reconnects, waits out BUSY and sends the same request again, as long as the buyer waits. */
    struct tg_answer answer;
    struct tg_fault fault;
    enum tg_error error = tgc_place_order(client, &order, PATIENCE_MS, &answer, &fault);
    if (error == TG_ERR_TIMEOUT || error == TG_ERR_PROTOCOL) {
        /* It may stand. Never say that it failed: ask again later, under the same request id. */
        fprintf(stderr, "not known yet: %s\n", fault.text);
        return false;
    }
    if (error != TG_ERR_OK) {
        fprintf(stderr, "nothing was ordered: %s\n", fault.text);
        return true;
    }
    if (answer.verdict == TG_ACCEPTED) {
        checkout->order_id = answer.order_id;
        printf("ACCEPTED: order %" PRIu64 "%s\n", answer.order_id,
               answer.replayed ? ", the answer to the first try" : "");
    } else {
        printf("%s: %s\n", tg_verdict_name(answer.verdict), say(answer.verdict));
    }
    return true;
}

/* The payment gateway says that the buyer has paid. It may say so twice, late, or at the same
 * moment as another of its hosts: the payment id tells payments apart. True: tell it that it was
 * heard. */
static bool on_payment(struct tgc_client *client, uint64_t order_id, char *payment_id,
                       int64_t amount_minor)
{
    uint8_t request_id[TG_REQUEST_ID_BYTES];
    if (getrandom(request_id, sizeof(request_id), 0) != sizeof(request_id))
        return false;
    Tidegate__V1__Payment payment = TIDEGATE__V1__PAYMENT__INIT;
    payment.payment_id = (ProtobufCBinaryData){strlen(payment_id), (uint8_t *)payment_id};
    payment.amount_minor = amount_minor;
    payment.currency = (char *)"CNY";

    Tidegate__V1__ChangeOrderRequest change = TIDEGATE__V1__CHANGE_ORDER_REQUEST__INIT;
    change.request_id = (ProtobufCBinaryData){sizeof(request_id), request_id};
    change.order_id = order_id;
    change.change_case = TIDEGATE__V1__CHANGE_ORDER_REQUEST__CHANGE_RECORD_PAYMENT;
    change.record_payment = &payment;

    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_CHANGE_ORDER;
    request.change_order = &change;

    Tidegate__V1__Response *response;
    struct tg_fault fault;
    if (tgc_call_until_answered(client, &request, CALLBACK_MS, &response, &fault) != TG_ERR_OK) {
        fprintf(stderr, "payment %s is not recorded: %s\n", payment_id, fault.text);
        return false; /* let the gateway call again */
    }
    const Tidegate__V1__ChangeOrderResponse *answer = response->change_order;
    bool recorded = true;
    switch ((int)answer->verdict) {
    case TG_OK:
        printf("payment %s: order %" PRIu64 " is %s\n", payment_id, order_id,
               tg_order_state_name(answer->order->state));
        break;
    case TG_REFUND_DUE: /* a second payment, or one that came too late: the back office pays it back
                         */
        printf("payment %s: REFUND_DUE, refund %u\n", payment_id, answer->refund_number);
        break;
    case TG_AMOUNT_MISMATCH:
    case TG_CURRENCY_MISMATCH:
        printf("payment %s: %s, have it reversed\n", payment_id, tg_verdict_name(answer->verdict));
        break;
    default: /* BUSY, STORAGE_FULL: not recorded */
        printf("payment %s: %s\n", payment_id, tg_verdict_name(answer->verdict));
        recorded = false;
    }
    tgc_response_free(response);
    return recorded;
}

int main(int argc, char **argv)
{
    struct tgc_tls tls = {.ca = getenv("TIDEGATE_CA")};
    struct tgc_options options = {
        .server = argc > 1 ? argv[1] : "127.0.0.1:7411",
        .token = getenv("TIDEGATE_TOKEN"), /* when the server asks for one */
        .tls = tls.ca ? &tls : NULL,       /* when it has a certificate, of that authority */
    };
    struct tgc_client *client;
    struct tg_fault fault;
    if (tgc_open(&options, &client, &fault) != TG_ERR_OK) {
        fprintf(stderr, "checkout: %s\n", fault.text);
        return 1;
    }

    /* The buyer saw an old price. */
    struct checkout late = {.user_id = 41};
    bool known = getrandom(late.request_id, sizeof(late.request_id), 0) > 0 &&
                 place(client, &late, PRICE_MINOR - 100);

    /* An order whose answer gets lost on its way to the buyer: the platform asks again. */
    struct checkout checkout = {.user_id = 42};
    known = known && getrandom(checkout.request_id, sizeof(checkout.request_id), 0) > 0 &&
            place(client, &checkout, PRICE_MINOR) && place(client, &checkout, PRICE_MINOR);

    /* The gateway reports the payment twice; then the buyer pays once more, from another device. */
    known = known && checkout.order_id != 0 &&
            on_payment(client, checkout.order_id, (char *)"wx-1", PRICE_MINOR) &&
            on_payment(client, checkout.order_id, (char *)"wx-1", PRICE_MINOR) &&
            on_payment(client, checkout.order_id, (char *)"wx-2", PRICE_MINOR);
    tgc_close(client);
    return known ? 0 : 1;
}
