#include "server/audit.h"

#include "base/clock.h"
#include "base/count.h"
#include "base/mem.h"
#include "base/text.h"
#include "base/thread.h"
#include "server/identity.h"
#include "server/server.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Text that one write takes. */
#define BATCH_BYTES ((size_t)64 * 1024)
#define RING_BYTES  (SRV_AUDIT_RING_LINES * sizeof(struct srv_audit_line))
/* How long the thread sleeps when nobody wakes it. */
#define SLEEP_MS    1000

/* --- a line as text --- */

struct text {
    char *at;
    size_t used;
};

static void add(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void add(struct text *text, const char *format, ...)
{
    size_t room = SRV_AUDIT_TEXT_BYTES - text->used;
    va_list args;
    va_start(args, format);
    int bytes = vsnprintf(text->at + text->used, room, format, args);
    va_end(args);
    if (bytes > 0)
        text->used += (size_t)bytes < room ? (size_t)bytes : room - 1;
}

/* Bytes of the character that begins here; 0 when none does. */
static int character_bytes(const char *value)
{
    int bytes = 1;
    while (bytes < 4 && ((unsigned char)value[bytes] & 0xc0) == 0x80)
        bytes++;
    while (bytes > 0 && !tg_text_is_valid(value, (size_t)bytes, 4))
        bytes--;
    return bytes;
}

/* What callers wrote: whatever it is, the line stays one line of JSON. Looked at character by
 * character: a reason may be cut within its last one. */
static void add_field(struct text *text, const char *name, const char *value)
{
    add(text, ",\"%s\":\"", name);
    while (*value) {
        unsigned char byte = (unsigned char)*value;
        int bytes = character_bytes(value);
        if (byte == '"' || byte == '\\')
            add(text, "\\%c", byte);
        else if (byte < 0x20 || byte == 0x7f)
            add(text, "\\u%04x", byte);
        else if (bytes == 0)
            add(text, "\\ufffd");
        else
            add(text, "%.*s", bytes, value);
        value += bytes > 0 ? bytes : 1;
    }
    add(text, "\"");
}

size_t srv_audit_text(const struct srv_audit_line *line, char text[SRV_AUDIT_TEXT_BYTES])
{
    struct text to = {.at = text};
    struct tm when;
    char peer[NET_PEER_TEXT_BYTES], seconds[32];
    time_t at_s = line->at_ms / 1000;
    gmtime_r(&at_s, &when);
    strftime(seconds, sizeof(seconds), "%Y-%m-%dT%H:%M:%S", &when);
    add(&to, "{\"time\":\"%s.%03dZ\"", seconds, (int)(line->at_ms % 1000));
    add_field(&to, "tenant", line->tenant);
    add_field(&to, "token", line->token);
    add_field(&to, "peer", line->peer.is_known ? net_peer_text(&line->peer, peer) : "");
    add_field(&to, "action", line->action);
    add_field(&to, "target", line->target);
    add_field(&to, "verdict", line->verdict);
    if (line->left_out > 0)
        add(&to, ",\"left_out\":%" PRIu64, line->left_out);
    if (line->lost > 0)
        add(&to, ",\"lost\":%" PRIu64, line->lost);
    add(&to, "}\n");
    return to.used;
}

/* --- the thread --- */

static void take_next_file(struct srv_audit *audit)
{
    /* pairs with the exchange in srv_audit_reopen */
    int next = atomic_exchange_explicit(&audit->next_fd, -1, memory_order_acq_rel);
    if (next < 0)
        return;
    close(audit->fd);
    audit->fd = next;
    audit->is_torn = false;
}

/* Whole lines or, as far as the disk lets us know, none. */
static void write_batch(struct srv_audit *audit, const char *text, size_t size, uint64_t lines)
{
    if (audit->is_torn && write(audit->fd, "\n", 1) == 1)
        audit->is_torn = false;
    ssize_t wrote = audit->is_torn ? -1 : write(audit->fd, text, size);
    if (wrote == (ssize_t)size && fdatasync(audit->fd) == 0)
        return;
    audit->is_torn = audit->is_torn || (wrote > 0 && (size_t)wrote < size);
    audit->lost += lines;
    tg_log_error("the audit log cannot be written, %" PRIu64 " lines are lost: %s", lines,
                 wrote > 0 && (size_t)wrote < size ? "no space left" : strerror(errno));
}

/* What lies in the rings, as far as one write takes it. True: there is more. */
static bool write_some(struct srv_audit *audit, char *text)
{
    size_t used = 0;
    uint64_t lines = 0;
    bool more = false;
    for (uint32_t i = 0; i < audit->source_count; i++) {
        struct tg_ring *ring = &audit->sources[i].ring;
        struct srv_audit_line *line;
        while ((line = tg_ring_front(ring))) {
            more = used + SRV_AUDIT_TEXT_BYTES > BATCH_BYTES;
            if (more)
                break;
            line->lost += audit->lost;
            audit->lost = 0;
            used += srv_audit_text(line, text + used);
            tg_ring_pop(ring);
            lines++;
        }
    }
    if (lines > 0)
        write_batch(audit, text, used, lines);
    return more;
}

static bool has_lines(struct srv_audit *audit)
{
    for (uint32_t i = 0; i < audit->source_count; i++)
        if (tg_ring_front(&audit->sources[i].ring))
            return true;
    return atomic_load_explicit(&audit->next_fd, memory_order_acquire) >= 0 ||
           atomic_load_explicit(&audit->stopping, memory_order_acquire);
}

static void *run(void *argument)
{
    struct srv_audit *audit = argument;
    static char text[BATCH_BYTES];
    for (;;) {
        /* Looked at first: what was pushed before it is written then. */
        bool stopping = atomic_load_explicit(&audit->stopping, memory_order_acquire);
        take_next_file(audit);
        if (write_some(audit, text))
            continue;
        if (stopping)
            return NULL;
        tg_waker_doze(&audit->waker);
        if (!has_lines(audit))
            tg_waker_wait(&audit->waker, SLEEP_MS);
        tg_waker_rise(&audit->waker);
    }
}

/* --- main --- */

static enum tg_error open_file(const char *path, int *fd, struct tg_fault *fault)
{
    *fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0600);
    if (*fd < 0)
        return tg_fault_set_errno(fault, TG_ERR_INVALID, errno, "cannot open the audit log %.200s",
                                  path);
    return TG_ERR_OK;
}

