/* What the threads of the daemon share: engine, storage, cores, writer. Built and torn down by
 * server/tidegated.c; everything in it has one owner, named beside it. */
#ifndef TG_SERVER_SERVER_H
#define TG_SERVER_SERVER_H

#include "net/census.h"
#include "net/listener.h"
#include "server/audit.h"
#include "server/config.h"
#include "server/core.h"
#include "server/identity.h"
#include "server/writer.h"
#include "tls/context.h"

#include <semaphore.h>

struct srv_admin;

struct srv_server {
    struct srv_config config;
    int64_t started_at_ms; /* wall clock, behind recovery */
    struct net_address address;
    struct srv_admin *admin;         /* NULL: no admin listener (server/admin.h) */
    struct tls_context *tls;         /* of all listeners; NULL: they speak plain. Main reloads it */
    struct net_address grpc_address; /* its host is empty when there is no gRPC listener */
    struct eng_engine engine;
    struct sto_env *storage;
    struct srv_identity identity; /* server/identity.h */
    struct net_census census;     /* of the connections of all cores */
    struct srv_audit *audit;      /* server/audit.h; NULL: none */
    struct srv_core *cores;       /* config.threads of them */
    struct srv_writer writer;
    struct srv_ahead ahead;
    /* [from * threads + to], memory of the rings between cores */
    struct tg_ring *requests;
    struct tg_ring *replies;
    uint64_t recovered_orders; /* so far; main counts them, any may read (base/count.h) */
    uint64_t start_sequence;   /* the newest when the daemon started */
    sem_t threads_ready;       /* posted once by each thread; main waits for all of them */
    /* written by the writer after each commit: the newest durable sequence, the oldest kept */
    _Atomic uint64_t sequence;
    _Atomic uint64_t event_first;
    _Atomic bool draining; /* main sets it: cores take no more, and finish */
    _Atomic bool stopping; /* main sets it when every core has drained: cores return */
};

#endif
