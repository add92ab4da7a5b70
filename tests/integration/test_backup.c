/* Backup, restore, export and top against a real daemon: the drill that an operator practises, and
 * what these commands refuse. */
#include "base/clock.h"
#include "tests/lib/life.h"
#include "tests/lib/run.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define EXIT_DONE        0
#define EXIT_REFUSED     1
#define EXIT_USAGE       2
#define EXIT_UNREACHABLE 3

#define SALE 1
#define SKU  "A01-001-M-BL"

/* Runs tidegatectl; fails the test when it does not exit with `status`. */
#define ctl(run, status_, ...)                                                                     \
    do {                                                                                           \
        run_start((run), "tidegatectl", __VA_ARGS__, NULL);                                        \
        run_wait(run);                                                                             \
        cr_assert_eq((run)->status, (status_), "exit %d: %s%s", (run)->status, (run)->out,         \
                     (run)->err);                                                                  \
    } while (0)

#define ctl_quietly(status, ...)                                                                   \
    do {                                                                                           \
        struct run run_;                                                                           \
        ctl(&run_, status, __VA_ARGS__);                                                           \
        run_free(&run_);                                                                           \
    } while (0)

static json_t *json_of(struct run *run)
{
    json_error_t error;
    json_t *json = json_loads(run->out, 0, &error);
    cr_assert(json, "no JSON (%s): %s", error.text, run->out);
    run_free(run);
    return json;
}

/* "<root>/<name>"; static, of the last four calls. */
static const char *below(const struct daemon *daemon, const char *name)
{
    static char paths[4][160];
    static uint32_t turn;
    char *path = paths[turn++ % 4];
    snprintf(path, sizeof(paths[0]), "%s/%s", daemon->root, name);
    return path;
}

static bool there_is(const char *path)
{
    return access(path, F_OK) == 0;
}

/* --- buyers --- */

#define BATCH      256
#define ORDERS_MAX 400000

/* Every accepted order, and the requests that made them. */
struct crowd {
    struct tgc_client *client;
    struct tg_order *orders; /* ORDERS_MAX */
    uint64_t *order_ids;
    uint32_t count;
};

static struct crowd crowd_make(const struct daemon *daemon)
{
    struct crowd crowd = {.client = sale_client(daemon),
                          .orders = calloc(ORDERS_MAX, sizeof(struct tg_order)),
                          .order_ids = calloc(ORDERS_MAX, sizeof(uint64_t))};
    cr_assert(crowd.orders && crowd.order_ids);
    return crowd;
}

static void crowd_free(struct crowd *crowd)
{
    tgc_close(crowd->client);
    free(crowd->orders);
    free(crowd->order_ids);
}

static void buy_batch(struct crowd *crowd)
{
    struct tg_answer answers[BATCH];
    struct tg_order *orders = crowd->orders + crowd->count;
    cr_assert_leq(crowd->count + BATCH, ORDERS_MAX);
    for (uint32_t i = 0; i < BATCH; i++)
        orders[i] = sale_order(SALE, SKU, crowd->count + i + 1, 1);
    sale_place_batch(crowd->client, orders, BATCH, answers);
    for (uint32_t i = 0; i < BATCH; i++) {
        sale_assert_verdict(answers[i].verdict, TG_ACCEPTED);
        crowd->order_ids[crowd->count++] = answers[i].order_id;
    }
}

static void buy(struct crowd *crowd, uint32_t count)
{
    for (uint32_t i = 0; i < count; i += BATCH)
        buy_batch(crowd);
}

/* --- the drill --- */

struct seen {
    uint64_t *order_ids;
    uint64_t count, count_max;
};

static void note_order(void *context, const Tidegate__V1__Order *order)
{
    struct seen *seen = context;
    cr_assert_lt(seen->count, seen->count_max, "more orders than were ever placed");
    seen->order_ids[seen->count++] = order->order_id;
}

/* Orders are numbered as they are committed, so what is restored must be the first of those that
 * were accepted, none left out, and reach at least to the last one before the backup. */