static enum tg_error create_sources(struct srv_audit *audit, uint32_t count, struct tg_fault *fault)
{
    audit->sources = aligned_alloc(128, count * sizeof(*audit->sources));
    if (!audit->sources)
        return tg_fault_set(fault, TG_ERR_NOMEM, "no memory for the audit log");
    memset(audit->sources, 0, count * sizeof(*audit->sources));
    for (; audit->source_count < count; audit->source_count++) {
        void *memory = tg_mem_map(RING_BYTES);
        if (!memory)
            return tg_fault_set(fault, TG_ERR_NOMEM, "no memory for the audit log");
        struct srv_audit_source *source = &audit->sources[audit->source_count];
        tg_ring_init(&source->ring, memory, sizeof(struct srv_audit_line), SRV_AUDIT_RING_LINES);
        source->refusals.at = "audit";
    }
    return TG_ERR_OK;
}

enum tg_error srv_audit_start(struct srv_server *server, struct tg_fault *fault)
{
    if (server->config.audit_log[0] == '\0')
        return TG_ERR_OK;
    struct srv_audit *audit = aligned_alloc(128, sizeof(*audit));
    if (!audit)
        return tg_fault_set(fault, TG_ERR_NOMEM, "no memory for the audit log");
    memset(audit, 0, sizeof(*audit));
    atomic_init(&audit->next_fd, -1);
    enum tg_error error;
    if ((error = create_sources(audit, (uint32_t)server->config.threads + 2, fault)) != TG_ERR_OK ||
        (error = tg_waker_init(&audit->waker, fault)) != TG_ERR_OK ||
        (error = open_file(server->config.audit_log, &audit->fd, fault)) != TG_ERR_OK ||
        (error = tg_thread_start(&audit->thread, run, audit, "audit", fault)) != TG_ERR_OK)
        return error; /* the program ends */
    server->audit = audit;
    return TG_ERR_OK;
}

enum tg_error srv_audit_reopen(struct srv_server *server, struct tg_fault *fault)
{
    struct srv_audit *audit = server->audit;
    int fd;
    if (!audit)
        return TG_ERR_OK;
    enum tg_error error = open_file(server->config.audit_log, &fd, fault);
    if (error != TG_ERR_OK)
        return error;
    /* pairs with the exchange in take_next_file; one that it has not taken yet is ours again */
    int before = atomic_exchange_explicit(&audit->next_fd, fd, memory_order_acq_rel);
    if (before >= 0)
        close(before);
    tg_waker_wake(&audit->waker);
    return TG_ERR_OK;
}

void srv_audit_stop(struct srv_server *server)
{
    struct srv_audit *audit = server->audit;
    if (!audit)
        return;
    atomic_store_explicit(&audit->stopping, true, memory_order_release);
    tg_waker_wake(&audit->waker);
    pthread_join(audit->thread, NULL);
    close(audit->fd);
    for (uint32_t i = 0; i < audit->source_count; i++)
        tg_mem_unmap(audit->sources[i].ring.elements, RING_BYTES);
    tg_waker_fini(&audit->waker);
    free(audit->sources);
    free(audit);
    server->audit = NULL;
}

