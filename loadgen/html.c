#include "loadgen/html.h"

#include "loadgen/html_parts.h"
#include "loadgen/tree.h"

#include <errno.h>
#include <math.h>
#include <string.h>

static const char opening[] =
    "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
    "<meta name=\"color-scheme\" content=\"light dark\">\n"
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
    "style-src 'unsafe-inline'; script-src 'unsafe-inline'\">\n";

/* Behind stages that are not measured. */
static const char hatch[] =
    "<svg class=\"hidden\" aria-hidden=\"true\"><defs><pattern id=\"hatch\" width=\"8\" "
    "height=\"8\" "
    "patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\">"
    "<line class=\"hatch\" x1=\"0\" y1=\"0\" x2=\"0\" y2=\"8\"/></pattern></defs></svg>\n";

/* --- the top -----------------------------------------------------------------------------------
 */

static const char *name_of(const json_t *report)
{
    const char *file = lg_tree_text(report, "file", NULL);
    const char *slash = file ? strrchr(file, '/') : NULL;
    return slash ? slash + 1 : file ? file : lg_tree_text(report, "scenario", "a run");
}

/* "64 connections x 16 frames x 1 order", with a cross. */
static void write_shape(const json_t *report, FILE *out)
{
    double connections = lg_tree_number(report, "settings.connections");
    double pipeline = lg_tree_number(report, "settings.pipeline");
    double batch = lg_tree_number(report, "settings.batch");
    double rate = lg_tree_number(report, "settings.rate_per_s");
    char text[LG_FIGURE_BYTES];
    if (isnan(connections) || json_array_size(lg_tree_at(report, "parts")))
        return;
    lg_markup_print(out, ", %.0f connections \u00d7 %.0f in flight", connections, pipeline);
    if (batch > 1)
        lg_markup_print(out, " \u00d7 %.0f orders", batch);
    if (!isnan(rate))
        lg_markup_print(out, ", open loop at %s", lg_figure(rate, LG_UNIT_RATE, text));
    else
        lg_markup_print(out, ", %s loop", lg_tree_text(report, "loop", "closed"));
}

static void write_header(const json_t *report, FILE *out)
{
    char text[LG_FIGURE_BYTES];
    fputs("<header><p class=\"over\">Tidegate load report</p><h1>", out);
    lg_markup_text(name_of(report), out);
    fputs("</h1>", out);
    if (lg_tree_text(report, "about", NULL)) {
        fputs("<p class=\"about\">", out);
        lg_markup_text(lg_tree_text(report, "about", ""), out);
        fputs("</p>", out);
    }
    fputs("<p>", out);
    lg_markup_text(lg_tree_text(report, "started_at", ""), out);
    fputs(lg_tree_text(report, "started_at", NULL) ? ", " : "", out);
    lg_markup_print(out, "%s against %s", lg_tree_text(report, "tool", ""),
                    lg_tree_text(report, "server", "a server"));
    if (lg_tree_text(report, "daemon.version", NULL))
        lg_markup_print(out, ", tidegated %s", lg_tree_text(report, "daemon.version", ""));
    write_shape(report, out);
    if (!isnan(lg_tree_number(report, "elapsed_s")))
        lg_markup_print(out, ", measured over %s",
                        lg_figure(lg_tree_number(report, "elapsed_s"), LG_UNIT_S, text));
    fputs(lg_tree_is_true(report, "interrupted") ? ", interrupted.</p></header>\n"
                                                 : ".</p></header>\n",
          out);
}

static void write_list(const json_t *list, FILE *out)
{
    json_t *item;
    size_t i;
    if (!json_array_size(list))
        return;
    fputs("<ul>", out);
    json_array_foreach(list, i, item)
    {
        fputs("<li>", out);
        lg_markup_text(json_string_value(item), out);
        fputs("</li>", out);
    }
    fputs("</ul>", out);
}

/* Counts of the audit that should be 0 and are not, in its own words. */
static void write_findings(const json_t *run, FILE *out)
{
    static const char *const good[] = {
        "accepted_answers",
        "orders_read",
        "foreign_orders",
        "unlogged_orders",
        "seconds",
        "teams_read",
        "samples",
        "events_read",
        "events_repeated",
        "money_in_minor",
        "money_kept_minor",
        "money_refund_due_minor",
        "money_refunded_minor",
    };
    const char *name;
    json_t *value;
    fputs("<ul>", out);
    json_object_foreach(json_object_get(run, "audit"), name, value)
    {
        bool is_good = !json_is_number(value) || json_number_value(value) == 0;
        for (size_t i = 0; !is_good && i < sizeof(good) / sizeof(good[0]); i++)
            is_good = strcmp(name, good[i]) == 0;
        if (is_good)
            continue;
        fputs("<li>", out);
        for (const char *c = name; *c; c++)
            lg_markup_print(out, "%c", *c == '_' ? ' ' : *c);
        fprintf(out, ": %.0f</li>", json_number_value(value));
    }
    fputs("</ul>", out);
    write_list(lg_tree_at(run, "audit.examples"), out);
}