static uint64_t expect_prefix(struct tgc_client *client, const struct crowd *crowd,
                              uint32_t accepted_before)
{
    struct seen seen = {.order_ids = calloc(crowd->count, sizeof(uint64_t)),
                        .count_max = crowd->count};
    cr_assert_not_null(seen.order_ids);
    sale_list(client, SALE, note_order, &seen);
    cr_assert_geq(seen.count, accepted_before, "of %u orders before the backup %lu are there",
                  accepted_before, seen.count);
    for (uint64_t i = 0; i < seen.count; i++)
        cr_assert_eq(seen.order_ids[i], crowd->order_ids[i], "order %lu", i);
    uint64_t last = seen.order_ids[seen.count - 1];
    struct tg_stock stock = sale_stock(client, SALE, SKU);
    cr_expect_eq(stock.reserved_units + stock.sold_units, seen.count, "a unit for each order");
    free(seen.order_ids);
    return last;
}

Test(backup, a_drill_restores_all_that_was_accepted_before_the_backup)
{
    struct daemon daemon = {0}, restored = {0};
    struct run run;
    daemon_start(&daemon, NULL);
    struct crowd crowd = crowd_make(&daemon);
    sale_create(crowd.client, SALE, SKU, ORDERS_MAX, 0);
    buy(&crowd, 20000);
    cr_assert_eq(life_pay(crowd.client, crowd.order_ids[0], "p-1", SALE_PRICE).verdict, TG_OK);

    uint32_t before = crowd.count;
    const char *backup = below(&daemon, "backup"), *again = below(&daemon, "again");
    run_start(&run, "tidegatectl", "backup", "--data-dir", daemon.data_dir, backup, "--json", NULL);
    while (run_goes_on(&run))
        buy_batch(&crowd);
    run_wait(&run);
    cr_assert_eq(run.status, EXIT_DONE, "%s", run.err);
    cr_assert_gt(crowd.count, before, "nothing was sold while it was copied");
    json_t *json = json_of(&run);
    cr_expect_geq(json_integer_value(json_object_get(json, "orders")), before);
    json_decref(json);
    buy_batch(&crowd);
    daemon_kill(&daemon);

    ctl_quietly(EXIT_DONE, "restore", backup, again);
    ctl_quietly(EXIT_DONE, "verify", "--data-dir", again);
    snprintf(restored.data_dir, sizeof(restored.data_dir), "%s", again);
    daemon_start(&restored, NULL);
    tgc_close(crowd.client);
    crowd.client = sale_client(&restored);
    uint64_t last = expect_prefix(crowd.client, &crowd, before);
    cr_expect_eq(life_state(crowd.client, crowd.order_ids[0]), TG_ORDER_CONFIRMED);

    struct tg_answer retry = sale_place(crowd.client, &crowd.orders[before - 1]);
    cr_expect_eq(retry.order_id, crowd.order_ids[before - 1], "a retry gets its first answer");
    struct tg_order order = sale_order(SALE, SKU, ORDERS_MAX + 1, 1);
    struct tg_answer answer = sale_place(crowd.client, &order);
    sale_assert_verdict(answer.verdict, TG_ACCEPTED);
    cr_expect_gt(answer.order_id, last, "ids go on");
    crowd_free(&crowd);
    daemon_stop(&restored);
    ctl_quietly(EXIT_DONE, "verify", "--data-dir", again);
    daemon_end(&restored);
    daemon_end(&daemon);
}

/* --- what they refuse --- */

Test(backup, nothing_is_restored_over_a_data_directory)
{
    struct daemon daemon = {0};
    struct run run;
    daemon_start(&daemon, NULL);
    struct crowd crowd = crowd_make(&daemon);
    sale_create(crowd.client, SALE, SKU, 1000, 0);
    buy(&crowd, BATCH);
    const char *backup = below(&daemon, "backup");
    ctl_quietly(EXIT_DONE, "backup", "--data-dir", daemon.data_dir, backup);
    ctl(&run, EXIT_USAGE, "restore", backup, daemon.data_dir);
    cr_expect(strstr(run.err, "not empty"), "%s", run.err);
    run_free(&run);
    ctl_quietly(EXIT_USAGE, "backup", "--data-dir", daemon.data_dir, backup);
    ctl_quietly(EXIT_USAGE, "backup", backup);
    ctl_quietly(EXIT_UNREACHABLE, "restore", below(&daemon, "nowhere"), below(&daemon, "new"));
    cr_expect_not(there_is(below(&daemon, "new")));
    cr_expect_eq(sale_list(crowd.client, SALE, NULL, NULL), BATCH, "the daemon goes on");
    crowd_free(&crowd);
    daemon_end(&daemon);
}

