/* top: the server's counters, looked at over and over. */
#include "base/clock.h"
#include "ctl/ctl.h"
#include "ctl/screen.h"
#include "ctl/text.h"
#include "ctl/topview.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#define INTERVAL_MS_MIN 100
#define INTERVAL_MS_MAX 3600000

struct view {
    bool live;
    int64_t interval_ms;
    struct tg_histogram room;
    struct ctl_look looks[2]; /* the newest is looks[newest] */
    uint32_t newest;
    struct ctl_top top;
};

static bool read_options(struct ctl *ctl, struct view *view)
{
    const char *interval = ctl_option_value(ctl, "interval");
    view->interval_ms = 1000;
    view->live = ctl_option_value(ctl, "once") == NULL;
    if (interval && (!ctl_duration_parse(interval, &view->interval_ms) ||
                     view->interval_ms < INTERVAL_MS_MIN || view->interval_ms > INTERVAL_MS_MAX)) {
        ctl_misused(ctl, "--interval \"%s\" must be a time from 100ms to 1h", interval);
        return false;
    }
    if (view->live && (ctl->json || !ctl_screen_possible())) {
        ctl_misused(ctl, "%s: use --once",
                    ctl->json ? "--json is not for a screen" : "stdout is no terminal to draw on");
        return false;
    }
    return true;
}

static void stats_request(Tidegate__V1__Request *request, Tidegate__V1__GetStatsRequest *body)
{
    tidegate__v1__request__init(request);
    tidegate__v1__get_stats_request__init(body);
    request->kind_case = TIDEGATE__V1__REQUEST__KIND_GET_STATS;
    request->get_stats = body;
}

static void take_look(struct view *view, Tidegate__V1__Response *response)
{
    view->newest = 1 - view->newest;
    ctl_look_read(response->get_stats, tg_clock_mono_ns(), &view->looks[view->newest]);
    tgc_response_free(response);
}

static enum ctl_exit first_look(struct ctl *ctl, struct view *view)
{
    Tidegate__V1__Request request;
    Tidegate__V1__GetStatsRequest body;
    Tidegate__V1__Response *response;
    stats_request(&request, &body);
    enum ctl_exit code = ctl_call(ctl, &request, &response);
    if (!code)
        take_look(view, response);
    return code;
}

/* A restart of the server that is over within --timeout is borne. The screen is given back before
 * anything is said that has to last. */
static enum ctl_exit next_look(struct ctl *ctl, struct view *view)
{
    Tidegate__V1__Request request;
    Tidegate__V1__GetStatsRequest body;
    Tidegate__V1__Response *response = NULL;
    struct tg_fault fault = {0};
    stats_request(&request, &body);
    enum tg_error error =
        tgc_call_until_answered(ctl->client, &request, ctl->timeout_ms, &response, &fault);
    if (!error && tgc_outcome_of(response).verdict == TG_OK) {
        take_look(view, response);
        ctl_top_between(&view->looks[1 - view->newest], &view->looks[view->newest], &view->room,
                        &view->top);
        return CTL_DONE;
    }
    if (view->live)
        ctl_screen_leave();
    if (error)
        return ctl_complain(CTL_UNREACHABLE, "%s", fault.text);
    enum ctl_exit code = ctl_judge(response);
    tgc_response_free(response);
    return code;
}

static void wait_interval(const struct view *view)
{
    struct timespec left = {.tv_sec = view->interval_ms / 1000,
                            .tv_nsec = view->interval_ms % 1000 * TG_NS_PER_MS};
    while (nanosleep(&left, &left) != 0 && errno == EINTR)
        continue;
}

static void draw(const struct view *view)
{
    char *lines = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&lines, &bytes);
    if (!out)
        return;
    ctl_top_print(out, &view->top, &view->looks[view->newest]);
    fprintf(out, "\nCtrl-C ends it\n");
    fclose(out);
    ctl_screen_draw(lines);
    free(lines);
}

/* Until Ctrl-C, which the screen takes. */
static enum ctl_exit show_live(struct ctl *ctl, struct view *view)
{
    enum ctl_exit code;
    ctl_screen_enter();
    do {
        draw(view);
        wait_interval(view);
        code = next_look(ctl, view);
    } while (!code);
    return code;
}

static enum ctl_exit show_once(struct ctl *ctl, struct view *view)
{
    wait_interval(view);
    enum ctl_exit code = next_look(ctl, view);
    if (code)
        return code;
    if (ctl->json)
        ctl_json_print(ctl_top_json(&view->top, &view->looks[view->newest]));
    else
        ctl_top_print(stdout, &view->top, &view->looks[view->newest]);
    return CTL_DONE;
}

enum ctl_exit ctl_top(struct ctl *ctl)
{
    struct view *view = calloc(1, sizeof(*view));
    if (!view)
        ctl_out_of_memory();
    enum ctl_exit code = read_options(ctl, view) ? first_look(ctl, view) : CTL_USAGE;
    view->top.server = ctl->server;
    if (!code)
        code = view->live ? show_live(ctl, view) : show_once(ctl, view);
    free(view);
    return code;
}
