#include "base/clock.h"
#include "ctl/ctl.h"
#include "ctl/text.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* --- complaints --- */

static void complain(const char *format, va_list args)
{
    /* What was already printed stays in front of the complaint. */
    fflush(stdout);
    char *text;
    if (vasprintf(&text, format, args) < 0)
        exit(CTL_UNREACHABLE); /* no memory, not even for a complaint */
    ctl_text_tame(text, true);
    fprintf(stderr, "tidegatectl: %s\n", text);
    free(text);
}

enum ctl_exit ctl_complain(enum ctl_exit code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    complain(format, args);
    va_end(args);
    return code;
}

enum ctl_exit ctl_misused(const struct ctl *ctl, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    complain(format, args);
    va_end(args);
    const char *group = ctl->group ? ctl->group : "",
               *name = ctl->command ? ctl->command->name : "";
    fprintf(stderr, "See 'tidegatectl%s%s%s%s --help'.\n", *group ? " " : "", group,
            *name ? " " : "", name);
    return CTL_USAGE;
}

_Noreturn void ctl_out_of_memory(void)
{
    ctl_complain(CTL_UNREACHABLE, "out of memory");
    exit(CTL_UNREACHABLE);
}

/* --- answers --- */

/* What can be done about a verdict; for the rest its name says it all. */
static const char *const verdict_advice[TG_VERDICT_COUNT] = {
    [TG_SOLD_OUT] = "no unit is left; see 'tidegatectl stock show'",
    [TG_INSUFFICIENT_STOCK] = "fewer units are available than are to go",
    [TG_LIMIT_REACHED] = "the user's orders that stand are at the item's per_user_limit",
    [TG_NOT_STARTED] = "the sale takes orders from its start on; see 'tidegatectl sale show'",
    [TG_ENDED] = "the sale is over, or closed for good",
    [TG_PAUSED] = "the sale takes orders again after 'tidegatectl sale resume'",
    [TG_UNKNOWN_SALE] = "no sale has this id",
    [TG_UNKNOWN_ITEM] = "the sale has no such SKU",
    [TG_PRICE_CHANGED] = "the price given is not the sale price; leave it out to take the sale's",
    [TG_REQUEST_ID_CONFLICT] =
        "the request id stands for another request; leave --request-id out for a new one",
    [TG_BUSY] = "the server had no room in all the time that --timeout gives",
    [TG_STORAGE_FULL] = "the server's disk or database is full; nothing was changed",
    [TG_UNKNOWN_ORDER] = "no durable order has this id",
    [TG_SALE_EXISTS] = "a sale with this id exists; see 'tidegatectl sale show'",
    [TG_STOCK_CHANGED] =
        "the stock is not what --expect says; look again with 'tidegatectl stock show'",
    [TG_NOT_PAID] = "the order waits for its payment; record it with 'tidegatectl order pay'",
    [TG_ALREADY_PAID] = "the order is paid; give money back with 'tidegatectl order refund'",
    [TG_ALREADY_CANCELLED] = "the order was cancelled, and that is for good",
    [TG_EXPIRED] = "the order was not paid in time; a payment may still be honoured",
    [TG_AWAITING_TEAM] = "the order is paid and waits for its team; it can be cancelled",
    [TG_ALREADY_SHIPPED] = "the order has gone on; what is left is to advance or to refund it",
    [TG_ALREADY_DELIVERED] = "the order has gone on; what is left is to advance or to refund it",
    [TG_ALREADY_COMPLETED] = "the order is completed, nothing changes it any more",
    [TG_TEAM_FAILED] = "the order ended with its team",
    [TG_REFUND_DUE] = "the money has to go back; record that with 'tidegatectl order refunded'",
    [TG_ALREADY_REFUNDED] = "all that was paid has gone back",
    [TG_NOT_SHIPPED] = "one step at a time: shipped, delivered, completed",
    [TG_NOT_DELIVERED] = "one step at a time: shipped, delivered, completed",
    [TG_AMOUNT_MISMATCH] =
        "the payment is recorded as refused; the order's amount must be paid exactly",
    [TG_CURRENCY_MISMATCH] = "the payment is recorded as refused; pay in the currency of the sale",
    [TG_PAYMENT_CONFLICT] =
        "this payment id was recorded with other facts; see 'tidegatectl order show'",
    [TG_ORDER_FULL] = "the order holds 16 payments or 16 refunds, and takes no more",
    [TG_REFUND_EXCEEDS_PAID] =
        "less is left of what was paid; leave --amount out to refund all of it",
    [TG_UNKNOWN_REFUND] = "the order has no refund of this number; see 'tidegatectl order show'",
    [TG_REFUND_STATUS] = "the refund is not at this step; see 'tidegatectl order show'",
    [TG_REFUND_PENDING] = "a refund is waiting or due; settle it first",
    [TG_CHANNEL_SHARE_REACHED] = "the channel's share of this item's stock is used up",
    [TG_TEAM_REQUIRED] = "the sale is a group-buy: use 'tidegatectl team open' or 'team join'",
    [TG_NOT_A_GROUP_BUY] = "the sale has no teams: use 'tidegatectl order place'",
    [TG_UNKNOWN_TEAM] = "no team has this id",
    [TG_TEAM_NOT_OPEN] = "the team's captain has not paid yet",
    [TG_TEAM_FULL] = "open another team, or find one with 'tidegatectl team list'",
    [TG_TEAM_FORMED] = "open another team, or find one with 'tidegatectl team list'",
    [TG_TEAM_ENDED] = "open another team, or find one with 'tidegatectl team list'",
    [TG_ALREADY_IN_TEAM] = "the user has a seat in this team",
    [TG_NOT_NEW_BUYER] =
        "the sale takes only new buyers into teams; vouch for one with --new-buyer",
    [TG_TEAM_LIMIT_REACHED] = "the user has opened as many teams as the sale allows at a time",
    [TG_UNKNOWN_GROUP] = "no consumer group has this name; see 'tidegatectl events groups'",
    [TG_GROUP_EXISTS] = "a consumer group has this name; see 'tidegatectl events groups'",
    [TG_EVENTS_DROPPED] = "the events behind this one are no longer kept",
};

