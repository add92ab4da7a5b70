/* Consumer groups: what each change does, what others see meanwhile, a table against a model. */
#include "engine/groups.h"

#include "base/rng.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SEED 0x67726f7570ull
#define NOW  1800000000000ll

static struct eng_groups *groups_make(void)
{
    struct eng_groups *groups = calloc(1, sizeof(*groups));
    cr_assert_not_null(groups);
    return groups;
}

static enum tg_verdict create(struct eng_groups *groups, const char *name, uint64_t offset,
                              int *place)
{
    return eng_groups_create(groups, name, strlen(name), offset, NOW, place);
}

static enum tg_verdict ack(struct eng_groups *groups, const char *name, uint64_t sequence,
                           uint64_t last_sequence, int *place)
{
    return eng_groups_ack(groups, name, strlen(name), sequence, last_sequence, NOW + 5, place);
}

static enum tg_verdict delete_group(struct eng_groups *groups, const char *name, int *place)
{
    return eng_groups_delete(groups, name, strlen(name), place);
}

static int find(const struct eng_groups *groups, const char *name)
{
    return eng_groups_find(groups, name, strlen(name));
}

/* A group that exists; returns its place. */
static int group_add(struct eng_groups *groups, const char *name, uint64_t offset)
{
    int place;
    cr_assert_eq(create(groups, name, offset, &place), TG_OK);
    eng_groups_settle(groups, place, false, true);
    return place;
}

static uint64_t offset_of(const struct eng_groups *groups, const char *name)
{
    struct tg_group group;
    cr_assert(eng_groups_get(groups, find(groups, name), &group));
    return group.offset;
}

Test(groups, names_are_1_to_64_letters_digits_dots_underscores_and_dashes)
{
    char long_name[TG_GROUP_NAME_BYTES_MAX + 2];
    memset(long_name, 'x', sizeof(long_name));
    cr_assert(eng_group_name_is_valid("a", 1));
    cr_assert(eng_group_name_is_valid("Warehouse_2.eu-west", 19));
    cr_assert(eng_group_name_is_valid(long_name, TG_GROUP_NAME_BYTES_MAX));
    cr_assert_not(eng_group_name_is_valid(long_name, TG_GROUP_NAME_BYTES_MAX + 1));
    cr_assert_not(eng_group_name_is_valid("", 0));
    for (int c = 0; c < 256; c++) {
        char name[3] = {'a', (char)c, 'b'};
        bool good = c != 0 && strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                     "0123456789._-",
                                     c) != NULL;
        cr_assert_eq(eng_group_name_is_valid(name, 3), good, "character %d", c);
    }
}

Test(groups, a_new_one_is_seen_when_it_is_durable_and_not_before)
{
    struct eng_groups *groups = groups_make();
    struct tg_group group;
    int place, other;
    cr_assert_eq(find(groups, "erp"), -1);
    cr_assert_eq(create(groups, "erp", 40, &place), TG_OK);
    cr_assert_geq(place, 0);
    const struct tg_group *next = &groups->groups[place].next;
    cr_assert_eq(next->name_bytes, 3);
    cr_assert_eq(memcmp(next->name, "erp", 3), 0);
    cr_assert_eq(next->offset, 40);
    cr_assert_eq(next->created_at_ms, NOW);
    cr_assert_eq(find(groups, "erp"), -1);
    cr_assert_not(eng_groups_get(groups, place, &group));
    cr_assert_eq(create(groups, "erp", 50, &other), TG_BUSY);
    cr_assert_eq(ack(groups, "erp", 41, 100, &other), TG_BUSY);
    cr_assert_eq(ack(groups, "erp", 1, 100, &other), TG_BUSY, "it may yet be refused");
    cr_assert_eq(delete_group(groups, "erp", &other), TG_BUSY);
    eng_groups_settle(groups, place, false, true);
    cr_assert_eq(find(groups, "erp"), place);
    cr_assert(eng_groups_get(groups, place, &group));
    cr_assert_eq(group.name_bytes, 3);
    cr_assert_eq(memcmp(group.name, "erp", 3), 0);
    cr_assert_eq(group.offset, 40);
    cr_assert_eq(group.created_at_ms, NOW);
    cr_assert_eq(group.acked_at_ms, 0);
    cr_assert_eq(create(groups, "erp", 50, &other), TG_GROUP_EXISTS);
    cr_assert_eq(other, -1);
    free(groups);
}

Test(groups, a_refused_one_has_never_been)
{
    struct eng_groups *groups = groups_make();
    int place;
    cr_assert_eq(create(groups, "erp", 40, &place), TG_OK);
    eng_groups_settle(groups, place, false, false);
    cr_assert_eq(find(groups, "erp"), -1);
    cr_assert_eq(eng_groups_offset_min(groups), UINT64_MAX);
    cr_assert_eq(ack(groups, "erp", 41, 100, &place), TG_UNKNOWN_GROUP);
    group_add(groups, "erp", 50);
    cr_assert_eq(offset_of(groups, "erp"), 50);
    free(groups);
}

