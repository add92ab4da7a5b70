/* Drives the wheel of a core's shard: decides what became of orders, teams and sales whose time has
 * come.
 *
 * A million reservations can end in one second. So timers are taken a few at a time, and only while
 * less than half of the journal and of the blocks for changes is in use: the other half is for
 * requests, and what is left on the wheel goes first in the next turn. */
#include "server/core.h"

#include "base/clock.h"
#include "base/log.h"

#include <inttypes.h>

/* Taken off the wheel together; each of them finds room, were they all teams. */
#define TIMERS_AT_ONCE ((TG_CHANGES_MAX / 2) / TG_UNIT_RECORDS_MAX)
/* In one turn, so that requests wait for no more than these. */
#define TIMERS_A_TURN  256
/* When the wheel knows no better than that something may be due. */
#define WAIT_NS_MIN    TG_NS_PER_MS

_Static_assert(TIMERS_AT_ONCE > 0 && TIMERS_AT_ONCE <= TIMERS_A_TURN, "timers come in pieces");
_Static_assert(TG_CHANGES_MAX <= TG_JOURNAL_RECORDS, "the journal has room for what the blocks do");

static bool has_room(const struct srv_core *core)
{
    return tg_journal_in_flight(&core->journal) < TG_JOURNAL_RECORDS / 2 &&
           core->shard->changes_used < TG_CHANGES_MAX / 2;
}

static void fire(struct srv_core *core, const struct eng_timer *timer)
{
    struct eng_unit unit = {.journal = &core->journal};
    switch (eng_timer_fire(core->shard, timer, core->now_ms, &unit)) {
    case ENG_RECORDED:
        srv_core_append_unit(core, &unit, NULL);
        break;
    case ENG_FINAL:
    case ENG_WAIT:
    case ENG_ACQUIRE:
        break;
    case ENG_LOAD_FAILED:
        tg_log_error("timer %#" PRIx64 " did nothing: what it names cannot be read", timer->id);
        break;
    }
}

/* In one snapshot, which is quicker; without one each reads what is durable by itself. */
static void fire_all(struct srv_core *core, const struct eng_timer *timers, uint32_t count)
{
    struct tg_fault fault;
    bool pinned = sto_reader_pin(core->reader, &fault) == TG_ERR_OK;
    for (uint32_t i = 0; i < count; i++)
        fire(core, &timers[i]);
    if (pinned)
        sto_reader_unpin(core->reader);
}

bool srv_timers_turn(struct srv_core *core)
{
    struct eng_timer timers[TIMERS_AT_ONCE];
    uint32_t fired = 0;
    while (fired < TIMERS_A_TURN && has_room(core)) {
        uint32_t due = eng_wheel_due(core->shard->wheel, core->now_ms, timers, TIMERS_AT_ONCE);
        if (due == 0)
            return false;
        fire_all(core, timers, due);
        fired += due;
    }
    /* Without room the writer's next commit wakes this core. */
    return has_room(core);
}

int64_t srv_timers_wait_ns(const struct srv_core *core, int64_t longest_ns)
{
    int64_t next_ms = eng_wheel_next_ms(core->shard->wheel);
    if (!has_room(core) || next_ms >= core->now_ms + longest_ns / TG_NS_PER_MS)
        return longest_ns;
    int64_t wait_ns = (next_ms - core->now_ms) * TG_NS_PER_MS;
    return wait_ns < WAIT_NS_MIN ? WAIT_NS_MIN : wait_ns;
}
