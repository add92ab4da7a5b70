#include "loadgen/live.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/thread.h"

#include <errno.h>
#include <langinfo.h>
#include <locale.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define PARTS_MAX 16u

/* The alternate screen without a cursor, and back. */
#define SEQ_ENTER "\033[?1049h\033[?25l\033[2J"
#define SEQ_LEAVE "\033[?25h\033[?1049l"
#define SEQ_HOME  "\033[H"
#define SEQ_BELOW "\033[J"

struct commits {
    int64_t at_ns; /* when they were posted; 0: never */
    uint64_t commits, records;
    struct tg_histogram us;
};

/* Large: one in a process, from lg_live_start to lg_live_stop. */
struct board {
    const struct lg_options *parts; /* borrowed */
    uint32_t part_count;
    int64_t posted_ns[PARTS_MAX]; /* each its part's thread's */
    pthread_mutex_t mutex;        /* of the next five */
    pthread_cond_t changed;
    bool stopping;
    int64_t last_post_ns;
    struct lg_tally posted[PARTS_MAX];
    struct commits commits;
    /* the drawing thread's */
    int64_t start_ns;
    int64_t now_ns, before_ns; /* the last posts of the two tallies */
    struct lg_live_look look;
    struct lg_tally now, before;
    struct commits commits_now, commits_before;
    struct tg_histogram between;
    struct lg_live_view view;
    char title[240];
    char picture[LG_LIVE_BYTES + sizeof(SEQ_HOME) + sizeof(SEQ_BELOW)];
};

static struct board *board;
static pthread_t thread;
/* Posts come only while this is set; the board itself stays. Pairs: set by lg_live_start behind all
 * that it made (release), read by posts (acquire). */
static _Atomic bool active;

/* --- the terminal, also in signal handlers -----------------------------------------------------
 */

static const int ending_signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGABRT, SIGSEGV, SIGBUS};
#define ENDING_COUNT (sizeof(ending_signals) / sizeof(ending_signals[0]))

static struct sigaction old_actions[ENDING_COUNT], old_stop;

static void tell_terminal(const char *sequence, size_t bytes)
{
    /* Nobody is left to be told that the terminal is gone. */
    while (bytes > 0) {
        ssize_t written = write(STDERR_FILENO, sequence, bytes);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return;
        sequence += written;
        bytes -= (size_t)written;
    }
}

static void enter_screen(void)
{
    tell_terminal(SEQ_ENTER, strlen(SEQ_ENTER));
}

static void leave_screen(void)
{
    tell_terminal(SEQ_LEAVE, strlen(SEQ_LEAVE));
}

/* What a first Ctrl-C does is the run's, whose handler is called. What ends the process gives the
 * screen back first. */
static void on_ending_signal(int number)
{
    int code = errno;
    for (size_t i = 0; i < ENDING_COUNT; i++) {
        if (ending_signals[i] != number)
            continue;
        struct sigaction *old = &old_actions[i];
        if (old->sa_flags & (int)SA_SIGINFO || old->sa_handler == SIG_DFL) {
            leave_screen();
            sigaction(number, old, NULL);
            /* Comes when this handler ends. */
            raise(number);
        } else if (old->sa_handler != SIG_IGN) {
            void (*handler)(int) = old->sa_handler;
            if (old->sa_flags & (int)SA_RESETHAND)
                old->sa_handler = SIG_DFL;
            handler(number);
        }
    }
    errno = code;
}

static void on_stop_signal(int number)
{
    int code = errno;
    (void)number;
    leave_screen();
    raise(SIGSTOP);
    enter_screen();
    errno = code;
}

static void catch_signals(void)
{
    struct sigaction ending = {.sa_handler = on_ending_signal, .sa_flags = SA_RESTART};
    struct sigaction stop = {.sa_handler = on_stop_signal, .sa_flags = SA_RESTART};
    for (size_t i = 0; i < ENDING_COUNT; i++)
        sigaction(ending_signals[i], &ending, &old_actions[i]);
    sigaction(SIGTSTP, &stop, &old_stop);
}

