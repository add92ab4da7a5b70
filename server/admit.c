#include "server/admit.h"

#include "base/assert.h"
#include "base/clock.h"
#include "server/control.h"
#include "server/events.h"
#include "server/identity.h"
#include "server/server.h"
#include "server/suspects.h"

#include <inttypes.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

/* What it costs to look at a token: its hash, mostly. */
#define AUTHENTICATE_WORK 4

/* An answer that waits. */
struct late {
    net_conn_ref conn;
    uint64_t correlation_id;
    int64_t due_ns;
    const char *message; /* static */
};

struct srv_admission {
    struct srv_lease leases[TG_TENANTS_MAX][SRV_QUOTA_KINDS];
    /* of the frame that is handled just now */
    struct srv_lease *charged; /* NULL: nothing was taken */
    uint64_t charged_units;
    struct srv_suspects suspects;
    struct late lates[SRV_LATES_MAX];
    uint32_t late_count;
    int64_t late_due_ns; /* the first of them */
};

enum tg_error srv_admit_create(struct srv_core *core, struct tg_fault *fault)
{
    if (core->server->config.token_file[0] == '\0')
        return TG_ERR_OK;
    core->admission = calloc(1, sizeof(*core->admission));
    return core->admission ? TG_ERR_OK
                           : tg_fault_set(fault, TG_ERR_NOMEM,
                                          "no memory for the callers of core %u", core->core);
}

void srv_admit_destroy(struct srv_core *core)
{
    free(core->admission);
    core->admission = NULL;
}

void srv_admit_begin(struct srv_core *core)
{
    /* pairs with the store in srv_identity_reload */
    struct srv_principals *newest =
        atomic_load_explicit(&core->server->identity.newest, memory_order_acquire);
    if (newest == core->principals)
        return;
    core->principals = newest;
    atomic_store_explicit(&core->principals_seen, newest, memory_order_release);
    srv_events_look(core); /* at consumers that have to go */
}

/* --- refusing --- */

static void refuse_now(struct srv_core *core, struct net_conn *conn, uint64_t correlation_id,
                       const char *message)
{
    tg_count(&core->stats.unauthenticated, 1);
    net_conn_error(core->net, conn, correlation_id,
                   TIDEGATE__V1__ERROR_CODE__ERROR_CODE_UNAUTHENTICATED, message);
}

static void refuse_late(struct srv_core *core, struct net_conn *conn, uint64_t correlation_id,
                        int64_t due_ns, const char *message)
{
    struct srv_admission *admission = core->admission;
    uint32_t *uses = net_conn_uses(conn, NET_USE_LATES);
    if (admission->late_count == SRV_LATES_MAX || *uses == SRV_CONN_LATES_MAX) {
        tg_count(&core->stats.unauthenticated, 1);
        static const char words[] = "too many requests with tokens that are not in force";
        const int code = TIDEGATE__V1__ERROR_CODE__ERROR_CODE_UNAUTHENTICATED;
        net_conn_fail(core->net, conn, correlation_id, code, words);
        if (net_conn_is_open(conn)) /* of gRPC that was the call alone */
            net_conn_fail(core->net, conn, 0, code, words);
        return;
    }
    ++*uses;
    net_conn_begin(conn, 1);
    admission->lates[admission->late_count++] = (struct late){
        .conn = net_conn_name(conn),
        .correlation_id = correlation_id,
        .due_ns = due_ns,
        .message = message,
    };
    if (admission->late_count == 1 || due_ns < admission->late_due_ns)
        admission->late_due_ns = due_ns;
}

static void give(struct srv_core *core, const struct late *late)
{
    struct net_conn *conn = net_conn_find(core->net, late->conn);
    if (!conn)
        return;
    --*net_conn_uses(conn, NET_USE_LATES);
    refuse_now(core, conn, late->correlation_id, late->message);
    net_conn_end(core->net, conn, 1);
}

void srv_admit_turn(struct srv_core *core, bool draining)
{
    struct srv_admission *admission = core->admission;
    if (admission->late_count == 0 || (core->now_mono_ns < admission->late_due_ns && !draining))
        return;
    uint32_t left = 0;
    admission->late_due_ns = INT64_MAX;
    for (uint32_t i = 0; i < admission->late_count; i++) {
        struct late late = admission->lates[i];
        if (late.due_ns <= core->now_mono_ns || draining) {
            give(core, &late);
            continue;
        }
        admission->lates[left++] = late;
        if (late.due_ns < admission->late_due_ns)
            admission->late_due_ns = late.due_ns;
    }
    admission->late_count = left;
}

