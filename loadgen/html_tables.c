/* The tables of a page. */
#include "loadgen/chart.h"
#include "loadgen/html_parts.h"
#include "loadgen/tree.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ROWS_MAX 64u /* bars of one table */

static void write_figure(double value, enum lg_unit unit, FILE *out)
{
    char text[LG_FIGURE_BYTES];
    fputs("<td class=\"n\">", out);
    lg_markup_text(lg_figure(value, unit, text), out);
    fputs("</td>", out);
}

static void open_table(const char *title, const char *about, const char *heads, FILE *out)
{
    fprintf(out,
            "<section class=\"card\"><h3>%s</h3><p>%s</p><div class=\"scroll\"><table><thead><tr>%s"
            "</tr></thead><tbody>\n",
            title, about, heads);
}

static void close_table(FILE *out)
{
    fputs("</tbody></table></div></section>\n", out);
}

/* --- ratios to limits and peers ----------------------------------------------------------------
 */

struct bar {
    char name[160];
    const char *note; /* borrowed */
    double per_s;
    double own_per_s; /* of this run, to compare with; NAN: nothing to compare */
    bool is_own;
};

struct bars {
    const json_t *report;
    struct bar rows[ROWS_MAX];
    uint32_t count;
};

static void add_bar(struct bars *bars, const char *name, double per_s, double own_per_s,
                    const char *note)
{
    if (bars->count == ROWS_MAX || isnan(per_s))
        return;
    struct bar *bar = &bars->rows[bars->count++];
    *bar = (struct bar){.note = note, .per_s = per_s, .own_per_s = own_per_s};
    snprintf(bar->name, sizeof(bar->name), "%s", name);
}

/* Frames in flight on a connection, behind the last dash of a figure's name or as a key by itself:
 * only a figure taken with as many as this run is one to compare with. */
static bool is_as_deep(const struct bars *bars, const char *name)
{
    const char *dash = strrchr(name, '-');
    const char *digits = dash ? dash + 1 : name;
    if (*digits < '0' || *digits > '9')
        return true;
    return strtod(digits, NULL) == lg_tree_number(bars->report, "settings.pipeline");
}

static void add_limits(struct bars *bars)
{
    const json_t *report = bars->report;
    json_t *limits = json_object_get(report, "limits"), *value;
    const char *key;
    char name[160];
    double answers = lg_tree_number(report, "responses_per_s");
    double accepted = lg_tree_number(report, "accepted_per_s");
    json_object_foreach(json_object_get(limits, "echo_per_s"), key, value)
    {
        snprintf(name, sizeof(name), "raw io_uring echo, %.20s in flight", key);
        add_bar(bars, name, json_number_value(value), is_as_deep(bars, key) ? answers : (double)NAN,
                "answers of this run against it");
    }
    json_object_foreach(json_object_get(limits, "lmdb_records_per_s"), key, value)
    {
        snprintf(name, sizeof(name), "raw LMDB append, %.20s in a commit", key);
        add_bar(bars, name, json_number_value(value), accepted, "accepted orders of this run");
    }
}

static void add_peers(struct bars *bars)
{
    const json_t *report = bars->report, *peers = lg_tree_at(report, "peers"), *peer;
    size_t i;
    char name[160];
    json_array_foreach(peers, i, peer)
    {
        const char *figure = lg_tree_text(peer, "figure", "");
        double own = strncmp(figure, "accepted", strlen("accepted")) == 0
                         ? lg_tree_number(report, "accepted_per_s")
                         : lg_tree_number(report, "responses_per_s");
        snprintf(name, sizeof(name), "%.80s, %.40s", lg_tree_text(peer, "name", "a peer"), figure);
        add_bar(bars, name, lg_tree_number(peer, "per_s"),
                is_as_deep(bars, figure) ? own : (double)NAN, lg_tree_text(peer, "settings", ""));
    }
}

static void write_bar(const struct bar *bar, double longest, FILE *out)
{
    fprintf(out, "<tr%s><th scope=\"row\">", bar->is_own ? " class=\"own\"" : "");
    lg_markup_text(bar->name, out);
    if (bar->note && *bar->note) {
        fputs("<small>", out);
        lg_markup_text(bar->note, out);
        fputs("</small>", out);
    }
    fputs("</th><td class=\"long\">", out);
    lg_chart_bar(longest > 0 ? bar->per_s / longest : 0, bar->is_own ? 0 : 7, out);
    fputs("</td>", out);
    write_figure(bar->per_s, LG_UNIT_RATE, out);
    if (bar->is_own)
        fputs("<td class=\"n\">this run</td></tr>\n", out);
    else if (isnan(bar->own_per_s) || bar->per_s <= 0)
        fputs("<td class=\"n\">\u2013</td></tr>\n", out);
    else
        fprintf(out, "<td class=\"n\"><b>%.3g\u00d7</b></td></tr>\n", bar->own_per_s / bar->per_s);
}