Test(backup, a_damaged_backup_is_not_restored)
{
    struct daemon daemon = {0};
    struct run run;
    char byte;
    daemon_start(&daemon, NULL);
    struct crowd crowd = crowd_make(&daemon);
    sale_create(crowd.client, SALE, SKU, 10000, 0);
    buy(&crowd, 20 * BATCH);
    const char *backup = below(&daemon, "backup"), *again = below(&daemon, "again");
    ctl_quietly(EXIT_DONE, "backup", "--data-dir", daemon.data_dir, backup);
    char path[192];
    struct stat file_stat;
    snprintf(path, sizeof(path), "%s/data.mdb", backup);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    cr_assert(fd >= 0 && fstat(fd, &file_stat) == 0);
    /* A byte in the middle of every page, so that one of an order is among them. */
    for (off_t at = 2 * 4096 + 2048; at < file_stat.st_size; at += 4096) {
        cr_assert_eq(pread(fd, &byte, 1, at), 1);
        byte = (char)~byte;
        cr_assert_eq(pwrite(fd, &byte, 1, at), 1);
    }
    close(fd);
    ctl(&run, EXIT_REFUSED, "restore", backup, again);
    cr_expect(strstr(run.err, "is not sound, and was removed"), "%s", run.err);
    cr_expect(strstr(run.err, "broken: "), "%s", run.err);
    run_free(&run);
    cr_expect_not(there_is(again));
    crowd_free(&crowd);
    daemon_end(&daemon);
}

/* Killed at twelve moments, spread over a little more than a whole backup takes: what is left is a
 * backup that verifies, or holds no database; and the daemon goes on. */
Test(backup, a_kill_leaves_a_whole_backup_or_none)
{
    struct daemon daemon = {0};
    struct run run;
    daemon_start(&daemon, NULL);
    struct crowd crowd = crowd_make(&daemon);
    sale_create(crowd.client, SALE, SKU, ORDERS_MAX, 0);
    buy(&crowd, 200 * BATCH);
    int64_t begun_ns = tg_clock_mono_ns();
    ctl_quietly(EXIT_DONE, "backup", "--data-dir", daemon.data_dir, below(&daemon, "whole"));
    int64_t whole_ns = tg_clock_mono_ns() - begun_ns;
    for (int i = 0; i < 12; i++) {
        char name[2][16], path[192];
        snprintf(name[0], sizeof(name[0]), "killed-%d", i);
        snprintf(name[1], sizeof(name[1]), "restored-%d", i);
        const char *target = below(&daemon, name[0]);
        run_start(&run, "tidegatectl", "backup", "--data-dir", daemon.data_dir, target, NULL);
        usleep((useconds_t)(whole_ns / 1000 * i / 10));
        kill(run.pid, SIGKILL);
        run_wait(&run);
        run_free(&run);
        snprintf(path, sizeof(path), "%s/data.mdb", target);
        int status = there_is(path) ? EXIT_DONE : EXIT_UNREACHABLE;
        ctl_quietly(status, "verify", "--data-dir", target);
        ctl_quietly(status, "restore", target, below(&daemon, name[1]));
    }
    buy(&crowd, BATCH);
    cr_expect_eq(sale_list(crowd.client, SALE, NULL, NULL), crowd.count);
    crowd_free(&crowd);
    daemon_end(&daemon);
}

Test(backup, progress_is_told_when_it_is_asked_for)
{
    struct daemon daemon = {0};
    struct run run;
    daemon_start(&daemon, NULL);
    ctl(&run, EXIT_DONE, "backup", "--data-dir", daemon.data_dir, below(&daemon, "a"));
    cr_expect_str_eq(run.err, "", "no terminal, no word: %s", run.err);
    run_free(&run);
    ctl(&run, EXIT_DONE, "backup", "--data-dir", daemon.data_dir, below(&daemon, "b"),
        "--progress");
    cr_expect(strstr(run.err, "bytes copied"), "%s", run.err);
    run_free(&run);
    daemon_end(&daemon);
}

