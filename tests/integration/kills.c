/* SIGKILLs at random moments, a start after each, and the audits at the end:
 *
 *   - fifty during one sale of 200,000 buyers on 64 connections;
 *   - a hundred while orders are paid, cancelled, refunded and expire, teams form and fail, carts
 *     are taken over two shards, and other channels' orders come in, all at once.
 *
 * Not part of `make check`: it takes a minute or two. Prints a line of counts for each.
 *
 * The seed of the moments is that of TG_KILLS_SEED, or the clock's; it is printed.
 */
#include "base/clock.h"
#include "base/rng.h"
#include "tests/lib/run.h"
#include "tests/lib/sale.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define KILLS         50
#define LIFE_KILLS    100
#define MOMENT_US_MIN 20000
#define MOMENT_US     200000

static long long count_of(json_t *report, const char *name)
{
    json_t *count = json_object_get(report, name);
    cr_assert(json_is_integer(count), "no %s in the report", name);
    return json_integer_value(count);
}

static void must_go_on(struct run *load, int kills)
{
    if (run_goes_on(load))
        return;
    run_wait(load);
    cr_assert_fail("the load ended after %d kills with %d: %s%s", kills, load->status, load->out,
                   load->err);
}

/* Kills and starts the daemon as often as it should while the loads go on; returns the longest
 * start, in ms. */
static double kill_again_and_again(struct daemon *daemon, struct run *loads, int load_count,
                                   int kill_count, struct tg_rng *rng)
{
    int64_t longest_ns = 0;
    for (int kills = 0; kills < kill_count; kills++) {
        usleep((useconds_t)(MOMENT_US_MIN + tg_rng_below(rng, MOMENT_US)));
        for (int i = 0; i < load_count; i++)
            must_go_on(&loads[i], kills);
        daemon_kill(daemon);
        int64_t begun_ns = tg_clock_mono_ns();
        daemon_restart(daemon);
        int64_t took_ns = tg_clock_mono_ns() - begun_ns;
        longest_ns = took_ns > longest_ns ? took_ns : longest_ns;
    }
    return (double)longest_ns / 1e6;
}

static void report(const struct run *sale, uint64_t seed, double longest_ms, uint64_t standing)
{
    json_error_t error;
    json_t *root = json_loads(sale->out, 0, &error);
    cr_assert(root, "no JSON (%s): %s", error.text, sale->out);
    json_t *audit = json_object_get(root, "audit");
    cr_assert(json_is_true(json_object_get(audit, "ok")) &&
              json_is_true(json_object_get(audit, "done")));
    cr_assert_eq((uint64_t)count_of(audit, "orders_read"), standing);
    fprintf(stderr,
            "kills: %d SIGKILLs, %lld orders offered, %lld accepted, %llu standing, %lld "
            "reconnects, %lld sent again, longest start %.0f ms, audit clean, seed %llu\n",
            KILLS, count_of(root, "offered"), count_of(root, "accepted"),
            (unsigned long long)standing, count_of(root, "reconnects"), count_of(root, "resent"),
            longest_ms, (unsigned long long)seed);
    json_decref(root);
}

static uint64_t begin(struct tg_rng *rng)
{
    const char *given = getenv("TG_KILLS_SEED");
    uint64_t seed = given ? strtoull(given, NULL, 10) : (uint64_t)tg_clock_wall_ns() % 1000000;
    tg_rng_init(rng, seed);
    fprintf(stderr, "kills: seed %llu\n", (unsigned long long)seed);
    return seed;
}

static void verify_offline(const struct daemon *daemon)
{
    struct run verify;
    run_start(&verify, "tidegatectl", "verify", "--data-dir", daemon->data_dir, NULL);
    run_wait(&verify);
    cr_assert_eq(verify.status, 0, "%s%s", verify.out, verify.err);
    run_free(&verify);
}

Test(kills, fifty_during_one_sale_lose_and_double_nothing)
{
    struct daemon daemon = {0};
    struct run sale;
    struct tg_rng rng;
    uint64_t seed = begin(&rng);
    daemon_start(&daemon, "--threads", "2", NULL);
    run_start(&sale, "tidegate-load", "--server", daemon.address, "--scenario", "seckill",
              "--users", "200000", "--stock", "100000", "--connections", "64", "--rate", "12000",
              "--attempts", "240000", "--reconnect", "60s", "--json", "-", "--quiet", NULL);
    double longest_ms = kill_again_and_again(&daemon, &sale, 1, KILLS, &rng);
    run_wait(&sale);
    cr_assert_eq(sale.status, 0, "exit %d: %s%s", sale.status, sale.out, sale.err);
    struct tgc_client *client = sale_client(&daemon);
    uint64_t standing = sale_list(client, 0, NULL, NULL);
    tgc_close(client);
    report(&sale, seed, longest_ms, standing);
    daemon_stop(&daemon);
    verify_offline(&daemon);
    run_free(&sale);
    daemon_end(&daemon);
}

/* --- orders live ---------------------------------------------------------------------------------
 */

static const char *const stories[] = {"lifecycle", "groupbuy", "cart", "ingest"};
#define STORIES ((int)(sizeof(stories) / sizeof(stories[0])))

static void stories_report(const struct run *load, const char *scenario)
{
    json_error_t error;
    json_t *root = json_loads(load->out, 0, &error);
    cr_assert(root, "no JSON (%s): %s", error.text, load->out);
    json_t *audit = json_object_get(root, "audit");
    cr_assert(json_is_true(json_object_get(audit, "ok")));
    fprintf(stderr,
            "kills: %s: %lld orders accepted, %lld requests answered, %lld sent again, %lld "
            "retries checked, %lld teams and %lld events read, audit clean\n",
            scenario, count_of(root, "accepted"), count_of(root, "responses"),
            count_of(root, "resent"), count_of(root, "retries_checked"),
            count_of(audit, "teams_read"), count_of(audit, "events_read"));
    json_decref(root);
}

Test(kills, a_hundred_while_orders_live_break_no_promise)
{
    struct daemon daemon = {0};
    struct run loads[STORIES];
    struct tg_rng rng;
    uint64_t seed = begin(&rng);
    char number[24];
    daemon_start(&daemon, "--threads", "2", NULL);
    for (int i = 0; i < STORIES; i++) {
        snprintf(number, sizeof(number), "%llu", (unsigned long long)seed);
        run_start(&loads[i], "tidegate-load", "--server", daemon.address, "--scenario", stories[i],
                  "--connections", "8", "--pipeline", "64", "--rate", "500", "--duration", "10m",
                  "--seed", number, "--reconnect", "60s", "--json", "-", "--quiet", NULL);
    }
    double longest_ms = kill_again_and_again(&daemon, loads, STORIES, LIFE_KILLS, &rng);
    fprintf(stderr, "kills: %d SIGKILLs, longest start %.0f ms, seed %llu\n", LIFE_KILLS,
            longest_ms, (unsigned long long)seed);
    /* They begin no new stories, finish those that they are in, and audit. */
    for (int i = 0; i < STORIES; i++)
        kill(loads[i].pid, SIGINT);
    for (int i = 0; i < STORIES; i++) {
        run_wait(&loads[i]);
        cr_assert_eq(loads[i].status, 0, "%s: exit %d: %s%s", stories[i], loads[i].status,
                     loads[i].out, loads[i].err);
        stories_report(&loads[i], stories[i]);
        run_free(&loads[i]);
    }
    daemon_stop(&daemon);
    verify_offline(&daemon);
    daemon_end(&daemon);
}
