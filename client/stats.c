#include "client/tidegate.h"

void tgc_histogram_read(Tidegate__V1__HistogramBucket *const *buckets, size_t count,
                        struct tg_histogram *histogram)
{
    tg_histogram_reset(histogram);
    for (size_t i = 0; i < count; i++)
        tg_histogram_record(histogram, buckets[i]->upper, buckets[i]->count);
}
