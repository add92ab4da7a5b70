#include "loadgen/teller.h"

#include "base/assert.h"
#include "base/clock.h"
#include "loadgen/target.h"

#include <stdlib.h>

#define RECONNECT_WAIT_NS (20 * TG_NS_PER_MS)
#define RECONNECT_TRY_MS  200
#define BUSY_WAIT_NS      (2 * TG_NS_PER_MS)

/* What the client library hands back with an answer. */
struct ref {
    struct lg_teller *teller;
    uint32_t slot;
    uint32_t ask;
};

enum slot_state {
    SLOT_FREE,
    SLOT_ASKING,
    SLOT_WAITING,
};

struct lg_slot {
    uint8_t state; /* enum slot_state */
    int64_t wake_ns;
    struct ref refs[LG_STORY_ASKS_MAX];
    struct lg_story story;
};

struct lg_link {
    struct tgc_client *client;
    int64_t retry_at_ns;
    int64_t down_since_ns; /* 0: up */
    struct tg_fault fault; /* why it could not be had again */
};

/* --- answers --- */

static void record_latency(struct lg_teller *teller, const struct lg_ask *ask, int64_t now_ns)
{
    struct lg_told *told = teller->told;
    uint64_t took_ns = (uint64_t)(now_ns - ask->begun_ns);
    if (!teller->measures) {
        tg_histogram_record(&told->latency_aside, took_ns, 1);
        return;
    }
    tg_histogram_record(&told->latency, took_ns, 1);
    tg_histogram_record(&told->by_request[ask->kind], took_ns, 1);
    if (ask->said.verdict == TG_ACCEPTED)
        tg_histogram_record(&told->latency_accepted, took_ns, 1);
}

static void on_answer(void *context, const Tidegate__V1__Response *response)
{
    const struct ref *ref = context;
    struct lg_teller *teller = ref->teller;
    struct lg_ask *ask = &teller->slots[ref->slot].story.asks[ref->ask];
    int64_t now_ns = tg_clock_mono_ns();
    bool was_again = ask->is_again;
    teller->moved = true;
    tg_assert(ask->state == LG_ASK_IN_FLIGHT);
    lg_ask_take(ask, response);
    switch (lg_account_hear(teller->account, ask)) {
    case LG_HEARD_BUSY:
        ask->state = LG_ASK_READY;
        ask->not_before_ns = now_ns + BUSY_WAIT_NS;
        return;
    case LG_HEARD_TWICE:
        ask->state = LG_ASK_READY;
        break;
    case LG_HEARD_DONE:
        ask->state = LG_ASK_ANSWERED;
        teller->open_requests--;
        break;
    }
    teller->final_ns = now_ns;
    if (!was_again)
        record_latency(teller, ask, now_ns);
}

/* --- connections --- */

static void send_again(struct lg_teller *teller, struct lg_story *story, uint32_t link)
{
    for (uint32_t a = 0; a < story->ask_count; a++) {
        struct lg_ask *ask = &story->asks[a];
        if (ask->state != LG_ASK_IN_FLIGHT || ask->conn != link)
            continue;
        ask->state = LG_ASK_READY;
        ask->resent = true;
        teller->account->stats->resent++;
    }
}

static void link_lost(struct lg_teller *teller, uint32_t number, int64_t now_ns)
{
    struct lg_link *link = &teller->links[number];
    link->down_since_ns = now_ns;
    link->retry_at_ns = now_ns;
    for (uint32_t i = 0; i < teller->slot_count; i++)
        if (teller->slots[i].state == SLOT_ASKING)
            send_again(teller, &teller->slots[i].story, number);
}

static void reconnect(struct lg_teller *teller, struct lg_link *link, int64_t now_ns)
{
    if (tgc_reconnect(link->client, RECONNECT_TRY_MS, &link->fault) == TG_ERR_OK) {
        link->down_since_ns = 0;
        teller->account->stats->reconnects++;
        return;
    }
    link->retry_at_ns = tg_clock_mono_ns() + RECONNECT_WAIT_NS;
    if (now_ns - link->down_since_ns > teller->options->reconnect_ns)
        tg_fault_set(&teller->fault, TG_ERR_TIMEOUT,
                     "a connection was away for more than %.3g s (--reconnect): %.300s",
                     (double)teller->options->reconnect_ns / 1e9, link->fault.text);
}

