#include "ctl/salefile.h"

#include "base/life.h"
#include "ctl/text.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOW_MS 1763805600000 /* 2025-11-22T10:00:00Z */

#define ITEM                                                                                       \
    "{\"sku\":\"A01-001-M-BL\",\"list_price_minor\":19900,\"sale_price_minor\":9900,"              \
    "\"stock_units\":10000,\"per_user_limit\":1,\"per_order_max\":0}"

static const char good[] = "{\"sale_id\":1,\"kind\":\"seckill\",\"name\":\"十一月\",\n"
                           "\"currency\":\"CNY\",\"starts_at\":\"2025-11-22T10:00:00Z\",\n"
                           "\"ends_at\":1763812800000,\"items\":[" ITEM "]}";

static enum tg_error parse(const char *text, struct ctl_salefile *file, struct tg_fault *fault)
{
    return ctl_salefile_parse(file, "sale.json", text, strlen(text), NOW_MS, fault);
}

/* The good file with the first `old` in it replaced. */
static char *edited(const char *old, const char *new)
{
    const char *at = strstr(good, old);
    cr_assert_not_null(at, "no %s in the good file", old);
    size_t room = sizeof(good) + strlen(new);
    char *text = malloc(room);
    snprintf(text, room, "%.*s%s%s", (int)(at - good), good, new, at + strlen(old));
    return text;
}

static void expect_refused(const char *old, const char *new, const char *words)
{
    struct ctl_salefile file;
    struct tg_fault fault = {0};
    char *text = edited(old, new);
    cr_expect_eq(parse(text, &file, &fault), TG_ERR_INVALID, "took %s", text);
    cr_expect_eq(fault.error, TG_ERR_INVALID);
    cr_expect_eq(strncmp(fault.text, "sale.json: ", 11), 0, "%s", fault.text);
    cr_expect_not_null(strstr(fault.text, words), "%s -> %s: %s", old, new, fault.text);
    ctl_salefile_free(&file);
    free(text);
}

static void expect_taken(const char *old, const char *new, struct ctl_salefile *file)
{
    struct tg_fault fault = {0};
    char *text = edited(old, new);
    cr_assert_eq(parse(text, file, &fault), TG_ERR_OK, "%s: %s", text, fault.text);
    free(text);
}

Test(salefile, a_good_file_becomes_the_whole_request)
{
    struct ctl_salefile file;
    struct tg_fault fault = {0};
    cr_assert_eq(parse(good, &file, &fault), TG_ERR_OK, "%s", fault.text);
    const Tidegate__V1__Sale *sale = file.request.sale;
    cr_assert_eq(sale->sale_id, 1);
    cr_assert_eq((int)sale->kind, TG_SALE_SECKILL);
    cr_assert_str_eq(sale->name, "十一月");
    cr_assert_str_eq(sale->currency, "CNY");
    cr_assert_eq(sale->starts_at_ms, NOW_MS);
    cr_assert_eq(sale->ends_at_ms, 1763812800000);
    cr_assert_eq(file.request.n_items, 1);
    const Tidegate__V1__SaleItem *item = file.request.items[0];
    cr_assert_str_eq(item->sku, "A01-001-M-BL");
    cr_assert_eq(item->list_price_minor, 19900);
    cr_assert_eq(item->sale_price_minor, 9900);
    cr_assert_eq(item->stock_units, 10000);
    cr_assert_eq(item->per_user_limit, 1);
    cr_assert_eq(item->per_order_max, 0);
    cr_assert_not(file.relative_times);
    ctl_salefile_free(&file);
}

/* Reads docs/examples/<name>, which must be good. */
static void parse_example(const char *name, struct ctl_salefile *file)
{
    static char text[65536];
    char path[64];
    struct tg_fault fault = {0};
    snprintf(path, sizeof(path), "docs/examples/%s", name);
    FILE *stream = fopen(path, "r");
    if (!stream)
        cr_skip_test("not run from the top of the tree");
    text[fread(text, 1, sizeof(text) - 1, stream)] = '\0';
    fclose(stream);
    cr_assert_eq(parse(text, file, &fault), TG_ERR_OK, "%s", fault.text);
}

