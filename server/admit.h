/* What stands between a frame and the work where tokens are asked for: who sent it, whether it may,
 * and how much its tenant has sent.
 *
 *   frame -> whose is it? -- nobody's ----------------------------> UNAUTHENTICATED
 *                  |         one of a refused token --(wait)-----> UNAUTHENTICATED
 *            has it the role? -- no ------------------------------> PERMISSION_DENIED
 *                  |
 *            has the tenant room? -- no --> BUSY for orders, RATE_LIMITED for all else, with a hint
 *                  |
 *                work
 *
 * Refused tokens are answered late (server/suspects.h). Nobody waits for that but the one who sent
 * it: the answer stands in a list of the core, which is looked at once a turn. Late answers of one
 * connection, and of a core, are bounded; beyond that the connection ends.
 *
 * Owned by the core's thread. Without tokens nothing here is called.
 */
#ifndef TG_SERVER_ADMIT_H
#define TG_SERVER_ADMIT_H

#include "base/token.h"
#include "server/core.h"

#define SRV_LATES_MAX      1024 /* late answers of one core */
#define SRV_CONN_LATES_MAX 16   /* of these, of one connection */

struct srv_admission; /* of one core */

enum tg_error srv_admit_create(struct srv_core *core, struct tg_fault *fault);
void srv_admit_destroy(struct srv_core *core);

/* Once a turn, before frames: takes over the newest principals. */
void srv_admit_begin(struct srv_core *core);
/* Once a turn: gives the late answers that are due; all of them while the core drains. */
void srv_admit_turn(struct srv_core *core, bool draining);

/* A frame came. False: it was refused, and answered. */
bool srv_admit_frame(struct srv_core *core, struct net_conn *conn,
                     const struct tg_envelope *envelope);
/* Behind its handling: gives back what it took of its tenant's rate if it was put back. */
void srv_admit_end(struct srv_core *core, const struct net_conn *conn);

/* The change that is in a ChangeOrder; also without tokens. False: it was refused, and answered. */
bool srv_admit_change(struct srv_core *core, struct net_conn *conn, uint64_t correlation_id,
                      const Tidegate__V1__ChangeOrderRequest *message);

/* Whoever it was that asked may still have what it waits for; also without tokens. */
bool srv_admit_waiter(const struct srv_core *core, uint32_t principal, enum tg_role role);
/* Says that it may not any more. */
void srv_admit_refuse_waiter(struct srv_core *core, struct net_conn *conn, uint64_t correlation_id);

/* Answers Authenticate; also without tokens. False: the request is another. */
bool srv_admit_request(struct srv_core *core, struct net_conn *conn,
                       const struct tg_envelope *envelope);

#endif
