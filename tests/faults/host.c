#include "tests/faults/host.h"

#include "tests/faults/plan.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define START_MS       15000
#define STOP_MS        15000
#define LINE_MAX_BYTES 1100

/* Tables that are small enough to start at once. */
static const char *const small[] = {
    "--threads", "2",
    "--set",     "storage.map_mib=64",
    "--set",     "storage.free_mib_min=0",
    "--set",     "engine.items_max=4096",
    "--set",     "engine.sales_max=64",
    "--set",     "engine.orders_max=10000",
    "--set",     "engine.holdings_max=10000",
    "--set",     "engine.timers_max=10000",
    "--set",     "server.connections_max=256",
    "--set",     "server.drain_timeout_s=5",
};

static bool spawn(struct host *host, int ready_fd)
{
    const char *argv[5 + sizeof(small) / sizeof(small[0]) + 1] = {
        proc_program("tidegated"), "--data-dir", host->data_dir, "--listen", "127.0.0.1:0"};
    /* What a daemon that gives up leaves allocated is no leak that anybody cares about. */
    const char *environment[] = {PLAN_ENV, host->plan, "LSAN_OPTIONS", "detect_leaks=0", NULL};
    memcpy(argv + 5, small, sizeof(small));
    unlink(host->messages); /* anew with each start */
    return proc_start_preloaded(&host->proc, argv,
                                host->plan ? proc_program("tests/faults.so") : NULL, environment,
                                ready_fd, host->messages);
}

/* How it ended, once it has. */
static void take_status(struct host *host)
{
    host->status = host->proc.signal ? HOST_SIGNALLED : host->proc.status;
    host->signal = host->proc.signal;
}

enum host_start host_start(struct host *host)
{
    int ready[2];
    if (pipe2(ready, O_CLOEXEC) || !spawn(host, ready[1])) {
        fprintf(stderr, "faults: cannot start a daemon: %s\n", strerror(errno));
        exit(3);
    }
    close(ready[1]);
    struct proc_line line = {.fd = ready[0]};
    bool is_ready = proc_line_read(&line, START_MS) == 1 &&
                    sscanf(line.text, "tidegated ready on %63s", host->address) == 1;
    close(ready[0]);
    if (is_ready)
        return HOST_READY;
    host_wait(host, 2000);
    return host->status == HOST_HANGS ? HOST_LATE : HOST_ENDED;
}

bool host_runs(struct host *host)
{
    if (host->proc.pid == 0)
        return false;
    if (proc_runs(&host->proc))
        return true;
    host_wait(host, STOP_MS);
    return false;
}

void host_wait(struct host *host, int wait_ms)
{
    if (host->proc.pid == 0)
        return;
    bool ended = proc_wait(&host->proc, wait_ms);
    if (!ended)
        proc_kill(&host->proc);
    take_status(host);
    if (!ended)
        host->status = HOST_HANGS;
}

void host_stop(struct host *host)
{
    if (host->proc.pid != 0)
        kill(host->proc.pid, SIGTERM);
    host_wait(host, STOP_MS);
}

void host_kill(struct host *host)
{
    host_wait(host, 0);
}

/* --- what it said --- */

const char *host_complaint(const struct host *host)
{
    static char found[LINE_MAX_BYTES];
    char line[LINE_MAX_BYTES];
    found[0] = '\0';
    FILE *file = fopen(host->messages, "re");
    while (file && fgets(line, (int)sizeof(line), file)) {
        line[strcspn(line, "\n")] = '\0';
        if (strstr(line, " error ") || strncmp(line, "tidegated: ", 11) == 0)
            snprintf(found, sizeof(found), "%s", line);
    }
    if (file)
        fclose(file);
    return found;
}

bool host_said(const struct host *host, const char *text)
{
    char line[LINE_MAX_BYTES];
    bool found = false;
    FILE *file = fopen(host->messages, "re");
    while (file && !found && fgets(line, (int)sizeof(line), file))
        found = strstr(line, text) != NULL;
    if (file)
        fclose(file);
    return found;
}

bool host_said_broken(const struct host *host)
{
    return host_said(host, "Sanitizer") || host_said(host, "runtime error:") ||
           host_said(host, "ssertion");
}
