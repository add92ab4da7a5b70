/* A daemon under a steady, mixed, open-loop load for half an hour, looked at every second: memory
 * must be flat, every byte of the file explained, latency flat, nothing leak, all audits be clean.
 *
 *   tidegated   retention short (ids and events are kept for 20 s), so that what has a steady state
 *               comes to it in the warm-up
 *   crew        tidegate-load: payments, teams, carts, other channels, all the time; beside them a
 *               short flash sale a minute, which is sold out within seconds
 *   people      a probe of latency, a consumer that acks, visitors that come and go (people.h)
 *   sample      /proc and the pages of the database, every second (sample.h)
 *   judge       windows, slopes, verdicts (judge.h)
 *
 * docs/kills-and-soak.md tells how to read it.
 *
 * Usage: soak [--seconds N] [--seed S] [--out DIR]
 *
 * Exit status: 0 passed; 1 something is not flat, not explained or broken; 2 usage; 3 it could not
 * be run here. */
#include "base/clock.h"
#include "tests/lib/crew.h"
#include "tests/lib/node.h"
#include "tests/lib/tree.h"
#include "tests/soak/people.h"
#include "tests/soak/report.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECONDS_DEFAULT 1800
#define SECONDS_MIN     60
#define SECONDS_MAX     86400
#define START_MS_MAX    60000
#define FINISH_MS_MAX   900000 /* the audits of half an hour of orders */
#define ROW_S           60     /* a row in so many seconds, at most */
#define REMEMBER_S      "20"
#define WAVE_S          20
#define WAVE_EVERY_S    30

enum {
    EXIT_BROKEN = 1,
    EXIT_USAGE = 2,
    EXIT_CANNOT = 3
};

struct options {
    uint64_t seconds, seed;
    const char *out;
};

struct soak {
    struct options options;
    char root[64];
    struct node node;
    struct crew crew;
    struct crew wave; /* the flash sale of this minute */
    uint64_t waves;
    struct crew_sums sums; /* of waves and crew */
    int task_fd;           /* for soak_machine_us */
    struct people people;
    struct soak_book *book;
    struct soak_sample *samples; /* one a second */
    uint32_t sample_count;
    uint32_t shown; /* samples that rows have told */
    int64_t begun_ns;
    struct soak_facts facts;
    struct soak_judgement judgement;
    bool is_over;        /* the loads only audit any more */
    uint32_t complaints; /* lines of the daemon's log above info */
    char complaint[160];
    char stopped[512]; /* why the load ended early; "": it did not */
};

/* --- ends ----------------------------------------------------------------------------------------
 */

static void tell_how_to_repeat(const struct soak *soak)
{
    fprintf(stderr,
            "soak: again: make soak SECONDS=%" PRIu64 " SEED=%" PRIu64
            "; kept: %s\nsoak: the daemon's log ends with:\n%s",
            soak->options.seconds, soak->options.seed, soak->root, node_log_tail(&soak->node));
}

__attribute__((noreturn)) static void cannot(struct soak *soak, const char *what)
{
    fprintf(stderr, "soak: %s: %s\n", what, strerror(errno));
    tell_how_to_repeat(soak);
    crew_kill(&soak->crew);
    crew_kill(&soak->wave);
    node_kill(&soak->node);
    exit(EXIT_CANNOT);
}

/* --- begin ---------------------------------------------------------------------------------------
 */

static void start_daemon(struct soak *soak)
{
    static const char *const args[] = {"--threads", "2",
                                       "--set",     "engine.request_ttl_s=" REMEMBER_S,
                                       "--set",     "events.keep_s=" REMEMBER_S,
                                       "--set",     "storage.map_gib=64",
                                       "--set",     "server.connections_max=1024"};
    node_init(&soak->node, soak->root);
    for (size_t i = 0; i < sizeof(args) / sizeof(args[0]); i++)
        node_arg(&soak->node, args[i]);
    if (!node_spawn(&soak->node) || node_ready(&soak->node, START_MS_MAX) != 1)
        cannot(soak, "the daemon does not start here");
    soak->book = soak_book_open(soak->node.data_dir);
    if (!soak->book)
        cannot(soak, "the database cannot be looked at");
}

