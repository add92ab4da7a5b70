#include "server/identity.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "server/server.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PLACES        (1u << SRV_PLACE_BITS)
#define BUCKETS_BYTES (sizeof(struct srv_bucket) * TG_TENANTS_MAX * SRV_QUOTA_KINDS)
#define GENERATIONS   (UINT32_MAX >> SRV_PLACE_BITS)

/* --- tables --- */

static int compare_ids(const void *left, const void *right, void *places)
{
    const struct srv_principal *all = places;
    return strcmp(all[*(const uint16_t *)left].id, all[*(const uint16_t *)right].id);
}

/* The place in use with this id, or NULL. */
static const struct srv_principal *find_id(const struct srv_principals *principals, const char *id)
{
    uint32_t low = 0, high = principals->count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        const struct srv_principal *principal = &principals->places[principals->by_id[middle]];
        int order = strcmp(principal->id, id);
        if (order == 0)
            return principal;
        low = order < 0 ? middle + 1 : low;
        high = order < 0 ? high : middle;
    }
    return NULL;
}

/* Tenants that go on keep their places, and with them what their limits have counted. */
static void place_tenants(struct srv_principals *principals, const struct tg_token_file *file,
                          const struct srv_principals *before)
{
    for (uint32_t i = 0; before && i < file->token_count; i++)
        for (uint32_t place = 0; place < TG_TENANTS_MAX; place++)
            if (strcmp(before->tenants[place].name, file->tokens[i].tenant) == 0)
                memcpy(principals->tenants[place].name, before->tenants[place].name,
                       sizeof(before->tenants[place].name));
}

/* The place of a tenant, taken if need be; TG_TENANTS_MAX when there is none left. */
static uint32_t tenant_of(struct srv_principals *principals, const char *name)
{
    uint32_t free_place = TG_TENANTS_MAX;
    for (uint32_t place = TG_TENANTS_MAX; place-- > 0;) {
        if (strcmp(principals->tenants[place].name, name) == 0)
            return place;
        if (principals->tenants[place].name[0] == '\0')
            free_place = place;
    }
    if (free_place < TG_TENANTS_MAX)
        snprintf(principals->tenants[free_place].name, sizeof(principals->tenants[0].name), "%s",
                 name);
    return free_place;
}

/* A place for a new token: best one that no token had just before, whose id may yet be asked for.
 */
static uint32_t free_place(const struct srv_principals *principals,
                           const struct srv_principals *before)
{
    for (uint32_t place = 0; place < PLACES; place++)
        if (principals->places[place].number == SRV_NOBODY &&
            !(before && before->places[place].number != SRV_NOBODY))
            return place;
    for (uint32_t place = 0; place < PLACES; place++)
        if (principals->places[place].number == SRV_NOBODY)
            return place;
    return PLACES;
}

/* Never 0 and never that of SRV_REFUSED. */
static uint32_t next_generation(uint32_t generation)
{
    return generation + 1 < GENERATIONS ? generation + 1 : 1;
}

static void put(struct srv_principals *principals, uint32_t place, uint32_t number,
                const struct tg_token_entry *entry, uint32_t tenant)
{
    struct srv_principal *principal = &principals->places[place];
    *principal = (struct srv_principal){
        .number = number, .tenant = (uint16_t)tenant, .roles = (uint8_t)entry->roles};
    memcpy(principal->id, entry->id, sizeof(entry->id));
    memcpy(principal->hash, entry->hash, sizeof(entry->hash));
    principals->by_id[principals->count++] = (uint16_t)place;
}

/* The place that a token has had, if it is the same token; else NULL. */
static const struct srv_principal *kept(const struct srv_principals *before,
                                        const struct tg_token_entry *entry)
{
    const struct srv_principal *old = before ? find_id(before, entry->id) : NULL;
    return old && tg_token_hash_is(old->hash, entry->hash) ? old : NULL;
}

static bool put_tokens(struct srv_principals *principals, const struct tg_token_file *file,
                       const struct srv_principals *before, uint32_t *generations, bool old_ones)
{
    for (uint32_t i = 0; i < file->token_count; i++) {
        const struct tg_token_entry *entry = &file->tokens[i];
        const struct srv_principal *old = kept(before, entry);
        if ((old != NULL) != old_ones)
            continue;
        uint32_t tenant = tenant_of(principals, entry->tenant);
        uint32_t place = old ? (uint32_t)(old - before->places) : free_place(principals, before);
        if (tenant == TG_TENANTS_MAX || place == PLACES)
            return false;
        if (!old)
            generations[place] = next_generation(generations[place]);
        uint32_t number = generations[place] << SRV_PLACE_BITS | place;
        put(principals, place, number, entry, tenant);
    }
    return true;
}

static void set_rates(struct srv_principals *principals, const struct tg_token_file *file)
{
    for (uint32_t place = 0; place < TG_TENANTS_MAX; place++) {
        struct srv_tenant *tenant = &principals->tenants[place];
        tenant->requests_per_s = tenant->orders_per_s = TG_RATE_DEFAULT;
        for (uint32_t i = 0; i < file->tenant_count; i++)
            if (strcmp(file->tenants[i].name, tenant->name) == 0) {
                tenant->requests_per_s = file->tenants[i].requests_per_s;
                tenant->orders_per_s = file->tenants[i].orders_per_s;
            }
    }
}

