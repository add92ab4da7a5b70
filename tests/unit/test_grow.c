/* How the file gets longer on real LMDB: seldom for small commits, as it needs for large ones, and
 * never longer than the map. */
#include "storage/env.h"
#include "tests/lib/depot.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <sys/stat.h>

struct lengths {
    uint64_t pages; /* bytes up to the last page that was ever used */
    uint64_t file;
};

static struct lengths lengths_of(const struct depot *depot)
{
    mdb_filehandle_t fd;
    MDB_envinfo info;
    struct stat file;
    cr_assert_eq(mdb_env_info(depot->env->lmdb, &info), 0);
    cr_assert_eq(mdb_env_get_fd(depot->env->lmdb, &fd), 0);
    cr_assert_eq(fstat(fd, &file), 0);
    return (struct lengths){.pages = (info.me_last_pgno + 1) * depot->env->page_bytes,
                            .file = (uint64_t)file.st_size};
}

static struct depot *make(uint64_t map_bytes)
{
    struct depot *depot = depot_make(map_bytes);
    depot_commit_sale(depot, 0, 0, 1, 1000000);
    return depot;
}

/* One commit of orders of one unit, each of another user. */
static enum sto_result place(struct depot *depot, uint32_t count)
{
    struct tg_record *records = calloc(count, sizeof(*records));
    for (uint32_t i = 0; i < count; i++)
        records[i] = depot_order(depot, 0, depot->requests, 1);
    enum sto_result result = depot_commit(depot, records, count);
    free(records);
    return result;
}

Test(grow, one_of_many_small_commits_lengthens_the_file)
{
    struct depot *depot = make(64 * DEPOT_MIB);
    struct lengths first = lengths_of(depot), before = first, now = first;
    int longer = 0;
    for (int commit = 0; commit < 600; commit++) {
        cr_assert_eq(place(depot, 16), STO_DURABLE);
        now = lengths_of(depot);
        cr_assert_geq(now.file, now.pages, "its pages lie in the file");
        longer += now.file != before.file;
        before = now;
    }
    cr_assert_geq(now.pages - first.pages, 600 * 16 * 70, "there were pages to write");
    cr_assert_leq(longer, 6, "it was lengthened %d times for %llu bytes", longer,
                  (unsigned long long)(now.pages - first.pages));
    depot_expect_sound(depot);
    cr_assert_eq(place(depot, 16), STO_DURABLE);
    cr_assert_eq(lengths_of(depot).file, now.file, "what lies ahead is found by the next start");
    depot_free(depot);
}

Test(grow, a_large_commit_writes_nothing_ahead)
{
    struct depot *depot = make(64 * DEPOT_MIB);
    for (int commit = 0; commit < 8; commit++)
        cr_assert_eq(place(depot, 1000), STO_DURABLE);
    struct lengths now = lengths_of(depot);
    cr_assert_leq(now.file - now.pages, 16 * depot->env->page_bytes, "%llu bytes lie ahead",
                  (unsigned long long)(now.file - now.pages));
    depot_expect_sound(depot);
    depot_free(depot);
}

Test(grow, it_ends_with_the_map)
{
    struct depot *depot = make(DEPOT_MIB);
    while (place(depot, 1) == STO_DURABLE)
        cr_assert_lt(depot->requests, 50000, "the map was to be full");
    cr_assert_leq(lengths_of(depot).file, DEPOT_MIB);
    depot_expect_sound(depot);
    depot_free(depot);
}
