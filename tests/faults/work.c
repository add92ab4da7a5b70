#include "tests/faults/work.h"

#include "base/clock.h"
#include "tests/faults/script.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PATIENCE_MS 8000
#define CONNECT_MS  500
/* Before the same thing is asked again. */
#define PAUSE_US    1000

void work_init(struct work *work)
{
    *work = (struct work){.count = script_count, .patience_ms = PATIENCE_MS};
}

enum work_result work_wrong(struct work *work, const char *format, ...)
{
    if (work->wrong[0] != '\0')
        return WORK_WRONG;
    va_list list;
    va_start(list, format);
    vsnprintf(work->wrong, sizeof(work->wrong), format, list);
    va_end(list);
    return WORK_WRONG;
}

static const struct step *step_at(uint32_t number)
{
    static struct step probe;
    if (number < script_count)
        return &script[number];
    probe = (struct step){.kind = STEP_PLACE,
                          .sale = 1,
                          .sku = number % 2 ? "A" : "B",
                          .user = SCRIPT_PROBE_USER + number,
                          .quantity = 1};
    return &probe;
}

/* --- the connections --- */

static bool open_client(struct work *work, int which)
{
    struct tgc_options options = {.server = work->host->address, .connect_ms = CONNECT_MS};
    struct tg_fault fault;
    return tgc_open(&options, &work->clients[which], &fault) == TG_ERR_OK;
}

static enum work_result connect_one(struct work *work, int which)
{
    int64_t deadline_ns = tg_clock_mono_ns() + work->patience_ms * TG_NS_PER_MS;
    while (!open_client(work, which)) {
        if (!host_runs(work->host))
            return WORK_GONE;
        if (tg_clock_mono_ns() > deadline_ns)
            return WORK_STUCK;
        usleep(PAUSE_US);
    }
    return WORK_DONE;
}

enum work_result work_connect(struct work *work, struct host *host)
{
    work->host = host;
    enum work_result result = connect_one(work, 0);
    return result == WORK_DONE ? connect_one(work, 1) : result;
}

void work_disconnect(struct work *work)
{
    for (int i = 0; i < 2; i++)
        tgc_close(work->clients[i]);
    work->clients[0] = work->clients[1] = NULL;
}

/* An answer that says: not now, and nothing was done. The connection may have gone with it. */
static bool is_refusal_of_all(enum tg_error error, const struct tg_fault *fault)
{
    return error == TG_ERR_PROTOCOL &&
           (strstr(fault->text, "could not be read") || strstr(fault->text, "memory") ||
            strstr(fault->text, "connections_max"));
}

/* Asks once, on a connection that may have to be made first. TG_ERR_OK: `*response`; TG_ERR_CLOSED:
 * no answer, ask again; others are for the caller. */
static enum tg_error ask_once(struct work *work, int which, Tidegate__V1__Request *request,
                              uint32_t wait_ms, Tidegate__V1__Response **response, bool *sent)
{
    struct tg_fault fault = {0};
    bool up = work->clients[which] || open_client(work, which);
    struct tgc_client *client = work->clients[which];
    if (!up ||
        (!tgc_is_connected(client) && tgc_reconnect(client, CONNECT_MS, &fault) != TG_ERR_OK)) {
        usleep(PAUSE_US);
        return TG_ERR_CLOSED;
    }
    *sent = true;
    enum tg_error error = tgc_call(client, request, wait_ms, response, &fault);
    if (error == TG_ERR_OK || error == TG_ERR_TIMEOUT)
        return error;
    if (error == TG_ERR_PROTOCOL && !is_refusal_of_all(error, &fault)) {
        work_wrong(work, "it answered with an error: %s", fault.text);
        return error;
    }
    usleep(PAUSE_US);
    return TG_ERR_CLOSED;
}

/* Asks until there is an answer that is neither BUSY nor STORAGE_FULL. */
static enum work_result ask(struct work *work, int which, Tidegate__V1__Request *request,
                            Tidegate__V1__Response **response, bool *unsure)
{
    int64_t deadline_ns = tg_clock_mono_ns() + work->patience_ms * TG_NS_PER_MS;
    for (;;) {
        int64_t left_ns = deadline_ns - tg_clock_mono_ns();
        if (left_ns <= 0)
            return WORK_STUCK;
        bool sent = false;
        switch (ask_once(work, which, request, (uint32_t)(left_ns / TG_NS_PER_MS + 1), response,
                         &sent)) {
        case TG_ERR_OK:
            break;
        case TG_ERR_TIMEOUT:
            *unsure = true;
            return host_runs(work->host) ? WORK_STUCK : WORK_GONE;
        case TG_ERR_CLOSED:
            *unsure = *unsure || sent;
            if (!host_runs(work->host))
                return WORK_GONE;
            continue;
        default:
            return WORK_WRONG;
        }
        int verdict = tgc_outcome_of(*response).verdict;
        if (verdict != TG_BUSY && verdict != TG_STORAGE_FULL)
            return WORK_DONE;
        tgc_response_free(*response);
        usleep(PAUSE_US);
    }
}

