#include "loadgen/report_series.h"

static void set(json_t *object, const char *name, json_t *value)
{
    json_object_set_new(object, name, value);
}

/* --- latency --- */

static json_t *microseconds(uint64_t ns)
{
    return json_real((double)ns / 1e3);
}

/* Of the largest values of the buckets, so never too low, and at most 1 % too high. */
static double mean_us(const struct tg_histogram *h)
{
    double sum = 0;
    for (uint32_t i = 0; i < TG_HISTOGRAM_BUCKETS; i++)
        sum += (double)h->buckets[i] * (double)tg_histogram_bucket_max(i);
    return h->count ? sum / (double)h->count / 1e3 : 0;
}

json_t *lg_json_latency(const struct tg_histogram *h)
{
    static const struct {
        const char *name; /* NULL: in the list alone */
        double percent;
    } points[] = {{NULL, 10},       {NULL, 25},     {"p50", 50},    {NULL, 75},     {"p90", 90},
                  {NULL, 95},       {"p99", 99},    {NULL, 99.5},   {"p999", 99.9}, {NULL, 99.95},
                  {"p9999", 99.99}, {NULL, 99.995}, {NULL, 99.999}, {NULL, 99.9999}};
    json_t *object = json_object(), *list = json_array();
    for (size_t i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
        uint64_t ns = tg_histogram_percentile(h, points[i].percent / 100);
        json_t *pair = json_array();
        json_array_append_new(pair, json_real(points[i].percent));
        json_array_append_new(pair, microseconds(ns));
        json_array_append_new(list, pair);
        if (points[i].name)
            set(object, points[i].name, microseconds(ns));
    }
    set(object, "max", microseconds(h->max));
    set(object, "mean", json_real(mean_us(h)));
    set(object, "count", json_integer((json_int_t)h->count));
    set(object, "percentiles", list);
    return object;
}

/* --- samples --- */

static json_t *counts(const struct lg_samples *samples, size_t offset)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < samples->count; i++) {
        const void *field = (const char *)&samples->list[i] + offset;
        json_array_append_new(list, json_integer((json_int_t) * (const uint64_t *)field));
    }
    return list;
}

static json_t *times(const struct lg_samples *samples)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < samples->count; i++)
        json_array_append_new(list, json_real((double)samples->list[i].end_ns / 1e9));
    return list;
}

static json_t *percentiles(const struct lg_samples *samples, double fraction)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < samples->count; i++) {
        uint64_t ns = lg_sample_percentile(&samples->list[i], fraction);
        json_array_append_new(list, ns == UINT64_MAX ? json_null() : microseconds(ns));
    }
    return list;
}

static json_t *verdicts(const struct lg_samples *samples)
{
    json_t *object = json_object();
    for (uint32_t v = 0; v < TG_VERDICT_COUNT; v++) {
        bool came = false;
        for (uint32_t i = 0; i < samples->count; i++)
            came = came || samples->list[i].verdicts[v];
        if (came && v != TG_ACCEPTED)
            set(object, tg_verdict_name((int)v),
                counts(samples, offsetof(struct lg_sample, verdicts) + v * sizeof(uint64_t)));
    }
    return object;
}

/* What the daemon did, of which the vitals' samples tell: offered are commits, responses records.
 */
static void set_commits(json_t *object, const struct lg_samples *samples,
                        const struct lg_samples *daemon)
{
    json_t *commits = json_array(), *records = json_array(), *p99 = json_array();
    uint32_t next = 0;
    for (uint32_t i = 0; i < samples->count; i++) {
        int64_t slot = lg_samples_slot(samples, samples->list[i].end_ns);
        uint64_t commit_count = 0, record_count = 0, slowest_us = 0;
        bool heard = false, timed = false;
        for (; next < daemon->count && lg_samples_slot(samples, daemon->list[next].end_ns) <= slot;
             next++) {
            uint64_t us = lg_sample_percentile(&daemon->list[next], 0.99);
            heard = true;
            commit_count += daemon->list[next].offered;
            record_count += daemon->list[next].responses;
            if (us != UINT64_MAX && us >= slowest_us) {
                slowest_us = us;
                timed = true;
            }
        }
        json_array_append_new(commits,
                              heard ? json_integer((json_int_t)commit_count) : json_null());
        json_array_append_new(records,
                              heard ? json_integer((json_int_t)record_count) : json_null());
        json_array_append_new(p99, timed ? json_integer((json_int_t)slowest_us) : json_null());
    }
    set(object, "commits", commits);
    set(object, "commit_records", records);
    set(object, "commit_us_p99", p99);
}

json_t *lg_json_samples(const struct lg_samples *samples, const struct lg_vitals *vitals, bool ok)
{
    static const struct {
        const char *name;
        size_t offset;
    } columns[] = {{"offered", offsetof(struct lg_sample, offered)},
                   {"responses", offsetof(struct lg_sample, responses)},
                   {"accepted", offsetof(struct lg_sample, accepted)},
                   {"backlog", offsetof(struct lg_sample, backlog)},
                   {"in_flight", offsetof(struct lg_sample, in_flight)}};
    static const char *const commit_names[] = {"commits", "commit_records", "commit_us_p99"};
    json_t *object = json_object();
    set(object, "interval_s", json_real((double)samples->interval_ns / 1e9));
    set(object, "t_s", times(samples));
    for (size_t i = 0; i < sizeof(columns) / sizeof(columns[0]); i++)
        set(object, columns[i].name, ok ? counts(samples, columns[i].offset) : json_null());
    set(object, "verdicts", ok ? verdicts(samples) : json_null());
    set(object, "p50_us", ok ? percentiles(samples, 0.5) : json_null());
    set(object, "p99_us", ok ? percentiles(samples, 0.99) : json_null());
    set(object, "max_us", ok ? percentiles(samples, 1) : json_null());
    if (ok && vitals->known)
        set_commits(object, samples, &vitals->samples);
    for (size_t i = 0; i < 3 && !(ok && vitals->known); i++)
        set(object, commit_names[i], json_null());
    return object;
}
