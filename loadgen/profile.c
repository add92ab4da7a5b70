#include "loadgen/profile.h"

#include "base/assert.h"

#include <math.h>
#include <string.h>

#define NS_PER_S 1e9

void lg_profile_init(struct lg_profile *profile, bool closed)
{
    *profile = (struct lg_profile){.closed = closed};
}

/* Orders due in the first `since_ns` of a stage. */
static double orders_in(const struct lg_stage *stage, double since_ns)
{
    double since_s = since_ns / NS_PER_S, duration_s = (double)stage->duration_ns / NS_PER_S;
    double gain = stage->rate_to - stage->rate_from;
    return since_s * (stage->rate_from + gain * since_s / (2 * duration_s));
}

bool lg_profile_add(struct lg_profile *profile, const char *name, int64_t duration_ns,
                    double rate_from, double rate_to)
{
    tg_assert(duration_ns > 0 && duration_ns <= LG_STAGE_ENDLESS_NS);
    tg_assert(profile->closed ? rate_from == 0 && rate_to == 0 : rate_from >= 0 && rate_to >= 0);
    if (profile->stage_count == LG_STAGES_MAX)
        return false;
    struct lg_stage *stage = &profile->stages[profile->stage_count];
    *stage = (struct lg_stage){
        .begin_ns = lg_profile_duration_ns(profile),
        .duration_ns = duration_ns,
        .rate_from = rate_from,
        .rate_to = rate_to,
        .measured = strcmp(name, "warm-up") != 0 && strcmp(name, "drain") != 0,
    };
    strncpy(stage->name, name, sizeof(stage->name) - 1);
    if (profile->stage_count++ > 0)
        stage->orders_before =
            stage[-1].orders_before + orders_in(&stage[-1], (double)stage[-1].duration_ns);
    return true;
}

int64_t lg_profile_duration_ns(const struct lg_profile *profile)
{
    if (profile->stage_count == 0)
        return 0;
    const struct lg_stage *last = &profile->stages[profile->stage_count - 1];
    return last->begin_ns + last->duration_ns;
}

void lg_profile_measured_ns(const struct lg_profile *profile, int64_t *begin_ns, int64_t *end_ns)
{
    *begin_ns = *end_ns = 0;
    for (uint32_t i = 0; i < profile->stage_count; i++) {
        const struct lg_stage *stage = &profile->stages[i];
        if (!stage->measured)
            continue;
        if (*end_ns == 0)
            *begin_ns = stage->begin_ns;
        *end_ns = stage->begin_ns + stage->duration_ns;
    }
}

uint32_t lg_profile_stage_at(const struct lg_profile *profile, int64_t at_ns)
{
    uint32_t at = 0;
    while (at + 1 < profile->stage_count && profile->stages[at + 1].begin_ns <= at_ns)
        at++;
    return at;
}

double lg_profile_rate_max(const struct lg_profile *profile)
{
    double most = 0;
    for (uint32_t i = 0; i < profile->stage_count; i++)
        most = fmax(most, fmax(profile->stages[i].rate_from, profile->stages[i].rate_to));
    return most;
}

double lg_profile_orders_by(const struct lg_profile *profile, int64_t at_ns)
{
    const struct lg_stage *stage = &profile->stages[lg_profile_stage_at(profile, at_ns)];
    int64_t since_ns = at_ns - stage->begin_ns;
    if (since_ns < 0)
        return 0;
    if (since_ns > stage->duration_ns)
        since_ns = stage->duration_ns;
    return stage->orders_before + orders_in(stage, (double)since_ns);
}

/* How far into the stage its order `order` (from 0, below what it has) is due: the root of
 * orders_in, in the form that loses no digits when the rate hardly changes (Press et al., Numerical
 * Recipes, 5.6). */
static double root_ns(const struct lg_stage *stage, double order)
{
    double from = stage->rate_from;
    if (stage->rate_to == from)
        return order * NS_PER_S / from;
    if (order <= 0)
        return 0;
    double duration_s = (double)stage->duration_ns / NS_PER_S;
    double gain = (stage->rate_to - from) / duration_s;
    double under = from * from + 2 * gain * order;
    return NS_PER_S * 2 * order / (from + sqrt(under > 0 ? under : 0));
}

double lg_profile_due_ns(const struct lg_profile *profile, double order)
{
    uint32_t at = 0;
    while (at + 1 < profile->stage_count && profile->stages[at + 1].orders_before <= order)
        at++;
    const struct lg_stage *stage = &profile->stages[at];
    double in_stage = order - stage->orders_before;
    if (in_stage >= orders_in(stage, (double)stage->duration_ns))
        return (double)LG_STAGE_ENDLESS_NS;
    return (double)stage->begin_ns + root_ns(stage, in_stage);
}
