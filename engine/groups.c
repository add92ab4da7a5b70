#include "engine/groups.h"

#include "base/assert.h"
#include "base/planted.h"

#include <string.h>

/* --- names --- */

bool eng_group_name_is_valid(const void *name, size_t bytes)
{
    const char *text = name;
    if (bytes == 0 || bytes > TG_GROUP_NAME_BYTES_MAX)
        return false;
    for (size_t i = 0; i < bytes; i++) {
        char c = text[i];
        bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!is_letter && !(c >= '0' && c <= '9') && c != '.' && c != '_' && c != '-')
            return false;
    }
    return true;
}

/* --- any thread --- */

/* The group as it is under one state, which is returned; 0: the place is free. */
static uint32_t read_group(const struct eng_group *group, struct tg_group *copy)
{
    for (;;) {
        /* All of these pair with publish; the offset and its time also with eng_groups_settle. */
        uint32_t before = atomic_load_explicit(&group->state, memory_order_acquire);
        if (before == 0)
            return 0;
        uint64_t words[ENG_GROUP_NAME_WORDS];
        for (int i = 0; i < ENG_GROUP_NAME_WORDS; i++)
            words[i] = atomic_load_explicit(&group->name_words[i], memory_order_acquire);
        memcpy(copy->name, words, sizeof(words));
        copy->name_bytes = atomic_load_explicit(&group->name_bytes, memory_order_acquire);
        copy->offset = atomic_load_explicit(&group->offset, memory_order_acquire);
        copy->created_at_ms = atomic_load_explicit(&group->created_at_ms, memory_order_acquire);
        copy->acked_at_ms = atomic_load_explicit(&group->acked_at_ms, memory_order_acquire);
        if (atomic_load_explicit(&group->state, memory_order_relaxed) == before)
            return before;
    }
}

int eng_groups_find(const struct eng_groups *groups, const void *name, size_t bytes)
{
    if (!eng_group_name_is_valid(name, bytes))
        return -1;
    for (int place = 0; place < TG_GROUPS_MAX; place++) {
        struct tg_group group;
        if (read_group(&groups->groups[place], &group) != 0 && group.name_bytes == bytes &&
            memcmp(group.name, name, bytes) == 0)
            return place;
    }
    return -1;
}

bool eng_groups_get(const struct eng_groups *groups, int place, struct tg_group *group)
{
    tg_assert(place >= 0 && place < TG_GROUPS_MAX);
    return read_group(&groups->groups[place], group) != 0;
}

uint64_t eng_groups_offset_min(const struct eng_groups *groups)
{
    uint64_t min = UINT64_MAX;
    for (int place = 0; place < TG_GROUPS_MAX; place++) {
        const struct eng_group *group = &groups->groups[place];
        /* Pairs with hold_back. Should the place get a new group between the two loads, the new
         * one's offset is as good: it is to be counted. */
        if (!atomic_load_explicit(&group->holds_back, memory_order_acquire))
            continue;
        uint64_t offset = atomic_load_explicit(&group->offset, memory_order_acquire);
        if (offset < min)
            min = offset;
    }
    return min;
}

/* --- the catalogue shard --- */

static uint32_t state_of(const struct eng_group *group)
{
    return atomic_load_explicit(&group->state, memory_order_relaxed);
}

static bool is_free(const struct eng_group *group)
{
    return state_of(group) == 0 && !group->in_flight;
}

/* The place of a group that exists or is on its way, or -1. */
static int place_of(const struct eng_groups *groups, const void *name, size_t bytes)
{
    for (int place = 0; place < TG_GROUPS_MAX; place++) {
        const struct eng_group *group = &groups->groups[place];
        if (!is_free(group) && group->next.name_bytes == bytes &&
            memcmp(group->next.name, name, bytes) == 0)
            return place;
    }
    return -1;
}

static int free_place(const struct eng_groups *groups)
{
    for (int place = 0; place < TG_GROUPS_MAX; place++)
        if (is_free(&groups->groups[place]))
            return place;
    return -1;
}

/* From here on the writer drops no event behind the offset of `next`. */
static void hold_back(struct eng_group *group)
{
    /* Both pair with eng_groups_offset_min. */
    atomic_store_explicit(&group->offset, group->next.offset, memory_order_release);
    atomic_store_explicit(&group->holds_back, true, memory_order_release);
}

