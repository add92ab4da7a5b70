#include "loadgen/gate.h"

#include "base/assert.h"
#include "base/clock.h"

#include <signal.h>

#define LOOK_NS (50 * TG_NS_PER_MS) /* an interrupt is seen this late */

/* --- interrupts --- */

static volatile sig_atomic_t interrupted;

static void on_interrupt(int signal_number)
{
    (void)signal_number;
    interrupted = 1;
}

void lg_interrupt_catch(void)
{
    struct sigaction action = {.sa_handler = on_interrupt, .sa_flags = (int)SA_RESETHAND};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

bool lg_interrupted(void)
{
    return interrupted;
}

/* --- the gate --- */

void lg_gate_init(struct lg_gate *gate, uint32_t parties)
{
    pthread_condattr_t attributes;
    tg_assert(parties > 0);
    *gate = (struct lg_gate){.parties = parties};
    pthread_mutex_init(&gate->mutex, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&gate->changed, &attributes);
    pthread_condattr_destroy(&attributes);
}

void lg_gate_fini(struct lg_gate *gate)
{
    pthread_cond_destroy(&gate->changed);
    pthread_mutex_destroy(&gate->mutex);
}

/* Under the mutex. */
static void wait_a_little(struct lg_gate *gate)
{
    int64_t until_ns = tg_clock_mono_ns() + LOOK_NS;
    struct timespec until = {.tv_sec = until_ns / TG_NS_PER_S, .tv_nsec = until_ns % TG_NS_PER_S};
    pthread_cond_timedwait(&gate->changed, &gate->mutex, &until);
}

bool lg_gate_meet(struct lg_gate *gate)
{
    pthread_mutex_lock(&gate->mutex);
    uint32_t meeting = gate->meetings;
    if (++gate->waiting == gate->parties && !gate->failed) {
        gate->waiting = 0;
        gate->meetings++;
        if (gate->meetings == 2)
            gate->start_ns = tg_clock_mono_ns() + gate->lead_ns;
        pthread_cond_broadcast(&gate->changed);
    }
    while (gate->meetings == meeting && !gate->failed) {
        wait_a_little(gate);
        if (interrupted && gate->meetings == meeting) {
            gate->failed = true;
            pthread_cond_broadcast(&gate->changed);
        }
    }
    bool met = gate->meetings != meeting && !gate->failed;
    pthread_mutex_unlock(&gate->mutex);
    return met;
}

void lg_gate_fail(struct lg_gate *gate)
{
    pthread_mutex_lock(&gate->mutex);
    gate->failed = true;
    pthread_cond_broadcast(&gate->changed);
    pthread_mutex_unlock(&gate->mutex);
    lg_gate_stop_all(gate);
}

int64_t lg_gate_start_ns(struct lg_gate *gate)
{
    pthread_mutex_lock(&gate->mutex);
    tg_assert(gate->meetings >= 2);
    int64_t start_ns = gate->start_ns;
    pthread_mutex_unlock(&gate->mutex);
    return start_ns;
}