Test(groups, a_bad_name_makes_no_group)
{
    struct eng_groups *groups = groups_make();
    int place;
    cr_assert_eq(create(groups, "a group", 0, &place), TG_INVALID_ARGUMENT);
    cr_assert_eq(place, -1);
    group_add(groups, "erp", 0);
    cr_assert_eq(eng_groups_find(groups, "erp\0", 4), -1);
    cr_assert_eq(eng_groups_find(groups, "er", 2), -1);
    cr_assert_eq(find(groups, "erp2"), -1);
    cr_assert_eq(find(groups, ""), -1);
    free(groups);
}

Test(groups, an_ack_moves_the_offset_when_it_is_durable)
{
    struct eng_groups *groups = groups_make();
    struct tg_group group;
    int place = group_add(groups, "erp", 40), acked, other;
    cr_assert_eq(ack(groups, "erp", 70, 70, &acked), TG_OK);
    cr_assert_eq(acked, place);
    cr_assert_eq(groups->groups[place].next.offset, 70);
    cr_assert_eq(offset_of(groups, "erp"), 40, "not yet");
    cr_assert_eq(ack(groups, "erp", 70, 70, &other), TG_BUSY);
    cr_assert_eq(other, -1);
    cr_assert_eq(delete_group(groups, "erp", &other), TG_BUSY);
    eng_groups_settle(groups, acked, false, true);
    cr_assert(eng_groups_get(groups, place, &group));
    cr_assert_eq(group.offset, 70);
    cr_assert_eq(group.acked_at_ms, NOW + 5);
    cr_assert_eq(group.created_at_ms, NOW);
    free(groups);
}

Test(groups, an_offset_never_goes_back_nor_beyond_the_newest_event)
{
    struct eng_groups *groups = groups_make();
    int place = group_add(groups, "erp", 40), acked;
    cr_assert_eq(ack(groups, "erp", 101, 100, &acked), TG_INVALID_ARGUMENT);
    cr_assert_eq(acked, -1);
    for (uint64_t sequence = 0; sequence <= 40; sequence += 20) {
        cr_assert_eq(ack(groups, "erp", sequence, 100, &acked), TG_OK);
        cr_assert_eq(acked, -1, "there is nothing to change");
    }
    cr_assert_eq(ack(groups, "erp", 100, 100, &acked), TG_OK);
    cr_assert_eq(ack(groups, "erp", 30, 100, &place), TG_OK, "whatever is in flight");
    eng_groups_settle(groups, acked, false, false);
    cr_assert_eq(offset_of(groups, "erp"), 40, "refused");
    cr_assert_eq(ack(groups, "erp", 50, 100, &acked), TG_OK);
    eng_groups_settle(groups, acked, false, true);
    cr_assert_eq(offset_of(groups, "erp"), 50);
    cr_assert_eq(ack(groups, "crm", 50, 100, &acked), TG_UNKNOWN_GROUP);
    free(groups);
}

Test(groups, a_deleted_one_is_there_until_that_is_durable)
{
    struct eng_groups *groups = groups_make();
    int place = group_add(groups, "erp", 40), deleted, other;
    cr_assert_eq(delete_group(groups, "crm", &deleted), TG_UNKNOWN_GROUP);
    cr_assert_eq(delete_group(groups, "erp", &deleted), TG_OK);
    cr_assert_eq(deleted, place);
    cr_assert_eq(memcmp(groups->groups[place].next.name, "erp", 3), 0);
    cr_assert_eq(find(groups, "erp"), place);
    cr_assert_eq(create(groups, "erp", 0, &other), TG_BUSY);
    cr_assert_eq(ack(groups, "erp", 50, 100, &other), TG_BUSY);
    eng_groups_settle(groups, deleted, true, false);
    cr_assert_eq(offset_of(groups, "erp"), 40, "the storage refused");
    cr_assert_eq(delete_group(groups, "erp", &deleted), TG_OK);
    eng_groups_settle(groups, deleted, true, true);
    cr_assert_eq(find(groups, "erp"), -1);
    cr_assert_eq(delete_group(groups, "erp", &deleted), TG_UNKNOWN_GROUP);
    free(groups);
}

Test(groups, a_place_that_is_made_anew_has_another_state)
{
    struct eng_groups *groups = groups_make();
    uint32_t last = 0;
    for (int i = 0; i < 5; i++) {
        int place = group_add(groups, "erp", 0);
        cr_assert_eq(place, 0);
        cr_assert_gt(atomic_load(&groups->groups[place].state), last);
        last = atomic_load(&groups->groups[place].state);
        cr_assert_eq(delete_group(groups, "erp", &place), TG_OK);
        eng_groups_settle(groups, place, true, true);
        cr_assert_eq(atomic_load(&groups->groups[place].state), 0);
    }
    free(groups);
}

