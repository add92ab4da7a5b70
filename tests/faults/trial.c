#include "tests/faults/trial.h"
#include "tests/lib/tree.h"

#include "storage/storage.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* How long a step may go unserved before a lasting fault counts as being in its way. */
#define STUCK_MS 60
#define PROBE_MS 25
/* For one step to be served when nothing is in its way any more: longer is a hang. */
#define SERVE_MS 8000

#define FINDING_BYTES 4096

/* Documented in docs/operations.md. */
#define EXIT_MEMORY          71
#define EXIT_STORAGE_UNKNOWN 74

/* --- names --- */

const char *trial_class_name(enum plan_class class)
{
    static const char *const names[] = {
#define PLAN_TEXT(name, text, calls, ...) [PLAN_##name] = text,
        PLAN_CLASSES(PLAN_TEXT)
#undef PLAN_TEXT
            [PLAN_NONE] = "none",
    };
    return names[class];
}

uint32_t trial_errors(enum plan_class class, int errors[PLAN_ERRORS_MAX])
{
    static const int all[][PLAN_ERRORS_MAX] = {
#define PLAN_LIST(name, text, calls, ...) [PLAN_##name] = {__VA_ARGS__},
        PLAN_CLASSES(PLAN_LIST)
#undef PLAN_LIST
    };
    uint32_t count = 0;
    while (count < PLAN_ERRORS_MAX && all[class][count] != 0) {
        errors[count] = all[class][count];
        count++;
    }
    return count;
}

const char *trial_error_name(int error)
{
    return error == PLAN_SHORT ? "SHORT" : strerrorname_np(error);
}

/* --- the bench --- */

static void cannot(const char *what, const char *path)
{
    fprintf(stderr, "faults: cannot %s %s: %m\n", what, path);
    exit(3);
}

void trial_bench_init(struct trial_bench *bench, const char *root)
{
    *bench = (struct trial_bench){0};
    snprintf(bench->root, sizeof(bench->root), "%s", root);
    snprintf(bench->data_dir, sizeof(bench->data_dir), "%s/data", bench->root);
    snprintf(bench->messages, sizeof(bench->messages), "%s/messages", bench->root);
    snprintf(bench->plan_path, sizeof(bench->plan_path), "%s/plan", bench->root);
    if (mkdir(bench->root, 0700))
        cannot("make", bench->root);
    int fd = open(bench->plan_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, PLAN_BYTES))
        cannot("make", bench->plan_path);
    bench->plan = mmap(NULL, PLAN_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (bench->plan == MAP_FAILED)
        cannot("map", bench->plan_path);
}

void trial_bench_fini(struct trial_bench *bench)
{
    munmap(bench->plan, PLAN_BYTES);
    tree_remove(bench->root);
}

static void copy_file(const char *from, const char *to)
{
    static char bytes[1 << 16];
    int in = open(from, O_RDONLY | O_CLOEXEC);
    int out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ssize_t got = -1;
    while (in >= 0 && out >= 0 && (got = read(in, bytes, sizeof(bytes))) > 0)
        if (write(out, bytes, (size_t)got) != got)
            cannot("write", to);
    if (got != 0)
        cannot("copy", from);
    close(in);
    close(out);
}

static void prepare(struct trial_bench *bench, const struct trial *trial, struct work *work)
{
    char path[200];
    tree_remove(bench->data_dir);
    work_init(work);
    if (trial->existing) {
        mkdir(bench->data_dir, 0700);
        snprintf(path, sizeof(path), "%s/data.mdb", bench->data_dir);
        copy_file(bench->template_path, path);
        *work = *bench->template_work;
    }
    memset(bench->plan, 0, sizeof(*bench->plan));
    bench->plan->class = trial->class;
    bench->plan->error = trial->error;
    bench->plan->number = trial->number;
    bench->plan->onward = trial->onward;
    bench->plan->magic = PLAN_MAGIC;
}

/* --- what is found --- */

struct run {
    struct trial_bench *bench;
    const struct trial *trial;
    struct trial_result *result;
    struct work work;
    struct host host;
};

