/* The percentile file is the one that HdrHistogram writes. */
#include "loadgen/hgrm.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static struct tg_histogram histogram;

static char *rendered(void)
{
    char *text;
    size_t bytes;
    FILE *out = open_memstream(&text, &bytes);
    lg_hgrm_render(&histogram, out);
    fclose(out);
    return text;
}

Test(hgrm, a_small_one_in_full)
{
    static const char wanted[] = "       Value     Percentile TotalCount 1/(1-Percentile)\n"
                                 "\n"
                                 "    0.001003 0.000000000000          6           1.00\n"
                                 "    0.001003 0.100000000000          6           1.11\n"
                                 "    0.001003 0.200000000000          6           1.25\n"
                                 "    0.001003 0.300000000000          6           1.43\n"
                                 "    0.001003 0.400000000000          6           1.67\n"
                                 "    0.001003 0.500000000000          6           2.00\n"
                                 "    0.001003 0.550000000000          6           2.22\n"
                                 "    0.001003 0.600000000000          6           2.50\n"
                                 "    0.002031 0.650000000000          9           2.86\n"
                                 "    0.002031 0.700000000000          9           3.33\n"
                                 "    0.002031 0.750000000000          9           4.00\n"
                                 "    0.002031 0.775000000000          9           4.44\n"
                                 "    0.002031 0.800000000000          9           5.00\n"
                                 "    0.002031 0.825000000000          9           5.71\n"
                                 "    0.002031 0.850000000000          9           6.67\n"
                                 "    0.002031 0.875000000000          9           8.00\n"
                                 "    0.002031 0.887500000000          9           8.89\n"
                                 "    0.002031 0.900000000000          9          10.00\n"
                                 "    1.000000 0.912500000000         10          11.43\n"
                                 "    1.000000 1.000000000000         10\n"
                                 "#[Mean    =        0.101, StdDeviation   =        0.300]\n"
                                 "#[Max     =        1.000, Total count    =           10]\n"
                                 "#[Buckets =           35, SubBuckets     =          256]\n";
    tg_histogram_reset(&histogram);
    tg_histogram_record(&histogram, 1002, 6);
    tg_histogram_record(&histogram, 2025, 3);
    tg_histogram_record(&histogram, 1000000, 1);
    char *text = rendered();
    cr_assert_str_eq(text, wanted);
    free(text);
}

Test(hgrm, percentiles_and_values_only_grow_and_end_at_the_largest)
{
    tg_histogram_reset(&histogram);
    for (uint64_t i = 1; i <= 100000; i++)
        tg_histogram_record(&histogram, i * 997, 1);
    char *text = rendered();
    double value_before = 0, percentile_before = -1, value, percentile;
    unsigned long long count = 0, lines = 0;
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        if (sscanf(line, "%lf %lf %llu", &value, &percentile, &count) != 3)
            continue;
        lines++;
        cr_assert(value >= value_before && percentile > percentile_before, "%s", line);
        /* No percentile is told of a value that fewer answers reach. */
        cr_assert_geq((double)count / 100000 + 1e-9, percentile, "%s", line);
        value_before = value;
        percentile_before = percentile;
    }
    cr_assert_gt(lines, 50);
    cr_assert_float_eq(value_before, 99.7, 1e-9);
    cr_assert_eq(percentile_before, 1);
    cr_assert_eq(count, 100000);
    free(text);
}

Test(hgrm, nothing_recorded_is_no_line)
{
    tg_histogram_reset(&histogram);
    char *text = rendered();
    cr_assert(strstr(text, "Total count    =            0]"));
    cr_assert_null(strstr(text, "0.5000"));
    cr_assert_null(strstr(text, "nan"));
    free(text);
}
