/* The file of order ingest: what is read from it, in which shapes, and what is told of a wrong one.
 */
#include "ctl/ingestfile.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define ORDER                                                                                      \
    "{\"channel\":3,\"external_id\":\"x-1\",\"sale_id\":\"9\",\"sku\":\"CUP\",\"user_id\":0,"      \
    "\"quantity\":2,\"unit_price_minor\":2900,\"ordered_at\":\"2025-11-22T10:00:00Z\"}"
#define PAID                                                                                       \
    "{\"channel\":3,\"external_id\":\"x-2\",\"sale_id\":9,\"sku\":\"CUP\",\"user_id\":\"7\","      \
    "\"quantity\":1,\"unit_price_minor\":2900,\"ordered_at\":1763805600000,\"lane\":\"vip\","      \
    "\"payment\":{\"payment_id\":\"p\",\"amount_minor\":2900,\"currency\":\"CNY\",\"channel\":4,"  \
    "\"paid_at\":1763805600001}}"

static void open_text(struct ctl_ingestfile *file, const char *text)
{
    FILE *stream = fmemopen((void *)(uintptr_t)text, strlen(text), "r");
    cr_assert_not_null(stream);
    *file = (struct ctl_ingestfile){.stream = stream, .name = "in.json"};
}

/* Reads all of it; returns how the reading ended. */
static enum tg_error read_all(const char *text, uint64_t *count, struct tg_fault *fault)
{
    struct ctl_ingestfile file;
    struct ctl_ingest_order order;
    enum tg_error error;
    open_text(&file, text);
    *count = 0;
    while (!(error = ctl_ingestfile_next(&file, &order, fault))) {
        cr_assert_eq(order.number, ++*count);
        ctl_ingest_order_free(&order);
    }
    fclose(file.stream);
    return error;
}

static void expect_orders(const char *text, uint64_t expected)
{
    uint64_t count;
    struct tg_fault fault = {0};
    cr_expect_eq(read_all(text, &count, &fault), TG_ERR_NOTFOUND, "%s: %s", text, fault.text);
    cr_expect_eq(count, expected, "%s: %lu", text, (unsigned long)count);
}

static void expect_refused(const char *text, uint64_t orders_before, const char *words)
{
    uint64_t count;
    struct tg_fault fault = {0};
    cr_expect_eq(read_all(text, &count, &fault), TG_ERR_INVALID, "took %s", text);
    cr_expect_eq(count, orders_before, "%s: %lu", text, (unsigned long)count);
    cr_expect_eq(strncmp(fault.text, "in.json: ", 9), 0, "%s", fault.text);
    cr_expect_not_null(strstr(fault.text, words), "%s -> %s", text, fault.text);
}

Test(ingestfile, an_order_becomes_the_whole_message)
{
    struct ctl_ingestfile file;
    struct ctl_ingest_order order;
    struct tg_fault fault = {0};
    open_text(&file, ORDER "\n" PAID "\n");
    cr_assert_eq(ctl_ingestfile_next(&file, &order, &fault), TG_ERR_OK, "%s", fault.text);
    cr_assert_eq(order.message.channel, 3);
    cr_assert_eq(order.message.external_id.len, 3);
    cr_assert_eq(memcmp(order.message.external_id.data, "x-1", 3), 0);
    cr_assert_eq(order.message.sale_id, 9);
    cr_assert_str_eq(order.message.sku, "CUP");
    cr_assert_eq(order.message.user_id, 0);
    cr_assert_eq(order.message.quantity, 2);
    cr_assert_eq(order.message.unit_price_minor, 2900);
    cr_assert_eq(order.message.ordered_at_ms, 1763805600000);
    cr_assert_eq(order.message.lane, TIDEGATE__V1__LANE__LANE_FLASH);
    cr_assert_null(order.message.payment);
    ctl_ingest_order_free(&order);
    cr_assert_eq(ctl_ingestfile_next(&file, &order, &fault), TG_ERR_OK, "%s", fault.text);
    cr_assert_eq(order.number, 2);
    cr_assert_eq(order.message.user_id, 7);
    cr_assert_eq(order.message.lane, TIDEGATE__V1__LANE__LANE_VIP);
    cr_assert_eq(order.message.payment, &order.payment);
    cr_assert_eq(order.payment.payment_id.len, 1);
    cr_assert_eq(order.payment.amount_minor, 2900);
    cr_assert_str_eq(order.payment.currency, "CNY");
    cr_assert_eq(order.payment.channel, 4);
    cr_assert_eq(order.payment.paid_at_ms, 1763805600001);
    ctl_ingest_order_free(&order);
    cr_assert_eq(ctl_ingestfile_next(&file, &order, &fault), TG_ERR_NOTFOUND);
    fclose(file.stream);
}

