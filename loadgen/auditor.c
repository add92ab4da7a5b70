#include "loadgen/auditor.h"

#include "base/clock.h"
#include "client/tidegate.h"
#include "loadgen/stream.h"
#include "loadgen/target.h"
#include "loadgen/wire.h"
#include "proto/codec.h"

#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PARTS_MAX    8u
#define PART_ACCEPTS 4096u /* a part is worth having from so many on */
#define ANSWER_MS    10000
#define RETRY_US     50000
#define IN_ROOM      ((size_t)TG_FRAME_BATCH_BYTES_MAX + 65536)

/* --- fields ------------------------------------------------------------------------------------
 */

struct field {
    uint32_t number;
    uint64_t value; /* of a varint */
    const uint8_t *bytes;
    uint32_t size;
};

/* The next field of a message; NULL when it is malformed. Only what an Order and its page have. */
static const uint8_t *next_field(const uint8_t *p, const uint8_t *end, struct field *field)
{
    uint64_t tag, value;
    if (!(p = lg_wire_varint_read(p, end, &tag)) || tag >> 3 > UINT32_MAX)
        return NULL;
    field->number = (uint32_t)(tag >> 3);
    field->value = 0;
    field->bytes = NULL;
    field->size = 0;
    if ((tag & 7) == 0)
        return lg_wire_varint_read(p, end, &field->value);
    if ((tag & 7) != 2 || !(p = lg_wire_varint_read(p, end, &value)) || value > (uint64_t)(end - p))
        return NULL;
    field->bytes = p;
    field->size = (uint32_t)value;
    return p + value;
}

bool lg_auditor_order(const uint8_t *data, size_t bytes, struct lg_listed *listed)
{
    const uint8_t *p = data, *end = data + bytes;
    struct field f;
    memset(listed, 0, sizeof(*listed));
    /* Empty strings do not travel; comparing them must not meet NULL. */
    listed->request_id = listed->sku = listed->external_id = data;
    while (p < end) {
        if (!(p = next_field(p, end, &f)))
            return false;
        switch (f.number) {
        case 1:
            listed->order_id = f.value;
            break;
        case 2:
            listed->request_id = f.bytes;
            listed->request_id_bytes = f.size;
            break;
        case 3:
            listed->sale_id = f.value;
            break;
        case 4:
            listed->sku = f.bytes;
            listed->sku_bytes = f.size;
            break;
        case 5:
            listed->user_id = f.value;
            break;
        case 6:
            listed->quantity = (uint32_t)f.value;
            break;
        case 7:
            listed->unit_price_minor = (int64_t)f.value;
            break;
        case 8:
            listed->channel = (uint32_t)f.value;
            break;
        case 9:
            listed->external_id = f.bytes;
            listed->external_bytes = f.size;
            break;
        case 11:
            listed->state = (uint32_t)f.value;
            break;
        default:
            break; /* accepted_at_ms, and what later versions add */
        }
    }
    return listed->request_id && listed->sku && listed->external_id;
}

/* --- the listing -------------------------------------------------------------------------------
 */

struct part {
    struct lg_walk walk;
    uint64_t after;   /* the next page starts behind this order */
    uint64_t last_id; /* the part ends with this order; UINT64_MAX: at the end of the listing */
    bool done;
};

struct listing {
    const struct lg_auditor *auditor;
    struct lg_audit *audit;
    struct tg_fault *fault;
    struct part parts[PARTS_MAX];
    uint32_t part_count, parts_left;
    struct lg_stream stream;
    uint8_t *in; /* owned, IN_ROOM */
    size_t in_bytes;
};

static enum tg_error connection_fault(struct listing *l, const char *what)
{
    return tg_fault_set_errno(l->fault, TG_ERR_CLOSED, errno, "reading orders from %s: %s",
                              l->auditor->server, what);
}