/* --- what an answer says --- */

struct answer {
    int verdict;
    uint32_t count;
    uint64_t orders[WORK_BATCH];
    int64_t accepted_at_ms[WORK_BATCH];
    bool has_parts;
    bool all_replayed;
    bool again; /* a part of a batch was told to come later */
};

static void take_placed(const Tidegate__V1__PlaceOrderResponse *placed, struct answer *answer)
{
    int verdict = (int)placed->verdict;
    answer->again = answer->again || verdict == TG_BUSY || verdict == TG_STORAGE_FULL;
    if (!answer->has_parts || answer->verdict == TG_ACCEPTED)
        answer->verdict = verdict;
    answer->has_parts = true;
    answer->orders[answer->count] = placed->order_id;
    answer->accepted_at_ms[answer->count] = placed->accepted_at_ms;
    answer->all_replayed = answer->all_replayed && placed->replayed;
    answer->count += verdict == TG_ACCEPTED;
}

static void take_many(size_t count, Tidegate__V1__PlaceOrderResponse *const *results,
                      struct answer *answer)
{
    for (size_t i = 0; i < count && i < WORK_BATCH; i++)
        take_placed(results[i], answer);
}

static struct answer read_answer(const Tidegate__V1__Response *response)
{
    struct answer answer = {.verdict = tgc_outcome_of(response).verdict, .all_replayed = true};
    switch (response->kind_case) {
    case TIDEGATE__V1__RESPONSE__KIND_PLACE_ORDER:
        take_placed(response->place_order, &answer);
        break;
    case TIDEGATE__V1__RESPONSE__KIND_OPEN_TEAM:
        take_placed(response->open_team->order, &answer);
        break;
    case TIDEGATE__V1__RESPONSE__KIND_JOIN_TEAM:
        take_placed(response->join_team->order, &answer);
        break;
    case TIDEGATE__V1__RESPONSE__KIND_PLACE_ORDERS:
        take_many(response->place_orders->n_results, response->place_orders->results, &answer);
        break;
    case TIDEGATE__V1__RESPONSE__KIND_INGEST_ORDERS:
        take_many(response->ingest_orders->n_results, response->ingest_orders->results, &answer);
        break;
    case TIDEGATE__V1__RESPONSE__KIND_CHANGE_ORDER:
        answer.all_replayed = response->change_order->replayed;
        break;
    default:
        break;
    }
    return answer;
}

static bool places(const struct step *step)
{
    return step->kind <= STEP_INGEST && step->kind >= STEP_PLACE;
}

static bool changes(const struct step *step)
{
    return step->kind >= STEP_PAY && step->kind <= STEP_EXTEND;
}

static int expected_of(const struct step *step)
{
    return step->verdict ? (int)step->verdict : places(step) ? TG_ACCEPTED : TG_OK;
}

/* Done before, by an attempt that got no answer. */
static bool was_done(const struct step *step, int verdict)
{
    return (step->kind == STEP_CREATE_SALE && verdict == TG_SALE_EXISTS) ||
           (step->kind == STEP_CREATE_GROUP && verdict == TG_GROUP_EXISTS) ||
           (step->kind == STEP_ADJUST && verdict == TG_STOCK_CHANGED);
}

static bool is_balanced(const Tidegate__V1__ItemStatus *status)
{
    return (int64_t)status->item->stock_units + status->restocked_units ==
           (int64_t)(status->available_units + status->reserved_units + status->sold_units);
}

static enum work_result check_events(struct work *work,
                                     const Tidegate__V1__ConsumeEventsResponse *page)
{
    for (size_t i = 0; i < page->n_events; i++)
        if (i > 0 && page->events[i]->sequence != page->events[i - 1]->sequence + 1)
            return work_wrong(work, "event %" PRIu64 " comes behind event %" PRIu64,
                              page->events[i]->sequence, page->events[i - 1]->sequence);
    if (page->n_events == 0)
        return work_wrong(work, "there are orders and no events");
    return WORK_DONE;
}