Test(groups, the_slowest_one_counts_from_its_decision_until_it_is_gone)
{
    struct eng_groups *groups = groups_make();
    int place;
    cr_assert_eq(eng_groups_offset_min(groups), UINT64_MAX);
    group_add(groups, "erp", 40);
    cr_assert_eq(eng_groups_offset_min(groups), 40);
    cr_assert_eq(create(groups, "crm", 0, &place), TG_OK);
    cr_assert_eq(eng_groups_offset_min(groups), 0, "its record may be in the writer's batch");
    eng_groups_settle(groups, place, false, true);
    cr_assert_eq(eng_groups_offset_min(groups), 0);
    cr_assert_eq(ack(groups, "crm", 60, 100, &place), TG_OK);
    cr_assert_eq(eng_groups_offset_min(groups), 0);
    eng_groups_settle(groups, place, false, true);
    cr_assert_eq(eng_groups_offset_min(groups), 40);
    cr_assert_eq(delete_group(groups, "erp", &place), TG_OK);
    cr_assert_eq(eng_groups_offset_min(groups), 40);
    eng_groups_settle(groups, place, true, true);
    cr_assert_eq(eng_groups_offset_min(groups), 60);
    free(groups);
}

Test(groups, there_are_256_of_them)
{
    struct eng_groups *groups = groups_make();
    char name[20];
    int place;
    for (int i = 0; i < TG_GROUPS_MAX; i++) {
        snprintf(name, sizeof(name), "group-%d", i);
        group_add(groups, name, (uint64_t)i);
    }
    cr_assert_eq(create(groups, "one-more", 0, &place), TG_BUSY);
    cr_assert_eq(place, -1);
    for (int i = 0; i < TG_GROUPS_MAX; i++) {
        snprintf(name, sizeof(name), "group-%d", i);
        cr_assert_eq(offset_of(groups, name), (uint64_t)i);
    }
    struct tg_group restored = {.name_bytes = 1, .name = "x"};
    cr_assert_not(eng_groups_restore(groups, &restored));
    cr_assert_eq(delete_group(groups, "group-77", &place), TG_OK);
    cr_assert_eq(create(groups, "one-more", 0, &place), TG_BUSY, "not gone yet");
    eng_groups_settle(groups, 77, true, true);
    cr_assert_eq(group_add(groups, "one-more", 0), 77);
    free(groups);
}

Test(groups, a_restored_one_goes_on_as_it_was)
{
    struct eng_groups *groups = groups_make();
    struct tg_group group, restored = {
                               .name_bytes = 3,
                               .offset = 12,
                               .created_at_ms = NOW - 1000,
                               .acked_at_ms = NOW - 10,
                           };
    int place;
    memset(restored.name, 'z', sizeof(restored.name)); /* what is behind a name does not count */
    memcpy(restored.name, "erp", 3);
    cr_assert(eng_groups_restore(groups, &restored));
    cr_assert(eng_groups_get(groups, find(groups, "erp"), &group));
    cr_assert_eq(group.offset, 12);
    cr_assert_eq(group.created_at_ms, NOW - 1000);
    cr_assert_eq(group.acked_at_ms, NOW - 10);
    cr_assert_eq(eng_groups_offset_min(groups), 12);
    cr_assert_eq(ack(groups, "erp", 13, 100, &place), TG_OK);
    cr_assert_eq(groups->groups[place].next.created_at_ms, NOW - 1000);
    free(groups);
}

/* --- against the model --- */

enum {
    NAMES = 300
};

struct model {
    uint64_t offsets[NAMES];
    bool exists[NAMES];
    int in_flight[NAMES]; /* place + 1 */
    bool removes[NAMES];
    uint64_t next[NAMES];
    int count; /* of places in use */
};

static void settle(struct eng_groups *groups, struct model *model, uint64_t n, bool durable)
{
    eng_groups_settle(groups, model->in_flight[n] - 1, model->removes[n], durable);
    model->in_flight[n] = 0;
    if (durable) {
        model->exists[n] = !model->removes[n];
        model->offsets[n] = model->next[n];
    }
    model->count -= !model->exists[n];
    model->removes[n] = false;
}

