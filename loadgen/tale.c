#include "loadgen/tale.h"

#include "base/clock.h"
#include "loadgen/control.h"
#include "loadgen/feed.h"
#include "loadgen/story.h"
#include "loadgen/world.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define IDLE_US           200
#define RECONNECT_WAIT_NS (20 * TG_NS_PER_MS)
#define RECONNECT_TRY_MS  200
#define BUSY_WAIT_NS      (2 * TG_NS_PER_MS)
#define LOOK_EVERY_NS     (50 * TG_NS_PER_MS)
#define REST_NS_MAX       (120 * TG_NS_PER_S)
#define REST_WAIT_US      100000
/* One in so many answered asks is asked again. */
#define AGAIN_ONE_IN      16

struct tale;

/* What the client library hands back with an answer. */
struct ref {
    struct tale *tale;
    uint32_t slot;
    uint32_t ask;
};

enum slot_state {
    SLOT_FREE,
    SLOT_ASKING,
    SLOT_WAITING,
};

struct slot {
    uint8_t state; /* enum slot_state */
    int64_t wake_ns;
    struct ref refs[LG_STORY_ASKS_MAX];
    struct lg_said first[LG_STORY_ASKS_MAX]; /* of an ask that is asked again */
    struct lg_story story;
};

struct link {
    struct tgc_client *client;
    int64_t retry_at_ns;
    int64_t down_since_ns; /* 0: up */
};

struct tale {
    const struct lg_options *options;
    struct lg_result *result;
    const struct lg_story_kind *kind;
    struct lg_ask_sale sale;
    struct lg_item *items;
    char (*skus)[TG_SKU_BYTES_MAX + 1];
    int64_t *prices, *captain_prices;
    uint64_t nonce;
    struct link *links;
    uint32_t link_count;
    struct slot *slots;
    uint32_t slot_count, slots_used;
    uint64_t begun; /* stories */
    int64_t start_ns, end_ns, look_ns, last_answer_ns;
    bool stopping; /* no new stories */
    bool moved;    /* something happened in this turn */
    struct lg_ledger ledger;
    struct lg_feed feed;
    struct tgc_client *watcher; /* looks at the books */
    struct lg_world_findings world;
};

static volatile sig_atomic_t interrupted;

static void on_interrupt(int number)
{
    (void)number;
    interrupted = 1;
}

/* --- answers --- */

static void complain(struct tale *tale, uint64_t *count, const char *what, const struct lg_ask *ask)
{
    struct lg_result *r = tale->result;
    (*count)++;
    if (!r->complaint[0])
        snprintf(r->complaint, sizeof(r->complaint),
                 "%s: request kind %u for order %" PRIu64 " was answered %s%s", what, ask->kind,
                 ask->order_id, tg_verdict_name(ask->said.verdict),
                 ask->said.replayed ? " (replayed)" : "");
}

static void no_memory(struct tale *tale)
{
    tg_fault_set(&tale->result->fault, TG_ERR_NOMEM, "no memory to remember the orders");
    tale->stopping = true;
}

static void note(struct tale *tale, uint64_t order_id, uint32_t deeds, const struct lg_ask *ask)
{
    struct lg_entry_of_order *entry = lg_ledger_entry(&tale->ledger, order_id);
    if (!entry) {
        no_memory(tale);
        return;
    }
    entry->deeds |= deeds;
    if (deeds & LG_DEED_PLACED) {
        entry->user_id = ask->user_id;
        entry->amount_minor = (uint64_t)ask->amount_minor;
    }
    if (deeds & LG_DEED_REFUND)
        entry->refund_number = ask->refund_number;
}

static void note_ingested(struct tale *tale, const struct lg_ask *ask)
{
    struct lg_stats *stats = &tale->result->total;
    for (uint32_t i = 0; i < ask->ingest_count; i++) {
        const struct lg_said *said = &ask->ingested[i];
        struct lg_ingest_order facts;
        lg_ask_ingest_order(ask, i, tale->sale.item_count, &facts);
        uint8_t verdict =
            said->verdict < TG_VERDICT_COUNT ? (uint8_t)said->verdict : TG_UNSPECIFIED;
        if (facts.twice && said->verdict == TG_ACCEPTED &&
            said->order_id != ask->ingested[i - 1].order_id)
            complain(tale, &stats->wrong_answers, "an order that stood twice became two", ask);
        if (!said->replayed) {
            stats->offered++;
            stats->verdicts[verdict]++;
        }
        if (said->verdict == TG_ACCEPTED)
            note(tale, said->order_id, LG_DEED_INGESTED | (facts.paid ? LG_DEED_PAID : 0), ask);
    }
}

