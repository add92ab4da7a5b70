/* Shrinking: steps are left out as long as the same promise breaks.
 *
 * First whole kinds of steps (all sweeps, all jumps of time), then stories (an order or a team with
 * all that clients ask of it) by eighths and so on down to one, then requests (each with all its
 * letters) and single steps likewise; again from the stories on while that helps. After Zeller and
 * Hildebrandt's delta debugging, with groups. */
#include "tests/sim/run.h"

#include <string.h>

enum {
    KINDS = 20, /* of a thousand numbers that a step can draw: finer than the kinds are */
    NO_GROUP = UINT16_MAX,
};

struct shrinking {
    const struct end *first;
    double until_s; /* of processor time */
    uint32_t count;
    uint16_t steps[SIM_STEPS];        /* that are left */
    uint16_t group_of[SIM_STEPS + 2]; /* of each step, in this round */
    uint16_t kinds[SIM_STEPS + 2], about[SIM_STEPS + 2], story[SIM_STEPS + 2];
};

static void select_steps(const struct shrinking *s, uint8_t *steps, uint16_t from, uint16_t to)
{
    memset(steps, 0, SIM_STEP_BYTES);
    for (uint32_t i = 0; i < s->count; i++) {
        uint16_t step = s->steps[i], group = s->group_of[step];
        if (group == NO_GROUP || group < from || group >= to)
            steps[step / 8] = (uint8_t)(steps[step / 8] | 1u << step % 8);
    }
}

static bool is_time_up(const struct shrinking *s)
{
    return sim_run_processor_s() >= s->until_s;
}

/* Leaves out the groups from `from` up to `to`, if the same promise breaks without them. */
static bool leave_out(struct shrinking *s, uint16_t from, uint16_t to)
{
    uint8_t steps[SIM_STEP_BYTES];
    uint32_t kept = 0;
    select_steps(s, steps, from, to);
    for (uint32_t i = 0; i < s->count; i++)
        kept += steps[s->steps[i] / 8] >> s->steps[i] % 8 & 1;
    if (kept == s->count)
        return false;
    struct end end = sim_run_one(s->first->seed, steps, s->first->step, false);
    if (!end.failed || strcmp(end.place, s->first->place) != 0)
        return false;
    kept = 0;
    for (uint32_t i = 0; i < s->count; i++)
        if (s->steps[i] <= end.step && (steps[s->steps[i] / 8] >> s->steps[i] % 8 & 1))
            s->steps[kept++] = s->steps[i];
    s->count = kept;
    return true;
}

/* By eighths and smaller down to single groups: halves hardly ever go. Whether anything could be
 * left out. */
static bool leave_out_groups(struct shrinking *s, uint16_t groups)
{
    bool any = false;
    for (uint16_t size = (uint16_t)(groups / 8 + 1); size > 0; size /= 2)
        for (uint32_t from = 0; from < groups && !is_time_up(s); from += size)
            any = leave_out(s, (uint16_t)from, (uint16_t)(from + size)) || any;
    return any;
}

static bool leave_out_kinds(struct shrinking *s)
{
    bool any = false;
    for (uint32_t i = 0; i < s->count; i++)
        s->group_of[s->steps[i]] = (uint16_t)(s->kinds[s->steps[i]] * KINDS / 1000);
    for (uint16_t kind = 0; kind < KINDS && !is_time_up(s); kind++)
        any = leave_out(s, kind, (uint16_t)(kind + 1)) || any;
    return any;
}

/* `of` names the group of each step by a step, 0: of none. Groups in the order of these. */
static bool leave_out_what(struct shrinking *s, const uint16_t *of)
{
    uint16_t number[SIM_STEPS + 2], groups = 0;
    memset(number, 0, sizeof(number));
    for (uint32_t i = 0; i < s->count; i++)
        number[of[s->steps[i]]] = 1;
    for (uint32_t step = 1; step <= SIM_STEPS; step++)
        number[step] = number[step] ? groups++ : 0;
    for (uint32_t i = 0; i < s->count; i++) {
        uint16_t group = of[s->steps[i]];
        s->group_of[s->steps[i]] = group ? number[group] : NO_GROUP;
    }
    return leave_out_groups(s, groups);
}

static bool leave_out_steps(struct shrinking *s)
{
    for (uint32_t i = 0; i < s->count; i++)
        s->group_of[s->steps[i]] = (uint16_t)i;
    return leave_out_groups(s, (uint16_t)s->count);
}

uint32_t sim_shrink(const struct end *first, const struct world *last, double seconds,
                    uint8_t steps[SIM_STEP_BYTES])
{
    static struct shrinking s;
    s.first = first;
    s.until_s = sim_run_processor_s() + seconds;
    s.count = first->step < SIM_STEPS ? first->step : SIM_STEPS;
    memcpy(s.kinds, last->kinds, sizeof(s.kinds));
    memcpy(s.about, last->about, sizeof(s.about));
    memcpy(s.story, last->story, sizeof(s.story));
    for (uint32_t i = 0; i < s.count; i++)
        s.steps[i] = (uint16_t)(i + 1);
    leave_out_kinds(&s);
    bool again = true;
    while (again && !is_time_up(&s)) {
        again = leave_out_what(&s, s.story);
        again = leave_out_what(&s, s.about) || again;
        again = leave_out_steps(&s) || again;
    }
    memset(s.group_of, 0xff, sizeof(s.group_of));
    select_steps(&s, steps, 0, 0);
    return s.count;
}
