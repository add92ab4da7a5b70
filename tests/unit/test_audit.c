/* The audit must find what is broken: each test breaks one thing in a run that was in order. */
#include "loadgen/audit.h"
#include "loadgen/audit_log.h"
#include "loadgen/wire.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* cr_assert reports each pass to the runner, which is too slow for millions of checks. */
#define check(condition)                                                                           \
    do {                                                                                           \
        if (!(condition))                                                                          \
            cr_assert(0, "line %d: %s", __LINE__, #condition);                                     \
    } while (0)

enum {
    ORDERS = 1000,
    ITEMS = 3,
    STOCK = 1000,
    LIMIT = 60
};

/* A small world: a plan, accepted answers, the server's orders and books. */
struct world {
    struct lg_plan plan;
    struct lg_accept accepts[ORDERS + 1];
    uint64_t accept_count;
    struct lg_listed orders[ORDERS + 1];
    uint64_t order_count;
    struct lg_attempt attempts[ORDERS + 1];
    uint8_t externals[ORDERS + 1][LG_EXTERNAL_BYTES];
    struct lg_books books[ITEMS];
    struct lg_audit audit;
};

static struct world w;

/* The order that the server should have for an attempt, as the `at`-th of its list. */
static void put_order(uint64_t at, uint64_t number, uint64_t order_id)
{
    struct lg_attempt *attempt = &w.attempts[at];
    lg_plan_attempt(&w.plan, number, attempt);
    const struct lg_item *item = &w.plan.items[attempt->item];
    lg_plan_external_id(number, w.externals[at]);
    w.orders[at] = (struct lg_listed){
        .order_id = order_id,
        .sale_id = w.plan.settings.sale_id,
        .user_id = attempt->user_id,
        .unit_price_minor = item->price_minor,
        .request_id = (const uint8_t *)attempt->request_id,
        .request_id_bytes = TG_REQUEST_ID_BYTES,
        .sku = item->sku,
        .sku_bytes = item->sku_bytes,
        .external_id = w.externals[at],
        .external_bytes = LG_EXTERNAL_BYTES,
        .quantity = attempt->quantity,
        .channel = LG_CHANNEL,
        .state = 1,
    };
}

static void hold(uint64_t number, int sign)
{
    struct lg_attempt attempt;
    lg_plan_attempt(&w.plan, number, &attempt);
    w.books[attempt.item].reserved_units += (uint64_t)((int64_t)attempt.quantity * sign);
    w.books[attempt.item].available_units -= (uint64_t)((int64_t)attempt.quantity * sign);
}

static void make_world(void)
{
    struct lg_plan_settings settings = {
        .seed = 1,
        .nonce = 2,
        .sale_id = 77,
        .users = 50,
        .greedy_users = 1,
        .item_count = ITEMS,
        .quantity_min = 1,
        .quantity_max = 3,
        .own_sale = 1,
    };
    cr_assert(lg_plan_init(&w.plan, &settings, lg_plan_items(ITEMS, STOCK, LIMIT)));
    for (int i = 0; i < ITEMS; i++)
        w.books[i] = (struct lg_books){.initial_units = STOCK, .available_units = STOCK};
    for (uint64_t i = 0; i < ORDERS; i++) {
        /* Attempt numbers with gaps (the refused), order ids growing, answers in another order. */
        uint64_t number = i * 3 + 1, order_id = (i + 10) << 10 | (i % ITEMS);
        put_order(i, number, order_id);
        w.accepts[(i * 7) % ORDERS] = (struct lg_accept){number, order_id};
        hold(number, 1);
    }
    w.accept_count = w.order_count = ORDERS;
}

static const struct lg_findings *audit_world(bool complete, uint64_t parts)
{
    struct lg_accept *copy = malloc(w.accept_count * sizeof(*copy));
    memcpy(copy, w.accepts, w.accept_count * sizeof(*copy));
    cr_assert(lg_audit_init(&w.audit, &w.plan, complete));
    cr_assert(lg_audit_accepts(&w.audit, copy, w.accept_count));
    uint64_t at = 0, count = w.audit.accept_count;
    for (uint64_t part = 0; part < parts; part++) {
        struct lg_walk walk;
        uint64_t end = count * (part + 1) / parts;
        lg_audit_walk_begin(&w.audit, &walk, count * part / parts, end);
        while (at < w.order_count &&
               (part + 1 == parts || w.orders[at].order_id <= w.audit.accepts[end - 1].order_id))
            lg_audit_walk_order(&w.audit, &walk, &w.orders[at++]);
        lg_audit_walk_end(&w.audit, &walk);
    }
    for (uint32_t i = 0; i < ITEMS; i++)
        lg_audit_item(&w.audit, i, &w.books[i]);
    lg_audit_finish(&w.audit);
    return &w.audit.findings;
}

static void remove_order(uint64_t at)
{
    w.order_count--;
    memmove(&w.orders[at], &w.orders[at + 1], (w.order_count - at) * sizeof(w.orders[0]));
}

Test(audit, a_run_in_order_passes_in_any_number_of_parts, .init = make_world)
{
    for (uint64_t parts = 1; parts <= 9; parts++) {
        const struct lg_findings *f = audit_world(true, parts);
        cr_assert(lg_findings_ok(f), "%s", f->examples[0]);
        check(f->orders == ORDERS);
        check(f->accepts == ORDERS);
        check(f->example_count == 0);
        lg_audit_fini(&w.audit);
    }
}

Test(audit, an_unfinished_audit_has_not_passed, .init = make_world)
{
    cr_assert(lg_audit_init(&w.audit, &w.plan, true));
    cr_assert_not(lg_findings_ok(&w.audit.findings));
}

Test(audit, a_lost_order_is_found_wherever_it_was, .init = make_world)
{
    static const uint64_t places[] = {0, 1, ORDERS / 2, ORDERS - 1};
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        struct world before = w;
        remove_order(places[i]);
        const struct lg_findings *f = audit_world(true, 4);
        check(f->lost == 1);
        check(f->altered == 0);
        check(!lg_findings_ok(f));
        check(f->example_count > 0);
        lg_audit_fini(&w.audit);
        w = before;
    }
}

