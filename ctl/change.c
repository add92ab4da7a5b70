/* order pay, cancel, extend, refund, approve, reject, refunded, advance: each is one ChangeOrder.
 */
#include "ctl/ctl.h"
#include "ctl/orderview.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define REPEAT_BYTES 128

/* A change with what its messages point to. */
struct change {
    Tidegate__V1__ChangeOrderRequest body;
    uint8_t request_id[TG_REQUEST_ID_BYTES];
    char request_text[CTL_REQUEST_TEXT_BYTES];
    char repeat[REPEAT_BYTES]; /* options that make the same change again */
};

/* The order and the request id, which every change has. */
static bool change_begin(struct ctl *ctl, struct change *change)
{
    tidegate__v1__change_order_request__init(&change->body);
    if (!ctl_id_argument(ctl, 0, "the order id", &change->body.order_id) ||
        !ctl_request_id_option(ctl, change->request_id, change->request_text))
        return false;
    change->body.request_id = (ProtobufCBinaryData){TG_REQUEST_ID_BYTES, change->request_id};
    snprintf(change->repeat, sizeof(change->repeat), "--request-id %s", change->request_text);
    return true;
}

/* "refund 1 is waiting": the refund that the change made or decided. */
static void print_refund(const Tidegate__V1__ChangeOrderResponse *answer)
{
    printf("refund %" PRIu32, answer->refund_number);
    for (size_t i = 0; i < answer->order->n_refunds; i++) {
        const Tidegate__V1__Refund *refund = answer->order->refunds[i];
        char name[CTL_NAME_BYTES];
        if (refund->number == answer->refund_number)
            printf(" is %s", ctl_enum_name(&tidegate__v1__refund_status__descriptor,
                                           (int)refund->status, name));
    }
}

/* A refusal comes with the order too, when there is one: it shows why. */
static void print_change(const struct ctl *ctl, const struct change *change,
                         const Tidegate__V1__ChangeOrderResponse *answer)
{
    const char *verdict = tg_verdict_name((int)answer->verdict);
    if (ctl->json) {
        json_t *json = json_pack("{s:s, s:b, s:s, s:I}", "verdict", verdict, "replayed",
                                 (int)answer->replayed, "request_id", change->request_text,
                                 "refund_number", (json_int_t)answer->refund_number);
        if (json && answer->order)
            json_object_set_new(json, "order", ctl_order_json(answer->order));
        ctl_json_print(json);
        return;
    }
    if (!answer->order)
        return;
    printf("%s%s%s", verdict, answer->replayed ? " (replayed)" : "",
           answer->refund_number ? ", " : "");
    if (answer->refund_number)
        print_refund(answer);
    printf(": ");
    ctl_order_print_brief(answer->order);
}

/* A payment that has to go back was not refused: it is recorded, and so is what is owed. */
static enum ctl_exit judge(const struct change *change, const Tidegate__V1__Response *response)
{
    bool pays =
        change->body.change_case == TIDEGATE__V1__CHANGE_ORDER_REQUEST__CHANGE_RECORD_PAYMENT;
    if (!pays || (int)response->change_order->verdict != TG_REFUND_DUE)
        return ctl_judge(response);
    return ctl_complain(CTL_REFUSED,
                        "REFUND_DUE: the payment is recorded, and the money has to go back; when "
                        "it has, tell so with 'tidegatectl order refunded'");
}

static enum ctl_exit change_send(struct ctl *ctl, struct change *change)
{
    Tidegate__V1__Response *response;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_CHANGE_ORDER;
    request.change_order = &change->body;
    enum ctl_exit code = ctl_ask(ctl, &request, change->repeat, &response);
    if (code)
        return code;
    print_change(ctl, change, response->change_order);
    code = judge(change, response);
    tgc_response_free(response);
    return code;
}

/* A time option; "now" and "+30m" are counted on the server's clock, which will judge it. */
static enum ctl_exit time_option(struct ctl *ctl, const char *name, int64_t *time_ms,
                                 bool *relative)
{
    const char *text = ctl_option_value(ctl, name);
    int64_t now_ms = 0;
    *relative = text && (text[0] == '+' || strcmp(text, "now") == 0);
    if (!text)
        return CTL_DONE;
    enum ctl_exit code = *relative ? ctl_server_time(ctl, &now_ms) : CTL_DONE;
    if (code)
        return code;
    if (!ctl_time_parse(text, now_ms, time_ms, relative))
        return ctl_misused(ctl,
                           "--%s \"%s\" must be a time such as 2026-11-22T10:00:00Z, now or +30m",
                           name, text);
    return CTL_DONE;
}