/* --- export --- */

static uint32_t lines_of(const char *text)
{
    uint32_t lines = 0;
    for (; *text; text++)
        lines += *text == '\n';
    return lines;
}

static char *file_text(const char *path)
{
    struct stat file_stat;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    cr_assert(fd >= 0 && fstat(fd, &file_stat) == 0, "%s", path);
    char *text = calloc(1, (size_t)file_stat.st_size + 1);
    cr_assert(text && read(fd, text, (size_t)file_stat.st_size) == file_stat.st_size);
    close(fd);
    return text;
}

Test(export, both_formats_have_every_order_of_the_sale_over_many_pages)
{
    struct daemon daemon = {0};
    struct run run;
    char id[64];
    daemon_start(&daemon, NULL);
    struct crowd crowd = crowd_make(&daemon);
    sale_create(crowd.client, SALE, SKU, 100000, 0);
    sale_create(crowd.client, 2, "OTHER", 10, 0);
    buy(&crowd, 10240);
    sale_assert_verdict(sale_buy(crowd.client, 2, "OTHER", 1, 1), TG_ACCEPTED);
    ctl(&run, EXIT_DONE, "--server", daemon.address, "export", "orders", "--sale", "1");
    cr_expect_eq(lines_of(run.out), 1 + crowd.count, "a head and the orders");
    cr_expect_eq(strncmp(run.out, "order_id,request_id,", 20), 0);
    snprintf(id, sizeof(id), "\r\n%lu,", crowd.order_ids[crowd.count - 1]);
    cr_expect(strstr(run.out, id), "no record of the last order");
    cr_expect_not(strstr(run.out, "OTHER"));
    run_free(&run);
    ctl(&run, EXIT_DONE, "--server", daemon.address, "export", "orders", "--json");
    cr_expect_eq(lines_of(run.out), crowd.count + 1, "of all sales");
    snprintf(id, sizeof(id), "{\"order_id\":\"%lu\",", crowd.order_ids[0]);
    cr_expect_eq(strncmp(run.out, id, strlen(id)), 0, "%.80s", run.out);
    run_free(&run);
    ctl_quietly(EXIT_USAGE, "--server", daemon.address, "export", "orders", "--format", "xml");
    ctl_quietly(EXIT_USAGE, "--server", daemon.address, "export", "orders", "--format", "csv",
                "--json");
    crowd_free(&crowd);
    daemon_end(&daemon);
}

Test(export, a_file_has_its_name_when_it_is_whole_and_is_never_written_over)
{
    struct daemon daemon = {0};
    struct run run;
    daemon_start(&daemon, NULL);
    struct crowd crowd = crowd_make(&daemon);
    sale_create(crowd.client, SALE, SKU, 1000, 0);
    buy(&crowd, BATCH);
    const char *file = below(&daemon, "orders.csv"),
               *partial = below(&daemon, "orders.csv.partial");
    ctl(&run, EXIT_DONE, "--server", daemon.address, "export", "orders", "--out", file,
        "--progress");
    cr_expect(strstr(run.out, "exported 256 orders"), "%s", run.out);
    cr_expect(strstr(run.err, "256 orders, 100%"), "%s", run.err);
    run_free(&run);
    char *text = file_text(file);
    cr_expect_eq(lines_of(text), 1 + BATCH);
    free(text);
    cr_expect_not(there_is(partial));
    ctl(&run, EXIT_USAGE, "--server", daemon.address, "export", "orders", "--out", file);
    cr_expect(strstr(run.err, "exists"), "%s", run.err);
    run_free(&run);
    crowd_free(&crowd);
    daemon_end(&daemon);
}

/* What is accepted behind the beginning is not waited for, or an export would last as long as the
 * sale does. It has begun when its first letter is here, and cannot end before the rest is read,
 * because that is more than it can keep. */
