#include "tests/lib/daemon.h"
#include "tests/lib/tree.h"

#include "base/clock.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define DAEMONS_MAX 8
#define LOG_TAIL    2048

/* Those that were started and not ended: what is left at exit belongs to a test that failed. */
static struct {
    const struct daemon *daemon; /* may have gone with its stack: not looked into */
    char log_path[160];
} standing[DAEMONS_MAX];

const char *daemon_program(const char *name)
{
    static char path[4096];
    snprintf(path, sizeof(path), "%s/%s", TG_BUILD, name);
    return path;
}

/* --- the log --- */

static const char *tail_of(const char *path)
{
    static char tail[LOG_TAIL + 1];
    tail[0] = '\0';
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return tail;
    off_t size = lseek(fd, 0, SEEK_END);
    ssize_t got = pread(fd, tail, LOG_TAIL, size > LOG_TAIL ? size - LOG_TAIL : 0);
    tail[got > 0 ? got : 0] = '\0';
    close(fd);
    return tail;
}

const char *daemon_log_tail(const struct daemon *daemon)
{
    return tail_of(daemon->log_path);
}

bool daemon_log_has(const struct daemon *daemon, const char *text)
{
    FILE *log = fopen(daemon->log_path, "re");
    char line[4096];
    bool found = false;
    while (log && !found && fgets(line, sizeof(line), log))
        found = strstr(line, text) != NULL;
    if (log)
        fclose(log);
    return found;
}

void daemon_log_wait(const struct daemon *daemon, const char *text)
{
    int64_t deadline_ns = tg_clock_mono_ns() + DAEMON_WAIT_MS * TG_NS_PER_MS;
    while (!daemon_log_has(daemon, text)) {
        cr_assert(tg_clock_mono_ns() < deadline_ns, "the log never said '%s'", text);
        usleep(1000);
    }
}

static void show_logs(void)
{
    for (int i = 0; i < DAEMONS_MAX; i++)
        if (standing[i].daemon)
            fprintf(stderr, "--- %s (kept) ends with:\n%s---\n", standing[i].log_path,
                    tail_of(standing[i].log_path));
}

static void stand(const struct daemon *daemon)
{
    static bool registered;
    if (!registered)
        atexit(show_logs);
    registered = true;
    for (int i = 0; i < DAEMONS_MAX; i++) {
        if (!standing[i].daemon) {
            standing[i].daemon = daemon;
            memcpy(standing[i].log_path, daemon->log_path, sizeof(daemon->log_path));
            return;
        }
    }
    cr_assert_fail("more than %d daemons in one test", DAEMONS_MAX);
}

static void leave(const struct daemon *daemon)
{
    for (int i = 0; i < DAEMONS_MAX; i++)
        if (standing[i].daemon == daemon)
            standing[i].daemon = NULL;
}

/* --- starting --- */

void daemon_arg(struct daemon *daemon, const char *arg)
{
    cr_assert(daemon->arg_count < DAEMON_ARGS_MAX);
    daemon->args[daemon->arg_count++] = strdup(arg);
}

static void make_root(struct daemon *daemon)
{
    const char *parent = getenv("TMPDIR");
    snprintf(daemon->root, sizeof(daemon->root), "%.60s/tidegate-test-XXXXXX",
             parent ? parent : "/tmp");
    cr_assert(mkdtemp(daemon->root), "mkdtemp: %s", strerror(errno));
    snprintf(daemon->log_path, sizeof(daemon->log_path), "%s/log", daemon->root);
    snprintf(daemon->fault_path, sizeof(daemon->fault_path), "%s/fault", daemon->root);
    if (daemon->data_dir[0] == '\0')
        snprintf(daemon->data_dir, sizeof(daemon->data_dir), "%s/data", daemon->root);
    stand(daemon);
}

static void set_faults(const struct daemon *daemon)
{
    char path[4096], options[512];
    const char *before = getenv("ASAN_OPTIONS");
    snprintf(path, sizeof(path), "%s", daemon_program("tests/fault.so"));
    setenv("LD_PRELOAD", path, 1);
    setenv("TG_FAULT_FILE", daemon->fault_path, 1);
    /* An address sanitizer that is not the first library refuses to start unless told. */
    snprintf(options, sizeof(options), "verify_asan_link_order=0:%s", before ? before : "");
    setenv("ASAN_OPTIONS", options, 1);
}

