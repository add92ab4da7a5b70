/* Consumer groups and retention: docs/outbox.md. */
#include "tests/sim/model_inner.h"

static struct m_answer record_group(struct model *m, int number, int64_t offset, int change)
{
    struct draft d = m_draft_begin(m, 0, 0);
    m->groups[number].in_flight = true;
    d.change.kind = M_CHANGE_GROUP;
    d.change.item = number;
    d.change.delta = offset;
    d.change.state = change;
    return m_record(&d, (struct m_answer){.verdict = TG_OK, .order = M_NONE});
}

/* A group that is on its way is known by its name as well. */
static bool is_named(const struct m_group *group)
{
    return group->exists || group->is_coming;
}

struct m_answer m_group_create(struct model *m, int number, bool from_now, uint64_t behind)
{
    struct m_group *group = &m->groups[number];
    if (!from_now && behind > m->sequence)
        return m_final(TG_INVALID_ARGUMENT);
    if (is_named(group))
        return m_final(group->in_flight ? TG_BUSY : TG_GROUP_EXISTS);
    group->is_coming = true;
    if (from_now)
        return record_group(m, number, 0, M_GROUP_MADE_NOW);
    /* From here on nothing is dropped that it would read first; what was dropped before is gone. */
    group->first = m->event_first > behind ? m->event_first : behind + 1;
    return record_group(m, number, (int64_t)behind, M_GROUP_MADE);
}

struct m_answer m_group_ack(struct model *m, int number, uint64_t sequence)
{
    struct m_group *group = &m->groups[number];
    if (!is_named(group))
        return m_final(TG_UNKNOWN_GROUP);
    if (sequence > m->sequence)
        return m_final(TG_INVALID_ARGUMENT);
    if (group->exists && sequence <= group->offset)
        return m_final(TG_OK);
    if (group->in_flight)
        return m_final(TG_BUSY);
    return record_group(m, number, (int64_t)sequence, M_GROUP_ACKED);
}

struct m_answer m_group_delete(struct model *m, int number)
{
    struct m_group *group = &m->groups[number];
    if (!is_named(group))
        return m_final(TG_UNKNOWN_GROUP);
    if (group->in_flight)
        return m_final(TG_BUSY);
    return record_group(m, number, 0, M_GROUP_GONE);
}

void m_commit_group(struct model *m, const struct m_change *change)
{
    struct m_group *group = &m->groups[change->item];
    group->is_durable = change->state != M_GROUP_GONE;
    group->durable_offset = (uint64_t)change->delta;
    /* "Now" is when it is durable. */
    if (change->state == M_GROUP_MADE_NOW) {
        group->durable_offset = m->sequence;
        group->first = m->sequence + 1;
    }
    if (change->state == M_GROUP_ACKED && group->first <= group->durable_offset)
        group->first = group->durable_offset + 1;
}

void m_settle_group(struct model *m, const struct m_change *change)
{
    struct m_group *group = &m->groups[change->item];
    group->in_flight = group->is_coming = false;
    group->exists = group->is_durable;
    group->offset = group->durable_offset;
}

void m_crash_groups(struct model *m)
{
    for (int i = 0; i < M_GROUPS; i++) {
        struct m_group *group = &m->groups[i];
        group->in_flight = group->is_coming = false;
        group->exists = group->is_durable;
        group->offset = group->durable_offset;
    }
}

const char *m_retained(struct model *m, uint64_t event_first)
{
    if (event_first < m->event_first)
        return "the first event that is kept goes back";
    if (event_first > m->sequence && event_first > 1)
        return "the newest event was dropped";
    m->event_first = event_first;
    for (int i = 0; i < M_GROUPS; i++)
        if (m->groups[i].is_durable && m->groups[i].first < event_first)
            return "an event was dropped that a group has not acked";
    return NULL;
}