Test(audit, an_order_with_other_content_is_found, .init = make_world)
{
    static const uint8_t other[TG_SKU_BYTES_MAX] = "other";
    for (int field = 0; field < 8; field++) {
        struct lg_listed kept = w.orders[5], *order = &w.orders[5];
        if (field == 0)
            order->user_id++;
        if (field == 1)
            order->quantity++;
        if (field == 2)
            order->unit_price_minor--;
        if (field == 3)
            order->request_id = (const uint8_t *)w.attempts[6].request_id;
        if (field == 4)
            order->sku = w.plan.items[(w.attempts[5].item + 1) % ITEMS].sku;
        if (field == 5)
            order->external_id = other;
        if (field == 6)
            order->channel++;
        if (field == 7)
            order->request_id_bytes--;
        const struct lg_findings *f = audit_world(true, 2);
        cr_assert_eq(f->lost, 1, "field %d", field);
        cr_assert_eq(f->altered, 1, "field %d", field);
        check(!lg_findings_ok(f));
        lg_audit_fini(&w.audit);
        *order = kept;
    }
}

Test(audit, a_second_order_for_one_request_id_is_found, .init = make_world)
{
    put_order(ORDERS, w.accepts[3].number, (ORDERS + 100) << 10);
    w.order_count++;
    hold(w.accepts[3].number, 1);
    const struct lg_findings *f = audit_world(true, 3);
    cr_assert_eq(f->duplicated, 1);
    cr_assert_eq(f->unknown, 0);
    cr_assert_eq(f->lost, 0);
    cr_assert_not(lg_findings_ok(f));
}