Test(salefile, the_examples_in_the_docs_are_good)
{
    struct ctl_salefile file;
    parse_example("seckill.json", &file);
    ctl_salefile_free(&file);

    parse_example("group-buy.json", &file);
    const Tidegate__V1__GroupBuyRules *rules = file.request.sale->group_buy;
    cr_assert_eq((int)file.request.sale->kind, TG_SALE_GROUP_BUY);
    cr_assert_not_null(rules);
    cr_assert_eq(rules->team_size, 3);
    cr_assert_eq(rules->teams_per_user_max, 2);
    cr_assert_eq((int)rules->at_deadline, TG_DEADLINE_AUTO_COMPLETE);
    cr_assert_eq(rules->team_size_min, 2);
    cr_assert_eq(file.request.items[0]->captain_price_minor, 3900);
    cr_assert_eq(file.request.items[0]->n_ladder, 2);
    cr_assert_eq(file.request.items[0]->ladder[1]->unit_price_minor, 3900);
    ctl_salefile_free(&file);

    parse_example("shop.json", &file);
    cr_assert_eq(file.request.sale->payment_window_s, 120);
    cr_assert_eq(file.request.sale->n_channel_shares, 2);
    cr_assert_eq(file.request.sale->channel_shares[1]->percent, 30);
    cr_assert_eq((int)file.request.items[2]->stock_policy, TG_POLICY_ON_PAYMENT);
    ctl_salefile_free(&file);
}

Test(salefile, rules_that_are_not_given_are_the_defaults)
{
    struct ctl_salefile file;
    struct tg_fault fault = {0};
    cr_assert_eq(parse(good, &file, &fault), TG_ERR_OK, "%s", fault.text);
    cr_assert_eq(file.sale.payment_window_s, 900);
    cr_assert_eq(file.sale.refund_auto_max_minor, 0);
    cr_assert_null(file.sale.group_buy);
    cr_assert_eq(file.sale.n_channel_shares, 0);
    cr_assert_eq((int)file.items[0].stock_policy, TG_POLICY_RESERVE);
    cr_assert_eq(file.items[0].n_ladder, 0);
    ctl_salefile_free(&file);
    expect_taken("\"seckill\"", "\"group_buy\",\"group_buy\":{\"team_size\":2}", &file);
    cr_assert_eq(file.group_buy.team_lifetime_s, 86400);
    cr_assert_eq((int)file.group_buy.at_deadline, TG_DEADLINE_FAIL);
    cr_assert_not(file.group_buy.new_buyers_only);
    ctl_salefile_free(&file);
}

Test(salefile, a_rule_out_of_range_is_named_with_what_it_must_be)
{
    static const char id[] = "\"sale_id\":1";
    expect_refused(id, "\"sale_id\":1,\"payment_window_s\":0", "payment_window_s must be");
    expect_refused(id, "\"sale_id\":1,\"payment_window_s\":2592001", "payment_window_s must be");
    expect_refused(id, "\"sale_id\":1,\"refund_auto_max_minor\":-1", "refund_auto_max_minor must");
    expect_refused(id, "\"sale_id\":1,\"channel_shares\":[{\"channel\":1,\"percent\":101}]",
                   "channel_shares[0].percent must be a whole number, 1 to 100");
    expect_refused(id, "\"sale_id\":1,\"channel_shares\":[{\"channel\":1}]",
                   "channel_shares[0].percent is missing");
    expect_refused(id,
                   "\"sale_id\":1,\"channel_shares\":[{\"channel\":1,\"percent\":5},"
                   "{\"channel\":1,\"percent\":6}]",
                   "channel_shares[1].channel 1 stands already in channel_shares[0]");
    expect_refused("\"per_order_max\":0", "\"per_order_max\":0,\"stock_policy\":\"later\"",
                   "items[0].stock_policy must be reserve, on_place or on_payment, not \"later\"");
    expect_refused("\"per_order_max\":0", "\"per_order_max\":0,\"low_stock_units\":1000000001",
                   "items[0].low_stock_units must be a whole number, 0 to 1000000000");
}