static enum tg_error ask(struct listing *l, uint32_t index)
{
    uint8_t list[40], frame[64];
    uint8_t *p = list;
    *p++ = 0x08;
    p = lg_wire_varint(p, l->parts[index].after);
    *p++ = 0x10;
    p = lg_wire_varint(p, l->audit->plan->settings.sale_id);
    *p++ = 0x18;
    p = lg_wire_varint(p, TG_ORDERS_PAGE_MAX);
    size_t bytes = (size_t)(p - list);
    frame[1] = 0x08;
    frame[2] = (uint8_t)(index + 1);
    frame[3] = TIDEGATE__V1__REQUEST__KIND_LIST_ORDERS << 3 | 2;
    frame[4] = (uint8_t)bytes;
    memcpy(frame + 5, list, bytes);
    frame[0] = (uint8_t)(bytes + 4);
    /* A blocking send: requests are tiny and few. */
    if (!lg_stream_send(&l->stream, frame, bytes + 5))
        return connection_fault(l, "send");
    return TG_ERR_OK;
}

static enum tg_error connect_listing(struct listing *l)
{
    struct timeval patience = {.tv_sec = ANSWER_MS / 1000};
    int one = 1;
    l->in_bytes = 0;
    int fd = socket(l->auditor->address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP);
    l->stream = (struct lg_stream){.fd = fd};
    if (fd < 0)
        return connection_fault(l, "socket");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    if (connect(fd, l->auditor->address, l->auditor->address_bytes) != 0)
        return connection_fault(l, "connect");
    enum tg_error error = lg_stream_open(&l->stream, fd, l->auditor->server, l->fault);
    if (error != TG_ERR_OK)
        return error;
    uint8_t greeting[LG_GREETING_BYTES];
    size_t bytes = lg_target_greeting(greeting);
    if (bytes > 0 && !lg_stream_send(&l->stream, greeting, bytes))
        return connection_fault(l, "send");
    for (uint32_t i = 0; i < l->part_count; i++)
        if (!l->parts[i].done && ask(l, i) != TG_ERR_OK)
            return TG_ERR_CLOSED;
    return TG_ERR_OK;
}

static enum tg_error bad_page(struct listing *l, const char *what)
{
    return tg_fault_set(l->fault, TG_ERR_PROTOCOL, "%s answered ListOrders with %s",
                        l->auditor->server, what);
}

static enum tg_error read_page(struct listing *l, struct part *part, struct tg_bytes body,
                               uint64_t *next, bool *end)
{
    const uint8_t *p = body.data, *stop = body.data + body.size;
    struct field f;
    uint64_t verdict = 0;
    while (p < stop) {
        struct lg_listed order;
        if (!(p = next_field(p, stop, &f)))
            return bad_page(l, "a malformed page");
        if (f.number == 1)
            verdict = f.value;
        else if (f.number == 3)
            *next = f.value;
        else if (f.number == 4)
            *end = f.value != 0;
        if (f.number != 2)
            continue;
        if (!f.bytes || !lg_auditor_order(f.bytes, f.size, &order))
            return bad_page(l, "a malformed order");
        if (order.order_id <= part->last_id)
            lg_audit_walk_order(l->audit, &part->walk, &order);
        else
            *end = true; /* the next part's */
    }
    return verdict == TG_OK ? TG_ERR_OK : bad_page(l, tg_verdict_name((int)verdict));
}

static enum tg_error handle_page(struct listing *l, struct tg_bytes message)
{
    struct tg_envelope envelope;
    if (tg_response_decode(message, &envelope) != TG_DECODE_OK)
        return bad_page(l, "a frame that holds no response");
    if (envelope.kind == TIDEGATE__V1__RESPONSE__KIND_AUTHENTICATE)
        return TG_ERR_OK;
    if (envelope.kind != TIDEGATE__V1__RESPONSE__KIND_LIST_ORDERS ||
        envelope.correlation_id - 1 >= l->part_count)
        return bad_page(l, "another kind of response");
    uint32_t index = (uint32_t)envelope.correlation_id - 1;
    struct part *part = &l->parts[index];
    uint64_t next = 0;
    bool end = false;
    enum tg_error error = read_page(l, part, envelope.body, &next, &end);
    if (error)
        return error;
    if (end || next >= part->last_id) {
        lg_audit_walk_end(l->audit, &part->walk);
        part->done = true;
        l->parts_left--;
        return TG_ERR_OK;
    }
    if (next <= part->after)
        return bad_page(l, "a page that leads nowhere");
    part->after = next;
    return ask(l, index);
}

