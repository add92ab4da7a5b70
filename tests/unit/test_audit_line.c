/* A line of the audit log: JSON, one line, whatever callers wrote. */
#include "server/audit.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

static struct srv_audit_line line_of(const char *target)
{
    struct srv_audit_line line = {
        .at_ms = 1764547200042,
        .tenant = "shop-a",
        .token = "k7f3q9x2",
        .peer = {.address = {[10] = 0xff, [11] = 0xff, 192, 0, 2, 7},
                 .port = 4711,
                 .is_known = true},
        .action = "CloseSale",
        .verdict = "OK",
    };
    snprintf(line.target, sizeof(line.target), "%s", target);
    return line;
}

static json_t *parse(const struct srv_audit_line *line)
{
    char text[SRV_AUDIT_TEXT_BYTES];
    json_error_t error;
    size_t size = srv_audit_text(line, text);
    cr_assert_eq(text[size - 1], '\n');
    cr_assert_eq(memchr(text, '\n', size), text + size - 1, "it is one line");
    json_t *json = json_loadb(text, size, 0, &error);
    cr_assert_not_null(json, "%s: %s", error.text, text);
    return json;
}

static void expect_text(json_t *json, const char *key, const char *value)
{
    cr_assert_str_eq(json_string_value(json_object_get(json, key)), value, "%s", key);
}

Test(audit_line, it_says_who_did_what_when_and_what_came_of_it)
{
    struct srv_audit_line line = line_of("sale 7");
    json_t *json = parse(&line);
    expect_text(json, "time", "2025-12-01T00:00:00.042Z");
    expect_text(json, "tenant", "shop-a");
    expect_text(json, "token", "k7f3q9x2");
    expect_text(json, "peer", "192.0.2.7:4711");
    expect_text(json, "action", "CloseSale");
    expect_text(json, "target", "sale 7");
    expect_text(json, "verdict", "OK");
    cr_assert_eq(json_object_size(json), 7, "nothing was lost or left out");
    json_decref(json);
}

Test(audit_line, it_says_what_is_missing_before_it)
{
    struct srv_audit_line line = line_of("");
    line.left_out = 3;
    line.lost = 18446744073709551615ull / 4;
    json_t *json = parse(&line);
    cr_assert_eq(json_integer_value(json_object_get(json, "left_out")), 3);
    cr_assert_eq(json_integer_value(json_object_get(json, "lost")), (json_int_t)line.lost);
    json_decref(json);
}

Test(audit_line, any_bytes_of_a_target_leave_it_one_line_of_json)
{
    char target[SRV_AUDIT_TARGET_BYTES];
    for (int first = 1; first < 256; first++) {
        memset(target, first, sizeof(target) - 1);
        target[sizeof(target) - 1] = '\0';
        struct srv_audit_line line = line_of(target);
        json_decref(parse(&line));
    }
    struct srv_audit_line line = line_of("a\"b\\c\nd\te \xe6\xbc\xae");
    json_t *json = parse(&line);
    expect_text(json, "target", "a\"b\\c\nd\te \xe6\xbc\xae");
    json_decref(json);
    line = line_of("\xe8\xa1\xa5\xe8\xb4\xa7 \xe6\xbc"); /* cut within its last character */
    json = parse(&line);
    expect_text(json, "target", "\xe8\xa1\xa5\xe8\xb4\xa7 \xef\xbf\xbd\xef\xbf\xbd");
    json_decref(json);
    line = line_of("\xe6\xbc\xae \"");
    json = parse(&line);
    expect_text(json, "target", "\xe6\xbc\xae \"");
    json_decref(json);
}
