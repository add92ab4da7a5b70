/* SIGKILLs at seeded moments, a start after each, and the audits of everything at the end.
 *
 *   grow     one durable load, so that a recovery takes long enough to be hit
 *   rounds   under five loads at once (single orders with payments, teams, carts, other channels, a
 *            seckill): a kill while it serves, two in a row without any load between, or one while
 *            it drains; then, often, one to four more while it starts; then it must start
 *   judge    every load's audit, the audit of what was grown, the offline check
 *
 * Where a kill hit is looked at, not guessed: a daemon that starts or drains is first stopped, so
 * that nothing moves between the look and the kill (tests/lib/node.h). docs/kills-and-soak.md has
 * the rest.
 *
 * Usage: kills [--kills N] [--seed S] [--orders N]
 *
 * Exit status: 0 every promise held; 1 one is broken; 2 usage; 3 it could not be run here. */
#include "base/clock.h"
#include "base/rng.h"
#include "client/tidegate.h"
#include "tests/lib/crew.h"
#include "tests/lib/node.h"
#include "tests/lib/tree.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define KILLS_DEFAULT    50
#define ORDERS_DEFAULT   1000000
#define START_MS_MAX     60000
#define FINISH_MS_MAX    300000
#define SERVE_US_MIN     20000 /* under load, before a kill */
#define SERVE_US         200000
#define IDLE_US          30000 /* without load, between two kills: timers that became due fire */
#define DRAIN_US         12000
/* Before the audits, which do not reconnect: the kernel takes the sockets of a killed io_uring some
 * time after the process, and until then they still get connections, which are then reset. */
#define SETTLE_US        1000000
#define POLL_US          20000
#define SERIES_MAX       4 /* kills of starts, one after the other */
#define VERIFY_EVERY     8 /* kills in recovery, on the average, to one offline check */
#define FIRST_KILLS      4 /* while the database is being made */
#define FIRST_US         12000
#define IDLE_STARTS      2   /* to measure how long a start takes */
#define START_PERCENT    115 /* of that, from which moments are drawn: some are ready just before */
#define RECOVERING_SHARE 5   /* one kill in so many must hit a recovery, or this proves little */
#define MORE_KILLS_MAX   20  /* of starts, beyond what was asked for, to come to that share */

enum {
    EXIT_BROKEN = 1,
    EXIT_USAGE = 2,
    EXIT_CANNOT = 3
};

struct options {
    uint64_t kills, seed, orders;
};

struct run {
    struct options options;
    char root[64];
    char grown[96]; /* audit log of the first load */
    struct node node;
    struct crew crew;
    struct tg_rng rng;
    int64_t begun_ns;
    uint64_t kills;
    uint64_t hits[NODE_PHASES];
    uint64_t starts, in_a_row_max, drains_done, pairs, verifies;
    uint64_t just_ready; /* of those that hit it serving: no load had come back */
    double start_ms;     /* of the last starts, weighted */
    double start_ms_max;
    uint64_t recovered_max;
    bool is_terminal;
};

/* --- ends ----------------------------------------------------------------------------------------
 */

/* The command that repeats the run, and where everything lies. */
static void tell_how_to_repeat(struct run *run)
{
    fprintf(stderr,
            "kills: again: make kills KILLS=%" PRIu64 " SEED=%" PRIu64 " (the moments are the same,"
            " what they meet is not); kept: %s\nkills: the daemon's log ends with:\n%s",
            run->options.kills, run->options.seed, run->root, node_log_tail(&run->node));
}

__attribute__((noreturn, format(printf, 3, 4))) static void end_with(struct run *run, int status,
                                                                     const char *format, ...)
{
    va_list list;
    va_start(list, format);
    fprintf(stderr, "%skills: %s after %" PRIu64 " kills: ", run->is_terminal ? "\n" : "",
            status == EXIT_BROKEN ? "FAILED" : "cannot go on", run->kills);
    vfprintf(stderr, format, list);
    fputc('\n', stderr);
    va_end(list);
    tell_how_to_repeat(run);
    crew_kill(&run->crew);
    node_kill(&run->node);
    exit(status);
}

#define broken(run, ...) end_with((run), EXIT_BROKEN, __VA_ARGS__)
#define cannot(run, ...) end_with((run), EXIT_CANNOT, __VA_ARGS__)

