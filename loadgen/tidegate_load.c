/* tidegate-load: puts a Tidegate server under load and audits what it promised. See loadgen/help.c
 * for what it does and loadgen/run.c for how. */
#include "loadgen/options.h"
#include "loadgen/report.h"
#include "loadgen/run.h"
#include "loadgen/story.h"
#include "loadgen/tale.h"

#include <string.h>

int main(int argc, char **argv)
{
    static struct lg_result result; /* three histograms: not for a stack */
    struct lg_options options;
    struct tg_fault fault = {TG_ERR_OK, ""};
    switch (lg_options_parse(&options, argc, argv, &fault)) {
    case LG_PARSED_EXIT:
        return 0;
    case LG_PARSED_USAGE:
        fprintf(stderr, "tidegate-load: %s\n", fault.text);
        return LG_USAGE;
    case LG_PARSED_RUN:
        break;
    }
    enum lg_status status = options.audit                        ? lg_run_audit(&options, &result)
                            : lg_story_kind_of(options.scenario) ? lg_tale_run(&options, &result)
                                                                 : lg_run(&options, &result);
    if (!options.quiet && (result.ran || result.audited))
        /* JSON on standard output is for a program: people read on the other stream. */
        lg_report_text(&result, status,
                       options.json && strcmp(options.json, "-") == 0 ? stderr : stdout);
    if (result.fault.error)
        fprintf(stderr, "tidegate-load: %s\n", result.fault.text);
    if (options.json && lg_report_json(&result, status, options.json, &fault) != TG_ERR_OK) {
        fprintf(stderr, "tidegate-load: %s\n", fault.text);
        return LG_FAILED;
    }
    return (int)status;
}
