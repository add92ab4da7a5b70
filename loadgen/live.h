/* --live: how a run goes, drawn over and over on a terminal (standard error), twice a second.
 *
 * The parts of a run post what they have counted, and the daemon's vitals what they were told; a
 * thread of its own draws, so that a slow terminal delays nobody. There is one board in a process.
 * It takes the alternate screen, and gives the old one back at the end, on a signal that ends the
 * process, and while the process is stopped by Ctrl-Z. Each picture is made anew for the size that
 * the terminal has then. Plain ANSI (ECMA-48) sequences; colours only without NO_COLOR; block
 * letters only where the locale is UTF-8.
 *
 * Functions without a note may be called by any thread.
 */
#ifndef LG_LIVE_H
#define LG_LIVE_H

#include "loadgen/options.h"
#include "loadgen/samples.h"

#define LG_LIVE_INTERVAL_NS 500000000ll
#define LG_LIVE_POINTS      120u /* of a sparkline's past: 60 s */
#define LG_LIVE_VERDICTS    4u   /* refusals told apart */
#define LG_LIVE_LINES       11u

/* Standard error is a terminal that can be drawn on. */
bool lg_live_possible(void);

/* Begins to draw. Parts are borrowed until lg_live_stop. `start_ns`: of load, monotonic. Main
 * thread. */
void lg_live_start(const struct lg_options *parts, uint32_t count, int64_t start_ns);

/* Ends it and gives the terminal back. Nobody posts any more. Fine without a start. Main thread. */
void lg_live_stop(void);

/* A post of this part is due: its tally is worth taking. Cheap; false without a board. */
bool lg_live_is_due(const struct lg_options *part);

/* All that this part has counted since the start of load. */
void lg_live_post(const struct lg_options *part, const struct lg_tally *tally);

/* What the daemon has done since the start of load. */
void lg_live_post_commits(uint64_t commits, uint64_t records, const struct tg_histogram *commit_us);

/* --- for tests: one picture, pure --- */

struct lg_live_view {
    const char *title; /* borrowed, as all below */
    const char *stage; /* NULL: none, the last answers are awaited */
    uint32_t stage_number, stage_count;
    int64_t since_ns;      /* the start of load */
    int64_t stage_left_ns; /* negative: no end in sight, as below */
    int64_t left_ns;
    double offered_per_s, answers_per_s, accepted_per_s, refused_per_s;
    uint64_t offered, accepted, refused; /* in all */
    struct {
        const char *name;
        double per_s;
    } verdicts[LG_LIVE_VERDICTS]; /* refusals, the most frequent first */
    uint32_t verdict_count;
    double p50_us, p99_us, max_us; /* NAN: nothing was answered */
    bool has_commits;
    double commits_per_s, records_each, commit_p99_us;
    uint64_t in_flight, backlog;
    uint32_t points; /* kept */
    uint32_t turns;  /* pictures so far: points are paired by it, so that a cell keeps its two */
    double rates[LG_LIVE_POINTS], p99s_us[LG_LIVE_POINTS]; /* oldest first; NAN: a gap */
};

struct lg_live_look {
    uint32_t columns, rows; /* of the terminal */
    bool utf8, colour;
};

/* Writes at most look->rows lines of at most look->columns letters, each ended by clearing the rest
 * of its line and all but the last by a line break. Returns the bytes used; never more than `room`,
 * which LG_LIVE_BYTES is always enough for. */
#define LG_LIVE_BYTES 16384u
size_t lg_live_draw(const struct lg_live_view *view, const struct lg_live_look *look, char *out,
                    size_t room);

#endif