static void release_signals(void)
{
    for (size_t i = 0; i < ENDING_COUNT; i++)
        sigaction(ending_signals[i], &old_actions[i], NULL);
    sigaction(SIGTSTP, &old_stop, NULL);
}

bool lg_live_possible(void)
{
    const char *terminal = getenv("TERM");
    return isatty(STDERR_FILENO) && terminal && *terminal && strcmp(terminal, "dumb") != 0;
}

static void look_at_terminal(struct lg_live_look *look)
{
    struct winsize size;
    bool known = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col && size.ws_row;
    look->columns = known ? size.ws_col : 80;
    look->rows = known ? size.ws_row : 24;
}

/* --- what a picture shows ----------------------------------------------------------------------
 */

/* The stage of the part that has most of them: the others' are in the report. */
static void tell_stage(struct lg_live_view *v, const struct board *b, int64_t since_ns)
{
    const struct lg_profile *profile = &b->parts[0].profile;
    int64_t longest_ns = 0;
    for (uint32_t i = 0; i < b->part_count; i++) {
        int64_t part_ns = lg_profile_duration_ns(&b->parts[i].profile);
        longest_ns = part_ns > longest_ns ? part_ns : longest_ns;
        if (b->parts[i].profile.stage_count > profile->stage_count)
            profile = &b->parts[i].profile;
    }
    uint32_t number = lg_profile_stage_at(profile, since_ns);
    const struct lg_stage *stage = &profile->stages[number];
    v->stage = since_ns < longest_ns ? stage->name : NULL;
    v->stage_number = number + 1;
    v->stage_count = profile->stage_count;
    v->left_ns = longest_ns >= LG_STAGE_ENDLESS_NS ? -1 : longest_ns - since_ns;
    v->stage_left_ns = stage->duration_ns >= LG_STAGE_ENDLESS_NS
                           ? -1
                           : stage->begin_ns + stage->duration_ns - since_ns;
}

static double rate(uint64_t now, uint64_t before, double seconds)
{
    return seconds > 0 && now > before ? (double)(now - before) / seconds : 0;
}

static void tell_verdicts(struct lg_live_view *v, const struct board *b, double seconds)
{
    v->verdict_count = 0;
    for (uint32_t i = 0; i < TG_VERDICT_COUNT; i++) {
        double per_s = rate(b->now.verdicts[i], b->before.verdicts[i], seconds);
        uint32_t at = v->verdict_count;
        if (i == TG_ACCEPTED || per_s <= 0)
            continue;
        while (at > 0 && v->verdicts[at - 1].per_s < per_s)
            at--;
        if (at == LG_LIVE_VERDICTS)
            continue;
        if (v->verdict_count < LG_LIVE_VERDICTS)
            v->verdict_count++;
        memmove(&v->verdicts[at + 1], &v->verdicts[at],
                (v->verdict_count - 1 - at) * sizeof(v->verdicts[0]));
        v->verdicts[at].name = tg_verdict_name((int)i);
        v->verdicts[at].per_s = per_s;
    }
}

static double us(const struct tg_histogram *h, double fraction, double unit)
{
    return h->count ? (double)tg_histogram_percentile(h, fraction) / unit : (double)NAN;
}

static void tell_counts(struct lg_live_view *v, struct board *b, double seconds)
{
    const struct lg_tally *now = &b->now, *before = &b->before;
    uint64_t refused = now->responses - now->accepted;
    uint64_t refused_before = before->responses - before->accepted;
    v->offered = now->offered;
    v->accepted = now->accepted;
    v->refused = refused;
    v->offered_per_s = rate(now->offered, before->offered, seconds);
    v->answers_per_s = rate(now->responses, before->responses, seconds);
    v->accepted_per_s = rate(now->accepted, before->accepted, seconds);
    v->refused_per_s = rate(refused, refused_before, seconds);
    v->in_flight = now->in_flight;
    v->backlog = now->backlog;
    tg_histogram_between(&b->between, &before->latency, &now->latency);
    v->p50_us = us(&b->between, 0.5, 1e3);
    v->p99_us = us(&b->between, 0.99, 1e3);
    v->max_us = us(&b->between, 1, 1e3);
    tell_verdicts(v, b, seconds);
}

