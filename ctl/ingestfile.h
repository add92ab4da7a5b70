/* The file of order ingest: orders of other channels, as an array or one object behind the other
 * (JSON lines), read one at a time, so that its size does not matter. */
#ifndef TG_CTL_INGESTFILE_H
#define TG_CTL_INGESTFILE_H

#include "base/error.h"
#include "proto/verdict.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct ctl_ingestfile {
    FILE *stream; /* borrowed */
    const char *name;
    uint64_t number; /* orders read so far */
    bool begun;
    bool is_array;
};

/* An order ready to send. Its texts lie in `root`. */
struct ctl_ingest_order {
    Tidegate__V1__IngestOrder message;
    Tidegate__V1__Payment payment;
    json_t *root;
    uint64_t number; /* within the file, from 1 on */
};

/* Reads the next order; its message points into `order`, which must stay where it is. Free it with
 * ctl_ingest_order_free. TG_ERR_NOTFOUND at the end of the file. TG_ERR_INVALID names the order by
 * its number, the field, and what is expected there; TG_ERR_IO when the file cannot be read. */
enum tg_error ctl_ingestfile_next(struct ctl_ingestfile *file, struct ctl_ingest_order *order,
                                  struct tg_fault *fault);
void ctl_ingest_order_free(struct ctl_ingest_order *order);

#endif
