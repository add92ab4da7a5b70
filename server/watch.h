/* What the admin thread knows: figures of sales, of the last seconds, and what is wrong. One
 * thread, which turns it; what others own is only read, where it is published.
 *
 *   turn:  a tick is due -> rates, latencies, lag, alerts
 *          the books are behind -> one step of them, then a rest three times as long
 */
#ifndef TG_SERVER_WATCH_H
#define TG_SERVER_WATCH_H

#include "server/alerts.h"
#include "server/books.h"
#include "server/recent.h"

struct srv_watch {
    struct srv_server *server; /* borrowed */
    bool is_open;
    struct sto_reader *reader;
    struct srv_books books;
    struct srv_recent recent;
    struct srv_alerts alerts;
    uint64_t ticks;
    int64_t tick_ns;  /* the next is due */
    int64_t books_ns; /* the next step of the books is due */
    int64_t now_ms;   /* wall clock of the last tick */
};

/* Once the daemon serves: recovery is over and the threads run. `watch` is zeroed memory. */
enum tg_error srv_watch_open(struct srv_watch *watch, struct srv_server *server,
                             struct tg_fault *fault);
void srv_watch_close(struct srv_watch *watch);

/* Does what is due. Returns how long nothing is, in ns. */
int64_t srv_watch_turn(struct srv_watch *watch);

#endif