Test(export, it_ends_with_the_orders_that_were_there_when_it_began)
{
    struct daemon daemon = {0};
    char command[256];
    daemon_start(&daemon, NULL);
    struct crowd crowd = crowd_make(&daemon);
    sale_create(crowd.client, SALE, SKU, ORDERS_MAX, 0);
    buy(&crowd, 10240);
    uint32_t before = crowd.count, lines = 0;
    snprintf(command, sizeof(command), "%s --server %s export orders",
             daemon_program("tidegatectl"), daemon.address);
    FILE *rows = popen(command, "r");
    cr_assert_not_null(rows);
    cr_assert_eq(fgetc(rows), 'o');
    buy(&crowd, 10240);
    for (int c; (c = fgetc(rows)) != EOF;)
        lines += c == '\n';
    cr_expect_eq(pclose(rows), EXIT_DONE);
    cr_expect_eq(lines, 1 + before);
    crowd_free(&crowd);
    daemon_end(&daemon);
}

Test(export, it_breaks_off_with_the_server_and_tells_how_to_go_on)
{
    struct daemon daemon = {0};
    struct run run;
    struct stat file_stat = {.st_size = 0};
    daemon_start(&daemon, NULL);
    struct crowd crowd = crowd_make(&daemon);
    sale_create(crowd.client, SALE, SKU, ORDERS_MAX, 0);
    buy(&crowd, 80000);
    const char *file = below(&daemon, "orders.csv"),
               *partial = below(&daemon, "orders.csv.partial");
    run_start(&run, "tidegatectl", "--server", daemon.address, "--timeout", "500ms", "export",
              "orders", "--out", file, NULL);
    while (run_goes_on(&run) && file_stat.st_size == 0)
        if (stat(partial, &file_stat) != 0 || file_stat.st_size == 0)
            poll(NULL, 0, 1);
    daemon_kill(&daemon);
    run_wait(&run);
    cr_assert_eq(run.status, EXIT_REFUSED, "%d: %s", run.status, run.err);
    cr_expect_not(there_is(file));
    const char *hint = strstr(run.err, "the rest lies behind --after ");
    cr_assert(hint, "%s", run.err);
    char *text = file_text(partial), after[24];
    uint32_t rows = lines_of(text) - 1;
    cr_expect(rows > 0 && rows < crowd.count, "%u rows", rows);
    snprintf(after, sizeof(after), "%lu", crowd.order_ids[rows - 1]);
    cr_expect_eq(strncmp(hint + strlen("the rest lies behind --after "), after, strlen(after)), 0,
                 "not %s: %s", after, hint);
    free(text);
    run_free(&run);

    daemon_restart(&daemon);
    ctl(&run, EXIT_DONE, "--server", daemon.address, "export", "orders", "--after", after);
    cr_expect_eq(lines_of(run.out) - 1, crowd.count - rows, "the rest, and nothing twice");
    run_free(&run);
    crowd_free(&crowd);
    daemon_end(&daemon);
}

/* --- top --- */

Test(top, once_tells_the_rates_of_an_interval)
{
    struct daemon daemon = {0};
    struct run run;
    daemon_start(&daemon, NULL);
    struct crowd crowd = crowd_make(&daemon);
    sale_create(crowd.client, SALE, SKU, ORDERS_MAX, 1);
    buy(&crowd, 20 * BATCH);
    uint32_t before = crowd.count;
    run_start(&run, "tidegatectl", "--server", daemon.address, "top", "--once", "--interval",
              "300ms", "--json", NULL);
    while (run_goes_on(&run)) {
        buy_batch(&crowd);
        sale_assert_verdict(sale_buy(crowd.client, SALE, SKU, 1, 1), TG_LIMIT_REACHED);
    }
    run_wait(&run);
    cr_assert_eq(run.status, EXIT_DONE, "%s", run.err);
    json_t *json = json_of(&run);
    double seconds = json_number_value(json_object_get(json, "seconds"));
    double accepted = json_number_value(json_object_get(json, "accepted_per_s"));
    json_t *verdicts = json_object_get(json, "verdicts_per_s");
    cr_expect_geq(seconds, 0.3);
    cr_expect_gt(accepted, 0);
    cr_expect_leq(accepted * seconds, crowd.count - before + 0.001, "older ones count as well");
    cr_expect_eq(json_number_value(json_object_get(verdicts, "ACCEPTED")), accepted);
    cr_expect_gt(json_number_value(json_object_get(verdicts, "LIMIT_REACHED")), 0);
    cr_expect_gt(json_number_value(json_object_get(json, "commits_per_s")), 0);
    json_t *commit_us = json_object_get(json, "commit_us");
    cr_expect_gt(json_integer_value(json_object_get(commit_us, "p99")), 0);
    cr_expect_gt(json_integer_value(json_object_get(json, "resident_bytes")), 0);
    json_decref(json);
    ctl(&run, EXIT_DONE, "--server", daemon.address, "top", "--once", "--interval", "100ms");
    cr_expect(strstr(run.out, "ACCEPTED") && strstr(run.out, "commit us"), "%s", run.out);
    cr_expect_not(strchr(run.out, '\033'), "nothing is drawn");
    run_free(&run);
    ctl(&run, EXIT_USAGE, "--server", daemon.address, "top");
    cr_expect(strstr(run.err, "--once"), "%s", run.err);
    run_free(&run);
    crowd_free(&crowd);
    daemon_end(&daemon);
}

