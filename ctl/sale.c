#include "base/clock.h"
#include "ctl/ctl.h"
#include "ctl/item.h"
#include "ctl/salefile.h"
#include "ctl/saleview.h"
#include "ctl/text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_BYTES_MAX ((size_t)16 * 1024 * 1024) /* 16,384 items take about 3 MiB */

/* --- create --- */

/* The whole file in memory of malloc; "-" is stdin. */
static enum ctl_exit read_file(const char *name, char **text, size_t *text_bytes)
{
    FILE *stream = strcmp(name, "-") == 0 ? stdin : fopen(name, "r");
    if (!stream)
        return ctl_complain(CTL_UNREACHABLE, "cannot read %s: %s", name, strerror(errno));
    *text = malloc(FILE_BYTES_MAX + 1);
    if (!*text)
        ctl_out_of_memory();
    *text_bytes = fread(*text, 1, FILE_BYTES_MAX + 1, stream);
    int failed = ferror(stream) ? errno : 0;
    if (stream != stdin)
        fclose(stream);
    if (failed)
        return ctl_complain(CTL_UNREACHABLE, "cannot read %s: %s", name, strerror(failed));
    if (*text_bytes > FILE_BYTES_MAX)
        return ctl_complain(CTL_USAGE, "%s: is above %zu bytes, too large for a sale file", name,
                            FILE_BYTES_MAX);
    return CTL_DONE;
}

/* Parses with this machine's clock first, so that a wrong file is told without a server; "now" is
 * then counted anew on the clock that will open the sale, which is the server's. */
static enum ctl_exit load_salefile(struct ctl *ctl, struct ctl_salefile *file)
{
    char *text = NULL;
    size_t text_bytes = 0;
    struct tg_fault fault = {0};
    const char *name = strcmp(ctl->arguments[0], "-") == 0 ? "stdin" : ctl->arguments[0];
    enum ctl_exit code = read_file(ctl->arguments[0], &text, &text_bytes);
    int64_t now_ms = tg_clock_wall_ns() / TG_NS_PER_MS;
    if (!code && ctl_salefile_parse(file, name, text, text_bytes, now_ms, &fault))
        code = ctl_complain(CTL_USAGE, "%s", fault.text);
    if (!code && file->relative_times) {
        code = ctl_server_time(ctl, &now_ms);
        ctl_salefile_free(file);
        if (!code && ctl_salefile_parse(file, name, text, text_bytes, now_ms, &fault))
            code = ctl_complain(CTL_USAGE, "%s", fault.text);
    }
    free(text);
    return code;
}

static void print_created(const struct ctl *ctl, const struct ctl_salefile *file)
{
    char starts[CTL_TIME_BYTES], ends[CTL_TIME_BYTES];
    uint64_t units = 0;
    for (size_t i = 0; i < file->request.n_items; i++)
        units += file->items[i].stock_units;
    if (ctl->json) {
        ctl_json_print(json_pack(
            "{s:o, s:I, s:I, s:I, s:I}", "sale_id", ctl_json_id(file->sale.sale_id), "item_count",
            (json_int_t)file->request.n_items, "stock_units", (json_int_t)units, "starts_at_ms",
            (json_int_t)file->sale.starts_at_ms, "ends_at_ms", (json_int_t)file->sale.ends_at_ms));
        return;
    }
    printf("created sale %" PRIu64 ": %zu item%s, %" PRIu64 " units, from %s to %s\n",
           file->sale.sale_id, file->request.n_items, file->request.n_items == 1 ? "" : "s", units,
           ctl_time_text(file->sale.starts_at_ms, starts),
           ctl_time_text(file->sale.ends_at_ms, ends));
}

enum ctl_exit ctl_sale_create(struct ctl *ctl)
{
    struct ctl_salefile file = {0};
    enum ctl_exit code = load_salefile(ctl, &file);
    if (!code) {
        Tidegate__V1__Response *response;
        Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
        request.kind_case = TIDEGATE__V1__REQUEST__KIND_CREATE_SALE;
        request.create_sale = &file.request;
        code = ctl_call(ctl, &request, &response);
        if (!code) {
            print_created(ctl, &file);
            tgc_response_free(response);
        }
    }
    ctl_salefile_free(&file);
    return code;
}