const char *ctl_verdict_advice(int verdict)
{
    bool known = verdict >= 0 && verdict < TG_VERDICT_COUNT; /* it is an int from the wire */
    return known && verdict_advice[verdict] ? verdict_advice[verdict] : "";
}

enum ctl_exit ctl_judge(const Tidegate__V1__Response *response)
{
    struct tgc_outcome outcome = tgc_outcome_of(response);
    if (outcome.verdict == TG_OK || outcome.verdict == TG_ACCEPTED)
        return CTL_DONE;
    const char *words = outcome.message[0] ? outcome.message : ctl_verdict_advice(outcome.verdict);
    return ctl_complain(CTL_REFUSED, "refused: %s%s%s", tg_verdict_name(outcome.verdict),
                        words[0] ? ": " : "", words);
}

/* --- calls --- */

static enum ctl_exit connect_once(struct ctl *ctl)
{
    struct tg_fault fault = {0};
    char token[TG_TOKEN_BYTES_MAX + 1];
    struct tgc_options options = {.server = ctl->server,
                                  .connect_ms = ctl->timeout_ms,
                                  .token = token,
                                  .tls = ctl->has_tls ? &ctl->tls : NULL};
    if (ctl->client)
        return CTL_DONE;
    if (tgc_token_read(ctl->token_file, token, &fault) != TG_ERR_OK)
        return ctl_complain(CTL_USAGE, "%s", fault.text);
    enum tg_error error = tgc_open(&options, &ctl->client, &fault);
    explicit_bzero(token, sizeof(token));
    if (error == TG_ERR_INVALID)
        return ctl_misused(ctl, "%s: %s", ctl->has_tls ? "--server, --tls" : "--server",
                           fault.text);
    if (error == TG_ERR_DENIED)
        return ctl_complain(CTL_REFUSED, "%s", fault.text);
    return error ? ctl_complain(CTL_UNREACHABLE, "%s", fault.text) : CTL_DONE;
}

