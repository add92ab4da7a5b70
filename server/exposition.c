#include "server/exposition.h"

#include "base/count.h"

#include <inttypes.h>
#include <stdio.h>

void srv_family(struct srv_exposition *out, const char *name, const char *type, const char *help)
{
    out->name = name;
    srv_body_add(out->body, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void add_value(struct srv_body *body, const char *value)
{
    for (; *value; value++) {
        if (*value == '\n')
            srv_body_add_bytes(body, "\\n", 2);
        else if (*value == '"' || *value == '\\')
            srv_body_add(body, "\\%c", *value);
        else
            srv_body_add_bytes(body, value, 1);
    }
}

static void add_name(struct srv_exposition *out, const struct srv_label *labels, uint32_t count)
{
    srv_body_add(out->body, "%s", out->name);
    for (uint32_t i = 0; i < count; i++) {
        srv_body_add(out->body, "%s%s=\"", i == 0 ? "{" : ",", labels[i].name);
        add_value(out->body, labels[i].value);
        srv_body_add_bytes(out->body, "\"", 1);
    }
    if (count > 0)
        srv_body_add_bytes(out->body, "}", 1);
}

void srv_sample(struct srv_exposition *out, const struct srv_label *labels, uint32_t count,
                uint64_t value)
{
    add_name(out, labels, count);
    srv_body_add(out->body, " %" PRIu64 "\n", value);
}

void srv_sample_real(struct srv_exposition *out, const struct srv_label *labels, uint32_t count,
                     double value)
{
    add_name(out, labels, count);
    srv_body_add(out->body, " %.9g\n", value);
}

void srv_histogram(struct srv_exposition *out, const struct tg_histogram *histogram,
                   const uint64_t *bounds, uint32_t count, uint64_t sum, double scale)
{
    uint64_t values = 0;
    uint32_t bucket = 0;
    for (uint32_t i = 0; i < count; i++) {
        for (; bucket < TG_HISTOGRAM_BUCKETS && tg_histogram_bucket_max(bucket) <= bounds[i];
             bucket++)
            values += tg_count_read(&histogram->buckets[bucket]);
        srv_body_add(out->body, "%s_bucket{le=\"%.9g\"} %" PRIu64 "\n", out->name,
                     (double)bounds[i] / scale, values);
    }
    for (; bucket < TG_HISTOGRAM_BUCKETS; bucket++)
        values += tg_count_read(&histogram->buckets[bucket]);
    /* From the buckets, not from the histogram's own count: the two are not read at one moment. */
    srv_body_add(out->body,
                 "%s_bucket{le=\"+Inf\"} %" PRIu64 "\n%s_sum %.9g\n%s_count %" PRIu64 "\n",
                 out->name, values, out->name, (double)sum / scale, out->name, values);
}
