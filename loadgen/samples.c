#include "loadgen/samples.h"

#include "base/assert.h"
#include "loadgen/profile.h"

#include <stdlib.h>
#include <string.h>

bool lg_samples_init(struct lg_samples *samples, int64_t load_ns)
{
    *samples = (struct lg_samples){
        .interval_ns = load_ns <= LG_SAMPLE_SHORT_MAX || load_ns >= LG_STAGE_ENDLESS_NS
                           ? LG_SAMPLE_SHORT_NS
                           : LG_SAMPLE_LONG_NS,
        .is_endless = load_ns >= LG_STAGE_ENDLESS_NS,
        .before = calloc(1, sizeof(*samples->before)),
        .between = calloc(1, sizeof(*samples->between)),
    };
    return samples->before && samples->between;
}

void lg_samples_fini(struct lg_samples *samples)
{
    for (uint32_t i = 0; i < samples->count; i++)
        free(samples->list[i].latency.at);
    free(samples->list);
    free(samples->before);
    free(samples->between);
    *samples = (struct lg_samples){.interval_ns = samples->interval_ns};
}

int64_t lg_samples_next_ns(const struct lg_samples *samples, int64_t at_ns)
{
    return (at_ns / samples->interval_ns + 1) * samples->interval_ns;
}

/* --- buckets --- */

static bool pack(struct lg_buckets *buckets, const struct tg_histogram *h)
{
    uint32_t filled = 0;
    *buckets = (struct lg_buckets){0};
    for (uint32_t i = 0; i < TG_HISTOGRAM_BUCKETS; i++)
        filled += h->buckets[i] != 0;
    if (filled == 0)
        return true;
    buckets->at = malloc(filled * sizeof(*buckets->at));
    for (uint32_t i = 0; buckets->at && i < TG_HISTOGRAM_BUCKETS; i++)
        if (h->buckets[i])
            buckets->at[buckets->count++] = (struct lg_bucket){i, h->buckets[i]};
    return buckets->at != NULL;
}

static void unpack_more(const struct lg_buckets *buckets, struct tg_histogram *h)
{
    for (uint32_t i = 0; i < buckets->count; i++)
        h->buckets[buckets->at[i].bucket] += buckets->at[i].values;
}

uint64_t lg_sample_percentile(const struct lg_sample *sample, double fraction)
{
    const struct lg_buckets *b = &sample->latency;
    uint64_t count = 0, seen = 0;
    for (uint32_t i = 0; i < b->count; i++)
        count += b->at[i].values;
    if (count == 0)
        return UINT64_MAX;
    double rank = fraction * (double)count;
    for (uint32_t i = 0; i < b->count; i++) {
        seen += b->at[i].values;
        if ((double)seen >= rank && seen > 0)
            return tg_histogram_bucket_max(b->at[i].bucket);
    }
    return tg_histogram_bucket_max(b->at[b->count - 1].bucket);
}

/* --- adding up --- */

/* `into` gets the counts and the latencies of `from`; what holds at one moment is the caller's. */
static bool add_up(struct lg_samples *samples, struct lg_sample *into, const struct lg_sample *from)
{
    struct lg_buckets both;
    tg_histogram_reset(samples->between);
    unpack_more(&into->latency, samples->between);
    unpack_more(&from->latency, samples->between);
    if (!pack(&both, samples->between))
        return false;
    free(into->latency.at);
    into->latency = both;
    into->offered += from->offered;
    into->responses += from->responses;
    into->accepted += from->accepted;
    for (uint32_t i = 0; i < TG_VERDICT_COUNT; i++)
        into->verdicts[i] += from->verdicts[i];
    return true;
}

/* `into` becomes what it and its neighbour behind it are together. */
static void join(struct lg_samples *samples, struct lg_sample *into, struct lg_sample *from)
{
    samples->no_memory = !add_up(samples, into, from) || samples->no_memory;
    into->end_ns = from->end_ns;
    into->backlog = from->backlog;
    into->in_flight = from->in_flight;
    free(from->latency.at);
}

/* Makes one sample of each `times` neighbours. */
static void fold(struct lg_samples *samples, uint32_t times)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < samples->count; i++) {
        if (i % times == 0)
            samples->list[kept++] = samples->list[i];
        else
            join(samples, &samples->list[kept - 1], &samples->list[i]);
    }
    samples->count = kept;
    samples->interval_ns *= times;
}