/* --- small steps ---------------------------------------------------------------------------------
 */

static void wait_up_to(struct run *run, uint64_t least_us, uint64_t range_us)
{
    usleep((useconds_t)(least_us + tg_rng_below(&run->rng, range_us)));
}

static bool chance(struct run *run, uint64_t percent)
{
    return tg_rng_below(&run->rng, 100) < percent;
}

static void show_progress(struct run *run)
{
    fprintf(stderr,
            "%skills: %5.0f s  %" PRIu64 " of %" PRIu64 " kills: %" PRIu64 " serving, %" PRIu64
            " recovering, %" PRIu64 " draining; %" PRIu64 " starts, longest %.0f ms%s",
            run->is_terminal ? "\r" : "", (double)(tg_clock_mono_ns() - run->begun_ns) / 1e9,
            run->kills, run->options.kills, run->hits[NODE_READY], run->hits[NODE_RECOVERING],
            run->hits[NODE_DRAINING], run->starts, run->start_ms_max,
            run->is_terminal ? "   " : "\n");
}

static void loads_must_go_on(struct run *run)
{
    char reason[512] = "";
    struct crew_sums sums = {0};
    const char *ended = crew_ended(&run->crew);
    if (!ended)
        return;
    crew_signal(&run->crew, SIGTERM);
    crew_finish(&run->crew, FINISH_MS_MAX, &sums, reason, sizeof(reason));
    broken(run, "the load %s has ended: %s", ended, reason);
}

/* Counts a kill where it hits and does it. */
static void kill_here(struct run *run, enum node_phase phase)
{
    node_kill(&run->node);
    if (run->node.proc.status != -1)
        broken(run, "the daemon had ended by itself with %d", run->node.proc.status);
    run->kills++;
    run->hits[phase]++;
}

static void verify(struct run *run)
{
    char messages[96];
    struct proc check;
    const char *argv[] = {proc_program("tidegatectl"), "verify", "--data-dir", run->node.data_dir,
                          NULL};
    snprintf(messages, sizeof(messages), "%s/verify", run->root);
    if (!proc_start(&check, argv, -1, messages) || !proc_wait(&check, FINISH_MS_MAX))
        cannot(run, "tidegatectl verify does not run or end");
    if (check.status != 0)
        broken(run, "tidegatectl verify found a broken promise (%d): see %s", check.status,
               messages);
    run->verifies++;
}

/* --- starting ------------------------------------------------------------------------------------
 */

static void spawn(struct run *run)
{
    if (!node_spawn(&run->node))
        cannot(run, "no process: %s", strerror(errno));
}

/* It must become ready, and know at least what it knew. */
static void start(struct run *run)
{
    int64_t begun_ns = tg_clock_mono_ns();
    spawn(run);
    int ready = node_ready(&run->node, START_MS_MAX);
    if (ready != 1)
        broken(run, "%s", ready ? "the daemon did not start" : "the daemon is not ready in 60 s");
    double took_ms = (double)(tg_clock_mono_ns() - begun_ns) / 1e6;
    run->starts++;
    run->start_ms = run->start_ms > 0 ? 0.75 * run->start_ms + 0.25 * took_ms : took_ms;
    run->start_ms_max = took_ms > run->start_ms_max ? took_ms : run->start_ms_max;
    if (run->node.recovered_orders < run->recovered_max)
        broken(run, "it recovered %" PRIu64 " orders, and %" PRIu64 " before",
               run->node.recovered_orders, run->recovered_max);
    run->recovered_max = run->node.recovered_orders;
}

/* Lets it begin to start, and kills it within `range_us`; how far it was. */
static enum node_phase kill_a_start(struct run *run, uint64_t range_us)
{
    spawn(run);
    wait_up_to(run, 0, range_us);
    if (!proc_freeze(&run->node.proc))
        broken(run, "the daemon ended while it started");
    enum node_phase phase = node_phase(&run->node);
    kill_here(run, phase);
    run->just_ready += phase == NODE_READY;
    return phase;
}