Test(audit, a_second_order_is_found_in_an_incomplete_log_too, .init = make_world)
{
    put_order(ORDERS, w.accepts[3].number, (ORDERS + 100) << 10);
    w.order_count++;
    hold(w.accepts[3].number, 1);
    cr_assert_eq(audit_world(false, 3)->duplicated, 1);
    cr_assert_not(lg_findings_ok(&w.audit.findings));
}

Test(audit, one_order_id_for_two_attempts_is_found, .init = make_world)
{
    w.accepts[ORDERS] = (struct lg_accept){2, w.accepts[9].order_id};
    w.accept_count++;
    const struct lg_findings *f = audit_world(true, 3);
    cr_assert_eq(f->duplicated, 1);
    cr_assert_not(lg_findings_ok(f));
}

Test(audit, an_order_that_nobody_was_told_of_is_found, .init = make_world)
{
    put_order(ORDERS, 2, (ORDERS + 100) << 10); /* attempt 2 was refused */
    w.order_count++;
    hold(2, 1);
    const struct lg_findings *f = audit_world(true, 3);
    cr_assert_eq(f->unknown, 1);
    cr_assert_eq(f->duplicated, 0);
    cr_assert_not(lg_findings_ok(f));
    lg_audit_fini(&w.audit);
    /* The log of a run that was killed may just miss its answer. */
    f = audit_world(false, 3);
    cr_assert_eq(f->unknown, 0);
    cr_assert_eq(f->unlogged, 1);
    cr_assert(lg_findings_ok(f), "%s", f->examples[0]);
}

Test(audit, a_strangers_order_is_found_in_a_sale_of_our_own_only, .init = make_world)
{
    put_order(ORDERS, 2, (ORDERS + 100) << 10);
    w.attempts[ORDERS].request_id[1] ^= 1;
    w.order_count++;
    hold(2, 1);
    cr_assert_eq(audit_world(true, 3)->unknown, 1);
    cr_assert_not(lg_findings_ok(&w.audit.findings));
    lg_audit_fini(&w.audit);
    w.plan.settings.own_sale = 0;
    const struct lg_findings *f = audit_world(true, 3);
    cr_assert_eq(f->unknown, 0);
    cr_assert_eq(f->foreign, 1);
    cr_assert(lg_findings_ok(f), "%s", f->examples[0]);
}

Test(audit, an_oversold_item_is_found, .init = make_world)
{
    uint64_t held = w.books[1].reserved_units;
    w.books[1].initial_units = held - 7;
    w.books[1].available_units = 0;
    const struct lg_findings *f = audit_world(true, 1);
    cr_assert_eq(f->oversold, 7);
    cr_assert_not(lg_findings_ok(f));
}

Test(audit, overselling_is_found_even_when_the_books_hide_it, .init = make_world)
{
    /* The books say that just all is sold; but more was promised, and more orders stand. */
    uint64_t held = w.books[1].reserved_units;
    w.books[1] = (struct lg_books){.initial_units = held - 5, .reserved_units = held - 5};
    const struct lg_findings *f = audit_world(true, 1);
    cr_assert_eq(f->oversold, 5);
    cr_assert_eq(f->books_broken, 0);
    cr_assert_eq(f->books_differ, 1);
    cr_assert_not(lg_findings_ok(f));
}

Test(audit, answers_alone_can_oversell, .init = make_world)
{
    /* The server sold within its stock, but told more buyers than that. */
    uint64_t lost_units = 0;
    for (uint64_t at = 0; at < w.order_count && lost_units < 5; at++) {
        if (memcmp(w.orders[at].sku, w.plan.items[1].sku, w.orders[at].sku_bytes) != 0)
            continue;
        lost_units += w.orders[at].quantity;
        remove_order(at);
    }
    uint64_t left = w.books[1].reserved_units - lost_units;
    w.books[1] = (struct lg_books){.initial_units = left, .reserved_units = left};
    const struct lg_findings *f = audit_world(true, 1);
    cr_assert_eq(f->oversold, lost_units);
    cr_assert_gt(f->lost, 0);
    cr_assert_eq(f->books_broken, 0);
}

