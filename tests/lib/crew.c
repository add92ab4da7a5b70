#include "tests/lib/crew.h"

#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void crew_init(struct crew *crew, const char *root, const char *server)
{
    *crew = (struct crew){.root = root, .server = server};
}

bool crew_start(struct crew *crew, const char *scenario, ...)
{
    const char *argv[CREW_ARGS_MAX] = {proc_program("tidegate-load"),
                                       "--server",
                                       crew->server,
                                       "--scenario",
                                       scenario,
                                       "--json",
                                       "-",
                                       "--quiet"};
    int count = 8;
    va_list list;
    va_start(list, scenario);
    while (count < CREW_ARGS_MAX - 1 && (argv[count] = va_arg(list, const char *)))
        count++;
    va_end(list);
    argv[count] = NULL;
    if (crew->count == CREW_MAX)
        return false;
    struct crew_load *load = &crew->loads[crew->count];
    load->scenario = scenario;
    snprintf(load->report, sizeof(load->report), "%.200s/%s.json", crew->root, scenario);
    snprintf(load->errors, sizeof(load->errors), "%.200s/%s.err", crew->root, scenario);
    int out = open(load->report, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (out < 0)
        return false;
    bool started = proc_start(&load->proc, argv, out, load->errors);
    close(out);
    crew->count += started;
    return started;
}

const char *crew_ended(const struct crew *crew)
{
    for (int i = 0; i < crew->count; i++)
        if (!proc_runs(&crew->loads[i].proc))
            return crew->loads[i].scenario;
    return NULL;
}

void crew_signal(const struct crew *crew, int signal_number)
{
    for (int i = 0; i < crew->count; i++)
        if (crew->loads[i].proc.pid != 0)
            kill(crew->loads[i].proc.pid, signal_number);
}

void crew_kill(struct crew *crew)
{
    for (int i = 0; i < crew->count; i++)
        proc_kill(&crew->loads[i].proc);
    crew->count = 0;
}

/* --- the reports --- */

static uint64_t count_of(const json_t *object, const char *name)
{
    return (uint64_t)json_integer_value(json_object_get(object, name));
}

static void add(struct crew_sums *sums, const json_t *root, const json_t *audit)
{
    sums->accepted += count_of(root, "accepted") + count_of(root, "accepted_on_retry");
    sums->answers += count_of(root, "responses");
    sums->resent += count_of(root, "resent");
    sums->reconnects += count_of(root, "reconnects");
    sums->retries_checked += count_of(root, "retries_checked");
    sums->orders_read += count_of(audit, "orders_read");
    sums->teams_read += count_of(audit, "teams_read");
    sums->events_read += count_of(audit, "events_read");
}

/* The first line that it wrote on standard error. */
static void first_error(const struct crew_load *load, char *line, size_t size)
{
    FILE *file = fopen(load->errors, "re");
    line[0] = '\0';
    if (file && fgets(line, (int)size, file))
        line[strcspn(line, "\n")] = '\0';
    if (file)
        fclose(file);
}

static bool read_report(const struct crew_load *load, struct crew_sums *sums, char *reason,
                        size_t reason_size)
{
    json_error_t error;
    json_t *root = json_load_file(load->report, 0, &error);
    json_t *audit = json_object_get(root, "audit");
    json_t *examples = json_object_get(audit, "examples");
    bool clean = json_is_true(json_object_get(audit, "ok")) &&
                 json_is_true(json_object_get(audit, "done")) && count_of(root, "errors") == 0 &&
                 count_of(root, "unknown_outcomes") == 0;
    if (clean)
        add(sums, root, audit);
    else
        snprintf(reason, reason_size, "the audit of %s is not clean: %s (%s)", load->scenario,
                 root && json_array_size(examples) ? json_string_value(json_array_get(examples, 0))
                                                   : "it names no example",
                 load->report);
    json_decref(root);
    return clean;
}

static bool finish(struct crew_load *load, int timeout_ms, struct crew_sums *sums, char *reason,
                   size_t reason_size)
{
    char line[300];
    if (!proc_wait(&load->proc, timeout_ms)) {
        snprintf(reason, reason_size, "%s does not end", load->scenario);
        return false;
    }
    if (!load->proc.status)
        return read_report(load, sums, reason, reason_size);
    first_error(load, line, sizeof(line));
    if (line[0] == '\0')
        read_report(load, sums, line, sizeof(line));
    snprintf(reason, reason_size, "%s ended with %d: %s", load->scenario, load->proc.status, line);
    return false;
}

bool crew_finish(struct crew *crew, int timeout_ms, struct crew_sums *sums, char *reason,
                 size_t reason_size)
{
    char other[512] = "";
    bool clean = true;
    for (int i = 0; i < crew->count; i++) {
        bool one = finish(&crew->loads[i], timeout_ms, sums, clean ? reason : other,
                          clean ? reason_size : sizeof(other));
        clean = clean && one;
    }
    crew_kill(crew);
    return clean;
}
