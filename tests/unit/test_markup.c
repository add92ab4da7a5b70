/* Text for HTML and XML: nothing in a name becomes markup, and figures read as people write them.
 */
#include "loadgen/markup.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *escaped(const char *text)
{
    static char out[512];
    char *buffer;
    size_t bytes;
    FILE *stream = open_memstream(&buffer, &bytes);
    lg_markup_text(text, stream);
    fclose(stream);
    snprintf(out, sizeof(out), "%s", buffer);
    free(buffer);
    return out;
}

Test(markup, the_five_characters_that_mean_something_become_entities)
{
    cr_assert_str_eq(escaped("<b a=\"1\" c='2'>&amp;"),
                     "&lt;b a=&quot;1&quot; c=&#39;2&#39;&gt;&amp;amp;");
    cr_assert_str_eq(escaped("plain words, 1 + 1 = 2"), "plain words, 1 + 1 = 2");
    cr_assert_str_eq(escaped(NULL), "");
}

Test(markup, what_xml_cannot_hold_is_replaced)
{
    cr_assert_str_eq(escaped("a\x01"
                             "b\x1b[31mc"),
                     "a\xef\xbf\xbd"
                     "b\xef\xbf\xbd[31mc");
    cr_assert_str_eq(escaped("line\nand\ttab"), "line\nand\ttab");
    /* A letter of two bytes stays; its half, and one cut off by the end, do not. */
    cr_assert_str_eq(escaped("\u00b5s \u65e5"), "\u00b5s \u65e5");
    cr_assert_str_eq(escaped("\xc2<"), "\xef\xbf\xbd&lt;");
    cr_assert_str_eq(escaped("\xe6\x97"), "\xef\xbf\xbd\xef\xbf\xbd");
    /* A longer way to write '<' is no UTF-8. */
    cr_assert_str_eq(escaped("\xc0\xbc"), "\xef\xbf\xbd\xef\xbf\xbd");
}

Test(markup, figures_have_their_unit_and_three_digits)
{
    static const struct {
        double value;
        enum lg_unit unit;
        const char *text, *brief;
    } cases[] = {
        {1234567, LG_UNIT_COUNT, "1,234,567", "1.23M"},
        {-1234, LG_UNIT_COUNT, "-1,234", "-1.23k"},
        {999, LG_UNIT_COUNT, "999", "999"},
        {2.5, LG_UNIT_COUNT, "2.50", "2.5"},
        {808868.4, LG_UNIT_RATE, "808,868/s", "809k"},
        {0.85, LG_UNIT_US, "850 ns", "850 ns"},
        {12.34, LG_UNIT_US, "12.3 \u00b5s", "12.3 \u00b5s"},
        {999.9, LG_UNIT_US, "1.00 ms", "1 ms"},
        {4567, LG_UNIT_US, "4.57 ms", "4.57 ms"},
        {1500000, LG_UNIT_US, "1.50 s", "1.5 s"},
        {0.156, LG_UNIT_SHARE, "15.6%", "15.6%"},
        {1, LG_UNIT_SHARE, "100%", "100%"},
        {1536, LG_UNIT_BYTES, "1.50 KiB", "1.50 KiB"},
        {12, LG_UNIT_S, "12 s", "12 s"},
        {0, LG_UNIT_US, "0 s", "0 s"},
        {NAN, LG_UNIT_RATE, "\u2013", "\u2013"},
        {INFINITY, LG_UNIT_COUNT, "inf", "inf"},
    };
    char out[LG_FIGURE_BYTES];
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        cr_expect_str_eq(lg_figure(cases[i].value, cases[i].unit, out), cases[i].text, "%zu: %s", i,
                         out);
        cr_expect_str_eq(lg_figure_short(cases[i].value, cases[i].unit, out), cases[i].brief,
                         "%zu: %s", i, out);
    }
}