Test(audit, restocking_is_no_overselling, .init = make_world)
{
    uint64_t held = w.books[1].reserved_units;
    w.books[1].initial_units = held - 7;
    w.books[1].restocked_units = 10;
    w.books[1].available_units = 3;
    cr_assert(lg_findings_ok(audit_world(true, 1)));
}

Test(audit, books_that_do_not_add_up_are_found, .init = make_world)
{
    w.books[2].available_units--;
    const struct lg_findings *f = audit_world(true, 1);
    cr_assert_eq(f->books_broken, 1);
    cr_assert_not(lg_findings_ok(f));
}

Test(audit, units_that_no_order_holds_are_found, .init = make_world)
{
    w.books[2].available_units--;
    w.books[2].reserved_units++; /* a phantom sold-out: adds up, but for nobody */
    const struct lg_findings *f = audit_world(true, 1);
    cr_assert_eq(f->books_broken, 0);
    cr_assert_eq(f->books_differ, 1);
    cr_assert_not(lg_findings_ok(f));
}

Test(audit, a_shared_sale_may_hold_more_but_never_less_than_promised, .init = make_world)
{
    w.plan.settings.own_sale = 0;
    w.books[0].available_units -= 5;
    w.books[0].reserved_units += 5;
    cr_assert(lg_findings_ok(audit_world(true, 1)));
    lg_audit_fini(&w.audit);
    w.books[0].available_units += 6;
    w.books[0].reserved_units -= 6;
    const struct lg_findings *f = audit_world(true, 1);
    cr_assert_eq(f->books_differ, 1);
    cr_assert_not(lg_findings_ok(f));
}

Test(audit, a_user_above_the_limit_is_found, .init = make_world)
{
    /* What the best buyer of an item holds is the highest limit that is exceeded when lowered. */
    uint64_t units[50] = {0}, most = 0, holders = 0;
    for (uint64_t i = 0; i < ORDERS; i++)
        if (w.attempts[i].item == 0)
            units[w.attempts[i].user_id - LG_USER_ID_FIRST] += w.attempts[i].quantity;
    for (int u = 0; u < 50; u++)
        most = units[u] > most ? units[u] : most;
    for (int u = 0; u < 50; u++)
        holders += units[u] == most;
    w.plan.items[0].per_user_limit = (uint32_t)most;
    cr_assert_eq(audit_world(true, 1)->over_limit_users, 0);
    lg_audit_fini(&w.audit);
    w.plan.items[0].per_user_limit = (uint32_t)most - 1;
    const struct lg_findings *f = audit_world(true, 1);
    cr_assert_eq(f->over_limit_users, holders);
    cr_assert_not(lg_findings_ok(f));
    lg_audit_fini(&w.audit);
    w.plan.items[0].per_user_limit = 0; /* none */
    cr_assert_eq(audit_world(true, 1)->over_limit_users, 0);
}

Test(audit, a_listing_out_of_order_is_found, .init = make_world)
{
    struct lg_listed swap = w.orders[20];
    w.orders[20] = w.orders[21];
    w.orders[21] = swap;
    const struct lg_findings *f = audit_world(true, 1);
    cr_assert_eq(f->disordered, 1);
    cr_assert_not(lg_findings_ok(f));
}

Test(audit, sorting_is_right_for_any_ids)
{
    enum {
        N = 50000
    };
    struct lg_accept *accepts = malloc(N * sizeof(*accepts));
    struct tg_rng rng;
    tg_rng_init(&rng, 8);
    for (uint64_t i = 0; i < N; i++)
        accepts[i] = (struct lg_accept){i, tg_rng_next(&rng) >> tg_rng_below(&rng, 64)};
    uint64_t sum = 0;
    cr_assert(lg_accepts_sort(accepts, N));
    for (uint64_t i = 0; i < N; i++) {
        sum += accepts[i].number;
        if (i)
            cr_assert(accepts[i - 1].order_id < accepts[i].order_id ||
                      (accepts[i - 1].order_id == accepts[i].order_id &&
                       accepts[i - 1].number < accepts[i].number));
    }
    cr_assert_eq(sum, (uint64_t)N * (N - 1) / 2);
    free(accepts);
}