/* Up again after a kill, mostly not at the first try. */
static void start_with_kills(struct run *run)
{
    uint64_t series = chance(run, 60) ? 1 + tg_rng_below(&run->rng, SERIES_MAX) : 0;
    uint64_t done = 0;
    while (done < series && run->kills < run->options.kills) {
        enum node_phase phase =
            kill_a_start(run, (uint64_t)(run->start_ms * 10 * START_PERCENT) + 1);
        if (phase == NODE_RECOVERING && tg_rng_below(&run->rng, VERIFY_EVERY) == 0)
            verify(run);
        done++;
    }
    run->in_a_row_max = done + 1 > run->in_a_row_max ? done + 1 : run->in_a_row_max;
    start(run);
}

static bool too_few_in_recovery(const struct run *run)
{
    return run->hits[NODE_RECOVERING] * RECOVERING_SHARE < run->kills;
}

/* Chance may have left recoveries out: then more starts are killed than were asked for. */
static void kill_recoveries(struct run *run)
{
    if (!too_few_in_recovery(run))
        return;
    kill_here(run, NODE_READY);
    for (int i = 0; i < MORE_KILLS_MAX && too_few_in_recovery(run); i++)
        kill_a_start(run, (uint64_t)(run->start_ms * 10 * START_PERCENT) + 1);
    start(run);
}

/* --- rounds --------------------------------------------------------------------------------------
 */

static void round_serving(struct run *run)
{
    wait_up_to(run, SERVE_US_MIN, SERVE_US);
    loads_must_go_on(run);
    kill_here(run, NODE_READY);
    start_with_kills(run);
}

/* Two, and the loads stand still from before the first until after the second. */
static void round_pair(struct run *run)
{
    wait_up_to(run, SERVE_US_MIN, SERVE_US);
    loads_must_go_on(run);
    crew_signal(&run->crew, SIGSTOP);
    kill_here(run, NODE_READY);
    start(run);
    wait_up_to(run, 0, IDLE_US);
    kill_here(run, NODE_READY);
    start(run);
    crew_signal(&run->crew, SIGCONT);
    run->just_ready++;
    run->pairs++;
}

static void round_draining(struct run *run)
{
    wait_up_to(run, SERVE_US_MIN, SERVE_US);
    loads_must_go_on(run);
    node_drain(&run->node);
    wait_up_to(run, 0, DRAIN_US);
    bool stands = proc_freeze(&run->node.proc);
    if (stands) {
        kill_here(run, node_phase(&run->node));
    } else {
        if (!node_drained(&run->node, START_MS_MAX))
            broken(run, "a drain ended with %d", run->node.proc.status);
        run->drains_done++;
    }
    start_with_kills(run);
}

static void rounds(struct run *run)
{
    int64_t told_ns = 0;
    while (run->kills < run->options.kills) {
        uint64_t kind = tg_rng_below(&run->rng, 100);
        if (kind < 60)
            round_serving(run);
        else if (kind < 85)
            round_draining(run);
        else if (run->kills + 2 <= run->options.kills)
            round_pair(run);
        if (tg_clock_mono_ns() - told_ns > (run->is_terminal ? 1 : 5) * TG_NS_PER_S) {
            told_ns = tg_clock_mono_ns();
            show_progress(run);
        }
    }
    show_progress(run);
    if (run->is_terminal)
        fputc('\n', stderr);
}

/* --- the loads -----------------------------------------------------------------------------------
 */

static void finish_loads(struct run *run, struct crew_sums *sums)
{
    char reason[512] = "";
    if (!crew_finish(&run->crew, FINISH_MS_MAX, sums, reason, sizeof(reason)))
        broken(run, "%s", reason);
}

static void grow(struct run *run)
{
    char attempts[24];
    struct crew_sums sums = {0};
    snprintf(attempts, sizeof(attempts), "%" PRIu64, run->options.orders);
    if (!crew_start(&run->crew, "durable", "--attempts", attempts, "--pipeline", "64", "--duration",
                    "10m", "--audit-log", run->grown, NULL))
        cannot(run, "no process: %s", strerror(errno));
    finish_loads(run, &sums);
    fprintf(stderr, "kills: grown to %" PRIu64 " orders in %.1f s\n", sums.orders_read,
            (double)(tg_clock_mono_ns() - run->begun_ns) / 1e9);
}