static void change(struct eng_groups *groups, struct model *model, uint64_t n, const char *name,
                   struct tg_rng *rng)
{
    int place;
    uint64_t sequence = tg_rng_below(rng, 1000);
    bool exists = model->exists[n], busy = model->in_flight[n] != 0, full;
    enum tg_verdict verdict, expected;
    switch (tg_rng_below(rng, 5)) {
    case 0:
        verdict = delete_group(groups, name, &place);
        expected = busy ? TG_BUSY : exists ? TG_OK : TG_UNKNOWN_GROUP;
        model->removes[n] = model->removes[n] || place >= 0;
        break;
    case 1:
    case 2:
        full = model->count == TG_GROUPS_MAX;
        verdict = create(groups, name, sequence, &place);
        expected = busy ? TG_BUSY : exists ? TG_GROUP_EXISTS : full ? TG_BUSY : TG_OK;
        model->count += place >= 0;
        break;
    default:
        verdict = ack(groups, name, sequence, 990, &place);
        expected = !busy && !exists                          ? TG_UNKNOWN_GROUP
                   : sequence > 990                          ? TG_INVALID_ARGUMENT
                   : exists && sequence <= model->offsets[n] ? TG_OK
                   : busy                                    ? TG_BUSY
                                                             : TG_OK;
        cr_assert_eq(place >= 0, !busy && expected == TG_OK && sequence > model->offsets[n]);
        break;
    }
    cr_assert_eq(verdict, expected, "group %lu", n);
    if (place >= 0) {
        model->in_flight[n] = place + 1;
        model->next[n] = sequence;
    }
}

static void check(const struct eng_groups *groups, const struct model *model, int step)
{
    uint64_t min = UINT64_MAX;
    for (int n = 0; n < NAMES; n++) {
        char name[20];
        snprintf(name, sizeof(name), "group-%d", n);
        cr_assert_eq(find(groups, name) >= 0, model->exists[n], "step %d, group %d", step, n);
        uint64_t offset = model->exists[n] ? model->offsets[n] : model->next[n];
        if (model->exists[n])
            cr_assert_eq(offset_of(groups, name), offset, "step %d, group %d", step, n);
        if ((model->exists[n] || model->in_flight[n]) && offset < min)
            min = offset;
    }
    cr_assert_eq(eng_groups_offset_min(groups), min, "step %d", step);
}

Test(groups, agree_with_a_naive_table_whatever_is_in_flight)
{
    struct eng_groups *groups = groups_make();
    struct model *model = calloc(1, sizeof(*model));
    struct tg_rng rng;
    cr_assert_not_null(model);
    tg_rng_init(&rng, SEED);
    for (int step = 0; step < 30000; step++) {
        uint64_t n = tg_rng_below(&rng, NAMES);
        char name[20];
        snprintf(name, sizeof(name), "group-%lu", n);
        if (model->in_flight[n] && tg_rng_below(&rng, 2))
            settle(groups, model, n, tg_rng_below(&rng, 4) != 0);
        else
            change(groups, model, n, name, &rng);
        if (step % 100 == 0)
            check(groups, model, step);
    }
    check(groups, model, -1);
    free(model);
    free(groups);
}

/* --- other threads --- */

struct reading {
    const struct eng_groups *groups;
    _Atomic bool stop;
    _Atomic bool found_wrong;
};

/* Group "aaa..." has offset 'a' and was made at 'a', and so on: whatever is read must be of one. */
static void *read_on(void *context)
{
    struct reading *reading = context;
    while (!atomic_load(&reading->stop)) {
        struct tg_group group;
        if (!eng_groups_get(reading->groups, 0, &group))
            continue;
        bool is_right = group.name_bytes == TG_GROUP_NAME_BYTES_MAX &&
                        group.offset == (uint64_t)group.name[0] &&
                        group.created_at_ms == group.name[0];
        for (int i = 1; i < TG_GROUP_NAME_BYTES_MAX; i++)
            is_right = is_right && group.name[i] == group.name[0];
        if (!is_right)
            atomic_store(&reading->found_wrong, true);
    }
    return NULL;
}

Test(groups, a_reader_never_sees_two_groups_in_one)
{
    struct eng_groups *groups = groups_make();
    struct reading reading = {.groups = groups};
    pthread_t reader;
    cr_assert_eq(pthread_create(&reader, NULL, read_on, &reading), 0);
    for (int i = 0; i < 100000; i++) {
        char name[TG_GROUP_NAME_BYTES_MAX];
        int place;
        memset(name, 'a' + i % 26, sizeof(name));
        cr_assert_eq(
            eng_groups_create(groups, name, sizeof(name), (uint64_t)name[0], name[0], &place),
            TG_OK);
        eng_groups_settle(groups, place, false, true);
        cr_assert_eq(eng_groups_find(groups, name, sizeof(name)), 0);
        cr_assert_eq(eng_groups_delete(groups, name, sizeof(name), &place), TG_OK);
        eng_groups_settle(groups, place, true, true);
    }
    atomic_store(&reading.stop, true);
    pthread_join(reader, NULL);
    cr_assert_not(atomic_load(&reading.found_wrong));
    free(groups);
}