void lg_html_bars(const json_t *report, FILE *out)
{
    static struct bars bars; /* 12 KiB: not for a stack */
    double longest = 0;
    bars = (struct bars){.report = report};
    add_bar(&bars, "answers", lg_tree_number(report, "responses_per_s"), NAN, NULL);
    add_bar(&bars, "accepted, durable", lg_tree_number(report, "accepted_per_s"), NAN, NULL);
    uint32_t own = bars.count;
    for (uint32_t i = 0; i < own; i++)
        bars.rows[i].is_own = true;
    add_limits(&bars);
    add_peers(&bars);
    if (bars.count == own)
        return;
    for (uint32_t i = 0; i < bars.count; i++)
        longest = fmax(longest, bars.rows[i].per_s);
    open_table(
        "Against limits and peers",
        "Measured in the same run on the same machine. The ratio is this run's figure divided "
        "by theirs; none is given where they were not loaded like this run.",
        "<th>what</th><th class=\"long\"><span class=\"hidden\">bar</span></th>"
        "<th class=\"n\">a second</th><th class=\"n\">ratio</th>",
        out);
    for (uint32_t i = 0; i < bars.count; i++)
        write_bar(&bars.rows[i], longest, out);
    close_table(out);
}

/* --- parts, requests, the search ---------------------------------------------------------------
 */

void lg_html_parts(const json_t *report, FILE *out)
{
    const json_t *parts = lg_tree_at(report, "parts"), *part;
    size_t i;
    if (!json_array_size(parts))
        return;
    open_table(
        "Parts", "Ran at the same time, each with a sale and an audit of its own.",
        "<th>part</th><th>scenario</th><th class=\"n\">offered</th>"
        "<th class=\"n\">accepted</th><th class=\"n\">a second</th><th class=\"n\">answers</th>"
        "<th class=\"n\">p50</th><th class=\"n\">p99</th><th class=\"n\">p99.9</th>"
        "<th class=\"n\">slowest</th><th>audit</th>",
        out);
    json_array_foreach(parts, i, part)
    {
        fputs("<tr><th scope=\"row\">", out);
        lg_markup_text(lg_tree_text(part, "part", ""), out);
        fputs("</th><td>", out);
        lg_markup_text(lg_tree_text(part, "scenario", ""), out);
        fputs("</td>", out);
        write_figure(lg_tree_number(part, "offered"), LG_UNIT_COUNT, out);
        write_figure(lg_tree_number(part, "accepted"), LG_UNIT_COUNT, out);
        write_figure(lg_tree_number(part, "accepted_per_s"), LG_UNIT_RATE, out);
        write_figure(lg_tree_number(part, "responses_per_s"), LG_UNIT_RATE, out);
        write_figure(lg_tree_number(part, "latency_us.p50"), LG_UNIT_US, out);
        write_figure(lg_tree_number(part, "latency_us.p99"), LG_UNIT_US, out);
        write_figure(lg_tree_number(part, "latency_us.p999"), LG_UNIT_US, out);
        write_figure(lg_tree_number(part, "latency_us.max"), LG_UNIT_US, out);
        fputs("<td>passed</td></tr>\n", out);
    }
    close_table(out);
}

void lg_html_requests(const json_t *report, FILE *out)
{
    json_t *requests = json_object_get(report, "latency_by_request_us"), *latency;
    const char *name;
    if (!json_object_size(requests))
        return;
    open_table("Requests", "Latency of each kind.",
               "<th>request</th><th class=\"n\">answers</th><th class=\"n\">p50</th>"
               "<th class=\"n\">p90</th><th class=\"n\">p99</th><th class=\"n\">p99.9</th>"
               "<th class=\"n\">slowest</th>",
               out);
    json_object_foreach(requests, name, latency)
    {
        fputs("<tr><th scope=\"row\">", out);
        lg_markup_text(name, out);
        fputs("</th>", out);
        write_figure(lg_tree_number(latency, "count"), LG_UNIT_COUNT, out);
        write_figure(lg_tree_number(latency, "p50"), LG_UNIT_US, out);
        write_figure(lg_tree_number(latency, "p90"), LG_UNIT_US, out);
        write_figure(lg_tree_number(latency, "p99"), LG_UNIT_US, out);
        write_figure(lg_tree_number(latency, "p999"), LG_UNIT_US, out);
        write_figure(lg_tree_number(latency, "max"), LG_UNIT_US, out);
        fputs("</tr>\n", out);
    }
    close_table(out);
}

