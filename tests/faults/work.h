/* The workload: one script of requests, one after the other, over two connections, and the ledger
 * of what was answered.
 *
 * Stock is ample and there is one client, so the script has one outcome: every step has the answer
 * that it expects, whatever failed in between and however often it had to be asked again. When a
 * daemon stops in the middle, the next one goes on where the ledger ends. One thread.
 */
#ifndef TG_TESTS_FAULTS_WORK_H
#define TG_TESTS_FAULTS_WORK_H

#include "client/tidegate.h"
#include "tests/faults/host.h"

#define WORK_STEPS_MAX  128
#define WORK_PROBES     6 /* orders that are asked for while a fault lasts */
#define WORK_BATCH      4
#define WORK_TEXT_BYTES 400

/* The first answer to a step. */
struct work_told {
    bool answered;
    bool unsure; /* it was sent at least once without an answer */
    int verdict;
    uint32_t count; /* of orders that it placed */
    uint64_t orders[WORK_BATCH];
    int64_t accepted_at_ms[WORK_BATCH];
};

struct work {
    struct host *host;
    struct tgc_client *clients[2];
    uint32_t next;        /* step */
    uint32_t count;       /* of steps: the script and the probes that were sent */
    uint32_t patience_ms; /* for one step to be answered */
    struct work_told told[WORK_STEPS_MAX];
    char wrong[WORK_TEXT_BYTES]; /* "", or the first promise that was seen broken */
};

enum work_result {
    WORK_DONE,
    WORK_STUCK, /* a step was not served in `patience_ms` */
    WORK_GONE,  /* the daemon has ended */
    WORK_WRONG, /* `wrong` says what */
};

/* A ledger in which nothing has been asked. */
void work_init(struct work *work);
/* Says that something is wrong, unless something was before. Returns WORK_WRONG. */
enum work_result work_wrong(struct work *work, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Opens both connections to `host`; closes them. */
enum work_result work_connect(struct work *work, struct host *host);
void work_disconnect(struct work *work);

/* The step of the script at which a database is full enough to be called existing. */
uint32_t work_half(void);

/* Plays from `next` to `end` (0: to the end). */
enum work_result work_play(struct work *work, uint32_t end);
/* While a fault lasts: sends further orders, each once, and reads; whatever is answered must be
 * right. The orders join the ledger. */
enum work_result work_probe(struct work *work, uint32_t wait_ms);

/* Asks for all that was answered with an order or a change again: the first answer comes back. */
enum work_result work_replay(struct work *work);
/* Brings every order to its end, so that all units return; then each item must be whole. */
enum work_result work_settle(struct work *work);
/* The orders there are must be those of the ledger. */
enum work_result work_count_orders(struct work *work);

#endif