/* --- putting a line into a ring, by the thread that owns it --- */

static void put(struct srv_audit *audit, struct srv_audit_source *source,
                const struct srv_audit_line *line)
{
    struct srv_audit_line *slot = tg_ring_reserve(&source->ring);
    if (!slot) {
        source->lost++;
        tg_log_error("the audit log lags behind: a line of %s is lost", line->action);
        return;
    }
    *slot = *line;
    slot->lost = source->lost;
    source->lost = 0;
    tg_ring_push(&source->ring);
    tg_waker_wake(&audit->waker);
}

void srv_audit_main(struct srv_server *server, const char *action, const char *target,
                    const char *verdict)
{
    struct srv_audit_line line = {
        .at_ms = tg_clock_wall_ns() / TG_NS_PER_MS, .action = action, .verdict = verdict};
    if (!server->audit)
        return;
    snprintf(line.target, sizeof(line.target), "%s", target);
    put(server->audit, &server->audit->sources[server->config.threads], &line);
}

static struct srv_audit_source *source_of(const struct srv_core *core)
{
    return &core->server->audit->sources[core->core];
}

/* --- what is audited --- */

/* The name of an operator's action; NULL for what is none. Of a ChangeOrder its change decides. */
static const char *action_of(uint32_t kind)
{
    switch (kind) {
    case TIDEGATE__V1__REQUEST__KIND_CREATE_SALE:
        return "CreateSale";
    case TIDEGATE__V1__REQUEST__KIND_PAUSE_SALE:
        return "PauseSale";
    case TIDEGATE__V1__REQUEST__KIND_RESUME_SALE:
        return "ResumeSale";
    case TIDEGATE__V1__REQUEST__KIND_CLOSE_SALE:
        return "CloseSale";
    case TIDEGATE__V1__REQUEST__KIND_ADJUST_STOCK:
        return "AdjustStock";
    case TIDEGATE__V1__REQUEST__KIND_CREATE_GROUP:
        return "CreateGroup";
    case TIDEGATE__V1__REQUEST__KIND_DELETE_GROUP:
        return "DeleteGroup";
    default: /* a number from the wire */
        return NULL;
    }
}

static void describe_adjustment(const Tidegate__V1__AdjustStockRequest *adjust, char *target)
{
    int used = snprintf(target, SRV_AUDIT_TARGET_BYTES, "sale %" PRIu64 " sku %.32s ",
                        adjust->sale_id, adjust->sku);
    size_t room = SRV_AUDIT_TARGET_BYTES - (size_t)used;
    if (adjust->change_case == TIDEGATE__V1__ADJUST_STOCK_REQUEST__CHANGE_COMPARE_AND_SET)
        used += snprintf(target + used, room, "from %" PRIu64 " to %" PRIu64,
                         adjust->compare_and_set->expected_available_units,
                         adjust->compare_and_set->new_available_units);
    else
        used += snprintf(target + used, room, "by %" PRId64, adjust->delta_units);
    snprintf(target + used, SRV_AUDIT_TARGET_BYTES - (size_t)used, ": %.64s", adjust->reason);
}

static void describe_sale(uint64_t sale_id, char *target)
{
    snprintf(target, SRV_AUDIT_TARGET_BYTES, "sale %" PRIu64, sale_id);
}

/* Who asked and for what; the action of a ChangeOrder that is an operator's. */
static void describe(struct srv_audit_line *line, uint32_t kind, const void *message)
{
    const Tidegate__V1__CreateSaleRequest *create = message;
    const Tidegate__V1__PauseSaleRequest *pause = message;
    const Tidegate__V1__ResumeSaleRequest *resume = message;
    const Tidegate__V1__CloseSaleRequest *end = message;
    const Tidegate__V1__CreateGroupRequest *group = message;
    const Tidegate__V1__DeleteGroupRequest *removal = message;
    switch (kind) {
    case TIDEGATE__V1__REQUEST__KIND_CREATE_SALE:
        describe_sale(create->sale ? create->sale->sale_id : 0, line->target);
        break;
    case TIDEGATE__V1__REQUEST__KIND_PAUSE_SALE:
        describe_sale(pause->sale_id, line->target);
        break;
    case TIDEGATE__V1__REQUEST__KIND_RESUME_SALE:
        describe_sale(resume->sale_id, line->target);
        break;
    case TIDEGATE__V1__REQUEST__KIND_CLOSE_SALE:
        describe_sale(end->sale_id, line->target);
        break;
    case TIDEGATE__V1__REQUEST__KIND_ADJUST_STOCK:
        describe_adjustment(message, line->target);
        break;
    case TIDEGATE__V1__REQUEST__KIND_CREATE_GROUP:
        snprintf(line->target, sizeof(line->target), "group %.64s", group->group);
        break;
    default:
        snprintf(line->target, sizeof(line->target), "group %.64s", removal->group);
        break;
    }
}

