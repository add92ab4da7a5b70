#include "server/pages.h"

#include "base/assert.h"
#include "base/log.h"
#include "base/mem.h"
#include "server/control.h"
#include "server/server.h"
#include "server/show.h"

#include <stdlib.h>

/* Orders or teams that one page looks at, so that a filter cannot hold the others up. */
#define SCAN_ORDERS_MAX  16384
#define SCAN_TEAMS_MAX   1024
/* The same for one piece. To read a team of a hundred seats takes ten times as long as to read an
 * order. */
#define PIECE_ORDERS_MAX 128
#define PIECE_TEAMS_MAX  16

/* `orders` of ListOrdersResponse and `teams` of ListTeamsResponse have one number. */
#define ROWS_FIELD     2
#define WIRE_BYTES     2
/* A frame less its rows: prefix, correlation id, tags, lengths, the numbers of the answer. */
#define HEAD_BYTES_MAX 128

_Static_assert(SRV_PAGE_BYTES_MAX + HEAD_BYTES_MAX < TG_FRAME_BATCH_BYTES_MAX, "it fits a frame");

struct srv_pages {
    /* the page under way */
    bool is_under_way;
    net_conn_ref conn;
    uint64_t correlation_id;
    uint32_t kind;
    const struct eng_sale *sale; /* NULL: of all */
    uint64_t last;               /* as far as it has looked */
    bool end;
    bool is_full;
    uint32_t count;
    uint32_t count_max;
    uint32_t scanned;
    size_t used;    /* of `bytes` */
    uint8_t *bytes; /* SRV_PAGE_BYTES_MAX: rows, packed as they stand in the answer */
};

enum tg_error srv_pages_create(struct srv_core *core, struct tg_fault *fault)
{
    struct srv_pages *pages = calloc(1, sizeof(*pages));
    if (pages)
        pages->bytes = tg_mem_map(SRV_PAGE_BYTES_MAX);
    if (!pages || !pages->bytes) {
        free(pages);
        return tg_fault_set(fault, TG_ERR_NOMEM, "no memory for the pages of core %u", core->core);
    }
    core->pages = pages;
    return TG_ERR_OK;
}

void srv_pages_destroy(struct srv_core *core)
{
    if (!core->pages)
        return;
    tg_mem_unmap(core->pages->bytes, SRV_PAGE_BYTES_MAX);
    free(core->pages);
    core->pages = NULL;
}

static bool is_page(uint32_t kind)
{
    return kind == TIDEGATE__V1__REQUEST__KIND_LIST_ORDERS ||
           kind == TIDEGATE__V1__REQUEST__KIND_LIST_TEAMS;
}

bool srv_pages_must_wait(const struct srv_core *core, const struct net_conn *conn, uint32_t kind)
{
    const struct srv_pages *pages = core->pages;
    return pages->is_under_way && (is_page(kind) || pages->conn == net_conn_name(conn));
}

bool srv_pages_busy(const struct srv_core *core)
{
    return core->pages->is_under_way;
}

/* --- rows --- */

/* Packs the row; false when the page has no room for it. */
static bool add(struct srv_pages *pages, const ProtobufCMessage *message)
{
    size_t size = protobuf_c_message_get_packed_size(message);
    if (pages->used + 1 + TG_FRAME_PREFIX_BYTES_MAX + size > SRV_PAGE_BYTES_MAX)
        return false;
    uint8_t *at = pages->bytes + pages->used;
    *at++ = ROWS_FIELD << 3 | WIRE_BYTES;
    at += tg_frame_prefix(at, (uint32_t)size);
    at += protobuf_c_message_pack(message, at);
    pages->used = (size_t)(at - pages->bytes);
    pages->count++;
    return true;
}

/* The page takes one more row of this item, if it wants it; false: it ends before it. */
static bool is_full(struct srv_pages *pages)
{
    pages->is_full = pages->is_full || pages->count == pages->count_max;
    return pages->is_full;
}

static bool wants(const struct srv_pages *pages, uint32_t item)
{
    return !pages->sale || item - pages->sale->first_item < pages->sale->item_count;
}

static bool visit_order(void *context, const struct tg_order_row *row, const struct tg_life *life)
{
    struct srv_core *core = context;
    struct srv_pages *pages = core->pages;
    Tidegate__V1__Order message;
    if (!wants(pages, row->item))
        return true;
    if (is_full(pages))
        return false;
    srv_message_reset(core);
    pages->is_full = !srv_show_order(core, &message, row, life) || !add(pages, &message.base);
    return !pages->is_full;
}

/* Whether somebody could join it now. */
static bool is_joinable(const struct tg_team *team, int64_t now_ms)
{
    return team->state == TG_TEAM_OPEN && now_ms < team->deadline_ms &&
           team->seat_count < team->size;
}

