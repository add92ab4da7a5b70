#include "tests/lib/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
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

/* In the child. */
static void become(const char *const *argv, pid_t parent, int out_fd, const char *err_path)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(126);
    int err = open(err_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    int out = out_fd >= 0 ? out_fd : open("/dev/null", O_WRONLY | O_CLOEXEC);
    dup2(out, STDOUT_FILENO);
    dup2(err, STDERR_FILENO);
    execv(argv[0], (char *const *)(uintptr_t)argv);
    dprintf(STDERR_FILENO, "cannot run %s\n", argv[0]);
    _exit(127);
}

bool proc_start(struct proc *proc, const char *const *argv, int out_fd, const char *err_path)
{
    pid_t parent = getpid();
    *proc = (struct proc){0};
    pid_t pid = fork();
    if (pid < 0)
        return false;
    if (pid == 0)
        become(argv, parent, out_fd, err_path);
    proc->pid = pid;
    return true;
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