static uint64_t suspect_key(const struct srv_core *core, const struct net_conn *conn)
{
    return net_peer_key(net_conn_peer(conn), core->shard->engine->config.hash_seed);
}

static void refuse_nobody(struct srv_core *core, struct net_conn *conn, uint64_t correlation_id)
{
    uint32_t principal = net_conn_principal(conn);
    if (principal == SRV_REFUSED) {
        int64_t due_ns = srv_suspects_due(&core->admission->suspects, suspect_key(core, conn),
                                          core->now_mono_ns);
        refuse_late(core, conn, correlation_id, due_ns,
                    "the token that came before is not in force");
        return;
    }
    refuse_now(core, conn, correlation_id,
               principal == SRV_NOBODY
                   ? "this server asks for a token: send AuthenticateRequest first (gRPC: "
                     "authorization: Bearer TOKEN)"
                   : "the token is not in force any more: authenticate with another one");
}

static void refuse_role(struct srv_core *core, struct net_conn *conn, uint64_t correlation_id,
                        uint32_t kind, const struct srv_principal *principal, uint32_t needed)
{
    char message[256], has[TG_ROLES_TEXT_BYTES], needs[TG_ROLES_TEXT_BYTES];
    snprintf(message, sizeof(message), "this takes the role %s; token %s has %s",
             tg_roles_text(needed, " or ", needs), principal->id,
             tg_roles_text(principal->roles, ",", has));
    tg_count(&core->stats.denied, 1);
    srv_audit_refused_role(core, conn, kind);
    net_conn_error(core->net, conn, correlation_id,
                   TIDEGATE__V1__ERROR_CODE__ERROR_CODE_PERMISSION_DENIED, message);
}

/* --- roles --- */

/* Who sent it, with one of these roles; NULL, and answered, for any other. */
static const struct srv_principal *admit(struct srv_core *core, struct net_conn *conn,
                                         uint64_t correlation_id, uint32_t kind, uint32_t needed)
{
    const struct srv_principal *principal =
        srv_principals_get(core->principals, net_conn_principal(conn));
    if (!principal) {
        refuse_nobody(core, conn, correlation_id);
        return NULL;
    }
    if (!(principal->roles & needed)) {
        refuse_role(core, conn, correlation_id, kind, principal, needed);
        return NULL;
    }
    return principal;
}

bool srv_admit_change(struct srv_core *core, struct net_conn *conn, uint64_t correlation_id,
                      const Tidegate__V1__ChangeOrderRequest *message)
{
    if (!core->principals ||
        message->change_case == TIDEGATE__V1__CHANGE_ORDER_REQUEST__CHANGE__NOT_SET)
        return true; /* the latter is no change, and is told so */
    return admit(core, conn, correlation_id, TIDEGATE__V1__REQUEST__KIND_CHANGE_ORDER,
                 srv_roles_of_change[message->change_case]) != NULL;
}

bool srv_admit_waiter(const struct srv_core *core, uint32_t principal, enum tg_role role)
{
    if (!core->principals)
        return true;
    const struct srv_principal *who = srv_principals_get(core->principals, principal);
    return who && who->roles & (uint32_t)role;
}

void srv_admit_refuse_waiter(struct srv_core *core, struct net_conn *conn, uint64_t correlation_id)
{
    refuse_now(core, conn, correlation_id,
               "the token that asked is not in force any more, or has lost its role");
}

/* --- limits --- */

/* Orders in a frame of many; at least 1. What is wrong with it is found by who reads it. */
static uint32_t orders_in(struct tg_bytes body)
{
    struct tg_bytes order;
    bool malformed = false;
    uint32_t count = 0;
    while (tg_orders_next(&body, &order, &malformed))
        count++;
    return count > 0 ? count : 1;
}

static void refuse_requests(struct srv_core *core, struct net_conn *conn, uint64_t correlation_id,
                            uint32_t retry_after_ms)
{
    Tidegate__V1__ErrorResponse error = TIDEGATE__V1__ERROR_RESPONSE__INIT;
    Tidegate__V1__Response response = TIDEGATE__V1__RESPONSE__INIT;
    error.code = TIDEGATE__V1__ERROR_CODE__ERROR_CODE_RATE_LIMITED;
    error.message = (char *)"the tenant has sent as many requests as it may in this time";
    error.retry_after_ms = retry_after_ms;
    response.correlation_id = correlation_id;
    response.kind_case = TIDEGATE__V1__RESPONSE__KIND_ERROR;
    response.error = &error;
    srv_core_respond(core, conn, &response);
}

