#include "loadgen/zipf.h"

#include "base/assert.h"

#include <math.h>
#include <stdlib.h>

static uint32_t to_fraction(double share)
{
    return share >= 1 ? UINT32_MAX : (uint32_t)(share * 4294967296.0);
}

/* Vose's construction: pair each column that is not full with one that overflows, until none is
 * left. `weights` (mean 1) is consumed; `work` holds the two stacks, growing from both ends. */
static void fill_columns(struct lg_zipf *zipf, double *weights, uint32_t *work)
{
    uint32_t n = zipf->n, small = 0, large = n;
    for (uint32_t i = 0; i < n; i++) {
        if (weights[i] < 1)
            work[small++] = i;
        else
            work[--large] = i;
    }
    while (small > 0 && large < n) {
        uint32_t under = work[--small], over = work[large];
        zipf->columns[under] = (struct lg_zipf_column){to_fraction(weights[under]), over};
        weights[over] -= 1 - weights[under];
        if (weights[over] < 1) {
            large++;
            work[small++] = over;
        }
    }
    /* What rounding left over is full, or as good as. */
    while (small > 0) {
        uint32_t i = work[--small];
        zipf->columns[i] = (struct lg_zipf_column){UINT32_MAX, i};
    }
    for (; large < n; large++)
        zipf->columns[work[large]] = (struct lg_zipf_column){UINT32_MAX, work[large]};
}

bool lg_zipf_init(struct lg_zipf *zipf, uint32_t n, double s)
{
    tg_assert(n > 0 && n <= 1u << 24);
    zipf->n = n;
    zipf->columns = malloc(n * sizeof(*zipf->columns));
    double *weights = malloc(n * sizeof(*weights));
    uint32_t *work = malloc(n * sizeof(*work));
    bool ok = zipf->columns && weights && work;
    if (ok) {
        double sum = 0;
        for (uint32_t i = 0; i < n; i++) {
            weights[i] = pow((double)i + 1, -s);
            sum += weights[i];
        }
        for (uint32_t i = 0; i < n; i++)
            weights[i] *= (double)n / sum;
        fill_columns(zipf, weights, work);
    } else {
        lg_zipf_fini(zipf);
    }
    free(weights);
    free(work);
    return ok;
}

void lg_zipf_fini(struct lg_zipf *zipf)
{
    free(zipf->columns);
    zipf->columns = NULL;
}
