#include "loadgen/series.h"

#include "loadgen/tree.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* How neighbours become one. */
enum fold {
    FOLD_RATE,  /* counts added up, a second */
    FOLD_WORST, /* the largest */
    FOLD_MEAN,  /* by answers */
};

static double value_at(const json_t *list, size_t i)
{
    const json_t *value = json_array_get(list, i);
    return json_is_number(value) ? json_number_value(value) : (double)NAN;
}

/* One point: the samples from `first` to before `end`. */
static double fold_point(const json_t *list, const json_t *weights, size_t first, size_t end,
                         enum fold how, double seconds)
{
    double sum = 0, weight_sum = 0, worst = NAN;
    bool any = false;
    for (size_t i = first; i < end; i++) {
        double value = value_at(list, i), weight = value_at(weights, i);
        if (isnan(value))
            continue;
        any = true;
        weight = isnan(weight) ? 0 : weight;
        sum += how == FOLD_MEAN ? value * weight : value;
        weight_sum += weight;
        worst = isnan(worst) || value > worst ? value : worst;
    }
    if (!any)
        return NAN;
    if (how == FOLD_WORST)
        return worst;
    if (how == FOLD_MEAN)
        return weight_sum > 0 ? sum / weight_sum : worst;
    return seconds > 0 ? sum / seconds : (double)NAN;
}

static bool take(struct lg_series *s, const json_t *samples, const char *name, enum fold how,
                 double **values)
{
    const json_t *list = lg_tree_at(samples, name), *weights = lg_tree_at(samples, "responses");
    *values = calloc(s->count, sizeof(**values));
    for (uint32_t i = 0; *values && i < s->count; i++)
        (*values)[i] = fold_point(list, weights, (size_t)i * s->folded, ((size_t)i + 1) * s->folded,
                                  how, s->end_s[i] - s->begin_s[i]);
    return *values != NULL;
}

static bool take_times(struct lg_series *s, const json_t *times)
{
    size_t samples = json_array_size(times);
    s->begin_s = calloc(s->count, sizeof(*s->begin_s));
    s->end_s = calloc(s->count, sizeof(*s->end_s));
    if (!s->begin_s || !s->end_s)
        return false;
    for (uint32_t i = 0; i < s->count; i++) {
        size_t end = ((size_t)i + 1) * s->folded;
        s->begin_s[i] = i ? s->end_s[i - 1] : 0;
        s->end_s[i] = value_at(times, (end < samples ? end : samples) - 1);
        /* A time that is none, or goes back, would draw nonsense. */
        if (!(s->end_s[i] >= s->begin_s[i]))
            s->end_s[i] = s->begin_s[i];
    }
    return true;
}

/* Records for each commit; nothing where there was none. */
static bool take_batch(struct lg_series *s, const json_t *samples)
{
    if (!take(s, samples, "commits", FOLD_RATE, &s->commits) ||
        !take(s, samples, "commit_records", FOLD_RATE, &s->batch))
        return false;
    for (uint32_t i = 0; i < s->count; i++)
        s->batch[i] = s->commits[i] > 0 ? s->batch[i] / s->commits[i] : (double)NAN;
    return true;
}

/* --- verdicts --- */

static double total_of(const json_t *list)
{
    double total = 0;
    for (size_t i = 0; i < json_array_size(list); i++)
        total += isnan(value_at(list, i)) ? 0 : value_at(list, i);
    return total;
}

static int by_total(const void *a, const void *b)
{
    const struct lg_verdict_series *left = a, *right = b;
    if (left->total != right->total)
        return left->total < right->total ? 1 : -1;
    return strcmp(left->name, right->name);
}

