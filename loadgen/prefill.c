/* Orders that are there before a run begins: a run of its own in a sale of its own, in large
 * batches, whose answers are counted and not remembered. Its audit is by count: the books of its
 * sale must hold exactly the orders that were accepted. They are unpaid and keep their deadline 30
 * days away, so that none of them ends in the run. */
#include "loadgen/run.h"

#include "base/limits.h"

#include <stdio.h>

#define CONNECTIONS  4u
#define PIPELINE     4u
#define BATCH_ORDERS 1000u

_Static_assert(LG_PREFILL_MAX <= TG_STOCK_UNITS_MAX, "one item has a unit for each order");

static void options_of(const struct lg_options *from, struct lg_options *o)
{
    struct tg_fault fault;
    lg_options_init(o);
    lg_options_set(o, "scenario", "durable", LG_PLACE_PART, &fault);
    o->server = from->server;
    o->part = "prefill";
    o->progress = from->progress;
    o->quiet = from->quiet;
    o->seed = from->seed;
    o->reconnect_ns = from->reconnect_ns;
    o->connections = CONNECTIONS;
    o->pipeline = PIPELINE;
    o->batch = BATCH_ORDERS;
    o->attempts = from->prefill;
    o->stock = from->prefill;
    o->limit = 0;
    o->retry_share = 0;
    o->is_prefill = true;
}

static void tell(const struct lg_options *o, const struct lg_result *prefill)
{
    if (o->quiet || prefill->status != LG_PASSED)
        return;
    fprintf(stderr, "%s%sprefilled %llu orders in %.1f s\n", o->part ? o->part : "",
            o->part ? ": " : "", (unsigned long long)prefill->total.verdicts[TG_ACCEPTED],
            prefill->run_s);
}

static void explain(const struct lg_options *o, const struct lg_result *prefill,
                    struct tg_fault *fault)
{
    uint64_t accepted = prefill->total.verdicts[TG_ACCEPTED];
    if (prefill->fault.error)
        tg_fault_set(fault, prefill->fault.error, "prefill: %.450s", prefill->fault.text);
    else if (prefill->interrupted)
        tg_fault_set(fault, TG_ERR_CLOSED, "interrupted in the prefill");
    else if (prefill->status == LG_BROKEN)
        tg_fault_set(fault, TG_ERR_BROKEN, "prefill: %.200s",
                     prefill->findings.example_count ? prefill->findings.examples[0]
                                                     : "its audit failed");
    else
        tg_fault_set(fault, TG_ERR_FULL,
                     "prefill: only %llu of %llu orders were accepted: the server is full (disk, "
                     "storage.map_gib or engine.orders_max)",
                     (unsigned long long)accepted, (unsigned long long)o->prefill);
}

bool lg_run_prefill(const struct lg_options *options, struct lg_result *result)
{
    struct lg_options o;
    struct lg_gate gate;
    if (!options->prefill)
        return true;
    struct lg_result *prefill = lg_result_create();
    if (!prefill) {
        tg_fault_set(&result->fault, TG_ERR_NOMEM, "no memory for a run");
        return false;
    }
    options_of(options, &o);
    lg_gate_init(&gate, 1);
    bool done = lg_options_finish(&o, &result->fault) == TG_ERR_OK &&
                lg_run(&o, &gate, LG_STAGE_ENDLESS_NS, prefill) == LG_PASSED &&
                prefill->total.verdicts[TG_ACCEPTED] == options->prefill;
    result->prefilled = prefill->total.verdicts[TG_ACCEPTED];
    result->prefill_s = prefill->run_s;
    if (done)
        tell(options, prefill);
    else
        explain(options, prefill, &result->fault);
    lg_gate_fini(&gate);
    lg_result_free(prefill);
    return done;
}