static enum ctl_exit complain_loss(const struct ctl *ctl, enum tg_error error,
                                   const struct tg_fault *fault)
{
    if (error == TG_ERR_INVALID)
        return ctl_complain(CTL_USAGE, "%s", fault->text);
    if (error == TG_ERR_DENIED || error == TG_ERR_LIMITED)
        return ctl_complain(CTL_REFUSED, "%s", fault->text);
    if (!ctl->command->unknown_hint)
        return ctl_complain(CTL_UNREACHABLE, "%s", fault->text);
    return ctl_complain(CTL_UNREACHABLE, "%s\nIt is not known whether this was done: %s",
                        fault->text, ctl->command->unknown_hint);
}

static void sleep_ms(uint32_t pause_ms)
{
    struct timespec left = {.tv_sec = pause_ms / 1000, .tv_nsec = pause_ms % 1000 * TG_NS_PER_MS};
    while (nanosleep(&left, &left) != 0 && errno == EINTR)
        continue;
}

/* Waits so long, if there is time for it. */
static bool pause_within(int64_t deadline_ns, uint32_t pause_ms)
{
    if (tg_clock_mono_ns() + (int64_t)pause_ms * TG_NS_PER_MS >= deadline_ns)
        return false;
    sleep_ms(pause_ms);
    return true;
}

/* Judges the answer and frees it when it is not OK; true: BUSY, and there is time to ask again. */
static bool ask_again(int64_t deadline_ns, Tidegate__V1__Response **response, enum ctl_exit *code)
{
    struct tgc_outcome outcome = tgc_outcome_of(*response);
    uint32_t pause_ms = outcome.retry_after_ms ? outcome.retry_after_ms : TG_RETRY_AFTER_MS;
    bool again = outcome.verdict == TG_BUSY && pause_within(deadline_ns, pause_ms);
    *code = again ? CTL_DONE : ctl_judge(*response);
    if (again || *code) {
        tgc_response_free(*response);
        *response = NULL;
    }
    return again;
}

enum ctl_exit ctl_call(struct ctl *ctl, Tidegate__V1__Request *request,
                       Tidegate__V1__Response **response)
{
    enum ctl_exit code = connect_once(ctl);
    if (code)
        return code;
    int64_t deadline_ns = tg_clock_mono_ns() + (int64_t)ctl->timeout_ms * TG_NS_PER_MS;
    for (;;) {
        struct tg_fault fault = {0};
        enum tg_error error = tgc_call(ctl->client, request, ctl->timeout_ms, response, &fault);
        bool again =
            error == TG_ERR_LIMITED && pause_within(deadline_ns, tgc_retry_after_ms(ctl->client));
        if (error && !again)
            return complain_loss(ctl, error, &fault);
        if (!error && !ask_again(deadline_ns, response, &code))
            return code;
    }
}

enum ctl_exit ctl_ask(struct ctl *ctl, Tidegate__V1__Request *request, const char *repeat,
                      Tidegate__V1__Response **response)
{
    struct tg_fault fault = {0};
    *response = NULL;
    enum ctl_exit code = connect_once(ctl);
    if (code)
        return code;
    enum tg_error error = tgc_call_until_answered(ctl->client, request,
                                                  ctl->timeout_ms + ctl->wait_ms, response, &fault);
    if (!error)
        return CTL_DONE;
    if (error == TG_ERR_DENIED || error == TG_ERR_LIMITED)
        return complain_loss(ctl, error, &fault);
    bool unknown = error == TG_ERR_TIMEOUT || error == TG_ERR_PROTOCOL;
    if (!unknown)
        return ctl_complain(error == TG_ERR_INVALID ? CTL_USAGE : CTL_UNREACHABLE, "%s",
                            fault.text);
    if (!repeat)
        return complain_loss(ctl, error, &fault);
    return ctl_complain(CTL_UNREACHABLE,
                        "%s\nIt is not known whether this was done: repeat it with %s", fault.text,
                        repeat);
}

enum ctl_exit ctl_server_time(struct ctl *ctl, int64_t *time_ms)
{
    Tidegate__V1__Response *response;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    Tidegate__V1__GetServerTimeRequest body = TIDEGATE__V1__GET_SERVER_TIME_REQUEST__INIT;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_GET_SERVER_TIME;
    request.get_server_time = &body;
    enum ctl_exit code = ctl_call(ctl, &request, &response);
    if (code)
        return code;
    *time_ms = response->get_server_time->server_time_ms;
    tgc_response_free(response);
    return CTL_DONE;
}