/* What comes from the terminal until `text` was there, or until its end when that is NULL. */
static void read_until(int terminal, char *screen, size_t room, const char *text)
{
    size_t used = strlen(screen);
    while (!text || !strstr(screen, text)) {
        struct pollfd ready = {.fd = terminal, .events = POLLIN};
        cr_assert_gt(poll(&ready, 1, DAEMON_WAIT_MS), 0, "nothing came after: %s", screen);
        ssize_t got = read(terminal, screen + used, room - 1 - used);
        if (got <= 0)
            break; /* the other side of a terminal that is closed is EIO */
        used += (size_t)got;
        screen[used] = '\0';
        cr_assert_lt(used + 1, room);
    }
    cr_assert(!text || strstr(screen, text), "no %s in: %s", text, screen);
}

static pid_t top_start(const struct daemon *daemon, int *terminal)
{
    struct winsize size = {.ws_row = 24, .ws_col = 80};
    pid_t pid = forkpty(terminal, NULL, NULL, &size);
    cr_assert_geq(pid, 0);
    if (pid == 0) {
        setenv("TERM", "xterm", 1);
        execl(daemon_program("tidegatectl"), "tidegatectl", "--server", daemon->address,
              "--timeout", "1s", "top", "--interval", "100ms", NULL);
        _exit(127);
    }
    return pid;
}

#define SCREEN_ENTER "\033[?1049h"
#define SCREEN_LEAVE "\033[?1049l"

Test(top, it_draws_and_gives_the_terminal_back_on_ctrl_c)
{
    struct daemon daemon = {0};
    static char screen[1 << 20];
    int terminal, status;
    daemon_start(&daemon, NULL);
    pid_t pid = top_start(&daemon, &terminal);
    read_until(terminal, screen, sizeof(screen), "rates over the last");
    cr_expect(strstr(screen, SCREEN_ENTER));
    cr_expect_not(strstr(screen, SCREEN_LEAVE), "not yet");
    cr_assert_eq(write(terminal, "\003", 1), 1); /* Ctrl-C, as a terminal has it */
    read_until(terminal, screen, sizeof(screen), SCREEN_LEAVE);
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == EXIT_DONE, "status %x", status);
    close(terminal);
    daemon_end(&daemon);
}

Test(top, it_gives_the_terminal_back_before_it_tells_that_the_server_is_gone)
{
    struct daemon daemon = {0};
    static char screen[1 << 20];
    int terminal, status;
    daemon_start(&daemon, NULL);
    pid_t pid = top_start(&daemon, &terminal);
    read_until(terminal, screen, sizeof(screen), "rates over the last");
    daemon_kill(&daemon);
    read_until(terminal, screen, sizeof(screen), NULL);
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == EXIT_UNREACHABLE, "status %x", status);
    const char *leave = strstr(screen, SCREEN_LEAVE);
    cr_assert(leave, "the screen was kept");
    cr_expect(strstr(leave, "tidegatectl: "), "what is wrong is told where it lasts: %s", leave);
    close(terminal);
    daemon_end(&daemon);
}