/* A refund that is approved or rejected; false for every other change. */
static bool describe_change(struct srv_audit_line *line,
                            const Tidegate__V1__ChangeOrderRequest *change)
{
    uint32_t number;
    if (change->change_case == TIDEGATE__V1__CHANGE_ORDER_REQUEST__CHANGE_APPROVE_REFUND) {
        line->action = "ApproveRefund";
        number = change->approve_refund->number;
    } else if (change->change_case == TIDEGATE__V1__CHANGE_ORDER_REQUEST__CHANGE_REJECT_REFUND) {
        line->action = "RejectRefund";
        number = change->reject_refund->number;
    } else {
        return false;
    }
    snprintf(line->target, sizeof(line->target), "order %" PRIu64 " refund %" PRIu32,
             change->order_id, number);
    return true;
}

static void say_who(const struct srv_core *core, const struct net_conn *conn,
                    struct srv_audit_line *line)
{
    line->at_ms = core->now_ms;
    line->peer = *net_conn_peer(conn);
    const struct srv_principal *principal =
        core->principals ? srv_principals_get(core->principals, net_conn_principal(conn)) : NULL;
    if (!principal)
        return;
    memcpy(line->token, principal->id, sizeof(line->token));
    memcpy(line->tenant, core->principals->tenants[principal->tenant].name, sizeof(line->tenant));
}

struct srv_audit_line *srv_audit_begin(struct srv_core *core, const struct net_conn *conn,
                                       uint32_t kind, const void *message)
{
    struct srv_audit_line line = {.action = action_of(kind)};
    if (!core->server->audit)
        return NULL;
    if (line.action)
        describe(&line, kind, message);
    else if (kind != TIDEGATE__V1__REQUEST__KIND_CHANGE_ORDER || !describe_change(&line, message))
        return NULL;
    say_who(core, conn, &line);
    struct srv_audit_line *kept = malloc(sizeof(*kept));
    if (kept)
        *kept = line;
    else
        source_of(core)->lost++;
    return kept;
}

void srv_audit_end(struct srv_core *core, struct srv_audit_line *line, const char *verdict)
{
    if (!line)
        return;
    line->verdict = verdict;
    put(core->server->audit, source_of(core), line);
    free(line);
}

/* --- refusals: as many as the log of the daemon would have of one place --- */

static void put_refusal(struct srv_core *core, const struct net_conn *conn,
                        struct srv_audit_line *line)
{
    struct srv_audit_source *source = source_of(core);
    if (!tg_log_admit(&source->refusals, core->now_mono_ns, &line->left_out))
        return;
    say_who(core, conn, line);
    put(core->server->audit, source, line);
}

static struct srv_audit_line line_of_token(const char *id)
{
    struct srv_audit_line line = {.action = "Authenticate", .verdict = "UNAUTHENTICATED"};
    snprintf(line.target, sizeof(line.target), "%s%s", id[0] ? "token " : "no token", id);
    return line;
}

void srv_audit_refused_token(struct srv_core *core, const struct net_conn *conn, const char *id)
{
    if (!core->server->audit)
        return;
    struct srv_audit_line line = line_of_token(id);
    put_refusal(core, conn, &line);
}

void srv_audit_admin_refused(struct srv_server *server, const struct net_peer *peer, const char *id)
{
    if (!server->audit)
        return;
    struct srv_audit_source *source = &server->audit->sources[server->config.threads + 1];
    struct srv_audit_line line = line_of_token(id);
    if (!tg_log_admit(&source->refusals, tg_clock_mono_ns(), &line.left_out))
        return;
    line.at_ms = tg_clock_wall_ns() / TG_NS_PER_MS;
    line.peer = *peer;
    put(server->audit, source, &line);
}

void srv_audit_refused_role(struct srv_core *core, const struct net_conn *conn, uint32_t kind)
{
    struct srv_audit_line line = {.action = action_of(kind), .verdict = "PERMISSION_DENIED"};
    if (!core->server->audit)
        return;
    if (kind == TIDEGATE__V1__REQUEST__KIND_CHANGE_ORDER)
        line.action = "ChangeOrder";
    if (line.action)
        put_refusal(core, conn, &line);
}