static void write_unsound(const json_t *report, FILE *out)
{
    const json_t *parts = lg_tree_at(report, "parts"), *part;
    size_t i;
    bool done = lg_tree_is_true(report, "audit.done");
    const char *error = lg_tree_text(report, "error", NULL);
    fputs("<section class=\"verdict bad\" role=\"alert\"><h2><span "
          "aria-hidden=\"true\">\u2717</span> ",
          out);
    fputs(done ? "The audit failed" : "The audit was not done", out);
    fputs("</h2><p>Throughput and latency of this run mean nothing, so this page shows none: a "
          "figure without its correctness is no figure.</p>",
          out);
    if (error) {
        fputs("<p>", out);
        lg_markup_text(error, out);
        fputs("</p>", out);
    }
    write_findings(report, out);
    json_array_foreach(parts, i, part)
    {
        if (lg_tree_is_true(part, "audit.ok"))
            continue;
        fputs("<h3>", out);
        lg_markup_text(lg_tree_text(part, "part", "a part"), out);
        fputs("</h3>", out);
        write_findings(part, out);
    }
    fputs("</section>\n", out);
}

static void write_sound(const json_t *report, FILE *out)
{
    const json_t *missed = lg_tree_at(report, "missed");
    size_t count = json_array_size(missed);
    char accepts[LG_FIGURE_BYTES], orders[LG_FIGURE_BYTES], seconds[LG_FIGURE_BYTES];
    fputs("<section class=\"verdict good\"><h2><span aria-hidden=\"true\">\u2713</span> "
          "The audit passed</h2><p>",
          out);
    lg_markup_print(
        out,
        "%s accepted answers were checked against %s orders read back, in %s: none "
        "lost, altered or twice, no unit sold twice, no limit exceeded.",
        lg_figure(lg_tree_number(report, "audit.accepted_answers"), LG_UNIT_COUNT, accepts),
        lg_figure(lg_tree_number(report, "audit.orders_read"), LG_UNIT_COUNT, orders),
        lg_figure(lg_tree_number(report, "audit.seconds"), LG_UNIT_S, seconds));
    fputs("</p></section>\n", out);
    if (!count)
        return;
    fprintf(out,
            "<section class=\"verdict missed\"><h2><span aria-hidden=\"true\">!</span> %zu "
            "threshold%s missed</h2>",
            count, count == 1 ? " was" : "s were");
    write_list(missed, out);
    fputs("</section>\n", out);
}

/* --- figures -----------------------------------------------------------------------------------
 */

static void write_tile(const char *name, double value, enum lg_unit unit, const char *note,
                       FILE *out)
{
    char text[LG_FIGURE_BYTES];
    if (isnan(value))
        return;
    fprintf(out, "<div class=\"tile\"><dt>%s</dt><dd>", name);
    lg_markup_text(lg_figure(value, unit, text), out);
    fputs("</dd>", out);
    if (note) {
        fputs("<dd class=\"note\">", out);
        lg_markup_text(note, out);
        fputs("</dd>", out);
    }
    fputs("</div>", out);
}