static void link_turn(struct lg_teller *teller, uint32_t number, int64_t now_ns)
{
    struct lg_link *link = &teller->links[number];
    struct tg_fault fault;
    if (link->down_since_ns != 0) {
        if (now_ns >= link->retry_at_ns)
            reconnect(teller, link, now_ns);
        return;
    }
    enum tg_error error = tgc_poll(link->client, 0, &fault);
    if (error == TG_ERR_PROTOCOL)
        teller->fault = fault;
    if (error && error != TG_ERR_TIMEOUT)
        link_lost(teller, number, now_ns);
}

/* --- stories --- */

static void send_ask(struct lg_teller *teller, uint32_t slot_number, uint32_t a, int64_t now_ns)
{
    struct lg_slot *slot = &teller->slots[slot_number];
    struct lg_ask *ask = &slot->story.asks[a];
    uint32_t number = (slot_number + a) % teller->link_count;
    struct lg_link *link = &teller->links[number];
    struct tg_fault fault;
    if (ask->state != LG_ASK_READY || now_ns < ask->not_before_ns || link->down_since_ns != 0)
        return;
    enum tg_error error =
        lg_ask_send(ask, teller->sale, link->client, on_answer, &slot->refs[a], &fault);
    if (error == TG_ERR_INVALID || error == TG_ERR_NOMEM)
        teller->fault = fault;
    if (error) /* no room in the window, or a connection that is just found to be lost */
        return;
    ask->state = LG_ASK_IN_FLIGHT;
    ask->conn = number;
    teller->moved = true;
}

static void begin_asking(struct lg_teller *teller, struct lg_slot *slot, int64_t now_ns)
{
    slot->state = SLOT_ASKING;
    for (uint32_t a = 0; a < slot->story.ask_count; a++)
        slot->story.asks[a].begun_ns = now_ns;
    if (teller->open_requests == 0)
        teller->final_ns = now_ns;
    teller->open_requests += slot->story.ask_count;
}

static void begin_round(struct lg_teller *teller, struct lg_slot *slot, int64_t now_ns)
{
    struct lg_story *story = &slot->story;
    story->now_ms = tg_clock_wall_ns() / TG_NS_PER_MS + teller->clock_offset_ms;
    teller->moved = true;
    switch (lg_story_step(story, teller->sale)) {
    case LG_NEXT_ASK:
        begin_asking(teller, slot, now_ns);
        return;
    case LG_NEXT_WAIT:
        slot->state = SLOT_WAITING;
        slot->wake_ns = now_ns + story->wait_ms * TG_NS_PER_MS;
        return;
    case LG_NEXT_END:
        slot->state = SLOT_FREE;
        teller->slots_used--;
        teller->told->ended++;
        return;
    }
}

static bool round_is_over(const struct lg_story *story)
{
    for (uint32_t a = 0; a < story->ask_count; a++)
        if (story->asks[a].state != LG_ASK_ANSWERED)
            return false;
    return true;
}

static void step_on(struct lg_teller *teller, struct lg_slot *slot, int64_t now_ns)
{
    struct lg_story *story = &slot->story;
    for (uint32_t a = 0; slot->state == SLOT_ASKING && a < story->ask_count; a++)
        story->said[a] = story->asks[a].said;
    story->step++;
    begin_round(teller, slot, now_ns);
}

static void slot_turn(struct lg_teller *teller, uint32_t number, int64_t now_ns)
{
    struct lg_slot *slot = &teller->slots[number];
    if ((slot->state == SLOT_WAITING && now_ns >= slot->wake_ns) ||
        (slot->state == SLOT_ASKING && round_is_over(&slot->story)))
        step_on(teller, slot, now_ns);
    for (uint32_t a = 0; slot->state == SLOT_ASKING && a < slot->story.ask_count; a++)
        send_ask(teller, number, a, now_ns);
}

/* --- beginning --- */

/* Stories that should have begun by now, of all that there are. */
static uint64_t due(const struct lg_teller *teller, int64_t now_ns)
{
    uint64_t by_rate = lg_schedule_frames_due(&teller->schedule, now_ns);
    return by_rate < teller->options->attempts ? by_rate : teller->options->attempts;
}

static struct lg_slot *free_slot(struct lg_teller *teller)
{
    while (teller->slots[teller->slot_next % teller->slot_count].state != SLOT_FREE)
        teller->slot_next++;
    return &teller->slots[teller->slot_next++ % teller->slot_count];
}