Test(ingestfile, lines_and_arrays_are_taken)
{
    expect_orders("\n", 0);
    expect_orders("[]", 0);
    expect_orders(" [ ] \n", 0);
    expect_orders(ORDER, 1);
    expect_orders(ORDER PAID, 2);
    expect_orders("\n" ORDER "\r\n\n" PAID "\n", 2);
    expect_orders("[" ORDER "]", 1);
    expect_orders("[\n" ORDER " ,\n" PAID "\n]\n", 2);
}

Test(ingestfile, a_shape_that_is_neither_is_refused_behind_what_was_read)
{
    expect_refused("x", 0, "behind order 0: an object");
    expect_refused("[" ORDER, 1, "behind order 1: the array has no end");
    expect_refused("[" ORDER "," PAID, 2, "the array has no end");
    expect_refused("[" ORDER PAID "]", 1, "a comma or the end");
    expect_refused("[" ORDER ",]", 1, "must follow the comma");
    expect_refused("[," ORDER "]", 0, "an object");
    expect_refused("[" ORDER "]" PAID, 1, "nothing may follow");
    expect_refused(ORDER "," PAID, 1, "an object");
    expect_refused(ORDER "]", 1, "an object");
    expect_refused(ORDER "{\"channel\":", 1, "order 2, line 1 of it");
}

/* ORDER with the first `old` in it replaced. */
static void expect_order_refused(const char *old, const char *new, const char *words)
{
    static const char good[] = ORDER;
    char text[1024];
    const char *at = strstr(good, old);
    cr_assert_not_null(at, "no %s", old);
    snprintf(text, sizeof(text), "%s%.*s%s%s", PAID, (int)(at - good), good, new, at + strlen(old));
    expect_refused(text, 1, words);
}

Test(ingestfile, a_field_that_is_wrong_is_named_with_the_order)
{
    expect_order_refused("\"channel\":3,", "", "order 2: channel is missing");
    expect_order_refused("\"channel\":3", "\"channel\":65536", "order 2: channel must be");
    expect_order_refused("x-1", "", "order 2: external_id must be a string of 1 to 32 bytes");
    expect_order_refused("x-1", "123456789012345678901234567890123", "external_id must be");
    expect_order_refused("\"9\"", "0", "order 2: sale_id must be a whole number from 1 on");
    expect_order_refused("CUP", "C P", "order 2: sku must be");
    expect_order_refused("\"user_id\":0", "\"user_id\":-1", "order 2: user_id must be");
    expect_order_refused("\"quantity\":2", "\"quantity\":0", "order 2: quantity must be");
    expect_order_refused("2900", "29.00", "order 2: unit_price_minor must be");
    expect_order_refused("2025-11-22T10:00:00Z", "yesterday", "order 2: ordered_at must be");
    expect_order_refused("\"quantity\"", "\"quantty\":1,\"quantity\"",
                         "order 2: quantty is no key of an order to ingest; did you mean "
                         "\"quantity\"?");
    expect_order_refused("{\"", "{\"lane\":\"slow\",\"",
                         "order 2: lane must be vip, prepaid or flash, not \"slow\"");
    expect_order_refused("{\"", "{\"payment\":{},\"", "order 2: payment.payment_id is missing");
    expect_order_refused("{\"", "{\"payment\":1,\"", "order 2: payment must be an object");
}

Test(ingestfile, a_time_counted_from_now_is_refused_for_repeating_it_would_say_another)
{
    expect_order_refused("2025-11-22T10:00:00Z", "now", "ordered_at must be a time");
    expect_order_refused("2025-11-22T10:00:00Z", "+5s", "ordered_at must be a time");
}

Test(ingestfile, no_cut_of_a_good_file_is_taken_whole)
{
    static const char good[] = "[" ORDER "," PAID "]";
    for (size_t size = 1; size + 1 < sizeof(good); size++) {
        uint64_t count;
        char *cut = strndup(good, size);
        cr_assert_eq(read_all(cut, &count, NULL), TG_ERR_INVALID, "took the first %zu bytes", size);
        free(cut);
    }
}