void lg_html_saturation(const json_t *report, FILE *out)
{
    const json_t *steps = lg_tree_at(report, "saturation.steps"), *step;
    const char *objective = lg_tree_text(report, "saturation.objective", "");
    char field[16];
    int name = (int)strcspn(objective, " <");
    size_t i;
    if (!json_array_size(steps))
        return;
    /* "p99 <= 4ms", of which steps have "p99_us". */
    snprintf(field, sizeof(field), "%.*s_us", name < 8 ? name : 8, objective);
    open_table("The search for saturation",
               "Each step is a run of its own at a fixed rate; the highest rate that met the "
               "objective is the result.",
               "<th class=\"n\">rate</th><th class=\"n\">latency</th>"
               "<th class=\"n\">slip p99</th><th>objective</th>",
               out);
    json_array_foreach(steps, i, step)
    {
        fputs("<tr>", out);
        write_figure(lg_tree_number(step, "rate_per_s"), LG_UNIT_RATE, out);
        write_figure(lg_tree_number(step, field), LG_UNIT_US, out);
        write_figure(lg_tree_number(step, "slip_p99_us"), LG_UNIT_US, out);
        fputs("<td>", out);
        lg_markup_text(lg_tree_text(step, "why", lg_tree_is_true(step, "ok") ? "met" : "not met"),
                       out);
        fputs("</td></tr>\n", out);
    }
    close_table(out);
}

/* --- facts -------------------------------------------------------------------------------------
 */

/* The unit of a field by the end of its name. */
static enum lg_unit unit_of(const char *path)
{
    static const struct {
        const char *end;
        enum lg_unit unit;
    } ends[] = {{"_bytes", LG_UNIT_BYTES}, {"_per_s", LG_UNIT_RATE},  {"_us", LG_UNIT_US},
                {"_s", LG_UNIT_S},         {"_share", LG_UNIT_SHARE}, {"seconds", LG_UNIT_S}};
    if (strstr(path, "_us."))
        return strstr(path, ".count") ? LG_UNIT_COUNT : LG_UNIT_US;
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        size_t all = strlen(path), end = strlen(ends[i].end);
        if (all >= end && strcmp(path + all - end, ends[i].end) == 0)
            return ends[i].unit;
    }
    return LG_UNIT_COUNT;
}

/* "fdatasync p99" for "fdatasync_us.p99": the figure tells its unit itself. */
static void write_words(const char *path, FILE *out)
{
    static const char *const units[] = {"_bytes", "_per_s", "_us", "_s"};
    char words[160];
    size_t used = 0;
    for (const char *c = path; *c && used + 1 < sizeof(words);) {
        size_t skip = 0;
        for (size_t i = 0; !skip && i < sizeof(units) / sizeof(units[0]); i++) {
            size_t bytes = strlen(units[i]);
            if (strncmp(c, units[i], bytes) == 0 && (c[bytes] == '.' || c[bytes] == '\0'))
                skip = bytes;
        }
        c += skip;
        if (*c)
            words[used++] = *c == '_' || *c == '.' ? ' ' : *c;
        c += *c != '\0';
    }
    words[used] = '\0';
    lg_markup_text(words, out);
}

static void write_fact(const char *path, const json_t *value, FILE *out)
{
    char text[LG_FIGURE_BYTES];
    fputs("<tr><th scope=\"row\">", out);
    write_words(path, out);
    fputs("</th><td>", out);
    if (json_is_string(value))
        lg_markup_text(json_string_value(value), out);
    else if (json_is_boolean(value))
        fputs(json_is_true(value) ? "yes" : "no", out);
    else
        lg_markup_text(lg_figure(json_number_value(value), unit_of(path), text), out);
    fputs("</td></tr>\n", out);
}

/* All scalars of an object, of those within it too. */
static void write_facts(const char *prefix, json_t *object, uint32_t depth, FILE *out)
{
    const char *name;
    json_t *value;
    json_object_foreach(object, name, value)
    {
        char path[160];
        snprintf(path, sizeof(path), "%s%s%s", prefix, *prefix ? "." : "", name);
        if (json_is_object(value) && depth < 3)
            write_facts(path, value, depth + 1, out);
        else if (!json_is_null(value) && !json_is_array(value) && !json_is_object(value))
            write_fact(path, value, out);
    }
}

static void write_group(const char *title, const json_t *report, const char *name, bool open,
                        FILE *out)
{
    json_t *object = json_object_get(report, name);
    if (!json_object_size(object))
        return;
    fprintf(out, "<details class=\"card\"%s><summary>", open ? " open" : "");
    lg_markup_text(title, out);
    fputs("</summary><div class=\"scroll\"><table><tbody>\n", out);
    write_facts("", object, 0, out);
    fputs("</tbody></table></div></details>\n", out);
}