/* In the child: becomes the daemon. */
static void become(const struct daemon *daemon, pid_t parent, int ready_fd)
{
    char listen[32];
    if (daemon->with_faults)
        set_faults(daemon);
    snprintf(listen, sizeof(listen), "127.0.0.1:%u", daemon->port);
    /* A program that runs the daemon, such as tests/memcheck/daemon.sh. */
    const char *wrapper = getenv("TG_DAEMON_WRAPPER");
    const char *words[DAEMON_ARGS_MAX + 7] = {
        wrapper, daemon_program("tidegated"), "--data-dir", daemon->data_dir, "--listen", listen};
    const char **argv = wrapper ? words : words + 1;
    for (int i = 0; i < daemon->arg_count; i++)
        words[6 + i] = daemon->args[i];
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(126);
    int log = open(daemon->log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    dup2(ready_fd, STDOUT_FILENO);
    dup2(log, STDERR_FILENO);
    execv(argv[0], (char *const *)(uintptr_t)argv);
    dprintf(STDERR_FILENO, "cannot run %s: %s\n", argv[0], strerror(errno));
    _exit(127);
}

/* Starts the process; returns the end of the pipe on which it says that it is ready. */
static int spawn(struct daemon *daemon)
{
    int ready[2];
    pid_t parent = getpid();
    cr_assert_eq(daemon->pid, 0, "it runs already");
    cr_assert_eq(pipe2(ready, O_CLOEXEC), 0);
    daemon->pid = fork();
    cr_assert(daemon->pid >= 0, "fork: %s", strerror(errno));
    if (daemon->pid == 0)
        become(daemon, parent, ready[1]);
    close(ready[1]);
    return ready[0];
}

/* Reads the ready line; false when the daemon ended without one. */
static bool read_ready(struct daemon *daemon, int fd)
{
    char line[256] = "";
    size_t used = 0;
    struct pollfd event = {.fd = fd, .events = POLLIN};
    while (used < sizeof(line) - 1 && !memchr(line, '\n', used)) {
        cr_assert_eq(poll(&event, 1, DAEMON_WAIT_MS), 1, "the daemon is neither ready nor gone: %s",
                     daemon_log_tail(daemon));
        ssize_t got = read(fd, line + used, sizeof(line) - 1 - used);
        if (got <= 0)
            return false;
        used += (size_t)got;
    }
    line[used] = '\0';
    unsigned port;
    int fields =
        sscanf(line, "tidegated ready on 127.0.0.1:%u threads=%*u recovered_orders=%" SCNu64, &port,
               &daemon->recovered_orders);
    cr_assert_eq(fields, 2, "no ready line: %s", line);
    daemon->port = (uint16_t)port;
    const char *admin = strstr(line, " admin=127.0.0.1:");
    unsigned admin_port = 0;
    if (admin)
        cr_assert_eq(sscanf(admin, " admin=127.0.0.1:%u", &admin_port), 1);
    daemon->admin_port = (uint16_t)admin_port;
    unsigned grpc_port = 0;
    const char *grpc = strstr(line, " grpc=");
    if (grpc)
        cr_assert_eq(sscanf(grpc, " grpc=127.0.0.1:%u", &grpc_port), 1);
    daemon->grpc_port = (uint16_t)grpc_port;
    snprintf(daemon->address, sizeof(daemon->address), "127.0.0.1:%u", port);
    return true;
}

void daemon_restart(struct daemon *daemon)
{
    int fd = spawn(daemon);
    bool ready = read_ready(daemon, fd);
    close(fd);
    cr_assert(ready, "the daemon did not start: %s", daemon_log_tail(daemon));
}

void daemon_start(struct daemon *daemon, ...)
{
    va_list list;
    va_start(list, daemon);
    const char *arg;
    while ((arg = va_arg(list, const char *)))
        daemon_arg(daemon, arg);
    va_end(list);
    make_root(daemon);
    daemon_restart(daemon);
}

int daemon_start_refused(struct daemon *daemon)
{
    if (daemon->root[0] == '\0')
        make_root(daemon);
    int fd = spawn(daemon);
    bool ready = read_ready(daemon, fd);
    close(fd);
    cr_assert(!ready, "the daemon started where it must refuse");
    return daemon_wait(daemon);
}

/* --- ending --- */

bool daemon_runs(const struct daemon *daemon)
{
    siginfo_t info = {0};
    return waitid(P_PID, (id_t)daemon->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
           info.si_pid == 0;
}

int daemon_wait(struct daemon *daemon)
{
    int fd = pidfd_open(daemon->pid, 0);
    cr_assert(fd >= 0, "pidfd_open: %s", strerror(errno));
    struct pollfd event = {.fd = fd, .events = POLLIN};
    int ended = poll(&event, 1, DAEMON_WAIT_MS);
    close(fd);
    cr_assert_eq(ended, 1, "the daemon does not end: %s", daemon_log_tail(daemon));
    int status;
    cr_assert_eq(waitpid(daemon->pid, &status, 0), daemon->pid);
    daemon->pid = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

void daemon_stop(struct daemon *daemon)
{
    cr_assert_eq(kill(daemon->pid, SIGTERM), 0);
    int status = daemon_wait(daemon);
    cr_assert_eq(status, 0, "exit status %d after SIGTERM: %s", status, daemon_log_tail(daemon));
}

void daemon_kill(struct daemon *daemon)
{
    cr_assert_eq(kill(daemon->pid, SIGKILL), 0);
    int status = daemon_wait(daemon);
    cr_assert_eq(status, -1, "it ended by itself with %d: %s", status, daemon_log_tail(daemon));
}

void daemon_end(struct daemon *daemon)
{
    if (daemon->pid != 0)
        daemon_stop(daemon);
    for (int i = 0; i < daemon->arg_count; i++)
        free(daemon->args[i]);
    daemon->arg_count = 0;
    leave(daemon);
    tree_remove(daemon->root);
}

/* --- looking on, and faults --- */

size_t daemon_resident_bytes(const struct daemon *daemon)
{
    char path[64];
    unsigned long long total, resident;
    snprintf(path, sizeof(path), "/proc/%d/statm", (int)daemon->pid);
    FILE *file = fopen(path, "re");
    cr_assert(file, "cannot read %s", path);
    int fields = fscanf(file, "%llu %llu", &total, &resident);
    fclose(file);
    cr_assert_eq(fields, 2);
    return (size_t)resident * (size_t)sysconf(_SC_PAGESIZE);
}

/* What call is held now: its name as fault.c says it, "" for none. */
static void held_call(const struct daemon *daemon, char name[8])
{
    char path[176];
    snprintf(path, sizeof(path), "%s.held", daemon->fault_path);
    FILE *file = fopen(path, "re");
    size_t size = file ? fread(name, 1, 7, file) : 0;
    name[size] = '\0';
    if (file)
        fclose(file);
}

static void wait_held(const struct daemon *daemon, const char *call)
{
    const struct timespec step = {.tv_nsec = 1000 * 1000};
    int64_t deadline_ns = tg_clock_mono_ns() + DAEMON_WAIT_MS * TG_NS_PER_MS;
    char name[8];
    for (held_call(daemon, name); strcmp(name, call) != 0; held_call(daemon, name)) {
        cr_assert(tg_clock_mono_ns() < deadline_ns, "no commit came to its %s", call);
        nanosleep(&step, NULL);
    }
}

void daemon_disk_hold(const struct daemon *daemon)
{
    daemon_fault(daemon, "sync WAIT");
}

void daemon_disk_wait(const struct daemon *daemon)
{
    wait_held(daemon, "sync");
}

/* A commit ends with its meta page: held there it has left its sync behind, and the next sync is
 * that of the next commit. */
void daemon_disk_step(const struct daemon *daemon)
{
    wait_held(daemon, "sync");
    daemon_fault(daemon, "meta WAIT");
    wait_held(daemon, "meta");
    daemon_fault(daemon, "sync WAIT");
    wait_held(daemon, "sync");
}

void daemon_disk_release(const struct daemon *daemon)
{
    daemon_fault(daemon, NULL);
}

void daemon_fault(const struct daemon *daemon, const char *rule)
{
    char next[176];
    if (!rule) {
        cr_assert_eq(unlink(daemon->fault_path), 0);
        return;
    }
    /* By rename, so that the daemon never reads half a rule. */
    snprintf(next, sizeof(next), "%s.next", daemon->fault_path);
    FILE *file = fopen(next, "we");
    cr_assert(file && fputs(rule, file) >= 0 && fclose(file) == 0);
    cr_assert_eq(rename(next, daemon->fault_path), 0);
}
