/* What the daemon says of itself: differences, also when it was started anew in between. */
#include "loadgen/vitals.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static struct lg_vitals *vitals;

static void start(void)
{
    vitals = calloc(1, sizeof(*vitals));
    cr_assert(vitals && lg_samples_init(&vitals->samples, 1000000000));
}

static void end(void)
{
    lg_vitals_fini(vitals);
    free(vitals);
}

/* An answer: `commits` so far, of three records and `us` each. */
static void answer(int64_t started_at_ms, uint64_t commits, uint64_t us, int64_t at_ns)
{
    Tidegate__V1__GetStatsResponse stats = TIDEGATE__V1__GET_STATS_RESPONSE__INIT;
    Tidegate__V1__HistogramBucket bucket = TIDEGATE__V1__HISTOGRAM_BUCKET__INIT;
    Tidegate__V1__HistogramBucket batch = TIDEGATE__V1__HISTOGRAM_BUCKET__INIT;
    Tidegate__V1__HistogramBucket *buckets[] = {&bucket}, *batches[] = {&batch};
    bucket.upper = us;
    batch.upper = 3;
    bucket.count = batch.count = commits;
    stats.version = (char *)(uintptr_t) "9.9";
    stats.started_at_ms = started_at_ms;
    stats.server_time_ms = started_at_ms + 1500;
    stats.threads = 2;
    stats.cpu_ns = commits * 10;
    stats.resident_bytes = 4096;
    stats.data_file_bytes = 8192;
    stats.commits = commits;
    stats.commit_records = commits * 3;
    stats.n_commit_us = stats.n_commit_batch = 1;
    stats.commit_us = buckets;
    stats.commit_batch = batches;
    lg_vitals_take(vitals, &stats, at_ns);
}

Test(vitals, the_first_answer_is_what_others_are_compared_with, .init = start, .fini = end)
{
    answer(1000, 500, 80, 0);
    cr_assert(vitals->known);
    cr_assert_eq(vitals->commits, 0);
    cr_assert_eq(vitals->samples.count, 0);
    answer(1000, 507, 80, 250);
    answer(1000, 510, 80, 500);
    cr_assert_eq(vitals->commits, 10);
    cr_assert_eq(vitals->records, 30);
    cr_assert_eq(vitals->cpu_ns, 100);
    cr_assert_eq(vitals->commit_us.count, 10);
    cr_assert_eq(vitals->commit_batch.count, 10);
    cr_assert_eq(vitals->commit_us.max, 80);
    cr_assert_eq(vitals->samples.count, 2);
    cr_assert_eq(vitals->samples.list[0].offered, 7);
    cr_assert_eq(vitals->samples.list[1].responses, 9);
    cr_assert_eq(vitals->restarts, 0);
    cr_assert_str_eq(vitals->version, "9.9");
    cr_assert(vitals->uptime_ms == 1500 && vitals->threads == 2);
    cr_assert(vitals->resident_bytes == 4096 && vitals->data_file_bytes == 8192);
}

Test(vitals, a_daemon_that_began_anew_counts_from_nothing, .init = start, .fini = end)
{
    answer(1000, 500, 80, 0);
    answer(1000, 510, 80, 250);
    answer(2000, 4, 160, 500);
    answer(2000, 6, 160, 750);
    cr_assert_eq(vitals->restarts, 1);
    cr_assert_eq(vitals->commits, 16);
    cr_assert_eq(vitals->commit_us.count, 16);
    cr_assert_eq(vitals->samples.count, 3);
    cr_assert_eq(vitals->samples.list[1].offered, 4);
    cr_assert_eq(lg_sample_percentile(&vitals->samples.list[1], 0.99), 160);
}

Test(vitals, without_a_start_there_is_nothing_to_stop, .init = start, .fini = end)
{
    lg_vitals_stop(vitals);
    cr_assert_not(vitals->known);
}