static uint32_t deeds_of_payment(const struct lg_ask *ask)
{
    if (ask->said.verdict == TG_OK)
        return LG_DEED_PAID;
    if (ask->said.verdict == TG_AMOUNT_MISMATCH)
        return LG_DEED_MISMATCH;
    if (ask->said.verdict != TG_REFUND_DUE)
        return 0;
    return ask->payment == 1 ? LG_DEED_FIRST_DUE : ask->payment == 2 ? LG_DEED_SECOND_DUE : 0;
}

static uint32_t deeds_of_advance(const struct lg_ask *ask)
{
    return ask->advance_to == TG_ORDER_SHIPPED     ? LG_DEED_SHIPPED
           : ask->advance_to == TG_ORDER_DELIVERED ? LG_DEED_DELIVERED
                                                   : LG_DEED_COMPLETED;
}

/* What an answer acknowledges goes into the ledger. */
static void acknowledge(struct tale *tale, const struct lg_ask *ask)
{
    bool ok = ask->said.verdict == TG_OK;
    switch ((enum lg_ask_kind)ask->kind) {
    case LG_ASK_PLACE:
    case LG_ASK_CART:
    case LG_ASK_OPEN_TEAM:
    case LG_ASK_JOIN_TEAM:
        if (ask->said.verdict == TG_ACCEPTED)
            note(tale, ask->said.order_id, LG_DEED_PLACED, ask);
        return;
    case LG_ASK_INGEST:
        if (ok)
            note_ingested(tale, ask);
        return;
    case LG_ASK_PAY:
        note(tale, ask->order_id, deeds_of_payment(ask), ask);
        return;
    case LG_ASK_CANCEL:
        note(tale, ask->order_id, ok ? LG_DEED_CANCELLED : 0, ask);
        return;
    case LG_ASK_ADVANCE:
        note(tale, ask->order_id, ok ? deeds_of_advance(ask) : 0, ask);
        return;
    case LG_ASK_RECORD_REFUND:
        note(tale, ask->order_id, ok ? LG_DEED_REFUND : 0, ask);
        return;
    case LG_ASK_EXTEND:
    case LG_ASK_REQUEST_REFUND:
    case LG_ASK_APPROVE_REFUND:
    case LG_ASK_REJECT_REFUND:
    case LG_ASK_KINDS:
        return;
    }
}

static bool is_creation(const struct lg_ask *ask)
{
    return ask->kind <= LG_ASK_JOIN_TEAM;
}

static void count_first(struct tale *tale, struct lg_ask *ask, int64_t now_ns)
{
    struct lg_result *r = tale->result;
    uint64_t took_ns = (uint64_t)(now_ns - ask->begun_ns);
    tg_histogram_record(&r->latency, took_ns, 1);
    if (!(ask->allowed & lg_verdict_bit(ask->said.verdict)))
        complain(tale, &r->total.wrong_answers, "an answer that cannot be right", ask);
    if (ask->said.replayed && !ask->resent && ask->kind != LG_ASK_INGEST)
        complain(tale, &r->total.wrong_answers, "replayed, and never asked before", ask);
    if (is_creation(ask)) {
        r->total.offered++;
        r->total.verdicts[ask->said.verdict]++;
        if (ask->said.verdict == TG_ACCEPTED)
            tg_histogram_record(&r->latency_accepted, took_ns, 1);
    }
    acknowledge(tale, ask);
}

static bool is_success(const struct lg_ask *ask)
{
    return ask->said.verdict == TG_OK || ask->said.verdict == TG_ACCEPTED ||
           (ask->kind == LG_ASK_PAY && ask->said.verdict == TG_REFUND_DUE);
}

