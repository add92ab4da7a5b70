/* Fifty SIGKILLs during one sale of 200,000 buyers on 64 connections, a start after each, and the
 * audit at the end. Not part of `make check`: it takes half a minute. Prints one line of counts.
 *
 * The seed of the moments is that of TG_KILLS_SEED, or the clock's; it is printed.
 */
#include "base/clock.h"
#include "base/rng.h"
#include "tests/lib/run.h"
#include "tests/lib/sale.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define KILLS         50
#define MOMENT_US_MIN 20000
#define MOMENT_US     200000

static long long count_of(json_t *report, const char *name)
{
    json_t *count = json_object_get(report, name);
    cr_assert(json_is_integer(count), "no %s in the report", name);
    return json_integer_value(count);
}

/* Kills and starts the daemon as often as it should while the sale goes on; returns the longest
 * start, in ms. */
static double kill_again_and_again(struct daemon *daemon, struct run *sale, struct tg_rng *rng)
{
    int64_t longest_ns = 0;
    for (int kills = 0; kills < KILLS; kills++) {
        usleep((useconds_t)(MOMENT_US_MIN + tg_rng_below(rng, MOMENT_US)));
        if (!run_goes_on(sale)) {
            run_wait(sale);
            cr_assert_fail("the sale ended after %d kills with %d: %s%s", kills, sale->status,
                           sale->out, sale->err);
        }
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

Test(kills, fifty_during_one_sale_lose_and_double_nothing)
{
    const char *given = getenv("TG_KILLS_SEED");
    uint64_t seed = given ? strtoull(given, NULL, 10) : (uint64_t)tg_clock_wall_ns() % 1000000;
    struct daemon daemon = {0};
    struct run sale, verify;
    struct tg_rng rng;
    tg_rng_init(&rng, seed);
    fprintf(stderr, "kills: seed %llu\n", (unsigned long long)seed);
    daemon_start(&daemon, "--threads", "2", NULL);
    run_start(&sale, "tidegate-load", "--server", daemon.address, "--scenario", "seckill",
              "--users", "200000", "--stock", "100000", "--connections", "64", "--rate", "12000",
              "--attempts", "240000", "--reconnect", "60s", "--json", "-", "--quiet", NULL);
    double longest_ms = kill_again_and_again(&daemon, &sale, &rng);
    run_wait(&sale);
    cr_assert_eq(sale.status, 0, "exit %d: %s%s", sale.status, sale.out, sale.err);
    struct tgc_client *client = sale_client(&daemon);
    uint64_t standing = sale_list(client, 0, NULL, NULL);
    tgc_close(client);
    report(&sale, seed, longest_ms, standing);
    daemon_stop(&daemon);
    run_start(&verify, "tidegatectl", "verify", "--data-dir", daemon.data_dir, NULL);
    run_wait(&verify);
    cr_assert_eq(verify.status, 0, "%s%s", verify.out, verify.err);
    run_free(&verify);
    run_free(&sale);
    daemon_end(&daemon);
}