/* The last place is for all that have none. */
static bool add_rest(struct lg_series *s, const double *per_s, double total)
{
    struct lg_verdict_series *rest = &s->verdicts[LG_SERIES_VERDICTS - 1];
    if (s->verdict_count < LG_SERIES_VERDICTS) {
        s->verdict_count = LG_SERIES_VERDICTS;
        *rest = (struct lg_verdict_series){.name = "all others",
                                           .per_s = calloc(s->count, sizeof(double))};
    }
    for (uint32_t i = 0; rest->per_s && i < s->count; i++)
        rest->per_s[i] += isnan(per_s[i]) ? 0 : per_s[i];
    rest->total += total;
    return rest->per_s != NULL;
}

static bool take_verdict(struct lg_series *s, const json_t *verdicts,
                         const struct lg_verdict_series *found)
{
    double *per_s;
    if (!take(s, verdicts, found->name, FOLD_RATE, &per_s))
        return false;
    if (s->verdict_count + 1 < LG_SERIES_VERDICTS) {
        s->verdicts[s->verdict_count++] =
            (struct lg_verdict_series){.name = found->name, .per_s = per_s, .total = found->total};
        return true;
    }
    bool ok = add_rest(s, per_s, found->total);
    free(per_s);
    return ok;
}

static bool take_verdicts(struct lg_series *s, json_t *verdicts)
{
    const char *name;
    json_t *list;
    size_t count = 0;
    bool ok = true;
    struct lg_verdict_series *found = calloc(json_object_size(verdicts) + 1, sizeof(*found));
    if (!found)
        return false;
    json_object_foreach(verdicts, name, list)
    {
        double total = total_of(list);
        /* A name with a dot would be taken for a path. */
        if (strcmp(name, "ACCEPTED") != 0 && total > 0 && !strchr(name, '.'))
            found[count++] = (struct lg_verdict_series){.name = name, .total = total};
    }
    qsort(found, count, sizeof(*found), by_total);
    for (size_t i = 0; ok && i < count; i++)
        ok = take_verdict(s, verdicts, &found[i]);
    free(found);
    return ok;
}

/* --- lifecycle --- */

bool lg_series_init(struct lg_series *s, const json_t *report)
{
    const json_t *samples = lg_tree_at(report, "samples"), *times = lg_tree_at(samples, "t_s");
    size_t count = json_array_size(times);
    *s =
        (struct lg_series){.folded = (uint32_t)((count + LG_SERIES_POINTS - 1) / LG_SERIES_POINTS)};
    if (count == 0)
        return true;
    s->count = (uint32_t)((count + s->folded - 1) / s->folded);
    return take_times(s, times) && take(s, samples, "offered", FOLD_RATE, &s->offered) &&
           take(s, samples, "responses", FOLD_RATE, &s->responses) &&
           take(s, samples, "accepted", FOLD_RATE, &s->accepted) &&
           take(s, samples, "backlog", FOLD_WORST, &s->backlog) &&
           take(s, samples, "in_flight", FOLD_WORST, &s->in_flight) &&
           take(s, samples, "p50_us", FOLD_MEAN, &s->p50_us) &&
           take(s, samples, "p99_us", FOLD_WORST, &s->p99_us) &&
           take(s, samples, "max_us", FOLD_WORST, &s->max_us) && take_batch(s, samples) &&
           take(s, samples, "commit_us_p99", FOLD_WORST, &s->commit_us_p99) &&
           take_verdicts(s, json_object_get(samples, "verdicts"));
}

void lg_series_fini(struct lg_series *s)
{
    double *const all[] = {s->begin_s, s->end_s,     s->offered,      s->responses, s->accepted,
                           s->backlog, s->in_flight, s->p50_us,       s->p99_us,    s->max_us,
                           s->commits, s->batch,     s->commit_us_p99};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        free(all[i]);
    for (uint32_t i = 0; i < s->verdict_count; i++)
        free(s->verdicts[i].per_s);
    *s = (struct lg_series){0};
}

bool lg_series_has(const struct lg_series *s, const double *values)
{
    for (uint32_t i = 0; values && i < s->count; i++)
        if (!isnan(values[i]))
            return true;
    return false;
}