static void check_again(struct tale *tale, struct slot *slot, const struct ref *ref)
{
    struct lg_ask *ask = &slot->story.asks[ref->ask];
    const struct lg_said *first = &slot->first[ref->ask];
    struct lg_stats *stats = &tale->result->total;
    stats->retries_checked++;
    bool right = ask->said.verdict == first->verdict && ask->said.order_id == first->order_id &&
                 ask->said.refund_number == first->refund_number &&
                 (ask->said.replayed || ask->kind == LG_ASK_INGEST);
    for (uint32_t i = 0; ask->kind == LG_ASK_INGEST && i < ask->ingest_count; i++)
        right = right && (ask->ingested[i].verdict != TG_ACCEPTED || ask->ingested[i].replayed ||
                          ask->ingested[i].order_id != 0);
    if (!right)
        complain(tale, &stats->retries_wrong, "a retry was not answered like the first time", ask);
    ask->said = *first;
}

static void on_answer(void *context, const Tidegate__V1__Response *response)
{
    const struct ref *ref = context;
    struct tale *tale = ref->tale;
    struct slot *slot = &tale->slots[ref->slot];
    struct lg_ask *ask = &slot->story.asks[ref->ask];
    int64_t now_ns = tg_clock_mono_ns();
    tale->moved = true;
    tale->last_answer_ns = now_ns;
    tale->result->total.answers++;
    lg_ask_take(ask, response);
    if (ask->said.verdict == TG_BUSY) {
        tale->result->total.busy++;
        ask->state = LG_ASK_READY;
        ask->not_before_ns = now_ns + BUSY_WAIT_NS;
        return;
    }
    if (ask->said.verdict == TG_UNSPECIFIED || ask->said.verdict >= TG_VERDICT_COUNT) {
        tale->result->total.errors++;
        ask->said.verdict = TG_UNSPECIFIED;
    }
    if (ask->asked_again) {
        check_again(tale, slot, ref);
        ask->state = LG_ASK_ANSWERED;
        return;
    }
    count_first(tale, ask, now_ns);
    ask->state = LG_ASK_ANSWERED;
    if (is_success(ask) && tg_rng_below(&slot->story.rng, AGAIN_ONE_IN) == 0) {
        slot->first[ref->ask] = ask->said;
        ask->asked_again = true;
        ask->state = LG_ASK_READY;
    }
}

/* --- connections --- */

static void link_lost(struct tale *tale, uint32_t number, int64_t now_ns)
{
    struct link *link = &tale->links[number];
    link->down_since_ns = now_ns;
    link->retry_at_ns = now_ns;
    for (uint32_t i = 0; i < tale->slot_count; i++) {
        struct lg_story *story = &tale->slots[i].story;
        for (uint32_t a = 0; tale->slots[i].state == SLOT_ASKING && a < story->ask_count; a++) {
            struct lg_ask *ask = &story->asks[a];
            if (ask->state != LG_ASK_IN_FLIGHT || ask->conn != number)
                continue;
            ask->state = LG_ASK_READY;
            ask->resent = true;
            tale->result->total.resent++;
        }
    }
}

static void link_turn(struct tale *tale, uint32_t number, int64_t now_ns)
{
    struct link *link = &tale->links[number];
    struct tg_fault fault;
    if (link->down_since_ns == 0) {
        enum tg_error error = tgc_poll(link->client, 0, &fault);
        if (error && error != TG_ERR_TIMEOUT)
            link_lost(tale, number, now_ns);
        return;
    }
    if (now_ns < link->retry_at_ns)
        return;
    if (tgc_reconnect(link->client, RECONNECT_TRY_MS, &fault) == TG_ERR_OK) {
        link->down_since_ns = 0;
        tale->result->total.reconnects++;
        return;
    }
    link->retry_at_ns = tg_clock_mono_ns() + RECONNECT_WAIT_NS;
    if (now_ns - link->down_since_ns > tale->options->reconnect_ns) {
        tale->result->fault = fault;
        tale->result->fault.error = TG_ERR_TIMEOUT;
    }
}

/* --- stories --- */