/* What a read must say beyond its verdict. */
static enum work_result check_read(struct work *work, const struct step *step,
                                   const Tidegate__V1__Response *response)
{
    if (step->kind == STEP_GET_ORDER &&
        ((uint32_t)response->get_order->order->state != step->state ||
         response->get_order->order->order_id != work->told[step->of].orders[0]))
        return work_wrong(work, "order %" PRIu64 " is in state %d, not %u",
                          response->get_order->order->order_id,
                          (int)response->get_order->order->state, step->state);
    if (step->kind == STEP_GET_ITEM && !is_balanced(response->get_item->status))
        return work_wrong(work, "the units of %s do not add up", step->sku);
    if (step->kind == STEP_GET_TEAM &&
        response->get_team->team->team_id != work->told[step->of].orders[0])
        return work_wrong(work, "that is another team");
    if (step->kind == STEP_LIST_SALES && response->list_sales->n_sales != SCRIPT_SALES)
        return work_wrong(work, "%zu sales are listed", response->list_sales->n_sales);
    if (step->kind == STEP_CONSUME)
        return check_events(work, response->consume_events);
    return WORK_DONE;
}

/* --- a step --- */

static uint64_t order_of(const struct work *work, const struct step *step)
{
    return work->told[step->of].count > 0 ? work->told[step->of].orders[0] : 0;
}

static enum work_result check_first(struct work *work, uint32_t number, const struct answer *answer)
{
    const struct step *step = step_at(number);
    struct work_told *told = &work->told[number];
    bool done_before = told->unsure && was_done(step, answer->verdict);
    if (answer->verdict != expected_of(step) && !done_before)
        return work_wrong(work, "step %u, %s: %s, not %s", number, script_name(step->kind),
                          tg_verdict_name(answer->verdict), tg_verdict_name(expected_of(step)));
    bool succeeded = answer->verdict == TG_ACCEPTED || answer->verdict == TG_OK;
    if (!told->unsure && succeeded && (places(step) || changes(step)) && answer->all_replayed)
        return work_wrong(work, "step %u, %s: a replayed answer to what was never asked", number,
                          script_name(step->kind));
    told->answered = true;
    told->verdict = answer->verdict;
    told->count = answer->count;
    memcpy(told->orders, answer->orders, sizeof(told->orders));
    memcpy(told->accepted_at_ms, answer->accepted_at_ms, sizeof(told->accepted_at_ms));
    return WORK_DONE;
}

static enum work_result reconnect(struct work *work)
{
    work_disconnect(work);
    return work_connect(work, work->host);
}

static enum work_result do_step(struct work *work, uint32_t number)
{
    const struct step *step = step_at(number);
    struct work_told *told = &work->told[number];
    if (step->kind == STEP_RECONNECT)
        return reconnect(work);
    int64_t deadline_ns = tg_clock_mono_ns() + work->patience_ms * TG_NS_PER_MS;
    for (;;) {
        Tidegate__V1__Request request;
        Tidegate__V1__Response *response;
        script_message(step, number, order_of(work, step), &request);
        enum work_result result = ask(work, number % 2, &request, &response, &told->unsure);
        if (result != WORK_DONE)
            return result;
        struct answer answer = read_answer(response);
        bool is_read = !answer.again && answer.verdict == TG_OK;
        if (is_read && check_read(work, step, response) != WORK_DONE)
            result = WORK_WRONG;
        tgc_response_free(response);
        if (result != WORK_DONE)
            return result;
        if (!answer.again)
            return check_first(work, number, &answer);
        told->unsure = true;
        if (tg_clock_mono_ns() > deadline_ns)
            return WORK_STUCK;
        usleep(PAUSE_US);
    }
}

enum work_result work_play(struct work *work, uint32_t end)
{
    uint32_t last = end ? end : work->count;
    for (; work->next < last; work->next++) {
        if (work->told[work->next].answered)
            continue;
        enum work_result result = do_step(work, work->next);
        if (result != WORK_DONE)
            return result;
    }
    return WORK_DONE;
}

/* --- while a fault lasts --- */

static enum work_result probe_order(struct work *work, uint32_t number, uint32_t wait_ms)
{
    Tidegate__V1__Request request;
    Tidegate__V1__Response *response;
    bool sent = false;
    script_message(step_at(number), number, 0, &request);
    enum tg_error error = ask_once(work, number % 2, &request, wait_ms, &response, &sent);
    work->told[number].unsure = true;
    if (error != TG_ERR_OK)
        return work->wrong[0] ? WORK_WRONG : host_runs(work->host) ? WORK_DONE : WORK_GONE;
    struct answer answer = read_answer(response);
    tgc_response_free(response);
    return answer.again ? WORK_DONE : check_first(work, number, &answer);
}

