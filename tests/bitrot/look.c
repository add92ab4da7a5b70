#include "tests/bitrot/look.h"

#include "base/hash.h"
#include "storage/env.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* A look takes milliseconds; a machine under load may stretch that. */
#define SECONDS_MAX 30
#define MEMORY_MAX  (2ull << 30)
#define MAP_BYTES   (64u << 20)
#define ITEMS_MAX   4096

static void fail(const char *what)
{
    fprintf(stderr, "bitrot: %s: %s\n", what, strerror(errno));
    exit(3);
}

struct look_result *look_init(void)
{
    struct look_result *result =
        mmap(NULL, sizeof(*result), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (result == MAP_FAILED)
        fail("no memory for a result");
    return result;
}

/* --- the library --- */

static bool digest_row(void *context, const MDB_val *key, const MDB_val *value)
{
    uint64_t *digest = context;
    uint64_t sizes = tg_hash_words(key->mv_size, value->mv_size, *digest);
    *digest = tg_hash_words(tg_hash(key->mv_data, key->mv_size, sizes),
                            tg_hash(value->mv_data, value->mv_size, sizes), *digest);
    return true;
}

static bool digest_of(struct sto_env *env, uint64_t *digest)
{
    const struct sto_tables *t = &env->tables;
    const MDB_dbi tables[] = {t->meta,  t->sales,  t->items, t->stock,    t->orders, t->adjustments,
                              t->lives, t->events, t->teams, t->ingested, t->groups};
    MDB_txn *txn;
    if (mdb_txn_begin(env->lmdb, NULL, MDB_RDONLY, &txn))
        return false;
    int rc = 0;
    *digest = 1;
    for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]) && !rc; i++) {
        *digest = tg_hash_words(*digest, i, 1);
        rc = sto_table_walk(txn, tables[i], digest_row, digest);
    }
    mdb_txn_abort(txn);
    return rc == 0;
}

static void start_look(const char *dir, struct look_result *result)
{
    struct sto_options options = {.data_dir = dir,
                                  .map_bytes = MAP_BYTES,
                                  .items_max = ITEMS_MAX,
                                  .readers_max = 4,
                                  .request_ttl_s = 0};
    struct sto_recovery recovery = {0}; /* all rows are read, none is kept */
    struct sto_recovery_stats stats;
    struct sto_env *env;
    struct tg_fault fault = {0};
    enum tg_error error = sto_env_open(&options, &env, &fault);
    if (!error) {
        error = sto_recover(env, &recovery, &stats, &fault);
        result->orders = stats.orders;
        if (!error && !digest_of(env, &result->digest))
            error = tg_fault_set(&fault, TG_ERR_IO, "its rows cannot be read behind recovery");
        sto_env_close(env);
    }
    result->starts = error == TG_ERR_OK;
    snprintf(result->start, sizeof(result->start), "%s", error ? fault.text : "");
}

static void on_finding(void *context, const char *line)
{
    struct look_result *result = context;
    size_t used = strlen(result->verify);
    snprintf(result->verify + used, sizeof(result->verify) - used, "%s\n", line);
}

static void verify_look(const char *dir, struct look_result *result)
{
    struct sto_verify_report report;
    struct tg_fault fault = {0};
    enum tg_error error = sto_verify(dir, on_finding, NULL, result, &report, &fault);
    result->is_content = error == TG_ERR_OK;
    if (error && error != TG_ERR_BROKEN)
        on_finding(result, fault.text);
}

/* --- the child --- */

static void bound(void)
{
#ifndef __SANITIZE_ADDRESS__
    struct rlimit memory = {MEMORY_MAX, MEMORY_MAX};
    setrlimit(RLIMIT_AS, &memory);
#endif
    struct rlimit core = {0, 0};
    setrlimit(RLIMIT_CORE, &core);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    alarm(SECONDS_MAX);
}

/* Waits for a child; false, with `how`, when it did not end by itself. */
static bool end_of(pid_t pid, int *exit_status, char how[64])
{
    int status;
    while (waitpid(pid, &status, 0) < 0) {
        if (errno != EINTR)
            fail("waitpid");
    }
    *exit_status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    if (WIFSIGNALED(status))
        snprintf(how, 64,
                 WTERMSIG(status) == SIGALRM ? "it took more than 30 s (signal %d)"
                                             : "it ended by signal %d",
                 WTERMSIG(status));
    return WIFEXITED(status);
}

