/* Orders as comma-separated values (RFC 4180): a head, then a record for each order, each ended by
 * CR LF. Columns are the keys of ctl_order_json, always all of them, in an order that does not
 * change: new ones come behind. Writing errors stay with the file (ferror). */
#ifndef TG_CTL_CSV_H
#define TG_CTL_CSV_H

#include "proto/verdict.h"

#include <jansson.h>
#include <stdio.h>

/* Ends with NULL. */
extern const char *const ctl_csv_order_columns[];

/* In quotes when it holds a comma, a quote, or begins or ends with a space; its quotes doubled.
 * Control characters become '?'. */
void ctl_csv_cell(FILE *out, const char *text);
void ctl_csv_order_head(FILE *out);
/* `order` as ctl_order_json has it; what it lacks stays empty. Lines, payments and refunds are
 * JSON arrays in one cell, which is empty when there are none. */
void ctl_csv_order(FILE *out, const json_t *order);

#endif
