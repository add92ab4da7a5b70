/* Prometheus' text format, version 0.0.4: families, samples, histograms. Pure writing; what stands
 * in it is for server/metrics.c. One thread. */
#ifndef TG_SERVER_EXPOSITION_H
#define TG_SERVER_EXPOSITION_H

#include "base/histogram.h"
#include "server/body.h"

#define SRV_EXPOSITION_TYPE "text/plain; version=0.0.4; charset=utf-8"

struct srv_label {
    const char *name;
    const char *value; /* any bytes: what the format needs is escaped */
};

#define SRV_LABELS_MAX 4

/* A family of samples: all that follow, up to the next one, carry its name. */
struct srv_exposition {
    struct srv_body *body;
    const char *name; /* of the family under way; borrowed */
};

/* `type` is counter, gauge or histogram; `help` is one line. */
void srv_family(struct srv_exposition *out, const char *name, const char *type, const char *help);

/* One sample; `labels` are `count`, and may be NULL for none. */
void srv_sample(struct srv_exposition *out, const struct srv_label *labels, uint32_t count,
                uint64_t value);
void srv_sample_real(struct srv_exposition *out, const struct srv_label *labels, uint32_t count,
                     double value);

/* A whole histogram without labels. `bounds` are `count`, rising, in the unit of the recorded
 * values, each told divided by `scale`; so is `sum`. A value counts below a bound when its bucket
 * lies below it as a whole, so what is told is at most 1 % late, and never early. */
void srv_histogram(struct srv_exposition *out, const struct tg_histogram *histogram,
                   const uint64_t *bounds, uint32_t count, uint64_t sum, double scale);

#endif