/* BUSY, in the answer that belongs to the kind. */
static void refuse_orders(struct srv_core *core, struct net_conn *conn,
                          const struct tg_envelope *envelope, uint32_t retry_after_ms)
{
    Tidegate__V1__PlaceOrderResponse order = TIDEGATE__V1__PLACE_ORDER_RESPONSE__INIT;
    Tidegate__V1__PlaceOrdersResponse orders = TIDEGATE__V1__PLACE_ORDERS_RESPONSE__INIT;
    Tidegate__V1__IngestOrdersResponse ingest = TIDEGATE__V1__INGEST_ORDERS_RESPONSE__INIT;
    Tidegate__V1__OpenTeamResponse open = TIDEGATE__V1__OPEN_TEAM_RESPONSE__INIT;
    Tidegate__V1__JoinTeamResponse join = TIDEGATE__V1__JOIN_TEAM_RESPONSE__INIT;
    Tidegate__V1__Response response = TIDEGATE__V1__RESPONSE__INIT;
    order.verdict = orders.verdict = ingest.verdict = TIDEGATE__V1__VERDICT__VERDICT_BUSY;
    order.retry_after_ms = orders.retry_after_ms = ingest.retry_after_ms = retry_after_ms;
    open.order = join.order = &order;
    response.correlation_id = envelope->correlation_id;
    response.kind_case = (Tidegate__V1__Response__KindCase)envelope->kind;
    if (envelope->kind == TIDEGATE__V1__REQUEST__KIND_PLACE_ORDERS)
        response.place_orders = &orders;
    else if (envelope->kind == TIDEGATE__V1__REQUEST__KIND_INGEST_ORDERS)
        response.ingest_orders = &ingest;
    else if (envelope->kind == TIDEGATE__V1__REQUEST__KIND_OPEN_TEAM)
        response.open_team = &open;
    else if (envelope->kind == TIDEGATE__V1__REQUEST__KIND_JOIN_TEAM)
        response.join_team = &join;
    else
        response.place_order = &order;
    srv_core_respond(core, conn, &response);
}

static uint64_t rate_of(const struct srv_core *core, const struct srv_tenant *tenant,
                        enum srv_quota_kind kind)
{
    const struct srv_config *config = &core->server->config;
    bool is_orders = kind == SRV_QUOTA_ORDERS;
    uint64_t rate_per_s = is_orders ? tenant->orders_per_s : tenant->requests_per_s;
    if (rate_per_s != TG_RATE_DEFAULT)
        return rate_per_s;
    return tg_count_read(is_orders ? &config->orders_per_s : &config->requests_per_s);
}

/* Takes what the frame costs of its tenant's rate; false, and answered, when that is used up. */
static bool charge(struct srv_core *core, struct net_conn *conn, const struct tg_envelope *envelope,
                   const struct srv_principal *principal, enum srv_quota_kind kind)
{
    struct srv_admission *admission = core->admission;
    uint32_t place = principal->tenant, retry_after_ms;
    uint64_t rate_per_s = rate_of(core, &core->principals->tenants[place], kind);
    if (rate_per_s == 0)
        return true;
    bool is_many = envelope->kind == TIDEGATE__V1__REQUEST__KIND_PLACE_ORDERS ||
                   envelope->kind == TIDEGATE__V1__REQUEST__KIND_INGEST_ORDERS;
    uint32_t units = is_many ? orders_in(envelope->body) : 1;
    struct srv_lease *lease = &admission->leases[place][kind];
    struct srv_bucket *bucket = &core->server->identity.buckets[place * SRV_QUOTA_KINDS + kind];
    if (srv_lease_take(lease, bucket, rate_per_s, units, core->now_mono_ns, &retry_after_ms)) {
        admission->charged = lease;
        admission->charged_units = units;
        return true;
    }
    tg_count(&core->stats.limited, 1);
    if (kind == SRV_QUOTA_ORDERS)
        refuse_orders(core, conn, envelope, retry_after_ms);
    else
        refuse_requests(core, conn, envelope->correlation_id, retry_after_ms);
    return false;
}

void srv_admit_end(struct srv_core *core, const struct net_conn *conn)
{
    struct srv_admission *admission = core->admission;
    if (admission->charged && net_conn_is_put_back(conn))
        srv_lease_give_back(admission->charged, admission->charged_units);
    admission->charged = NULL;
}

