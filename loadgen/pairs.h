/* What pairs of measurements say of a change, and how sure that is. Pure; any thread.
 *
 * Two things (A: before, B: after) are measured in turn: A B A B ... Each pair gives one ratio, in
 * which whatever slowed both (a noisy neighbour, a warm machine) cancels out. Of the ratios'
 * logarithms:
 *
 *   - the estimate is the median of the means of all pairs of them, themselves included (Hodges and
 *     Lehmann, Estimates of Location Based on Rank Tests, 1963), which one wild run in four cannot
 *     move far;
 *   - the interval is the one that Wilcoxon's signed-rank test (1945) does not reject, made of the
 *     same means in their order (Tukey; Hollander, Wolfe and Chicken, Nonparametric Statistical
 *     Methods, 3rd ed., 3.3). Each of its sides is wrong for at most 5% of all comparisons, counted
 *     exactly, whatever noise looks like, as long as it is alike up and down;
 *   - the verdict compares the interval with a margin around 1 that is too small to matter (tests
 * of equivalence: Schuirmann, 1987):
 *
 *             1/(1+m)      1      1+m
 *       --------|----------|-------|--------> B is better
 *                 [-----]                      same: wholly within the margin
 *                             [-------]        better: wholly above 1, and not wholly within
 *        [-----------]                         worse: the mirror image
 *          [-------------------]               unclear: there may be a change, and may not
 *
 * Fewer than LG_PAIRS_MIN pairs are always unclear: no side of any interval would be right so
 * often.
 */
#ifndef LG_PAIRS_H
#define LG_PAIRS_H

#include <stdbool.h>
#include <stdint.h>

#define LG_PAIRS_MIN  5u
#define LG_PAIRS_MAX  100u
#define LG_PAIRS_TAIL 0.05 /* of each side of the interval, at most */

enum lg_pairs_verdict {
    LG_PAIRS_SAME,
    LG_PAIRS_BETTER,
    LG_PAIRS_WORSE,
    LG_PAIRS_UNCLEAR,
};

struct lg_pairs {
    uint32_t count;
    double ratio;      /* B to A: the estimate */
    double low, high;  /* the interval; NAN with fewer than LG_PAIRS_MIN pairs */
    double confidence; /* of the interval, exact: 0.9 or more; NAN likewise */
    double a_median, b_median;
    double a_spread, b_spread; /* median absolute deviation from the median, as a share of it */
    enum lg_pairs_verdict verdict;
};

/* Of 1 .. LG_PAIRS_MAX pairs of numbers above 0. `more_is_better`: of a rate, not of a latency.
 * `margin`: 0 or more; 0.05 stands for 5%. O(count^2 log count). */
void lg_pairs_compare(struct lg_pairs *pairs, const double *a, const double *b, uint32_t count,
                      bool more_is_better, double margin);

/* The greatest k with P(T < k) <= LG_PAIRS_TAIL for the signed-rank statistic T of `count` pairs,
 * and that probability. 0 when there is none. */
uint32_t lg_pairs_rank(uint32_t count, double *tail);

#endif
