#include "tests/lib/run.h"

#include "tests/lib/daemon.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define ARGS_MAX 40

static void become(const struct run *run, const char *name, char **argv, pid_t parent)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(126);
    dup2(run->out_fd, STDOUT_FILENO);
    dup2(run->err_fd, STDERR_FILENO);
    execv(daemon_program(name), argv);
    dprintf(STDERR_FILENO, "cannot run %s: %s\n", daemon_program(name), strerror(errno));
    _exit(127);
}

void run_start(struct run *run, const char *name, ...)
{
    char *argv[ARGS_MAX] = {(char *)(uintptr_t)name};
    int count = 1;
    va_list list;
    va_start(list, name);
    while ((argv[count] = va_arg(list, char *)))
        cr_assert(++count < ARGS_MAX);
    va_end(list);
    *run = (struct run){.out_fd = memfd_create("out", MFD_CLOEXEC),
                        .err_fd = memfd_create("err", MFD_CLOEXEC)};
    cr_assert(run->out_fd >= 0 && run->err_fd >= 0);
    pid_t parent = getpid();
    run->pid = fork();
    cr_assert(run->pid >= 0, "fork: %s", strerror(errno));
    if (run->pid == 0)
        become(run, name, argv, parent);
}

bool run_goes_on(struct run *run)
{
    siginfo_t info = {0};
    return run->pid != 0 &&
           waitid(P_PID, (id_t)run->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
           info.si_pid == 0;
}

static char *text_of(int fd)
{
    off_t size = lseek(fd, 0, SEEK_END);
    char *text = calloc(1, (size_t)size + 1);
    cr_assert(text && pread(fd, text, (size_t)size, 0) == size);
    close(fd);
    return text;
}

void run_wait(struct run *run)
{
    int status;
    cr_assert_eq(waitpid(run->pid, &status, 0), run->pid);
    run->pid = 0;
    run->status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    run->out = text_of(run->out_fd);
    run->err = text_of(run->err_fd);
}

void run_free(struct run *run)
{
    free(run->out);
    free(run->err);
    *run = (struct run){0};
}
