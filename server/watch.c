#include "server/watch.h"

#include "base/clock.h"
#include "base/log.h"

/* The books may use a quarter of a core while they are behind. */
#define REST_OF_STEP 3

enum tg_error srv_watch_open(struct srv_watch *watch, struct srv_server *server,
                             struct tg_fault *fault)
{
    watch->server = server;
    enum tg_error error = sto_reader_open(server->storage, &watch->reader, fault);
    if (error)
        return error;
    error = srv_books_create(&watch->books, &server->engine.catalog, watch->reader,
                             server->start_sequence, fault);
    if (error) {
        sto_reader_close(watch->reader);
        return error;
    }
    srv_recent_init(&watch->recent, server);
    srv_alerts_init(&watch->alerts, server);
    watch->is_open = true;
    return TG_ERR_OK;
}

void srv_watch_close(struct srv_watch *watch)
{
    if (!watch->is_open)
        return;
    srv_books_destroy(&watch->books);
    sto_reader_close(watch->reader);
    watch->is_open = false;
}

static void tick(struct srv_watch *watch, int64_t now_ns)
{
    watch->now_ms = tg_clock_wall_ns() / TG_NS_PER_MS;
    srv_recent_tick(&watch->recent, now_ns);
    srv_alerts_tick(&watch->alerts, &watch->recent, watch->now_ms);
    watch->ticks++;
    watch->tick_ns = now_ns + SRV_TICK_NS;
}

static void step_books(struct srv_watch *watch, int64_t now_ns)
{
    struct tg_fault fault;
    bool more;
    if (srv_books_step(&watch->books, &more, &fault) != TG_ERR_OK) {
        tg_log_error("the figures of sales stand still: %s", fault.text);
        watch->books_ns = now_ns + 10 * TG_NS_PER_S;
        return;
    }
    int64_t after_ns = tg_clock_mono_ns();
    watch->books_ns =
        more ? after_ns + REST_OF_STEP * (after_ns - now_ns) : now_ns + SRV_TICK_NS / 2;
}

int64_t srv_watch_turn(struct srv_watch *watch)
{
    int64_t now_ns = tg_clock_mono_ns();
    if (now_ns >= watch->books_ns)
        step_books(watch, now_ns);
    if (now_ns >= watch->tick_ns)
        tick(watch, now_ns);
    int64_t next_ns = watch->tick_ns < watch->books_ns ? watch->tick_ns : watch->books_ns;
    now_ns = tg_clock_mono_ns();
    return next_ns > now_ns ? next_ns - now_ns : 0;
}