/* The good file as a group-buy whose rules are `rules`. */
static void expect_rules_refused(const char *rules, const char *words)
{
    char kind[256];
    snprintf(kind, sizeof(kind), "\"group_buy\",\"group_buy\":%s", rules);
    expect_refused("\"seckill\"", kind, words);
}

Test(salefile, the_rules_of_teams_belong_to_a_group_buy)
{
    expect_refused("\"seckill\"", "\"group_buy\"", "group_buy is missing");
    expect_refused("\"seckill\"", "\"seckill\",\"group_buy\":{\"team_size\":2}",
                   "group_buy stands only with \"kind\": \"group_buy\"");
    expect_refused("\"per_order_max\":0", "\"per_order_max\":0,\"captain_price_minor\":1",
                   "items[0].captain_price_minor stands only with");
    expect_refused("\"per_order_max\":0", "\"per_order_max\":0,\"ladder\":[]",
                   "items[0].ladder stands only with");
    expect_rules_refused("3", "group_buy must be an object, not a number");
    expect_rules_refused("{}", "group_buy.team_size is missing");
    expect_rules_refused("{\"team_size\":1}",
                         "group_buy.team_size must be a whole number, 2 to 100");
    expect_rules_refused("{\"team_size\":3,\"team_lifetime_s\":59}",
                         "group_buy.team_lifetime_s must");
    expect_rules_refused("{\"team_size\":3,\"new_buyers_only\":1}",
                         "group_buy.new_buyers_only must be true or false, not a number");
    expect_rules_refused("{\"team_size\":3,\"at_deadline\":\"auto_complete\"}",
                         "group_buy.team_size_min is missing");
    expect_rules_refused("{\"team_size\":3,\"at_deadline\":\"auto_complete\",\"team_size_min\":4}",
                         "group_buy.team_size_min must be a whole number, 1 to 3");
    expect_rules_refused("{\"team_size\":3,\"team_size_min\":2}",
                         "group_buy.team_size_min stands only with");
    expect_rules_refused("{\"team_size\":3,\"team_sizes\":2}", "did you mean \"team_size\"?");
}

static void expect_ladder_refused(const char *ladder, const char *words)
{
    static const char rules[] = "\"group_buy\",\"group_buy\":{\"team_size\":3}";
    struct ctl_salefile file;
    struct tg_fault fault = {0};
    char *team = edited("\"seckill\"", rules), text[2048];
    const char *at = strstr(team, "\"per_order_max\":0");
    snprintf(text, sizeof(text), "%.*s\"ladder\":%s,%s", (int)(at - team), team, ladder, at);
    cr_expect_eq(parse(text, &file, &fault), TG_ERR_INVALID, "took %s", ladder);
    cr_expect_not_null(strstr(fault.text, words), "%s: %s", ladder, fault.text);
    ctl_salefile_free(&file);
    free(team);
}

Test(salefile, a_ladder_rises_in_size_and_falls_in_price)
{
    expect_ladder_refused(
        "[{\"size\":2,\"unit_price_minor\":9900}]",
        "items[0].ladder[0].unit_price_minor must be below sale_price_minor, 9900");
    expect_ladder_refused("[{\"size\":4,\"unit_price_minor\":100}]",
                          "items[0].ladder[0].size must be a whole number, 2 to 3");
    expect_ladder_refused("[{\"size\":3,\"unit_price_minor\":100},"
                          "{\"size\":3,\"unit_price_minor\":90}]",
                          "items[0].ladder[1].size must be above that of the step before, 3");
    expect_ladder_refused("[{\"size\":2,\"unit_price_minor\":100},"
                          "{\"size\":3,\"unit_price_minor\":100}]",
                          "ladder[1].unit_price_minor must be below that of the step before, 100");
    expect_ladder_refused("[3]", "items[0].ladder[0] must be an object");
    expect_ladder_refused("[{},{},{},{},{},{},{},{},{}]", "an array of 0 to 8 elements, not of 9");
}

