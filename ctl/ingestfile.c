#include "ctl/ingestfile.h"

#include "base/limits.h"
#include "ctl/jsonread.h"

#include <errno.h>
#include <inttypes.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* The next byte that is no white space, left in the stream; EOF at the end. */
static int peek(FILE *stream)
{
    int c;
    do {
        c = getc(stream);
    } while (c == ' ' || c == '\t' || c == '\n' || c == '\r');
    return c == EOF ? EOF : ungetc(c, stream);
}

/* --- one order --- */

static bool read_payment(const struct ctl_node *order_node, struct ctl_ingest_order *order)
{
    static const char *const keys[] = {"payment_id", "amount_minor", "currency", "channel",
                                       "paid_at"};
    struct ctl_node node;
    Tidegate__V1__Payment *payment = &order->payment;
    tidegate__v1__payment__init(payment);
    if (!ctl_node_object(order_node, "payment", &node) ||
        !ctl_node_only(&node, keys, COUNT(keys)) ||
        !ctl_get_bytes(&node, "payment_id", 1, TG_PAYMENT_ID_BYTES_MAX, &payment->payment_id) ||
        !ctl_get_number(&node, "amount_minor", 0, TG_AMOUNT_MINOR_MAX, &payment->amount_minor) ||
        !ctl_get_currency(&node, "currency", &payment->currency))
        return false;
    if (ctl_node_has(&node, "channel") &&
        !ctl_get_uint32(&node, "channel", 0, TG_CHANNEL_MAX, &payment->channel))
        return false;
    if (ctl_node_has(&node, "paid_at") && !ctl_get_time(&node, "paid_at", &payment->paid_at_ms))
        return false;
    order->message.payment = payment;
    return true;
}

static bool read_order(const struct ctl_node *node, struct ctl_ingest_order *order)
{
    static const char *const keys[] = {"channel", "external_id", "sale_id",          "sku",
                                       "user_id", "quantity",    "unit_price_minor", "ordered_at",
                                       "payment", "lane"};
    Tidegate__V1__IngestOrder *message = &order->message;
    int lane = TIDEGATE__V1__LANE__LANE_FLASH;
    if (!ctl_node_only(node, keys, COUNT(keys)) ||
        !ctl_get_uint32(node, "channel", 0, TG_CHANNEL_MAX, &message->channel) ||
        !ctl_get_bytes(node, "external_id", 1, TG_EXTERNAL_BYTES_MAX, &message->external_id) ||
        !ctl_get_id(node, "sale_id", 1, &message->sale_id) ||
        !ctl_get_sku(node, "sku", &message->sku) ||
        !ctl_get_id(node, "user_id", 0, &message->user_id) ||
        !ctl_get_uint32(node, "quantity", 1, TG_QUANTITY_MAX, &message->quantity) ||
        !ctl_get_number(node, "unit_price_minor", 0, TG_PRICE_MINOR_MAX,
                        &message->unit_price_minor) ||
        !ctl_get_time(node, "ordered_at", &message->ordered_at_ms))
        return false;
    if (ctl_node_has(node, "lane") &&
        !ctl_get_enum(node, "lane", &tidegate__v1__lane__descriptor, &lane))
        return false;
    message->lane = (Tidegate__V1__Lane)lane;
    return !ctl_node_has(node, "payment") || read_payment(node, order);
}

/* --- the file around it --- */

static enum tg_error broken(const struct ctl_ingestfile *file, struct tg_fault *fault,
                            const char *words)
{
    return tg_fault_set(fault, TG_ERR_INVALID, "%s: behind order %" PRIu64 ": %s", file->name,
                        file->number, words);
}

/* Steps over what stands between two orders. OK when one follows, NOTFOUND at the end. */
static enum tg_error step(struct ctl_ingestfile *file, struct tg_fault *fault)
{
    int c = peek(file->stream);
    if (!file->begun && c == '[') {
        file->is_array = true;
        getc(file->stream);
        c = peek(file->stream);
    } else if (file->begun && file->is_array && c == ',') {
        getc(file->stream);
        c = peek(file->stream);
        if (c == ']')
            return broken(file, fault, "an order must follow the comma");
    } else if (file->begun && file->is_array && c != ']' && c != EOF) {
        return broken(file, fault, "a comma or the end of the array must follow");
    }
    file->begun = true;
    if (ferror(file->stream))
        return tg_fault_set_errno(fault, TG_ERR_IO, errno, "cannot read %s", file->name);
    if (file->is_array && c == ']') {
        getc(file->stream);
        return peek(file->stream) == EOF ? TG_ERR_NOTFOUND
                                         : broken(file, fault, "nothing may follow the array");
    }
    if (c == EOF)
        return file->is_array ? broken(file, fault, "the array has no end") : TG_ERR_NOTFOUND;
    if (c == '{')
        return TG_ERR_OK;
    return broken(file, fault, "an object {...} must follow");
}

enum tg_error ctl_ingestfile_next(struct ctl_ingestfile *file, struct ctl_ingest_order *order,
                                  struct tg_fault *fault)
{
    json_error_t problem;
    *order = (struct ctl_ingest_order){.message = TIDEGATE__V1__INGEST_ORDER__INIT};
    enum tg_error error = step(file, fault);
    if (error)
        return error;
    order->number = ++file->number;
    order->root =
        json_loadf(file->stream, JSON_REJECT_DUPLICATES | JSON_DISABLE_EOF_CHECK, &problem);
    if (!order->root)
        return tg_fault_set(fault, TG_ERR_INVALID,
                            "%s: order %" PRIu64 ", line %d of it, column %d: %s", file->name,
                            order->number, problem.line, problem.column, problem.text);
    struct ctl_node node = {
        .file = file->name, .kind = "an order to ingest", .object = order->root, .fault = fault};
    snprintf(node.path, sizeof(node.path), "order %" PRIu64 ": ", order->number);
    if (read_order(&node, order))
        return TG_ERR_OK;
    ctl_ingest_order_free(order);
    return TG_ERR_INVALID;
}

void ctl_ingest_order_free(struct ctl_ingest_order *order)
{
    json_decref(order->root);
    order->root = NULL;
}
