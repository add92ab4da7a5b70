/* backup and restore: one copy with two names, for the way there and the way back. */
#include "ctl/ctl.h"
#include "ctl/progress.h"
#include "ctl/text.h"
#include "storage/storage.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>

#define GROWTH_MIB_DEFAULT 4096u
#define GROWTH_MIB_MAX     (1u << 24) /* 16 TiB */

/* Set by the first SIGINT or SIGTERM, so that what was begun is removed; a second one ends the
 * process where it stands. */
static volatile sig_atomic_t interrupted;

static void on_interrupt(int number)
{
    (void)number;
    interrupted = 1;
}

static void catch_interrupts(void)
{
    struct sigaction action = {.sa_handler = on_interrupt, .sa_flags = (int)SA_RESETHAND};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

static bool print_copied(void *context, uint64_t bytes, uint64_t bytes_total)
{
    struct ctl_progress *progress = context;
    double seconds = ctl_progress_seconds(progress);
    if (!ctl_progress_is_due(progress))
        return !interrupted;
    double per_s = seconds > 0 ? (double)bytes / seconds : 0;
    ctl_progress_tell(progress,
                      "%" PRIu64 " of %" PRIu64 " bytes copied, %.0f%%, %.1f MiB/s, %.0f s left",
                      bytes, bytes_total, 100.0 * (double)bytes / (double)bytes_total,
                      per_s / (1 << 20), per_s > 0 ? (double)(bytes_total - bytes) / per_s : 0);
    return !interrupted;
}

static void print_finding(void *context, const char *line)
{
    ctl_progress_clear(context);
    fprintf(stderr, "broken: %s\n", line);
}

static void print_verified(void *context, uint64_t orders)
{
    if (ctl_progress_is_due(context))
        ctl_progress_tell(context, "verifying the copy: %" PRIu64 " orders read", orders);
}

static void print_json(const struct sto_backup_options *options,
                       const struct sto_backup_report *report)
{
    const struct sto_verify_report *verify = &report->verify;
    json_t *json =
        json_pack("{s:o, s:o, s:I, s:I, s:I, s:b}", "from", ctl_json_text(options->from_dir), "to",
                  ctl_json_text(options->to_dir), "bytes", (json_int_t)report->bytes,
                  "growth_bytes", (json_int_t)report->growth_bytes, "copy_ns",
                  (json_int_t)report->copy_ns, "verified", (int)!options->without_verify);
    if (json && !options->without_verify) {
        json_object_set_new(json, "verify_ns", json_integer((json_int_t)verify->elapsed_ns));
        json_object_set_new(json, "sales", json_integer((json_int_t)verify->sales));
        json_object_set_new(json, "orders", json_integer((json_int_t)verify->orders));
        json_object_set_new(json, "events", json_integer((json_int_t)verify->events));
    }
    ctl_json_print(json);
}

static void print_text(const struct sto_backup_options *options,
                       const struct sto_backup_report *report)
{
    double copy_s = (double)report->copy_ns / 1e9;
    printf("copied %" PRIu64 " bytes from %s to %s in %.2f s (%.1f MiB/s)", report->bytes,
           options->from_dir, options->to_dir, copy_s,
           copy_s > 0 ? (double)report->bytes / copy_s / (1 << 20) : 0);
    if (report->growth_bytes)
        printf("; the source grew by %" PRIu64 " bytes", report->growth_bytes);
    if (options->without_verify)
        printf("; not verified\n");
    else
        printf("; verified in %.2f s: %" PRIu64 " sales, %" PRIu64 " orders\n",
               (double)report->verify.elapsed_ns / 1e9, report->verify.sales,
               report->verify.orders);
}

static enum ctl_exit exit_of(enum tg_error error)
{
    if (error == TG_ERR_INVALID || error == TG_ERR_LOCKED)
        return CTL_USAGE;
    return error == TG_ERR_BROKEN || error == TG_ERR_CORRUPT ? CTL_REFUSED : CTL_UNREACHABLE;
}

static enum ctl_exit copy(struct ctl *ctl, struct sto_backup_options *options)
{
    struct sto_backup_report report;
    struct tg_fault fault = {0};
    struct ctl_progress progress;
    ctl_progress_init(&progress, ctl_option_value(ctl, "progress") != NULL);
    options->context = &progress;
    options->copied = print_copied;
    options->finding = print_finding;
    options->verified = print_verified;
    catch_interrupts();
    enum tg_error error = sto_backup(options, &report, &fault);
    ctl_progress_clear(&progress);
    if (error)
        return ctl_complain(exit_of(error), "%s", fault.text);
    if (ctl->json)
        print_json(options, &report);
    else
        print_text(options, &report);
    return CTL_DONE;
}

enum ctl_exit ctl_backup(struct ctl *ctl)
{
    uint64_t growth_mib = GROWTH_MIB_DEFAULT;
    struct sto_backup_options options = {
        .from_dir = ctl_required_option(ctl, "data-dir"),
        .to_dir = ctl->arguments[0],
        .without_verify = ctl_option_value(ctl, "no-verify") != NULL,
    };
    if (!options.from_dir || !ctl_uint_option(ctl, "growth-max", 0, GROWTH_MIB_MAX, &growth_mib))
        return CTL_USAGE;
    options.growth_bytes_max = growth_mib << 20;
    return copy(ctl, &options);
}

enum ctl_exit ctl_restore(struct ctl *ctl)
{
    struct sto_backup_options options = {.from_dir = ctl->arguments[0],
                                         .to_dir = ctl->arguments[1]};
    return copy(ctl, &options);
}
