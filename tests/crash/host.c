#include "tests/crash/host.h"

#include "tests/crash/log.h"

#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define WAIT_MS 20000
#define SYNC_US "200"

static void fail(const struct host *host, const char *what)
{
    fprintf(stderr, "crash: the daemon %s; its log: %s\n", what, host->messages);
    exit(CRASH_EXIT_UNABLE);
}

static void record_into(const struct host *host)
{
    char options[512];
    const char *before = getenv("ASAN_OPTIONS");
    /* An address sanitizer that is not the first library refuses to start unless told. */
    snprintf(options, sizeof(options), "verify_asan_link_order=0:%s", before ? before : "");
    setenv("ASAN_OPTIONS", options, 1);
    setenv("LD_PRELOAD", TG_BUILD "/tests/record.so", 1);
    setenv("TG_RECORD_LOG", host->log, 1);
    setenv("TG_RECORD_DIR", host->data_dir, 1);
    setenv("TG_RECORD_SYNC_US", SYNC_US, 1);
}

/* In the child: becomes the daemon. A small outbox, so that old events are dropped all the time. */
static void become(const struct host *host, pid_t parent, int ready_fd)
{
    char map[40];
    snprintf(map, sizeof(map), "storage.map_mib=%d", HOST_MAP_MIB);
    if (host->log)
        record_into(host);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int messages = open(host->messages, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (getppid() != parent || messages < 0)
        _exit(126);
    dup2(ready_fd, STDOUT_FILENO);
    dup2(messages, STDERR_FILENO);
    execl(TG_BUILD "/tidegated", "tidegated", "--data-dir", host->data_dir, "--listen",
          "127.0.0.1:0", "--threads", "2", "--set", map, "--set", "storage.free_mib_min=0", "--set",
          "events.keep_s=1", "--set", "engine.items_max=4096", "--set", "engine.sales_max=1024",
          "--set", "engine.orders_max=100000", "--set", "engine.holdings_max=100000", "--set",
          "engine.timers_max=100000", (char *)NULL);
    _exit(127);
}

/* Waits for the ready line; false when the daemon ends without one. */
static bool read_ready(struct host *host, int fd)
{
    char line[256] = "";
    size_t used = 0;
    struct pollfd event = {.fd = fd, .events = POLLIN};
    while (!memchr(line, '\n', used)) {
        if (used == sizeof(line) - 1 || poll(&event, 1, WAIT_MS) != 1)
            return false;
        ssize_t got = read(fd, line + used, sizeof(line) - 1 - used);
        if (got <= 0)
            return false;
        used += (size_t)got;
    }
    return sscanf(line, "tidegated ready on %63s", host->address) == 1;
}

static bool spawn(struct host *host)
{
    int ready[2];
    pid_t parent = getpid();
    if (pipe2(ready, O_CLOEXEC))
        fail(host, "has no pipe");
    host->pid = fork();
    if (host->pid < 0)
        fail(host, "cannot be forked");
    if (host->pid == 0)
        become(host, parent, ready[1]);
    close(ready[1]);
    bool is_ready = read_ready(host, ready[0]);
    close(ready[0]);
    return is_ready;
}

/* Its exit status, -1 after a signal. */
static int end(struct host *host, int signal_number)
{
    int status = 0;
    kill(host->pid, signal_number);
    if (waitpid(host->pid, &status, 0) != host->pid)
        fail(host, "cannot be waited for");
    host->pid = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

void host_start(struct host *host)
{
    if (!spawn(host))
        fail(host, "did not start");
}

void host_stop(struct host *host)
{
    if (end(host, SIGTERM) != 0)
        fail(host, "did not drain");
}

void host_kill(struct host *host)
{
    if (end(host, SIGKILL) != -1)
        fail(host, "had ended by itself");
}

/* In the child: tells by one byte that it has the snapshot. */
static void hold_snapshot(const char *data_dir, int to_fd)
{
    MDB_env *lmdb;
    MDB_txn *txn;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (mdb_env_create(&lmdb) == 0 && mdb_env_set_mapsize(lmdb, (size_t)HOST_MAP_MIB << 20) == 0 &&
        mdb_env_open(lmdb, data_dir, MDB_RDONLY, 0600) == 0 &&
        mdb_txn_begin(lmdb, NULL, MDB_RDONLY, &txn) == 0 && write(to_fd, "", 1) == 1)
        for (;;)
            pause();
    _exit(CRASH_EXIT_UNABLE);
}

pid_t host_hold_snapshot(const struct host *host)
{
    int ready[2];
    char byte;
    pid_t pid = pipe2(ready, O_CLOEXEC) ? -1 : fork();
    if (pid < 0)
        fail(host, "gets no reader");
    if (pid == 0)
        hold_snapshot(host->data_dir, ready[1]);
    close(ready[1]);
    if (read(ready[0], &byte, 1) != 1)
        fail(host, "gives a reader no snapshot");
    close(ready[0]);
    return pid;
}

void host_end_reader(pid_t reader)
{
    kill(reader, SIGKILL);
    waitpid(reader, NULL, 0);
}

static void last_line(const char *path, char *line, size_t size)
{
    FILE *file = fopen(path, "re");
    snprintf(line, size, "it said nothing");
    while (file && fgets(line, (int)size, file))
        line[strcspn(line, "\n")] = '\0';
    if (file)
        fclose(file);
}

bool host_try(struct host *host, char *reason, size_t size)
{
    bool is_ready = spawn(host);
    int status = end(host, is_ready ? SIGTERM : SIGKILL);
    if (is_ready && status == 0)
        return true;
    char said[256];
    last_line(host->messages, said, sizeof(said));
    snprintf(reason, size, "tidegated %s: %.200s", is_ready ? "did not drain" : "does not start",
             said);
    return false;
}