static bool broken(struct run *run, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The first thing that is wrong counts. Returns false. */
static bool broken(struct run *run, const char *format, ...)
{
    struct trial_result *result = run->result;
    if (result->outcome == TRIAL_BROKEN)
        return false;
    result->outcome = TRIAL_BROKEN;
    char what[700];
    va_list list;
    va_start(list, format);
    vsnprintf(what, sizeof(what), format, list);
    va_end(list);
    const char *said = host_complaint(&run->host);
    snprintf(result->text, sizeof(result->text), "%s%s%.800s", what,
             said[0] ? "\n    it said: " : "", said);
    return false;
}

static bool has_hit(const struct run *run)
{
    return atomic_load_explicit(&run->bench->plan->hits, memory_order_acquire) > 0;
}

static void lift(struct run *run)
{
    atomic_store_explicit(&run->bench->plan->lifted, 1, memory_order_release);
}

/* The words of a daemon that ends name the reason, in words that lead somebody to it. */
static bool is_clear(const struct run *run, const char *said)
{
    int error = run->trial->error;
    if (said[0] == '\0' || strstr(said, "Success"))
        return false;
    /* Of locks, LMDB tells what it saw next; a page that cannot be read is a damaged one. */
    if (error == PLAN_SHORT || run->trial->class == PLAN_LOCK ||
        (run->trial->class == PLAN_READ && strstr(said, "is damaged")))
        return true;
    if (error == ENOMEM)
        return strcasestr(said, "memory") != NULL;
    return strstr(said, strerror(error)) != NULL;
}

/* It ended, though nobody told it to, or with a status that is not 0. */
static bool check_end(struct run *run, bool at_start)
{
    struct host *host = &run->host;
    const char *said = host_complaint(host);
    if (host->status == HOST_SIGNALLED)
        return broken(run, "a signal ended it: %s", strsignal(host->signal));
    if (host->status == HOST_HANGS)
        return broken(run, "it hangs: it was killed");
    if (!has_hit(run))
        return broken(run, "it ended with status %d, and nothing had failed", host->status);
    run->result->outcome = at_start ? TRIAL_REFUSED : TRIAL_STOPPED;
    if (!is_clear(run, said) && !host_said(host, "not drained"))
        return broken(run, "it ended with status %d and does not say why", host->status);
    switch (host->status) {
    case 1:
        return at_start || host_said(host, "not drained") || strstr(said, "stopping") ||
               broken(run, "it said that it was ready, and ended with status 1");
    case EXIT_MEMORY:
        return strstr(said, "out of memory") ||
               broken(run, "status %d is for want of memory, and it does not say so", host->status);
    case EXIT_STORAGE_UNKNOWN:
        return strstr(said, "the outcome of a commit is unknown") ||
               broken(run, "status %d is for a commit, and it does not say so", host->status);
    default:
        return broken(run, "it ended with the undocumented status %d", host->status);
    }
}

/* Keeps the first. */
static void on_finding(void *context, const char *line)
{
    char *text = context;
    if (text[0] == '\0')
        snprintf(text, FINDING_BYTES, "%s", line);
}

/* tidegatectl verify, in a process of its own, since a damaged database may end it. */
static bool verify(struct run *run, const char *when)
{
    char *found =
        mmap(NULL, FINDING_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (found == MAP_FAILED)
        cannot("map", "a page");
    int status = 0;
    pid_t pid = fork();
    if (pid == 0) {
        struct sto_verify_report report = {0};
        struct tg_fault fault = {0};
        enum tg_error error =
            sto_verify(run->bench->data_dir, on_finding, NULL, found, &report, &fault);
        /* A start that was refused may leave no database, or one without anything in it. */
        bool none_yet = (error == TG_ERR_NOTFOUND || error == TG_ERR_CORRUPT) &&
                        !run->trial->existing && !run->work.told[0].answered;
        if (error != TG_ERR_OK)
            on_finding(found, fault.text);
        _exit(error == TG_ERR_OK || none_yet ? 0 : 1);
    }
    bool fine = waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
    if (!fine)
        broken(run, "verify %s: %s", when, found[0] ? found : "it does not come to an end");
    munmap(found, FINDING_BYTES);
    return fine;
}

/* --- the daemon with the fault --- */

/* What the work came to, in words; true: all is well so far. */
static bool check_work(struct run *run, enum work_result result, const char *when)
{
    switch (result) {
    case WORK_DONE:
        return true;
    case WORK_STUCK:
        return broken(run, "%s: step %u is not served in %u ms", when, run->work.next,
                      run->work.patience_ms);
    case WORK_WRONG:
        return broken(run, "%s: %s", when, run->work.wrong);
    case WORK_GONE:
        return check_end(run, false);
    }
    abort();
}

/* A lasting fault is in the way: a look at what is answered meanwhile, and then it is over. */
static enum work_result get_past(struct run *run)
{
    enum work_result result = work_probe(&run->work, PROBE_MS);
    lift(run);
    run->work.patience_ms = SERVE_MS;
    return result == WORK_DONE || result == WORK_STUCK ? work_play(&run->work, 0) : result;
}

static enum work_result play(struct run *run)
{
    struct work *work = &run->work;
    work->patience_ms = run->trial->onward ? STUCK_MS : SERVE_MS;
    enum work_result result = work_connect(work, &run->host);
    if (result == WORK_DONE)
        result = work_play(work, 0);
    if (result == WORK_STUCK && run->trial->onward)
        result = get_past(run);
    if (result == WORK_DONE && run->trial->onward && has_hit(run)) {
        lift(run);
        work->patience_ms = SERVE_MS;
    }
    if (result == WORK_DONE)
        result = work_settle(work);
    if (result == WORK_STUCK && work->patience_ms < SERVE_MS) {
        lift(run);
        work->patience_ms = SERVE_MS;
        result = work_settle(work);
    }
    return result;
}

/* All was served: it has to drain. A fault that strikes just then may end it, if it says so. */
static bool stop(struct run *run)
{
    work_disconnect(&run->work);
    if (!host_runs(&run->host))
        return check_end(run, false);
    host_stop(&run->host);
    if (run->host.status == 0) {
        run->result->outcome = has_hit(run) ? TRIAL_SERVED : TRIAL_NOT_REACHED;
        return true;
    }
    return check_end(run, false);
}

static bool run_with_fault(struct run *run)
{
    switch (host_start(&run->host)) {
    case HOST_ENDED:
        return check_end(run, true);
    case HOST_LATE:
        return broken(run, "it neither starts nor refuses to");
    case HOST_READY:
        break;
    }
    enum work_result result = play(run);
    bool fine = check_work(run, result, "with the fault");
    if (result != WORK_DONE) {
        work_disconnect(&run->work);
        host_kill(&run->host);
        return fine;
    }
    return stop(run);
}

/* --- the daemon without a fault, on what the other one left --- */

static bool run_without(struct run *run)
{
    run->host.plan = NULL;
    enum host_start started = host_start(&run->host);
    if (started != HOST_READY)
        return broken(run, "it does not start again: status %d", run->host.status);
    struct work *work = &run->work;
    work->patience_ms = SERVE_MS;
    enum work_result result = work_connect(work, &run->host);
    if (result == WORK_DONE)
        result = work_replay(work);
    if (result == WORK_DONE)
        result = work_play(work, 0);
    if (result == WORK_DONE)
        result = work_settle(work);
    if (result == WORK_DONE)
        result = work_count_orders(work);
    work_disconnect(work);
    if (result == WORK_GONE)
        return broken(run, "after the restart it ended with status %d", run->host.status);
    bool fine = check_work(run, result, "after the restart");
    host_stop(&run->host);
    if (fine && run->host.status != 0)
        return broken(run, "after the restart it does not drain: status %d", run->host.status);
    return fine;
}

void trial_run(struct trial_bench *bench, const struct trial *trial, struct trial_result *result)
{
    static struct run run;
    run = (struct run){
        .bench = bench,
        .trial = trial,
        .result = result,
        .host = {.data_dir = bench->data_dir,
                 .messages = bench->messages,
                 .plan = bench->plan_path},
    };
    *result = (struct trial_result){.outcome = TRIAL_NOT_REACHED};
    prepare(bench, trial, &run.work);
    bool fine = run_with_fault(&run);
    for (int i = 0; i < PLAN_CLASS_COUNT; i++)
        result->calls[i] = atomic_load_explicit(&bench->plan->calls[i], memory_order_relaxed);
    snprintf(result->call, sizeof(result->call), "%s", bench->plan->call);
    if (fine && host_said_broken(&run.host))
        fine = broken(&run, "it said what no daemon should say");
    if (fine && verify(&run, "before the restart") && run_without(&run))
        verify(&run, "at the end");
}

bool trial_make_template(struct trial_bench *bench, struct work *work, char text[1600])
{
    static const struct trial none = {.class = PLAN_NONE};
    struct host host = {.data_dir = bench->data_dir, .messages = bench->messages};
    prepare(bench, &none, work);
    if (host_start(&host) != HOST_READY) {
        snprintf(text, 1600, "the daemon does not start: %s", host_complaint(&host));
        return false;
    }
    enum work_result result = work_connect(work, &host);
    if (result == WORK_DONE)
        result = work_play(work, work_half());
    work_disconnect(work);
    host_stop(&host);
    if (result == WORK_DONE && host.status == 0)
        return true;
    snprintf(text, 1600, "the workload does not work: step %u: %s (status %d) %s", work->next,
             work->wrong, host.status, host_complaint(&host));
    return false;
}