struct srv_principals *srv_principals_create(const struct tg_token_file *file,
                                             const struct srv_principals *before,
                                             uint32_t *generations)
{
    struct srv_principals *principals = calloc(1, sizeof(*principals));
    if (!principals)
        return NULL;
    place_tenants(principals, file, before);
    /* Those that stay first, or a new one might get the place of one of them. */
    if (!put_tokens(principals, file, before, generations, true) ||
        !put_tokens(principals, file, before, generations, false)) {
        free(principals);
        return NULL;
    }
    set_rates(principals, file);
    qsort_r(principals->by_id, principals->count, sizeof(principals->by_id[0]), compare_ids,
            principals->places);
    return principals;
}

const struct srv_principal *srv_principals_find(const struct srv_principals *principals,
                                                struct tg_bytes token)
{
    char id[TG_TOKEN_ID_BYTES_MAX + 1];
    uint8_t hash[TG_TOKEN_HASH_BYTES];
    if (!tg_token_read((const char *)token.data, token.size, id))
        return NULL;
    /* Which ids there are is no secret; of the hash nothing must be told by the time it takes. */
    const struct srv_principal *principal = find_id(principals, id);
    if (!principal)
        return NULL;
    tg_token_hash((const char *)token.data, token.size, hash);
    return tg_token_hash_is(principal->hash, hash) ? principal : NULL;
}

/* --- main --- */

static enum tg_error read_table(struct srv_server *server, struct srv_principals **table,
                                struct tg_fault *fault)
{
    struct srv_identity *identity = &server->identity;
    struct tg_token_file *file = malloc(sizeof(*file));
    if (!file)
        return tg_fault_set(fault, TG_ERR_NOMEM, "no memory to read the token file");
    enum tg_error error = tg_token_file_read(server->config.token_file, file, fault);
    if (error == TG_ERR_OK) {
        *table = srv_principals_create(
            file, atomic_load_explicit(&identity->newest, memory_order_relaxed),
            identity->generations);
        if (!*table)
            error = tg_fault_set(fault, TG_ERR_NOMEM,
                                 "no memory for the tokens of %.200s, or more "
                                 "tenants in it than %d",
                                 server->config.token_file, TG_TENANTS_MAX);
    }
    if (error == TG_ERR_OK && file->token_count == 0)
        tg_log_warn("%.200s holds no token: nobody is let in", server->config.token_file);
    if (error == TG_ERR_OK)
        tg_log_info("%" PRIu32 " tokens in force", file->token_count);
    free(file);
    return error;
}

enum tg_error srv_identity_start(struct srv_server *server, struct tg_fault *fault)
{
    struct srv_identity *identity = &server->identity;
    pthread_rwlock_init(&identity->lock, NULL);
    if (server->config.token_file[0] == '\0')
        return TG_ERR_OK;
    identity->buckets = tg_mem_map(BUCKETS_BYTES);
    if (!identity->buckets)
        return tg_fault_set(fault, TG_ERR_NOMEM, "no memory for the limits of tenants");
    struct srv_principals *table;
    enum tg_error error = read_table(server, &table, fault);
    if (error != TG_ERR_OK)
        return error;
    atomic_store_explicit(&identity->newest, table, memory_order_release);
    for (uint64_t i = 0; i < server->config.threads; i++) {
        server->cores[i].principals = table;
        server->cores[i].principals_seen = table;
    }
    return TG_ERR_OK;
}

/* Returns when no core looks at another table than `table`. */
static void await_cores(struct srv_server *server, const struct srv_principals *table)
{
    for (uint64_t i = 0; i < server->config.threads; i++) {
        struct srv_core *core = &server->cores[i];
        tg_waker_wake(&core->waker);
        /* pairs with the store in srv_admit_begin */
        while (atomic_load_explicit(&core->principals_seen, memory_order_acquire) != table)
            usleep(100);
    }
}

enum tg_error srv_identity_reload(struct srv_server *server, struct tg_fault *fault)
{
    struct srv_identity *identity = &server->identity;
    struct srv_principals *before = atomic_load_explicit(&identity->newest, memory_order_relaxed);
    struct srv_principals *table;
    if (!before)
        return TG_ERR_OK;
    enum tg_error error = read_table(server, &table, fault);
    if (error != TG_ERR_OK)
        return error;
    pthread_rwlock_wrlock(&identity->lock);
    atomic_store_explicit(&identity->newest, table, memory_order_release);
    pthread_rwlock_unlock(&identity->lock);
    await_cores(server, table);
    free(before);
    return TG_ERR_OK;
}

void srv_identity_stop(struct srv_server *server)
{
    free(atomic_load_explicit(&server->identity.newest, memory_order_relaxed));
    tg_mem_unmap(server->identity.buckets, BUCKETS_BYTES);
    pthread_rwlock_destroy(&server->identity.lock);
}

/* --- any thread --- */

bool srv_identity_allows(struct srv_server *server, struct tg_bytes token, enum tg_role role)
{
    struct srv_identity *identity = &server->identity;
    pthread_rwlock_rdlock(&identity->lock);
    const struct srv_principals *table =
        atomic_load_explicit(&identity->newest, memory_order_acquire);
    const struct srv_principal *principal = table ? srv_principals_find(table, token) : NULL;
    bool allows = !table || (principal && principal->roles & (uint32_t)role);
    pthread_rwlock_unlock(&identity->lock);
    return allows;
}