/* Stories a second, each of several requests. */
static void start_loads(struct soak *soak)
{
    static const struct {
        const char *scenario, *rate, *stock, *places;
    } loads[] = {
        {"lifecycle", "120", "50M", "64"},
        {"groupbuy", "40", "50M", "64"},
        {"cart", "40", "50M", "64"},
        {"ingest", "6", "50M", "64"},
    };
    char duration[24], seed[24];
    snprintf(duration, sizeof(duration), "%" PRIu64 "s", soak->options.seconds);
    snprintf(seed, sizeof(seed), "%" PRIu64, soak->options.seed);
    crew_init(&soak->crew, soak->root, soak->node.address);
    for (size_t i = 0; i < sizeof(loads) / sizeof(loads[0]); i++)
        if (!crew_start(&soak->crew, loads[i].scenario, "--connections", "8", "--pipeline",
                        loads[i].places, "--rate", loads[i].rate, "--stock", loads[i].stock,
                        "--duration", duration, "--seed", seed, NULL))
            cannot(soak, "no process for a load");
}

/* Its orders stand until their payment window of 15 minutes is over, so there are few; what else it
 * asks for is refused. No retries: what is sent again after REMEMBER_S is another order. */
static void start_wave(struct soak *soak)
{
    char duration[24], seed[24];
    snprintf(duration, sizeof(duration), "%ds", WAVE_S);
    snprintf(seed, sizeof(seed), "%" PRIu64, soak->options.seed + soak->waves++);
    crew_init(&soak->wave, soak->root, soak->node.address);
    if (!crew_start(&soak->wave, "seckill", "--connections", "16", "--pipeline", "16", "--rate",
                    "1000", "--stock", "500", "--users", "20k", "--retry-share", "0", "--duration",
                    duration, "--seed", seed, NULL))
        cannot(soak, "no process for a load");
}

static bool finish_wave(struct soak *soak)
{
    char reason[512] = "";
    bool clean = crew_finish(&soak->wave, FINISH_MS_MAX, &soak->sums, reason, sizeof(reason));
    if (!clean)
        snprintf(soak->stopped, sizeof(soak->stopped), "flash sale %" PRIu64 ": %.400s",
                 soak->waves, reason);
    return clean;
}

static void begin(struct soak *soak)
{
    soak->facts.seconds = soak->options.seconds;
    soak->facts.seed = soak->options.seed;
    const char *parent = getenv("TMPDIR");
    snprintf(soak->root, sizeof(soak->root), "%.32s/tidegate-soak-XXXXXX",
             parent ? parent : "/tmp");
    soak->samples = calloc(soak->options.seconds + 1, sizeof(*soak->samples));
    if (!soak->samples || !mkdtemp(soak->root))
        cannot(soak, soak->root);
    fprintf(stderr, "soak: %" PRIu64 " s, seed %" PRIu64 ", in %s\n", soak->options.seconds,
            soak->options.seed, soak->root);
    start_daemon(soak);
    if (!people_start(&soak->people, soak->node.address, soak->options.seed)) {
        fprintf(stderr, "soak: %s\n", soak->people.fault);
        cannot(soak, "nobody can use the server");
    }
    char path[96];
    snprintf(path, sizeof(path), "%s/task", soak->root);
    soak->task_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    start_loads(soak);
    start_wave(soak);
    soak->begun_ns = tg_clock_mono_ns();
}

/* --- while it goes on ----------------------------------------------------------------------------
 */

static bool look(struct soak *soak, struct soak_sample *sample)
{
    static struct tg_histogram latency;
    sample->at_s = (double)(tg_clock_mono_ns() - soak->begun_ns) / 1e9;
    people_take(&soak->people, &latency);
    sample->probes = latency.count;
    sample->p50_us = (double)tg_histogram_percentile(&latency, 0.5) / 1e3;
    sample->p99_us = (double)tg_histogram_percentile(&latency, 0.99) / 1e3;
    sample->max_us = (double)latency.max / 1e3;
    sample->machine_us = soak_machine_us(soak->task_fd);
    soak->facts.probes += latency.count;
    return soak_sample_process(soak->node.proc.pid, soak->node.data_dir, sample) &&
           soak_book_pages(soak->book, &sample->pages);
}

static void show_row(struct soak *soak)
{
    struct soak_window row;
    uint32_t count = soak->sample_count - soak->shown;
    uint32_t every = soak->options.seconds >= 10 * ROW_S ? ROW_S : ROW_S / 6;
    if (count < every)
        return;
    if (soak->shown == 0)
        soak_show_head(stderr);
    soak_window_of(soak->samples + soak->shown, count, &row);
    soak_show_row(stderr, &row);
    soak->shown = soak->sample_count;
}

