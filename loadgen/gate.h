/* Where the parts of a run wait for each other, so that their load starts at one moment.
 *
 *   part   prefill --- connect --- make the sale ---(sleep)--- load ... --- audit
 *                  met           met             met     start_ns
 *
 * Each part is a thread. A part that cannot go on fails the gate, and then nobody waits for it: all
 * others are told so at once, also those that are still on their way. An interrupt does the same.
 * Once load has started, a part whose run cannot succeed any more stops the others
 * (lg_gate_stop_all).
 *
 * The second meeting fixes the start, so that sales can be made that open at a time counted from
 * it.
 */
#ifndef LG_GATE_H
#define LG_GATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct lg_gate {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    uint32_t parties;
    /* under the mutex */
    uint32_t waiting;
    uint32_t meetings; /* that took place */
    bool failed;
    int64_t start_ns; /* monotonic; fixed by the second meeting */
    /* any thread */
    _Atomic bool stopped;
    /* set before the threads start */
    int64_t lead_ns;         /* from the second meeting to the start */
    int64_t clock_offset_ns; /* the server's clock minus the monotonic one */
};

void lg_gate_init(struct lg_gate *gate, uint32_t parties);
void lg_gate_fini(struct lg_gate *gate);

/* Waits until every party is here. False when one of them failed, or an interrupt came: then there
 * will be no load. */
bool lg_gate_meet(struct lg_gate *gate);

/* There will be no load: lets all waiting parties go. */
void lg_gate_fail(struct lg_gate *gate);

/* When load starts. Behind the second meeting. */
int64_t lg_gate_start_ns(struct lg_gate *gate);

/* Load ends early, for all parts. Any thread. */
static inline void lg_gate_stop_all(struct lg_gate *gate)
{
    atomic_store_explicit(&gate->stopped, true, memory_order_relaxed);
}

static inline bool lg_gate_stopped(const struct lg_gate *gate)
{
    /* pairs with nothing: it is looked at again and again */
    return atomic_load_explicit(&gate->stopped, memory_order_relaxed);
}

/* --- interrupts --- */

/* The first Ctrl-C (or SIGTERM) ends the run in order, the second one the process. */
void lg_interrupt_catch(void);
bool lg_interrupted(void);

#endif
