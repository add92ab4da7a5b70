/* order place: one item, or a cart. */
#include "ctl/placing.h"
#include "ctl/text.h"
#include "proto/codec.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* --- what all ways of placing share --- */

enum ctl_exit ctl_placing_begin(struct ctl *ctl, struct ctl_placing *placing)
{
    Tidegate__V1__PlaceOrderRequest *body = &placing->body;
    uint64_t channel = 0;
    int lane = TIDEGATE__V1__LANE__LANE_FLASH;
    const char *external = ctl_option_value(ctl, "external-id");
    tidegate__v1__place_order_request__init(body);
    if (!ctl_required_option(ctl, "user") ||
        !ctl_uint_option(ctl, "user", 0, UINT64_MAX, &body->user_id) ||
        !ctl_uint_option(ctl, "channel", 0, TG_CHANNEL_MAX, &channel) ||
        !ctl_enum_option(ctl, "lane", &tidegate__v1__lane__descriptor, &lane) ||
        !ctl_request_id_option(ctl, placing->request_id, placing->request_text))
        return CTL_USAGE;
    if (external && strlen(external) > TG_EXTERNAL_BYTES_MAX)
        return ctl_misused(ctl, "--external-id must be at most %d bytes", TG_EXTERNAL_BYTES_MAX);
    body->channel = (uint32_t)channel;
    body->lane = (Tidegate__V1__Lane)lane;
    body->request_id = (ProtobufCBinaryData){TG_REQUEST_ID_BYTES, placing->request_id};
    if (external)
        body->external_id = (ProtobufCBinaryData){strlen(external), (uint8_t *)(uintptr_t)external};
    snprintf(placing->repeat, sizeof(placing->repeat), "--request-id %s", placing->request_text);
    return CTL_DONE;
}

static int64_t amount_minor(const Tidegate__V1__PlaceOrderRequest *body)
{
    int64_t amount = body->quantity * body->unit_price_minor;
    for (size_t i = 0; i < body->n_lines; i++)
        amount += body->lines[i]->quantity * body->lines[i]->unit_price_minor;
    return amount;
}

/* The SKU of a refused line; a server may count beyond what was asked. */
static const char *line_sku(const struct ctl_placing *placing, uint32_t line)
{
    return line < placing->body.n_lines ? placing->body.lines[line]->sku : "?";
}

static void print_json(const struct ctl_placing *placing,
                       const Tidegate__V1__PlaceOrderResponse *answer, json_t *extra)
{
    json_t *lines = json_array();
    for (size_t i = 0; i < answer->n_line_refusals; i++) {
        const Tidegate__V1__LineRefusal *line = answer->line_refusals[i];
        json_array_append_new(lines, json_pack("{s:I, s:o, s:s}", "line", (json_int_t)line->line,
                                               "sku", ctl_json_text(line_sku(placing, line->line)),
                                               "verdict", tg_verdict_name((int)line->verdict)));
    }
    json_t *json =
        json_pack("{s:s, s:o, s:b, s:s, s:I, s:I, s:I, s:o}", "verdict",
                  tg_verdict_name((int)answer->verdict), "order_id", ctl_json_id(answer->order_id),
                  "replayed", (int)answer->replayed, "request_id", placing->request_text,
                  "unit_price_minor", (json_int_t)answer->unit_price_minor, "amount_minor",
                  (json_int_t)amount_minor(&placing->body), "accepted_at_ms",
                  (json_int_t)answer->accepted_at_ms, "line_refusals", lines);
    if (json && extra)
        json_object_update(json, extra);
    json_decref(extra);
    ctl_json_print(json);
}

void ctl_placing_print(const struct ctl *ctl, const struct ctl_placing *placing,
                       const Tidegate__V1__PlaceOrderResponse *answer, json_t *extra)
{
    char time[CTL_TIME_BYTES];
    if (ctl->json) {
        print_json(placing, answer, extra);
        return;
    }
    json_decref(extra);
    if ((int)answer->verdict == TG_ACCEPTED)
        printf("ACCEPTED%s: order %" PRIu64 " at %s, amount %" PRId64 "\n",
               answer->replayed ? " (replayed)" : "", answer->order_id,
               ctl_time_text(answer->accepted_at_ms, time), amount_minor(&placing->body));
    for (size_t i = 0; i < answer->n_line_refusals; i++)
        fprintf(stderr, "%s: %s\n", line_sku(placing, answer->line_refusals[i]->line),
                tg_verdict_name((int)answer->line_refusals[i]->verdict));
}