static enum work_result probe_read(struct work *work, const struct step *step, uint32_t wait_ms)
{
    Tidegate__V1__Request request;
    Tidegate__V1__Response *response;
    bool sent = false;
    script_message(step, 0, order_of(work, step), &request);
    enum tg_error error = ask_once(work, 0, &request, wait_ms, &response, &sent);
    if (error != TG_ERR_OK)
        return work->wrong[0] ? WORK_WRONG : host_runs(work->host) ? WORK_DONE : WORK_GONE;
    enum work_result result =
        tgc_outcome_of(response).verdict == TG_OK ? check_read(work, step, response) : WORK_DONE;
    tgc_response_free(response);
    return result;
}

enum work_result work_probe(struct work *work, uint32_t wait_ms)
{
    static const struct step reads[] = {
        {.kind = STEP_GET_ITEM, .sale = 1, .sku = "A"},
        {.kind = STEP_GET_ITEM, .sale = 1, .sku = "B"},
        {.kind = STEP_TIME},
    };
    /* Before the sale is there nothing can be asked of it, and while it is paused it refuses. */
    const struct step *stuck = step_at(work->next);
    if (!work->told[0].answered || stuck->kind == STEP_PAUSE || stuck->kind == STEP_RESUME ||
        stuck->verdict == TG_PAUSED)
        return WORK_DONE;
    work->count = script_count + WORK_PROBES;
    for (uint32_t i = 0; i < WORK_PROBES; i++) {
        enum work_result result = probe_order(work, script_count + i, wait_ms);
        if (result != WORK_DONE)
            return result;
    }
    for (size_t i = 0; i < sizeof(reads) / sizeof(reads[0]); i++) {
        enum work_result result = probe_read(work, &reads[i], wait_ms);
        if (result != WORK_DONE)
            return result;
    }
    return WORK_DONE;
}

/* --- afterwards --- */

static enum work_result replay_step(struct work *work, uint32_t number)
{
    const struct step *step = step_at(number);
    const struct work_told *told = &work->told[number];
    Tidegate__V1__Request request;
    Tidegate__V1__Response *response;
    bool unsure = false;
    script_message(step, number, order_of(work, step), &request);
    enum work_result result = ask(work, number % 2, &request, &response, &unsure);
    if (result != WORK_DONE)
        return result;
    struct answer answer = read_answer(response);
    tgc_response_free(response);
    if (answer.verdict != told->verdict || !answer.all_replayed || answer.count != told->count)
        return work_wrong(work, "step %u, %s: asked again it is %s%s, and was %s", number,
                          script_name(step->kind), tg_verdict_name(answer.verdict),
                          answer.all_replayed ? "" : " (anew)", tg_verdict_name(told->verdict));
    for (uint32_t i = 0; i < told->count; i++)
        if (answer.orders[i] != told->orders[i] ||
            answer.accepted_at_ms[i] != told->accepted_at_ms[i])
            return work_wrong(
                work, "step %u, %s: order %" PRIu64 " is order %" PRIu64 " when asked again",
                number, script_name(step->kind), told->orders[i], answer.orders[i]);
    return WORK_DONE;
}

enum work_result work_replay(struct work *work)
{
    for (uint32_t i = 0; i < work->count; i++) {
        const struct step *step = step_at(i);
        if (!work->told[i].answered || step->verdict || !(places(step) || changes(step)))
            continue;
        enum work_result result = replay_step(work, i);
        if (result != WORK_DONE)
            return result;
    }
    return WORK_DONE;
}

/* One change towards the end of an order, by the state that it is in; `*ended`: there is none. */
static enum work_result end_once(struct work *work, uint64_t order_id, bool *ended)
{
    Tidegate__V1__Request request;
    Tidegate__V1__Response *response;
    bool unsure = false;
    const struct step get = {.kind = STEP_GET_ORDER};
    script_message(&get, 0, order_id, &request);
    enum work_result result = ask(work, 0, &request, &response, &unsure);
    if (result != WORK_DONE)
        return result;
    int verdict = (int)response->get_order->verdict;
    int state = verdict == TG_OK ? (int)response->get_order->order->state : 0;
    tgc_response_free(response);
    if (verdict != TG_OK)
        return work_wrong(work, "order %" PRIu64 " was accepted and is gone: %s", order_id,
                          tg_verdict_name(verdict));
    bool is_paid = state == TIDEGATE__V1__ORDER_STATE__ORDER_STATE_CONFIRMED ||
                   state == TIDEGATE__V1__ORDER_STATE__ORDER_STATE_SHIPPED;
    *ended = !is_paid && state != TIDEGATE__V1__ORDER_STATE__ORDER_STATE_RESERVED &&
             state != TIDEGATE__V1__ORDER_STATE__ORDER_STATE_AWAITING_TEAM;
    if (*ended)
        return WORK_DONE;
    script_ending(is_paid ? STEP_REFUND : STEP_CANCEL, order_id, &request);
    result = ask(work, 1, &request, &response, &unsure);
    if (result != WORK_DONE)
        return result;
    verdict = (int)response->change_order->verdict;
    tgc_response_free(response);
    return verdict == TG_OK ? WORK_DONE
                            : work_wrong(work, "order %" PRIu64 " in state %d does not end: %s",
                                         order_id, state, tg_verdict_name(verdict));
}

