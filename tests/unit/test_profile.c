/* The shape of an open loop: stages, ramps, and when each order is due. */
#include "base/clock.h"
#include "loadgen/profile.h"

#include <criterion/criterion.h>
#include <math.h>

/* cr_assert reports each pass to the runner, which is too slow for millions of checks. */
#define check(condition)                                                                           \
    do {                                                                                           \
        if (!(condition))                                                                          \
            cr_assert(0, "line %d: %s", __LINE__, #condition);                                     \
    } while (0)

#define S TG_NS_PER_S

static struct lg_profile profile;

/* Two seconds at 100, ten from 100 to 1,100, one without orders, five from 500 down to 0. */
static void make_day(void)
{
    lg_profile_init(&profile, false);
    cr_assert(lg_profile_add(&profile, "warm-up", 2 * S, 100, 100));
    cr_assert(lg_profile_add(&profile, "ramp", 10 * S, 100, 1100));
    cr_assert(lg_profile_add(&profile, "pause", 1 * S, 0, 0));
    cr_assert(lg_profile_add(&profile, "drain", 5 * S, 500, 0));
}

Test(profile, a_stage_has_the_area_under_its_rate, .init = make_day)
{
    cr_assert_eq(lg_profile_orders_by(&profile, -1), 0);
    cr_assert_eq(lg_profile_orders_by(&profile, 1 * S), 100);
    cr_assert_eq(lg_profile_orders_by(&profile, 2 * S), 200);
    cr_assert_float_eq(lg_profile_orders_by(&profile, 7 * S), 200 + 5 * (100 + 600) / 2.0, 1e-6);
    cr_assert_float_eq(lg_profile_orders_by(&profile, 12 * S), 6200, 1e-6);
    cr_assert_float_eq(lg_profile_orders_by(&profile, 13 * S), 6200, 1e-6);
    cr_assert_float_eq(lg_profile_orders_by(&profile, 18 * S), 7450, 1e-6);
    cr_assert_float_eq(lg_profile_orders_by(&profile, 100 * S), 7450, 1e-6);
}

Test(profile, due_times_are_the_inverse_and_never_go_back, .init = make_day)
{
    double before_ns = -1;
    for (int order = 0; order < 7450; order++) {
        double due_ns = lg_profile_due_ns(&profile, order);
        check(due_ns > before_ns);
        check(fabs(lg_profile_orders_by(&profile, (int64_t)due_ns) - order) < 1e-3);
        before_ns = due_ns;
    }
    cr_assert_eq(lg_profile_due_ns(&profile, 7450), (double)LG_STAGE_ENDLESS_NS);
}

Test(profile, an_order_at_the_edge_belongs_to_the_stage_that_has_it, .init = make_day)
{
    cr_assert_eq(lg_profile_due_ns(&profile, 200), 2e9, "the ramp's first");
    cr_assert_eq(lg_profile_due_ns(&profile, 6200), 13e9, "behind the pause");
}

Test(profile, a_ramp_from_nothing_begins)
{
    lg_profile_init(&profile, false);
    lg_profile_add(&profile, "ramp", 10 * S, 0, 1000);
    cr_assert_eq(lg_profile_due_ns(&profile, 0), 0);
    cr_assert_float_eq(lg_profile_due_ns(&profile, 50), 1e9, 1);
    cr_assert_float_eq(lg_profile_due_ns(&profile, 1250), 5e9, 1);
}

Test(profile, warm_up_and_drain_are_not_measured, .init = make_day)
{
    int64_t begin_ns, end_ns;
    lg_profile_measured_ns(&profile, &begin_ns, &end_ns);
    cr_assert_eq(begin_ns, 2 * S);
    cr_assert_eq(end_ns, 13 * S);
    cr_assert_eq(lg_profile_duration_ns(&profile), 18 * S);
    cr_assert_eq(lg_profile_stage_at(&profile, -5), 0);
    cr_assert_eq(lg_profile_stage_at(&profile, 2 * S - 1), 0);
    cr_assert_eq(lg_profile_stage_at(&profile, 2 * S), 1);
    cr_assert_eq(lg_profile_stage_at(&profile, 99 * S), 3);
}

Test(profile, it_has_so_many_stages_and_no_more)
{
    lg_profile_init(&profile, true);
    for (uint32_t i = 0; i < LG_STAGES_MAX; i++)
        cr_assert(lg_profile_add(&profile, "a name that is longer than its room", S, 0, 0));
    cr_assert_not(lg_profile_add(&profile, "one more", S, 0, 0));
    cr_assert_str_eq(profile.stages[0].name, "a name that is ");
}
