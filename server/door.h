/* Who may ask the admin listener: under which name, and with which token. Admin thread.
 *
 * A token that is not in force is refused late (server/suspects.h), as on the other listeners: the
 * request is suspended in the meantime, and costs its connection.
 *
 *   on_request --- may read ---------------------------------------------------> answer
 *       |                                                                          ^
 *       +--- token not in force ---> SUSPENDED --- due, or the listener ends ------+ 401
 */
#ifndef TG_SERVER_DOOR_H
#define TG_SERVER_DOOR_H

#include "base/error.h"
#include "base/token.h"
#include "proto/codec.h"
#include "server/suspects.h"

#include <microhttpd.h>

/* Answers that wait; beyond them they are given at once. */
#define SRV_DOOR_LATES_MAX 256

struct srv_admin;
struct srv_exchange;

struct srv_door_late {
    struct MHD_Connection *connection;
    int64_t due_ns;
};

struct srv_door {
    bool asks_names; /* the name that a request was sent to is looked at */
    struct srv_suspects suspects;
    struct srv_door_late lates[SRV_DOOR_LATES_MAX];
    uint32_t late_count;
};

/* `door` is zero, `admin` knows its address and has read its files of TLS.
 *
 * On loopback, without tokens and without TLS, nothing but the machine's edge keeps strangers out,
 * and a browser on this machine carries their scripts across: a site may have its own name resolve
 * to 127.0.0.1 and read what it gets (DNS rebinding). So there, requests must be sent to
 * `localhost` or to an address. */
enum tg_error srv_door_init(struct srv_door *door, const struct srv_admin *admin,
                            struct tg_fault *fault);

/* Who reads what is not open to everybody must show a token. */
bool srv_door_asks_tokens(const struct srv_admin *admin);

/* The request was sent to a name that is this listener's; false, and failed, else. */
bool srv_door_knows_name(struct srv_exchange *exchange);

/* The caller may read what is not open to everybody. Else false, and failed, or suspended
 * (exchange->waits): then on_request is called again. */
bool srv_door_lets_in(struct srv_exchange *exchange);

/* No tokens are asked for, or `token` is in force and has the role. While the daemon recovers
 * nobody may: tokens are not read yet. */
bool srv_door_allows(struct srv_admin *admin, struct tg_bytes token, enum tg_role role);
/* The token of the request, empty without one; borrowed from it. */
struct tg_bytes srv_door_token(const struct srv_exchange *exchange);

/* Gives the answers that are due, or all; returns when the next one is, INT64_MAX: none. */
int64_t srv_door_turn(struct srv_door *door, int64_t now_ns, bool all);

#endif