/* A repeated command must name the same moment, and "+30m" would be another one by then. */
static void repeat_at(struct change *change, const char *name, int64_t time_ms)
{
    char time[CTL_TIME_BYTES];
    size_t used = strlen(change->repeat);
    snprintf(change->repeat + used, sizeof(change->repeat) - used, " --%s %s", name,
             ctl_time_text(time_ms, time));
}

/* The bytes of an option, at most `max`; false after telling what is wrong. Borrowed. */
static bool bytes_option(const struct ctl *ctl, const char *name, size_t max,
                         ProtobufCBinaryData *bytes)
{
    const char *text = ctl_option_value(ctl, name);
    if (!text)
        return true;
    *bytes = (ProtobufCBinaryData){strlen(text), (uint8_t *)(uintptr_t)text};
    if (bytes->len <= max)
        return true;
    ctl_misused(ctl, "--%s must be at most %zu bytes", name, max);
    return false;
}

/* --- payment --- */

/* What is paid in is the sale's currency, unless the gateway says otherwise. */
static enum ctl_exit payment_currency(struct ctl *ctl, uint64_t order_id,
                                      char currency[CTL_CURRENCY_BYTES])
{
    const char *given = ctl_option_value(ctl, "currency");
    if (given) {
        if (strlen(given) != TG_CURRENCY_BYTES)
            return ctl_misused(ctl, "--currency \"%s\" must be three capital letters", given);
        memcpy(currency, given, CTL_CURRENCY_BYTES);
        return CTL_DONE;
    }
    Tidegate__V1__Response *response;
    enum ctl_exit code = ctl_order(ctl, order_id, &response);
    if (code)
        return code;
    code = ctl_currency(ctl, response->get_order->order->sale_id, currency);
    tgc_response_free(response);
    return code;
}

static bool payment_options(const struct ctl *ctl, Tidegate__V1__Payment *payment)
{
    uint64_t amount = 0, channel = 0;
    if (!ctl_required_option(ctl, "payment-id") || !ctl_required_option(ctl, "amount"))
        return false;
    if (!bytes_option(ctl, "payment-id", TG_PAYMENT_ID_BYTES_MAX, &payment->payment_id) ||
        !ctl_uint_option(ctl, "amount", 0, TG_AMOUNT_MINOR_MAX, &amount) ||
        !ctl_uint_option(ctl, "channel", 0, TG_CHANNEL_MAX, &channel))
        return false;
    payment->amount_minor = (int64_t)amount;
    payment->channel = (uint32_t)channel;
    return true;
}

enum ctl_exit ctl_order_pay(struct ctl *ctl)
{
    struct change change;
    bool relative;
    char currency[CTL_CURRENCY_BYTES] = "";
    Tidegate__V1__Payment payment = TIDEGATE__V1__PAYMENT__INIT;
    if (!change_begin(ctl, &change) || !payment_options(ctl, &payment))
        return CTL_USAGE;
    enum ctl_exit code = time_option(ctl, "paid-at", &payment.paid_at_ms, &relative);
    if (!code)
        code = payment_currency(ctl, change.body.order_id, currency);
    if (code)
        return code;
    if (relative)
        repeat_at(&change, "paid-at", payment.paid_at_ms);
    payment.currency = currency;
    change.body.change_case = TIDEGATE__V1__CHANGE_ORDER_REQUEST__CHANGE_RECORD_PAYMENT;
    change.body.record_payment = &payment;
    return change_send(ctl, &change);
}

/* --- before it is paid --- */

enum ctl_exit ctl_order_cancel(struct ctl *ctl)
{
    struct change change;
    Tidegate__V1__CancelOrder cancel = TIDEGATE__V1__CANCEL_ORDER__INIT;
    const char *by = ctl_option_value(ctl, "by");
    if (!change_begin(ctl, &change))
        return CTL_USAGE;
    if (by && strcmp(by, "buyer") != 0 && strcmp(by, "merchant") != 0)
        return ctl_misused(ctl, "--by \"%s\" must be buyer or merchant", by);
    cancel.by = (Tidegate__V1__CancelledBy)(by && by[0] == 'b' ? TG_CANCELLED_BY_BUYER
                                                               : TG_CANCELLED_BY_MERCHANT);
    change.body.change_case = TIDEGATE__V1__CHANGE_ORDER_REQUEST__CHANGE_CANCEL;
    change.body.cancel = &cancel;
    return change_send(ctl, &change);
}

enum ctl_exit ctl_order_extend(struct ctl *ctl)
{
    struct change change;
    bool relative;
    Tidegate__V1__ExtendPayment extend = TIDEGATE__V1__EXTEND_PAYMENT__INIT;
    if (!change_begin(ctl, &change) || !ctl_required_option(ctl, "until"))
        return CTL_USAGE;
    enum ctl_exit code = time_option(ctl, "until", &extend.payment_deadline_ms, &relative);
    if (code)
        return code;
    if (relative)
        repeat_at(&change, "until", extend.payment_deadline_ms);
    change.body.change_case = TIDEGATE__V1__CHANGE_ORDER_REQUEST__CHANGE_EXTEND_PAYMENT;
    change.body.extend_payment = &extend;
    return change_send(ctl, &change);
}