static bool visit_team(void *context, const struct tg_team *team)
{
    struct srv_core *core = context;
    struct srv_pages *pages = core->pages;
    Tidegate__V1__Team message;
    if (!wants(pages, team->item) || !is_joinable(team, core->now_ms))
        return true;
    if (is_full(pages))
        return false;
    srv_message_reset(core);
    pages->is_full = !srv_show_team(core, &message, team, false) || !add(pages, &message.base);
    return !pages->is_full;
}

/* --- the answer --- */

/* Packs the numbers of the answer; its rows lie in `bytes`. */
static size_t pack_numbers(const struct srv_pages *pages, uint8_t *out)
{
    if (pages->kind == TIDEGATE__V1__REQUEST__KIND_LIST_TEAMS) {
        Tidegate__V1__ListTeamsResponse answer = TIDEGATE__V1__LIST_TEAMS_RESPONSE__INIT;
        answer.verdict = (Tidegate__V1__Verdict)TG_OK;
        answer.next_after_team_id = pages->last;
        answer.end = pages->end;
        return tidegate__v1__list_teams_response__pack(&answer, out);
    }
    Tidegate__V1__ListOrdersResponse answer = TIDEGATE__V1__LIST_ORDERS_RESPONSE__INIT;
    answer.verdict = (Tidegate__V1__Verdict)TG_OK;
    answer.next_after_order_id = pages->last;
    answer.end = pages->end;
    return tidegate__v1__list_orders_response__pack(&answer, out);
}

/* The kinds of a Response have the numbers of the Request's. */
static void send(struct srv_core *core, struct net_conn *conn)
{
    const struct srv_pages *pages = core->pages;
    uint8_t numbers[HEAD_BYTES_MAX / 2], inner[HEAD_BYTES_MAX / 2],
        prefix[TG_FRAME_PREFIX_BYTES_MAX];
    size_t numbers_size = pack_numbers(pages, numbers);
    Tidegate__V1__Response response = TIDEGATE__V1__RESPONSE__INIT;
    response.correlation_id = pages->correlation_id;
    size_t size = tidegate__v1__response__pack(&response, inner);
    size += tg_frame_prefix(inner + size, pages->kind << 3 | WIRE_BYTES);
    size += tg_frame_prefix(inner + size, (uint32_t)(numbers_size + pages->used));
    size_t prefix_size = tg_frame_prefix(prefix, (uint32_t)(size + numbers_size + pages->used));
    net_conn_write(core->net, conn, prefix, prefix_size);
    net_conn_write(core->net, conn, inner, size);
    net_conn_write(core->net, conn, numbers, numbers_size);
    net_conn_write(core->net, conn, pages->bytes, pages->used);
}

/* --- pieces --- */

static enum tg_error read_piece(struct srv_core *core, struct tg_fault *fault)
{
    struct srv_pages *pages = core->pages;
    if (pages->kind == TIDEGATE__V1__REQUEST__KIND_LIST_TEAMS) {
        pages->scanned += PIECE_TEAMS_MAX;
        return sto_read_teams(core->reader, pages->last, PIECE_TEAMS_MAX, visit_team, core,
                              &pages->last, &pages->end, fault);
    }
    pages->scanned += PIECE_ORDERS_MAX;
    return sto_read_orders(core->reader, pages->last, PIECE_ORDERS_MAX, visit_order, core,
                           &pages->last, &pages->end, fault);
}

static bool is_done(const struct srv_pages *pages)
{
    bool teams = pages->kind == TIDEGATE__V1__REQUEST__KIND_LIST_TEAMS;
    return pages->end || pages->is_full ||
           pages->scanned >= (teams ? SCAN_TEAMS_MAX : SCAN_ORDERS_MAX);
}

void srv_pages_turn(struct srv_core *core)
{
    struct srv_pages *pages = core->pages;
    if (!pages->is_under_way)
        return;
    struct net_conn *conn = net_conn_find(core->net, pages->conn);
    struct tg_fault fault;
    if (!conn) {
        pages->is_under_way = false;
        return;
    }
    if (read_piece(core, &fault) != TG_ERR_OK) {
        tg_log_error("%s: %s",
                     pages->kind == TIDEGATE__V1__REQUEST__KIND_LIST_TEAMS ? "ListTeams"
                                                                           : "ListOrders",
                     fault.text);
        srv_message_fail_read(core, conn, pages->correlation_id);
    } else if (!is_done(pages)) {
        return;
    } else {
        send(core, conn);
    }
    pages->is_under_way = false;
    net_conn_end(core->net, conn, 1);
}