/* A free place becomes the group that `next` says; it holds back already, perhaps a little more. */
static void publish(struct eng_group *group)
{
    struct tg_group *next = &group->next;
    uint64_t words[ENG_GROUP_NAME_WORDS];
    tg_assert(state_of(group) == 0);
    next->from_now = false;
    memcpy(words, next->name, sizeof(words));
    /* All of these pair with read_group. */
    for (int i = 0; i < ENG_GROUP_NAME_WORDS; i++)
        atomic_store_explicit(&group->name_words[i], words[i], memory_order_release);
    atomic_store_explicit(&group->name_bytes, next->name_bytes, memory_order_release);
    atomic_store_explicit(&group->offset, next->offset, memory_order_release);
    atomic_store_explicit(&group->created_at_ms, next->created_at_ms, memory_order_release);
    atomic_store_explicit(&group->acked_at_ms, next->acked_at_ms, memory_order_release);
    atomic_store_explicit(&group->state, ++group->made, memory_order_release);
}

enum tg_verdict eng_groups_create(struct eng_groups *groups, const void *name, size_t bytes,
                                  uint64_t offset, int64_t now_ms, int *place)
{
    *place = -1;
    if (!eng_group_name_is_valid(name, bytes))
        return TG_INVALID_ARGUMENT;
    int known = place_of(groups, name, bytes);
    if (known >= 0)
        return groups->groups[known].in_flight ? TG_BUSY : TG_GROUP_EXISTS;
    int free = free_place(groups);
    if (free < 0)
        return TG_BUSY;
    struct eng_group *group = &groups->groups[free];
    group->next = (struct tg_group){
        .name_bytes = (uint8_t)bytes,
        .offset = offset,
        .created_at_ms = now_ms,
    };
    memcpy(group->next.name, name, bytes);
    group->in_flight = true;
    hold_back(group);
    *place = free;
    return TG_OK;
}

enum tg_verdict eng_groups_ack(struct eng_groups *groups, const void *name, size_t bytes,
                               uint64_t sequence, uint64_t last_sequence, int64_t now_ms,
                               int *place)
{
    *place = -1;
    int known = place_of(groups, name, bytes);
    if (known < 0)
        return TG_UNKNOWN_GROUP;
    if (sequence > last_sequence)
        return TG_INVALID_ARGUMENT;
    struct eng_group *group = &groups->groups[known];
    uint64_t offset = atomic_load_explicit(&group->offset, memory_order_relaxed);
    if (state_of(group) != 0 && sequence <= offset)
        return TG_OK;
    if (group->in_flight)
        return TG_BUSY;
    group->next.offset = sequence;
    group->next.acked_at_ms = now_ms;
    group->in_flight = true;
    *place = known;
    return TG_OK;
}

enum tg_verdict eng_groups_delete(struct eng_groups *groups, const void *name, size_t bytes,
                                  int *place)
{
    *place = -1;
    int known = place_of(groups, name, bytes);
    if (known < 0)
        return TG_UNKNOWN_GROUP;
    if (groups->groups[known].in_flight)
        return TG_BUSY;
    groups->groups[known].in_flight = true;
    *place = known;
    return TG_OK;
}

/* The place is free again. */
static void vacate(struct eng_group *group)
{
    /* pair with read_group and eng_groups_offset_min */
    atomic_store_explicit(&group->state, 0, memory_order_release);
    atomic_store_explicit(&group->holds_back, false, memory_order_release);
}

void eng_groups_settle(struct eng_groups *groups, int place, bool removed, bool durable)
{
    tg_assert(place >= 0 && place < TG_GROUPS_MAX);
    struct eng_group *group = &groups->groups[place];
    bool exists = state_of(group) != 0;
    tg_assert(group->in_flight && (exists || !removed));
    group->in_flight = false;
    bool is_gone = durable ? removed : !exists;
    if (is_gone) {
        vacate(group);
    } else if (!exists) {
        publish(group);
    } else if (durable || TG_PLANTED(ACK_KEPT_ON_REFUSAL)) {
        tg_assert(group->next.offset > atomic_load_explicit(&group->offset, memory_order_relaxed));
        /* Both pair with read_group, the offset also with eng_groups_offset_min. */
        atomic_store_explicit(&group->acked_at_ms, group->next.acked_at_ms, memory_order_release);
        atomic_store_explicit(&group->offset, group->next.offset, memory_order_release);
    }
}

bool eng_groups_restore(struct eng_groups *groups, const struct tg_group *group)
{
    int place = free_place(groups);
    tg_assert(eng_group_name_is_valid(group->name, group->name_bytes));
    if (place < 0)
        return false;
    groups->groups[place].next = *group;
    if (TG_PLANTED(GROUP_AT_ITS_BEGINNING))
        groups->groups[place].next.offset = 0;
    hold_back(&groups->groups[place]);
    publish(&groups->groups[place]);
    return true;
}
