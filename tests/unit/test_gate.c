/* The gate: all parts meet, or none waits. */
#include "base/clock.h"
#include "loadgen/gate.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <unistd.h>

#define PARTIES 4

static struct lg_gate gate;

struct party {
    pthread_t thread;
    int meetings; /* that it comes to; then it fails the gate, or is done */
    bool fails;
    int met; /* how many took place */
    int64_t start_ns;
};

static void *party_main(void *argument)
{
    struct party *party = argument;
    for (int i = 0; i < party->meetings && lg_gate_meet(&gate); i++)
        party->met++;
    if (party->fails)
        lg_gate_fail(&gate);
    else if (party->met == 3)
        party->start_ns = lg_gate_start_ns(&gate);
    return NULL;
}

static void play(struct party parties[PARTIES])
{
    lg_gate_init(&gate, PARTIES);
    gate.lead_ns = 12345678;
    for (int i = 0; i < PARTIES; i++)
        cr_assert_eq(pthread_create(&parties[i].thread, NULL, party_main, &parties[i]), 0);
    for (int i = 0; i < PARTIES; i++)
        pthread_join(parties[i].thread, NULL);
    lg_gate_fini(&gate);
}

Test(gate, all_meet_and_know_the_same_start)
{
    struct party parties[PARTIES] = {
        {.meetings = 3}, {.meetings = 3}, {.meetings = 3}, {.meetings = 3}};
    int64_t before_ns = tg_clock_mono_ns();
    play(parties);
    for (int i = 0; i < PARTIES; i++) {
        cr_assert_eq(parties[i].met, 3);
        cr_assert_eq(parties[i].start_ns, parties[0].start_ns);
        cr_assert_geq(parties[i].start_ns, before_ns + gate.lead_ns);
    }
    cr_assert_not(lg_gate_stopped(&gate));
}

/* Without the failing party's word the others would wait for ever: the time-out is the proof. */
Test(gate, a_party_that_fails_keeps_nobody_waiting)
{
    for (int comes = 0; comes < 3; comes++) {
        struct party parties[PARTIES] = {
            {.meetings = 3}, {.meetings = comes, .fails = true}, {.meetings = 3}, {.meetings = 3}};
        play(parties);
        for (int i = 0; i < PARTIES; i++)
            cr_assert_leq(parties[i].met, comes, "party %d", i);
        cr_assert(lg_gate_stopped(&gate), "who has load already stops it");
    }
}

Test(gate, a_failed_gate_lets_nobody_in)
{
    lg_gate_init(&gate, 1);
    cr_assert(lg_gate_meet(&gate));
    lg_gate_fail(&gate);
    cr_assert_not(lg_gate_meet(&gate));
    lg_gate_fini(&gate);
}

Test(gate, an_interrupt_opens_it_for_nothing)
{
    lg_gate_init(&gate, 2);
    lg_interrupt_catch();
    kill(getpid(), SIGINT);
    cr_assert(lg_interrupted());
    cr_assert_not(lg_gate_meet(&gate), "the other never comes");
    lg_gate_fini(&gate);
}