/* --- frames --- */

static enum srv_quota_kind quota_of(uint32_t kind)
{
    switch (kind) {
    case TIDEGATE__V1__REQUEST__KIND_PLACE_ORDER:
    case TIDEGATE__V1__REQUEST__KIND_PLACE_ORDERS:
    case TIDEGATE__V1__REQUEST__KIND_INGEST_ORDERS:
    case TIDEGATE__V1__REQUEST__KIND_OPEN_TEAM:
    case TIDEGATE__V1__REQUEST__KIND_JOIN_TEAM:
        return SRV_QUOTA_ORDERS;
    default: /* a number from the wire */
        return SRV_QUOTA_REQUESTS;
    }
}

bool srv_admit_frame(struct srv_core *core, struct net_conn *conn,
                     const struct tg_envelope *envelope)
{
    uint32_t needed = envelope->kind < SRV_KINDS_MAX ? srv_roles_of_kind[envelope->kind] : 0;
    if (needed == SRV_ROLES_NONE_NEEDED)
        return true;
    if (needed == 0) /* no kind: who is known is told so */
        needed = TG_ROLES_ALL;
    const struct srv_principal *principal =
        admit(core, conn, envelope->correlation_id, envelope->kind, needed);
    return principal && charge(core, conn, envelope, principal, quota_of(envelope->kind));
}

/* --- Authenticate --- */

static void answer(struct srv_core *core, struct net_conn *conn, uint64_t correlation_id,
                   const char *tenant, uint32_t roles)
{
    char words[TG_ROLE_COUNT][TG_ROLES_TEXT_BYTES], *list[TG_ROLE_COUNT];
    Tidegate__V1__AuthenticateResponse body = TIDEGATE__V1__AUTHENTICATE_RESPONSE__INIT;
    body.verdict = TIDEGATE__V1__VERDICT__VERDICT_OK;
    body.tenant = (char *)tenant;
    body.roles = list;
    for (uint32_t place = 0; place < TG_ROLE_COUNT; place++)
        if (roles & 1u << place) {
            list[body.n_roles] = words[body.n_roles];
            tg_roles_text(1u << place, "", words[body.n_roles++]);
        }
    Tidegate__V1__Response response = TIDEGATE__V1__RESPONSE__INIT;
    response.correlation_id = correlation_id;
    response.kind_case = TIDEGATE__V1__RESPONSE__KIND_AUTHENTICATE;
    response.authenticate = &body;
    srv_core_respond(core, conn, &response);
}

static void authenticate(struct srv_core *core, struct net_conn *conn, uint64_t correlation_id,
                         struct tg_bytes token)
{
    if (!core->principals || token.size == 0) {
        net_conn_set_principal(conn, SRV_NOBODY);
        answer(core, conn, correlation_id, "", core->principals ? 0 : TG_ROLES_ALL);
        return;
    }
    const struct srv_principal *principal = srv_principals_find(core->principals, token);
    if (principal) {
        net_conn_set_principal(conn, principal->number);
        answer(core, conn, correlation_id, core->principals->tenants[principal->tenant].name,
               principal->roles);
        return;
    }
    char id[TG_TOKEN_ID_BYTES_MAX + 1] = "";
    tg_token_read((const char *)token.data, token.size, id);
    net_conn_set_principal(conn, SRV_REFUSED);
    srv_audit_refused_token(core, conn, id);
    int64_t due_ns =
        srv_suspects_failed(&core->admission->suspects, suspect_key(core, conn), core->now_mono_ns);
    refuse_late(core, conn, correlation_id, due_ns,
                "the token is not in force: it is mistyped, revoked, or of another server");
}

bool srv_admit_request(struct srv_core *core, struct net_conn *conn,
                       const struct tg_envelope *envelope)
{
    if (envelope->kind != TIDEGATE__V1__REQUEST__KIND_AUTHENTICATE)
        return false;
    const Tidegate__V1__AuthenticateRequest *request =
        srv_message_unpack(core, &tidegate__v1__authenticate_request__descriptor, envelope->body);
    if (!request) {
        srv_message_fail(core, conn, envelope->correlation_id);
        return true;
    }
    struct tg_bytes token = srv_message_text(request->token);
    srv_core_spend(core, AUTHENTICATE_WORK);
    authenticate(core, conn, envelope->correlation_id, token);
    if (token.size > 0)
        OPENSSL_cleanse(request->token, token.size);
    return true;
}
