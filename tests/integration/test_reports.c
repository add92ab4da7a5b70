/* What a run leaves behind and shows meanwhile, as others read it: python3's parsers read the page
 * and the CI file, a pseudo-terminal stands for the person who watches.
 */
#include "tests/lib/daemon.h"
#include "tests/lib/run.h"

#include <criterion/criterion.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define ENTER   "\033[?1049h"
#define LEAVE   "\033[?1049l"
#define CURSOR  "\033[?25h"
#define WAIT_MS 60000

#define FILE_BYTES_MAX (4u << 20)

static char *read_file(const char *path)
{
    char *text = calloc(1, FILE_BYTES_MAX);
    FILE *file = fopen(path, "r");
    cr_assert(text && file, "no %s", path);
    cr_assert_lt(fread(text, 1, FILE_BYTES_MAX, file), FILE_BYTES_MAX);
    fclose(file);
    return text;
}

static const char *path_of(const struct daemon *daemon, const char *name)
{
    static char paths[6][160];
    static unsigned next;
    char *path = paths[next++ % 6];
    snprintf(path, sizeof(paths[0]), "%s/%s", daemon->root, name);
    return path;
}

/* What tests/integration/page.py says of a file. */
static const char *looked_at(const char *kind, const char *path)
{
    static char out[8192];
    int ends[2], status;
    size_t used = 0;
    ssize_t got;
    cr_assert_eq(pipe(ends), 0);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(ends[1], STDOUT_FILENO);
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        execlp("python3", "python3", "tests/integration/page.py", kind, path, NULL);
        _exit(127);
    }
    close(ends[1]);
    while ((got = read(ends[0], out + used, sizeof(out) - used - 1)) > 0)
        used += (size_t)got;
    out[used] = '\0';
    close(ends[0]);
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert_eq(status, 0, "%s: %s", path, out);
    return out;
}

Test(reports, a_run_leaves_a_page_a_ci_file_and_percentiles)
{
    struct daemon daemon = {0};
    struct run run;
    daemon_start(&daemon, NULL);
    const char *json = path_of(&daemon, "r.json"), *html = path_of(&daemon, "r.html");
    const char *junit = path_of(&daemon, "r.xml"), *hgrm = path_of(&daemon, "r.hgrm");
    const char *later = path_of(&daemon, "later.html");
    run_start(&run, "tidegate-load", "--server", daemon.address, "--rate", "20000", "--duration",
              "1s", "--stock", "1000", "--json", json, "--html", html, "--junit", junit, "--hgrm",
              hgrm, "--min-accepted-per-s", "1G", "--max-p50", "1h", "--live", "--quiet", NULL);
    run_wait(&run);
    cr_assert_eq(run.status, 3, "%s%s", run.out, run.err);
    run_free(&run);
    /* The same page is made of the JSON later. */
    run_start(&run, "tidegate-load", "render", json, "--html", later, NULL);
    run_wait(&run);
    cr_assert_eq(run.status, 0, "%s", run.err);
    char *now = read_file(html), *then = read_file(later);
    cr_assert_str_eq(now, then);
    cr_assert(strstr(now, "The audit passed") && strstr(now, "SOLD_OUT"));
    const char *words = looked_at("html", html);
    cr_assert(!*words || strstr(words, "charts"), "%s", words);
    words = looked_at("junit", junit);
    cr_assert(!*words || (strstr(words, "| audit |\n") &&
                          strstr(words, "| accepted_per_s at least 1,000,000,000 | failure\n") &&
                          strstr(words, "| p50 at most 3600 s |\n")),
              "%s", words);
    char *percentiles = read_file(hgrm);
    cr_assert(strstr(percentiles, "#[Max"));
    free(now);
    free(then);
    free(percentiles);
    run_free(&run);
    daemon_end(&daemon);
}

Test(reports, without_a_terminal_the_live_view_is_lines)
{
    struct daemon daemon = {0};
    struct run run;
    daemon_start(&daemon, NULL);
    run_start(&run, "tidegate-load", "--server", daemon.address, "--scenario", "durable", "--rate",
              "100", "--duration", "2500ms", "--live", "--quiet", NULL);
    run_wait(&run);
    cr_assert_eq(run.status, 0, "%s", run.err);
    cr_assert(strstr(run.err, "answers/s"), "%s", run.err);
    cr_assert_null(strchr(run.err, '\033'));
    run_free(&run);
    daemon_end(&daemon);
}

/* --- on a terminal --- */

static pid_t start_on_terminal(const struct daemon *daemon, const char *duration, int *terminal)
{
    struct winsize size = {.ws_col = 100, .ws_row = 24};
    pid_t pid = forkpty(terminal, NULL, NULL, &size);
    cr_assert(pid >= 0);
    if (pid == 0) {
        setenv("TERM", "xterm", 1);
        execl(daemon_program("tidegate-load"), "tidegate-load", "--server", daemon->address,
              "--scenario", "durable", "--rate", "200", "--duration", duration, "--live", NULL);
        _exit(127);
    }
    return pid;
}