static void write_tiles(const json_t *report, FILE *out)
{
    double offered = lg_tree_number(report, "offered"),
           accepted = lg_tree_number(report, "accepted");
    char share[LG_FIGURE_BYTES], note[64];
    fputs("<section aria-label=\"Figures\"><dl class=\"tiles\">", out);
    write_tile("accepted, durable", lg_tree_number(report, "accepted_per_s"), LG_UNIT_RATE,
               "while measured", out);
    write_tile("answers", lg_tree_number(report, "responses_per_s"), LG_UNIT_RATE,
               "accepted and refused", out);
    write_tile("p50", lg_tree_number(report, "latency_us.p50"), LG_UNIT_US, "of all answers", out);
    write_tile("p99", lg_tree_number(report, "latency_us.p99"), LG_UNIT_US, NULL, out);
    write_tile("p99.9", lg_tree_number(report, "latency_us.p999"), LG_UNIT_US, NULL, out);
    write_tile("p99.99", lg_tree_number(report, "latency_us.p9999"), LG_UNIT_US, NULL, out);
    write_tile("slowest", lg_tree_number(report, "latency_us.max"), LG_UNIT_US, NULL, out);
    write_tile("offered", offered, LG_UNIT_COUNT, "orders, whole run", out);
    snprintf(note, sizeof(note), "orders, %s of offered",
             lg_figure(offered > 0 ? accepted / offered : 0, LG_UNIT_SHARE, share));
    write_tile("accepted", accepted, LG_UNIT_COUNT, note, out);
    write_tile("sold out after", lg_tree_number(report, "sell_through_s"), LG_UNIT_S, NULL, out);
    write_tile("commit p99", lg_tree_number(report, "daemon.commit_us.p99"), LG_UNIT_US,
               "in the daemon", out);
    write_tile("records in a commit", lg_tree_number(report, "daemon.commit_batch.p50"),
               LG_UNIT_COUNT, "median", out);
    write_tile("rate at saturation", lg_tree_number(report, "saturation.rate_per_s"), LG_UNIT_RATE,
               lg_tree_text(report, "saturation.objective", NULL), out);
    fputs("</dl></section>\n", out);
}

/* What makes figures of this run worth less than they seem. */
static void write_warnings(const json_t *report, FILE *out)
{
    double end = lg_tree_number(report, "schedule.backlog_end");
    double rate = lg_tree_number(report, "settings.rate_per_s");
    if (end > rate / 10)
        fputs("<p class=\"warning\"><b>The server did not keep up.</b> Orders that were due and "
              "never sent have no latency: the latencies here are too good.</p>\n",
              out);
    if (lg_tree_number(report, "loadgen.busiest_thread_share") > 0.95)
        fputs("<p class=\"warning\"><b>A generator thread was busy all the time</b> and may have "
              "been the limit.</p>\n",
              out);
    if (strcmp(lg_tree_text(report, "loop", ""), "closed") == 0)
        fputs("<p class=\"warning\"><b>Closed loop:</b> each answer makes room for the next order, "
              "so a slow server gets less load, and its queue is hidden. Judge latency by an open "
              "loop.</p>\n",
              out);
}

static void write_sections(const json_t *report, const struct lg_series *series, FILE *out)
{
    write_warnings(report, out);
    write_tiles(report, out);
    lg_html_charts(report, series, out);
    lg_html_bars(report, out);
    lg_html_parts(report, out);
    lg_html_saturation(report, out);
    lg_html_requests(report, out);
}

enum tg_error lg_html_render(const json_t *report, FILE *out, struct tg_fault *fault)
{
    struct lg_series series;
    bool sound = lg_tree_is_sound(report);
    if (!lg_series_init(&series, report)) {
        lg_series_fini(&series);
        return tg_fault_set(fault, TG_ERR_NOMEM, "no memory for the samples of the report");
    }
    fputs(opening, out);
    fputs("<title>", out);
    lg_markup_print(out, "%s: Tidegate load report", name_of(report));
    fputs("</title>\n", out);
    fputs(lg_html_style, out);
    fputs("</head>\n<body>\n", out);
    fputs(hatch, out);
    fputs("<main>\n", out);
    write_header(report, out);
    if (sound) {
        write_sound(report, out);
        write_sections(report, &series, out);
    } else {
        write_unsound(report, out);
    }
    lg_html_facts(report, out);
    if (sound) {
        lg_html_samples(&series, out);
        fputs(lg_html_script, out);
    }
    fputs("</main>\n</body>\n</html>\n", out);
    lg_series_fini(&series);
    return TG_ERR_OK;
}

enum tg_error lg_html_write(const json_t *report, const char *path, struct tg_fault *fault)
{
    bool to_stdout = strcmp(path, "-") == 0;
    FILE *out = to_stdout ? stdout : fopen(path, "we");
    if (!out)
        return tg_fault_set_errno(fault, TG_ERR_IO, errno, "cannot write %s", path);
    enum tg_error error = lg_html_render(report, out, fault);
    bool ok = !ferror(out);
    ok = (to_stdout ? fflush(out) : fclose(out)) == 0 && ok;
    if (!error && !ok)
        error = tg_fault_set_errno(fault, TG_ERR_IO, errno, "cannot write %s", path);
    return error;
}
