/* The admin listener: HTTP for people and their tools (docs/admin.md). Metrics, health, JSON, the
 * live page and its stream of snapshots.
 *
 * One thread of its own serves all of it by libmicrohttpd, and keeps the figures (server/watch.h).
 * It reads what other threads publish and LMDB snapshots, and takes nothing from them: a core never
 * waits for it, and no order does.
 *
 *   STARTING --- srv_admin_serve ---> SERVING --- srv_server.draining ---> DRAINING --- stop
 *   health and the page,              everything                          the same, /readyz is 503
 *   all else is 503 RECOVERING
 *
 * Bounds: connections, connections of one address, streams, bytes of a request's head, idle time;
 * each is a named maximum here or a key of the configuration.
 */
#ifndef TG_SERVER_ADMIN_H
#define TG_SERVER_ADMIN_H

#include "base/error.h"
#include "net/listener.h"

#include <stdint.h>

/* Bytes of a request's line and headers, and of the answer's headers. */
#define SRV_ADMIN_HEAD_BYTES 32768
/* A client that neither sends nor takes anything for so long is closed. */
#define SRV_ADMIN_IDLE_S     15

struct srv_server;
struct srv_admin;

/* Listens where the configuration says and starts the thread, so that health can be asked for while
 * the daemon recovers. `server` must live until srv_admin_stop. Signals must be blocked already. */
enum tg_error srv_admin_start(struct srv_server *server, const struct net_address *address,
                              struct srv_admin **result, struct tg_fault *fault);

/* Where it listens: the port is the one that the kernel picked. */
const struct net_address *srv_admin_address(const struct srv_admin *admin);

/* Recovery is over and all threads run. Main thread. */
void srv_admin_serve(struct srv_admin *admin);

/* The files of TLS were read again, and fit: new ones are taken over, and then all connections end,
 * to come again under the new certificate. Main thread. NULL is nothing. */
void srv_admin_reload(struct srv_admin *admin);

/* Ends streams and connections, and the thread. Before the storage is closed. NULL is nothing. */
void srv_admin_stop(struct srv_admin *admin);

#endif