void look_at(const char *dir, struct look_result *result)
{
    int status;
    memset(result, 0, sizeof(*result));
    fflush(NULL);
    pid_t pid = fork();
    if (pid < 0)
        fail("cannot fork");
    if (pid == 0) {
        bound();
        start_look(dir, result);
        verify_look(dir, result);
        result->ended = true;
        _exit(0);
    }
    if (!end_of(pid, &status, result->how))
        result->ended = false;
    else if (!result->ended || status != 0)
        snprintf(result->how, sizeof(result->how), "it exited with status %d", status);
}

/* --- the programs --- */

static pid_t program_start(const char *dir, bool is_daemon, int out[2])
{
    if (pipe2(out, O_CLOEXEC))
        fail("no pipe");
    pid_t pid = fork();
    if (pid < 0)
        fail("cannot fork");
    if (pid > 0) {
        close(out[1]);
        return pid;
    }
    struct rlimit core = {0, 0};
    setrlimit(RLIMIT_CORE, &core);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(out[1], STDOUT_FILENO);
    dup2(out[1], STDERR_FILENO);
    if (is_daemon)
        execl(TG_BUILD "/tidegated", "tidegated", "--data-dir", dir, "--listen", "127.0.0.1:0",
              "--set", "storage.map_mib=64", "--set", "storage.free_mib_min=0", "--set",
              "engine.items_max=4096", "--set", "engine.orders_max=100000", (char *)NULL);
    else
        execl(TG_BUILD "/tidegatectl", "tidegatectl", "verify", "--data-dir", dir, (char *)NULL);
    _exit(127);
}

/* What it says until it ends, or until it says `enough`; false when it takes too long. */
static bool program_read(int fd, const char *enough, char *text, size_t size)
{
    size_t used = 0;
    char rest[4096];
    struct pollfd event = {.fd = fd, .events = POLLIN};
    while (poll(&event, 1, SECONDS_MAX * 1000) == 1) {
        bool has_room = used + 1 < size;
        ssize_t got =
            has_room ? read(fd, text + used, size - 1 - used) : read(fd, rest, sizeof(rest));
        if (got <= 0)
            return true;
        used += has_room ? (size_t)got : 0;
        text[used] = 0;
        if (enough && strstr(text, enough))
            return true;
    }
    return false;
}

static bool program_look(const char *dir, bool is_daemon, struct look_result *result, char *text,
                         size_t size, int *status)
{
    int out[2];
    pid_t pid = program_start(dir, is_daemon, out);
    bool in_time = program_read(out[0], is_daemon ? "tidegated ready" : NULL, text, size);
    if (!in_time)
        kill(pid, SIGKILL);
    else if (is_daemon)
        kill(pid, SIGTERM);
    char rest[4096];
    program_read(out[0], NULL, rest, sizeof(rest));
    close(out[0]);
    bool ended = end_of(pid, status, result->how);
    if (!in_time)
        snprintf(result->how, sizeof(result->how), "it took more than %d s", SECONDS_MAX);
    return ended && in_time;
}

void look_at_programs(const char *dir, struct look_result *result)
{
    int status;
    char text[LOOK_TEXT_BYTES] = "";
    memset(result, 0, sizeof(*result));
    if (!program_look(dir, true, result, text, sizeof(text), &status))
        return;
    result->starts = strstr(text, "tidegated ready") != NULL;
    snprintf(result->start, sizeof(result->start), "%s", result->starts ? "" : text);
    if (result->starts ? status != 0 : status != 1) {
        snprintf(result->how, sizeof(result->how), "tidegated exited with status %d", status);
        return;
    }
    if (!program_look(dir, false, result, result->verify, sizeof(result->verify), &status))
        return;
    result->is_content = status == 0;
    result->ended = status == 0 || status == 1;
    if (!result->ended)
        snprintf(result->how, sizeof(result->how), "tidegatectl verify exited with status %d",
                 status);
}