static void begin_stories(struct lg_teller *teller, int64_t now_ns)
{
    struct lg_told *told = teller->told;
    uint64_t most = due(teller, now_ns);
    for (; teller->slots_used < teller->slot_count && told->begun < most; told->begun++) {
        struct lg_slot *slot = free_slot(teller);
        teller->slots_used++;
        if (!teller->options->profile.closed) {
            int64_t late_ns = now_ns - lg_schedule_due_ns(&teller->schedule, told->begun);
            if (teller->measures)
                tg_histogram_record(&told->slip, late_ns > 0 ? (uint64_t)late_ns : 0, 1);
        }
        lg_story_begin(&slot->story, teller->kind, teller->options->seed, teller->nonce,
                       told->begun, teller->options->users);
        told->paths[slot->story.path]++;
        begin_round(teller, slot, now_ns);
    }
    if (!teller->options->profile.closed) {
        told->backlog_end = most - told->begun;
        if (told->backlog_end > told->backlog_max)
            told->backlog_max = told->backlog_end;
    }
}

/* --- turns --- */

/* Why there are no answers, as far as the connections know. */
static const char *silence(const struct lg_teller *teller)
{
    for (uint32_t i = 0; i < teller->link_count; i++)
        if (teller->links[i].down_since_ns != 0)
            return teller->links[i].fault.text;
    return "is it stalled, or BUSY for ever?";
}

/* A server that is away, or that holds its connections and answers nothing, or nothing but BUSY. */
static void check_patience(struct lg_teller *teller, int64_t now_ns)
{
    const struct lg_options *o = teller->options;
    if (teller->open_requests > 0 && now_ns - teller->final_ns > o->reconnect_ns &&
        !teller->fault.error)
        tg_fault_set(&teller->fault, TG_ERR_TIMEOUT,
                     "%s gave no final answer for %.3g s (--reconnect), %u requests wait: %.300s",
                     o->server, (double)o->reconnect_ns / 1e9, teller->open_requests,
                     silence(teller));
}

void lg_teller_turn(struct lg_teller *teller, int64_t now_ns, bool stopping)
{
    teller->moved = false;
    if (!stopping)
        begin_stories(teller, now_ns);
    for (uint32_t i = 0; i < teller->slot_count; i++)
        slot_turn(teller, i, now_ns);
    for (uint32_t i = 0; i < teller->link_count; i++)
        link_turn(teller, i, now_ns);
    check_patience(teller, now_ns);
    if (teller->account->no_memory)
        tg_fault_set(&teller->fault, TG_ERR_NOMEM, "no memory to remember the orders");
}

uint64_t lg_teller_unanswered(const struct lg_teller *teller)
{
    uint64_t count = 0;
    for (uint32_t i = 0; i < teller->slot_count; i++) {
        const struct lg_slot *slot = &teller->slots[i];
        for (uint32_t a = 0; slot->state == SLOT_ASKING && a < slot->story.ask_count; a++) {
            const struct lg_ask *ask = &slot->story.asks[a];
            count += ask->state == LG_ASK_IN_FLIGHT || (ask->state == LG_ASK_READY && ask->resent);
        }
    }
    return count;
}

/* --- life --- */

static enum tg_error open_links(struct lg_teller *teller, struct tg_fault *fault)
{
    const struct lg_options *o = teller->options;
    struct tgc_options options = lg_target_options(o->server);
    options.window = o->pipeline * LG_STORY_ASKS_MAX;
    enum tg_error error = TG_ERR_OK;
    for (uint32_t i = 0; !error && i < teller->link_count; i++)
        error = tgc_open(&options, &teller->links[i].client, fault);
    return error;
}

enum tg_error lg_teller_init(struct lg_teller *teller, struct tg_fault *fault)
{
    const struct lg_options *o = teller->options;
    teller->link_count = o->connections;
    teller->slot_count = o->connections * o->pipeline;
    tg_assert(teller->slot_count <= LG_STORIES_MAX);
    teller->links = calloc(teller->link_count, sizeof(*teller->links));
    teller->slots = calloc(teller->slot_count, sizeof(*teller->slots));
    if (!teller->links || !teller->slots)
        return tg_fault_set(fault, TG_ERR_NOMEM, "no memory for %u stories", teller->slot_count);
    for (uint32_t i = 0; i < teller->slot_count; i++)
        for (uint32_t a = 0; a < LG_STORY_ASKS_MAX; a++)
            teller->slots[i].refs[a] = (struct ref){.teller = teller, .slot = i, .ask = a};
    return open_links(teller, fault);
}

void lg_teller_fini(struct lg_teller *teller)
{
    for (uint32_t i = 0; teller->links && i < teller->link_count; i++)
        tgc_close(teller->links[i].client);
    free(teller->links);
    free(teller->slots);
    teller->links = NULL;
    teller->slots = NULL;
}