static uint64_t count_sales(struct run *run, struct tgc_client *client)
{
    Tidegate__V1__ListSalesRequest body = TIDEGATE__V1__LIST_SALES_REQUEST__INIT;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    Tidegate__V1__Response *response;
    struct tg_fault fault;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_LIST_SALES;
    request.list_sales = &body;
    if (tgc_call(client, &request, START_MS_MAX, &response, &fault) != TG_ERR_OK)
        broken(run, "no answer before the first kill under load: %s", fault.text);
    uint64_t total = response->list_sales->total;
    tgc_response_free(response);
    return total;
}

/* What a load does first, make its sale and its consumer group, it tries for ten seconds only: on a
 * busy machine that is less than some starts with their kills. */
static void wait_for_sales(struct run *run, uint64_t sales)
{
    struct tgc_options options = {.server = run->node.address};
    struct tgc_client *client;
    struct tg_fault fault;
    if (tgc_open(&options, &client, &fault) != TG_ERR_OK)
        broken(run, "cannot connect before the first kill under load: %s", fault.text);
    while (count_sales(run, client) < sales) {
        loads_must_go_on(run);
        usleep(POLL_US);
    }
    tgc_close(client);
}

static void start_loads(struct run *run)
{
    static const char *const stories[] = {"lifecycle", "groupbuy", "cart", "ingest"};
    char seed[24], stock[24];
    bool started = true;
    snprintf(seed, sizeof(seed), "%" PRIu64, run->options.seed);
    /* Half of the kills see units left, the others a sale that is sold out. */
    snprintf(stock, sizeof(stock), "%" PRIu64, 200 * run->options.kills);
    for (size_t i = 0; i < sizeof(stories) / sizeof(stories[0]); i++)
        started = started && crew_start(&run->crew, stories[i], "--connections", "8", "--pipeline",
                                        "64", "--rate", "250", "--duration", "2h", "--seed", seed,
                                        "--reconnect", "2m", NULL);
    started = started && crew_start(&run->crew, "seckill", "--users", "2M", "--stock", stock,
                                    "--connections", "16", "--rate", "3000", "--duration", "2h",
                                    "--seed", seed, "--reconnect", "2m", NULL);
    if (!started)
        cannot(run, "no process: %s", strerror(errno));
    wait_for_sales(run, 1 + (uint64_t)run->crew.count);
    usleep(SETTLE_US);
}

/* Every order that was accepted before the first kill is there after the last one. */
static void audit_grown(struct run *run)
{
    struct proc audit;
    char messages[96];
    const char *argv[] = {proc_program("tidegate-load"),
                          "--audit",
                          run->grown,
                          "--server",
                          run->node.address,
                          "--quiet",
                          NULL};
    snprintf(messages, sizeof(messages), "%s/audit", run->root);
    if (!proc_start(&audit, argv, -1, messages) || !proc_wait(&audit, FINISH_MS_MAX))
        cannot(run, "the audit does not run or end");
    if (audit.status != 0)
        broken(run, "of what was accepted before the first kill the audit says %d: see %s",
               audit.status, messages);
}

/* --- the whole -----------------------------------------------------------------------------------
 */

static void report(struct run *run, const struct crew_sums *sums)
{
    printf("kills that hit it\n");
    for (int i = 0; i < NODE_ENDED; i++)
        printf("%6" PRIu64 "  %s\n", run->hits[i], node_phase_name((enum node_phase)i));
    printf("%6" PRIu64 "  of those serving: without load, just after the ready line\n",
           run->just_ready);
    printf("%6" PRIu64 "  pairs without load between, %" PRIu64 " kills in a row at most, %" PRIu64
           " drains ended before their kill\n",
           run->pairs, run->in_a_row_max, run->drains_done);
    printf("%6" PRIu64 "  starts, longest %.0f ms, the last one found %" PRIu64 " orders\n",
           run->starts, run->start_ms_max, run->recovered_max);
    printf("%6" PRIu64 "  offline checks\n", run->verifies);
    printf("audits: %" PRIu64 " orders accepted, %" PRIu64 " requests answered, %" PRIu64
           " sent again, %" PRIu64 " reconnects, %" PRIu64 " retries checked, %" PRIu64
           " teams and %" PRIu64 " events read, all clean\n",
           sums->accepted, sums->answers, sums->resent, sums->reconnects, sums->retries_checked,
           sums->teams_read, sums->events_read);
    printf("kills: passed, %" PRIu64 " SIGKILLs (%" PRIu64
           " in a recovery) in %.0f s, seed %" PRIu64 "\n",
           run->kills, run->hits[NODE_RECOVERING],
           (double)(tg_clock_mono_ns() - run->begun_ns) / 1e9, run->options.seed);
}

