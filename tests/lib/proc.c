#include "tests/lib/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

const char *proc_program(const char *name)
{
    static char paths[4][256];
    static unsigned turn;
    char *path = paths[turn++ % 4];
    snprintf(path, sizeof(paths[0]), "%s/%s", TG_BUILD, name);
    return path;
}

/* A sanitizer that is not the first library must be told so. */
static void set_preload(const char *preload, const char *const *environment)
{
    const char *before = getenv("ASAN_OPTIONS");
    char options[512];
    snprintf(options, sizeof(options), "%s%sverify_asan_link_order=0", before ? before : "",
             before ? ":" : "");
    setenv("ASAN_OPTIONS", options, 1);
    setenv("LD_PRELOAD", preload, 1);
    for (; environment[0]; environment += 2)
        setenv(environment[0], environment[1], 1);
}

/* In the child. */
static void become(const char *const *argv, int out_fd, const char *err_path)
{
    int err = open(err_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    int out = out_fd >= 0 ? out_fd : open("/dev/null", O_WRONLY | O_CLOEXEC);
    dup2(out, STDOUT_FILENO);
    dup2(err, STDERR_FILENO);
    execv(argv[0], (char *const *)(uintptr_t)argv);
    dprintf(STDERR_FILENO, "cannot run %s\n", argv[0]);
    _exit(127);
}

bool proc_start_preloaded(struct proc *proc, const char *const *argv, const char *preload,
                          const char *const *environment, int out_fd, const char *err_path)
{
    pid_t parent = getpid();
    *proc = (struct proc){0};
    pid_t pid = fork();
    if (pid < 0)
        return false;
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(126);
        if (preload)
            set_preload(preload, environment);
        become(argv, out_fd, err_path);
    }
    proc->pid = pid;
    return true;
}

bool proc_start(struct proc *proc, const char *const *argv, int out_fd, const char *err_path)
{
    static const char *const none[] = {NULL};
    return proc_start_preloaded(proc, argv, NULL, none, out_fd, err_path);
}

int proc_line_read(struct proc_line *line, int timeout_ms)
{
    struct pollfd event = {.fd = line->fd, .events = POLLIN};
    while (!memchr(line->text, '\n', line->used)) {
        int got_event = poll(&event, 1, timeout_ms);
        if (got_event < 0 && errno == EINTR)
            continue;
        if (got_event != 1)
            return 0;
        ssize_t got = read(line->fd, line->text + line->used, sizeof(line->text) - 1 - line->used);
        if (got <= 0)
            return -1;
        line->used += (size_t)got;
        line->text[line->used] = '\0';
    }
    return 1;
}

bool proc_runs(const struct proc *proc)
{
    siginfo_t info = {0};
    return proc->pid != 0 &&
           waitid(P_PID, (id_t)proc->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
           info.si_pid == 0;
}

bool proc_freeze(const struct proc *proc)
{
    siginfo_t info = {0};
    if (proc->pid == 0 || kill(proc->pid, SIGSTOP) != 0)
        return false;
    return waitid(P_PID, (id_t)proc->pid, &info, WSTOPPED | WEXITED | WNOWAIT) == 0 &&
           info.si_code == CLD_STOPPED;
}

static void reap(struct proc *proc)
{
    int status = 0;
    waitpid(proc->pid, &status, 0);
    proc->pid = 0;
    proc->status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    proc->signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

bool proc_wait(struct proc *proc, int timeout_ms)
{
    struct pollfd event = {.fd = pidfd_open(proc->pid, 0), .events = POLLIN};
    if (event.fd < 0)
        return false;
    int ended;
    do
        ended = poll(&event, 1, timeout_ms);
    while (ended < 0 && errno == EINTR);
    close(event.fd);
    if (ended != 1)
        return false;
    reap(proc);
    return true;
}

void proc_kill(struct proc *proc)
{
    if (proc->pid == 0)
        return;
    kill(proc->pid, SIGKILL);
    reap(proc);
}
