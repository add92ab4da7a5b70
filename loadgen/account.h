/* Holds the server to its answers while stories go on: is the answer one that a right server gives,
 * is it the first answer again when something was asked twice, and what did it acknowledge? What
 * was acknowledged goes into the ledger, for the audit at the end.
 *
 * Pure but for what it writes: answers in, counts and complaints out, no socket, no clock. One
 * thread.
 */
#ifndef LG_ACCOUNT_H
#define LG_ACCOUNT_H

#include "loadgen/ask.h"
#include "loadgen/ledger.h"
#include "loadgen/worker.h"

#define LG_COMPLAINT_BYTES 256

struct lg_account {
    struct lg_ledger *ledger;       /* borrowed */
    const struct lg_ask_sale *sale; /* borrowed */
    struct lg_stats *stats;         /* borrowed: offered, answers, verdicts, busy, wrong, retries */
    uint64_t requests[LG_ASK_KINDS][TG_VERDICT_COUNT]; /* first answers, by kind and verdict */
    char complaint[LG_COMPLAINT_BYTES];                /* the first wrong answer in words, or "" */
    bool storage_was_full; /* an answer said so: what timers do may be late */
    bool no_memory;        /* the ledger is not complete */
};

/* What to do with the ask. */
enum lg_heard {
    LG_HEARD_DONE,
    LG_HEARD_BUSY,  /* ask it again after a moment */
    LG_HEARD_TWICE, /* ask it again, to see this answer again: `first` and `is_again` are set */
};

/* Takes the answer that lg_ask_take has put into the ask. */
enum lg_heard lg_account_hear(struct lg_account *account, struct lg_ask *ask);

#endif
