/* The shape of an open loop: how many orders a second are due, stage by stage.
 *
 *   rate |          ____ hold
 *        |   ramp  /    \
 *        |  ______/      \________
 *        +--warm-up-------------drain--> time
 *
 * Within a stage the rate goes from one value to another in a straight line, so the orders due by a
 * time are a piece of a parabola, and the time at which an order is due is its root. A closed loop
 * has stages too, for their names and lengths, without rates: then an order is due whenever there
 * is room. Pure: times are handed in, in nanoseconds from the start of load. Read-only once built:
 * any thread.
 */
#ifndef LG_PROFILE_H
#define LG_PROFILE_H

#include <stdbool.h>
#include <stdint.h>

#define LG_STAGES_MAX       32u
#define LG_STAGE_NAME_BYTES 16u
#define LG_STAGE_ENDLESS_NS (1ll << 61) /* a duration; 73 years */

struct lg_stage {
    char name[LG_STAGE_NAME_BYTES]; /* NUL-terminated */
    int64_t begin_ns;
    int64_t duration_ns;       /* 1 .. LG_STAGE_ENDLESS_NS */
    double rate_from, rate_to; /* orders a second, 0 or more; both 0 in a closed loop */
    double orders_before;      /* due before it begins */
    bool measured;             /* its answers are in the figures: neither warm-up nor drain */
};

struct lg_profile {
    bool closed;
    uint32_t stage_count;
    struct lg_stage stages[LG_STAGES_MAX];
};

/* An empty profile, to which stages are added in their order. */
void lg_profile_init(struct lg_profile *profile, bool closed);

/* False when there are LG_STAGES_MAX. `name` is cut to its room; warm-up and drain are the names of
 * stages that are not measured. */
bool lg_profile_add(struct lg_profile *profile, const char *name, int64_t duration_ns,
                    double rate_from, double rate_to);

/* When the last stage ends. */
int64_t lg_profile_duration_ns(const struct lg_profile *profile);

/* From the begin of the first measured stage to the end of the last; both 0 when there is none. */
void lg_profile_measured_ns(const struct lg_profile *profile, int64_t *begin_ns, int64_t *end_ns);

/* The stage at a time: the first before the start, the last behind the end. */
uint32_t lg_profile_stage_at(const struct lg_profile *profile, int64_t at_ns);

/* --- open loop --- */

/* The highest rate of any stage. */
double lg_profile_rate_max(const struct lg_profile *profile);

/* Orders due before `at_ns`, with their fraction. */
double lg_profile_orders_by(const struct lg_profile *profile, int64_t at_ns);

/* When order `order` (from 0) is due: the inverse. LG_STAGE_ENDLESS_NS when no stage has it. */
double lg_profile_due_ns(const struct lg_profile *profile, double order);

#endif
