#include "loadgen/parts.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/thread.h"
#include "loadgen/control.h"
#include "loadgen/live.h"
#include "loadgen/tale.h"
#include "loadgen/target.h"

#include <stdlib.h>

#define LEAD_NS        (100 * TG_NS_PER_MS) /* so that parts start together */
#define LEAD_OPENS_NS  (2 * TG_NS_PER_S)    /* and so that sales are made before load starts */
#define WHOLE_MEETINGS 3

struct part {
    pthread_t thread;
    const struct lg_options *options;
    struct lg_gate *gate;
    struct lg_result *result; /* borrowed */
    int64_t load_ns;
};

static void *part_main(void *argument)
{
    struct part *part = argument;
    if (lg_story_kind_of(part->options->scenario))
        lg_tale_run(part->options, part->gate, part->load_ns, part->result);
    else
        lg_run(part->options, part->gate, part->load_ns, part->result);
    /* What cannot succeed stops the others, whose figures would be of another run than asked for.
     */
    if (part->result->fault.error)
        lg_gate_stop_all(part->gate);
    return NULL;
}

/* --- before --- */

static enum tg_error read_offset(const char *server, int64_t *offset_ns, struct tg_fault *fault)
{
    struct tgc_options options = lg_target_options(server);
    struct tgc_client *client;
    int64_t server_ms = 0;
    enum tg_error error = tgc_open(&options, &client, fault);
    if (error)
        return error;
    int64_t before_ns = tg_clock_mono_ns();
    error = lg_control_server_time(client, &server_ms, fault);
    int64_t after_ns = tg_clock_mono_ns();
    tgc_close(client);
    /* The answer was made half-way, and its time is cut to a whole millisecond. */
    *offset_ns =
        server_ms * TG_NS_PER_MS + TG_NS_PER_MS / 2 - (before_ns + (after_ns - before_ns) / 2);
    return error;
}

/* How long the gate leads, and what the server's clock says. */
static enum tg_error prepare_gate(struct lg_gate *gate, const struct lg_options *parts,
                                  uint32_t count, struct tg_fault *fault)
{
    bool opens = false;
    for (uint32_t i = 0; i < count; i++)
        opens = opens || parts[i].opens_ns > 0;
    gate->lead_ns = opens ? LEAD_OPENS_NS : count > 1 ? LEAD_NS : 0;
    return opens ? read_offset(parts[0].server, &gate->clock_offset_ns, fault) : TG_ERR_OK;
}

static int64_t longest_ns(const struct lg_options *parts, uint32_t count)
{
    int64_t longest = 0;
    for (uint32_t i = 0; i < count; i++) {
        int64_t part_ns = lg_profile_duration_ns(&parts[i].profile);
        longest = part_ns > longest ? part_ns : longest;
    }
    return longest;
}

/* --- the run --- */

static uint32_t start_parts(struct part *list, uint32_t count, struct lg_gate *gate,
                            struct tg_fault *fault)
{
    for (uint32_t i = 0; i < count; i++) {
        if (tg_thread_start(&list[i].thread, part_main, &list[i], "part", fault) == TG_ERR_OK)
            continue;
        lg_gate_fail(gate);
        return i;
    }
    return count;
}

/* The whole is a party of its own, which asks the daemon how it is while load goes on. */
static void run_parts(struct part *list, uint32_t count, struct lg_gate *gate,
                      struct lg_result *whole)
{
    bool met = true;
    uint32_t started = start_parts(list, count, gate, &whole->fault);
    for (int i = 0; met && i < WHOLE_MEETINGS; i++)
        met = lg_gate_meet(gate);
    if (met)
        lg_vitals_start(&whole->vitals, list[0].options->server, lg_gate_start_ns(gate),
                        list[0].load_ns);
    if (met && list[0].options->live)
        lg_live_start(list[0].options, count, lg_gate_start_ns(gate));
    for (uint32_t i = 0; i < started; i++)
        pthread_join(list[i].thread, NULL);
    lg_vitals_stop(&whole->vitals);
    lg_live_stop();
    if (!met && lg_interrupted() && !whole->fault.error)
        tg_fault_set(&whole->fault, TG_ERR_CLOSED, "interrupted before load began");
}

/* --- the result --- */

/* One part alone fills the whole's result; more have results of their own in it. */
static bool make_parts(struct part *list, const struct lg_options *parts, uint32_t count,
                       struct lg_gate *gate, struct lg_result *whole)
{
    int64_t load_ns = longest_ns(parts, count);
    if (count > 1) {
        whole->parts = calloc(count, sizeof(*whole->parts));
        if (!whole->parts || !lg_samples_init(&whole->samples, load_ns))
            return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        struct lg_result *result = count > 1 ? lg_result_create() : whole;
        if (!result)
            return false;
        if (count > 1)
            whole->parts[whole->part_count++] = result;
        result->options = &parts[i];
        list[i] =
            (struct part){.options = &parts[i], .gate = gate, .result = result, .load_ns = load_ns};
    }
    return true;
}

static void judge_whole(struct lg_result *whole, const struct lg_options *options)
{
    if (whole->part_count) {
        whole->options = options;
        lg_result_merge(whole);
        return;
    }
    /* One part alone has been judged by its own thresholds, unless it never came so far. */
    if (!whole->ran)
        lg_result_judge(whole);
    else if (options != whole->options && !lg_result_check(whole, &options->thresholds))
        whole->status = LG_MISSED;
}

struct lg_result *lg_parts_run(const struct lg_options *parts, uint32_t count,
                               const struct lg_options *whole_options)
{
    struct lg_gate gate;
    struct part list[LG_PARTS_MAX];
    struct lg_result *whole = lg_result_create();
    tg_assert(count > 0 && count <= LG_PARTS_MAX);
    if (!whole || !make_parts(list, parts, count, &gate, whole)) {
        lg_result_free(whole);
        return NULL;
    }
    lg_gate_init(&gate, count + 1);
    if (prepare_gate(&gate, parts, count, &whole->fault) == TG_ERR_OK)
        run_parts(list, count, &gate, whole);
    lg_gate_fini(&gate);
    judge_whole(whole, whole_options);
    return whole;
}
