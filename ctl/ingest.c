/* order ingest: orders that other channels took, batch by batch. */
#include "base/clock.h"
#include "ctl/ctl.h"
#include "ctl/ingestfile.h"
#include "ctl/text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BATCH_ORDERS    TG_INGEST_ORDERS_MAX
#define ORDER_BYTES_MAX 512 /* three texts of 32 bytes and a dozen numbers, with their tags */
#define EXTERNAL_BYTES  (2 * TG_EXTERNAL_BYTES_MAX + 3)
#define ADVICE_BYTES    160

_Static_assert(BATCH_ORDERS *ORDER_BYTES_MAX <= TG_FRAME_BATCH_BYTES_MAX, "a batch is one frame");

/* What became of one order. */
struct result {
    int verdict; /* TG_BUSY: to be asked again */
    uint64_t order_id;
    bool replayed;
    char advice[ADVICE_BYTES];
};

struct ingest {
    struct ctl_ingestfile file;
    struct ctl_table table;
    bool on_tty; /* progress is shown */
    uint64_t accepted;
    uint64_t replayed;
    uint64_t refused;
    size_t count; /* orders of this batch */
    struct ctl_ingest_order orders[BATCH_ORDERS];
    struct result results[BATCH_ORDERS];
};

static const struct ctl_column result_columns[] = {
    {"NUMBER", true},   {"CHANNEL", true}, {"EXTERNAL", false},
    {"VERDICT", false}, {"ORDER", true},   {"", false},
};

/* --- telling --- */

static void print_result(const struct ctl *ctl, struct ingest *ingest, size_t i)
{
    const struct ctl_ingest_order *order = &ingest->orders[i];
    const struct result *result = &ingest->results[i];
    char external[EXTERNAL_BYTES];
    ctl_bytes_text(&order->message.external_id, external, sizeof(external));
    if (ctl->json) {
        ctl_json_print(json_pack(
            "{s:I, s:I, s:s, s:s, s:o, s:b, s:o}", "number", (json_int_t)order->number, "channel",
            (json_int_t)order->message.channel, "external_id", external, "verdict",
            tg_verdict_name(result->verdict), "order_id", ctl_json_id(result->order_id), "replayed",
            (int)result->replayed, "message", ctl_json_text(result->advice)));
        return;
    }
    ctl_table_cell(&ingest->table, "%" PRIu64, order->number);
    ctl_table_cell(&ingest->table, "%" PRIu32, order->message.channel);
    ctl_table_cell(&ingest->table, "%s", external);
    ctl_table_cell(&ingest->table, "%s", tg_verdict_name(result->verdict));
    if (result->order_id)
        ctl_table_cell(&ingest->table, "%" PRIu64, result->order_id);
    else
        ctl_table_cell(&ingest->table, "-");
    ctl_table_cell(&ingest->table, "%s", result->replayed ? "replayed" : result->advice);
}

static void print_results(const struct ctl *ctl, struct ingest *ingest)
{
    for (size_t i = 0; i < ingest->count; i++) {
        const struct result *result = &ingest->results[i];
        bool accepted = result->verdict == TG_ACCEPTED;
        ingest->accepted += accepted;
        ingest->replayed += accepted && result->replayed;
        ingest->refused += !accepted;
        print_result(ctl, ingest, i);
    }
    if (!ctl->json)
        ctl_table_flush(&ingest->table);
    if (ingest->on_tty)
        fprintf(stderr, "\r\033[K%" PRIu64 " orders sent", ingest->file.number);
}

/* --- asking --- */

static void keep_result(struct result *result, const Tidegate__V1__PlaceOrderResponse *answer)
{
    *result = (struct result){.verdict = (int)answer->verdict,
                              .order_id = answer->order_id,
                              .replayed = answer->replayed};
    bool accepted = result->verdict == TG_ACCEPTED;
    const char *advice = accepted             ? ""
                         : answer->message[0] ? answer->message
                                              : ctl_verdict_advice(result->verdict);
    snprintf(result->advice, sizeof(result->advice), "%s", advice);
}

/* Asks for all orders of the batch that are BUSY; stores how many still are, and their longest
 * hint. */
