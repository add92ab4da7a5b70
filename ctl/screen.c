#include "ctl/screen.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define SEQ_ENTER "\033[?1049h\033[?25l"
#define SEQ_LEAVE "\033[?25h\033[?1049l"
#define SEQ_HOME  "\033[H"
#define SEQ_CLEAR "\033[K"
#define SEQ_BELOW "\033[J"

static const int ending_signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGABRT, SIGSEGV};
#define ENDING_COUNT (sizeof(ending_signals) / sizeof(ending_signals[0]))

/* --- also called by signal handlers --- */

static void tell_terminal(const char *bytes, size_t count)
{
    while (count > 0) {
        ssize_t written = write(STDOUT_FILENO, bytes, count);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return; /* nobody is left to be told that the terminal is gone */
        bytes += written;
        count -= (size_t)written;
    }
}

static void on_ending_signal(int number)
{
    tell_terminal(SEQ_LEAVE, strlen(SEQ_LEAVE));
    if (number == SIGINT)
        _exit(0);
    /* Its action is the default again: it comes when this handler ends. */
    raise(number);
}

static void on_stop_signal(int number)
{
    int code = errno;
    (void)number;
    tell_terminal(SEQ_LEAVE, strlen(SEQ_LEAVE));
    raise(SIGSTOP);
    tell_terminal(SEQ_ENTER, strlen(SEQ_ENTER));
    errno = code;
}

/* --- the view --- */

bool ctl_screen_possible(void)
{
    const char *terminal = getenv("TERM");
    return isatty(STDOUT_FILENO) && terminal && *terminal && strcmp(terminal, "dumb") != 0;
}

void ctl_screen_enter(void)
{
    struct sigaction ending = {.sa_handler = on_ending_signal, .sa_flags = (int)SA_RESETHAND};
    struct sigaction stop = {.sa_handler = on_stop_signal, .sa_flags = SA_RESTART};
    for (size_t i = 0; i < ENDING_COUNT; i++)
        sigaction(ending_signals[i], &ending, NULL);
    sigaction(SIGTSTP, &stop, NULL);
    fflush(stdout);
    tell_terminal(SEQ_ENTER, strlen(SEQ_ENTER));
}

void ctl_screen_draw(const char *lines)
{
    struct winsize size;
    bool known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col && size.ws_row;
    size_t columns = known ? size.ws_col : 80, rows = known ? size.ws_row : 24;
    char *picture = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&picture, &bytes);
    if (!out)
        return; /* the next one may have memory */
    fputs(SEQ_HOME, out);
    for (size_t row = 0; *lines && row < rows; row++) {
        size_t line = strcspn(lines, "\n");
        fprintf(out, "%s%.*s" SEQ_CLEAR, row ? "\r\n" : "", (int)(line < columns ? line : columns),
                lines);
        lines += line + (lines[line] == '\n');
    }
    fputs(SEQ_BELOW, out);
    fclose(out);
    tell_terminal(picture, bytes);
    free(picture);
}

void ctl_screen_leave(void)
{
    tell_terminal(SEQ_LEAVE, strlen(SEQ_LEAVE));
    for (size_t i = 0; i < ENDING_COUNT; i++)
        signal(ending_signals[i], SIG_DFL);
    signal(SIGTSTP, SIG_DFL);
}
