/* What main.c (runs in child processes) and shrink.c share. */
#ifndef TG_TESTS_SIM_RUN_H
#define TG_TESTS_SIM_RUN_H

#include "tests/sim/sim.h"

enum {
    SIM_STEP_BYTES = SIM_STEPS / 8 + 1,
    SIM_STORY_BYTES = 300,
    SIM_PLACE_BYTES = 120,
};

/* How a run ended. */
struct end {
    bool failed;
    uint64_t seed, hash;
    uint32_t step;
    char what[SIM_STORY_BYTES];
    char place[SIM_PLACE_BYTES]; /* the same for the same broken promise */
};

/* Plays one world in a child; `steps` has a bit for each step that is played, NULL: all. With a
 * `last_step` it ends there, 0: with the world. */
struct end sim_run_one(uint64_t seed, const uint8_t *steps, uint32_t last_step, bool traces);

/* Processor time of all runs so far. */
double sim_run_processor_s(void);

/* Looks for few steps of a world that failed which break the same promise, for so many `seconds` of
 * processor time at most.
 * `last` is the world as its last run, with all steps, left it. Fills `steps` with what is left and
 * returns how many these are. */
uint32_t sim_shrink(const struct end *first, const struct world *last, double seconds,
                    uint8_t steps[SIM_STEP_BYTES]);

#endif