Test(salefile, an_id_may_be_digits_in_a_string)
{
    struct ctl_salefile file;
    expect_taken("\"sale_id\":1", "\"sale_id\":\"18446744073709551615\"", &file);
    cr_assert_eq(file.sale.sale_id, UINT64_MAX);
    ctl_salefile_free(&file);
}

Test(salefile, times_may_be_counted_from_now)
{
    struct ctl_salefile file;
    expect_taken("\"2025-11-22T10:00:00Z\"", "\"now\"", &file);
    cr_assert_eq(file.sale.starts_at_ms, NOW_MS);
    cr_assert(file.relative_times);
    ctl_salefile_free(&file);
    expect_taken("1763812800000", "\"+2h\"", &file);
    cr_assert_eq(file.sale.ends_at_ms, NOW_MS + 7200000);
    cr_assert(file.relative_times);
    ctl_salefile_free(&file);
}

Test(salefile, a_broken_file_is_told_with_its_line)
{
    expect_refused("\"seckill\"", "seckill", "line 1");
    expect_refused("\"CNY\"", "\"CNY", "line 2");
    expect_refused("]}", "]", "line 3");
    expect_refused("]}", "]} x", "line 3");
    expect_refused("\"sale_id\":1", "\"sale_id\":1,\"sale_id\":2", "line 1");
    expect_refused("\"sale_id\":1", "\"sale_id\":99999999999999999999", "line 1");
}

Test(salefile, what_is_no_object_is_refused)
{
    static const char *const bad[] = {"", " ", "[]", "1", "\"x\"", "null"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct ctl_salefile file;
        struct tg_fault fault = {0};
        cr_assert_eq(parse(bad[i], &file, &fault), TG_ERR_INVALID, "took %s", bad[i]);
        ctl_salefile_free(&file);
    }
}

Test(salefile, an_unknown_key_is_refused_with_the_one_that_was_meant)
{
    expect_refused("\"sale_id\":1", "\"sale_id\":1,\"note\":2", "note is no key");
    expect_refused("per_user_limit", "per_user_limits",
                   "items[0].per_user_limits is no key of a sale file; did you mean "
                   "\"per_user_limit\"?");
    expect_refused("currency", "curency", "did you mean \"currency\"?");
}

Test(salefile, every_key_that_all_sales_have_is_required)
{
    expect_refused("\"sale_id\":1,", "", "sale_id is missing");
    expect_refused("\"kind\":\"seckill\",", "", "kind is missing");
    expect_refused("\"name\":\"十一月\",", "", "name is missing");
    expect_refused("\"currency\":\"CNY\",", "", "currency is missing");
    expect_refused("\"starts_at\":\"2025-11-22T10:00:00Z\",", "", "starts_at is missing");
    expect_refused("\"ends_at\":1763812800000,", "", "ends_at is missing");
    expect_refused(",\"items\":[" ITEM "]", "", "items is missing");
    expect_refused("\"sku\":\"A01-001-M-BL\",", "", "items[0].sku is missing");
    expect_refused("\"list_price_minor\":19900,", "", "items[0].list_price_minor is missing");
    expect_refused("\"sale_price_minor\":9900,", "", "items[0].sale_price_minor is missing");
    expect_refused("\"stock_units\":10000,", "", "items[0].stock_units is missing");
    expect_refused("\"per_user_limit\":1,", "", "items[0].per_user_limit is missing");
    expect_refused(",\"per_order_max\":0", "", "items[0].per_order_max is missing");
}

