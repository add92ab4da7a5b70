/* Prometheus' text format and JSON strings, to the byte. */
#include "server/exposition.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static void expect(struct srv_body *body, const char *text)
{
    cr_assert(srv_body_is_whole(body));
    cr_assert_str_eq(body->text, text);
    srv_body_free(body);
}

Test(exposition, a_family_and_its_samples)
{
    struct srv_body body = {0};
    struct srv_exposition out = {.body = &body};
    struct srv_label labels[] = {{"sale", "1"}, {"sku", "A\"B\\C\nD"}};
    srv_family(&out, "tidegate_x_total", "counter", "What it counts.");
    srv_sample(&out, NULL, 0, UINT64_MAX);
    srv_sample(&out, labels, 2, 0);
    srv_sample_real(&out, labels, 1, 0.25);
    expect(&body, "# HELP tidegate_x_total What it counts.\n# TYPE tidegate_x_total counter\n"
                  "tidegate_x_total 18446744073709551615\n"
                  "tidegate_x_total{sale=\"1\",sku=\"A\\\"B\\\\C\\nD\"} 0\n"
                  "tidegate_x_total{sale=\"1\"} 0.25\n");
}

Test(exposition, a_histogram_is_cumulative_and_counts_every_value_once)
{
    static struct tg_histogram histogram;
    static const uint64_t bounds[] = {10, 100, 1000};
    struct srv_body body = {0};
    struct srv_exposition out = {.body = &body};
    tg_histogram_record(&histogram, 10, 2);
    tg_histogram_record(&histogram, 11, 3);
    tg_histogram_record(&histogram, 100, 1);
    tg_histogram_record(&histogram, 5000, 4);
    tg_histogram_record(&histogram, TG_HISTOGRAM_VALUE_MAX, 1);
    srv_family(&out, "h_seconds", "histogram", "H.");
    srv_histogram(&out, &histogram, bounds, 3, 20153, 1000);
    expect(&body, "# HELP h_seconds H.\n# TYPE h_seconds histogram\n"
                  "h_seconds_bucket{le=\"0.01\"} 2\n"
                  "h_seconds_bucket{le=\"0.1\"} 6\n"
                  "h_seconds_bucket{le=\"1\"} 6\n"
                  "h_seconds_bucket{le=\"+Inf\"} 11\n"
                  "h_seconds_sum 20.153\nh_seconds_count 11\n");
}

Test(exposition, a_value_is_never_told_below_a_bound_that_it_is_above)
{
    static const uint64_t bounds[] = {200, 500, 1000, 5000, 1000000};
    for (size_t i = 0; i < sizeof(bounds) / sizeof(bounds[0]); i++) {
        static struct tg_histogram histogram;
        struct srv_body body = {0};
        struct srv_exposition out = {.body = &body, .name = "h"};
        tg_histogram_reset(&histogram);
        tg_histogram_record(&histogram, bounds[i] + 1, 1);
        srv_histogram(&out, &histogram, &bounds[i], 1, 0, 1);
        cr_assert_not_null(strstr(body.text, "\"} 0\n"), "%s", body.text);
        srv_body_free(&body);
    }
}

/* --- bodies --- */

Test(body, json_strings_hold_any_bytes)
{
    struct srv_body body = {0};
    static const char text[] = "a\"b\\c\n\0<\x7f"
                               "\xe7\xa7\x92\xff\xc0\xaf\xed\xa0\x80\xf0\x9f\x98\x80\xe7";
    srv_body_add_json(&body, text, sizeof(text) - 1);
    expect(&body, "\"a\\\"b\\\\c\\u000a\\u0000\\u003c\\u007f\xe7\xa7\x92\\ufffd\\ufffd\\ufffd"
                  "\\ufffd\\ufffd\\ufffd\xf0\x9f\x98\x80\\ufffd\"");
}

Test(body, grows_to_its_bound_and_says_when_something_is_missing)
{
    struct srv_body body = {0};
    char block[4096];
    memset(block, 'x', sizeof(block));
    for (size_t bytes = 0; bytes < SRV_BODY_BYTES_MAX; bytes += sizeof(block))
        srv_body_add_bytes(&body, block, sizeof(block));
    cr_assert(srv_body_is_whole(&body));
    cr_assert_eq(body.bytes, SRV_BODY_BYTES_MAX);
    srv_body_add(&body, "y");
    cr_assert_not(srv_body_is_whole(&body));
    srv_body_clear(&body);
    srv_body_add(&body, "%0999d", 7);
    cr_assert_eq(body.bytes, 999);
    cr_assert_eq(strlen(body.text), 999);
    cr_assert(srv_body_is_whole(&body));
    srv_body_free(&body);
}

Test(body, commas_stand_between_and_not_before)
{
    struct srv_body body = {0};
    srv_body_add(&body, "[");
    for (int i = 0; i < 3; i++) {
        srv_body_comma(&body);
        srv_body_add(&body, "%d", i);
    }
    srv_body_add(&body, "]");
    expect(&body, "[0,1,2]");
}