/* What must not be: false once something has ended or gone wrong. */
static bool goes_on(struct soak *soak)
{
    const char *ended = crew_ended(&soak->crew);
    char fault[256];
    if (!proc_runs(&soak->node.proc))
        snprintf(soak->stopped, sizeof(soak->stopped), "the daemon has ended");
    else if (ended)
        snprintf(soak->stopped, sizeof(soak->stopped), "the load %s has ended early", ended);
    else if (people_fault(&soak->people, fault, sizeof(fault)))
        snprintf(soak->stopped, sizeof(soak->stopped), "%s", fault);
    return soak->stopped[0] == '\0';
}

static void sleep_until(int64_t until_ns)
{
    int64_t left_ns = until_ns - tg_clock_mono_ns();
    if (left_ns > 0)
        usleep((useconds_t)(left_ns / 1000));
}

static void watch(struct soak *soak)
{
    for (uint64_t second = 1; second < soak->options.seconds; second++) {
        sleep_until(soak->begun_ns + (int64_t)second * TG_NS_PER_S);
        if (!goes_on(soak))
            return;
        if (!look(soak, &soak->samples[soak->sample_count])) {
            snprintf(soak->stopped, sizeof(soak->stopped), "the daemon cannot be looked at");
            return;
        }
        soak->sample_count++;
        show_row(soak);
        bool is_over = crew_ended(&soak->wave) != NULL && second % WAVE_EVERY_S == 0;
        if (is_over && finish_wave(soak))
            start_wave(soak);
    }
}

/* --- the end -------------------------------------------------------------------------------------
 */

static void finish_people(struct soak *soak)
{
    char fault[256];
    const struct people *people = &soak->people;
    people_stop(&soak->people);
    bool broken = people_fault(&soak->people, fault, sizeof(fault));
    soak->facts.events_consumed = people->events;
    soak->facts.visits = people->visits;
    soak->facts.left_early = people->left_early;
    soak->facts.pages_read = people->pages_read;
    soak->facts.busy = people->busy;
    soak_add(&soak->judgement, "everybody served", !broken && people->visits && people->events,
             "%" PRIu64 " probes (%" PRIu64 " BUSY), %" PRIu64 " visitors and %" PRIu64
             " who left in the middle, %" PRIu64 " events acked%s%s",
             soak->facts.probes, people->busy, people->visits, people->left_early, people->events,
             broken ? ": " : "", fault);
}

static void finish_loads(struct soak *soak)
{
    char reason[512] = "";
    const struct crew_sums *sums = &soak->sums;
    if (soak->stopped[0] != '\0')
        crew_signal(&soak->crew, SIGINT);
    fprintf(stderr, "soak: the loads finish and audit\n");
    finish_wave(soak);
    bool clean = crew_finish(&soak->crew, FINISH_MS_MAX, &soak->sums, reason, sizeof(reason));
    soak->facts.orders = sums->orders_read;
    soak->facts.answers = sums->answers;
    soak->facts.events_read = sums->events_read;
    soak->facts.retries_checked = sums->retries_checked;
    soak_add(&soak->judgement, "audits clean", clean,
             "%" PRIu64 " flash sales, %" PRIu64 " orders, %" PRIu64 " answers, %" PRIu64
             " retries, %" PRIu64 " events%s%.120s",
             soak->waves, sums->orders_read, sums->answers, sums->retries_checked,
             sums->events_read, clean ? "" : ": ", reason);
}

/* While a load audits, it acks no events, and the daemon warns of that: only errors count then. */
static void take_line(void *context, const char *line)
{
    struct soak *soak = context;
    if (strstr(line, " info ") || (soak->is_over && strstr(line, " warn ")))
        return;
    if (soak->complaints++ == 0)
        snprintf(soak->complaint, sizeof(soak->complaint), "%s", line);
}

static void check_offline(struct soak *soak)
{
    struct proc verify;
    char messages[96];
    const char *argv[] = {proc_program("tidegatectl"), "verify", "--data-dir", soak->node.data_dir,
                          NULL};
    snprintf(messages, sizeof(messages), "%s/verify", soak->root);
    if (!proc_start(&verify, argv, -1, messages) || !proc_wait(&verify, FINISH_MS_MAX))
        cannot(soak, "tidegatectl verify does not run or end");
    soak_add(&soak->judgement, "offline check", verify.status == 0, "tidegatectl verify says %d%s",
             verify.status, verify.status ? ": see the file verify" : "");
}