static void send_ask(struct tale *tale, uint32_t slot_number, uint32_t a, int64_t now_ns)
{
    struct slot *slot = &tale->slots[slot_number];
    struct lg_ask *ask = &slot->story.asks[a];
    if (ask->state != LG_ASK_READY || now_ns < ask->not_before_ns)
        return;
    uint32_t number = (slot_number + a) % tale->link_count;
    struct link *link = &tale->links[number];
    struct tg_fault fault;
    if (link->down_since_ns != 0)
        return;
    enum tg_error error =
        lg_ask_send(ask, &tale->sale, link->client, on_answer, &slot->refs[a], &fault);
    if (error == TG_ERR_INVALID || error == TG_ERR_NOMEM)
        tale->result->fault = fault;
    if (error)
        return;
    ask->state = LG_ASK_IN_FLIGHT;
    ask->conn = number;
    if (ask->begun_ns == 0)
        ask->begun_ns = now_ns;
    tale->moved = true;
}

static void begin_round(struct tale *tale, struct slot *slot, int64_t now_ns)
{
    struct lg_story *story = &slot->story;
    story->ask_count = 0;
    story->now_ms = tg_clock_wall_ns() / TG_NS_PER_MS;
    switch (tale->kind->step(story, &tale->sale)) {
    case LG_NEXT_ASK:
        slot->state = SLOT_ASKING;
        return;
    case LG_NEXT_WAIT:
        slot->state = SLOT_WAITING;
        slot->wake_ns = now_ns + story->wait_ns;
        return;
    case LG_NEXT_END:
        slot->state = SLOT_FREE;
        tale->slots_used--;
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

static void slot_turn(struct tale *tale, uint32_t number, int64_t now_ns)
{
    struct slot *slot = &tale->slots[number];
    struct lg_story *story = &slot->story;
    if (slot->state == SLOT_WAITING && now_ns >= slot->wake_ns) {
        story->step++;
        begin_round(tale, slot, now_ns);
    }
    if (slot->state != SLOT_ASKING)
        return;
    if (round_is_over(story)) {
        for (uint32_t a = 0; a < story->ask_count; a++)
            story->said[a] = story->asks[a].said;
        story->step++;
        begin_round(tale, slot, now_ns);
    }
    for (uint32_t a = 0; slot->state == SLOT_ASKING && a < story->ask_count; a++)
        send_ask(tale, number, a, now_ns);
}

/* Stories that may have begun by now. */
static uint64_t due(const struct tale *tale, int64_t now_ns)
{
    const struct lg_options *o = tale->options;
    if (tale->stopping)
        return 0;
    uint64_t most = o->attempts;
    if (o->rate_per_s <= 0)
        return most;
    uint64_t by_rate = (uint64_t)((double)(now_ns - tale->start_ns) / 1e9 * o->rate_per_s) + 1;
    return by_rate < most ? by_rate : most;
}

static void begin_stories(struct tale *tale, int64_t now_ns)
{
    uint64_t most = due(tale, now_ns);
    for (uint32_t i = 0; tale->slots_used < tale->slot_count && tale->begun < most; i++) {
        struct slot *slot = &tale->slots[i];
        if (slot->state != SLOT_FREE)
            continue;
        tale->slots_used++;
        lg_story_begin(&slot->story, tale->options->seed, tale->nonce, tale->begun++,
                       tale->result->settings.users);
        begin_round(tale, slot, now_ns);
        if (i + 1 == tale->slot_count)
            break;
    }
}

/* --- the run --- */

static void look(struct tale *tale, int64_t now_ns)
{
    struct tg_fault fault;
    bool end;
    if (now_ns - tale->look_ns < LOOK_EVERY_NS)
        return;
    tale->look_ns = now_ns;
    lg_world_sample(tale->watcher, tale->sale.sale_id, &tale->world);
    if (lg_feed_step(&tale->feed, &end, &fault) != TG_ERR_OK)
        tale->result->fault = fault;
}

static void run_stories(struct tale *tale)
{
    const struct lg_options *o = tale->options;
    tale->start_ns = tale->last_answer_ns = tg_clock_mono_ns();
    for (;;) {
        int64_t now_ns = tg_clock_mono_ns();
        tale->moved = false;
        tale->stopping = tale->stopping || interrupted ||
                         now_ns - tale->start_ns >= o->duration_ns || tale->begun >= o->attempts;
        begin_stories(tale, now_ns);
        for (uint32_t i = 0; i < tale->slot_count; i++)
            slot_turn(tale, i, now_ns);
        for (uint32_t i = 0; i < tale->link_count; i++)
            link_turn(tale, i, now_ns);
        look(tale, now_ns);
        if (tale->result->fault.error || (tale->stopping && tale->slots_used == 0))
            break;
        if (!tale->moved)
            usleep(IDLE_US);
    }
    tale->end_ns = tg_clock_mono_ns();
}

static enum tg_error read_to_the_end(struct tale *tale, struct tg_fault *fault)
{
    enum tg_error error = TG_ERR_OK;
    bool end = false;
    while (!error && !end)
        error = lg_feed_step(&tale->feed, &end, fault);
    return error;
}

/* Puts what was found into the words of the report. */
static void judge_findings(struct tale *tale)
{
    struct lg_findings *f = &tale->result->findings;
    const struct lg_world_findings *w = &tale->world;
    f->finished = true;
    f->orders = w->orders;
    f->accepts = tale->result->total.verdicts[TG_ACCEPTED];
    f->lost = w->lost;
    f->oversold = w->oversold;
    f->books_broken = w->books_broken;
    f->books_differ = w->books_differ;
    tale->result->told = true;
    tale->result->world = *w;
    tale->result->feed = tale->feed.findings;
    const char *examples[] = {w->example, tale->feed.findings.example};
    for (int i = 0; i < 2; i++)
        if (examples[i][0])
            snprintf(f->examples[f->example_count++], LG_AUDIT_EXAMPLE_BYTES, "%s", examples[i]);
}

/* Orders go on expiring while they are read, and would then differ from their history: an audit
 * counts when nothing happened from its beginning to its end. */
static enum tg_error audit_at_rest(struct tale *tale, int64_t begun_ns, struct tg_fault *fault)
{
    const struct lg_world_findings before = tale->world;
    enum tg_error error = read_to_the_end(tale, fault);
    while (!error) {
        uint64_t sequence = tale->feed.sequence;
        tale->world = before;
        lg_ledger_unsee(&tale->ledger);
        error =
            lg_world_audit(tale->watcher, tale->sale.sale_id, &tale->ledger, &tale->world, fault);
        if (!error)
            error = read_to_the_end(tale, fault);
        if (!error && tale->feed.sequence == sequence)
            return TG_ERR_OK;
        if (!error && tg_clock_mono_ns() - begun_ns > REST_NS_MAX)
            return tg_fault_set(fault, TG_ERR_TIMEOUT,
                                "the server did not come to rest, so the sale cannot be audited: "
                                "is somebody else ordering?");
        usleep(REST_WAIT_US);
    }
    return error;
}

static void audit(struct tale *tale)
{
    struct tg_fault fault = {TG_ERR_OK, ""};
    int64_t begun_ns = tg_clock_mono_ns();
    enum tg_error error = audit_at_rest(tale, begun_ns, &fault);
    if (error && !tale->result->fault.error)
        tale->result->fault = fault;
    tale->result->audited = !error;
    tale->result->audit_s = (double)(tg_clock_mono_ns() - begun_ns) / 1e9;
    judge_findings(tale);
}

/* --- preparing --- */

static enum tg_error prepare_sale(struct tale *tale, struct tg_fault *fault)
{
    const struct lg_options *o = tale->options;
    struct lg_plan_settings *settings = &tale->result->settings;
    settings->seed = o->seed;
    settings->users = o->users;
    settings->item_count = o->skus;
    settings->own_sale = 1;
    snprintf(settings->scenario, sizeof(settings->scenario), "%s", o->scenario);
    tale->items = lg_plan_items(o->skus, o->stock, o->limit);
    tale->skus = calloc(o->skus, sizeof(*tale->skus));
    tale->prices = calloc(o->skus, sizeof(*tale->prices));
    tale->captain_prices = calloc(o->skus, sizeof(*tale->captain_prices));
    if (!tale->items || !tale->skus || !tale->prices || !tale->captain_prices)
        return tg_fault_set(fault, TG_ERR_NOMEM, "no memory for %u items", o->skus);
    struct lg_sale_rules rules = {
        .payment_window_s = LG_STORY_PAYMENT_WINDOW_S,
        .team_size = tale->kind->group_buy ? LG_STORY_TEAM_SIZE : 0,
        .team_lifetime_s = LG_STORY_TEAM_LIFETIME_S,
        .shares = tale->kind->shares,
    };
    enum tg_error error =
        lg_control_create_sale_of(o->server, settings, tale->items, &rules, fault);
    for (uint32_t i = 0; i < o->skus; i++) {
        memcpy(tale->skus[i], tale->items[i].sku, tale->items[i].sku_bytes);
        tale->prices[i] = tale->items[i].price_minor;
        tale->captain_prices[i] = lg_control_captain_price(&tale->items[i], &rules);
    }
    tale->sale = (struct lg_ask_sale){.sale_id = settings->sale_id,
                                      .item_count = o->skus,
                                      .skus = (const char(*)[TG_SKU_BYTES_MAX + 1]) tale->skus,
                                      .price_minor = tale->prices,
                                      .captain_price_minor = tale->captain_prices};
    return error;
}

static enum tg_error prepare_links(struct tale *tale, struct tg_fault *fault)
{
    const struct lg_options *o = tale->options;
    tale->link_count = o->connections;
    tale->links = calloc(tale->link_count, sizeof(*tale->links));
    if (!tale->links)
        return tg_fault_set(fault, TG_ERR_NOMEM, "no memory for %u connections", o->connections);
    struct tgc_options options = {.server = o->server,
                                  .window = o->pipeline * LG_STORY_ASKS_MAX + 16};
    enum tg_error error = TG_ERR_OK;
    for (uint32_t i = 0; !error && i < tale->link_count; i++)
        error = tgc_open(&options, &tale->links[i].client, fault);
    options.window = 0;
    return error ? error : tgc_open(&options, &tale->watcher, fault);
}

static enum tg_error prepare_slots(struct tale *tale, struct tg_fault *fault)
{
    tale->slot_count = tale->options->connections * tale->options->pipeline;
    tale->slots = calloc(tale->slot_count, sizeof(*tale->slots));
    if (!tale->slots || !lg_ledger_init(&tale->ledger))
        return tg_fault_set(fault, TG_ERR_NOMEM, "no memory for %u stories", tale->slot_count);
    for (uint32_t i = 0; i < tale->slot_count; i++)
        for (uint32_t a = 0; a < LG_STORY_ASKS_MAX; a++)
            tale->slots[i].refs[a] = (struct ref){.tale = tale, .slot = i, .ask = a};
    return TG_ERR_OK;
}

static void release(struct tale *tale)
{
    for (uint32_t i = 0; tale->links && i < tale->link_count; i++)
        tgc_close(tale->links[i].client);
    tgc_close(tale->watcher);
    lg_feed_close(&tale->feed);
    lg_ledger_fini(&tale->ledger);
    free(tale->links);
    free(tale->slots);
    free(tale->items);
    free(tale->skus);
    free(tale->prices);
    free(tale->captain_prices);
}

static void gather(struct tale *tale)
{
    struct lg_result *r = tale->result;
    struct timespec cpu;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
    r->cpu_ns = cpu.tv_sec * TG_NS_PER_S + cpu.tv_nsec;
    r->ran = true;
    r->interrupted = interrupted;
    r->window = r->total;
    r->elapsed_s = r->run_s = (double)(tale->end_ns - tale->start_ns) / 1e9;
    r->busiest_share = (double)r->cpu_ns / (double)(tale->end_ns - tale->start_ns);
    r->unknown_outcomes = tale->slots_used;
}

enum lg_status lg_tale_run(const struct lg_options *options, struct lg_result *result)
{
    struct tale tale = {.options = options,
                        .result = result,
                        .kind = lg_story_kind_of(options->scenario),
                        .nonce = (uint64_t)tg_clock_wall_ns() * TG_RNG_GOLDEN};
    struct sigaction action = {.sa_handler = on_interrupt};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    result->options = options;
    struct tg_fault *fault = &result->fault;
    if (prepare_slots(&tale, fault) == TG_ERR_OK && prepare_links(&tale, fault) == TG_ERR_OK &&
        prepare_sale(&tale, fault) == TG_ERR_OK &&
        lg_feed_open(&tale.feed, options->server, &tale.ledger, tale.sale.sale_id, fault) ==
            TG_ERR_OK) {
        run_stories(&tale);
        gather(&tale);
        if (!result->fault.error)
            audit(&tale);
        lg_feed_remove(&tale.feed);
    }
    release(&tale);
    return lg_result_judge(result);
}
