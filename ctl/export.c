/* export orders: every durable order, page by page, as rows for other programs. */
#include "ctl/csv.h"
#include "ctl/ctl.h"
#include "ctl/orderview.h"
#include "ctl/progress.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OUT_BUFFER_BYTES (1u << 20)
#define PARTIAL          ".partial"

struct export
{
    bool csv;
    uint64_t sale_id;        /* 0: all */
    uint64_t after_order_id; /* every order up to here is written, or was not asked for */
    uint64_t sequence_max;   /* the newest when it began: what comes later is not waited for */
    uint64_t last_order_id;  /* written; 0: none */
    uint64_t rows;
    bool begun; /* a page was written */
    bool end;
    int write_code;   /* errno of the write that failed, or 0 */
    const char *path; /* NULL: stdout */
    char *partial;    /* the file while it is not whole */
    FILE *out;
    struct ctl_progress progress;
};

/* --- the file --- */

static enum ctl_exit out_open(struct ctl *ctl, struct export *export)
{
    static char buffer[OUT_BUFFER_BYTES];
    export->out = stdout;
    if (export->path) {
        if (access(export->path, F_OK) == 0)
            return ctl_misused(ctl, "--out: %s exists; take a new file", export->path);
        if (asprintf(&export->partial, "%s" PARTIAL, export->path) < 0)
            ctl_out_of_memory();
        export->out = fopen(export->partial, "we");
        if (!export->out)
            return ctl_complain(CTL_UNREACHABLE, "cannot create %s: %s", export->partial,
                                strerror(errno));
    }
    setvbuf(export->out, buffer, _IOFBF, sizeof(buffer));
    /* One thread writes: a lock for each of its small pieces is a third of the time. */
    __fsetlocking(export->out, FSETLOCKING_BYCALLER);
    return CTL_DONE;
}

/* Gets its name when it is whole, and on the disk. */
static enum ctl_exit out_finish(struct export *export)
{
    if (!export->path)
        return CTL_DONE;
    bool written = fflush(export->out) == 0 && fsync(fileno(export->out)) == 0;
    if (fclose(export->out) || !written)
        return ctl_complain(CTL_REFUSED, "cannot write %s: %s", export->partial, strerror(errno));
    int rc = renameat2(AT_FDCWD, export->partial, AT_FDCWD, export->path, RENAME_NOREPLACE);
    /* Some network filesystems cannot. */
    if (rc && (errno == EINVAL || errno == ENOSYS))
        rc = rename(export->partial, export->path);
    if (!rc)
        return CTL_DONE;
    return ctl_complain(CTL_REFUSED, "cannot rename %s to %s: %s", export->partial, export->path,
                        strerror(errno));
}

/* Whoever reads what was written so far must learn that it is not all. */
static enum ctl_exit broken_off(struct export *export)
{
    if (!export->write_code && fflush(export->out) != 0)
        export->write_code = errno;
    if (export->path)
        fclose(export->out);
    if (export->write_code)
        return ctl_complain(CTL_REFUSED, "broken off, and not whole: cannot write %s: %s",
                            export->path ? export->partial : "the output",
                            strerror(export->write_code));
    return ctl_complain(CTL_REFUSED,
                        "broken off after %" PRIu64 " orders%s%s; the rest lies behind --after "
                        "%" PRIu64,
                        export->rows, export->path ? ", which are in " : "",
                        export->path ? export->partial : "", export->after_order_id);
}

/* --- the pages --- */

/* In one piece where it fits: jansson writes a file letter by letter. */
static void write_json(FILE *out, const json_t *json)
{
    char text[8192];
    size_t bytes = json_dumpb(json, text, sizeof(text), JSON_COMPACT);
    if (bytes > 0 && bytes <= sizeof(text))
        fwrite(text, 1, bytes, out);
    else if (json_dumpf(json, out, JSON_COMPACT))
        ctl_out_of_memory();
    putc_unlocked('\n', out);
}

static void write_order(struct export *export, const Tidegate__V1__Order *order)
{
    json_t *json = ctl_order_json(order);
    if (export->csv)
        ctl_csv_order(export->out, json);
    else
        write_json(export->out, json);
    json_decref(json);
    export->last_order_id = order->order_id;
    export->rows++;
}

/* The sequence in an order's id also says how far a page is that found no order of the sale. */
static void tell_progress(struct export *export)
{
    uint64_t sequence = export->after_order_id >> TG_PARTITION_BITS;
    double seconds = ctl_progress_seconds(&export->progress);
    if (!ctl_progress_is_due(&export->progress))
        return;
    double share = export->sequence_max ? (double)sequence / (double)export->sequence_max : 1;
    ctl_progress_tell(&export->progress, "%" PRIu64 " orders, %.0f%%, %.0f orders/s", export->rows,
                      100 * (share < 1 ? share : 1),
                      seconds > 0 ? (double)export->rows / seconds : 0);
}

