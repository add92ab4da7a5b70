#include "server/suspects.h"

#include "base/clock.h"

static int64_t delay_ns(uint32_t failures)
{
    uint32_t delay_ms = SRV_SUSPECT_DELAY_MS_FIRST;
    while (--failures > 0 && delay_ms < SRV_SUSPECT_DELAY_MS_MAX)
        delay_ms *= 2;
    return delay_ms * TG_NS_PER_MS;
}

/* Keys are hashes: any bits of theirs are as good as others, but for the lowest. */
static uint32_t set_of(uint64_t key)
{
    return (uint32_t)(key >> 32) % SRV_SUSPECT_SETS;
}

/* Its place, or the one that it is to take: a free one or that of who was quiet for longest. */
static struct srv_suspect *place_of(struct srv_suspect set[SRV_SUSPECT_WAYS], uint64_t key)
{
    struct srv_suspect *place = &set[0];
    for (int way = 0; way < SRV_SUSPECT_WAYS; way++) {
        if (set[way].key == key)
            return &set[way];
        if (place->key != 0 && (set[way].key == 0 || set[way].failed_ns < place->failed_ns))
            place = &set[way];
    }
    return place;
}

int64_t srv_suspects_failed(struct srv_suspects *suspects, uint64_t key, int64_t now_ns)
{
    struct srv_suspect *suspect = place_of(suspects->sets[set_of(key)], key);
    if (suspect->key != key || now_ns - suspect->failed_ns >= SRV_SUSPECT_FORGET_NS)
        *suspect = (struct srv_suspect){.key = key};
    suspect->failures++;
    suspect->failed_ns = now_ns;
    return now_ns + delay_ns(suspect->failures);
}

int64_t srv_suspects_due(const struct srv_suspects *suspects, uint64_t key, int64_t now_ns)
{
    const struct srv_suspect *set = suspects->sets[set_of(key)];
    for (int way = 0; way < SRV_SUSPECT_WAYS; way++) {
        int64_t due_ns = set[way].failed_ns + delay_ns(set[way].failures);
        if (set[way].key == key && set[way].failures > 0 && due_ns > now_ns)
            return due_ns;
    }
    return now_ns;
}