Test(salefile, a_field_out_of_range_is_named_with_what_it_must_be)
{
    expect_refused("\"sale_id\":1", "\"sale_id\":0", "sale_id must be a whole number from 1");
    expect_refused("\"sale_id\":1", "\"sale_id\":-1", "sale_id must be");
    expect_refused("\"sale_id\":1", "\"sale_id\":\"1x\"", "sale_id must be");
    expect_refused("seckill", "auction", "kind must be seckill or group_buy, not \"auction\"");
    expect_refused("十一月", "", "name must be 1 to 128 bytes");
    expect_refused("十一月", "a\\nb", "name must be");
    expect_refused("\"CNY\"", "\"cny\"", "currency must be three capital letters");
    expect_refused("\"CNY\"", "\"CNYX\"", "currency must be");
    expect_refused("\"CNY\"", "1", "currency must be");
    expect_refused("[" ITEM "]", "[]", "items must be an array of 1 to 16384");
    expect_refused("[" ITEM "]", "{}", "items must be an array");
    expect_refused(ITEM, "3", "items[0] must be an object, not a number");
    expect_refused("A01-001-M-BL", "", "items[0].sku must be");
    expect_refused("A01-001-M-BL", "A 1", "items[0].sku must be");
    expect_refused("A01-001-M-BL", "123456789012345678901234567890123", "items[0].sku must be");
    expect_refused("19900", "199.00",
                   "items[0].list_price_minor must be a whole number, 0 to 1000000000000, not a "
                   "number with a fraction");
    expect_refused(":9900", ":-1", "items[0].sale_price_minor must be");
    expect_refused(":9900", ":\"9900\"", "not a string");
    expect_refused("10000,", "1000000001,", "items[0].stock_units must be");
    expect_refused("\"per_user_limit\":1", "\"per_user_limit\":4294967296", "per_user_limit must");
    expect_refused("\"per_order_max\":0", "\"per_order_max\":null", "not null");
}

Test(salefile, a_sku_stands_only_once)
{
    expect_refused(ITEM, ITEM "," ITEM, "items[1].sku \"A01-001-M-BL\" stands already in items[0]");
}

Test(salefile, a_window_ends_after_it_starts)
{
    expect_refused("1763812800000", "1763805600000", "ends_at must be after starts_at");
    expect_refused("1763812800000", "\"now\"", "ends_at must be after starts_at");
    expect_refused("1763812800000", "-1", "ends_at must be");
    expect_refused("1763812800000", "253402300800000", "ends_at must be");
}

Test(salefile, no_cut_of_a_good_file_is_taken)
{
    for (size_t size = 0; size + 1 < sizeof(good); size++) {
        struct ctl_salefile file;
        cr_assert_eq(ctl_salefile_parse(&file, "cut", good, size, NOW_MS, NULL), TG_ERR_INVALID,
                     "took the first %zu bytes", size);
        ctl_salefile_free(&file);
    }
}

/* --- the texts that sale files and options are made of --- */

static void expect_time(const char *text, int64_t expected_ms)
{
    int64_t time_ms = -1;
    bool relative = false;
    cr_assert(ctl_time_parse(text, NOW_MS, &time_ms, &relative), "refused %s", text);
    cr_assert_eq(time_ms, expected_ms, "%s: %ld", text, (long)time_ms);
}