static enum tg_error handle_input(struct listing *l)
{
    size_t at = 0;
    for (;;) {
        struct tg_bytes rest = {l->in + at, l->in_bytes - at}, message;
        size_t used;
        enum tg_frame frame =
            rest.size ? tg_frame_next_response(rest, &message, &used) : TG_FRAME_PARTIAL;
        if (frame == TG_FRAME_PARTIAL)
            break;
        if (frame != TG_FRAME_WHOLE)
            return bad_page(l, "a frame of no allowed length");
        enum tg_error error = handle_page(l, message);
        if (error)
            return error;
        at += used;
    }
    l->in_bytes -= at;
    memmove(l->in, l->in + at, l->in_bytes);
    return TG_ERR_OK;
}

/* Until all parts are read or the connection breaks (TG_ERR_CLOSED). */
static enum tg_error read_pages(struct listing *l)
{
    enum tg_error error = connect_listing(l);
    while (!error && l->parts_left) {
        ssize_t got = lg_stream_receive(&l->stream, l->in + l->in_bytes, IN_ROOM - l->in_bytes);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            if (got == 0)
                errno = ECONNRESET;
            error = connection_fault(l, "receive");
            break;
        }
        l->in_bytes += (size_t)got;
        error = handle_input(l);
    }
    lg_stream_close(&l->stream);
    return error;
}

static void split(struct listing *l)
{
    const struct lg_audit *audit = l->audit;
    uint64_t count = audit->accept_count, parts = count / PART_ACCEPTS + 1;
    l->part_count = parts < PARTS_MAX ? (uint32_t)parts : PARTS_MAX;
    l->parts_left = l->part_count;
    for (uint32_t i = 0; i < l->part_count; i++) {
        struct part *part = &l->parts[i];
        uint64_t first = count * i / l->part_count, end = count * (i + 1) / l->part_count;
        lg_audit_walk_begin(audit, &part->walk, first, end);
        part->last_id = i + 1 < l->part_count ? audit->accepts[end - 1].order_id : UINT64_MAX;
        if (i > 0)
            part->after = audit->accepts[first - 1].order_id;
        else
            /* An order from before the first answer shows in the books, so those of other sales
             * need not be read; but a log that misses answers cannot be held against the books. */
            part->after = count && audit->complete ? audit->accepts[0].order_id - 1 : 0;
    }
}

static enum tg_error list_orders(const struct lg_auditor *auditor, struct lg_audit *audit,
                                 struct tg_fault *fault)
{
    struct listing l = {.auditor = auditor, .audit = audit, .fault = fault, .stream.fd = -1};
    l.in = malloc(IN_ROOM);
    if (!l.in)
        return tg_fault_set(fault, TG_ERR_NOMEM, "no memory for the audit");
    split(&l);
    int64_t good_ns = tg_clock_mono_ns();
    uint64_t progress = 0;
    enum tg_error error;
    while ((error = read_pages(&l)) == TG_ERR_CLOSED) {
        int64_t now_ns = tg_clock_mono_ns();
        if (audit->findings.orders != progress)
            good_ns = now_ns;
        progress = audit->findings.orders;
        if (now_ns - good_ns > auditor->patience_ns)
            break;
        usleep(RETRY_US);
    }
    free(l.in);
    return error;
}

/* --- the books ---------------------------------------------------------------------------------
 */

struct books_reader {
    struct lg_audit *audit;
    struct lg_books *books; /* owned: of each item */
    bool *known;            /* owned */
    uint32_t known_count;
    int bad_verdict;
};

struct item_question {
    struct books_reader *reader;
    uint32_t item;
};

static void on_item(void *context, const Tidegate__V1__Response *response)
{
    const struct item_question *question = context;
    struct books_reader *r = question->reader;
    const Tidegate__V1__GetItemResponse *answer =
        response->kind_case == TIDEGATE__V1__RESPONSE__KIND_GET_ITEM ? response->get_item : NULL;
    if (!answer || (int)answer->verdict != TG_OK || !answer->status || !answer->status->item) {
        r->bad_verdict = answer ? (int)answer->verdict : TG_UNSPECIFIED;
        return;
    }
    const Tidegate__V1__ItemStatus *status = answer->status;
    r->books[question->item] = (struct lg_books){
        .initial_units = status->item->stock_units,
        .available_units = status->available_units,
        .reserved_units = status->reserved_units,
        .sold_units = status->sold_units,
        .restocked_units = status->restocked_units,
    };
    r->known_count += !r->known[question->item];
    r->known[question->item] = true;
}

