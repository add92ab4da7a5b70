/* One abuser: a process of its own, nice 19, that holds connections and does the same wrong thing
 * on all of them until it is killed. What it does is a line of the table in kinds.c.
 *
 * The parent starts it, lets the honest clients work, and kills it; what it counted lies in memory
 * that both see. It dies with its parent. Its sockets come from several loopback addresses, so that
 * it does not run out of ports.
 */
#ifndef TG_ABUSE_STORM_H
#define TG_ABUSE_STORM_H

#include "tests/abuse/scene.h"

#include <stdatomic.h>
#include <stddef.h>

#define STORM_CONNS_MAX 20000

enum storm_manner {
    STORM_HOLD,    /* sends its bytes once, and stays */
    STORM_REPEAT,  /* sends its bytes over and over, as fast as the socket takes them */
    STORM_TRICKLE, /* one byte of them every 50 ms */
    STORM_CHURN,   /* connects, sends its bytes once, closes without a word, connects */
};

/* What one connection sends. */
struct storm_bytes {
    uint8_t *bytes;
    size_t size;
    size_t room;
};

struct storm_kind {
    const char *name;
    const char *text;
    const char *defence; /* the limit that it meets, for the report */
    uint32_t conns;
    enum storm_manner manner;
    bool reads; /* what it is answered */
    /* Makes the bytes of connection `conn`; NULL: none. Called for the first `variants` of them,
     * the others send the same again. */
    void (*build)(const struct scene *scene, uint32_t conn, struct storm_bytes *out);
    uint32_t variants;
};

/* Ends with one whose name is NULL. */
extern const struct storm_kind storm_kinds[];

/* What it has done; it counts, the parent reads. */
struct storm_tally {
    _Atomic uint64_t connected; /* connections that were made */
    _Atomic uint64_t ended;     /* by the server */
    _Atomic uint64_t open;      /* now */
    _Atomic uint64_t open_max;
    _Atomic uint64_t sent; /* bytes */
    _Atomic uint64_t received;
};

struct storm {
    pid_t pid;
    struct storm_tally *tally;
    double cpu_seconds; /* of all that were ended */
};

/* `storm` is zeroed before the first. Ends the program with status 3 when it cannot. */
void storm_begin(struct storm *storm, const struct storm_kind *kind, const struct scene *scene);
/* Kills it; the kernel closes its connections, which takes a while. */
void storm_kill(const struct storm *storm);
/* Waits until it is gone. */
void storm_reap(struct storm *storm);
/* Gives the counters back. */
void storm_fini(struct storm *storm);
/* It has not ended by itself. */
bool storm_goes_on(const struct storm *storm);

/* Room for `bytes` more; the program ends without it. */
uint8_t *storm_room(struct storm_bytes *out, size_t bytes);

#endif