Test(text, a_time_has_a_zone_and_is_a_real_one)
{
    static const char *const bad[] = {"2025-11-22",
                                      "2025-11-22T10:00:00",
                                      "2025-11-22 10:00:00Z",
                                      "2025-02-30T00:00:00Z",
                                      "2025-13-01T00:00:00Z",
                                      "2025-11-22T24:00:00Z",
                                      "2025-11-22T10:60:00Z",
                                      "2025-11-22T10:00:00.Z",
                                      "2025-11-22T10:00:00.1234Z",
                                      "2025-11-22T10Z",
                                      "2025-11-22T10:00:00+0800",
                                      "2025-11-22T10:00:00Zx",
                                      "1969-12-31T23:59:59Z",
                                      "2025-11-22T10:00:00+15:00",
                                      "tomorrow",
                                      "",
                                      "+",
                                      "+5",
                                      "+5w",
                                      "-5s",
                                      "+-5s",
                                      "now ",
                                      "2025-11-22T1:00:00Z",
                                      "+9999999999999999s"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        int64_t time_ms;
        bool relative;
        cr_expect_not(ctl_time_parse(bad[i], NOW_MS, &time_ms, &relative), "took %s", bad[i]);
    }
    expect_time("2025-11-22T10:00:00Z", NOW_MS);
    expect_time("2025-11-22T10:00Z", NOW_MS);
    expect_time("2025-11-22T18:00:00+08:00", NOW_MS);
    expect_time("2025-11-22T04:30:00-05:30", NOW_MS);
    expect_time("2025-11-22T10:00:00.5Z", NOW_MS + 500);
    expect_time("2025-11-22T10:00:00.125Z", NOW_MS + 125);
    expect_time("2024-02-29T00:00:00Z", 1709164800000);
    expect_time("9999-12-31T23:59:59.999Z", 253402300799999);
    expect_time("now", NOW_MS);
    expect_time("+250ms", NOW_MS + 250);
    expect_time("+30s", NOW_MS + 30000);
    expect_time("+5m", NOW_MS + 300000);
    expect_time("+1d", NOW_MS + 86400000);
}

Test(text, a_time_is_printed_as_it_is_read)
{
    char text[CTL_TIME_BYTES];
    cr_assert_str_eq(ctl_time_text(NOW_MS, text), "2025-11-22T10:00:00Z");
    cr_assert_str_eq(ctl_time_text(NOW_MS + 7, text), "2025-11-22T10:00:00.007Z");
    cr_assert_str_eq(ctl_time_text(0, text), "1970-01-01T00:00:00Z");
    cr_assert_str_eq(ctl_time_text(-5, text), "-5 ms");
    cr_assert_str_eq(ctl_time_text(INT64_MAX, text), "9223372036854775807 ms");
}

Test(text, money_has_the_decimals_of_its_currency)
{
    char text[CTL_MONEY_BYTES];
    cr_assert_str_eq(ctl_money_text(9900, "CNY", text), "99.00");
    cr_assert_str_eq(ctl_money_text(5, "EUR", text), "0.05");
    cr_assert_str_eq(ctl_money_text(-105, "EUR", text), "-1.05");
    cr_assert_str_eq(ctl_money_text(9900, "JPY", text), "9900");
    cr_assert_str_eq(ctl_money_text(9900, "KWD", text), "9.900");
    cr_assert_str_eq(ctl_money_text(9900, "", text), "99.00");
    cr_assert_str_eq(ctl_money_text(INT64_MIN, "CNY", text), "-92233720368547758.08");
}

Test(text, width_is_what_a_terminal_shows)
{
    cr_assert_eq(ctl_text_width(""), 0);
    cr_assert_eq(ctl_text_width("abc"), 3);
    cr_assert_eq(ctl_text_width("é"), 1);
    cr_assert_eq(ctl_text_width("十一月"), 6);
    cr_assert_eq(ctl_text_width("\xf0\x9f\x8e\x81"), 2);
}

Test(text, bytes_are_text_when_they_can_be)
{
    char text[16];
    uint8_t printable[] = "ab 1", odd[] = {0, 255};
    cr_assert_str_eq(ctl_bytes_text(&(ProtobufCBinaryData){4, printable}, text, sizeof(text)),
                     "ab 1");
    cr_assert_str_eq(ctl_bytes_text(&(ProtobufCBinaryData){2, odd}, text, sizeof(text)), "0x00ff");
    cr_assert_str_eq(ctl_bytes_text(&(ProtobufCBinaryData){0, NULL}, text, sizeof(text)), "");
}
