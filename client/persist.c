#include "client/tidegate.h"

#include "base/hash.h"
#include "client/internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#define BACK_OFF_MS_FIRST 10
#define BACK_OFF_MS_MAX   1000

/* A request on its way, over as many attempts as its time allows. */
struct asking {
    struct tgc_client *client;
    Tidegate__V1__Request *request;
    int64_t deadline_ns;
    uint32_t timeout_ms; /* the whole of it, for the fault */
    uint32_t failures;   /* attempts that got no answer, in a row */
    bool unknown;        /* an attempt went out and has no answer */
};

/* The first loss is most often a connection that went stale: try at once. After that the whole
 * fleet may be knocking, so the pauses grow and are spread at random. */
static uint32_t back_off_ms(const struct asking *asking)
{
    if (asking->failures <= 1)
        return 0;
    uint32_t doublings = asking->failures - 2 < 7 ? asking->failures - 2 : 7;
    uint32_t pause_ms = BACK_OFF_MS_FIRST << doublings;
    if (pause_ms > BACK_OFF_MS_MAX)
        pause_ms = BACK_OFF_MS_MAX;
    uint64_t random = tg_hash_words((uint64_t)tg_clock_mono_ns(), (uintptr_t)asking, 0);
    return pause_ms / 2 + (uint32_t)(random % (pause_ms / 2 + 1));
}

static void sleep_ms(uint32_t pause_ms)
{
    struct timespec left = {.tv_sec = pause_ms / 1000, .tv_nsec = pause_ms % 1000 * TG_NS_PER_MS};
    while (nanosleep(&left, &left) != 0 && errno == EINTR)
        continue;
}

/* A full window and a bad request are found before anything is sent; who may not, or not now, is
 * told so before anything is done. */
static bool did_nothing(enum tg_error error)
{
    return error == TG_ERR_FULL || error == TG_ERR_INVALID || error == TG_ERR_NOMEM ||
           error == TG_ERR_DENIED || error == TG_ERR_LIMITED;
}

/* A hint of 0 would be a busy loop against a server that is just that. */
static uint32_t pause_of(uint32_t retry_after_ms)
{
    return retry_after_ms ? retry_after_ms : TG_RETRY_AFTER_MS;
}

/* One attempt with all the time that is left. */
static enum tg_error attempt(struct asking *asking, Tidegate__V1__Response **response,
                             struct tg_fault *fault)
{
    struct tgc_client *client = asking->client;
    if (!tgc_is_connected(client)) {
        uint32_t left_ms = tgc_left_ms(asking->deadline_ns);
        enum tg_error error = tgc_reconnect(client, left_ms ? left_ms : 1, fault);
        if (error)
            return error;
    }
    enum tg_error error =
        tgc_call(client, asking->request, tgc_left_ms(asking->deadline_ns), response, fault);
    if (error && !did_nothing(error))
        asking->unknown = true;
    return error;
}

/* Worth another attempt: whatever a new connection may cure. */
static bool may_retry(enum tg_error error)
{
    return error == TG_ERR_CLOSED || error == TG_ERR_SYSTEM || error == TG_ERR_TIMEOUT;
}

/* NULL for requests that place no single order. */
static const Tidegate__V1__PlaceOrderRequest *order_of(const Tidegate__V1__Request *request)
{
    if (request->kind_case == TIDEGATE__V1__REQUEST__KIND_PLACE_ORDER)
        return request->place_order;
    if (request->kind_case == TIDEGATE__V1__REQUEST__KIND_OPEN_TEAM)
        return request->open_team->order;
    if (request->kind_case == TIDEGATE__V1__REQUEST__KIND_JOIN_TEAM)
        return request->join_team->order;
    return NULL;
}

/* The request id, as who repeats the request by hand must give it; "" when it has none. */
static const char *request_id_text(const Tidegate__V1__Request *request,
                                   char text[2 * TG_REQUEST_ID_BYTES + 1])
{
    ProtobufCBinaryData id = {0, NULL};
    const Tidegate__V1__PlaceOrderRequest *order = order_of(request);
    if (order)
        id = order->request_id;
    else if (request->kind_case == TIDEGATE__V1__REQUEST__KIND_CHANGE_ORDER)
        id = request->change_order->request_id;
    text[0] = '\0';
    for (size_t i = 0; i < id.len && i < TG_REQUEST_ID_BYTES; i++)
        snprintf(text + 2 * i, 3, "%02x", id.data[i]);
    return text;
}

/* Time is over; `fault` tells of the last attempt. What the caller may believe depends on whether
 * any attempt is unanswered: then even a BUSY for a later one says nothing about the request. */
static enum tg_error out_of_time(const struct asking *asking, enum tg_error last,
                                 Tidegate__V1__Response **response, struct tg_fault *fault)
{
    if (!asking->unknown) {
        /* Connecting took all the time: nothing went out, which is another thing than no answer. */
        enum tg_error error = last == TG_ERR_TIMEOUT ? TG_ERR_SYSTEM : last;
        if (error)
            fault->error = error;
        return error;
    }
    tgc_response_free(*response);
    *response = NULL;
    char text[2 * TG_REQUEST_ID_BYTES + 1], reason[200] = "BUSY";
    const char *id = request_id_text(asking->request, text);
    if (last)
        snprintf(reason, sizeof(reason), "%.199s", fault->text);
    return tg_fault_set(
        fault, TG_ERR_TIMEOUT,
        "request%s%s has no answer after %" PRIu32 " ms and may stand; ask again%s. Last: %s",
        id[0] ? " " : "", id, asking->timeout_ms, id[0] ? " with the same request id" : "", reason);
}

static enum tg_error ask(struct asking *asking, Tidegate__V1__Response **response,
                         struct tg_fault *fault)
{
    for (;;) {
        uint32_t pause_ms;
        enum tg_error error = attempt(asking, response, fault);
        if (error == TG_ERR_LIMITED) {
            asking->failures = 0;
            pause_ms = pause_of(tgc_retry_after_ms(asking->client));
        } else if (error) {
            if (!may_retry(error))
                return error;
            asking->failures++;
            pause_ms = back_off_ms(asking);
        } else {
            struct tgc_outcome outcome = tgc_outcome_of(*response);
            if (outcome.verdict != TG_BUSY)
                return TG_ERR_OK;
            asking->failures = 0;
            pause_ms = pause_of(outcome.retry_after_ms);
        }
        uint32_t left_ms = tgc_left_ms(asking->deadline_ns);
        if (left_ms == 0 || pause_ms >= left_ms)
            return out_of_time(asking, error, response, fault);
        tgc_response_free(*response);
        *response = NULL;
        sleep_ms(pause_ms);
    }
}

enum tg_error tgc_call_until_answered(struct tgc_client *client, Tidegate__V1__Request *request,
                                      uint32_t timeout_ms, Tidegate__V1__Response **response,
                                      struct tg_fault *fault)
{
    struct asking asking = {
        .client = client,
        .request = request,
        .deadline_ns = tgc_deadline_ns(timeout_ms),
        .timeout_ms = timeout_ms,
    };
    struct tg_fault own_fault = {0};
    *response = NULL;
    return ask(&asking, response, fault ? fault : &own_fault);
}