/* --- list --- */

static void sale_row(struct ctl_table *table, const Tidegate__V1__Sale *sale, int64_t now_ms)
{
    char time[CTL_TIME_BYTES], state[CTL_NAME_BYTES], kind[CTL_NAME_BYTES];
    ctl_table_cell(table, "%" PRIu64, sale->sale_id);
    ctl_table_cell(table, "%s",
                   ctl_enum_name(&tidegate__v1__sale_kind__descriptor, (int)sale->kind, kind));
    ctl_table_cell(table, "%s", ctl_sale_phase(sale, now_ms, state));
    ctl_table_cell(table, "%s", ctl_time_text(sale->starts_at_ms, time));
    ctl_table_cell(table, "%s", ctl_time_text(sale->ends_at_ms, time));
    ctl_table_cell(table, "%s", sale->currency);
    ctl_table_cell(table, "%" PRIu32, sale->item_count);
    ctl_table_cell(table, "%s", sale->name);
}

/* One page; stores how many sales there were in it. */
static enum ctl_exit list_page(struct ctl *ctl, struct ctl_table *table, uint32_t offset,
                               int64_t now_ms, size_t *listed)
{
    Tidegate__V1__Response *response;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    Tidegate__V1__ListSalesRequest body = TIDEGATE__V1__LIST_SALES_REQUEST__INIT;
    body.offset = offset;
    body.limit = TG_SALES_PAGE_MAX;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_LIST_SALES;
    request.list_sales = &body;
    enum ctl_exit code = ctl_call(ctl, &request, &response);
    if (code)
        return code;
    const Tidegate__V1__ListSalesResponse *page = response->list_sales;
    *listed = page->n_sales;
    for (size_t i = 0; i < page->n_sales; i++) {
        if (ctl->json)
            ctl_json_print(ctl_sale_json(page->sales[i]));
        else
            sale_row(table, page->sales[i], now_ms);
    }
    tgc_response_free(response);
    return CTL_DONE;
}

enum ctl_exit ctl_sale_list(struct ctl *ctl)
{
    static const struct ctl_column columns[] = {
        {"SALE", true},  {"KIND", false},     {"STATE", false}, {"STARTS", false},
        {"ENDS", false}, {"CURRENCY", false}, {"ITEMS", true},  {"NAME", false},
    };
    struct ctl_table table;
    int64_t now_ms;
    enum ctl_exit code = ctl_server_time(ctl, &now_ms);
    if (code)
        return code;
    ctl_table_init(&table, columns, sizeof(columns) / sizeof(columns[0]));
    size_t listed = 0;
    uint32_t offset = 0;
    do {
        code = list_page(ctl, &table, offset, now_ms, &listed);
        offset += (uint32_t)listed;
    } while (!code && listed > 0);
    if (!ctl->json)
        ctl_table_end(&table);
    return code;
}

/* --- show --- */

/* A sale that is shown over several pages. */
struct showing {
    struct ctl_table table;
    json_t *json;  /* the sale, NULL until the first page */
    json_t *items; /* borrowed from it */
    uint32_t offset;
    bool more;
};

