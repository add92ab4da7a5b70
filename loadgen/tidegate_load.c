/* tidegate-load: puts a Tidegate server under load and audits what it promised. See loadgen/help.c
 * for what it does and loadgen/run.c for how. */
#include "loadgen/compare.h"
#include "loadgen/hgrm.h"
#include "loadgen/html.h"
#include "loadgen/junit.h"
#include "loadgen/live.h"
#include "loadgen/options.h"
#include "loadgen/parts.h"
#include "loadgen/render.h"
#include "loadgen/report.h"
#include "loadgen/scenario.h"
#include "loadgen/target.h"

#include <string.h>

static struct lg_result *run_audit(const struct lg_options *options)
{
    struct lg_result *result = lg_result_create();
    if (result)
        lg_run_audit(options, result);
    return result;
}

static struct lg_result *run_file(const struct lg_scenario *scenario)
{
    struct lg_result *result =
        lg_parts_run(scenario->parts, scenario->part_count, &scenario->whole);
    if (result && scenario->about[0])
        result->about = scenario->about;
    return result;
}

static struct lg_result *run(const struct lg_options *options, const struct lg_scenario *scenario)
{
    lg_interrupt_catch();
    if (options->file)
        return run_file(scenario);
    if (options->audit)
        return run_audit(options);
    if (options->saturate.fraction > 0)
        return lg_saturate_run(options);
    return lg_parts_run(options, 1, options);
}

/* One of the standard output's readers is a program: people read on the other stream. */
static bool takes_stdout(const struct lg_options *o)
{
    const char *const files[] = {o->json, o->html, o->junit, o->hgrm};
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
        if (files[i] && strcmp(files[i], "-") == 0)
            return true;
    return false;
}

/* The page and the CI file, of the tree that --json writes too. */
static enum tg_error write_pages(const struct lg_options *o, const struct lg_result *result,
                                 struct tg_fault *fault)
{
    if (!o->html && !o->junit)
        return TG_ERR_OK;
    json_t *tree = lg_report_tree(result);
    if (!tree)
        return tg_fault_set(fault, TG_ERR_NOMEM, "no memory for the report");
    enum tg_error error = o->html ? lg_html_write(tree, o->html, fault) : TG_ERR_OK;
    if (!error && o->junit)
        error = lg_junit_write(tree, o->junit, fault);
    json_decref(tree);
    return error;
}

/* Latency is a figure, too: without its correctness there is none. */
static enum tg_error write_hgrm(const struct lg_options *o, const struct lg_result *result,
                                struct tg_fault *fault)
{
    if (!o->hgrm)
        return TG_ERR_OK;
    if (lg_result_ok(result) && result->status != LG_FAILED)
        return lg_hgrm_write(&result->latency, o->hgrm, fault);
    fprintf(stderr, "tidegate-load: %s is not written: the audit did not pass\n", o->hgrm);
    return TG_ERR_OK;
}

/* Text and files. Returns the exit status. */
static int report(const struct lg_options *options, const struct lg_result *result)
{
    struct tg_fault fault;
    if (!options->quiet && (result->ran || result->audited))
        lg_report_text(result, takes_stdout(options) ? stderr : stdout);
    if (result->fault.error)
        fprintf(stderr, "tidegate-load: %s\n", result->fault.text);
    if ((options->json && lg_report_json(result, options->json, &fault) != TG_ERR_OK) ||
        write_pages(options, result, &fault) != TG_ERR_OK ||
        write_hgrm(options, result, &fault) != TG_ERR_OK) {
        fprintf(stderr, "tidegate-load: %s\n", fault.text);
        return LG_FAILED;
    }
    return (int)result->status;
}

int main(int argc, char **argv)
{
    static struct lg_scenario scenario;
    static struct lg_machine machine;
    static struct lg_options options;
    struct tg_fault fault = {TG_ERR_OK, ""};
    if (argc > 1 && strcmp(argv[1], "compare") == 0)
        return lg_compare_main(argc - 1, argv + 1);
    if (argc > 1 && strcmp(argv[1], "render") == 0)
        return lg_render_main(argc - 1, argv + 1);
    switch (lg_options_parse(&options, argc, argv, &fault)) {
    case LG_PARSED_EXIT:
        return 0;
    case LG_PARSED_USAGE:
        fprintf(stderr, "tidegate-load: %s\n", fault.text);
        return LG_USAGE;
    case LG_PARSED_RUN:
        break;
    }
    if (options.live && !lg_live_possible()) {
        options.live = false;
        options.progress = true;
    }
    if (options.file && lg_scenario_read(&scenario, &options, &fault) != TG_ERR_OK) {
        fprintf(stderr, "tidegate-load: %s\n", fault.text);
        return LG_USAGE;
    }
    if (lg_target_set(&options, &fault) != TG_ERR_OK) {
        fprintf(stderr, "tidegate-load: %s\n", fault.text);
        return LG_USAGE;
    }
    lg_machine_read(&machine);
    if (options.probe && lg_machine_probe(&machine, options.probe, &fault) != TG_ERR_OK) {
        fprintf(stderr, "tidegate-load: %s\n", fault.text);
        return LG_FAILED;
    }
    struct lg_result *result = run(&options, &scenario);
    if (!result) {
        fputs("tidegate-load: no memory for a run\n", stderr);
        return LG_FAILED;
    }
    result->machine = machine;
    int status = report(&options, result);
    lg_result_free(result);
    lg_target_clear();
    return status;
}