static void tell_commits(struct lg_live_view *v, struct board *b)
{
    const struct commits *now = &b->commits_now, *before = &b->commits_before;
    double seconds = (double)(now->at_ns - before->at_ns) / 1e9;
    uint64_t commits = now->commits - before->commits;
    v->has_commits = now->at_ns != 0;
    v->commits_per_s = rate(now->commits, before->commits, seconds);
    v->records_each =
        commits ? (double)(now->records - before->records) / (double)commits : (double)NAN;
    tg_histogram_between(&b->between, &before->us, &now->us);
    v->commit_p99_us = us(&b->between, 0.99, 1);
}

static void remember(struct lg_live_view *v)
{
    if (v->points == LG_LIVE_POINTS) {
        v->points--;
        memmove(v->rates, v->rates + 1, v->points * sizeof(v->rates[0]));
        memmove(v->p99s_us, v->p99s_us + 1, v->points * sizeof(v->p99s_us[0]));
    }
    v->rates[v->points] = v->answers_per_s;
    v->p99s_us[v->points++] = v->p99_us;
    v->turns++;
}

/* --- the drawing thread ------------------------------------------------------------------------
 */

static void add(struct lg_tally *into, const struct lg_tally *part)
{
    into->offered += part->offered;
    into->responses += part->responses;
    into->accepted += part->accepted;
    into->backlog += part->backlog;
    into->in_flight += part->in_flight;
    for (uint32_t v = 0; v < TG_VERDICT_COUNT; v++)
        into->verdicts[v] += part->verdicts[v];
    tg_histogram_merge(&into->latency, &part->latency);
}

/* Under the mutex: what was posted becomes what is drawn. */
static void take_posts(struct board *b)
{
    b->before = b->now;
    b->before_ns = b->now_ns;
    b->now_ns = b->last_post_ns;
    memset(&b->now, 0, sizeof(b->now));
    for (uint32_t i = 0; i < b->part_count; i++)
        add(&b->now, &b->posted[i]);
    /* The daemon is asked less often than this draws: what it told last stands until then. */
    if (b->commits.at_ns != b->commits_now.at_ns) {
        b->commits_before = b->commits_now;
        b->commits_now = b->commits;
    }
}

static void draw(struct board *b)
{
    struct lg_live_view *v = &b->view;
    int64_t now_ns = tg_clock_mono_ns();
    v->since_ns = now_ns > b->start_ns ? now_ns - b->start_ns : 0;
    tell_stage(v, b, v->since_ns);
    tell_counts(v, b, (double)(b->now_ns - b->before_ns) / 1e9);
    tell_commits(v, b);
    remember(v);
    look_at_terminal(&b->look);
    size_t used = strlen(SEQ_HOME);
    memcpy(b->picture, SEQ_HOME, used);
    used += lg_live_draw(v, &b->look, b->picture + used, LG_LIVE_BYTES);
    memcpy(b->picture + used, SEQ_BELOW, strlen(SEQ_BELOW));
    tell_terminal(b->picture, used + strlen(SEQ_BELOW));
}

static void *live_main(void *argument)
{
    struct board *b = argument;
    int64_t next_ns = tg_clock_mono_ns();
    pthread_mutex_lock(&b->mutex);
    while (!b->stopping) {
        take_posts(b);
        pthread_mutex_unlock(&b->mutex);
        draw(b);
        next_ns += LG_LIVE_INTERVAL_NS;
        struct timespec until = {.tv_sec = next_ns / TG_NS_PER_S, .tv_nsec = next_ns % TG_NS_PER_S};
        pthread_mutex_lock(&b->mutex);
        while (!b->stopping && tg_clock_mono_ns() < next_ns)
            pthread_cond_timedwait(&b->changed, &b->mutex, &until);
    }
    pthread_mutex_unlock(&b->mutex);
    return NULL;
}

/* --- start and stop ----------------------------------------------------------------------------
 */