static enum tg_error ask_item(struct tgc_client *client, struct item_question *question,
                              struct tg_fault *fault)
{
    const struct lg_plan *plan = question->reader->audit->plan;
    const struct lg_item *item = &plan->items[question->item];
    char sku[TG_SKU_BYTES_MAX + 1] = {0};
    memcpy(sku, item->sku, item->sku_bytes);
    Tidegate__V1__GetItemRequest body = TIDEGATE__V1__GET_ITEM_REQUEST__INIT;
    body.sale_id = plan->settings.sale_id;
    body.sku = sku;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_GET_ITEM;
    request.get_item = &body;
    return tgc_send(client, &request, on_item, question, fault);
}

/* One connection's worth: asks for every item that is not known yet. */
static enum tg_error read_items(const struct lg_auditor *auditor, struct books_reader *r,
                                struct item_question *questions, struct tg_fault *fault)
{
    struct tgc_options options = lg_target_options(auditor->server);
    struct tgc_client *client;
    uint32_t count = r->audit->plan->settings.item_count;
    enum tg_error error = tgc_open(&options, &client, fault);
    if (error)
        return error;
    for (uint32_t i = 0; !error && i < count;) {
        if (r->known[i]) {
            i++;
            continue;
        }
        questions[i] = (struct item_question){r, i};
        error = ask_item(client, &questions[i], fault);
        if (error == TG_ERR_FULL)
            error = tgc_poll(client, ANSWER_MS, fault);
        else
            i++;
    }
    while (!error && tgc_in_flight(client))
        error = tgc_poll(client, ANSWER_MS, fault);
    tgc_close(client);
    return error;
}

static enum tg_error read_books(const struct lg_auditor *auditor, struct lg_audit *audit,
                                struct tg_fault *fault)
{
    uint32_t count = audit->plan->settings.item_count;
    struct books_reader r = {.audit = audit};
    struct item_question *questions = calloc(count, sizeof(*questions));
    r.books = calloc(count, sizeof(*r.books));
    r.known = calloc(count, sizeof(*r.known));
    int64_t begin_ns = tg_clock_mono_ns();
    enum tg_error error = TG_ERR_OK;
    if (!questions || !r.books || !r.known)
        error = tg_fault_set(fault, TG_ERR_NOMEM, "no memory for the audit");
    while (!error && r.known_count < count) {
        error = read_items(auditor, &r, questions, fault);
        if (!error && r.known_count < count)
            error = tg_fault_set(fault, TG_ERR_PROTOCOL, "%s answered GetItem with %s",
                                 auditor->server, tg_verdict_name(r.bad_verdict));
        else if (error && error != TG_ERR_PROTOCOL &&
                 tg_clock_mono_ns() - begin_ns < auditor->patience_ns) {
            usleep(RETRY_US);
            error = TG_ERR_OK;
        }
    }
    for (uint32_t i = 0; !error && i < count; i++)
        lg_audit_item(audit, i, &r.books[i]);
    free(questions);
    free(r.books);
    free(r.known);
    return error;
}

enum tg_error lg_auditor_run_books(const struct lg_auditor *auditor, struct lg_audit *audit,
                                   struct tg_fault *fault)
{
    enum tg_error error = read_books(auditor, audit, fault);
    if (error)
        return error;
    lg_audit_finish(audit);
    if (!audit->findings.finished)
        return tg_fault_set(fault, TG_ERR_NOMEM, "no memory for the audit");
    return TG_ERR_OK;
}

enum tg_error lg_auditor_run(const struct lg_auditor *auditor, struct lg_audit *audit,
                             struct tg_fault *fault)
{
    enum tg_error error = list_orders(auditor, audit, fault);
    return error ? error : lg_auditor_run_books(auditor, audit, fault);
}