static enum ctl_exit ask_busy(struct ctl *ctl, struct ingest *ingest, size_t *busy,
                              uint32_t *pause_ms)
{
    Tidegate__V1__IngestOrder *list[BATCH_ORDERS];
    size_t places[BATCH_ORDERS], count = 0;
    for (size_t i = 0; i < ingest->count; i++) {
        if (ingest->results[i].verdict != TG_BUSY)
            continue;
        places[count] = i;
        list[count++] = &ingest->orders[i].message;
    }
    Tidegate__V1__Response *response;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    Tidegate__V1__IngestOrdersRequest body = TIDEGATE__V1__INGEST_ORDERS_REQUEST__INIT;
    body.n_orders = count;
    body.orders = list;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_INGEST_ORDERS;
    request.ingest_orders = &body;
    enum ctl_exit code = ctl_ask(ctl, &request, NULL, &response);
    if (code)
        return code;
    const Tidegate__V1__IngestOrdersResponse *answer = response->ingest_orders;
    code = ctl_judge(response);
    if (!code && answer->n_results != count)
        code = ctl_complain(CTL_UNREACHABLE, "%s answers %zu orders with %zu results", ctl->server,
                            count, answer->n_results);
    *busy = 0;
    *pause_ms = TG_RETRY_AFTER_MS;
    for (size_t i = 0; i < count && !code; i++) {
        const Tidegate__V1__PlaceOrderResponse *one = answer->results[i];
        keep_result(&ingest->results[places[i]], one);
        *busy += (int)one->verdict == TG_BUSY;
        if ((int)one->verdict == TG_BUSY && one->retry_after_ms > *pause_ms)
            *pause_ms = one->retry_after_ms;
    }
    tgc_response_free(response);
    return code;
}

/* BUSY orders are asked again while the time lasts, as all commands do. */
static enum ctl_exit ask_batch(struct ctl *ctl, struct ingest *ingest)
{
    size_t busy = 0;
    uint32_t pause_ms = 0;
    int64_t deadline_ns = tg_clock_mono_ns() + (int64_t)ctl->timeout_ms * TG_NS_PER_MS;
    for (size_t i = 0; i < ingest->count; i++)
        ingest->results[i] = (struct result){.verdict = TG_BUSY};
    for (;;) {
        enum ctl_exit code = ask_busy(ctl, ingest, &busy, &pause_ms);
        if (code || busy == 0)
            return code;
        if (tg_clock_mono_ns() + (int64_t)pause_ms * TG_NS_PER_MS >= deadline_ns)
            return CTL_DONE;
        struct timespec pause = {.tv_sec = pause_ms / 1000,
                                 .tv_nsec = pause_ms % 1000 * TG_NS_PER_MS};
        nanosleep(&pause, NULL);
    }
}

static void batch_free(struct ingest *ingest)
{
    for (size_t i = 0; i < ingest->count; i++)
        ctl_ingest_order_free(&ingest->orders[i]);
    ingest->count = 0;
}

/* Reads the next batch and sends it, also the one before an order that is wrong: what stands in
 * front of it is taken. `end` is set behind the last. */
static enum ctl_exit ingest_batch(struct ctl *ctl, struct ingest *ingest, bool *end)
{
    struct tg_fault fault = {0};
    enum tg_error error = TG_ERR_OK;
    while (!error && ingest->count < BATCH_ORDERS) {
        error = ctl_ingestfile_next(&ingest->file, &ingest->orders[ingest->count], &fault);
        ingest->count += !error;
    }
    enum ctl_exit code = ingest->count ? ask_batch(ctl, ingest) : CTL_DONE;
    if (!code)
        print_results(ctl, ingest);
    batch_free(ingest);
    *end = error != TG_ERR_OK;
    if (code || !error || error == TG_ERR_NOTFOUND)
        return code;
    return ctl_complain(error == TG_ERR_INVALID ? CTL_USAGE : CTL_UNREACHABLE,
                        "%s\nThe orders before it were sent; ingest the file again when it is "
                        "mended, that is safe.",
                        fault.text);
}

/* --- the command --- */

static enum ctl_exit finish(const struct ctl *ctl, struct ingest *ingest, enum ctl_exit code)
{
    if (ingest->on_tty)
        fputs("\r\033[K", stderr);
    if (!ctl->json)
        ctl_table_end(&ingest->table);
    fflush(stdout);
    fprintf(stderr, "%" PRIu64 " accepted (%" PRIu64 " of them before), %" PRIu64 " refused\n",
            ingest->accepted, ingest->replayed, ingest->refused);
    return !code && ingest->refused ? CTL_REFUSED : code;
}

enum ctl_exit ctl_order_ingest(struct ctl *ctl)
{
    const char *name = ctl->arguments[0];
    bool is_stdin = strcmp(name, "-") == 0;
    FILE *stream = is_stdin ? stdin : fopen(name, "r");
    if (!stream)
        return ctl_complain(CTL_UNREACHABLE, "cannot read %s: %s", name, strerror(errno));
    struct ingest *ingest = calloc(1, sizeof(*ingest));
    if (!ingest)
        ctl_out_of_memory();
    ingest->file = (struct ctl_ingestfile){.stream = stream, .name = is_stdin ? "stdin" : name};
    /* Results on a terminal are progress enough. */
    ingest->on_tty = isatty(STDERR_FILENO) == 1 && isatty(STDOUT_FILENO) != 1;
    ctl_table_init(&ingest->table, result_columns,
                   sizeof(result_columns) / sizeof(result_columns[0]));
    bool end = false;
    enum ctl_exit code;
    do {
        code = ingest_batch(ctl, ingest, &end);
    } while (!code && !end);
    code = finish(ctl, ingest, code);
    free(ingest);
    if (!is_stdin)
        fclose(stream);
    return code;
}
