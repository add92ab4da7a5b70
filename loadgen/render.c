#include "loadgen/render.h"

#include "loadgen/html.h"
#include "loadgen/junit.h"
#include "loadgen/run.h"
#include "loadgen/tree.h"

#include <getopt.h>
#include <string.h>

static const char help[] =
    "tidegate-load render - a page or a CI file of a run that was\n"
    "\n"
    "USAGE\n"
    "  tidegate-load render REPORT.json [--html FILE] [--junit FILE]\n"
    "\n"
    "  Takes what --json of a run wrote, and writes what --html and --junit of the\n"
    "  run would have written. FILE may be - for standard output.\n";

static enum lg_status fail(enum lg_status status, const char *text)
{
    fprintf(stderr, "tidegate-load render: %s\n", text);
    return status;
}

static enum lg_status render(const char *path, const char *html, const char *junit)
{
    struct tg_fault fault;
    json_t *report = lg_tree_load(path, &fault);
    if (!report)
        return fail(LG_FAILED, fault.text);
    bool ok = !html || lg_html_write(report, html, &fault) == TG_ERR_OK;
    ok = ok && (!junit || lg_junit_write(report, junit, &fault) == TG_ERR_OK);
    json_decref(report);
    return ok ? LG_PASSED : fail(LG_FAILED, fault.text);
}

int lg_render_main(int argc, char **argv)
{
    static const struct option options[] = {{"html", required_argument, NULL, 'h'},
                                            {"junit", required_argument, NULL, 'j'},
                                            {NULL, 0, NULL, 0}};
    const char *html = NULL, *junit = NULL;
    int found;
    if (argc == 2 && strcmp(argv[1], "--help") == 0) {
        fputs(help, stdout);
        return LG_PASSED;
    }
    optind = 0;
    opterr = 0;
    while ((found = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (found == 'h')
            html = optarg;
        else if (found == 'j')
            junit = optarg;
        else
            return fail(LG_USAGE, "unknown option, or one without its value; see render --help");
    }
    if (optind + 1 != argc || (!html && !junit))
        return fail(LG_USAGE, "wants one report, and --html FILE or --junit FILE; see render "
                              "--help");
    return (int)render(argv[optind], html, junit);
}