/* "seckill on 127.0.0.1:7411, 2,000 orders/s wanted", or the names of the parts. */
static void make_title(struct board *b)
{
    const struct lg_options *first = &b->parts[0];
    size_t used = 0;
    for (uint32_t i = 0; first->part && i < b->part_count && used < 120; i++)
        used += (size_t)snprintf(b->title + used, sizeof(b->title) - used, "%s%.40s",
                                 i ? " + " : "", b->parts[i].part);
    if (!first->part)
        used = (size_t)snprintf(b->title, sizeof(b->title), "%.60s", first->scenario);
    used += (size_t)snprintf(b->title + used, sizeof(b->title) - used, " on %.60s", first->server);
    if (first->rate_per_s > 0 && !first->part)
        snprintf(b->title + used, sizeof(b->title) - used, ", %.0f/s wanted", first->rate_per_s);
    b->view.title = b->title;
}

static bool make_board(const struct lg_options *parts, uint32_t count, int64_t start_ns)
{
    pthread_condattr_t attributes;
    struct board *b = calloc(1, sizeof(*b));
    if (!b)
        return false;
    pthread_mutex_init(&b->mutex, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&b->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    b->parts = parts;
    b->part_count = count < PARTS_MAX ? count : PARTS_MAX;
    b->start_ns = start_ns;
    b->last_post_ns = b->now_ns = start_ns;
    make_title(b);
    /* Only what letters are: numbers keep their points. */
    setlocale(LC_CTYPE, "");
    b->look.utf8 = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
    const char *no_colour = getenv("NO_COLOR");
    b->look.colour = !no_colour || !*no_colour;
    board = b;
    return true;
}

void lg_live_start(const struct lg_options *parts, uint32_t count, int64_t start_ns)
{
    tg_assert(!active && count > 0);
    if (!lg_live_possible() || !make_board(parts, count, start_ns))
        return;
    catch_signals();
    enter_screen();
    if (tg_thread_start(&thread, live_main, board, "live", NULL) == TG_ERR_OK) {
        atomic_store_explicit(&active, true, memory_order_release);
        return;
    }
    leave_screen();
    release_signals();
    free(board);
    board = NULL;
}

void lg_live_stop(void)
{
    if (!active)
        return;
    atomic_store_explicit(&active, false, memory_order_relaxed);
    pthread_mutex_lock(&board->mutex);
    board->stopping = true;
    pthread_cond_broadcast(&board->changed);
    pthread_mutex_unlock(&board->mutex);
    pthread_join(thread, NULL);
    leave_screen();
    release_signals();
    pthread_cond_destroy(&board->changed);
    pthread_mutex_destroy(&board->mutex);
    free(board);
    board = NULL;
}

/* --- posts -------------------------------------------------------------------------------------
 */

/* The number of a part; PARTS_MAX for one that is not shown, such as one that only prefills. */
static uint32_t number_of(const struct lg_options *part)
{
    for (uint32_t i = 0; i < board->part_count; i++)
        if (part == &board->parts[i])
            return i;
    return PARTS_MAX;
}

bool lg_live_is_due(const struct lg_options *part)
{
    if (!atomic_load_explicit(&active, memory_order_acquire))
        return false;
    uint32_t number = number_of(part);
    /* Written by this part's thread alone. */
    return number < PARTS_MAX &&
           tg_clock_mono_ns() - board->posted_ns[number] >= LG_LIVE_INTERVAL_NS / 2;
}

void lg_live_post(const struct lg_options *part, const struct lg_tally *tally)
{
    if (!atomic_load_explicit(&active, memory_order_acquire))
        return;
    uint32_t number = number_of(part);
    if (number == PARTS_MAX)
        return;
    board->posted_ns[number] = tg_clock_mono_ns();
    pthread_mutex_lock(&board->mutex);
    board->last_post_ns = board->posted_ns[number];
    board->posted[number] = *tally;
    pthread_mutex_unlock(&board->mutex);
}

void lg_live_post_commits(uint64_t commits, uint64_t records, const struct tg_histogram *commit_us)
{
    if (!atomic_load_explicit(&active, memory_order_acquire))
        return;
    pthread_mutex_lock(&board->mutex);
    board->commits.at_ns = tg_clock_mono_ns();
    board->commits.commits = commits;
    board->commits.records = records;
    board->commits.us = *commit_us;
    pthread_mutex_unlock(&board->mutex);
}
