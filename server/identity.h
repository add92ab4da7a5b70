/* Who a caller is, and what it may do: docs/security.md.
 *
 * Without security.token_file nothing here runs: core->principals is NULL, and a frame costs one
 * branch. With it, each connection has a principal, a number that AuthenticateRequest sets:
 *
 *   31          12 11       0
 *   | generation  |  place  |    0: nobody
 *
 * The principals in force lie in one table, struct srv_principals, which is never changed: a reload
 * (SIGHUP) builds a new one, in which a token that is still there keeps its place and generation,
 * and a place that a removed one left gets another generation with its next owner. So a frame is
 * let in by one load and two compares, and a removed token ends with the first frame behind the
 * reload, on connections that it has opened as well.
 *
 * Main makes and frees tables. A core takes over the newest one at the beginning of a turn; main
 * frees the old one when every core has. Threads without turns use srv_identity_allows, under a
 * lock that no core takes.
 */
#ifndef TG_SERVER_IDENTITY_H
#define TG_SERVER_IDENTITY_H

#include "base/token.h"
#include "proto/codec.h"
#include "server/quota.h"
#include "server/roles.h"

#include <pthread.h>

#define SRV_PLACE_BITS 12
#define SRV_NOBODY     0
/* Of a connection whose token was refused: no table has it. */
#define SRV_REFUSED    UINT32_MAX

_Static_assert(TG_TOKENS_MAX <= 1 << SRV_PLACE_BITS, "every token has a place");

struct srv_server;

struct srv_principal {
    uint32_t number; /* SRV_NOBODY: the place is free */
    uint16_t tenant; /* its place in the table */
    uint8_t roles;   /* of enum tg_role */
    char id[TG_TOKEN_ID_BYTES_MAX + 1];
    uint8_t hash[TG_TOKEN_HASH_BYTES];
};

struct srv_tenant {
    char name[TG_TENANT_BYTES_MAX + 1]; /* "": the place is free */
    uint64_t requests_per_s;            /* as tg_tenant_entry */
    uint64_t orders_per_s;
};

/* One state of the token file. Constant once it is published. */
struct srv_principals {
    struct srv_principal places[1 << SRV_PLACE_BITS];
    struct srv_tenant tenants[TG_TENANTS_MAX];
    uint16_t by_id[TG_TOKENS_MAX]; /* the places in use, in the order of their ids */
    uint32_t count;
};

/* Of the server. */
struct srv_identity {
    _Atomic(struct srv_principals *) newest;   /* main writes it; NULL: no tokens are asked for */
    pthread_rwlock_t lock;                     /* of `newest`, for threads that have no turns */
    uint32_t generations[1 << SRV_PLACE_BITS]; /* main: the last one of each place */
    struct srv_bucket *buckets; /* TG_TENANTS_MAX times SRV_QUOTA_KINDS; NULL without tokens */
};

/* --- tables (any thread, with their own memory) --- */

/* A table for `file`, in which tokens and tenants of `before` (may be NULL) keep their places.
 * `generations` are those of srv_identity. NULL without memory, or with more tokens, old and new,
 * than there are places. */
struct srv_principals *srv_principals_create(const struct tg_token_file *file,
                                             const struct srv_principals *before,
                                             uint32_t *generations);

/* The principal of a token that is in force; NULL for any other bytes. One hash. */
const struct srv_principal *srv_principals_find(const struct srv_principals *principals,
                                                struct tg_bytes token);

/* The principal of this number, or NULL when it is not in force (any more). */
static inline const struct srv_principal *
srv_principals_get(const struct srv_principals *principals, uint32_t number)
{
    const struct srv_principal *principal =
        &principals->places[number & ((1u << SRV_PLACE_BITS) - 1)];
    return principal->number == number && number != SRV_NOBODY ? principal : NULL;
}

/* --- main --- */

/* Reads the token file, if there is one, before any thread starts. */
enum tg_error srv_identity_start(struct srv_server *server, struct tg_fault *fault);
/* Reads it again. Without an error the new table is in force on every core when this returns; with
 * one the old table stays. */
enum tg_error srv_identity_reload(struct srv_server *server, struct tg_fault *fault);
void srv_identity_stop(struct srv_server *server);

/* --- any thread --- */

/* The token is in force and has the role; true for everybody where no tokens are asked for. */
bool srv_identity_allows(struct srv_server *server, struct tg_bytes token, enum tg_role role);

#endif