/* --- lines --- */

/* A line as it is typed. */
struct typed_line {
    char sku[TG_SKU_BYTES_MAX + 1];
    uint32_t quantity;
    int64_t unit_price_minor; /* -1: the sale's */
};

/* Takes ":<number>" off the end of `text`, which is cut there; false when no number stands there.
 */
static bool take_number(char *text, uint64_t *number)
{
    char *colon = strrchr(text, ':');
    if (!colon || !ctl_uint_parse(colon + 1, 0, UINT64_MAX, number))
        return false;
    *colon = '\0';
    return true;
}

/* SKU[:QUANTITY[:PRICE]], from the right: an SKU may hold colons itself. */
static bool parse_line(const char *text, struct typed_line *line)
{
    char rest[TG_SKU_BYTES_MAX + 48];
    uint64_t last = 1, before, price = UINT64_MAX, quantity;
    if (strlen(text) >= sizeof(rest))
        return false;
    memcpy(rest, text, strlen(text) + 1);
    bool one = take_number(rest, &last), two = one && take_number(rest, &before);
    quantity = two ? before : last;
    price = two ? last : price;
    if (quantity < 1 || quantity > TG_QUANTITY_MAX || (two && price > TG_PRICE_MINOR_MAX))
        return false;
    if (!tg_sku_is_valid((struct tg_bytes){(const uint8_t *)rest, strlen(rest)}))
        return false;
    memcpy(line->sku, rest, strlen(rest) + 1);
    line->quantity = (uint32_t)quantity;
    line->unit_price_minor = two ? (int64_t)price : -1;
    return true;
}

/* Arguments 1 and on; prices that are not given are the sale's. */
static enum ctl_exit read_lines(struct ctl *ctl, uint64_t sale_id, struct typed_line *lines,
                                uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (!parse_line(ctl->arguments[1 + i], &lines[i]))
            return ctl_misused(ctl,
                               "the line \"%.80s\" must be SKU, SKU:QUANTITY or "
                               "SKU:QUANTITY:PRICE",
                               ctl->arguments[1 + i]);
    for (uint32_t i = 0; i < count; i++) {
        Tidegate__V1__Response *response;
        if (lines[i].unit_price_minor >= 0)
            continue;
        enum ctl_exit code = ctl_item(ctl, sale_id, lines[i].sku, &response);
        if (code)
            return code;
        lines[i].unit_price_minor = response->get_item->status->item->sale_price_minor;
        tgc_response_free(response);
    }
    return CTL_DONE;
}

static void fill_single(Tidegate__V1__PlaceOrderRequest *body, struct typed_line *line)
{
    body->sku = line->sku;
    body->quantity = line->quantity;
    body->unit_price_minor = line->unit_price_minor;
}

static enum ctl_exit place(struct ctl *ctl, struct ctl_placing *placing)
{
    Tidegate__V1__Response *response;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_PLACE_ORDER;
    request.place_order = &placing->body;
    enum ctl_exit code = ctl_ask(ctl, &request, placing->repeat, &response);
    if (code)
        return code;
    ctl_placing_print(ctl, placing, response->place_order, NULL);
    code = ctl_judge(response);
    tgc_response_free(response);
    return code;
}

enum ctl_exit ctl_order_place(struct ctl *ctl)
{
    struct ctl_placing placing;
    struct typed_line typed[TG_ORDER_LINES_MAX] = {0};
    Tidegate__V1__OrderLine lines[TG_ORDER_LINES_MAX], *list[TG_ORDER_LINES_MAX];
    uint32_t count = ctl->argument_count - 1;
    enum ctl_exit code = ctl_placing_begin(ctl, &placing);
    if (code)
        return code;
    if (!ctl_id_argument(ctl, 0, "the sale id", &placing.body.sale_id))
        return CTL_USAGE;
    code = read_lines(ctl, placing.body.sale_id, typed, count);
    if (code)
        return code;
    if (count == 1) {
        fill_single(&placing.body, &typed[0]);
        return place(ctl, &placing);
    }
    for (uint32_t i = 0; i < count; i++) {
        tidegate__v1__order_line__init(&lines[i]);
        lines[i].sku = typed[i].sku;
        lines[i].quantity = typed[i].quantity;
        lines[i].unit_price_minor = typed[i].unit_price_minor;
        list[i] = &lines[i];
    }
    placing.body.n_lines = count;
    placing.body.lines = list;
    return place(ctl, &placing);
}