/* Appends what the terminal shows until `wanted` is there; until the end for NULL. */
static void read_until(int terminal, char *shown, size_t room, const char *wanted)
{
    size_t used = strlen(shown);
    while (!wanted || !strstr(shown, wanted)) {
        struct pollfd wait = {.fd = terminal, .events = POLLIN};
        cr_assert(poll(&wait, 1, WAIT_MS) > 0, "nothing like \"%s\" in %s", wanted, shown);
        ssize_t got = read(terminal, shown + used, room - used - 1);
        if (got <= 0)
            break;
        used += (size_t)got;
        shown[used] = '\0';
    }
    cr_assert(!wanted || strstr(shown, wanted), "no \"%s\" in %s", wanted, shown);
}

static int status_of(pid_t pid)
{
    int status;
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    return status;
}

#define SCREEN_BYTES (1u << 20)

Test(reports, a_terminal_shows_the_run_and_is_given_back)
{
    struct daemon daemon = {0};
    int terminal;
    char *shown = calloc(1, SCREEN_BYTES);
    daemon_start(&daemon, NULL);
    pid_t pid = start_on_terminal(&daemon, "2s", &terminal);
    read_until(terminal, shown, SCREEN_BYTES, ENTER);
    read_until(terminal, shown, SCREEN_BYTES, " in flight, backlog");
    /* Narrower: nothing is longer than it from then on. */
    ioctl(terminal, TIOCSWINSZ, &(struct winsize){.ws_col = 30, .ws_row = 5});
    read_until(terminal, shown, SCREEN_BYTES, NULL);
    char *back = strstr(shown, CURSOR LEAVE);
    cr_assert(back && strstr(back, "audit        passed"), "%s", shown);
    cr_assert_null(strstr(back, "\033[H"), "drawn on the screen that was given back");
    cr_assert_eq(status_of(pid), 0);
    close(terminal);
    free(shown);
    daemon_end(&daemon);
}

Test(reports, a_second_interrupt_gives_the_terminal_back_before_it_ends_all)
{
    struct daemon daemon = {0};
    int terminal;
    char *shown = calloc(1, SCREEN_BYTES);
    daemon_start(&daemon, NULL);
    pid_t pid = start_on_terminal(&daemon, "1m", &terminal);
    read_until(terminal, shown, SCREEN_BYTES, "Ctrl-C ends the load");
    /* The server stands still, so the first one has answers to wait for. */
    kill(daemon.pid, SIGSTOP);
    usleep(100000);
    kill(pid, SIGINT);
    shown[0] = '\0';
    read_until(terminal, shown, SCREEN_BYTES, "\033[H");
    cr_assert_null(strstr(shown, LEAVE));
    kill(pid, SIGINT);
    read_until(terminal, shown, SCREEN_BYTES, NULL);
    cr_assert(strstr(shown, CURSOR LEAVE), "%s", shown);
    int status = status_of(pid);
    cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGINT, "%d", status);
    kill(daemon.pid, SIGCONT);
    close(terminal);
    free(shown);
    daemon_end(&daemon);
}

Test(reports, runs_are_compared_when_they_were_asked_for_the_same)
{
    static const char *const rates[] = {"500", "500", "400"};
    struct daemon daemon = {0};
    struct run run;
    const char *paths[3];
    daemon_start(&daemon, NULL);
    for (int i = 0; i < 3; i++) {
        char name[16];
        snprintf(name, sizeof(name), "%d.json", i);
        paths[i] = path_of(&daemon, name);
        run_start(&run, "tidegate-load", "--server", daemon.address, "--scenario", "durable",
                  "--rate", rates[i], "--duration", "500ms", "--json", paths[i], "--quiet", NULL);
        run_wait(&run);
        cr_assert_eq(run.status, 0, "%s", run.err);
        run_free(&run);
    }
    const char *a = paths[0], *b = paths[1];
    run_start(&run, "tidegate-load", "compare", "--figure", "responses_per_s", "--margin", "100%",
              a, b, a, b, a, b, a, b, a, b, NULL);
    run_wait(&run);
    cr_assert_eq(run.status, 0, "%s", run.err);
    cr_assert(strstr(run.out, "same within noise"), "%s", run.out);
    run_free(&run);
    run_start(&run, "tidegate-load", "compare", a, paths[2], NULL);
    run_wait(&run);
    cr_assert_eq(run.status, 2, "%s", run.out);
    cr_assert(strstr(run.err, "rate_per_s is 500.0 and 400.0"), "%s", run.err);
    run_free(&run);
    daemon_end(&daemon);
}