static enum ctl_exit take_page(struct ctl *ctl, struct export *export,
                               const Tidegate__V1__ListOrdersResponse *page)
{
    for (size_t i = 0; i < page->n_orders && !export->end; i++) {
        export->end = page->orders[i]->order_id >> TG_PARTITION_BITS > export->sequence_max;
        if (!export->end)
            write_order(export, page->orders[i]);
    }
    export->begun = true;
    if (ferror(export->out)) {
        export->write_code = errno;
        return CTL_REFUSED;
    }
    if (!page->end && page->next_after_order_id <= export->after_order_id)
        return ctl_complain(CTL_REFUSED,
                            "%s sends the page after order %" PRIu64
                            " for ever: its list does not go on",
                            ctl->server, export->after_order_id);
    export->after_order_id = page->next_after_order_id;
    export->end |= page->end || export->after_order_id >> TG_PARTITION_BITS > export->sequence_max;
    return CTL_DONE;
}

static enum ctl_exit next_page(struct ctl *ctl, struct export *export)
{
    Tidegate__V1__Response *response;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    Tidegate__V1__ListOrdersRequest body = TIDEGATE__V1__LIST_ORDERS_REQUEST__INIT;
    body.after_order_id = export->after_order_id;
    body.sale_id = export->sale_id;
    body.limit = TG_ORDERS_PAGE_MAX;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_LIST_ORDERS;
    request.list_orders = &body;
    enum ctl_exit code = ctl_ask(ctl, &request, NULL, &response);
    if (code)
        return code;
    code = ctl_judge(response);
    if (!code)
        code = take_page(ctl, export, response->list_orders);
    tgc_response_free(response);
    return code;
}

/* A sale that goes on would otherwise be exported for as long as it lasts. */
static enum ctl_exit ask_sequence(struct ctl *ctl, struct export *export)
{
    Tidegate__V1__Response *response;
    enum ctl_exit code = ctl_stats_ask(ctl, &response);
    if (code)
        return code;
    export->sequence_max = response->get_stats->sequence;
    tgc_response_free(response);
    return CTL_DONE;
}

/* --- the command --- */

static bool read_options(struct ctl *ctl, struct export *export)
{
    const char *format = ctl_option_value(ctl, "format");
    format = format ? format : ctl->json ? "jsonl" : "csv";
    export->csv = strcmp(format, "csv") == 0;
    export->path = ctl_option_value(ctl, "out");
    if (!export->csv && strcmp(format, "jsonl") != 0) {
        ctl_misused(ctl, "--format \"%s\" must be csv or jsonl", format);
        return false;
    }
    if (export->csv && ctl->json && !export->path) {
        ctl_misused(ctl, "--json and --format csv cannot share stdout: use --out");
        return false;
    }
    return ctl_uint_option(ctl, "sale", 1, UINT64_MAX, &export->sale_id) &&
           ctl_uint_option(ctl, "after", 0, UINT64_MAX, &export->after_order_id);
}

static void print_result(const struct ctl *ctl, const struct export *export)
{
    double seconds = ctl_progress_seconds(&export->progress);
    if (export->path && ctl->json)
        ctl_json_print(json_pack("{s:o, s:I, s:o}", "out", ctl_json_text(export->path), "orders",
                                 (json_int_t) export->rows, "last_order_id",
                                 ctl_json_id(export->last_order_id)));
    else if (export->path)
        printf("exported %" PRIu64 " orders to %s in %.2f s\n", export->rows, export->path,
               seconds);
}

static enum ctl_exit run_export(struct ctl *ctl, struct export *export)
{
    enum ctl_exit code = ask_sequence(ctl, export);
    if (!code)
        code = out_open(ctl, export);
    if (code)
        return code;
    if (export->csv)
        ctl_csv_order_head(export->out);
    while (!code && !export->end) {
        code = next_page(ctl, export);
        if (!code)
            tell_progress(export);
    }
    ctl_progress_clear(&export->progress);
    if (code && (export->begun || code == CTL_REFUSED))
        return broken_off(export);
    if (code && export->path) {
        fclose(export->out);
        unlink(export->partial);
    }
    if (!code)
        code = out_finish(export);
    return code;
}

enum ctl_exit ctl_export_orders(struct ctl *ctl)
{
    struct export export = {.out = NULL};
    if (!read_options(ctl, &export))
        return CTL_USAGE;
    ctl_progress_init(&export.progress, ctl_option_value(ctl, "progress") != NULL);
    enum ctl_exit code = run_export(ctl, &export);
    if (!code)
        print_result(ctl, &export);
    free(export.partial);
    return code;
}