/* Nobody writes now: every page of the file must be one thing or the other. */
static void count_pages(struct soak *soak)
{
    struct soak_pages pages;
    bool read = soak_book_pages(soak->book, &pages);
    soak_add(&soak->judgement, "no page lost", read && pages.used + pages.spare == pages.file,
             "%" PRIu64 " bytes in use + %" PRIu64 " free of %" PRIu64, pages.used, pages.spare,
             pages.file);
}

static void stop_daemon(struct soak *soak)
{
    node_drain(&soak->node);
    bool drained = node_drained(&soak->node, START_MS_MAX);
    node_log_lines(&soak->node, take_line, soak);
    soak_add(&soak->judgement, "drained", drained, "exit status %d", soak->node.proc.status);
    soak_add(&soak->judgement, "log quiet", soak->complaints == 0, "%u lines above info%s%s",
             soak->complaints, soak->complaints ? ", the first: " : "", soak->complaint);
    count_pages(soak);
    soak_book_close(soak->book);
    check_offline(soak);
}

static int judge(struct soak *soak)
{
    char path[256];
    struct soak_judgement *j = &soak->judgement;
    node_log_lines(&soak->node, take_line, soak);
    soak->is_over = true;
    soak_judge(j, soak->samples, soak->sample_count, soak->options.seconds);
    finish_loads(soak);
    finish_people(soak);
    if (soak->stopped[0] != '\0')
        soak_add(j, "whole length", false, "after %u s: %.180s", soak->sample_count, soak->stopped);
    stop_daemon(soak);
    soak_show_findings(stdout, j, &soak->facts);
    mkdir(soak->options.out, 0755);
    snprintf(path, sizeof(path), "%.200s/soak.json", soak->options.out);
    bool written = soak_write_json(path, j, &soak->facts);
    snprintf(path, sizeof(path), "%.200s/soak.svg", soak->options.out);
    if (!soak_write_svg(path, j) || !written)
        cannot(soak, soak->options.out);
    bool passed = soak_passed(j);
    uint32_t good = 0;
    for (uint32_t i = 0; i < j->check_count; i++)
        good += j->checks[i].ok;
    printf("soak: %s, %u of %u checks, %" PRIu64 " answers and %" PRIu64 " orders in %" PRIu64
           " s, seed %" PRIu64 "; %s/soak.json, soak.svg\n",
           passed ? "passed" : "FAILED", good, j->check_count, soak->facts.answers,
           soak->facts.orders, soak->options.seconds, soak->options.seed, soak->options.out);
    return passed ? EXIT_SUCCESS : EXIT_BROKEN;
}

/* --- options -------------------------------------------------------------------------------------
 */

static bool read_number(const char *text, uint64_t least, uint64_t most, uint64_t *number)
{
    char *end;
    errno = 0;
    *number = strtoull(text, &end, 10);
    return errno == 0 && text[0] >= '0' && text[0] <= '9' && *end == '\0' && *number >= least &&
           *number <= most;
}

static bool read_options(struct options *options, int argc, char **argv)
{
    static const struct option names[] = {
        {"seconds", required_argument, NULL, 't'},
        {"seed", required_argument, NULL, 's'},
        {"out", required_argument, NULL, 'o'},
        {NULL, 0, NULL, 0},
    };
    bool fits = true;
    int option;
    while (fits && (option = getopt_long(argc, argv, "", names, NULL)) != -1) {
        if (option == 't')
            fits = read_number(optarg, SECONDS_MIN, SECONDS_MAX, &options->seconds);
        else if (option == 's')
            fits = read_number(optarg, 0, UINT64_MAX, &options->seed);
        else if (option == 'o')
            options->out = optarg;
        else
            fits = false;
    }
    return fits && optind == argc;
}

int main(int argc, char **argv)
{
    static struct soak soak;
    soak.options = (struct options){.seconds = SECONDS_DEFAULT,
                                    .seed = (uint64_t)tg_clock_wall_ns() % 1000000,
                                    .out = TG_BUILD "/soak"};
    if (!read_options(&soak.options, argc, argv)) {
        fprintf(stderr, "usage: soak [--seconds %d-%d] [--seed S] [--out DIR]\n", SECONDS_MIN,
                SECONDS_MAX);
        return EXIT_USAGE;
    }
    begin(&soak);
    watch(&soak);
    int status = judge(&soak);
    if (status == EXIT_SUCCESS)
        tree_remove(soak.root);
    else
        tell_how_to_repeat(&soak);
    free(soak.samples);
    return status;
}
