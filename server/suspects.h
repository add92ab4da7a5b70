/* Addresses from which refused tokens came, and how long their answers wait.
 *
 * The first refusal is answered after DELAY_MS_FIRST, each that follows after twice the time of the
 * one before, up to DELAY_MS_MAX; an address that was quiet for FORGET_NS begins anew. Nobody can
 * find a token by trying, so this does not protect the tokens: it keeps whoever tries, and whoever
 * has a program with an old token, from costing much and from filling the logs.
 *
 * Each core counts for itself, so a caller that opens connections until it has some on each of N
 * cores has N times as many first tries. A table of SUSPECTS in sets of four; the one that was
 * quiet for longest makes room. The clock is handed in. Owned by a core.
 */
#ifndef TG_SERVER_SUSPECTS_H
#define TG_SERVER_SUSPECTS_H

#include <stdint.h>

#define SRV_SUSPECT_SETS           256
#define SRV_SUSPECT_WAYS           4
#define SRV_SUSPECT_DELAY_MS_FIRST 100
#define SRV_SUSPECT_DELAY_MS_MAX   3200 /* less than clients wait for a connection */
#define SRV_SUSPECT_FORGET_NS      60000000000ll

struct srv_suspect {
    uint64_t key; /* net_peer_key; 0: free */
    int64_t failed_ns;
    uint32_t failures;
};

/* Zero is nobody. */
struct srv_suspects {
    struct srv_suspect sets[SRV_SUSPECT_SETS][SRV_SUSPECT_WAYS];
};

/* A token from this address was refused: when to say so. */
int64_t srv_suspects_failed(struct srv_suspects *suspects, uint64_t key, int64_t now_ns);

/* When the newest refusal of this address is due; `now_ns` when there is none. For what else it
 * asks: an answer that comes before would tell what the late one says. */
int64_t srv_suspects_due(const struct srv_suspects *suspects, uint64_t key, int64_t now_ns);

#endif
