/* Whole command sequences against the engine: the walk of tests/unit/test_life_fuzz.c, included
 * whole, with every choice of its generator taken from the input, so that coverage guides it. The
 * invariants are those of tests/lib/ledger.h, after each commit and whenever all is at rest.
 *
 * input: choices, a byte each (two for one of more than 256); 0xff between two steps: come to rest
 */
#include "base/rng.h"
#include "tests/fuzz/fuzz.h"

static struct fuzz_bytes choices;

static uint64_t choose(uint64_t bound)
{
    return fuzz_below(&choices, bound);
}

#define tg_rng_below(rng, bound) ((void)(rng), choose(bound))
#include "tests/unit/test_life_fuzz.c"

#define COME_TO_REST 0xff

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > FUZZ_BYTES_MAX)
        return 0;
    choices = (struct fuzz_bytes){data, size};
    struct world *world = calloc(1, sizeof(*world));
    FUZZ_MUST(world != NULL);
    world->ledger = ledger_create(2);
    add_sales(world);
    while (choices.left > 0) {
        if (*choices.at == COME_TO_REST) {
            fuzz_u8(&choices);
            come_to_rest(world);
        } else {
            do_step(world);
        }
    }
    come_to_rest(world);
    check_timers(world);
    ledger_destroy(world->ledger);
    free(world);
    return 0;
}
