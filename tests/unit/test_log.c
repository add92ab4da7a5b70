/* The log: its three formats, what a line may hold, what is left out. */
#include "base/log.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <regex.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Each test runs in a process of its own, whose stderr becomes a file. */
static FILE *captured;

static void capture(void)
{
    captured = tmpfile();
    cr_assert_not_null(captured);
    cr_assert_eq(dup2(fileno(captured), STDERR_FILENO), STDERR_FILENO);
}

/* All that was logged so far; static. */
static const char *logged(void)
{
    static char text[65536];
    ssize_t bytes = pread(fileno(captured), text, sizeof(text) - 1, 0);
    cr_assert_geq(bytes, 0);
    text[bytes] = '\0';
    return text;
}

static bool matches(const char *text, const char *pattern)
{
    regex_t regex;
    cr_assert_eq(regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB), 0);
    bool found = regexec(&regex, text, 0, NULL, 0) == 0;
    regfree(&regex);
    return found;
}

#define STAMP "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3}Z"

Test(log, text_is_time_level_and_message, .init = capture)
{
    tg_log_info("recovered %d orders", 7);
    tg_log_error("no room");
    cr_assert(matches(logged(), "^" STAMP " info  recovered 7 orders\n" STAMP " error no room\n$"),
              "%s", logged());
}

Test(log, kv_quotes_what_people_wrote, .init = capture)
{
    tg_log_configure(TG_LOG_INFO, TG_LOG_KV);
    tg_log_warn("the group '%s' is slow", "a \"b\" \\ c");
    cr_assert(matches(logged(), "^ts=" STAMP " level=warn at=tests/unit/test_log\\.c:[0-9]+ "
                                "thread=\"[^\"]+\" msg=\"the group 'a \\\\\"b\\\\\" \\\\\\\\ c' is "
                                "slow\"\n$"),
              "%s", logged());
}

/* The message of the one JSON line that was logged, as a reader of JSON sees it; static. */
static const char *json_message(void)
{
    static char message[8192];
    json_error_t error;
    json_t *line = json_loads(logged(), 0, &error);
    cr_assert_not_null(line, "%s: %s", error.text, logged());
    cr_assert_str_eq(json_string_value(json_object_get(line, "level")), "info");
    cr_assert(matches(json_string_value(json_object_get(line, "ts")), "^" STAMP "$"));
    cr_assert(matches(json_string_value(json_object_get(line, "at")), "^tests/unit/test_log"));
    cr_assert_not_null(json_string_value(json_object_get(line, "thread")));
    snprintf(message, sizeof(message), "%s", json_string_value(json_object_get(line, "msg")));
    json_decref(line);
    return message;
}

Test(log, json_is_json_whatever_the_message_holds, .init = capture)
{
    tg_log_configure(TG_LOG_INFO, TG_LOG_JSON);
    tg_log_info("%s", "a \"b\" \\ \n \t \x01 \x7f caf\xc3\xa9 \xe5\x94\xae \xff\xc3");
    cr_assert_str_eq(json_message(), "a \"b\" \\ \n \t \x01 \x7f caf\xc3\xa9 \xe5\x94\xae "
                                     "\xef\xbf\xbd\xef\xbf\xbd");
}

Test(log, a_message_is_one_line_in_every_format, .init = capture)
{
    static const enum tg_log_format formats[] = {TG_LOG_TEXT, TG_LOG_KV, TG_LOG_JSON};
    for (size_t i = 0; i < 3; i++) {
        tg_log_configure(TG_LOG_INFO, formats[i]);
        tg_log_info("one\n2026-11-22T00:00:00.000Z error forged\r\x1b[2J");
    }
    const char *text = logged();
    size_t lines = 0;
    for (const char *at = text; (at = strchr(at, '\n')); at++)
        lines++;
    cr_assert_eq(lines, 3, "%s", text);
    cr_assert_null(strchr(text, '\r'));
    cr_assert_null(strchr(text, '\x1b'));
}