/* --- the log -----------------------------------------------------------------------------------
 */

static char log_path[64];

static void write_log_file(uint64_t answers, bool end)
{
    struct lg_plan_settings settings = {
        .seed = 5,
        .nonce = 6,
        .sale_id = 7,
        .users = 8,
        .greedy_users = 1,
        .item_count = 1,
        .quantity_min = 1,
        .quantity_max = 1,
        .scenario = "seckill",
    };
    struct lg_accepted *list = calloc(1, sizeof(*list));
    struct lg_log log;
    struct tg_fault fault;
    uint64_t written = 0;
    snprintf(log_path, sizeof(log_path), "/tmp/test_audit.%d.log", (int)getpid());
    unlink(log_path);
    cr_assert_eq(lg_log_create(&log, log_path, &settings, 1234, &fault), TG_ERR_OK, "%s",
                 fault.text);
    for (uint64_t i = 0; i < answers; i++) {
        check(lg_accepted_add(list, i, i + 1));
        if (i % 1000 == 0)
            check(lg_log_append(&log, list, &written, &fault) == TG_ERR_OK);
    }
    cr_assert_eq(lg_log_append(&log, list, &written, &fault), TG_ERR_OK);
    cr_assert_eq(written, answers);
    cr_assert_eq(lg_log_mark(&log, answers * 2, end, &fault), TG_ERR_OK);
    cr_assert_eq(lg_log_create(&(struct lg_log){0}, log_path, &settings, 1, &fault), TG_ERR_IO,
                 "a log was overwritten");
    lg_log_close(&log);
    lg_accepted_fini(list);
    free(list);
}

Test(audit, a_log_is_read_back)
{
    for (int end = 0; end < 2; end++) {
        struct lg_log_content content;
        struct tg_fault fault;
        write_log_file(150000, end != 0); /* more than two chunks */
        cr_assert_eq(lg_log_read(log_path, &content, &fault), TG_ERR_OK, "%s", fault.text);
        check(content.accept_count == 150000);
        check(content.attempts_begun == 300000);
        check(content.complete == (end != 0));
        check(content.settings.sale_id == 7);
        cr_assert_str_eq(content.settings.scenario, "seckill");
        for (uint64_t i = 0; i < content.accept_count; i++)
            check(content.accepts[i].number == i && content.accepts[i].order_id == i + 1);
        free(content.accepts);
        unlink(log_path);
    }
}

Test(audit, a_log_that_was_cut_is_read_up_to_the_cut)
{
    struct lg_log_content content;
    struct tg_fault fault;
    write_log_file(100, true);
    cr_assert_eq(truncate(log_path, 256 + 50 * 16 + 9), 0);
    cr_assert_eq(lg_log_read(log_path, &content, &fault), TG_ERR_OK);
    cr_assert_eq(content.accept_count, 50);
    cr_assert_not(content.complete);
    free(content.accepts);
    unlink(log_path);
}

Test(audit, a_damaged_log_is_refused)
{
    struct lg_log_content content;
    struct tg_fault fault;
    write_log_file(1, true);
    FILE *file = fopen(log_path, "r+");
    cr_assert(file && fseek(file, 40, SEEK_SET) == 0 && fputc('x', file) == 'x');
    fclose(file);
    cr_assert_eq(lg_log_read(log_path, &content, &fault), TG_ERR_CORRUPT);
    cr_assert_eq(truncate(log_path, 100), 0);
    cr_assert_eq(lg_log_read(log_path, &content, &fault), TG_ERR_CORRUPT);
    unlink(log_path);
    cr_assert_eq(lg_log_read(log_path, &content, &fault), TG_ERR_IO);
}
