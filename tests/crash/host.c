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

/* A small outbox, so that old events are dropped all the time, and small tables. */
static bool spawn(struct host *host)
{
    char map[40];
    int ready[2];
    snprintf(map, sizeof(map), "storage.map_mib=%d", HOST_MAP_MIB);
    const char *argv[] = {proc_program("tidegated"),
                          "--data-dir",
                          host->data_dir,
                          "--listen",
                          "127.0.0.1:0",
                          "--threads",
                          "2",
                          "--set",
                          map,
                          "--set",
                          "storage.free_mib_min=0",
                          "--set",
                          "events.keep_s=1",
                          "--set",
                          "engine.items_max=4096",
                          "--set",
                          "engine.sales_max=1024",
                          "--set",
                          "engine.orders_max=100000",
                          "--set",
                          "engine.holdings_max=100000",
                          "--set",
                          "engine.timers_max=100000",
                          NULL};
    const char *recording[] = {
        "TG_RECORD_LOG", host->log, "TG_RECORD_DIR", host->data_dir, "TG_RECORD_SYNC_US",
        SYNC_US,         NULL};
    if (pipe2(ready, O_CLOEXEC))
        fail(host, "has no pipe");
    if (!proc_start_preloaded(&host->proc, argv, host->log ? proc_program("tests/record.so") : NULL,
                              recording, ready[1], host->messages))
        fail(host, "cannot be forked");
    close(ready[1]);
    struct proc_line line = {.fd = ready[0]};
    bool is_ready = proc_line_read(&line, WAIT_MS) == 1 &&
                    sscanf(line.text, "tidegated ready on %63s", host->address) == 1;
    close(ready[0]);
    return is_ready;
}

/* Its exit status, -1 after a signal. */
static int end(struct host *host, int signal_number)
{
    kill(host->proc.pid, signal_number);
    if (!proc_wait(&host->proc, -1))
        fail(host, "cannot be waited for");
    return host->proc.status;
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
