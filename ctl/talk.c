#include "base/clock.h"
#include "ctl/ctl.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* --- complaints --- */

static void complain(const char *format, va_list args)
{
    /* What was already printed stays in front of the complaint. */
    fflush(stdout);
    fputs("tidegatectl: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
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

/* What all answers have in common. Texts are the response's. */
struct outcome {
    int verdict;
    uint32_t retry_after_ms;
    const char *field;
    const char *message;
};

#define OUTCOME(body, retry)                                                                       \
    ((struct outcome){(int)(body)->verdict, (retry), (body)->field, (body)->message})
#define OUTCOME_BARE(body, retry) ((struct outcome){(int)(body)->verdict, (retry), "", ""})

static struct outcome outcome_of(const Tidegate__V1__Response *r)
{
    switch (r->kind_case) {
    case TIDEGATE__V1__RESPONSE__KIND_PLACE_ORDER:
        return OUTCOME(r->place_order, r->place_order->retry_after_ms);
    case TIDEGATE__V1__RESPONSE__KIND_PLACE_ORDERS:
        return OUTCOME(r->place_orders, 0);
    case TIDEGATE__V1__RESPONSE__KIND_GET_ORDER:
        return OUTCOME_BARE(r->get_order, 0);
    case TIDEGATE__V1__RESPONSE__KIND_LIST_ORDERS:
        return OUTCOME(r->list_orders, 0);
    case TIDEGATE__V1__RESPONSE__KIND_GET_ITEM:
        return OUTCOME(r->get_item, 0);
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
    case TIDEGATE__V1__RESPONSE__KIND_GET_SERVER_TIME:
        return (struct outcome){TG_OK, 0, "", ""};
    case TIDEGATE__V1__RESPONSE__KIND_ERROR:
    case TIDEGATE__V1__RESPONSE__KIND__NOT_SET:
    case _TIDEGATE__V1__RESPONSE__KIND__CASE_IS_INT_SIZE:
        break;
    }
    return (struct outcome){TG_UNSPECIFIED, 0, "", ""};
}

static const char *verdict_advice(int verdict)
{
    switch (verdict) {
    case TG_UNKNOWN_SALE:
        return "no sale has this id";
    case TG_UNKNOWN_ITEM:
        return "the sale has no such SKU";
    case TG_UNKNOWN_ORDER:
        return "no durable order has this id";
    case TG_SALE_EXISTS:
        return "a sale with this id exists; see 'tidegatectl sale show'";
    case TG_STOCK_CHANGED:
        return "the stock is not what --expect says; look again with 'tidegatectl stock show'";
    case TG_INSUFFICIENT_STOCK:
        return "fewer units are available than are to go";
    case TG_ENDED:
        return "the sale is closed, and that is for good";
    case TG_BUSY:
        return "the server had no room in all the time that --timeout gives";
    case TG_STORAGE_FULL:
        return "the server's disk or database is full; nothing was changed";
    default: /* an int from the wire; the rest needs no more words than its name */
        return "";
    }
}

static enum ctl_exit complain_refusal(const struct outcome *outcome)
{
    const char *words = outcome->message[0] ? outcome->message : verdict_advice(outcome->verdict);
    return ctl_complain(CTL_REFUSED, "refused: %s%s%s", tg_verdict_name(outcome->verdict),
                        words[0] ? ": " : "", words);
}

/* --- calls --- */

static enum ctl_exit connect_once(struct ctl *ctl)
{
    struct tg_fault fault = {0};
    struct tgc_options options = {.server = ctl->server, .connect_ms = ctl->timeout_ms};
    if (ctl->client)
        return CTL_DONE;
    enum tg_error error = tgc_open(&options, &ctl->client, &fault);
    if (error == TG_ERR_INVALID)
        return ctl_misused(ctl, "--server: %s", fault.text);
    return error ? ctl_complain(CTL_UNREACHABLE, "%s", fault.text) : CTL_DONE;
}

static enum ctl_exit complain_loss(const struct ctl *ctl, enum tg_error error,
                                   const struct tg_fault *fault)
{
    if (error == TG_ERR_INVALID)
        return ctl_complain(CTL_USAGE, "%s", fault->text);
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
        if (error)
            return complain_loss(ctl, error, &fault);
        struct outcome outcome = outcome_of(*response);
        if (outcome.verdict == TG_OK)
            return CTL_DONE;
        uint32_t pause_ms = outcome.retry_after_ms ? outcome.retry_after_ms : TG_RETRY_AFTER_MS;
        bool again = outcome.verdict == TG_BUSY &&
                     tg_clock_mono_ns() + (int64_t)pause_ms * TG_NS_PER_MS < deadline_ns;
        if (!again)
            code = complain_refusal(&outcome);
        tgc_response_free(*response);
        *response = NULL;
        if (!again)
            return code;
        sleep_ms(pause_ms);
    }
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
