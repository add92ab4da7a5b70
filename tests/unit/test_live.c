/* The live view: one picture for a terminal of any size. */
#include "loadgen/live.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

static char picture[LG_LIVE_BYTES + 1];

static struct lg_live_view busy(void)
{
    struct lg_live_view v = {.title = "seckill on 127.0.0.1:7411",
                             .stage = "wall",
                             .stage_number = 3,
                             .stage_count = 5,
                             .since_ns = 75000000000,
                             .stage_left_ns = 2000000000,
                             .left_ns = 3605000000000,
                             .offered_per_s = 412345,
                             .answers_per_s = 400000,
                             .accepted_per_s = 1000,
                             .refused_per_s = 399000,
                             .offered = 12345678,
                             .accepted = 10000,
                             .refused = 12000000,
                             .verdicts = {{"SOLD_OUT", 398000}, {"LIMIT_REACHED", 1000}},
                             .verdict_count = 2,
                             .p50_us = 120,
                             .p99_us = 4560,
                             .max_us = 23000,
                             .has_commits = true,
                             .commits_per_s = 812,
                             .records_each = 123,
                             .commit_p99_us = 2300,
                             .in_flight = 1024,
                             .backlog = 17,
                             .points = LG_LIVE_POINTS,
                             .turns = LG_LIVE_POINTS};
    for (uint32_t i = 0; i < LG_LIVE_POINTS; i++) {
        v.rates[i] = i;
        v.p99s_us[i] = i % 2 ? NAN : 1000;
    }
    return v;
}

/* Without its sequences; one line behind the other. Checks that no line is longer than it may. */
static const char *draw(const struct lg_live_view *view, struct lg_live_look look)
{
    static char plain[LG_LIVE_BYTES + 1];
    uint32_t column = 0, rows = 1;
    size_t used = 0, bytes = lg_live_draw(view, &look, picture, LG_LIVE_BYTES);
    cr_assert_leq(bytes, LG_LIVE_BYTES);
    picture[bytes] = '\0';
    for (const char *c = picture; *c; c++) {
        if (*c == '\033') {
            c += strcspn(c, "mK");
            continue;
        }
        if (*c == '\n') {
            rows++;
            column = 0;
        } else if (*c != '\r' && ((unsigned char)*c & 0xc0) != 0x80) {
            cr_assert_leq(++column, look.columns);
        }
        plain[used++] = *c;
    }
    cr_assert_leq(rows, look.rows);
    plain[used] = '\0';
    return plain;
}

Test(live, everything_is_told)
{
    static const char *const wanted[] = {"seckill on 127.0.0.1:7411",
                                         "1:15",
                                         "wall, 3 of 5, 0:02 left, 1:00:05 to the end",
                                         "400,000/s",
                                         "4.56 ms",
                                         "p50 120 us, slowest 23.0 ms",
                                         "12,345,678 in all",
                                         "10,000 in all",
                                         "SOLD_OUT 398k/s",
                                         "LIMIT_REACHED 1k/s",
                                         "812/s  p99 2.30 ms, 123 records each",
                                         "1,024 in flight, backlog 17"};
    struct lg_live_view v = busy();
    const char *text = draw(&v, (struct lg_live_look){.columns = 120, .rows = 24});
    for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
        cr_expect(strstr(text, wanted[i]), "no \"%s\" in\n%s", wanted[i], text);
}

Test(live, it_fits_into_any_terminal)
{
    struct lg_live_view v = busy();
    for (uint32_t columns = 1; columns < 200; columns += 3)
        for (uint32_t rows = 1; rows < 16; rows += 2)
            for (int way = 0; way < 4; way++)
                draw(&v, (struct lg_live_look){columns, rows, way & 1, way & 2});
}

Test(live, the_sparkline_ends_now_and_its_top_is_the_largest)
{
    struct lg_live_view v = busy();
    const char *text = draw(&v, (struct lg_live_look){.columns = 120, .rows = 24});
    const char *line = strstr(text, "answers");
    /* Sixty cells of two points each, from the lowest letter to the highest. */
    cr_assert(strstr(line, "  ......"), "%s", line);
    cr_assert(strstr(line, "@@@@@@@ 119"), "%s", line);
    text = draw(&v, (struct lg_live_look){.columns = 120, .rows = 24, .utf8 = true});
    cr_assert(strstr(strstr(text, "answers"), "\u2587\u2588"), "%s", text);
}

Test(live, a_cell_keeps_its_two_points_as_time_goes_on)
{
    struct lg_live_view v = {.title = "", .left_ns = -1, .stage_left_ns = -1};
    static const char *const wanted[] = {NULL, " @ 8", " @: 8", " @@ 8", " @@: 8"};
    static const double rates[] = {1, 8, 1, 8, 1};
    for (uint32_t i = 0; i < 5; i++) {
        v.rates[v.points++] = rates[i];
        v.turns++;
        const char *text = draw(&v, (struct lg_live_look){.columns = 120, .rows = 24});
        if (i > 0)
            cr_assert(strstr(text, wanted[i]), "%u: %s", i, text);
    }
}

Test(live, nothing_known_is_no_nonsense)
{
    struct lg_live_view v = {.title = "", .left_ns = -1, .stage_left_ns = -1};
    v.p50_us = v.p99_us = v.max_us = v.records_each = v.commit_p99_us = NAN;
    const char *text = draw(&v, (struct lg_live_look){.columns = 100, .rows = 24});
    cr_assert_null(strstr(text, "nan"));
    cr_assert(strstr(text, "the server does not tell"));
    cr_assert(strstr(text, "over: the last answers"));
}

Test(live, colours_only_when_wanted)
{
    struct lg_live_view v = busy();
    draw(&v, (struct lg_live_look){.columns = 80, .rows = 24});
    cr_assert_null(strstr(picture, "\033[1m"));
    draw(&v, (struct lg_live_look){.columns = 80, .rows = 24, .colour = true});
    cr_assert(strstr(picture, "\033[1m"));
}