/* The first piece is read at once: most pages have no second. */
static void begin(struct srv_core *core, struct net_conn *conn, const struct tg_envelope *envelope,
                  const struct eng_sale *sale, uint64_t after, uint32_t count_max)
{
    struct srv_pages *pages = core->pages;
    tg_assert(!pages->is_under_way);
    *pages = (struct srv_pages){
        .is_under_way = true,
        .conn = net_conn_name(conn),
        .correlation_id = envelope->correlation_id,
        .kind = envelope->kind,
        .sale = sale,
        .last = after,
        .count_max = count_max,
        .bytes = pages->bytes,
    };
    net_conn_begin(conn, 1);
    srv_pages_turn(core);
    srv_core_spend(core, PIECE_ORDERS_MAX);
    net_conn_yield(core->net, conn);
}

/* --- requests --- */

/* A page's size: `asked`, or the default for 0; 0 when it is above the largest. */
static uint32_t page_size(uint32_t asked, uint32_t initial, uint32_t largest)
{
    if (asked > largest)
        return 0;
    return asked == 0 ? initial : asked;
}

static void list_orders(struct srv_core *core, struct net_conn *conn,
                        const struct tg_envelope *envelope,
                        const Tidegate__V1__ListOrdersRequest *request)
{
    uint32_t limit = page_size(request->limit, TG_ORDERS_PAGE_DEFAULT, TG_ORDERS_PAGE_MAX);
    const struct eng_sale *sale = eng_catalog_sale(&core->shard->engine->catalog, request->sale_id);
    Tidegate__V1__ListOrdersResponse answer = TIDEGATE__V1__LIST_ORDERS_RESPONSE__INIT;
    if (limit == 0) {
        answer.verdict = (Tidegate__V1__Verdict)TG_INVALID_ARGUMENT;
        answer.field = (char *)tg_field_name(TG_FIELD_LIMIT);
        answer.message = (char *)tg_field_advice(TG_FIELD_LIMIT);
    } else if (request->sale_id != 0 && !sale) {
        answer.verdict = (Tidegate__V1__Verdict)TG_UNKNOWN_SALE;
    } else if (net_loop_is_short(core->net)) {
        answer.verdict = (Tidegate__V1__Verdict)TG_BUSY;
    } else {
        begin(core, conn, envelope, sale, request->after_order_id, limit);
        return;
    }
    Tidegate__V1__Response response = TIDEGATE__V1__RESPONSE__INIT;
    response.correlation_id = envelope->correlation_id;
    response.kind_case = TIDEGATE__V1__RESPONSE__KIND_LIST_ORDERS;
    response.list_orders = &answer;
    srv_core_respond(core, conn, &response);
}

static void list_teams(struct srv_core *core, struct net_conn *conn,
                       const struct tg_envelope *envelope,
                       const Tidegate__V1__ListTeamsRequest *request)
{
    uint32_t limit = page_size(request->limit, TG_TEAMS_PAGE_DEFAULT, TG_TEAMS_PAGE_MAX);
    const struct eng_sale *sale = eng_catalog_sale(&core->shard->engine->catalog, request->sale_id);
    Tidegate__V1__ListTeamsResponse answer = TIDEGATE__V1__LIST_TEAMS_RESPONSE__INIT;
    if (limit == 0) {
        answer.verdict = (Tidegate__V1__Verdict)TG_INVALID_ARGUMENT;
        answer.field = (char *)tg_field_name(TG_FIELD_LIMIT);
        answer.message = (char *)tg_field_advice(TG_FIELD_LIMIT);
    } else if (!sale || sale->team.team_size == 0) {
        answer.verdict = (Tidegate__V1__Verdict)(sale ? TG_NOT_A_GROUP_BUY : TG_UNKNOWN_SALE);
    } else if (net_loop_is_short(core->net)) {
        answer.verdict = (Tidegate__V1__Verdict)TG_BUSY;
    } else {
        begin(core, conn, envelope, sale, request->after_team_id, limit);
        return;
    }
    Tidegate__V1__Response response = TIDEGATE__V1__RESPONSE__INIT;
    response.correlation_id = envelope->correlation_id;
    response.kind_case = TIDEGATE__V1__RESPONSE__KIND_LIST_TEAMS;
    response.list_teams = &answer;
    srv_core_respond(core, conn, &response);
}

bool srv_pages_request(struct srv_core *core, struct net_conn *conn,
                       const struct tg_envelope *envelope)
{
    if (!is_page(envelope->kind))
        return false;
    bool teams = envelope->kind == TIDEGATE__V1__REQUEST__KIND_LIST_TEAMS;
    const void *request = srv_message_unpack(core,
                                             teams ? &tidegate__v1__list_teams_request__descriptor
                                                   : &tidegate__v1__list_orders_request__descriptor,
                                             envelope->body);
    if (!request)
        srv_message_fail(core, conn, envelope->correlation_id);
    else if (teams)
        list_teams(core, conn, envelope, request);
    else
        list_orders(core, conn, envelope, request);
    return true;
}
