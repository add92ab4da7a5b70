/* Who makes a commit: the writer's thread, or the core of a lone caller. On a real database, the
 * parties polled by hand. */
#include "base/mem.h"
#include "server/server.h"
#include "tests/lib/depot.h"

#include <criterion/criterion.h>
#include <stdint.h>
#include <stdlib.h>

static struct depot *depot;
static struct srv_server server;
static struct srv_core *core;

static void setup(void)
{
    struct tg_fault fault;
    depot = depot_make(64 * DEPOT_MIB);
    depot_commit_sale(depot, 1, 0, 1, 1000);
    struct eng_config config = {.shards = 1,
                                .sales_max = 16,
                                .items_max = 16,
                                .orders_max = 1024,
                                .holdings_max = 1024,
                                .timers_max = 1024,
                                .request_ttl_ms = 1000};
    cr_assert_eq(eng_engine_create(&config, &server.engine, &fault), TG_ERR_OK, "%s", fault.text);
    srv_config_init(&server.config);
    server.storage = depot->env;
    server.cores = aligned_alloc(128, sizeof(*server.cores));
    core = server.cores;
    memset(core, 0, sizeof(*core));
    cr_assert_eq(srv_core_init(core, &server, 0, &fault), TG_ERR_OK, "%s", fault.text);
    cr_assert_eq(tg_waker_init(&server.writer.waker, &fault), TG_ERR_OK, "%s", fault.text);
    server.writer.server = &server;
    srv_writer_publish_start(&server);
}

TestSuite(writer, .init = setup);

static void append(uint32_t orders)
{
    for (; orders > 0; orders--) {
        *tg_journal_reserve(&core->journal) = depot_order(depot, 0, orders, 1);
        tg_journal_append(&core->journal);
    }
}

/* As if the last commit had taken that long, however long it took. */
static void disk_took(uint64_t commit_ns)
{
    ((struct sto_commit_stats *)sto_commit_stats(depot->env))->commit_ns_last = commit_ns;
}

/* Takes the completions; returns how many there are, all durable. */
static uint32_t completions(void)
{
    uint32_t count = 0;
    uint64_t sequence;
    for (const struct tg_record *record;
         (record = tg_journal_completion(&core->journal, &sequence)); count++) {
        cr_assert_eq(record->outcome, TG_OUTCOME_DURABLE);
        cr_assert_neq(record->order_id, 0);
        tg_journal_release(&core->journal);
    }
    return count;
}

/* Whether the writer's thread, which sleeps, was woken since. */
static bool was_woken(void)
{
    return atomic_load(&server.writer.waker.asleep) == 0;
}

Test(writer, a_core_commits_what_it_has_when_nobody_else_does)
{
    tg_waker_doze(&server.writer.waker);
    append(1);
    disk_took(0);
    cr_assert(srv_writer_step_here(&server.writer));
    cr_assert_eq(completions(), 1);
    cr_assert_not(was_woken());
    cr_assert_eq(server.writer.stats.commits, 1);
    append(4);
    disk_took(0);
    cr_assert(srv_writer_step_here(&server.writer));
    cr_assert_eq(completions(), 4);
}

Test(writer, a_core_leaves_many_records_to_the_thread)
{
    append(5);
    disk_took(0);
    cr_assert_not(srv_writer_step_here(&server.writer));
    cr_assert_eq(completions(), 0);
}

Test(writer, a_core_does_not_commit_while_another_thread_does)
{
    append(1);
    atomic_store(&server.writer.step, true);
    cr_assert_not(srv_writer_step_here(&server.writer));
    cr_assert_eq(completions(), 0);
    atomic_store(&server.writer.step, false);
    disk_took(0);
    cr_assert(srv_writer_step_here(&server.writer));
    cr_assert_eq(completions(), 1);
}

Test(writer, a_core_does_not_commit_for_a_while_when_the_disk_was_slow)
{
    append(1);
    server.writer.here_again_ns = INT64_MAX;
    cr_assert_not(srv_writer_step_here(&server.writer));
    server.writer.here_again_ns = 0;
    disk_took(1000000000);
    cr_assert_not(srv_writer_step_here(&server.writer));
    cr_assert_gt(server.writer.here_again_ns, 0);
    cr_assert_eq(completions(), 0);
    /* What the core leaves, the thread finds: the step was let go of. */
    cr_assert_not(atomic_load(&server.writer.step));
}

Test(writer, the_thread_commits_what_is_left_and_ends)
{
    append(100);
    atomic_store(&server.writer.stopping, true);
    sem_init(&server.threads_ready, 0, 0);
    cr_assert_null(srv_writer_run(&server.writer));
    cr_assert_eq(completions(), 100);
}