static enum work_result end_order(struct work *work, uint64_t order_id)
{
    bool ended = false;
    for (int i = 0; i < 4 && !ended; i++) {
        enum work_result result = end_once(work, order_id, &ended);
        if (result != WORK_DONE)
            return result;
    }
    return ended ? WORK_DONE : work_wrong(work, "order %" PRIu64 " never ends", order_id);
}

static enum work_result check_whole(struct work *work, uint64_t sale, const char *sku,
                                    uint64_t units)
{
    const struct step get = {.kind = STEP_GET_ITEM, .sale = sale, .sku = sku};
    Tidegate__V1__Request request;
    Tidegate__V1__Response *response;
    bool unsure = false;
    script_message(&get, 0, 0, &request);
    enum work_result result = ask(work, 0, &request, &response, &unsure);
    if (result != WORK_DONE)
        return result;
    const Tidegate__V1__ItemStatus *status = response->get_item->status;
    int64_t restocked = strcmp(sku, "D") == 0 ? 5 : 0;
    bool whole = response->get_item->verdict == TIDEGATE__V1__VERDICT__VERDICT_OK &&
                 status->restocked_units == restocked && status->reserved_units == 0 &&
                 status->sold_units == 0 &&
                 (int64_t)status->available_units == (int64_t)units + restocked;
    if (!whole)
        work_wrong(work,
                   "all orders have ended, and of %" PRIu64 " units of %s %" PRIu64
                   " are available, %" PRIu64 " reserved, %" PRIu64 " sold, %" PRId64 " restocked",
                   units, sku, status ? status->available_units : 0,
                   status ? status->reserved_units : 0, status ? status->sold_units : 0,
                   status ? status->restocked_units : 0);
    tgc_response_free(response);
    return whole ? WORK_DONE : WORK_WRONG;
}

enum work_result work_settle(struct work *work)
{
    for (uint32_t i = 0; i < work->count; i++) {
        for (uint32_t k = 0; k < work->told[i].count; k++) {
            enum work_result result = end_order(work, work->told[i].orders[k]);
            if (result != WORK_DONE)
                return result;
        }
    }
    for (uint64_t sale = 1; sale <= SCRIPT_SALES; sale++) {
        const char *sku;
        uint64_t units;
        for (uint32_t i = 0; script_item(sale, i, &sku, &units); i++) {
            enum work_result result = check_whole(work, sale, sku, units);
            if (result != WORK_DONE)
                return result;
        }
    }
    return WORK_DONE;
}

static bool is_told(const struct work *work, uint64_t order_id)
{
    for (uint32_t i = 0; i < work->count; i++)
        for (uint32_t k = 0; k < work->told[i].count; k++)
            if (work->told[i].orders[k] == order_id)
                return true;
    return false;
}

enum work_result work_count_orders(struct work *work)
{
    const struct step list = {.kind = STEP_LIST_ORDERS};
    Tidegate__V1__Request request;
    Tidegate__V1__Response *response;
    bool unsure = false;
    script_message(&list, 0, 0, &request);
    enum work_result result = ask(work, 0, &request, &response, &unsure);
    if (result != WORK_DONE)
        return result;
    size_t expected = 0;
    for (uint32_t i = 0; i < work->count; i++)
        expected += work->told[i].count;
    const Tidegate__V1__ListOrdersResponse *page = response->list_orders;
    for (size_t i = 0; i < page->n_orders && result == WORK_DONE; i++)
        if (!is_told(work, page->orders[i]->order_id))
            result =
                work_wrong(work, "nobody was told of order %" PRIu64, page->orders[i]->order_id);
    if (result == WORK_DONE && page->n_orders != expected)
        result = work_wrong(work, "%zu orders were accepted, and %zu are there", expected,
                            page->n_orders);
    tgc_response_free(response);
    return result;
}