static void begin(struct run *run)
{
    const char *parent = getenv("TMPDIR");
    run->begun_ns = tg_clock_mono_ns();
    run->is_terminal = isatty(STDERR_FILENO);
    tg_rng_init(&run->rng, run->options.seed);
    snprintf(run->root, sizeof(run->root), "%.32s/tidegate-kills-XXXXXX", parent ? parent : "/tmp");
    if (!mkdtemp(run->root))
        cannot(run, "%s: %s", run->root, strerror(errno));
    snprintf(run->grown, sizeof(run->grown), "%s/grown", run->root);
    fprintf(stderr, "kills: %" PRIu64 " kills, seed %" PRIu64 ", in %s\n", run->options.kills,
            run->options.seed, run->root);
    node_init(&run->node, run->root);
    node_arg(&run->node, "--threads");
    node_arg(&run->node, "2");
    spawn(run);
    if (node_ready(&run->node, START_MS_MAX) != 1)
        cannot(run, "the daemon does not start here");
    crew_init(&run->crew, run->root, run->node.address);
}

/* While its files and tables are being made, and while it is empty; then a database of some size.
 */
static void grow_with_kills(struct run *run)
{
    kill_here(run, NODE_READY);
    tree_remove(run->node.data_dir);
    for (int i = 0; i < FIRST_KILLS && run->kills < run->options.kills; i++)
        kill_a_start(run, FIRST_US);
    start(run);
    grow(run);
    run->start_ms = 0;
    for (int i = 0; i < IDLE_STARTS && run->kills < run->options.kills; i++) {
        kill_here(run, NODE_READY);
        start(run);
    }
}

static void kills(struct run *run)
{
    struct crew_sums sums = {0};
    begin(run);
    grow_with_kills(run);
    start_loads(run);
    rounds(run);
    kill_recoveries(run);
    usleep(SETTLE_US);
    loads_must_go_on(run);
    crew_signal(&run->crew, SIGINT);
    finish_loads(run, &sums);
    audit_grown(run);
    node_drain(&run->node);
    if (!node_drained(&run->node, START_MS_MAX))
        broken(run, "the last drain ended with %d", run->node.proc.status);
    verify(run);
    if (too_few_in_recovery(run))
        cannot(run, "fewer than one kill in %d hit a recovery: a larger --orders makes it longer",
               RECOVERING_SHARE);
    report(run, &sums);
    tree_remove(run->root);
}

static bool read_number(const char *text, uint64_t most, uint64_t *number)
{
    char *end;
    errno = 0;
    *number = strtoull(text, &end, 10);
    return errno == 0 && text[0] >= '0' && text[0] <= '9' && *end == '\0' && *number <= most;
}

static bool read_options(struct options *options, int argc, char **argv)
{
    static const struct option names[] = {
        {"kills", required_argument, NULL, 'k'},
        {"seed", required_argument, NULL, 's'},
        {"orders", required_argument, NULL, 'o'},
        {NULL, 0, NULL, 0},
    };
    bool fits = true;
    int option;
    while (fits && (option = getopt_long(argc, argv, "", names, NULL)) != -1) {
        if (option == 'k')
            fits = read_number(optarg, 1000000, &options->kills) && options->kills > 0;
        else if (option == 's')
            fits = read_number(optarg, UINT64_MAX, &options->seed);
        else
            fits = option == 'o' && read_number(optarg, 100000000, &options->orders) &&
                   options->orders > 0;
    }
    return fits && optind == argc;
}

int main(int argc, char **argv)
{
    static struct run run;
    run.options = (struct options){.kills = KILLS_DEFAULT,
                                   .seed = (uint64_t)tg_clock_wall_ns() % 1000000,
                                   .orders = ORDERS_DEFAULT};
    if (!read_options(&run.options, argc, argv)) {
        fprintf(stderr, "usage: kills [--kills N] [--seed S] [--orders N]\n");
        return EXIT_USAGE;
    }
    kills(&run);
    return EXIT_SUCCESS;
}