/* --- refunds --- */

enum ctl_exit ctl_order_refund(struct ctl *ctl)
{
    struct change change;
    uint64_t amount = 0;
    const char *reason = ctl_option_value(ctl, "reason");
    Tidegate__V1__RequestRefund refund = TIDEGATE__V1__REQUEST_REFUND__INIT;
    if (!change_begin(ctl, &change) ||
        !ctl_uint_option(ctl, "amount", 1, TG_AMOUNT_MINOR_MAX, &amount))
        return CTL_USAGE;
    if (reason && strlen(reason) > TG_REFUND_REASON_BYTES_MAX)
        return ctl_misused(ctl, "--reason must be at most %d bytes", TG_REFUND_REASON_BYTES_MAX);
    refund.amount_minor = (int64_t)amount;
    refund.restock = ctl_option_value(ctl, "restock") != NULL;
    if (reason)
        refund.reason = (char *)(uintptr_t)reason; /* protobuf-c only reads it */
    change.body.change_case = TIDEGATE__V1__CHANGE_ORDER_REQUEST__CHANGE_REQUEST_REFUND;
    change.body.request_refund = &refund;
    return change_send(ctl, &change);
}

static bool refund_argument(const struct ctl *ctl, uint32_t *number)
{
    uint64_t wide;
    if (ctl_uint_parse(ctl->arguments[1], 1, TG_ORDER_REFUNDS_MAX, &wide)) {
        *number = (uint32_t)wide;
        return true;
    }
    ctl_misused(ctl, "the refund \"%s\" must be its number within the order, 1 to %d",
                ctl->arguments[1], TG_ORDER_REFUNDS_MAX);
    return false;
}

enum ctl_exit ctl_order_approve(struct ctl *ctl)
{
    struct change change;
    Tidegate__V1__ApproveRefund approve = TIDEGATE__V1__APPROVE_REFUND__INIT;
    if (!change_begin(ctl, &change) || !refund_argument(ctl, &approve.number))
        return CTL_USAGE;
    change.body.change_case = TIDEGATE__V1__CHANGE_ORDER_REQUEST__CHANGE_APPROVE_REFUND;
    change.body.approve_refund = &approve;
    return change_send(ctl, &change);
}

enum ctl_exit ctl_order_reject(struct ctl *ctl)
{
    struct change change;
    Tidegate__V1__RejectRefund reject = TIDEGATE__V1__REJECT_REFUND__INIT;
    if (!change_begin(ctl, &change) || !refund_argument(ctl, &reject.number))
        return CTL_USAGE;
    change.body.change_case = TIDEGATE__V1__CHANGE_ORDER_REQUEST__CHANGE_REJECT_REFUND;
    change.body.reject_refund = &reject;
    return change_send(ctl, &change);
}

enum ctl_exit ctl_order_refunded(struct ctl *ctl)
{
    struct change change;
    Tidegate__V1__RecordRefund record = TIDEGATE__V1__RECORD_REFUND__INIT;
    if (!change_begin(ctl, &change) || !refund_argument(ctl, &record.number) ||
        !bytes_option(ctl, "reference", TG_REFUND_REF_BYTES_MAX, &record.reference))
        return CTL_USAGE;
    change.body.change_case = TIDEGATE__V1__CHANGE_ORDER_REQUEST__CHANGE_RECORD_REFUND;
    change.body.record_refund = &record;
    return change_send(ctl, &change);
}

/* --- after it is confirmed --- */

enum ctl_exit ctl_order_advance(struct ctl *ctl)
{
    struct change change;
    int state = TG_ORDER_STATE_COUNT;
    Tidegate__V1__AdvanceOrder advance = TIDEGATE__V1__ADVANCE_ORDER__INIT;
    if (!change_begin(ctl, &change))
        return CTL_USAGE;
    if (!ctl_enum_parse(&tidegate__v1__order_state__descriptor, ctl->arguments[1], &state) ||
        (state != TG_ORDER_SHIPPED && state != TG_ORDER_DELIVERED && state != TG_ORDER_COMPLETED))
        return ctl_misused(ctl, "the step \"%s\" must be shipped, delivered or completed",
                           ctl->arguments[1]);
    advance.to = (Tidegate__V1__OrderState)state;
    change.body.change_case = TIDEGATE__V1__CHANGE_ORDER_REQUEST__CHANGE_ADVANCE;
    change.body.advance = &advance;
    return change_send(ctl, &change);
}