Test(log, a_long_message_is_cut_and_the_line_stays_whole, .init = capture)
{
    char message[4000];
    memset(message, '\x01', sizeof(message) - 1); /* each becomes six bytes */
    message[sizeof(message) - 1] = '\0';
    tg_log_configure(TG_LOG_INFO, TG_LOG_JSON);
    tg_log_info("%s", message);
    cr_assert_eq(strlen(json_message()), TG_LOG_TEXT_BYTES - 1);
}

Test(log, what_is_below_the_level_is_not_written, .init = capture)
{
    tg_log_configure(TG_LOG_WARN, TG_LOG_TEXT);
    tg_log_info("chatter");
    tg_log_warn("warned");
    tg_log_configure(TG_LOG_ERROR, TG_LOG_TEXT);
    tg_log_warn("not any more");
    tg_log_error("failed");
    cr_assert_null(strstr(logged(), "chatter"));
    cr_assert_not_null(strstr(logged(), "warned"));
    cr_assert_null(strstr(logged(), "not any more"));
    cr_assert_not_null(strstr(logged(), "failed"));
}

/* --- the limit of a site --- */

Test(log, a_site_has_a_burst_in_each_window_and_counts_the_rest)
{
    struct tg_log_site site = {.at = "here"};
    uint64_t left_out = 99;
    int64_t now_ns = 5;
    for (int i = 0; i < TG_LOG_BURST; i++) {
        cr_assert(tg_log_admit(&site, now_ns + i, &left_out));
        cr_assert_eq(left_out, 0);
    }
    for (int i = 0; i < 1000; i++)
        cr_assert_not(tg_log_admit(&site, now_ns + TG_LOG_WINDOW_NS - 1, &left_out));
    cr_assert(tg_log_admit(&site, now_ns + TG_LOG_WINDOW_NS, &left_out));
    cr_assert_eq(left_out, 1000, "told once");
    cr_assert(tg_log_admit(&site, now_ns + TG_LOG_WINDOW_NS, &left_out));
    cr_assert_eq(left_out, 0);
}

Test(log, sites_do_not_share_their_bursts)
{
    struct tg_log_site loud = {.at = "loud"}, quiet = {.at = "quiet"};
    uint64_t left_out;
    for (int i = 0; i < 2 * TG_LOG_BURST; i++)
        tg_log_admit(&loud, 5, &left_out);
    cr_assert_not(tg_log_admit(&loud, 5, &left_out));
    cr_assert(tg_log_admit(&quiet, 5, &left_out));
}

/* A site whose window began long ago, with lines left out in it: the next line says how many. */
static struct tg_log_site overrun(void)
{
    return (struct tg_log_site){.at = "here", .began_ns = 1, .lines = 900, .left_out = 12};
}

Test(log, the_next_line_of_a_site_tells_how_many_were_left_out, .init = capture)
{
    struct tg_log_site text = overrun(), kv = overrun(), json = overrun();
    tg_log(&text, TG_LOG_INFO, "one");
    tg_log_configure(TG_LOG_INFO, TG_LOG_KV);
    tg_log(&kv, TG_LOG_INFO, "two");
    tg_log_configure(TG_LOG_INFO, TG_LOG_JSON);
    tg_log(&json, TG_LOG_INFO, "three");
    cr_assert_not_null(strstr(logged(), " one (12 like it left out before)\n"), "%s", logged());
    cr_assert_not_null(strstr(logged(), " msg=\"two\" left_out=12\n"), "%s", logged());
    cr_assert_not_null(strstr(logged(), ",\"msg\":\"three\",\"left_out\":12}\n"), "%s", logged());
}

Test(log, a_loop_that_logs_cannot_flood, .init = capture)
{
    for (int i = 0; i < 3 * TG_LOG_BURST; i++)
        tg_log_warn("again");
    size_t lines = 0;
    for (const char *at = logged(); (at = strchr(at, '\n')); at++)
        lines++;
    cr_assert_eq(lines, TG_LOG_BURST);
}