static enum ctl_exit show_page(struct ctl *ctl, struct showing *showing, uint64_t sale_id)
{
    Tidegate__V1__Response *response;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    Tidegate__V1__GetSaleRequest body = TIDEGATE__V1__GET_SALE_REQUEST__INIT;
    static const Tidegate__V1__Sale none = TIDEGATE__V1__SALE__INIT;
    body.sale_id = sale_id;
    body.item_offset = showing->offset;
    body.item_limit = TG_ITEMS_PAGE_MAX;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_GET_SALE;
    request.get_sale = &body;
    enum ctl_exit code = ctl_call(ctl, &request, &response);
    if (code)
        return code;
    const Tidegate__V1__GetSaleResponse *page = response->get_sale;
    const Tidegate__V1__Sale *sale = page->sale ? page->sale : &none;
    if (ctl->json && !showing->json) {
        showing->json = ctl_sale_json(sale);
        showing->items = json_array();
        json_object_set_new(showing->json, "items", showing->items);
    } else if (!ctl->json && showing->offset == 0) {
        ctl_sale_print(sale, page->server_time_ms);
        putchar('\n');
        ctl_item_table_init(&showing->table, sale);
    }
    for (size_t i = 0; i < page->n_items; i++) {
        if (ctl->json)
            json_array_append_new(showing->items, ctl_item_json(page->items[i]));
        else
            ctl_item_row(&showing->table, page->items[i], sale->currency);
    }
    showing->offset += (uint32_t)page->n_items;
    showing->more = page->n_items > 0 && showing->offset < sale->item_count;
    tgc_response_free(response);
    return CTL_DONE;
}

enum ctl_exit ctl_sale_show(struct ctl *ctl)
{
    uint64_t sale_id;
    struct showing showing = {0};
    if (!ctl_id_argument(ctl, 0, "the sale id", &sale_id))
        return CTL_USAGE;
    enum ctl_exit code;
    do {
        code = show_page(ctl, &showing, sale_id);
    } while (!code && showing.more);
    if (ctl->json && !code)
        ctl_json_print(showing.json);
    else if (ctl->json)
        json_decref(showing.json);
    else if (showing.offset)
        ctl_table_end(&showing.table);
    return code;
}

/* --- pause, resume, close --- */

/* The three requests say the same in three types: a sale, and back comes the state in force. */
static enum ctl_exit change_state(struct ctl *ctl, Tidegate__V1__Request__KindCase kind)
{
    uint64_t sale_id;
    Tidegate__V1__Response *response;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    Tidegate__V1__PauseSaleRequest pause = TIDEGATE__V1__PAUSE_SALE_REQUEST__INIT;
    Tidegate__V1__ResumeSaleRequest resume = TIDEGATE__V1__RESUME_SALE_REQUEST__INIT;
    Tidegate__V1__CloseSaleRequest close = TIDEGATE__V1__CLOSE_SALE_REQUEST__INIT;
    if (!ctl_id_argument(ctl, 0, "the sale id", &sale_id))
        return CTL_USAGE;
    pause.sale_id = resume.sale_id = close.sale_id = sale_id;
    request.kind_case = kind;
    if (kind == TIDEGATE__V1__REQUEST__KIND_PAUSE_SALE)
        request.pause_sale = &pause;
    else if (kind == TIDEGATE__V1__REQUEST__KIND_RESUME_SALE)
        request.resume_sale = &resume;
    else
        request.close_sale = &close;
    enum ctl_exit code = ctl_call(ctl, &request, &response);
    if (code)
        return code;
    int state = kind == TIDEGATE__V1__REQUEST__KIND_PAUSE_SALE ? (int)response->pause_sale->state
                : kind == TIDEGATE__V1__REQUEST__KIND_RESUME_SALE
                    ? (int)response->resume_sale->state
                    : (int)response->close_sale->state;
    tgc_response_free(response);
    char name[CTL_NAME_BYTES];
    ctl_enum_name(&tidegate__v1__sale_state__descriptor, state, name);
    if (ctl->json)
        ctl_json_print(json_pack("{s:o, s:s}", "sale_id", ctl_json_id(sale_id), "state", name));
    else
        printf("sale %" PRIu64 " is %s\n", sale_id, name);
    return CTL_DONE;
}

enum ctl_exit ctl_sale_pause(struct ctl *ctl)
{
    return change_state(ctl, TIDEGATE__V1__REQUEST__KIND_PAUSE_SALE);
}

enum ctl_exit ctl_sale_resume(struct ctl *ctl)
{
    return change_state(ctl, TIDEGATE__V1__REQUEST__KIND_RESUME_SALE);
}

enum ctl_exit ctl_sale_close(struct ctl *ctl)
{
    return change_state(ctl, TIDEGATE__V1__REQUEST__KIND_CLOSE_SALE);
}
