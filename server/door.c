#include "server/door.h"

#include "base/clock.h"
#include "server/audit.h"
#include "server/exchange.h"
#include "server/server.h"

#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

/* --- names --- */

bool srv_door_asks_tokens(const struct srv_admin *admin)
{
    return admin->server->config.token_file[0] != '\0';
}

enum tg_error srv_door_init(struct srv_door *door, const struct srv_admin *admin,
                            struct tg_fault *fault)
{
    bool is_loopback;
    enum tg_error error = net_address_is_loopback(&admin->address, &is_loopback, fault);
    door->asks_names =
        !error && is_loopback && !srv_door_asks_tokens(admin) && !srv_https_is_on(&admin->https);
    return error;
}

/* "localhost", "127.0.0.1" or "[::1]", each with a port or without. */
static bool is_own(const char *host)
{
    char text[INET6_ADDRSTRLEN];
    struct in6_addr address;
    bool is_v6 = host[0] == '[';
    const char *begin = host + is_v6;
    size_t bytes = strcspn(begin, is_v6 ? "]" : ":");
    if (bytes >= sizeof(text))
        return false;
    memcpy(text, begin, bytes);
    text[bytes] = '\0';
    return inet_pton(is_v6 ? AF_INET6 : AF_INET, text, &address) == 1 ||
           (!is_v6 && strcasecmp(text, "localhost") == 0);
}

bool srv_door_knows_name(struct srv_exchange *exchange)
{
    if (!exchange->admin->door.asks_names)
        return true;
    const char *host =
        MHD_lookup_connection_value(exchange->connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_HOST);
    if (!host || is_own(host)) /* browsers always send one */
        return true;
    srv_exchange_fail(exchange, MHD_HTTP_MISDIRECTED_REQUEST, "FOREIGN_HOST",
                      "'%.64s' is not this listener's name: ask localhost or its address, or set "
                      "security.token_file to be asked by any name",
                      host);
    return false;
}

/* --- tokens --- */

struct tg_bytes srv_door_token(const struct srv_exchange *exchange)
{
    const char *value = MHD_lookup_connection_value(exchange->connection, MHD_HEADER_KIND,
                                                    MHD_HTTP_HEADER_AUTHORIZATION);
    size_t bytes = value ? strlen(value) : 0, begin = tg_token_bearer(value, bytes);
    if (begin == 0)
        return (struct tg_bytes){0};
    return (struct tg_bytes){.data = (const uint8_t *)value + begin, .size = bytes - begin};
}

bool srv_door_allows(struct srv_admin *admin, struct tg_bytes token, enum tg_role role)
{
    if (!srv_door_asks_tokens(admin))
        return true;
    return admin->watch.is_open && srv_identity_allows(admin->server, token, role);
}

/* Counts a token that is not in force, and has the request wait for its answer; false when that is
 * to be given at once. */
static bool refuse_late(struct srv_exchange *exchange, struct tg_bytes token)
{
    struct srv_admin *admin = exchange->admin;
    struct srv_door *door = &admin->door;
    struct net_peer peer;
    char id[TG_TOKEN_ID_BYTES_MAX + 1] = "";
    net_peer_of(MHD_get_connection_info(exchange->connection, MHD_CONNECTION_INFO_CONNECTION_FD)
                    ->connect_fd,
                &peer);
    tg_token_read((const char *)token.data, token.size, id);
    srv_audit_admin_refused(admin->server, &peer, id);
    int64_t due_ns = srv_suspects_failed(
        &door->suspects, net_peer_key(&peer, admin->server->engine.config.hash_seed),
        tg_clock_mono_ns());
    if (admin->closing || door->late_count == SRV_DOOR_LATES_MAX)
        return false;
    door->lates[door->late_count++] =
        (struct srv_door_late){.connection = exchange->connection, .due_ns = due_ns};
    MHD_suspend_connection(exchange->connection);
    return true;
}

bool srv_door_lets_in(struct srv_exchange *exchange)
{
    struct srv_admin *admin = exchange->admin;
    struct tg_bytes token = srv_door_token(exchange);
    if (srv_door_allows(admin, token, TG_ROLE_READ))
        return true;
    if (srv_door_allows(admin, token, TG_ROLE_SUBMIT) ||
        srv_door_allows(admin, token, TG_ROLE_CONSUME) ||
        srv_door_allows(admin, token, TG_ROLE_OPERATE)) {
        srv_exchange_fail(exchange, MHD_HTTP_FORBIDDEN, "PERMISSION_DENIED",
                          "this token does not have the role read");
        return false;
    }
    exchange->waits = token.size > 0 && !exchange->has_waited && refuse_late(exchange, token);
    srv_exchange_fail(exchange, MHD_HTTP_UNAUTHORIZED, "UNAUTHENTICATED",
                      "show a token that is in force: Authorization: Bearer TOKEN");
    return false;
}

int64_t srv_door_turn(struct srv_door *door, int64_t now_ns, bool all)
{
    int64_t next_ns = INT64_MAX;
    uint32_t left = 0;
    for (uint32_t i = 0; i < door->late_count; i++) {
        struct srv_door_late late = door->lates[i];
        if (all || late.due_ns <= now_ns) {
            MHD_resume_connection(late.connection);
            continue;
        }
        door->lates[left++] = late;
        if (late.due_ns < next_ns)
            next_ns = late.due_ns;
    }
    door->late_count = left;
    return next_ns;
}
