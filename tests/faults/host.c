#include "tests/faults/host.h"

#include "base/clock.h"
#include "tests/faults/plan.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define START_MS       15000
#define STOP_MS        15000
#define LINE_MAX_BYTES 1100

/* A sanitizer that is not the first library must be told so. What a daemon that gives up leaves
 * allocated is no leak that anybody cares about. */
static void set_preload(const struct host *host)
{
    const char *before = getenv("ASAN_OPTIONS");
    char options[512];
    snprintf(options, sizeof(options), "%s%sverify_asan_link_order=0:detect_leaks=0",
             before ? before : "", before ? ":" : "");
    setenv("ASAN_OPTIONS", options, 1);
    setenv("LD_PRELOAD", TG_BUILD "/tests/faults.so", 1);
    setenv(PLAN_ENV, host->plan, 1);
}

/* In the child: becomes the daemon, with tables that are small enough to start at once. */
static void become(const struct host *host, pid_t parent, int ready_fd)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int messages = open(host->messages, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
    if (getppid() != parent || messages < 0)
        _exit(126);
    dup2(ready_fd, STDOUT_FILENO);
    dup2(messages, STDERR_FILENO);
    if (host->plan)
        set_preload(host);
    execl(TG_BUILD "/tidegated", "tidegated", "--data-dir", host->data_dir, "--listen",
          "127.0.0.1:0", "--threads", "2", "--set", "storage.map_mib=64", "--set",
          "storage.free_mib_min=0", "--set", "engine.items_max=4096", "--set",
          "engine.sales_max=64", "--set", "engine.orders_max=10000", "--set",
          "engine.holdings_max=10000", "--set", "engine.timers_max=10000", "--set",
          "server.connections_max=256", "--set", "server.drain_timeout_s=5", (char *)NULL);
    _exit(127);
}

/* Waits for the ready line; false when the daemon ends, or the time, without one. */
static bool read_ready(struct host *host, int fd)
{
    char line[256] = "";
    size_t used = 0;
    struct pollfd event = {.fd = fd, .events = POLLIN};
    while (!memchr(line, '\n', used)) {
        if (used == sizeof(line) - 1 || poll(&event, 1, START_MS) != 1)
            return false;
        ssize_t got = read(fd, line + used, sizeof(line) - 1 - used);
        if (got <= 0)
            return false;
        used += (size_t)got;
    }
    return sscanf(line, "tidegated ready on %63s", host->address) == 1;
}

static void take_status(struct host *host, int status)
{
    host->pid = 0;
    host->status = WIFEXITED(status) ? WEXITSTATUS(status) : HOST_SIGNALLED;
    host->signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

enum host_start host_start(struct host *host)
{
    int ready[2];
    pid_t parent = getpid();
    if (pipe2(ready, O_CLOEXEC) || (host->pid = fork()) < 0) {
        fprintf(stderr, "faults: cannot start a daemon: %s\n", strerror(errno));
        exit(3);
    }
    if (host->pid == 0)
        become(host, parent, ready[1]);
    close(ready[1]);
    bool is_ready = read_ready(host, ready[0]);
    close(ready[0]);
    if (is_ready)
        return HOST_READY;
    host_wait(host, 2000);
    return host->status == HOST_HANGS ? HOST_LATE : HOST_ENDED;
}

bool host_runs(struct host *host)
{
    int status;
    if (host->pid != 0 && waitpid(host->pid, &status, WNOHANG) == host->pid)
        take_status(host, status);
    return host->pid != 0;
}

void host_wait(struct host *host, int wait_ms)
{
    if (host->pid == 0)
        return;
    int fd = pidfd_open(host->pid, 0);
    struct pollfd event = {.fd = fd, .events = POLLIN};
    bool ended = fd >= 0 && poll(&event, 1, wait_ms) == 1;
    if (fd >= 0)
        close(fd);
    int status = 0;
    if (!ended)
        kill(host->pid, SIGKILL);
    waitpid(host->pid, &status, 0);
    take_status(host, status);
    if (!ended)
        host->status = HOST_HANGS;
}

void host_stop(struct host *host)
{
    if (host->pid != 0)
        kill(host->pid, SIGTERM);
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
