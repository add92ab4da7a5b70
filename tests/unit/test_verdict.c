#include "proto/verdict.h"

#include "base/limits.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

Test(verdict, has_the_contracts_name_for_every_number_of_the_contract)
{
    const ProtobufCEnumDescriptor *contract = &tidegate__v1__verdict__descriptor;
    for (unsigned i = 0; i < contract->n_values; i++) {
        char expected[64];
        snprintf(expected, sizeof(expected), "VERDICT_%s",
                 tg_verdict_name(contract->values[i].value));
        cr_assert_str_eq(expected, contract->values[i].name);
    }
    cr_assert_eq(contract->n_values, TG_VERDICT_COUNT, "one short name for each verdict");
}

Test(verdict, of_a_newer_peer_is_unspecified)
{
    cr_assert_str_eq(tg_verdict_name(0), "UNSPECIFIED");
    cr_assert_str_eq(tg_verdict_name(TG_VERDICT_COUNT), "UNSPECIFIED");
    cr_assert_str_eq(tg_verdict_name(-1), "UNSPECIFIED");
    cr_assert_str_eq(tg_verdict_name(INT32_MAX), "UNSPECIFIED");
}

static const enum tg_field fields[] = {
#define FIELD_ROW(name, text, advice) TG_FIELD_##name,
    TG_FIELDS(FIELD_ROW)
#undef FIELD_ROW
};

Test(verdict, every_field_has_a_name_and_advice_that_begins_with_it)
{
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        const char *name = tg_field_name(fields[i]);
        const char *advice = tg_field_advice(fields[i]);
        cr_assert_gt(strlen(name), 0);
        cr_assert_eq(strncmp(advice, name, strlen(name)), 0, "%s", advice);
        cr_assert_eq(advice[strlen(name)], ' ', "%s", advice);
        cr_assert_gt(strlen(advice), strlen(name) + 5, "%s", advice);
        for (size_t j = 0; j < i; j++)
            cr_assert_str_neq(advice, tg_field_advice(fields[j]));
    }
}

Test(verdict, no_field_has_no_words)
{
    cr_assert_str_empty(tg_field_name(TG_FIELD_NONE));
    cr_assert_str_empty(tg_field_advice(TG_FIELD_NONE));
    cr_assert_str_empty(tg_field_name((enum tg_field)9999));
    cr_assert_str_empty(tg_field_advice((enum tg_field)9999));
}

static bool has_number(const char *text, long long number)
{
    char digits[32];
    snprintf(digits, sizeof(digits), "%lld", number);
    const char *at = strstr(text, digits);
    return at && (at[strlen(digits)] < '0' || at[strlen(digits)] > '9');
}

/* Advice and the limits of base/limits.h are written twice; here they meet. */
Test(verdict, advice_tells_the_limits_of_the_code)
{
    cr_assert(has_number(tg_field_advice(TG_FIELD_REQUEST_ID), TG_REQUEST_ID_BYTES));
    cr_assert(has_number(tg_field_advice(TG_FIELD_SKU), TG_SKU_BYTES_MAX));
    cr_assert(has_number(tg_field_advice(TG_FIELD_QUANTITY), TG_QUANTITY_MAX));
    cr_assert(has_number(tg_field_advice(TG_FIELD_CHANNEL), TG_CHANNEL_MAX));
    cr_assert(has_number(tg_field_advice(TG_FIELD_EXTERNAL_ID), TG_EXTERNAL_BYTES_MAX));
    cr_assert(has_number(tg_field_advice(TG_FIELD_ORDERS), TG_BATCH_ORDERS_MAX));
    cr_assert(has_number(tg_field_advice(TG_FIELD_NAME), TG_SALE_NAME_BYTES_MAX));
    cr_assert(has_number(tg_field_advice(TG_FIELD_STARTS_AT), TG_TIME_MS_MAX));
    cr_assert(has_number(tg_field_advice(TG_FIELD_ENDS_AT), TG_TIME_MS_MAX));
    cr_assert(has_number(tg_field_advice(TG_FIELD_ITEMS), TG_SALE_ITEMS_MAX));
    cr_assert(has_number(tg_field_advice(TG_FIELD_ITEM_SKU), TG_SKU_BYTES_MAX));
    cr_assert(has_number(tg_field_advice(TG_FIELD_REASON), TG_REASON_BYTES_MAX));
    cr_assert_eq(TG_PRICE_MINOR_MAX, 1000000000000, "the advice says 10^12");
    cr_assert_eq(TG_STOCK_UNITS_MAX, 1000000000, "the advice says 10^9");
}