static void write_stages(const json_t *run, const char *title, FILE *out)
{
    const json_t *stages = lg_tree_at(run, "stages"), *stage;
    size_t i;
    if (!json_array_size(stages))
        return;
    fputs("<details class=\"card\" open><summary>", out);
    lg_markup_text(title, out);
    fputs(
        "</summary><div class=\"scroll\"><table><thead><tr><th>stage</th><th class=\"n\">from</th>"
        "<th class=\"n\">to</th><th class=\"n\">rate</th><th class=\"n\">rate at its end</th>"
        "<th>measured</th></tr></thead><tbody>\n",
        out);
    json_array_foreach(stages, i, stage)
    {
        fputs("<tr><th scope=\"row\">", out);
        lg_markup_text(lg_tree_text(stage, "name", ""), out);
        fputs("</th>", out);
        write_figure(lg_tree_number(stage, "begin_s"), LG_UNIT_S, out);
        write_figure(lg_tree_number(stage, "end_s"), LG_UNIT_S, out);
        write_figure(lg_tree_number(stage, "rate_from"), LG_UNIT_RATE, out);
        write_figure(lg_tree_number(stage, "rate_to"), LG_UNIT_RATE, out);
        fputs(lg_tree_is_true(stage, "measured") ? "<td>yes</td></tr>\n" : "<td>no</td></tr>\n",
              out);
    }
    fputs("</tbody></table></div></details>\n", out);
}

/* Figures that a run without correctness must not show, and what stands elsewhere on the page, are
 * not in these groups. */
void lg_html_facts(const json_t *report, FILE *out)
{
    const json_t *parts = lg_tree_at(report, "parts"), *part;
    size_t i;
    char title[160];
    fputs("<section class=\"facts\" aria-label=\"Tables\">\n", out);
    write_group("Machine", report, "machine", true, out);
    if (lg_tree_is_sound(report)) {
        write_group("Daemon, over the run", report, "daemon", true, out);
        write_group("Answers by verdict", report, "rejected", true, out);
        write_group("Latency", report, "latency_us", false, out);
        write_group("Schedule", report, "schedule", false, out);
        write_group("Load generator", report, "loadgen", false, out);
    }
    if (!json_array_size(parts))
        write_stages(report, "Stages", out);
    write_group("Settings", report, "settings", true, out);
    json_array_foreach(parts, i, part)
    {
        snprintf(title, sizeof(title), "Stages of %.100s", lg_tree_text(part, "part", "a part"));
        write_stages(part, title, out);
        snprintf(title, sizeof(title), "Settings of %.100s", lg_tree_text(part, "part", "a part"));
        write_group(title, part, "settings", false, out);
    }
    write_group("Audit", report, "audit", false, out);
    fputs("</section>\n", out);
}

/* --- samples -----------------------------------------------------------------------------------
 */

void lg_html_samples(const struct lg_series *s, FILE *out)
{
    if (!s->count)
        return;
    fputs("<details class=\"card samples\"><summary>The figures of the charts</summary>"
          "<div class=\"scroll\"><table><thead><tr><th class=\"n\">until</th>"
          "<th class=\"n\">offered</th><th class=\"n\">accepted</th>",
          out);
    for (uint32_t v = 0; v < s->verdict_count; v++) {
        fputs("<th class=\"n\">", out);
        lg_markup_text(s->verdicts[v].name, out);
        fputs("</th>", out);
    }
    fputs(
        "<th class=\"n\">p50</th><th class=\"n\">p99</th><th class=\"n\">slowest</th>"
        "<th class=\"n\">backlog</th><th class=\"n\">commits</th><th class=\"n\">records each</th>"
        "<th class=\"n\">commit p99</th></tr></thead><tbody>\n",
        out);
    for (uint32_t i = 0; i < s->count; i++) {
        fputs("<tr>", out);
        write_figure(s->end_s[i], LG_UNIT_S, out);
        write_figure(s->offered[i], LG_UNIT_RATE, out);
        write_figure(s->accepted[i], LG_UNIT_RATE, out);
        for (uint32_t v = 0; v < s->verdict_count; v++)
            write_figure(s->verdicts[v].per_s[i], LG_UNIT_RATE, out);
        write_figure(s->p50_us[i], LG_UNIT_US, out);
        write_figure(s->p99_us[i], LG_UNIT_US, out);
        write_figure(s->max_us[i], LG_UNIT_US, out);
        write_figure(s->backlog[i], LG_UNIT_COUNT, out);
        write_figure(s->commits[i], LG_UNIT_RATE, out);
        write_figure(s->batch[i], LG_UNIT_COUNT, out);
        write_figure(s->commit_us_p99[i], LG_UNIT_US, out);
        fputs("</tr>\n", out);
    }
    fputs("</tbody></table></div></details>\n", out);
}