static struct lg_sample *append(struct lg_samples *samples)
{
    if (samples->count == LG_SAMPLES_MAX)
        fold(samples, 2);
    if (samples->count == samples->room) {
        uint32_t room = samples->room ? samples->room * 2 : 64;
        struct lg_sample *list = realloc(samples->list, room * sizeof(*list));
        if (!list)
            return NULL;
        samples->list = list;
        samples->room = room;
    }
    struct lg_sample *sample = &samples->list[samples->count++];
    memset(sample, 0, sizeof(*sample));
    return sample;
}

void lg_samples_add(struct lg_samples *samples, const struct lg_tally *now, int64_t at_ns)
{
    const struct lg_tally *before = samples->before;
    tg_assert(samples->count == 0 || at_ns >= samples->list[samples->count - 1].end_ns);
    if (samples->is_endless && at_ns > LG_SAMPLE_SHORT_MAX &&
        samples->interval_ns == LG_SAMPLE_SHORT_NS)
        fold(samples, (uint32_t)(LG_SAMPLE_LONG_NS / LG_SAMPLE_SHORT_NS));
    struct lg_sample *sample = samples->no_memory ? NULL : append(samples);
    if (!sample) {
        samples->no_memory = true;
        return;
    }
    tg_histogram_between(samples->between, &before->latency, &now->latency);
    samples->no_memory = !pack(&sample->latency, samples->between);
    sample->end_ns = at_ns;
    sample->offered = now->offered - before->offered;
    sample->responses = now->responses - before->responses;
    sample->accepted = now->accepted - before->accepted;
    sample->backlog = now->backlog;
    sample->in_flight = now->in_flight;
    for (uint32_t i = 0; i < TG_VERDICT_COUNT; i++)
        sample->verdicts[i] = now->verdicts[i] - before->verdicts[i];
    *samples->before = *now;
}

void lg_samples_end(struct lg_samples *samples, const struct lg_tally *now, int64_t at_ns)
{
    lg_samples_add(samples, now, at_ns);
    if (samples->count < 2 || samples->no_memory)
        return;
    struct lg_sample *last = &samples->list[samples->count - 1];
    if (last->end_ns - last[-1].end_ns >= samples->interval_ns / 2)
        return;
    join(samples, &last[-1], last);
    samples->count--;
}

/* --- parts --- */

int64_t lg_samples_slot(const struct lg_samples *samples, int64_t end_ns)
{
    return (end_ns + samples->interval_ns / 2) / samples->interval_ns;
}

/* The sample of this slot, made where it belongs when it is not there; NULL without memory. */
static struct lg_sample *sample_at(struct lg_samples *into, int64_t slot)
{
    uint32_t at = into->count;
    while (at > 0 && lg_samples_slot(into, into->list[at - 1].end_ns) > slot)
        at--;
    if (at > 0 && lg_samples_slot(into, into->list[at - 1].end_ns) == slot)
        return &into->list[at - 1];
    if (!append(into))
        return NULL;
    memmove(&into->list[at + 1], &into->list[at],
            (into->count - 1 - at) * sizeof(struct lg_sample));
    memset(&into->list[at], 0, sizeof(into->list[at]));
    return &into->list[at];
}

void lg_samples_merge(struct lg_samples *into, const struct lg_samples *from)
{
    if (from->interval_ns > into->interval_ns)
        fold(into, (uint32_t)(from->interval_ns / into->interval_ns));
    into->no_memory = into->no_memory || from->no_memory;
    /* A shorter interval has several samples for one of the whole: only the last tells how things
     * stood at its end. */
    for (uint32_t i = 0; i < from->count && !into->no_memory; i++) {
        const struct lg_sample *sample = &from->list[i];
        if (into->count == LG_SAMPLES_MAX)
            fold(into, 2);
        int64_t slot = lg_samples_slot(into, sample->end_ns);
        bool is_last = i + 1 == from->count || lg_samples_slot(into, sample[1].end_ns) != slot;
        struct lg_sample *whole = sample_at(into, slot);
        into->no_memory = !whole || !add_up(into, whole, sample);
        if (into->no_memory)
            break;
        whole->end_ns = sample->end_ns > whole->end_ns ? sample->end_ns : whole->end_ns;
        whole->backlog += is_last ? sample->backlog : 0;
        whole->in_flight += is_last ? sample->in_flight : 0;
    }
}
