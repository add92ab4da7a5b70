/* What a run orders: derived from numbers, the same each time, and on the wire what it should be.
 */
#include "loadgen/plan.h"
#include "loadgen/wire.h"
#include "proto/codec.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

/* cr_assert reports each pass to the runner, which is too slow for millions of checks. */
#define check(condition)                                                                           \
    do {                                                                                           \
        if (!(condition))                                                                          \
            cr_assert(0, "line %d: %s", __LINE__, #condition);                                     \
    } while (0)

static struct lg_plan_settings settings(void)
{
    return (struct lg_plan_settings){
        .seed = 99,
        .nonce = 12345,
        .sale_id = 93442904251585,
        .users = 200000,
        .greedy_users = 10,
        .item_count = 1,
        .quantity_min = 1,
        .quantity_max = 1,
        .own_sale = 1,
    };
}

static void make_plan(struct lg_plan *plan, const struct lg_plan_settings *s)
{
    cr_assert(lg_plan_init(plan, s, lg_plan_items(s->item_count, 10, 1)));
}

Test(attempts, the_same_number_is_the_same_attempt)
{
    struct lg_plan_settings s = settings();
    s.item_count = 500;
    s.zipf_exponent = 0.9;
    s.quantity_max = 5;
    struct lg_plan one, two;
    make_plan(&one, &s);
    make_plan(&two, &s);
    for (uint64_t number = 0; number < 10000; number++) {
        struct lg_attempt a, b;
        lg_plan_attempt(&one, number, &a);
        lg_plan_attempt(&two, number, &b);
        cr_assert_arr_eq(&a, &b, sizeof(a));
    }
    lg_plan_fini(&one);
    lg_plan_fini(&two);
}

Test(attempts, another_nonce_changes_request_ids_and_nothing_else)
{
    struct lg_plan_settings s = settings();
    struct lg_plan one, two;
    make_plan(&one, &s);
    s.nonce++;
    make_plan(&two, &s);
    for (uint64_t number = 0; number < 10000; number++) {
        struct lg_attempt a, b;
        uint64_t undone;
        lg_plan_attempt(&one, number, &a);
        lg_plan_attempt(&two, number, &b);
        check(a.user_id == b.user_id);
        check(a.request_id[0] != b.request_id[0]);
        check(a.request_id[1] != b.request_id[1]);
        check(!lg_plan_number_of(&one, (const uint8_t *)b.request_id, &undone));
    }
    lg_plan_fini(&one);
    lg_plan_fini(&two);
}

static int compare_ids(const void *a, const void *b)
{
    return memcmp(a, b, TG_REQUEST_ID_BYTES);
}

Test(attempts, request_ids_are_distinct_and_lead_back_to_their_number)
{
    enum {
        N = 200000
    };
    struct lg_plan_settings s = settings();
    struct lg_plan plan;
    make_plan(&plan, &s);
    uint8_t(*ids)[TG_REQUEST_ID_BYTES] = calloc(N, sizeof(*ids));
    for (uint64_t i = 0; i < N; i++) {
        struct lg_attempt attempt;
        uint64_t number = i < N / 2 ? i : LG_ATTEMPTS_MAX - 1 - i, undone;
        lg_plan_attempt(&plan, number, &attempt);
        memcpy(ids[i], attempt.request_id, TG_REQUEST_ID_BYTES);
        check(lg_plan_number_of(&plan, ids[i], &undone));
        check(undone == number);
        ids[i][i % 16] ^= 1;
        check(!lg_plan_number_of(&plan, ids[i], &undone));
        ids[i][i % 16] ^= 1;
    }
    qsort(ids, N, sizeof(*ids), compare_ids);
    for (int i = 1; i < N; i++)
        check(compare_ids(ids[i - 1], ids[i]) != 0);
    free(ids);
    lg_plan_fini(&plan);
}

Test(attempts, users_are_all_reached_and_the_greedy_take_their_share)
{
    enum {
        N = 1000000,
        USERS = 1000
    };
    static uint32_t seen[USERS];
    struct lg_plan_settings s = settings();
    s.users = USERS;
    s.greedy_share = LG_SHARE_ONE / 4;
    struct lg_plan plan;
    make_plan(&plan, &s);
    for (uint64_t number = 0; number < N; number++) {
        struct lg_attempt attempt;
        lg_plan_attempt(&plan, number, &attempt);
        check(attempt.user_id >= LG_USER_ID_FIRST);
        check(attempt.user_id < LG_USER_ID_FIRST + USERS);
        seen[attempt.user_id - LG_USER_ID_FIRST]++;
    }
    uint64_t greedy = 0;
    for (int i = 0; i < USERS; i++) {
        double expected = i < 10 ? N * (0.25 / 10 + 0.75 / USERS) : N * 0.75 / USERS;
        cr_assert_float_eq(seen[i], expected, 6 * sqrt(expected), "user %d: %u", i, seen[i]);
        greedy += i < 10 ? seen[i] : 0;
    }
    cr_assert_gt(greedy, N / 4);
    lg_plan_fini(&plan);
}

Test(attempts, quantities_fill_their_range_evenly)
{
    enum {
        N = 300000
    };
    uint32_t seen[6] = {0};
    struct lg_plan_settings s = settings();
    s.quantity_min = 3;
    s.quantity_max = 5;
    struct lg_plan plan;
    make_plan(&plan, &s);
    for (uint64_t number = 0; number < N; number++) {
        struct lg_attempt attempt;
        lg_plan_attempt(&plan, number, &attempt);
        check(attempt.quantity >= 3 && attempt.quantity <= 5);
        seen[attempt.quantity]++;
    }
    for (int q = 3; q <= 5; q++)
        cr_assert_float_eq(seen[q], N / 3.0, 6 * sqrt(N / 3.0));
    lg_plan_fini(&plan);
}

static void check_zipf(uint32_t n, double exponent)
{
    enum {
        N = 2000000
    };
    struct lg_zipf zipf;
    cr_assert(lg_zipf_init(&zipf, n, exponent));
    uint32_t *seen = calloc(n, sizeof(*seen));
    struct tg_rng rng;
    tg_rng_init(&rng, 5);
    for (int i = 0; i < N; i++)
        seen[lg_zipf_rank(&zipf, tg_rng_next(&rng))]++;
    double sum = 0;
    for (uint32_t r = 0; r < n; r++)
        sum += pow(r + 1.0, -exponent);
    for (uint32_t r = 0; r < n; r++) {
        double expected = N * pow(r + 1.0, -exponent) / sum;
        cr_assert_float_eq(seen[r], expected, 6 * sqrt(expected) + 1,
                           "n %u s %f rank %u: %u not %f", n, exponent, r, seen[r], expected);
    }
    free(seen);
    lg_zipf_fini(&zipf);
}

Test(attempts, items_follow_zipfs_law)
{
    check_zipf(1, 0.99);
    check_zipf(2, 1);
    check_zipf(10, 0);
    check_zipf(100, 0.5);
    check_zipf(1000, 0.99);
    check_zipf(16384, 1.2);
}

Test(attempts, retries_come_at_their_share)
{
    struct lg_plan_settings s = settings();
    s.retry_share = LG_SHARE_ONE / 10;
    struct lg_plan plan;
    make_plan(&plan, &s);
    int retries = 0;
    for (uint64_t number = 0; number < 100000; number++)
        retries += lg_plan_retries(&plan, number);
    cr_assert_float_eq(retries, 10000, 600);
    lg_plan_fini(&plan);
}

Test(attempts, external_ids_are_digits_in_the_order_of_numbers)
{
    uint8_t last[LG_EXTERNAL_BYTES], id[LG_EXTERNAL_BYTES];
    lg_plan_external_id(0, last);
    cr_assert_arr_eq(last, "LG00000000", LG_EXTERNAL_BYTES);
    lg_plan_external_id(31, id);
    cr_assert_arr_eq(id, "LG0000000v", LG_EXTERNAL_BYTES);
    lg_plan_external_id(32, id);
    cr_assert_arr_eq(id, "LG00000010", LG_EXTERNAL_BYTES);
    lg_plan_external_id(LG_ATTEMPTS_MAX - 1, id);
    cr_assert_arr_eq(id, "LGvvvvvvvv", LG_EXTERNAL_BYTES);
    for (uint64_t number = 1; number < LG_ATTEMPTS_MAX; number = number * 5 / 3 + 1) {
        lg_plan_external_id(number, id);
        check(memcmp(id, last, LG_EXTERNAL_BYTES) > 0);
        memcpy(last, id, sizeof(id));
    }
}

Test(attempts, frames_are_byte_for_byte_those_of_the_codec)
{
    struct lg_plan_settings s = settings();
    s.item_count = 300;
    s.zipf_exponent = 0.5;
    s.quantity_max = 1000000;
    struct lg_plan plan;
    struct lg_wire wire;
    make_plan(&plan, &s);
    /* The largest and the smallest item that a sale can have. */
    plan.items[1].price_minor = TG_PRICE_MINOR_MAX;
    plan.items[1].sku_bytes = TG_SKU_BYTES_MAX;
    memset(plan.items[1].sku, 'x', TG_SKU_BYTES_MAX);
    plan.items[2].price_minor = 0;
    plan.items[2].sku_bytes = 1;
    for (int large = 0; large < 2; large++) {
        if (large)
            plan.settings.sale_id = UINT64_MAX;
        check(lg_wire_init(&wire, &plan));
        for (uint64_t number = 0; number < 20000; number++) {
            uint8_t ours[LG_FRAME_ROOM], theirs[TG_ORDER_FRAME_BYTES_MAX + 16];
            uint8_t external_id[LG_EXTERNAL_BYTES];
            struct lg_attempt attempt;
            struct tg_order order;
            lg_plan_attempt(&plan, number, &attempt);
            attempt.item = number < 3000 ? (uint32_t)(number % 3) : attempt.item;
            uint32_t correlation_id = 1 + (uint32_t)(number * 13 % 3000000);
            lg_wire_order_of(&plan, &attempt, external_id, &order);
            size_t bytes = lg_wire_frame(ours, correlation_id, &wire, &attempt);
            check(bytes == tg_order_frame(theirs, correlation_id, &order));
            cr_assert_arr_eq(ours, theirs, bytes);
        }
        lg_wire_fini(&wire);
    }
    lg_plan_fini(&plan);
}

static struct tg_answer random_answer(struct tg_rng *rng)
{
    struct tg_answer answer = {.verdict = (uint8_t)(1 + tg_rng_below(rng, TG_VERDICT_COUNT - 1))};
    if (tg_rng_below(rng, 2))
        answer.order_id = tg_rng_next(rng) >> tg_rng_below(rng, 64);
    if (tg_rng_below(rng, 2))
        answer.unit_price_minor = (int64_t)tg_rng_below(rng, TG_PRICE_MINOR_MAX);
    if (tg_rng_below(rng, 2))
        answer.accepted_at_ms = (int64_t)tg_rng_below(rng, TG_TIME_MS_MAX);
    if (tg_rng_below(rng, 2))
        answer.retry_after_ms = (uint32_t)tg_rng_next(rng);
    answer.replayed = (uint8_t)tg_rng_below(rng, 2);
    return answer;
}

Test(attempts, answers_of_the_codec_are_read_back)
{
    struct tg_rng rng;
    tg_rng_init(&rng, 3);
    int fast = 0;
    for (int i = 0; i < 200000; i++) {
        uint8_t frame[TG_ANSWER_FRAME_BYTES_MAX + 16];
        struct tg_answer answer = random_answer(&rng), read;
        uint64_t correlation_id = 1 + tg_rng_below(&rng, 100000), read_id = 0;
        size_t bytes = tg_answer_frame(frame, correlation_id, &answer);
        size_t used = lg_wire_answer_frame(frame, bytes, &read_id, &read);
        if (answer.verdict == TG_INVALID_ARGUMENT && !used)
            continue; /* brings text: the codec's */
        fast++;
        check(used == bytes);
        check(read_id == correlation_id);
        check(read.verdict == answer.verdict);
        check(read.order_id == answer.order_id);
        check(read.replayed == answer.replayed);
        check(read.unit_price_minor == answer.unit_price_minor);
        check(read.accepted_at_ms == answer.accepted_at_ms);
        check(read.retry_after_ms == answer.retry_after_ms);
        for (size_t cut = 0; cut < bytes; cut++)
            check(lg_wire_answer_frame(frame, cut, &read_id, &read) == 0);
    }
    cr_assert_gt(fast, 150000);
}

Test(attempts, whatever_the_fast_reader_takes_the_codec_reads_alike)
{
    struct tg_rng rng;
    tg_rng_init(&rng, 4);
    int taken = 0;
    for (int i = 0; i < 2000000; i++) {
        uint8_t frame[TG_ANSWER_FRAME_BYTES_MAX + 16];
        struct tg_answer answer = random_answer(&rng), fast, slow;
        size_t bytes = tg_answer_frame(frame, 1 + tg_rng_below(&rng, 300), &answer), used;
        /* One or two bytes are damaged. */
        frame[tg_rng_below(&rng, bytes)] = (uint8_t)tg_rng_next(&rng);
        if (i & 1)
            frame[tg_rng_below(&rng, bytes)] ^= (uint8_t)(1u << tg_rng_below(&rng, 8));
        uint64_t id;
        size_t fast_used = lg_wire_answer_frame(frame, bytes, &id, &fast);
        if (!fast_used)
            continue;
        struct tg_bytes message;
        struct tg_envelope envelope;
        taken++;
        cr_assert_eq(tg_frame_next_response((struct tg_bytes){frame, bytes}, &message, &used),
                     TG_FRAME_WHOLE);
        check(used == fast_used);
        check(tg_response_decode(message, &envelope) == TG_DECODE_OK);
        check(envelope.correlation_id == id);
        check(envelope.kind == TIDEGATE__V1__RESPONSE__KIND_PLACE_ORDER);
        check(tg_answer_decode(envelope.body, &slow) == TG_DECODE_OK);
        check(fast.order_id == slow.order_id);
        check(fast.verdict == slow.verdict);
        check(fast.replayed == slow.replayed);
    }
    cr_assert_gt(taken, 100000);
}
