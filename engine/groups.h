/* Consumer groups: named places in the outbox (docs/outbox.md).
 *
 * A small table, owned by the catalogue shard (shard 0); what is durable is published, so that any
 * thread may read it (consumers on every core, the writer for retention). One change of a group is
 * in flight at a time; the next is told BUSY. Lives in zeroed memory.
 *
 *   free (state 0) -- create --> in flight -- durable --> state n -- ack, ack ... --+
 *        ^                          | refused                |                      |
 *        +--------------------------+                        +------ delete --------+--> free
 *
 * Always: an offset never goes back and never passes the newest durable event. From the decision to
 * create a group until it is gone for good, eng_groups_offset_min counts it: the writer, who looks
 * behind taking records, drops no event that a group in its batch begins with.
 *
 * Safety: a place is filled again only while its state is 0, and its next state is a new number. A
 * reader loads the state, then the rest, then the state again, and begins anew when it is another:
 * what it has read is then of one group. The loads of the rest are acquire and pair with stores
 * that are release, so neither can pass the state; after Boehm, "Can seqlocks get along with
 * programming language memory models?", MSPC 2012.
 */
#ifndef TG_ENGINE_GROUPS_H
#define TG_ENGINE_GROUPS_H

#include "base/life.h"
#include "proto/verdict.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ENG_GROUP_NAME_WORDS (TG_GROUP_NAME_BYTES_MAX / 8)

_Static_assert(TG_GROUP_NAME_BYTES_MAX % 8 == 0, "a name is whole words");

struct eng_group {
    /* published by the catalogue shard */
    _Atomic uint64_t offset;
    _Atomic uint32_t state;  /* 0: free; else it exists, and grows each time it is made anew */
    _Atomic bool holds_back; /* events behind the offset are kept: it exists or is on its way */
    _Atomic uint8_t name_bytes;
    _Atomic int64_t created_at_ms;
    _Atomic int64_t acked_at_ms; /* 0: never */
    _Atomic uint64_t name_words[ENG_GROUP_NAME_WORDS];
    /* owner only */
    uint32_t made;        /* how often: the newest state that it had */
    bool in_flight;       /* a record is on its way */
    struct tg_group next; /* what that record says; without one, the last one said */
};

struct eng_groups {
    struct eng_group groups[TG_GROUPS_MAX];
};

/* 1 to 64 letters, digits, '.', '_' and '-'. Pure. */
bool eng_group_name_is_valid(const void *name, size_t bytes);

/* --- any thread --- */

/* The group's place in the table, or -1. */
int eng_groups_find(const struct eng_groups *groups, const void *name, size_t bytes);

/* A copy; false when the place is free. */
bool eng_groups_get(const struct eng_groups *groups, int place, struct tg_group *group);

/* The smallest offset of all groups, those on their way included; UINT64_MAX without any. */
uint64_t eng_groups_offset_min(const struct eng_groups *groups);

/* --- the catalogue shard --- */

/* Each: OK with `*place` and a record to write from groups[place].next (and whether it removes it),
 * OK with `*place` -1 when there is nothing to change, or a refusal (`*place` -1). Settle when it
 * completed. UNKNOWN_GROUP; BUSY while another change of the group is in flight. */

/* GROUP_EXISTS; INVALID_ARGUMENT for its name; BUSY when there are TG_GROUPS_MAX. */
enum tg_verdict eng_groups_create(struct eng_groups *groups, const void *name, size_t bytes,
                                  uint64_t offset, int64_t now_ms, int *place);
/* INVALID_ARGUMENT beyond `last_sequence`. Nothing to change up to the group's offset. */
enum tg_verdict eng_groups_ack(struct eng_groups *groups, const void *name, size_t bytes,
                               uint64_t sequence, uint64_t last_sequence, int64_t now_ms,
                               int *place);
enum tg_verdict eng_groups_delete(struct eng_groups *groups, const void *name, size_t bytes,
                                  int *place);

/* The record completed: publishes what is durable. */
void eng_groups_settle(struct eng_groups *groups, int place, bool removed, bool durable);

/* At start, each group once. False when the table is full. */
bool eng_groups_restore(struct eng_groups *groups, const struct tg_group *group);

#endif
